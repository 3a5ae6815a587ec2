"""Rows are recognised by all 192 bits of their hashes, in any number of buckets."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from offload_platform.quality.hashes import HASHES
from offload_platform.warehouse import recognition
from offload_platform.warehouse.recognition import recognise
from offload_platform.warehouse.storage import ensure_storage, rows_table

from ..conftest import contract_of

SEGMENTS = contract_of("segments")
Hashes = tuple[int, int, int]
LARGEST = 2**64 - 1


class Kept:
    """A table of kept rows of feed "acme", numbered from 1, that has nothing but hashes."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        ensure_storage(connection, SEGMENTS)

    def keep(self, *rows: Hashes, feed: str = "acme") -> None:
        for high, low, content in rows:
            self._connection.execute(
                f"INSERT INTO {rows_table(SEGMENTS)} BY NAME SELECT count(*) + 1 AS row_no, "
                f"?::UHUGEINT << 64 | ?::UHUGEINT AS key_id, ?::UBIGINT AS content_hash, ? AS feed "
                f"FROM {rows_table(SEGMENTS)}",
                [high, low, content, feed],
            )

    def recognised(self, *files: list[Hashes]) -> list[tuple[int, bool]]:
        paths = [self._folder / f"{number}.rows" for number in range(len(files))]
        for path, rows in zip(paths, files, strict=True):
            pl.DataFrame(rows, schema=dict.fromkeys(HASHES, pl.UInt64), orient="row").write_ipc(path)
        found = recognise(self._connection, "acme", SEGMENTS, paths, None)
        return list(zip(found.row_no.tolist(), found.is_new.tolist(), strict=True))


@pytest.fixture(params=[1, 3, 1_000_000], ids=lambda rows: f"{rows} rows a bucket")
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Kept]:
    monkeypatch.setattr(recognition, "_ROWS_PER_BUCKET", request.param)
    with duckdb.connect() as connection:
        yield Kept(connection, tmp_path)


def test_new_rows_are_numbered_in_their_order(kept: Kept) -> None:
    assert kept.recognised([(1, 1, 9), (2, 2, 8)], [(3, 3, 7)]) == [(1, True), (2, True), (3, True)]


def test_a_row_that_is_kept_has_its_number_and_others_go_on_after_the_highest(kept: Kept) -> None:
    kept.keep((1, 1, 1), (LARGEST, LARGEST, LARGEST))
    found = kept.recognised([(2, 2, 2), (LARGEST, LARGEST, LARGEST)], [(1, 1, 1), (3, 3, 3)])
    assert found == [(3, True), (2, False), (1, False), (4, True)]


def test_a_row_of_another_feed_is_not_known(kept: Kept) -> None:
    kept.keep((1, 1, 1), feed="beta")
    assert kept.recognised([(1, 1, 1)]) == [(2, True)]


def test_repeated_rows_are_the_first_of_them(kept: Kept) -> None:
    kept.keep((5, 5, 5))
    found = kept.recognised([(1, 1, 1), (2, 2, 2), (1, 1, 1)], [(5, 5, 5), (2, 2, 2), (1, 1, 1), (5, 5, 5)])
    assert found == [(2, True), (3, True), (2, False), (1, False), (3, False), (2, False), (1, False)]


def test_contents_whose_hashes_collide_are_told_apart_by_either_half_of_the_key(kept: Kept) -> None:
    kept.keep((1, 1, 7), (1, 2, 7))
    rows = [(1, 2, 7), (2, 1, 7), (2, 2, 7), (1, 1, 7), (2, 1, 7)]
    assert kept.recognised(rows) == [(2, False), (3, True), (4, True), (1, False), (3, False)]


def test_nothing_is_recognised_in_nothing(kept: Kept) -> None:
    assert kept.recognised() == []
    assert kept.recognised([]) == []
