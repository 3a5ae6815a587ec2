"""Old rows go as a whole or not at all, the newest partition and registers stay, and the space comes back."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.contracts.contract import Content
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse import compact as compacting
from offload_platform.warehouse import retention
from offload_platform.warehouse.compact import CompactFailed, compact
from offload_platform.warehouse.ledger import loaded_deliveries
from offload_platform.warehouse.merge import merge, too_old_to_merge
from offload_platform.warehouse.retention import ExpiredDelivery, delete_expired, find_expired

ANN, BEN = "a" * 24, "b" * 24
DAYS = ("2018-12-08", "2018-12-15", "2018-12-22")
BEFORE = datetime(2018, 12, 20, tzinfo=UTC)
BROKEN = "not an id,,night_owl"
MOMENTS_HEADER = "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration"
MOMENT = f"{ANN},,2018-12-01T10:00:00+01:00,2018-12-01T11:00:00+01:00,lunch,,3600"
COUNTED = ("delivered.segments", "ops.quarantine", "ops.drift")
Make = Callable[..., Any]


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    for day in DAYS:
        vendor_folder.part(day, [f"{ANN},,brand_new", f"{BEN},,behavior.early_bird", BROKEN])
    return feed_of(vendor_folder.url, types=("segments",))


@pytest.fixture
def loaded(warehouse: Any, feed: Feed, partition: Make) -> Any:
    for day in DAYS:
        warehouse.load(feed, partition(day))
    merged(warehouse)
    return warehouse


def merged(warehouse: Any) -> None:
    with warehouse.writing() as connection:
        merge(connection)


def expire(warehouse: Any, before: datetime = BEFORE) -> list[ExpiredDelivery]:
    with warehouse.writing() as connection:
        found = find_expired(connection, before)
        assert delete_expired(connection, before) == found
    return found


def stamps(warehouse: Any, table: str) -> list[str]:
    return [day for (day,) in warehouse.query(f"SELECT DISTINCT delivery_stamp::DATE::VARCHAR FROM {table} ORDER BY 1")]


def test_rows_quarantine_and_drift_of_old_deliveries_go_and_the_ledger_says_so(loaded: Any) -> None:
    receipts = loaded.content()["ops.receipts"]
    assert [(d.partition, d.stamp.isoformat()[:10], d.rows, d.quarantined) for d in expire(loaded)] == [
        ("2018-12-08", "2018-12-08", 2, 1),
        ("2018-12-15", "2018-12-15", 2, 1),
    ]
    for table in COUNTED:
        assert stamps(loaded, table) == ["2018-12-22"], table
    reason = "rows were deleted by retention: stamped before 2018-12-20 00:00 UTC"
    assert loaded.query("SELECT partition, status, status_reason, rows_loaded FROM ops.ledger ORDER BY 1") == [
        ("2018-12-08", "expired", reason, 2),
        ("2018-12-15", "expired", reason, 2),
        ("2018-12-22", "loaded", None, 2),
    ]
    assert loaded.content()["ops.receipts"] == receipts
    before = loaded.content()
    assert expire(loaded) == [], "what is gone does not go again"
    assert loaded.content() == before


def test_the_moment_itself_is_not_older(loaded: Any) -> None:
    stamp = datetime(2018, 12, 8, 15, 5, 54, 499_000, UTC)
    assert expire(loaded, stamp) == []
    assert len(expire(loaded, stamp + timedelta(microseconds=1))) == 1


def test_the_newest_partition_of_each_feed_and_type_stays_whatever_its_age(
    loaded: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    vendor_folder.part(DAYS[0], [MOMENT], offload_type="moments", header=MOMENTS_HEADER)
    both = feed_of(vendor_folder.url, types=("segments", "moments"))
    sister = feed_of(vendor_folder.url, name="sister", types=("segments",))
    loaded.load(both, partition(DAYS[0], "moments"))
    for day in DAYS[:2]:
        loaded.load(sister, partition(day, feed="sister"))
    expired = expire(loaded, datetime(2030, 1, 1, tzinfo=UTC))
    assert [(d.feed, d.offload_type, d.partition) for d in expired] == [
        ("acme", "segments", "2018-12-08"),
        ("sister", "segments", "2018-12-08"),
        ("acme", "segments", "2018-12-15"),
    ]
    assert loaded.query(
        "SELECT feed, delivery_stamp::DATE::VARCHAR FROM delivered.segments GROUP BY ALL ORDER BY 1"
    ) == [
        ("acme", "2018-12-22"),
        ("sister", "2018-12-15"),
    ]
    assert loaded.query("SELECT count(*) FROM delivered.moments") == [(1,)]


def test_a_register_keeps_every_version(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vendor_named("sentiance").contracts["mapping"].content is Content.REGISTER
    assert ("sentiance", "mapping") not in retention._deletable()
    contracts = vendor_named("sentiance").contracts
    register = replace(contracts["segments"], content=Content.REGISTER)
    monkeypatch.setitem(contracts, "segments", register)  # type: ignore[arg-type]
    assert expire(loaded) == []
    assert len(stamps(loaded, "delivered.segments")) == 3


def test_versions_that_ended_go_and_what_holds_stays_however_old(
    loaded: Any, feed: Feed, partition: Make, vendor_folder: Any
) -> None:
    """Ann's label has ended with the second week, Ben's holds since the first; a late week is not merged."""
    for day in DAYS[1:]:
        vendor_folder.part(day, [f"{ANN},,behavior.night_owl", f"{BEN},,behavior.early_bird"])
        loaded.load(feed, partition(day))
    history = "SELECT user_id[1], segment_id, change_kind, known_from::DATE::VARCHAR FROM history.segments ORDER BY ALL"
    with loaded.writing() as connection:
        merge(connection)
    assert loaded.query(history) == [
        ("a", "behavior.night_owl", "new", "2018-12-15"),
        ("a", "brand_new", "deleted", "2018-12-15"),
        ("a", "brand_new", "new", "2018-12-08"),
        ("b", "behavior.early_bird", "new", "2018-12-08"),
    ]
    expire(loaded)
    kept = [
        ("a", "behavior.night_owl", "new", "2018-12-15"),
        ("b", "behavior.early_bird", "new", "2018-12-08"),
    ]
    assert loaded.query(history) == kept
    loaded.load(feed, partition(DAYS[0]))
    with loaded.writing() as connection:
        assert merge(connection) == []
        assert too_old_to_merge(connection) == 1
    assert loaded.query(history) == kept
    loaded.load(feed, partition(DAYS[1]))
    with loaded.writing() as connection:
        merge(connection)
    assert len(loaded.query(history)) == 4, "with all weeks there again, so is the history"


def test_what_is_not_merged_yet_is_merged_before_its_rows_go(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    for day, user in zip(DAYS, (ANN, BEN, BEN), strict=True):
        vendor_folder.part(day, [f"{user},,behavior.early_bird"])
    feed = feed_of(vendor_folder.url, types=("segments",))
    for day in DAYS:
        warehouse.load(feed, partition(day))
    expire(warehouse)
    assert warehouse.query("SELECT user_id[1] FROM sentiance.segments ORDER BY ALL") == [("a",), ("b",)]


def test_what_was_taken_back_long_ago_goes_for_good(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    for day, label in zip(DAYS, ("x", "y", "y"), strict=True):
        vendor_folder.part(day, [f"{ANN},,{label}"])
    feed = feed_of(vendor_folder.url, types=("segments",))
    for day in DAYS:
        warehouse.load(feed, partition(day))
    expire(warehouse)
    assert warehouse.query("SELECT segment_id FROM store.segments") == [("y",)]


def test_nothing_has_been_loaded_yet(warehouse: Any) -> None:
    assert expire(warehouse) == []


def test_an_expired_delivery_counts_as_loaded_until_it_is_delivered_anew_and_can_be_loaded_again(
    loaded: Any, feed: Feed, partition: Make, vendor_folder: Any
) -> None:
    before = loaded.content("ops.receipts")
    delivery = loaded.load(feed, partition(DAYS[0])).delivery
    expire(loaded)
    with loaded.writing() as connection:
        assert loaded_deliveries(connection).fingerprint_of("acme", delivery) == delivery.fingerprint
    for day in DAYS[:2]:
        loaded.load(feed, partition(day))
    merged(loaded)
    assert loaded.content("ops.receipts") == before, "and everything is as it was, loaded_at included"
    vendor_folder.part(DAYS[0], [f"{ANN},,behavior.early_bird"])
    expire(loaded)
    again = loaded.load(feed, partition(DAYS[0])).delivery
    assert again.fingerprint != delivery.fingerprint
    assert stamps(loaded, "delivered.segments") == ["2018-12-08", "2018-12-22"]


def test_an_error_in_the_middle_leaves_everything(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded.content()

    def fail(*_: Any) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_mark", fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            expire(loaded)
    assert loaded.content() == before
    assert len(expire(loaded)) == 2


KILLED = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
import duckdb
from offload_platform.warehouse import compact as compacting, retention
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare

files = WarehouseFiles(Path(sys.argv[1]))

def wait(*_):
    print("inside", flush=True)
    time.sleep(60)

with files.writer_lock(), duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as connection:
    prepare(connection)
    if sys.argv[2] == "while it deletes":
        retention._mark = wait
        retention.delete_expired(connection, datetime(2018, 12, 20, tzinfo=UTC))
    else:
        compacting._verify = wait
        compacting._WORTH_FROM_SHARE = 0.0
        compacting.compact(connection, files)
"""


