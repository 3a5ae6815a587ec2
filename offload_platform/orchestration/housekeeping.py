"""Housekeeping: what has been kept long enough goes, once a day or when `offload tidy` is called.

Rows as delivered (where `delivered_days` is set), staged files that nobody needs, logs of old runs, and old runs that
say nothing any more. Runs are deleted with care: the events of a run are what Dagster knows of a partition, so a run
goes only where it materialised nothing that still stands, and where no partition shows its failure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb

from offload_platform.orchestration.exporting import OF_EXPORTS
from offload_platform.orchestration.listening import tidy_days
from offload_platform.orchestration.publishing import PUBLISHED_KEY, publishing_metadata
from offload_platform.orchestration.resources import WarehouseResource, warehouse_in
from offload_platform.scale.upkeep import tidy_shared
from offload_platform.settings import Feed, Settings
from offload_platform.warehouse.compact import compact
from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.publish import publish
from offload_platform.warehouse.retention import ExpiredDelivery, delete_expired, find_expired

HOUSEKEEPING = "housekeeping"
TIDIED_KEY = "offload/logs_tidied_until"
"""Where it stands, among the instance's cursors, up to when logs of runs are gone (seconds since 1970)."""

_EVERY_DAY = "17 3 * * *"
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_RUNS_AT_ONCE = 500


@dataclass(frozen=True)
class Tidied:
    """What has gone, or would go. Sizes are in bytes; those of logs are known where they are kept on this machine."""

    expired: tuple[ExpiredDelivery, ...]
    staging: tuple[str, ...]
    staging_bytes: int
    runs_without_logs: int
    runs: int
    log_bytes: int
    build_bytes_before: int
    build_bytes_after: int
    published: bool
    day_files: int = 0
    day_bytes: int = 0
    shared_files: int = 0


def tidy(
    settings: Settings, instance: dg.DagsterInstance, now: datetime | None = None, dry_run: bool = False
) -> Tidied:
    """Remove what has been kept long enough; with `dry_run` only say what that is. `now` is in UTC.

    Each step is whole or not done at all, and what an interrupted one has left over is done by the next call.
    """
    now = now or datetime.now(UTC)
    warehouse = warehouse_in(settings.warehouse, settings.retention.failed_staging_hours)
    files = warehouse.files
    staging = files.staging_left_behind(now.timestamp())
    staging_bytes = sum(_size(folder) for folder in staging)
    if not dry_run:
        files.clear_staging(now.timestamp())
    logs, runs, log_bytes = 0, 0, 0
    if settings.retention.log_days is not None:
        logs, runs, log_bytes = _tidy_logs(instance, now - timedelta(days=settings.retention.log_days), dry_run)
    day_files, day_bytes = tidy_days(settings, now.date(), dry_run)
    before = _size(files.build)
    expired: list[ExpiredDelivery] = []
    published = False
    if settings.retention.delivered_days is not None and files.build.exists():
        expired, published = _tidy_rows(
            warehouse, settings.feeds, instance, now - timedelta(days=settings.retention.delivered_days), dry_run
        )
    shared_files = 0
    if settings.scale is not None and not dry_run:
        with files.staging_folder() as spill:
            shared_files = tidy_shared(settings.scale, spill, now)
    return Tidied(
        tuple(expired),
        tuple(folder.name for folder in staging),
        staging_bytes,
        logs,
        runs,
        log_bytes,
        before,
        _size(files.build),
        published,
        day_files,
        day_bytes,
        shared_files,
    )


