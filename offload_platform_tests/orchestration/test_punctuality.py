"""The check of whether a vendor is on time: what it says, and that Dagster keeps what a sensor reports of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from offload_platform.landing.deliveries import discover
from offload_platform.landing.punctuality import Punctuality, punctuality_of
from offload_platform.landing.store import DeliveryStore
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.deliveries import delivery_key
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.punctuality import ON_TIME_CHECK, changed_evaluations, on_time_evaluation
from offload_platform.settings import Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles

KEY = delivery_key("acme", "segments")
CHECK = dg.AssetCheckKey(KEY, ON_TIME_CHECK)
STAMP = datetime(2026, 3, 7, 15, tzinfo=UTC)
DUE = STAMP + timedelta(days=7, hours=21)
Make = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path, vendor_folder: Any, feed_of: Make) -> Settings:
    feed = feed_of(vendor_folder.url, types=("segments", "moments"), start=date(2026, 3, 7))
    return Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(settings.warehouse)) as instance:
        yield instance


def standing(late: timedelta, newest: datetime | None = STAMP, missing: tuple[date, ...] = ()) -> Punctuality:
    return Punctuality("acme", "segments", newest, DUE, max(late / timedelta(hours=1), 0.0), 6.0, 36.0, missing)


@pytest.mark.parametrize(
    ("late", "newest", "passed", "severity", "words"),
    [
        (-1, STAMP, True, "WARN", "The next delivery is due by 2026-03-15 12:00 UTC."),
        (5, STAMP, True, "WARN", "The next delivery is due by 2026-03-15 12:00 UTC."),
        (7, STAMP, False, "WARN", "The next delivery is not there; it was due by 2026-03-15 12:00 UTC, 7 h ago."),
        (72, STAMP, False, "ERROR", "The next delivery is not there; it was due by 2026-03-15 12:00 UTC, 3 d ago."),
        (-1, None, True, "WARN", "The first delivery is due by 2026-03-15 12:00 UTC."),
        (7, None, False, "WARN", "No complete delivery was ever found; it was due by 2026-03-15 12:00 UTC, 7 h ago."),
        (
            40,
            None,
            False,
            "ERROR",
            "No complete delivery was ever found; it was due by 2026-03-15 12:00 UTC, 40 h ago.",
        ),
    ],
)
def test_late_warns_and_overdue_is_an_error(
    late: int, newest: datetime | None, passed: bool, severity: str, words: str
) -> None:
    said = on_time_evaluation(standing(timedelta(hours=late), newest))
    assert (said.asset_check_key, said.passed, said.severity.value) == (CHECK, passed, severity)
    assert said.description is not None
    assert said.description.startswith(words)
    assert ("Ask the vendor" in said.description) is not passed


def test_the_numbers_can_be_plotted_and_missing_days_are_named() -> None:
    days = tuple(date(2026, 3, 1) + timedelta(weeks=week) for week in range(12))
    metadata = on_time_evaluation(standing(timedelta(hours=7.126), missing=days)).metadata
    assert {name: value.value for name, value in metadata.items()} == {
        "vendor": "late 7 h",
        "hours late": 7.13,
        "newest complete delivery": "2026-03-07 15:00 UTC",
        "next due": "2026-03-15 12:00 UTC",
        "missing deliveries": 12,
        "missing": "… " + ", ".join(map(str, days[2:])),
    }
    assert "missing" not in on_time_evaluation(standing(timedelta())).metadata


def test_what_a_sensor_reports_is_kept_on_the_delivery(settings: Settings, instance: dg.DagsterInstance) -> None:
    [feed] = settings.feeds
    contract = vendor_named("sentiance").contracts["segments"]

    @dg.sensor(asset_selection=dg.AssetSelection.groups("acme").materializable())
    def arrivals() -> dg.SensorResult:
        return dg.SensorResult(
            asset_events=[
                dg.AssetMaterialization(KEY, partition="2026-03-07"),
                on_time_evaluation(punctuality_of(feed, contract, [], DUE + timedelta(days=30))),
            ]
        )

    defs = dg.Definitions.merge(build_definitions(settings), dg.Definitions(sensors=[arrivals]))
    evaluated = arrivals.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs))
    for event in evaluated.asset_events:
        instance.report_runless_asset_event(event)
    [record] = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=10)
    assert record.evaluation is not None
    assert (record.evaluation.passed, record.evaluation.severity.value) == (False, "ERROR")
    assert "No complete delivery was ever found" in str(record.evaluation.description)
    [materialized] = instance.get_materialized_partitions(KEY)
    assert materialized == "2026-03-07"


def test_a_standing_is_told_once_and_again_when_it_changes(settings: Settings, vendor_folder: Any) -> None:
    [feed] = settings.feeds
    for offload_type in ("segments", "moments"):
        vendor_folder.part(STAMP, ["x"], offload_type=offload_type)
    found = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    told: dict[str, str] = {}
    history = []
    for hours in (-50, -1, 5, 6, 7, 35, 36, 500):
        changed, told = changed_evaluations(feed, found, told, DUE + timedelta(hours=hours))
        history.append([(e.passed, e.severity.value) for e in changed])
    nothing: list[tuple[bool, str]] = []
    assert history == [
        *([(True, "WARN")] * 2, nothing, nothing),
        *([(False, "WARN")] * 2, nothing, nothing),
        *([(False, "ERROR")] * 2, nothing),
    ]
    vendor_folder.part(STAMP + timedelta(weeks=1), ["x"])
    vendor_folder.part(STAMP + timedelta(weeks=1), ["x"], offload_type="moments")
    found = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    assert {e.passed for e in changed_evaluations(feed, found, told, DUE + timedelta(hours=40))[0]} == {True}


def execute(settings: Settings, instance: dg.DagsterInstance, checks: set[dg.AssetCheckKey]) -> Any:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=checks)
    return subset.execute_in_process(instance=instance, raise_on_error=False)


def test_executed_by_hand_it_looks_at_the_root(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for offload_type in ("segments", "moments"):
        vendor_folder.part(yesterday, ["x"], offload_type=offload_type)
    result = execute(settings, instance, {CHECK})
    assert result.success
    [said] = result.get_asset_check_evaluations()
    assert (said.asset_check_key, said.passed) == (CHECK, True)
    assert said.metadata["vendor"].value == "on time"
    both = {CHECK, dg.AssetCheckKey(delivery_key("acme", "moments"), ON_TIME_CHECK)}
    assert {e.asset_check_key for e in execute(settings, instance, both).get_asset_check_evaluations()} == both


def test_a_root_that_cannot_be_listed_fails_the_check_in_a_sentence(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    vendor_folder.root.rmdir()
    result = execute(settings, instance, {CHECK})
    assert not result.success
    [event] = [e for e in result.all_events if e.is_step_failure]
    assert "check the url of the feed" in event.step_failure_data.user_failure_data.description


def test_every_delivery_has_the_check_and_no_table_has(settings: Settings) -> None:
    graph = build_definitions(settings).resolve_asset_graph()
    with_check = {key.asset_key for key in graph.asset_check_keys if key.name == ON_TIME_CHECK}
    assert with_check == {delivery_key("acme", "segments"), delivery_key("acme", "moments")}


def test_a_load_executes_no_check_of_the_vendor(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    vendor_folder.part("2026-03-07", [f"{'a' * 24},,behavior.early_bird"])
    vendor_folder.part("2026-03-07", ["?"], offload_type="moments")
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    table = dg.AssetKey(["acme", "segments"])
    result = job.execute_in_process(partition_key="2026-03-07", asset_selection=[table], instance=instance)
    assert ON_TIME_CHECK not in {e.check_name for e in result.get_asset_check_evaluations()}
