"""One transaction replaces a partition with its accounts; whatever goes wrong, the old rows stand."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from offload_platform.landing.errors import DamagedBody, UntrustedPart
from offload_platform.landing.staging import StagedDelivery
from offload_platform.settings import Feed
from offload_platform.warehouse.commit import Partition, Unbalanced
from offload_platform.warehouse.load import NothingToLoad

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
BROKEN = "not an id,,night_owl"
BROKEN_REASON = "user_id: str_matches('^[0-9a-f]{24}$')"

Make = Callable[..., Any]


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    return feed_of(vendor_folder.url, types=("segments",))


def segments(*users: str, segment: str = "behavior.early_bird") -> list[str]:
    return [f"{user},,{segment}" for user in users]


def rows(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT delivery_stamp::DATE::VARCHAR, user_id FROM delivered.segments ORDER BY ALL")


def test_rows_come_with_their_whole_account(warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make) -> None:
    first = vendor_folder.part("2018-12-08", [*segments(ANN), BROKEN, *segments(BEN, segment="brand_new")])
    second = vendor_folder.part("2018-12-08", segments(CID), number=1)
    loaded = warehouse.load(feed, partition(), run_id="run 1")
    keys = [str(part.relative_to(vendor_folder.root)) for part in (first, second)]
    stamp = datetime(2018, 12, 8, 15, 5, 54, 499_000, tzinfo=UTC)
    assert warehouse.query(
        "SELECT feed, app_id, delivery_stamp, object_key, line, user_id, segment_id FROM delivered.segments "
        "ORDER BY object_key, line"
    ) == [
        ("acme", feed.app_id, stamp, keys[0], 2, ANN, "behavior.early_bird"),
        ("acme", feed.app_id, stamp, keys[0], 4, BEN, "brand_new"),
        ("acme", feed.app_id, stamp, keys[1], 2, CID, "behavior.early_bird"),
    ]
    account = ("acme", "sentiance", "segments", "2018-12-08", feed.app_id, stamp)
    assert warehouse.query("SELECT * FROM ops.quarantine") == [(*account, keys[0], 3, [BROKEN_REASON], BROKEN)]
    assert warehouse.query("SELECT * FROM ops.drift") == [
        (*account, keys[0], "new value", "segment_id", "brand_new", 1)
    ]
    assert warehouse.query(
        "SELECT partition, object_key, status, status_reason, checksum, compression, delimiter, line_end, lines, "
        "rows_in, rows_loaded, rows_quarantined, quarantined_by_reason, size_bytes, delivery_fingerprint, "
        "contract_version FROM ops.ledger ORDER BY object_key"
    ) == [
        (
            "2018-12-08",
            key,
            "loaded",
            None,
            "md5",
            "gzip",
            ",",
            "CRLF",
            *counts,
            part.stat().st_size,
            loaded.delivery.fingerprint,
            partition().contract.version,
        )
        for key, part, counts in (
            (keys[0], first, (3, 3, 2, 1, {BROKEN_REASON: 1})),
            (keys[1], second, (1, 1, 1, 0, {})),
        )
    ]
    [(run_id, rows_in, rows_loaded, quarantined, parts)] = warehouse.query(
        "SELECT run_id, rows_in, rows_loaded, rows_quarantined, parts FROM ops.receipts"
    )
    assert (run_id, rows_in, rows_loaded, quarantined) == ("run 1", 4, 3, 1)
    assert [(p["object_key"], p["rows_in"], p["rows_loaded"], p["rows_quarantined"]) for p in parts] == [
        (keys[0], 3, 2, 1),
        (keys[1], 1, 1, 0),
    ]


def test_loading_again_changes_nothing_but_the_receipts(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make
) -> None:
    vendor_folder.part("2018-12-08", [*segments(ANN, segment="brand_new"), BROKEN])
    vendor_folder.part("2018-12-10", segments(ANN))
    vendor_folder.part("2018-12-11", segments(ANN), number=1)
    warehouse.load(feed, partition())
    before = warehouse.content("ops.receipts")
    assert all(before[table] for table in ("delivered.segments", "ops.ledger", "ops.contracts"))
    for _ in range(2):
        warehouse.load(feed, partition())
        assert warehouse.content("ops.receipts") == before
    assert warehouse.query("SELECT count(*) FROM ops.receipts") == [(3,)]


def test_a_part_delivered_again_replaces_its_partition_alone(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make
) -> None:
    for day in ("2018-12-08", "2018-12-15"):
        vendor_folder.part(day, [*segments(ANN, segment="brand_new"), BROKEN])
        vendor_folder.part(day, segments(BEN), number=1)
        warehouse.load(feed, partition(day))
    before = warehouse.content("ops.receipts")
    vendor_folder.part("2018-12-15", segments(CID))
    warehouse.load(feed, partition("2018-12-15"))
    after = warehouse.content("ops.receipts")
    assert rows(warehouse) == [
        ("2018-12-08", ANN),
        ("2018-12-08", BEN),
        ("2018-12-15", BEN),
        ("2018-12-15", CID),
    ]
    for table, mark in (("delivered.segments", "12_08"), ("ops.ledger", "12_08"), ("ops.quarantine", "12_08")):
        old = [row for row in before[table] if mark in row]
        assert old
        assert [row for row in after[table] if mark in row] == old
    assert warehouse.query("SELECT partition FROM ops.quarantine UNION ALL SELECT partition FROM ops.drift") == [
        ("2018-12-08",),
        ("2018-12-08",),
    ]


def test_when_a_part_was_first_loaded_is_kept_until_it_changes(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make
) -> None:
    def loaded_at() -> list[Any]:
        return [at for (at,) in warehouse.query("SELECT loaded_at FROM ops.ledger ORDER BY object_key")]

    vendor_folder.part("2018-12-08", segments(ANN))
    vendor_folder.part("2018-12-08", segments(BEN), number=1)
    warehouse.load(feed, partition())
    first, second = loaded_at()
    vendor_folder.part("2018-12-08", segments(CID), number=1)
    warehouse.load(feed, partition())
    assert loaded_at()[0] == first
    assert loaded_at()[1] > second


def test_the_newest_complete_delivery_wins_whatever_came_when(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make
) -> None:
    vendor_folder.part("2018-12-10", segments(BEN))
    warehouse.load(feed, partition())
    assert rows(warehouse) == [("2018-12-10", BEN)]
    vendor_folder.part("2018-12-12", segments(CID), number=1)
    vendor_folder.part("2018-12-08", segments(ANN))
    warehouse.load(feed, partition())
    assert rows(warehouse) == [("2018-12-10", BEN)]
    ledger = "SELECT delivery_folder[:5], status, status_reason, rows_in FROM ops.ledger ORDER BY ALL"
    assert warehouse.query(ledger) == [
        ("12_08", "superseded", "a newer complete delivery counts: 12_10_2018_15_05_54_499", None),
        ("12_10", "loaded", None, 1),
        ("12_12", "incomplete", "segments lacks part 00000", None),
    ]
    vendor_folder.part("2018-12-12", segments(CID))
    warehouse.load(feed, partition())
    assert rows(warehouse) == [("2018-12-12", CID), ("2018-12-12", CID)]
    assert [row[:2] for row in warehouse.query(ledger)] == [
        ("12_08", "superseded"),
        ("12_10", "superseded"),
        ("12_12", "loaded"),
        ("12_12", "loaded"),
    ]


def test_without_a_complete_delivery_the_old_rows_stand(
    warehouse: Any, vendor_folder: Any, feed_of: Make, feed: Feed, partition: Make
) -> None:
    with pytest.raises(
        NothingToLoad, match=r"acme segments 2018-12-08: no delivery with a stamp of 2018-12-08 to 2018"
    ):
        warehouse.load(feed, partition())
    part = vendor_folder.part("2018-12-08", segments(ANN))
    unsettled = feed_of(vendor_folder.url, types=("segments",), settle_hours=24)
    with pytest.raises(
        NothingToLoad, match=r"12_08_2018_15_05_54_499: changed .*counts as complete from .*settle_hours"
    ):
        warehouse.load(unsettled, partition())
    warehouse.load(feed, partition())
    before = warehouse.content()
    vendor_folder.part("2018-12-08", segments(ANN), number=2)
    with pytest.raises(NothingToLoad, match="segments lacks part 00001"):
        warehouse.load(feed, partition())
    part.unlink()
    assert warehouse.content() == before


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda part: part.write_bytes(part.read_bytes()[:-9]), DamagedBody),
        (lambda part: part.write_bytes(b"no,header\r\n1,2\r\n"), UntrustedPart),
    ],
)
def test_a_part_that_cannot_be_trusted_leaves_the_old_rows(
    warehouse: Any,
    vendor_folder: Any,
    feed: Feed,
    partition: Make,
    spoil: Callable[[Path], None],
    error: type[Exception],
) -> None:
    vendor_folder.part("2018-12-08", segments(ANN))
    second = vendor_folder.part("2018-12-08", segments(BEN), number=1)
    warehouse.load(feed, partition())
    before = warehouse.content()
    vendor_folder.part("2018-12-08", segments(CID))
    spoil(second)
    with pytest.raises(error, match="part-00001"):
        warehouse.load(feed, partition())
    assert warehouse.content() == before
    assert list((warehouse.files.root / "staging").iterdir()) == []


def without_last_row(file: Path) -> None:
    pl.read_ipc(file.read_bytes()).head(-1).write_ipc(file)


@pytest.mark.parametrize("files", ["row_files", "quarantine_files"])
def test_rows_that_were_staged_but_do_not_arrive_undo_the_load(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make, files: str
) -> None:
    vendor_folder.part("2018-12-08", segments(ANN))
    warehouse.load(feed, partition())
    before = warehouse.content()
    vendor_folder.part("2018-12-08", [*segments(BEN, CID, segment="brand_new"), BROKEN, BROKEN])

    def doctor(staged: StagedDelivery) -> None:
        without_last_row(getattr(staged.parts[0], files)[0])

    with pytest.raises(Unbalanced, match=r"acme segments 2018-12-08: staged .* Nothing was committed"):
        warehouse.load(feed, partition(), on_staged=doctor)
    assert warehouse.content() == before
    assert list((warehouse.files.root / "staging").iterdir()) == []


def test_rows_of_other_feeds_types_and_weeks_are_left_alone(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    both = feed_of(vendor_folder.url, types=("segments", "moments"))
    sister = feed_of(vendor_folder.url, name="sister", types=("segments",))
    header = "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration"
    moment = f"{ANN},,2018-12-01T10:00:00+01:00,2018-12-01T11:00:00+01:00,lunch,,3600"
    for day in ("2018-12-08", "2018-12-15"):
        vendor_folder.part(day, [*segments(ANN), BROKEN])
        vendor_folder.part(day, [moment, "x"], offload_type="moments", header=header)
        warehouse.load(both, partition(day))
        warehouse.load(both, partition(day, "moments"))
        warehouse.load(sister, partition(day, feed="sister"))
    before = warehouse.content("ops.receipts")
    assert len(before["ops.quarantine"]) == 6
    warehouse.load(sister, partition("2018-12-15", feed="sister"))
    warehouse.load(both, partition("2018-12-15", "moments"))
    assert warehouse.content("ops.receipts") == before


@pytest.mark.parametrize("shift", [2, 5])
def test_another_first_weekday_never_doubles_a_row(
    warehouse: Any, vendor_folder: Any, feed: Feed, partition: Make, shift: int
) -> None:
    """Windows that begin on another weekday cut the same deliveries differently."""
    days = ["2018-12-08", "2018-12-15", "2018-12-23", "2018-12-29"]
    for day in days:
        vendor_folder.part(day, [*segments(ANN, segment="brand_new"), BROKEN])

    def windows(first: datetime) -> list[Partition]:
        starts = [first + timedelta(weeks=week) for week in range(6)]
        return [partition(f"{start:%Y-%m-%d}") for start, _ in pairwise(starts)]

    first = datetime(2018, 12, 1)
    for start in (first, first - timedelta(days=shift), first):
        for window in windows(start):
            with contextlib.suppress(NothingToLoad):
                warehouse.load(feed, window)
        for table in ("delivered.segments", "ops.quarantine", "ops.drift", "ops.ledger"):
            counted = warehouse.query(f"SELECT count(*), count(DISTINCT object_key) FROM {table}")
            assert counted == [(len(days), len(days))], table
    assert [day for day, _ in rows(warehouse)] == days


KILLED = """
import sys, time
from datetime import datetime, UTC
import duckdb
from pathlib import Path
from contextlib import contextmanager
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import read_settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse import commit
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.load import load_partition