@pytest.mark.parametrize("moment", ["while it deletes", "while the file is written anew"])
def test_a_kill_in_the_middle_leaves_everything(loaded: Any, moment: str) -> None:
    before = loaded.content()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(loaded.files.root), moment],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert loaded.content() == before
    assert len(expire(loaded)) == 2
    assert stamps(loaded, "delivered.segments") == ["2018-12-22"]
    assert compacted(loaded)
    assert sorted(file.name for file in loaded.files.build.parent.iterdir()) == ["offloads.duckdb", "offloads.lock"]


def compacted(warehouse: Any, share: float = 0.0) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting, "_WORTH_FROM_SHARE", share)
        with warehouse.writing() as connection:
            return compact(connection, warehouse.files)


def fill(warehouse: Any, rows: int) -> None:
    """Rows that do not compress, of two old stamps and a new one."""
    with warehouse.writing() as connection:
        for number, day in enumerate(DAYS, start=1):
            connection.execute(
                "INSERT INTO store.segments BY NAME SELECT ? + i AS row_no, 'acme' AS feed, "
                "md5(random()::VARCHAR) || md5(random()::VARCHAR) AS user_id FROM range(?) r(i)",
                [10_000_000 * number, rows],
            )
            connection.execute(
                "INSERT INTO store.segments_sightings BY NAME SELECT part_no, i AS line, ? + i AS row_no "
                "FROM store.parts, range(?) r(i) WHERE delivery_stamp = ?::TIMESTAMPTZ",
                [10_000_000 * number, rows, f"{day} 15:05:54.499+00"],
            )


