"""Housekeeping on a real instance: what goes, what stays, and that Dagster knows of its partitions what it knew."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import PARTITION_NAME_TAG

from offload_platform.orchestration import housekeeping as housekeeping_module
from offload_platform.orchestration import publishing
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.checks import DRIFT_CHECK, QUARANTINE_CHECK
from offload_platform.orchestration.housekeeping import HOUSEKEEPING, TIDIED_KEY, Tidied, in_words, tidy
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.partitions import partitions_of
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.run import plan
from offload_platform.settings import Feed, Retention, Settings
from offload_platform.warehouse.files import WarehouseFiles

ANN = "a" * 24
GOOD_ROW = f"{ANN},,behavior.early_bird"
KEY = dg.AssetKey(["acme", "segments"])
LATER = datetime.now(UTC) + timedelta(days=40)
Make = Callable[..., Any]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(tmp_path / "warehouse")) as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path, vendor_folder: Any, feed_of: Make) -> Settings:
    return Settings(warehouse=tmp_path / "warehouse", feeds=(feed_of(vendor_folder.url, types=("segments",)),))


def with_retention(settings: Settings, **said: Any) -> Settings:
    return settings.model_copy(update={"retention": Retention(**said)})


class Runs:
    """Real runs of a configuration, and what the instance knows after them."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    def run(self, partition: str | None = None, key: dg.AssetKey = KEY) -> str:
        return self.job.execute_in_process(
            partition_key=partition, asset_selection=[key], instance=self.instance, raise_on_error=False
        ).run_id

    def cancelled(self, partition: str) -> str:
        """A run that was cancelled when it had been planned."""
        from dagster._core.events import AssetMaterializationPlannedData, DagsterEventType

        run = self.instance.create_run_for_job(
            self.job.get_subset(asset_selection={KEY}),
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({KEY}),
            tags={PARTITION_NAME_TAG: partition},
        )
        planned = dg.DagsterEvent(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
            run.job_name,
            event_specific_data=AssetMaterializationPlannedData(asset_key=KEY, partition=partition),
        )
        self.instance.report_dagster_event(planned, run_id=run.run_id)
        self.instance.report_run_canceled(run)
        return run.run_id

    def ids(self) -> set[str]:
        return {run.run_id for run in self.instance.get_runs()}

    def knows(self, cached: bool) -> dict[str, Any]:
        """What the UI shows: partitions, checks, newest materialisations."""
        [feed] = self.settings.feeds
        if not cached:
            self.instance.wipe_asset_cached_status([KEY])
        partitions = partitions_of(feed, "lifestyle")
        status = get_and_update_asset_status_cache_value(self.instance, KEY, partitions)
        assert status is not None
        published = self.instance.get_latest_materialization_event(PUBLISHED_KEY)
        log = self.instance.event_log_storage
        checks = {
            f"{name} {partition}": [
                (e.status.value, e.run_id)
                for e in log.get_asset_check_execution_history(dg.AssetCheckKey(KEY, name), limit=100)
                if e.partition == partition
            ][:1]
            for name in (QUARANTINE_CHECK, DRIFT_CHECK)
            for partition in self.instance.get_materialized_partitions(KEY)
        }
        return {
            "materialised": set(status.deserialize_materialized_partition_subsets(partitions).get_partition_keys()),
            "failed": set(status.deserialize_failed_partition_subsets(partitions).get_partition_keys()),
            "in progress": set(status.deserialize_in_progress_partition_subsets(partitions).get_partition_keys()),
            "events": self.instance.get_materialized_partitions(KEY),
            "published": published.run_id if published else None,
            "checks": checks,
        }


@pytest.fixture
def runs(settings: Settings, instance: dg.DagsterInstance) -> Runs:
    return Runs(settings, instance)


def spoiled(part: Path) -> Path:
    part.write_bytes(part.read_bytes()[:-4])
    return part


