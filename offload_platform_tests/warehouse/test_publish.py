"""The published file: verified, swapped in one step, and never in the way of those who read."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse import blank
from offload_platform.warehouse import publish as publishing
from offload_platform.warehouse.publish import Published, PublishFailed, publish

from ..conftest import content_of

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
Make = Callable[..., Any]


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    vendor_folder.part("2018-12-08", [f"{ANN},,behavior.early_bird"])
    vendor_folder.part("2018-12-15", [f"{user},,behavior.early_bird" for user in (BEN, CID)])
    return feed_of(vendor_folder.url, types=("segments",))


def publish_now(warehouse: Any) -> Published:
    with warehouse.writing() as connection:
        return publish(connection, warehouse.files)


READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(connection.execute("SELECT count(*) FROM sentiance.segments").fetchall()[0][0], flush=True)
"""


class Reader:
    """Another process that opens a file and answers how many rows it sees, whenever it is asked."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def rows(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("how many?\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def reading(file: Path) -> Iterator[Reader]:
    reader = Reader(file)
    try:
        yield reader
    finally:
        reader.process.communicate()


def test_a_reader_keeps_the_old_file_and_blocks_nobody(warehouse: Any, feed: Feed, partition: Make) -> None:
    warehouse.load(feed, partition("2018-12-08"))
    publish_now(warehouse)
    with warehouse.files.published.open("rb") as held, reading(warehouse.files.published) as old:
        held_bytes = held.read()
        assert old.rows() == 1
        began = time.monotonic()
        warehouse.load(feed, partition("2018-12-15"))
        assert old.rows() == 1
        with warehouse.writing() as connection:
            connection.execute("BEGIN")
            connection.execute("DELETE FROM store.segments")
            assert old.rows() == 1, "a reader is not blocked while the writer works"
            connection.execute("ROLLBACK")
        publish_now(warehouse)
        assert time.monotonic() - began < 10, "the writer did not wait for the reader"
        assert old.rows() == 1
        with reading(warehouse.files.published) as new:
            assert (old.rows(), new.rows()) == (1, 3)
        held.seek(0)
        assert held.read() == held_bytes, "the old file is left as it was, not written over"


@pytest.mark.parametrize("rows_at_a_time", [1, 2, 1_000_000])
def test_the_file_holds_what_is_known_and_nothing_is_left_beside_it(
    warehouse: Any, feed: Feed, partition: Make, monkeypatch: pytest.MonkeyPatch, rows_at_a_time: int
) -> None:
    monkeypatch.setattr(publishing, "_ROWS_AT_A_TIME", rows_at_a_time)
    for day in ("2018-12-08", "2018-12-15"):
        warehouse.load(feed, partition(day))
    told = publish_now(warehouse)
    in_build_file = {table: rows for table, rows in warehouse.content().items() if not table.startswith("delivered.")}
    published = warehouse.files.published
    assert [file.name for file in published.parent.iterdir()] == ["offloads.duckdb"]
    assert list(published.parent.parent.rglob("*.wal")) == []
    assert told.size_bytes == published.stat().st_size
    loaded = {table: rows for table, rows in told.rows.items() if table in in_build_file}
    assert loaded == {table: len(rows) for table, rows in in_build_file.items()}
    assert not any(told.rows[table] for table in told.rows.keys() - loaded.keys()), "what was never loaded is empty"
    assert told.rows["history.segments"] == 3
    with duckdb.connect(published, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert {t: rows for t, rows in content_of(connection).items() if t in in_build_file} == in_build_file
        assert connection.execute("SELECT user_id[1] FROM sentiance.segments ORDER BY ALL").fetchall() == [
            ("a",),
            ("b",),
            ("c",),
        ]
        bare = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = '' "
            "UNION ALL SELECT table_name, NULL FROM duckdb_tables() WHERE coalesce(comment, '') = ''"
        ).fetchall()
        assert bare == []
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("DELETE FROM ops.ledger")
    assert [file.name for file in published.parent.iterdir()] == ["offloads.duckdb"]


def test_the_file_is_read_only_and_an_older_duckdb_can_open_it(warehouse: Any, feed: Feed, partition: Make) -> None:
    warehouse.load(feed, partition())
    for _ in range(2):
        publish_now(warehouse)
        assert stat.S_IMODE(warehouse.files.published.stat().st_mode) == 0o444
    with duckdb.connect(warehouse.files.published, read_only=True) as connection:
        [(tags,)] = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
        assert tags["storage_version"].startswith("v1.5")


def blanks(warehouse: Any) -> list[str]:
    return sorted(file.name for file in warehouse.files.build.parent.glob("blank-*"))


def test_what_every_published_file_has_is_made_once(warehouse: Any, feed: Feed, partition: Make) -> None:
    warehouse.load(feed, partition("2018-12-08"))
    publish_now(warehouse)
    first, [kept] = content_of_published(warehouse), blanks(warehouse)
    blank._made.cache_clear()
    publish_now(warehouse)
    assert blank._made.cache_info().misses == 0, "the kept one was copied"
    assert (content_of_published(warehouse), blanks(warehouse)) == (first, [kept])


def test_another_contract_makes_it_anew(
    warehouse: Any, feed: Feed, partition: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.load(feed, partition("2018-12-08"))
    publish_now(warehouse)
    [kept] = blanks(warehouse)
    contracts = vendor_named("sentiance").contracts
    changed = replace(contracts["moments"], source="Told otherwise")
    monkeypatch.setitem(contracts, "moments", changed)  # type: ignore[arg-type]
    publish_now(warehouse)
    [anew] = blanks(warehouse)
    assert anew != kept
    with duckdb.connect(warehouse.files.published, read_only=True) as connection:
        [(comment,)] = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE schema_name = 'history' AND table_name = 'moments'"
        ).fetchall()
    assert comment.endswith("Source: Told otherwise.")


def content_of_published(warehouse: Any) -> dict[str, Any]:
    with duckdb.connect(warehouse.files.published, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return content_of(connection)


def test_loading_goes_on_after_a_publish(warehouse: Any, feed: Feed, partition: Make) -> None:
    warehouse.load(feed, partition("2018-12-08"))
    publish_now(warehouse)
    warehouse.load(feed, partition("2018-12-15"))
    assert warehouse.query("SELECT count(*) FROM delivered.segments") == [(3,)]
    assert publish_now(warehouse).rows["history.segments"] == 3


def an_older_file(older: Path, file: Path) -> None:
    file.write_bytes(older.read_bytes())


def cut_off(_: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_database(_: Path, file: Path) -> None:
    file.write_bytes(b"no database at all")


def disk_full(_: Path, file: Path) -> None:
    file.write_bytes(b"half")
    raise OSError(28, "No space left on device")


SAID = {
    an_older_file: r"holds other rows than the build file in history\.segments, ops\.ledger, ops\.receipts; the publ",
    cut_off: "the published file is unchanged",
    no_database: "cannot be read .*the published file is unchanged",
    disk_full: "No space left",
}


@pytest.mark.parametrize("fault", SAID)
def test_what_does_not_hold_all_is_not_published(
    tmp_path: Path,
    warehouse: Any,
    feed: Feed,
    partition: Make,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Path, Path], None],
) -> None:
    warehouse.load(feed, partition("2018-12-08"))
    publish_now(warehouse)
    before = warehouse.files.published.read_bytes()
    older = tmp_path / "older.duckdb"
    older.write_bytes(before)
    warehouse.load(feed, partition("2018-12-15"))
    write = publishing._fill_all

    def write_with_a_fault(connection: Any, aside: Path, contracts: Any) -> dict[str, int]:
        expected = write(connection, aside, contracts)
        fault(older, aside)
        return expected

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_fill_all", write_with_a_fault)
        with pytest.raises(OSError if fault is disk_full else PublishFailed, match=SAID[fault]):
            publish_now(warehouse)
    assert warehouse.files.published.read_bytes() == before
    assert os.listdir(warehouse.files.published.parent) == ["offloads.duckdb"]  # noqa: PTH208 (names alone)
    assert publish_now(warehouse).rows["history.segments"] == 3


def test_what_was_written_is_read_with_the_memory_of_a_writer(
    warehouse: Any, feed: Feed, partition: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB would else keep all that it reads, up to most of the machine's memory."""
    warehouse.load(feed, partition("2018-12-08"))
    count, limits = publishing.count_rows, []

    def counted(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
        limits.extend(connection.execute("SELECT current_setting('memory_limit')").fetchall())
        return count(connection)

    monkeypatch.setattr(publishing, "count_rows", counted)
    with warehouse.writing() as connection:
        [(own,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
        publish(connection, warehouse.files)
    assert limits == [(own,)]