def in_words(tidied: Tidied) -> list[str]:
    """What has gone, or would go, in a sentence for each kind; none where there was nothing."""
    said = []
    if tidied.expired:
        rows, quarantined = (sum(getattr(d, what) for d in tidied.expired) for what in ("rows", "quarantined"))
        said.append(
            f"rows: {rows:,}, and {quarantined:,} in quarantine, of {len(tidied.expired):,} deliveries stamped "
            f"{tidied.expired[0].stamp:%Y-%m-%d} to {tidied.expired[-1].stamp:%Y-%m-%d}"
        )
    if tidied.build_bytes_after < tidied.build_bytes_before:
        said.append(f"build file: {_mb(tidied.build_bytes_before)} before, {_mb(tidied.build_bytes_after)} after")
    if tidied.day_files:
        said.append(f"made of logs: {tidied.day_files:,} files, {_mb(tidied.day_bytes)}")
    if tidied.shared_files:
        said.append(f"shared: {tidied.shared_files:,} files of old states of the lake, or of attempts that failed")
    if tidied.staging:
        said.append(f"staging: {len(tidied.staging):,} folders, {_mb(tidied.staging_bytes)}")
    if tidied.runs or tidied.runs_without_logs:
        said.append(
            f"logs: of {tidied.runs_without_logs:,} runs, and {tidied.runs:,} runs altogether, {_mb(tidied.log_bytes)}"
        )
    return said


def housekeeping(settings: Settings) -> dg.ScheduleDefinition:
    """The job that tidies up, on a daily schedule that runs from the start."""

    @dg.op(description="Deletes what the `retention` of the configuration has let expire.")
    def tidy_up(context: dg.OpExecutionContext) -> None:
        tidied = tidy(settings, context.instance)
        for sentence in in_words(tidied):
            context.log.info(sentence)
        context.add_output_metadata(
            {
                "deliveries expired": len(tidied.expired),
                "rows deleted": sum(d.rows + d.quarantined for d in tidied.expired),
                "staging folders removed": len(tidied.staging),
                "runs whose logs were removed": tidied.runs_without_logs,
                "runs removed": tidied.runs,
                "build file (MB)": round(tidied.build_bytes_after / 1e6, 3),
            }
        )

    @dg.job(name=HOUSEKEEPING, description=tidy.__doc__)
    def job() -> None:
        tidy_up()

    return dg.ScheduleDefinition(
        name=f"{HOUSEKEEPING}_every_day",
        job=job,
        cron_schedule=_EVERY_DAY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every day at 03:17 UTC.",
    )


def _tidy_rows(
    warehouse: WarehouseResource, feeds: Sequence[Feed], instance: dg.DagsterInstance, before: datetime, dry_run: bool
) -> tuple[list[ExpiredDelivery], bool]:
    """Delete old rows, give their space back, and publish, so that they leave the published file as well."""
    if dry_run:
        with warehouse.writing() as connection:
            return find_expired(connection, before), False
    with warehouse.writing() as connection:
        expired = delete_expired(connection, before, feeds)
        compact(connection, warehouse.files)
    # A call that was interrupted may have deleted rows that the published file still shows.
    if not expired and not _is_behind(warehouse.files, before):
        return expired, False
    with warehouse.writing() as connection:
        published = publish(connection, warehouse.files, feeds)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(PUBLISHED_KEY, metadata=publishing_metadata(published, warehouse.files))
    )
    return expired, True


def _is_behind(files: WarehouseFiles, before: datetime) -> bool:
    if not files.published.exists():
        return False
    with duckdb.connect(files.published, read_only=True) as connection:
        prepare(connection)
        return bool(find_expired(connection, before))


def _tidy_logs(instance: dg.DagsterInstance, before: datetime, dry_run: bool) -> tuple[int, int, int]:
    """Runs whose logs go, runs that go altogether, and the bytes of both."""
    needless = {run.run_id for run in _needless_runs(instance, before)}
    logged = {run.run_id for run in _runs_since_last_time(instance, before)} | needless
    size = sum(_size(path) for run_id in logged for path in _log_folders(instance, run_id))
    size += sum(_size(path) for run_id in needless for path in _event_files(instance, run_id))
    if not dry_run:
        for run_id in logged:
            instance.compute_log_manager.delete_logs(prefix=[run_id, "compute_logs"])
            for folder in _log_folders(instance, run_id):
                if folder.parent.exists() and not any(folder.parent.iterdir()):
                    folder.parent.rmdir()
        for run_id in needless:
            instance.delete_run(run_id)
            # In SQLite each run has a file of its own, which Dagster empties and leaves.
            for path in _event_files(instance, run_id):
                path.unlink(missing_ok=True)
        instance.daemon_cursor_storage.set_cursor_values({TIDIED_KEY: str(before.timestamp())})
    return len(logged - needless), len(needless), size