def test_partitions_look_as_before_when_old_runs_have_gone(
    runs: Runs, settings: Settings, vendor_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = vendor_folder.part("2018-12-01", [GOOD_ROW])
    vendor_folder.part("2018-12-08", [GOOD_ROW, "x,,y"])
    spoiled(vendor_folder.part("2018-12-15", [GOOD_ROW]))
    sound = good.read_bytes()
    spoiled(good)
    goes = {"failed, then loaded": runs.run("2018-12-01")}
    good.write_bytes(sound)
    stays = {"loaded": runs.run("2018-12-01"), "loaded with a failed check": runs.run("2018-12-08")}
    goes["published, then again"] = runs.run(key=PUBLISHED_KEY)
    goes["failed, then failed again"] = runs.run("2018-12-15")
    stays["failed for good"] = runs.run("2018-12-15")
    stays["loaded, loaded again"] = runs.run("2018-12-22")
    vendor_folder.part("2018-12-22", [GOOD_ROW])
    stays["loaded first, failed since"] = runs.run("2018-12-22")
    spoiled(vendor_folder.part("2018-12-22", [GOOD_ROW, GOOD_ROW]))
    stays["failed since"] = runs.run("2018-12-22")
    goes["cancelled, then loaded"] = runs.cancelled("2018-12-08")
    stays["loaded after it was cancelled"] = runs.run("2018-12-08")
    stays["published"] = runs.run(key=PUBLISHED_KEY)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", lambda *_: 1 / 0)
        stays["not published since"] = runs.run(key=PUBLISHED_KEY)
    job = build_definitions(settings).resolve_job_def(HOUSEKEEPING)
    own = job.execute_in_process(instance=runs.instance)
    assert own.success
    goes["housekeeping"] = own.run_id
    # The first attempt at 2018-12-22 found nothing to load, and has been followed by others.
    goes["found nothing"] = stays.pop("loaded, loaded again")
    goes["loaded, then again"] = stays.pop("loaded with a failed check")

    before = {cached: runs.knows(cached) for cached in (True, False)}
    assert before[False]["materialised"] == {"2018-12-01", "2018-12-08", "2018-12-22"}
    assert before[False]["failed"] == {"2018-12-15", "2018-12-22"}
    assert before[False]["in progress"] == set()
    tidied = tidy(settings, runs.instance, LATER)
    assert runs.ids() == set(stays.values())
    assert tidied.runs == len(goes)
    assert {cached: runs.knows(cached) for cached in (True, False)} == before
    for gone in goes.values():
        assert not list(settings.warehouse.rglob(f"*{gone}*")), "neither events nor logs are left on the disk"
    assert tidy(settings, runs.instance, LATER).runs == 0


def test_of_a_day_that_is_added_to_the_last_run_stays(runs: Runs, settings: Settings, vendor_folder: Any) -> None:
    vendor_folder.part("2018-12-01", [GOOD_ROW])
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    loads = [runs.run(week) for week in ("2018-12-01", "2018-12-08", "2018-12-01", "2018-12-08", "2018-12-01")]
    before = runs.knows(cached=False)
    assert tidy(settings, runs.instance, LATER).runs == 3
    assert runs.ids() == set(loads[3:])
    assert runs.knows(cached=False) == before


def test_a_run_stays_as_long_as_one_of_its_assets_stands(runs: Runs, settings: Settings) -> None:
    @dg.asset
    def first() -> None: ...

    @dg.asset
    def second() -> None: ...

    job = dg.Definitions([first, second]).resolve_implicit_global_asset_job_def()

    def run(*assets: dg.AssetsDefinition) -> str:
        keys = [asset.key for asset in assets]
        return job.execute_in_process(instance=runs.instance, asset_selection=keys).run_id

    both, one = run(first, second), run(first)
    assert tidy(settings, runs.instance, LATER).runs == 0
    assert runs.ids() == {both, one}
    other = run(second)
    assert tidy(settings, runs.instance, LATER).runs == 1
    assert runs.ids() == {one, other}


def test_nothing_goes_before_its_time(runs: Runs, settings: Settings, vendor_folder: Any) -> None:
    spoiled(vendor_folder.part("2018-12-01", [GOOD_ROW]))
    runs.run("2018-12-01")
    runs.run("2018-12-01")
    before = runs.ids()
    for later, days in ((datetime.now(UTC) + timedelta(days=29), 30), (LATER, None)):
        tidied = tidy(with_retention(settings, log_days=days), runs.instance, later)
        assert (tidied.runs, tidied.runs_without_logs) == (0, 0)
    assert runs.ids() == before
    assert tidy(settings, runs.instance, datetime.now(UTC) + timedelta(days=31)).runs == 1


def logs_of(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    folder = Path(instance.storage_directory()) / run_id
    return [file for file in folder.rglob("*") if file.is_file()]


def test_logs_of_old_runs_go_and_the_runs_stay(runs: Runs, settings: Settings, vendor_folder: Any) -> None:
    vendor_folder.part("2018-12-01", [GOOD_ROW])
    run_id = runs.run("2018-12-01")
    assert logs_of(runs.instance, run_id)
    tidied = tidy(settings, runs.instance, LATER)
    assert (tidied.runs, tidied.runs_without_logs) == (0, 1)
    assert tidied.log_bytes > 0
    assert not (Path(runs.instance.storage_directory()) / run_id).exists()
    assert runs.ids() == {run_id}
    assert tidy(settings, runs.instance, LATER + timedelta(hours=1)).runs_without_logs == 0, (
        "they are not asked for again"
    )
    later = runs.run("2018-12-01")
    assert logs_of(runs.instance, later)


def test_a_run_that_failed_after_it_had_materialised_something_stays(runs: Runs, settings: Settings) -> None:
    """Two assets in one run: one was loaded, the other failed; without the run the loaded one would look missing."""

    works = True

    @dg.asset
    def first() -> None:
        if not works:
            raise RuntimeError("on purpose")

    @dg.asset(deps=[first])
    def second() -> None:
        raise RuntimeError("on purpose")

    job = dg.Definitions([first, second]).resolve_implicit_global_asset_job_def()
    both = job.execute_in_process(instance=runs.instance, raise_on_error=False).run_id
    works = False
    later = job.execute_in_process(instance=runs.instance, raise_on_error=False).run_id
    tidy(settings, runs.instance, LATER)
    assert runs.ids() == {both, later}
    materialised = runs.instance.get_latest_materialization_event(dg.AssetKey("first"))
    assert materialised is not None
    assert materialised.run_id == both


@pytest.fixture
def loaded(runs: Runs, vendor_folder: Any) -> Runs:
    """Three weeks: each with the label that stays, one that ends with the next week, and a broken row."""
    for day in ("2018-12-01", "2018-12-08", "2018-12-15"):
        vendor_folder.part(day, [GOOD_ROW, f"{ANN},,of {day}", "x,,y"])
        runs.run(day)
    runs.run(key=PUBLISHED_KEY)
    return runs


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def published(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return query(WarehouseFiles(settings.warehouse).published, sql)


def published_stamps(settings: Settings) -> list[str]:
    """Stamps of the deliveries whose rows can be seen in the published file, as broken rows and as ended versions."""
    found = published(
        settings,
        """SELECT delivery_stamp::DATE::VARCHAR FROM ops.quarantine
           UNION SELECT known_from::DATE::VARCHAR FROM history.segments
               WHERE change_kind = 'new' AND segment_id LIKE 'of %' ORDER BY 1""",
    )
    return [day for (day,) in found]


def delivered_stamps(settings: Settings) -> list[str]:
    """Stamps of the deliveries whose rows the build file holds as delivered."""
    found = query(
        WarehouseFiles(settings.warehouse).build,
        "SELECT DISTINCT delivery_stamp::DATE::VARCHAR FROM delivered.segments ORDER BY 1",
    )
    return [day for (day,) in found]


def test_without_configuration_no_row_goes(loaded: Runs, settings: Settings) -> None:
    assert settings.retention == Retention()
    tidied = tidy(settings, loaded.instance, LATER)
    assert (tidied.expired, tidied.published) == ((), False)
    assert len(published_stamps(settings)) == 3


def test_old_rows_leave_the_published_file_too_and_are_not_loaded_again(loaded: Runs, settings: Settings) -> None:
    keeping = with_retention(settings, delivered_days=400)
    before = loaded.knows(cached=False)
    current = published(settings, "FROM sentiance.segments ORDER BY ALL")
    versions = "SELECT segment_id, change_kind, known_from::DATE::VARCHAR FROM history.segments ORDER BY ALL"
    assert published(settings, versions) == [
        ("behavior.early_bird", "new", "2018-12-01"),
        ("of 2018-12-01", "deleted", "2018-12-08"),
        ("of 2018-12-01", "new", "2018-12-01"),
        ("of 2018-12-08", "deleted", "2018-12-15"),
        ("of 2018-12-08", "new", "2018-12-08"),
        ("of 2018-12-15", "new", "2018-12-15"),
    ]
    tidied = tidy(keeping, loaded.instance)
    assert [d.partition for d in tidied.expired] == ["2018-12-01", "2018-12-08"]
    assert tidied.published
    assert delivered_stamps(settings) == published_stamps(settings) == ["2018-12-15"]
    assert published(settings, versions) == [
        ("behavior.early_bird", "new", "2018-12-01"),
        ("of 2018-12-15", "new", "2018-12-15"),
    ]
    assert published(settings, "FROM sentiance.segments ORDER BY ALL") == current, "what holds stays, however old"
    after = loaded.knows(cached=False)
    event = loaded.instance.get_latest_materialization_event(PUBLISHED_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["rows"].value > 0
    assert {k: v for k, v in after.items() if k != "published"} == {k: v for k, v in before.items() if k != "published"}
    planned = plan(settings, settings.feeds)
    assert (planned.loads, planned.up_to_date) == ((), 3)
    again = tidy(keeping, loaded.instance)
    assert (again.expired, again.published) == ((), False)


def test_a_partition_that_has_expired_can_be_loaded_by_hand(loaded: Runs, settings: Settings) -> None:
    keeping = with_retention(settings, delivered_days=400)
    tidy(keeping, loaded.instance)
    loaded.run("2018-12-01")
    loaded.run(key=PUBLISHED_KEY)
    assert delivered_stamps(settings) == published_stamps(settings) == ["2018-12-01", "2018-12-15"]
    assert [d.partition for d in tidy(keeping, loaded.instance).expired] == ["2018-12-01"]


def test_what_an_interrupted_call_left_published_goes_with_the_next(
    loaded: Runs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = with_retention(settings, delivered_days=400)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(housekeeping_module, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tidy(keeping, loaded.instance)
    assert len(published_stamps(settings)) == 3
    tidied = tidy(keeping, loaded.instance)
    assert (tidied.expired, tidied.published) == ((), True)
    assert published_stamps(settings) == ["2018-12-15"]


def state_of(settings: Settings) -> dict[str, bytes]:
    """Every file of the warehouse but SQLite's, which change when they are read."""
    return {
        str(file): file.read_bytes()
        for file in settings.warehouse.rglob("*")
        if file.is_file() and file.suffix not in (".db", ".lock") and ".db-" not in file.name
    }


def test_a_dry_run_says_what_would_go_and_changes_nothing(loaded: Runs, settings: Settings, vendor_folder: Any) -> None:
    keeping = with_retention(settings, delivered_days=400, failed_staging_hours=1)
    spoiled(vendor_folder.part("2018-12-22", [GOOD_ROW]))
    failing = Runs(keeping, loaded.instance)
    failing.run("2018-12-22")
    failing.run("2018-12-22")
    before, runs_before = state_of(settings), loaded.ids()
    would_go = tidy(keeping, loaded.instance, LATER, dry_run=True)
    assert state_of(settings) == before
    assert loaded.ids() == runs_before
    assert loaded.instance.daemon_cursor_storage.get_cursor_values({TIDIED_KEY}) == {}
    gone = tidy(keeping, loaded.instance, LATER)
    assert would_go.expired == gone.expired
    assert len(gone.staging) == 2
    assert would_go.staging == gone.staging
    assert would_go.staging_bytes == gone.staging_bytes > 0
    assert (would_go.runs, would_go.runs_without_logs, would_go.log_bytes) == (
        gone.runs,
        gone.runs_without_logs,
        gone.log_bytes,
    )
    assert gone.runs == 1
    assert list((settings.warehouse / "staging").iterdir()) == []


def test_the_schedule_runs_from_the_start_once_a_day(settings: Settings) -> None:
    [schedule] = build_definitions(settings).schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "17 3 * * *"
    assert schedule.execution_timezone == "UTC"
    assert schedule.job_name == HOUSEKEEPING


def test_the_job_tidies_up_and_says_what_went(loaded: Runs, settings: Settings) -> None:
    defs = build_definitions(with_retention(settings, delivered_days=400))
    result = defs.resolve_job_def(HOUSEKEEPING).execute_in_process(instance=loaded.instance)
    assert result.success
    [output] = [e for e in result.all_node_events if e.is_successful_output]
    said = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert said["deliveries expired"] == 2
    assert said["rows deleted"] == 6
    assert published_stamps(settings) == ["2018-12-15"]


def written(folder: Path, feed: Feed, **retention: Any) -> Path:
    file = folder / "feeds.yaml"
    said = feed.model_dump(mode="json", exclude_defaults=True) | {"start": feed.start}
    file.write_text(yaml.safe_dump({"warehouse": "./warehouse", "retention": retention, "feeds": [said]}))
    return file


def test_the_command_says_what_would_go_and_lets_it_go(
    tmp_path: Path, loaded: Runs, settings: Settings, offload: Make
) -> None:
    [feed] = settings.feeds
    assert "Nothing has been kept long enough to go." in offload("tidy", "--feeds", written(tmp_path, feed)).out
    feeds = written(tmp_path, feed, delivered_days=400)
    rows = "rows: 4, and 2 in quarantine, of 2 deliveries stamped 2018-12-01 to 2018-12-08"
    dry = offload("tidy", "--feeds", feeds, "--dry-run")
    assert f"would go: {rows}" in dry.out
    assert len(published_stamps(settings)) == 3
    assert f"gone: {rows}" in offload("tidy", "--feeds", feeds).out
    assert published_stamps(settings) == ["2018-12-15"]
    said = offload("tidy", "--feeds", feeds, "--json")
    assert said.code == 0
    assert (said.json["expired"], said.json["dry_run"], said.json["published"]) == ([], False, False)
    assert loaded.ids()


def test_the_words_name_each_kind() -> None:
    nothing = Tidied((), (), 0, 0, 0, 0, 5, 5, False)
    assert in_words(nothing) == []
    much = Tidied((), ("a", "b"), 2_000_000, 3, 4, 5_000_000, 9_000_000, 6_000_000, False)
    assert in_words(much) == [
        "build file: 9.0 MB before, 6.0 MB after",
        "staging: 2 folders, 2.0 MB",
        "logs: of 3 runs, and 4 runs altogether, 5.0 MB",
    ]
