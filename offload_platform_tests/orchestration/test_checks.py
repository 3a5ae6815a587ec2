"""Verdicts of the checks: figures of real loads, thresholds of the configuration, and what Dagster records of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from offload_platform.landing.masking import NOT_SHOWN
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.checks import (
    ACCOUNT_CHECK,
    DRIFT_CHECK,
    KEY_CHECK,
    QUARANTINE_CHECK,
    REFERENCE_CHECK,
    TIME_CHECK,
    VOLUME_CHECK,
    check_results,
    check_specs,
)
from offload_platform.orchestration.instance import open_instance
from offload_platform.settings import Feed, Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.load import Loaded
from offload_platform.warehouse.measures import Volume, measure

from ..conftest import contract_of

Make = Callable[..., Any]
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
BROKEN_REASON = "user_id: str_matches('^[0-9a-f]{24}$')"
CADENCE = {"lifestyle": "weekly", "driving": "daily", "mapping": "daily"}
ALWAYS = {ACCOUNT_CHECK, QUARANTINE_CHECK, DRIFT_CHECK, KEY_CHECK, VOLUME_CHECK}


def segments(*users: str, segment: str = "behavior.early_bird") -> list[str]:
    return [f"{user},,{segment}" for user in users]


def drive(user: str, start: str, **more: Any) -> dict[str, Any]:
    """A drive that began at a time of UTC."""
    time = f"{start}.000+0000"
    return {"user_id": user, "start": time, "end": time, "mode": "car", "behavior_events": {}} | more


def numbers(result: dg.AssetCheckResult) -> dict[str, Any]:
    """The figures in the metadata, which Dagster plots."""
    return {
        name: value.value
        for name, value in result.metadata.items()
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
    }


def rows_of(table: Any) -> list[dict[str, str]]:
    """Rows of a table in metadata as they are seen: spaces of no width left out."""
    return [{name: str(cell).replace("\u200b", "") for name, cell in record.data.items()} for record in table.records]


class Bench:
    """A feed that is loaded without Dagster, and the verdicts on what was loaded."""

    def __init__(self, warehouse: Any, folder: Any, feed_of: Make, partition: Make) -> None:
        self.warehouse = warehouse
        self.folder = folder
        self.feed_of = feed_of
        self.partition = partition

    def feed(self, **said: Any) -> Feed:
        feed: Feed = self.feed_of(self.folder.url, **{"cadence": CADENCE} | said)
        return feed

    def load(self, first: str, offload_type: str = "segments", **said: Any) -> Loaded:
        """Load the week or the day of a first day; lifestyle deliveries hold segments alone."""
        is_weekly = contract_of(offload_type).family == "lifestyle"
        feed = self.feed(**said | {"types": (offload_type,)} if is_weekly else said)
        partition = self.partition(first, offload_type, days=7 if is_weekly else 1)
        loaded: Loaded = self.warehouse.load(feed, partition)
        return loaded

    def verdicts(self, loaded: Loaded, **checks: Any) -> dict[str, dg.AssetCheckResult]:
        results = check_results(loaded, self.feed(checks=checks))
        return {str(result.check_name): result for result in results}

    def verdict(self, check: str, first: str, offload_type: str = "segments", **checks: Any) -> dg.AssetCheckResult:
        """Load, and what one check says of it, by thresholds."""
        return self.verdicts(self.load(first, offload_type, checks=checks), **checks)[check]


@pytest.fixture
def bench(warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make) -> Bench:
    return Bench(warehouse, vendor_folder, feed_of, partition)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(tmp_path / "dagster's")) as instance:
        yield instance


@pytest.mark.parametrize("offload_type", vendor_named("sentiance").contracts)
def test_a_table_has_the_checks_that_its_contract_can_be_judged_by(feed_of: Make, offload_type: str) -> None:
    feed = feed_of("file:///srv", cadence=CADENCE)
    contract = contract_of(offload_type)
    specs = {spec.name: spec for spec in check_specs(feed, contract, dg.AssetKey(["acme", offload_type]))}
    has_events = offload_type in {
        *("stationaries", "transports", "moments"),
        *("transports_realtime", "driving_events_realtime", "mapped_waypoints_realtime"),
    }
    refers = contract.family == "driving"
    assert set(specs) == ALWAYS | ({TIME_CHECK} if has_events else set()) | ({REFERENCE_CHECK} if refers else set())
    assert {name for name, spec in specs.items() if spec.blocking} == {QUARANTINE_CHECK}
    assert all(spec.partitions_def is not None for spec in specs.values())
    assert all(spec.description and spec.description.endswith(".") for spec in specs.values())


def test_without_the_other_type_references_are_not_checked(bench: Bench) -> None:
    bench.folder.driving_day("2018-12-07", [drive(ANN, "2018-12-07T08:00:00")], "driving_events_realtime")
    alone: dict[str, Any] = {"types": ("driving_events_realtime",)}
    loaded = bench.load("2018-12-07", "driving_events_realtime", **alone)
    feed = bench.feed(**alone)
    names = {spec.name for spec in check_specs(feed, loaded.partition.contract, dg.AssetKey("t"))}
    assert names == {result.check_name for result in check_results(loaded, feed)} == ALWAYS | {TIME_CHECK}


def test_rows_are_counted_again_after_the_commit(bench: Bench) -> None:
    bench.folder.part("2018-12-08", [*segments(ANN, BEN), "x,,y"])
    loaded = bench.load("2018-12-08")
    sound = bench.verdicts(loaded)[ACCOUNT_CHECK]
    assert (sound.passed, sound.description) == (
        True,
        "3 rows in = 2 in the table and 1 in quarantine, counted again after the commit.",
    )
    assert numbers(sound) == {
        "rows in": 3,
        "rows in the table": 2,
        "rows in quarantine": 1,
        "parts that do not balance": 0,
    }
    with bench.warehouse.writing() as connection:
        connection.execute("DELETE FROM store.segments_sightings WHERE line = 2")
        lost = replace(loaded, measures=measure(connection, bench.feed(), loaded.partition, loaded.delivery))
        connection.execute("DELETE FROM store.segments_sightings; DELETE FROM ops.ledger; DELETE FROM ops.quarantine")
        gone = replace(loaded, measures=measure(connection, bench.feed(), loaded.partition, loaded.delivery))
    verdict = bench.verdicts(lost)[ACCOUNT_CHECK]
    assert (verdict.passed, verdict.severity) == (False, ERROR)
    assert verdict.description == (
        "3 rows came in, but there are 1 in the table and 1 in quarantine, counted again after the commit, and no row "
        "may be missing: load the partition again, and report it if it stays so."
    )
    assert numbers(verdict)["parts that do not balance"] == 1
    assert rows_of(verdict.metadata["by part"]) == [
        {
            "part": loaded.delivery.parts[0].key,
            "in": "3",
            "loaded": "2",
            "quarantined": "1",
            "erased": "0",
            "in the table": "1",
            "in quarantine": "1",
        }
    ]
    assert not bench.verdicts(gone)[ACCOUNT_CHECK].passed, "what the ledger does not know is missed as well"


def test_quarantine_warns_above_its_threshold(bench: Bench) -> None:
    bench.folder.part("2018-12-08", [*segments(ANN, BEN, CID), "x,,y"])
    loaded = bench.load("2018-12-08")
    verdict = bench.verdicts(loaded)[QUARANTINE_CHECK]
    assert (verdict.passed, verdict.severity) == (False, WARN)
    assert numbers(verdict) == {"rows in": 4, "rows quarantined": 1, "share that breaks the contract": 0.25}
    at, above = (bench.verdicts(loaded, quarantine={"warn_above": share})[QUARANTINE_CHECK] for share in (0.25, 0.24))
    assert (at.passed, above.passed) == (True, False)
    assert at.description == (
        f"1 of 4 rows (25%) are in quarantine, not more than the allowed 25%: {BROKEN_REASON} (1). See ops.quarantine."
    )


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_drift_is_as_bad_as_is_configured(bench: Bench, severity: str) -> None:
    bench.folder.part("2018-12-08", segments(ANN, segment="brand_new"))
    verdict = bench.verdict(DRIFT_CHECK, "2018-12-08", drift={"severity": severity})
    assert (verdict.passed, verdict.severity.value) == (False, severity.upper())
    assert numbers(verdict) == {"observations": 1}


def keys(bench: Bench, **duplicates: Any) -> dg.AssetCheckResult:
    return bench.verdict(KEY_CHECK, "2018-12-08", duplicates=duplicates)


def test_copies_and_contradictions_are_told_apart_by_lines(bench: Bench) -> None:
    first = bench.folder.part("2018-12-08", [*segments(ANN, BEN), f"{BEN},anna,behavior.early_bird", *segments(ANN)])
    second = bench.folder.part("2018-12-08", segments(CID, ANN), number=1)
    verdict = keys(bench)
    assert (verdict.passed, verdict.severity) == (False, WARN)
    assert verdict.description == (
        "3 of 6 rows (50%) have a natural key that stands before, more than the allowed 0%: 2 identical copies and "
        "1 contradiction; ask the vendor which row counts."
    )
    assert numbers(verdict) == {
        "rows": 6,
        "rows whose key stands before": 3,
        "identical copies": 2,
        "contradictions": 1,
        "share whose key stands before": 0.5,
    }
    one, other = (str(part.relative_to(bench.folder.root)) for part in (first, second))
    assert rows_of(verdict.metadata["examples"]) == [
        {"key": "1", "rows": "2", "content": "2 contradict each other", "part": one, "lines": "3, 4"},
        {"key": "2", "rows": "3", "content": "identical", "part": one, "lines": "2, 5"},
        {"key": "2", "rows": "3", "content": "identical", "part": other, "lines": "3"},
    ]
    for said in (verdict.description, str(verdict.metadata)):
        assert ANN not in said
        assert BEN not in said


def test_duplicates_fail_above_their_share_and_as_badly_as_is_configured(bench: Bench) -> None:
    bench.folder.part("2018-12-08", segments(ANN, BEN, CID, ANN))
    at, above = keys(bench, allowed_share=0.25), keys(bench, allowed_share=0.24, severity="error")
    assert (at.passed, above.passed, above.severity) == (True, False, ERROR)
    assert above.description == (
        "1 of 4 rows (25%) have a natural key that stands before, more than the allowed 24%: 1 identical copy and "
        "0 contradictions; count rows that are the same only once."
    )
    bench.folder.part("2018-12-08", segments(ANN, BEN, CID))
    none = keys(bench)
    assert (none.passed, none.description) == (True, "Each of the 3 rows has a natural key of its own.")
    assert "examples" not in none.metadata


def test_one_user_with_two_ids_of_the_client_is_a_contradiction(bench: Bench) -> None:
    file = bench.folder.root / "_mapping" / "user_external.csv"
    file.parent.mkdir()
    moment = datetime(2018, 12, 7, 4, tzinfo=UTC)
    for version, links in enumerate(([(ANN, "anna")], [(ANN, "anna"), (BEN, "bert"), (ANN, "anne"), (CID, "anna")])):
        file.write_text("".join(f"{user},{external}\n" for user, external in [("user_id", "external_id"), *links]))
        changed = (moment + timedelta(hours=version)).timestamp()
        os.utime(file, (changed, changed))
        verdict = bench.verdict(KEY_CHECK, "2018-12-07", "mapping")
    assert not verdict.passed
    assert (numbers(verdict)["rows"], numbers(verdict)["contradictions"]) == (4, 1), "of this version alone"
    assert [row["lines"] for row in rows_of(verdict.metadata["examples"])] == ["2, 4"]


def test_the_sample_repeats_one_drive(bench: Bench, sample: Path) -> None:
    feed = bench.feed_of(sample.as_uri(), cadence=CADENCE)
    partition = bench.partition("2018-12-07", "driving_events_realtime", days=1)
    [verdict] = [v for v in check_results(bench.warehouse.load(feed, partition), feed) if v.check_name == KEY_CHECK]
    assert not verdict.passed
    assert (numbers(verdict)["identical copies"], numbers(verdict)["contradictions"]) == (1, 0)
    [example] = rows_of(verdict.metadata["examples"])
    assert (example["content"], example["lines"]) == ("identical", "13, 14")
    assert "driving_events_realtime" in example["part"]


def test_rows_of_an_increment_may_be_late_up_to_a_share(bench: Bench) -> None:
    starts = ("2018-12-07T23:00:00", "2018-12-07T12:00:00", "2018-12-05T00:00:00", "2018-12-04T23:59:59")
    bench.folder.driving_day("2018-12-07", [drive(ANN, start) for start in starts], "transports_realtime")

    def verdict(**late: Any) -> dg.AssetCheckResult:
        return bench.verdict(TIME_CHECK, "2018-12-07", "transports_realtime", late_arrivals=late)

    usual = verdict()
    assert (usual.passed, usual.severity) == (False, WARN)
    assert usual.description == (
        "1 of 4 rows (25%) tell of events more than 3 days before the end of their data day, more than the allowed 5%; "
        "ask the vendor why they come late, or raise checks.late_arrivals of the feed."
    )
    assert numbers(usual) == {
        "rows": 4,
        "late rows": 1,
        "share of late rows": 0.25,
        "median lag (days)": 0.5,
        "95th percentile of the lag (days)": 3.0,
        "longest lag (days)": 3.0,
    }
    assert verdict(allowed_share=0.25).passed
    assert verdict(days=3.1).passed
    failed = verdict(days=2.9, severity="error")
    assert (failed.passed, failed.severity, numbers(failed)["late rows"]) == (False, ERROR, 2)


STAYS = "user_id,start,end,latitude,longitude,location.significance"


def stays(bench: Bench, *starts: str, **late: Any) -> dg.AssetCheckResult:
    """Load stays that began at times of UTC, and judge them; the stamp is of 2018-12-08 at 15:05:54."""
    rows = [f"{ANN},{start}.000+0000,,51.2,4.4,home" for start in starts]
    bench.folder.part("2018-12-08", rows, offload_type="stationaries", header=STAYS)
    return bench.verdict(TIME_CHECK, "2018-12-08", "stationaries", late_arrivals=late)


def test_the_newest_event_of_a_snapshot_may_be_some_days_old(bench: Bench) -> None:
    starts = ("2018-10-07T00:00:00", "2018-12-05T15:05:55", "2018-12-01T00:00:00")
    verdict = stays(bench, *starts)
    assert verdict.passed
    assert verdict.description == (
        "The newest event happened 3.00 days before the stamp of the delivery, not more than the allowed 3."
    )
    assert numbers(verdict) == {"lag of the newest event (days)": 3.0}
    late = stays(bench, *starts, days=2.5, severity="error")
    assert (late.passed, late.severity) == (False, ERROR)
    assert late.description == (
        "The newest event happened 3.00 days before the stamp of the delivery, more than the allowed 2.5; "
        "ask whether the app still sends, or raise checks.late_arrivals.days of the feed."
    )


def test_without_events_time_is_not_judged(bench: Bench) -> None:
    snapshot = stays(bench)
    bench.folder.driving_day("2018-12-07", [], "transports_realtime")
    increment = bench.verdict(TIME_CHECK, "2018-12-07", "transports_realtime")
    assert {(v.passed, v.description) for v in (snapshot, increment)} == {
        (True, "Not judged: no row of the delivery has a time in start_at.")
    }


def volumes(bench: Bench, rows: Sequence[int], **volume: Any) -> dg.AssetCheckResult:
    """Load days of so many drives, and judge the last of them."""
    for day, number in enumerate(rows, start=1):
        drives = [drive(ANN, f"2018-12-{day:02d}T{hour:02d}:00:00") for hour in range(number)]
        bench.folder.driving_day(f"2018-12-{day:02d}", drives, "transports_realtime")
        loaded = bench.load(f"2018-12-{day:02d}", "transports_realtime", checks={"volume": volume})
    return bench.verdicts(loaded, volume=volume)[VOLUME_CHECK]


def test_volume_is_judged_from_three_deliveries_on(bench: Bench) -> None:
    early = volumes(bench, [10, 12, 0])
    assert (early.passed, numbers(early)) == (True, {"rows": 0, "deliveries before": 2})
    assert early.description == "Not judged: 2 deliveries before this one are loaded, and 3 are needed."
    verdict = volumes(bench, [10, 12, 8, 4])
    assert (verdict.passed, verdict.severity) == (False, WARN)
    assert verdict.description == (
        "4 rows, where the median of the 3 deliveries before is 10: 60% fewer, more than the allowed 50%; "
        "ask the vendor, or raise checks.volume.allowed_change of the feed."
    )
    assert numbers(verdict) == {
        "rows": 4,
        "deliveries before": 3,
        "median of the deliveries before": 10,
        "change": -0.6,
    }


@pytest.mark.parametrize(
    ("rows", "volume", "passed", "change"),
    [
        ((10, 12, 8, 5), {}, True, "50% fewer"),
        ((10, 12, 8, 15), {}, True, "50% more"),
        ((10, 12, 8, 16), {"severity": "error"}, False, "60% more"),
        ((10, 12, 8, 16), {"allowed_change": 0.6}, True, "60% more"),
        ((20, 4, 4, 4), {}, True, "no change"),
        ((1, 2, 2, 1, 60), {}, False, "3,900% more"),
        ((0, 0, 0, 0), {}, True, "no change"),
        ((0, 0, 0, 1), {}, False, "any row is a change"),
    ],
)
def test_volume_may_change_by_a_share(
    bench: Bench, rows: tuple[int, ...], volume: dict[str, Any], passed: bool, change: str
) -> None:
    bench.folder.part("2018-12-08", segments(ANN))
    loaded = bench.load("2018-12-08")
    *earlier, last = rows
    figures = replace(loaded.measures, volume=Volume(last, tuple(earlier)))
    verdict = bench.verdicts(replace(loaded, measures=figures), volume=volume)[VOLUME_CHECK]
    assert (verdict.passed, verdict.severity.value) == (passed, volume.get("severity", "warn").upper())
    assert f": {change}, " in str(verdict.description)


EVENTS, DRIVES, SCORES = "driving_events_realtime", "transports_realtime", "scores_realtime"
MORNING, NOON = "2018-12-07T08:00:00", "2018-12-07T12:00:00"


@pytest.mark.parametrize("last", [EVENTS, DRIVES])
def test_references_are_judged_by_whichever_type_is_loaded_last(bench: Bench, last: str) -> None:
    bench.folder.driving_day("2018-12-07", [drive(ANN, MORNING), drive(ANN, NOON), drive(BEN, NOON)], EVENTS)
    bench.folder.driving_day("2018-12-07", [drive(ANN, MORNING), drive(CID, NOON), drive(ANN, MORNING)], DRIVES)
    first = bench.verdict(REFERENCE_CHECK, "2018-12-07", EVENTS if last == DRIVES else DRIVES)
    assert first.passed
    assert numbers(first) == {}
    assert f"{EVENTS} → {DRIVES}: not judged, for " in str(first.description)
    loaded = bench.load("2018-12-07", last)
    verdict = bench.verdicts(loaded)[REFERENCE_CHECK]
    assert (verdict.passed, verdict.severity) == (False, WARN)
    assert (
        f"{EVENTS} → {DRIVES}: 2 of 3 rows (66.7%) refer to what was not delivered, more than the allowed 5%; ask the "
        "vendor for the missing rows, or raise checks.references.allowed_share of the feed."
    ) in str(verdict.description)
    name = f"{EVENTS} → {DRIVES} (user_id, start_at)"
    assert numbers(verdict) == {
        f"{name}: rows": 3,
        f"{name}: rows without a match": 2,
        f"{name}: share without a match": 0.666667,
    }
    assert bench.verdicts(loaded, references={"allowed_share": 0.67})[REFERENCE_CHECK].passed
    failed = bench.verdicts(loaded, references={"severity": "error"})[REFERENCE_CHECK]
    assert (failed.passed, failed.severity) == (False, ERROR)


def test_thresholds_of_a_reference_are_those_of_the_type_that_refers(bench: Bench) -> None:
    bench.folder.driving_day("2018-12-07", [drive(ANN, MORNING)], EVENTS)
    bench.folder.driving_day("2018-12-07", [drive(BEN, MORNING)], DRIVES)
    loads = [bench.load("2018-12-07", name) for name in (EVENTS, DRIVES, EVENTS)][1:]

    def passed(**by_type: float) -> set[bool]:
        checks = {name: {"references": {"allowed_share": share}} for name, share in by_type.items()}
        feed = bench.feed(checks_by_type=checks)
        return {v.passed for load in loads for v in check_results(load, feed) if v.check_name == REFERENCE_CHECK}

    assert passed(**{DRIVES: 1.0}) == {False}
    assert passed(**{EVENTS: 1.0}) == {True}


def test_scores_refer_to_drives_of_nine_weeks(bench: Bench) -> None:
    for day, user in (("2018-10-04", CID), ("2018-10-05", BEN), ("2018-12-06", ANN), ("2018-12-07", ANN)):
        bench.folder.driving_day(day, [drive(user, f"{day}T08:00:00")], DRIVES)
        bench.load(day, DRIVES)
    scored = [{"user_id": user, "timestamp": 1544140800000} for user in (ANN, BEN, CID)]
    bench.folder.driving_day("2018-12-07", scored, SCORES)
    verdict = bench.verdict(REFERENCE_CHECK, "2018-12-07", SCORES)
    assert not verdict.passed
    assert numbers(verdict)[f"{SCORES} → {DRIVES} (user_id): rows without a match"] == 1, "last driven before that"


SEGMENTS = dg.AssetKey(["acme", "segments"])


def load(settings: Settings, instance: dg.DagsterInstance) -> Any:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        partition_key="2018-12-08", asset_selection=[SEGMENTS], instance=instance, raise_on_error=False
    )


def recorded(instance: dg.DagsterInstance, check: str) -> Any:
    """The last evaluation of a check that Dagster keeps."""
    key = dg.AssetCheckKey(SEGMENTS, check)
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.event.dagster_event.asset_check_evaluation_data


def test_a_delivery_that_is_mostly_bad_is_refused_and_the_old_rows_stay(
    warehouse: Any, instance: dg.DagsterInstance, vendor_folder: Any, feed_of: Make
) -> None:
    strict = {"quarantine": {"refuse_above": 0.4, "refuse_from_rows": 2}}
    feed = feed_of(vendor_folder.url, types=("segments",), checks=strict)
    settings = Settings(warehouse=warehouse.files.root, feeds=(feed,))
    vendor_folder.part("2018-12-08", segments(ANN, BEN))
    assert load(settings, instance).success
    before = warehouse.content()
    runs = len(instance.fetch_materializations(SEGMENTS, limit=10).records)

    part = vendor_folder.part("2018-12-08", [*segments(ANN, BEN), "x,,y", "x,too many,y,z", "x,,<b>y</b>"])
    result = load(settings, instance)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    key = str(part.relative_to(vendor_folder.root))
    message = (
        f"{key}: 3 of the first 5 rows break the contract, more than the limit of 40%; most often "
        f'"{BROKEN_REASON}" (2 rows), first at line 4. Ask the vendor, mend the contract, or raise '
        "checks.quarantine.refuse_above of the feed."
    )
    assert failure.step_failure_data.user_failure_data.description == message

    assert warehouse.content() == before
    assert len(instance.fetch_materializations(SEGMENTS, limit=10).records) == runs
    assert [c.check_name for c in result.get_asset_check_evaluations()] == [QUARANTINE_CHECK]
    verdict = recorded(instance, QUARANTINE_CHECK)
    assert (verdict.passed, verdict.severity, verdict.blocking) == (False, ERROR, True)
    assert (verdict.partition, verdict.description) == ("2018-12-08", message)
    assert {name: value.value for name, value in verdict.metadata.items() if name not in ("by reason", "sample")} == {
        "rows read": 5,
        "rows that break the contract": 3,
        "share that breaks the contract": 0.6,
    }
    assert rows_of(verdict.metadata["by reason"]) == [
        {"rows": "2", "reason": BROKEN_REASON},
        {"rows": "1", "reason": "too many fields: 4 of 3"},
    ]
    assert rows_of(verdict.metadata["sample"]) == [
        {"line": "4", "reasons": BROKEN_REASON, "row as delivered": "•••,,y", "part": part.name},
        {"line": "5", "reasons": "too many fields: 4 of 3", "row as delivered": NOT_SHOWN, "part": part.name},
        {"line": "6", "reasons": BROKEN_REASON, "row as delivered": "•••,,<b>y</b>", "part": part.name},
    ]

    vendor_folder.part("2018-12-08", segments(ANN, BEN, CID))
    assert load(settings, instance).success
    assert recorded(instance, QUARANTINE_CHECK).passed


def test_a_delivery_that_is_refused_at_first_is_not_materialised(
    warehouse: Any, instance: dg.DagsterInstance, vendor_folder: Any, feed_of: Make
) -> None:
    strict = {"segments": {"quarantine": {"refuse_above": 0.4, "refuse_from_rows": 1}}}
    feed = feed_of(vendor_folder.url, types=("segments",), checks_by_type=strict)
    vendor_folder.part("2018-12-08", ["x,,y"])
    assert not load(Settings(warehouse=warehouse.files.root, feeds=(feed,)), instance).success
    assert instance.get_materialized_partitions(SEGMENTS) == set()
    assert recorded(instance, QUARANTINE_CHECK).partition == "2018-12-08"


def test_an_error_is_recorded_and_the_rows_are_loaded(
    warehouse: Any, instance: dg.DagsterInstance, vendor_folder: Any, feed_of: Make
) -> None:
    checks = {"duplicates": {"severity": "error"}, "drift": {"severity": "error"}}
    feed = feed_of(vendor_folder.url, types=("segments",), checks=checks, start=date(2018, 12, 1))
    vendor_folder.part("2018-12-08", segments(ANN, ANN, segment="brand_new"))
    result = load(Settings(warehouse=warehouse.files.root, feeds=(feed,)), instance)
    assert result.success
    assert instance.get_materialized_partitions(SEGMENTS) == {"2018-12-08"}
    assert {name: (v.passed, v.severity) for name in ALWAYS if not (v := recorded(instance, name)).passed} == {
        KEY_CHECK: (False, ERROR),
        DRIFT_CHECK: (False, ERROR),
    }