def _runs_since_last_time(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    until = instance.daemon_cursor_storage.get_cursor_values({TIDIED_KEY}).get(TIDIED_KEY)
    after = datetime.fromtimestamp(float(until), UTC) if until else None
    return _runs(instance, dg.RunsFilter(statuses=_FINISHED, updated_after=after, updated_before=before))


def _needless_runs(instance: dg.DagsterInstance, before: datetime) -> list[dg.DagsterRun]:
    """Old runs that hold nothing which Dagster's history of assets needs.

    Runs that failed or were cancelled and materialised nothing, runs of housekeeping, runs of which nothing stands, and
    runs of exports, of which the registry knows. What shows as failed in the UI keeps the run that failed.
    """
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED], updated_before=before)
    own = dg.RunsFilter(job_name=HOUSEKEEPING, statuses=_FINISHED, updated_before=before)
    candidates = [run for run in _runs(instance, failed) if not _has_materialised(instance, run)]
    candidates += [run for run in _runs(instance, own) if run.status is dg.DagsterRunStatus.SUCCESS]
    candidates += _replaced(instance, before)
    candidates += _sendings(instance, before)
    needed = _runs_that_show(instance) if candidates else set()
    return [run for run in candidates if run.run_id not in needed]


def _replaced(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    """Old runs of which nothing stands: each partition that they loaded was loaded again, each file published anew.

    A day to which a delivery is added every few minutes has a hundred such runs.
    """
    standing: set[str] = set()
    replaced: set[str] = set()
    for key in instance.all_asset_keys():
        seen = set()
        for record in _materialisations(instance, key):
            (replaced if record.partition_key in seen else standing).add(record.run_id)
            seen.add(record.partition_key)
    ids = sorted(replaced - standing - {""})
    for some in (ids[first : first + _RUNS_AT_ONCE] for first in range(0, len(ids), _RUNS_AT_ONCE)):
        yield from _runs(instance, dg.RunsFilter(run_ids=some, statuses=_FINISHED, updated_before=before))


def _materialisations(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[dg.EventLogRecord]:
    """All of an asset, the newest first."""
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(key, _RUNS_AT_ONCE, cursor)
        yield from page.records
        cursor, more = page.cursor, page.has_more


def _sendings(instance: dg.DagsterInstance, before: datetime) -> list[dg.DagsterRun]:
    """Old runs of exports; there are so many that they would soon be most of all."""
    done = [dg.DagsterRunStatus.SUCCESS]
    return list(_runs(instance, dg.RunsFilter(tags=OF_EXPORTS, statuses=done, updated_before=before)))


def _runs_that_show(instance: dg.DagsterInstance) -> set[str]:
    """Runs by which the UI says of an asset or a partition that it failed, or what was run last."""
    log = instance.event_log_storage
    keys = list(instance.all_asset_keys())
    shown = {record.asset_entry.last_run_id for record in instance.get_asset_records(keys)} if keys else set()
    for key in keys:
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        shown |= {run_id for run_id, _ in attempts.values()}
    return {run_id for run_id in shown if run_id}


def _has_materialised(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    return bool(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))


def _runs(instance: dg.DagsterInstance, which: dg.RunsFilter) -> Iterator[dg.DagsterRun]:
    cursor = None
    while page := instance.get_runs(which, cursor=cursor, limit=_RUNS_AT_ONCE):
        yield from page
        cursor = page[-1].run_id


def _log_folders(instance: dg.DagsterInstance, run_id: str) -> Iterable[Path]:
    manager = instance.compute_log_manager
    if hasattr(manager, "get_captured_local_path"):
        yield Path(manager.get_captured_local_path([run_id, "compute_logs", "any"], "out")).parent


def _event_files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    log = instance.event_log_storage
    if not (log.is_run_sharded and hasattr(log, "path_for_shard")):
        return []
    file = Path(log.path_for_shard(run_id))
    return [file, *(file.with_name(file.name + ending) for ending in ("-wal", "-shm"))]


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
