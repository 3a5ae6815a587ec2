"""Exports as assets: one for each export, with a partition for each slot whose key is the name of its file.

Which exports there are is read from the registry when the definitions are loaded: there forms are saved, tried, paused
and deleted, and a section of `feeds.yaml` would be a second truth beside it. What an export is about to do is read when
it does it, so a pause or a new key holds at once; a new export shows in Dagster when its code location is loaded anew.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from offload_platform.exports.errors import BucketRefused, ExportError, RowsDiffer
from offload_platform.exports.form import ExportForm
from offload_platform.exports.registry import Outcome, Registry, Saved, Slot, State
from offload_platform.exports.sending import is_in_bucket, newest_due, send_due, waiting
from offload_platform.exports.slots import name_of, slot_after, slot_named
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.settings import EXPORTS, Settings, SettingsError
from offload_platform.warehouse.files import WarehouseFiles

ROWS_CHECK = "every_selected_row_is_in_the_file"
OBJECT_CHECK = "object_is_in_the_bucket"
OF_EXPORTS = {"offload/kind": "export"}
"""Tag of the runs of all exports; they are kept no longer than their logs, because the registry knows what was sent."""

_FORMAT = "%Y-%m-%d-%H-%M"
_SHOWN = timedelta(days=92)
_LATE_SLOTS, _OVERDUE_SLOTS = 2, 4
_MINUTES_OF_AN_HOUR = 60
_MOST_MINUTES_BETWEEN_LOOKS = 15
"""A slot of a rare export that failed is not to wait for the next slot."""

_UNDER_WAY = [
    status
    for status in dg.DagsterRunStatus
    if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]


def exports_of(settings: Settings) -> tuple[list[dg.AssetsDefinition], list[dg.ScheduleDefinition]]:
    """Asset and schedule of each export that is active or paused."""
    files = WarehouseFiles(settings.warehouse)
    registry = Registry(files.exports)
    saved = [export for export in registry.all() if export.state is not State.DRAFT]
    return [_asset(files, registry, e) for e in saved], [_schedule(registry, e) for e in saved]


def export_key(name: str) -> dg.AssetKey:
    """Asset key of an export."""
    return dg.AssetKey([EXPORTS, name])


def export_tags(name: str) -> dict[str, str]:
    """Tags of the runs of an export."""
    return OF_EXPORTS | {"offload/export": name}


def export_partitions(registry: Registry, export: Saved) -> dg.TimeWindowPartitionsDefinition:
    """A partition for each slot, keyed by its end, which is the name of its file.

    They begin with the oldest slot that is not sent, or three months ago, or with the export: a year of quarters of an
    hour would be 35,040.
    """
    newest = registry.newest(export)
    # The moment from which an export counts is no slot: nothing is ever sent for it.
    first = slot_after(export.cadences, export.cadences[0].after, export.form.zone)
    start = max(first, min(newest.slot, datetime.now(UTC) - _SHOWN))
    return dg.TimeWindowPartitionsDefinition(
        start=start.astimezone(export.form.zone).strftime(_FORMAT),
        fmt=_FORMAT,
        cron_schedule=_cron(export.form.frequency_minutes, 0),
        timezone=export.form.timezone,
        # A slot's partition is there as soon as the slot has ended.
        end_offset=1,
    )


def _asset(files: WarehouseFiles, registry: Registry, export: Saved) -> dg.AssetsDefinition:
    form, key = export.form, export_key(export.name)
    source = form.source.table or form.source.sql_file
    partitions = export_partitions(registry, export)

    @dg.asset(
        key=key,
        partitions_def=partitions,
        deps=[PUBLISHED_KEY],
        group_name=EXPORTS,
        owners=["team:data-platform"],
        kinds={"s3", "csv"},
        tags={"frequency_minutes": str(form.frequency_minutes)},
        freshness_policy=_freshness(form) if export.state is State.ACTIVE else None,
        description=f"Rows of `{source}` that have changed, sent to `{form.address}` every {form.frequency_minutes} "
        "minutes. A partition is a file, and has its name.",
        check_specs=[
            dg.AssetCheckSpec(
                ROWS_CHECK, asset=key, description="As many rows were read back from the file as had been selected."
            ),
            dg.AssetCheckSpec(
                OBJECT_CHECK, asset=key, description="The object is in the bucket, with the bytes that were sent."
            ),
        ],
    )
    def send(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        until = slot_named(context.partition_key, form.zone)
        sent: Slot | None = None
        try:
            for sent in send_due(files, registry, export.name, until):
                if sent.slot != until:
                    # Missed slots are sent before; each is a partition of its own.
                    context.log_event(
                        dg.AssetMaterialization(key, partition=name_of(sent.slot, form.zone), metadata=_metadata(sent))
                    )
            assert sent is not None
            yield dg.MaterializeResult(metadata=_metadata(sent))
            yield _rows_result(sent)
            yield _object_result(registry.get(export.name), sent)
        except (ExportError, SettingsError) as error:
            if isinstance(error, RowsDiffer):
                yield dg.AssetCheckResult(check_name=ROWS_CHECK, passed=False, description=str(error))
            raise dg.Failure(str(error), allow_retries=False) from error

    return send


def _schedule(registry: Registry, export: Saved) -> dg.ScheduleDefinition:
    key, name = export_key(export.name), f"send_{export.name}"
    partitions = export_partitions(registry, export)

    @dg.schedule(
        name=name,
        cron_schedule=_cron(
            min(export.form.frequency_minutes, _MOST_MINUTES_BETWEEN_LOOKS), export.form.settle_minutes
        ),
        execution_timezone=export.form.timezone,
        target=dg.AssetSelection.assets(key),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks for the newest slot that is due, and again until it is sent; slots that were missed are sent "
        "before it.",
    )
    def ask(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = datetime.now(UTC)
        current = registry.find(export.name)
        if current is None or current.state is not State.ACTIVE:
            return dg.SkipReason(f"{export.name} is {current.state if current else 'deleted'}")
        due = newest_due(current, now)
        if due is None or not waiting(registry, current, now):
            return dg.SkipReason("no slot is due")
        under_way = dg.RunsFilter(tags=export_tags(export.name), statuses=_UNDER_WAY)
        if context.instance.get_runs(under_way, limit=1):
            return dg.SkipReason("a run is under way")
        partition = name_of(due, current.form.zone)
        if not partitions.has_partition_key(partition):
            return dg.SkipReason(f"the frequency has changed: load the code location anew, and {partition} is sent")
        return dg.RunRequest(partition_key=partition, tags=export_tags(export.name))

    return ask


def _cron(minutes: int, later: int) -> str:
    """Every so many minutes from midnight on, and some minutes later."""
    if minutes < _MINUTES_OF_AN_HOUR:
        begun = {(minute + later) % _MINUTES_OF_AN_HOUR for minute in range(0, _MINUTES_OF_AN_HOUR, minutes)}
        return f"{','.join(map(str, sorted(begun)))} * * * *"
    return f"{later} {','.join(map(str, range(0, 24, minutes // _MINUTES_OF_AN_HOUR)))} * * *"


def _freshness(form: ExportForm) -> dg.FreshnessPolicy:
    settled, step = timedelta(minutes=form.settle_minutes), timedelta(minutes=form.frequency_minutes)
    return dg.FreshnessPolicy.time_window(
        warn_window=_LATE_SLOTS * step + settled, fail_window=_OVERDUE_SLOTS * step + settled
    )


def _metadata(slot: Slot) -> dict[str, Any]:
    said: dict[str, Any] = {
        "dagster/partition_row_count": slot.rows,
        "rows": slot.rows,
        "rows gone from the source": slot.gone,
        "outcome": slot.outcome.value,
    }
    if slot.key is not None:
        said |= {
            "key": slot.key,
            "size (bytes)": slot.bytes,
            "sha256": slot.sha256,
            "etag": slot.etag,
            "attempts": slot.attempts,
        }
    return said


def _rows_result(slot: Slot) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=ROWS_CHECK,
        passed=slot.selected == slot.rows,
        description=f"{slot.selected:,} rows were selected, and {slot.rows:,} are in the file.",
        metadata={"rows selected": slot.selected, "rows in the file": slot.rows},
    )


def _object_result(export: Saved, slot: Slot) -> dg.AssetCheckResult:
    if slot.outcome is not Outcome.SENT:
        return dg.AssetCheckResult(
            check_name=OBJECT_CHECK, passed=True, description="Nothing had changed, and no file was wanted."
        )
    try:
        is_there = is_in_bucket(export, slot)
        said = f"{slot.key} is as it was sent." if is_there else f"{slot.key} is not there any more: ask the client."
    except BucketRefused as error:
        is_there, said = False, str(error)
    return dg.AssetCheckResult(check_name=OBJECT_CHECK, passed=is_there, description=said)
