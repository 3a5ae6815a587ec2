"""Assets as Dagster sees them: what a load tells, what a failure says, partitions, and the whole graph."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from offload_platform.contracts.contract import Cadence
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.checks import (
    ACCOUNT_CHECK,
    DRIFT_CHECK,
    KEY_CHECK,
    QUARANTINE_CHECK,
    TIME_CHECK,
    VOLUME_CHECK,
)
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.partitions import partition_key_of, partition_of, partitions_of
from offload_platform.orchestration.publishing import HELD_CHECK
from offload_platform.orchestration.punctuality import ON_TIME_CHECK
from offload_platform.orchestration.reports import table
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.settings import Feed, Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles

ANN, BEN = "a" * 24, "b" * 24
KEY = dg.AssetKey(["acme", "segments"])
GOOD_ROW = f"{ANN},,behavior.early_bird"
Make = Callable[..., Any]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(tmp_path / "warehouse")) as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path, vendor_folder: Any, feed_of: Make) -> Settings:
    feed = feed_of(vendor_folder.url, types=("segments",))
    return Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))


def load(settings: Settings, instance: dg.DagsterInstance, partition: str = "2018-12-08") -> Any:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        partition_key=partition, asset_selection=[KEY], instance=instance, raise_on_error=False
    )


def failure_of(result: Any) -> str:
    [event] = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.user_failure_data.description


def checks_of(result: Any) -> dict[str, Any]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_a_load_tells_what_came_in_and_what_became_of_it(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    first = vendor_folder.part("2018-12-08", [GOOD_ROW, GOOD_ROW])
    second = vendor_folder.part("2018-12-08", [f"{BEN},,behavior.night_owl"], number=1)
    result = load(settings, instance)
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.partition == "2018-12-08"
    said = {name: value.value for name, value in event.materialization.metadata.items()}
    assert said.pop("seconds") > 0
    assert said.pop("speed (MB/s stored)") >= 0
    fingerprint = said.pop("delivery fingerprint")
    assert said == {
        "dagster/partition_row_count": 3,
        "rows in": 3,
        "rows loaded": 3,
        "rows quarantined": 0,
        "drift observations": 0,
        "parts": 2,
        "stored size (MB)": round((first.stat().st_size + second.stat().st_size) / 1e6, 3),
        "delivery": "12_08_2018_15_05_54_499",
        "contract version": vendor_named("sentiance").contracts["segments"].version,
    }
    assert event.materialization.tags["dagster/data_version"] == fingerprint
    checks = checks_of(result)
    assert {name: (c.passed, c.partition) for name, c in checks.items()} == {
        name: (name != KEY_CHECK, "2018-12-08")
        for name in (ACCOUNT_CHECK, QUARANTINE_CHECK, DRIFT_CHECK, KEY_CHECK, VOLUME_CHECK)
    }
    assert checks[QUARANTINE_CHECK].description == "All 3 rows keep the contract."
    assert instance.get_materialized_partitions(KEY) == {"2018-12-08"}
    with duckdb.connect(settings.warehouse / "build" / "offloads.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM delivered.segments").fetchall() == [(3,)]
        assert connection.execute("SELECT run_id FROM ops.receipts").fetchall() == [(result.run_id,)]


def test_the_data_version_changes_with_the_delivery_alone(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    def version() -> str:
        [event] = load(settings, instance).get_asset_materialization_events()
        return event.materialization.tags["dagster/data_version"]

    vendor_folder.part("2018-12-08", [GOOD_ROW])
    first = version()
    assert version() == first
    vendor_folder.part("2018-12-08", [GOOD_ROW, GOOD_ROW])
    assert version() != first


def test_checks_fail_as_warnings_and_show_rows_as_text(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    nasty = "<script>alert(1)</script> | **bold** `code` [x](http://y) _i_ &#60; \\"
    part = vendor_folder.part("2018-12-08", [GOOD_ROW, f"no id,,{nasty}", f"{BEN},,brand|new"])
    result = load(settings, instance)
    assert result.success
    checks = checks_of(result)
    quarantine, drift = checks[QUARANTINE_CHECK], checks[DRIFT_CHECK]
    assert not quarantine.passed
    assert not drift.passed
    assert {quarantine.severity, drift.severity} == {dg.AssetCheckSeverity.WARN}
    broken = "user_id: str_matches('^[0-9a-f]{24}$')"
    assert quarantine.description == (
        f"1 of 3 rows (33.3%) are in quarantine, more than the allowed 0%: {broken} (1). See ops.quarantine."
    )
    assert quarantine.metadata["rows quarantined"].value == 1
    assert quarantine.metadata["share that breaks the contract"].value == 0.333333
    assert rows_of(quarantine.metadata["by reason"]) == [{"rows": "1", "reason": broken}]
    assert rows_of(quarantine.metadata["sample"]) == [
        {"line": "3", "reasons": broken, "row as delivered": f"•••,,{nasty}", "part": part.name}
    ]
    assert rows_of(drift.metadata["drift"]) == [
        {"kind": "new value", "column": "segment_id", "found": "brand|new", "rows": "1"}
    ]


def rows_of(table: Any) -> list[dict[str, str]]:
    """Rows of a table in metadata as they are seen: spaces of no width left out."""
    return [{name: cell.replace("\u200b", "") for name, cell in record.data.items()} for record in table.records]


def test_the_commonest_reasons_are_named_in_the_sentence(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    surplus = [f"{GOOD_ROW}{',more' * n}" for n in (1, 2, 3, 3, 4)]
    vendor_folder.part("2018-12-08", [GOOD_ROW, *surplus])
    said = checks_of(load(settings, instance))[QUARANTINE_CHECK].description
    assert said == (
        "5 of 6 rows (83.3%) are in quarantine, more than the allowed 0%: "
        "too many fields: 6 of 3 (2), too many fields: 4 of 3 (1), too many fields: 5 of 3 (1) "
        "and 1 more reason. See ops.quarantine."
    )


def test_long_cells_are_cut_and_break_after_delimiters() -> None:
    [record] = table(("a", "b", "c", "d"), [(None, 1234, "x,y", "z" * 300)]).records
    assert record.data == {"a": "", "b": "1,234", "c": "x,\u200by", "d": "z" * 200 + "…"}


def test_a_missing_delivery_fails_with_the_next_step(settings: Settings, instance: dg.DagsterInstance) -> None:
    result = load(settings, instance)
    assert not result.success
    assert failure_of(result) == (
        "acme segments 2018-12-08: no delivery with a stamp of 2018-12-08 to 2018-12-15 (UTC, end excluded). "
        "Run `offload doctor` to see what the feed's root holds."
    )
    assert instance.get_materialized_partitions(KEY) == set()


def test_an_incomplete_delivery_fails_with_the_reason(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW], number=1)
    result = load(settings, instance)
    assert not result.success
    assert "12_08_2018_15_05_54_499: segments lacks part 00000. It is loaded once it is complete." in failure_of(result)


def test_a_damaged_part_fails_the_load_and_the_next_load_works(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any
) -> None:
    part = vendor_folder.part("2018-12-08", [GOOD_ROW])
    sound = part.read_bytes()
    part.write_bytes(sound[:-4])
    result = load(settings, instance)
    assert not result.success
    assert "part-00000" in failure_of(result)
    part.write_bytes(sound)
    assert load(settings, instance).success


@pytest.mark.parametrize("start", [date(2018, 12, day) for day in range(3, 10)])
def test_the_first_week_begins_on_the_day_of_the_start(feed_of: Make, start: date) -> None:
    feed = feed_of("file:///srv", start=start)
    partitions = partitions_of(feed, "lifestyle")
    assert partitions.get_first_partition_key() == start.isoformat()
    contract = vendor_named("sentiance").contracts["segments"]
    for week in (0, 1, 150):
        first = datetime.combine(start, datetime.min.time(), UTC) + timedelta(weeks=week)
        key = first.date().isoformat()
        window = partition_of(feed, contract, key)
        assert (window.start, window.end) == (first, first + timedelta(weeks=1))
        assert partition_key_of(feed, "lifestyle", first) == key
        assert partition_key_of(feed, "lifestyle", window.end - timedelta(microseconds=1)) == key
    assert partition_key_of(feed, "lifestyle", datetime.combine(start, datetime.min.time(), UTC)) is not None
    assert partition_key_of(feed, "lifestyle", datetime(2018, 12, 2, 23, 59, tzinfo=UTC)) is None


@pytest.mark.parametrize(("cadence", "days"), [(Cadence.WEEKLY, 7), (Cadence.DAILY, 1)])
def test_the_window_under_way_is_a_partition(feed_of: Make, cadence: Cadence, days: int) -> None:
    today = datetime.now(UTC).date()
    feed = feed_of("file:///srv", start=today - timedelta(days=21), cadence={"lifestyle": cadence})
    keys = partitions_of(feed, "lifestyle").get_partition_keys()
    assert keys == [(feed.start + timedelta(days=day)).isoformat() for day in range(0, 22, days)]
    assert partition_key_of(feed, "lifestyle", datetime.now(UTC)) == keys[-1]


def test_a_writer_that_fails_gives_lock_and_file_back(tmp_path: Path) -> None:
    warehouse = warehouse_in(tmp_path / "warehouse")

    def fail() -> None:
        with warehouse.writing() as connection:
            connection.execute("CREATE TABLE kept (a INTEGER)")
            connection.execute("BEGIN")
            connection.execute("INSERT INTO kept VALUES (1)")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose") as caught:
        fail()
    assert caught.value.__traceback__ is not None, "the frames of the failed body are still alive"
    found: list[Any] = []

    def write() -> None:
        with warehouse.writing() as connection:
            found.extend(connection.execute("SELECT count(*) FROM kept").fetchall())

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(10)
    assert found == [(0,)]
    other = f"import duckdb; duckdb.connect({str(warehouse.files.build)!r}).execute('INSERT INTO kept VALUES (2)')"
    subprocess.run([sys.executable, "-c", other], check=True)


TYPES = ("stationaries", "transports", "moments", "segments", "attributes.wide", "attributes.long")


def test_the_graph(tmp_path: Path, feed_of: Make) -> None:
    feeds: tuple[Feed, ...] = (
        feed_of("s3://offloads/acme", owners=("team:mobility", "ann@example.com")),
        feed_of("file:///srv", name="sister", types=("moments",), cadence={"lifestyle": "daily"}),
    )
    defs = build_definitions(Settings(warehouse=tmp_path, feeds=feeds))
    dg.Definitions.validate_loadable(defs)
    found = {
        "/".join(spec.key.path): (
            spec.group_name,
            spec.kinds,
            tuple(spec.owners),
            sorted("/".join(dep.asset_key.path) for dep in spec.deps),
        )
        for spec in defs.resolve_all_asset_specs()
    }
    acme = ("team:mobility", "ann@example.com")
    platform = ("team:data-platform",)
    expected: dict[str, Any] = {
        "published_file": (
            "warehouse",
            {"duckdb"},
            platform,
            sorted([*(f"acme/{t}" for t in TYPES), "sister/moments"]),
        ),
        "sister/moments/delivery": ("sister", {"file"}, platform, []),
        "sister/moments": ("sister", {"file", "polars", "duckdb"}, platform, ["sister/moments/delivery"]),
    }
    for name in TYPES:
        expected[f"acme/{name}/delivery"] = ("acme", {"s3"}, acme, [])
        expected[f"acme/{name}"] = ("acme", {"s3", "polars", "duckdb"}, acme, [f"acme/{name}/delivery"])
    assert found == expected
    checks = {(c.asset_key.to_user_string(), c.name) for c in defs.resolve_asset_graph().asset_check_keys}
    assert checks == {("published_file", HELD_CHECK)} | {
        (f"{feed}/{name}", check)
        for feed, types in (("acme", TYPES), ("sister", ("moments",)))
        for name in types
        for check in (ACCOUNT_CHECK, QUARANTINE_CHECK, DRIFT_CHECK, KEY_CHECK, VOLUME_CHECK)
    } | {(name, TIME_CHECK) for name in ("acme/stationaries", "acme/transports", "acme/moments", "sister/moments")} | {
        (f"{feed}/{name}/delivery", ON_TIME_CHECK)
        for feed, types in (("acme", TYPES), ("sister", ("moments",)))
        for name in types
    }
    assert {s.name for s in defs.sensors or ()} == {"acme_arrivals", "sister_arrivals", "publish_after_loads"}


def test_a_table_shows_its_columns_and_where_its_contract_is(tmp_path: Path, feed_of: Make) -> None:
    defs = build_definitions(Settings(warehouse=tmp_path, feeds=(feed_of("file:///srv"),)))
    [spec] = [s for s in defs.resolve_all_asset_specs() if s.key == dg.AssetKey(["acme", "stationaries"])]
    schema = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    contract = vendor_named("sentiance").contracts["stationaries"]
    assert list(schema) == ["feed", "app_id", "delivery_stamp", "object_key", "line", *contract.columns]
    assert schema["start_at"].type == "TIMESTAMPTZ"
    assert not schema["start_at"].constraints.nullable
    assert schema["end_at"].constraints.nullable
    assert schema["latitude"].tags == {"privacy": "location"}
    assert all(column.description for column in schema.values())
    assert spec.metadata["dagster/table_name"] == "delivered.stationaries"
    [reference] = spec.metadata["dagster/code_references"].code_references
    assert Path(reference.file_path).name == "stationaries.py"
    assert spec.metadata["natural key"] == "app_id, user_id, start_at"