def schema(warehouse: Any) -> list[tuple[Any, ...]]:
    return [
        *warehouse.query("SELECT schema_name, table_name, comment FROM duckdb_tables() ORDER BY ALL"),
        *warehouse.query(
            "SELECT schema_name, table_name, column_name, column_index, data_type, comment FROM duckdb_columns() "
            "WHERE NOT internal ORDER BY ALL"
        ),
        *warehouse.query(
            "SELECT schema_name, view_name, comment, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1, 2"
        ),
    ]


def test_the_space_of_deleted_rows_comes_back_and_nothing_else_changes(loaded: Any) -> None:
    fill(loaded, 150_000)
    expire(loaded)
    expected, expected_schema, size = loaded.content(), schema(loaded), loaded.files.build.stat().st_size
    assert compacted(loaded, compacting._WORTH_FROM_SHARE)
    assert loaded.files.build.stat().st_size < size / 2
    assert loaded.content() == expected
    assert schema(loaded) == expected_schema
    assert not compacted(loaded, compacting._WORTH_FROM_SHARE), "there is nothing left to gain"
    with duckdb.connect(loaded.files.build, read_only=True) as connection:
        [(tags,)] = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
        assert tags["storage_version"].startswith("v1.5")


def test_a_file_that_is_mostly_in_use_or_a_disk_that_is_full_is_left_alone(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(loaded, 50_000)
    assert not compacted(loaded, compacting._WORTH_FROM_SHARE)
    usage = type("Usage", (), {"free": 1_000})
    with monkeypatch.context() as patch:
        patch.setattr(compacting.shutil, "disk_usage", lambda _: usage)
        assert not compacted(loaded)
    assert compacted(loaded)


def test_a_new_file_that_is_not_equal_does_not_take_the_place_of_the_old_one(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded.content()
    copy = compacting._copy

    def copy_too_little(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
        copy(connection, target)
        with duckdb.connect(target) as other:
            other.execute("DELETE FROM store.segments_sightings WHERE line = 2")

    with monkeypatch.context() as patch:
        patch.setattr(compacting, "_copy", copy_too_little)
        with pytest.raises(CompactFailed, match=r"other rows in store\.segments_sightings; the old file stands"):
            compacted(loaded)
    assert loaded.content() == before
    assert sorted(file.name for file in loaded.files.build.parent.iterdir()) == ["offloads.duckdb", "offloads.lock"]