settings = read_settings(Path(sys.argv[1]))
files = WarehouseFiles(settings.warehouse)

@contextmanager
def writing():
    with files.writer_lock(), duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection

def prove(connection, *_):
    [(rows,)] = connection.execute("SELECT count(*) FROM delivered.segments").fetchall()
    print("inside, with rows:", rows, flush=True)
    time.sleep(60)

commit._prove = prove
[feed] = settings.feeds
start, end = (datetime(2018, 12, day, tzinfo=UTC) for day in (8, 15))
contract = vendor_named("sentiance").contracts["segments"]
load_partition(DeliveryStore(feed), Partition("acme", contract, "2018-12-08", start, end), files, writing, "killed")
"""


def test_a_load_that_is_killed_inside_its_transaction_leaves_the_old_rows(
    tmp_path: Path, warehouse: Any, vendor_folder: Any, feed: Feed, feeds_yaml: Make, partition: Make
) -> None:
    vendor_folder.part("2018-12-08", segments(ANN))
    warehouse.load(feed, partition())
    before = warehouse.content()
    vendor_folder.part("2018-12-08", segments(BEN, CID))
    configuration = feeds_yaml(tmp_path, feed)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(configuration)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside, with rows: 2\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert warehouse.content() == before
    warehouse.load(feed, partition())
    assert rows(warehouse) == [("2018-12-08", BEN), ("2018-12-08", CID)]
    assert list((warehouse.files.root / "staging").iterdir()) == []
