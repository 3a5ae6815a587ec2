"""Hashes of staged rows: those that the warehouse would take of the same rows once they are kept."""

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from offload_platform.contracts.contract import Contract
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.hashes import CONTENT_HASH, HASHES, KEY_HIGH, KEY_LOW, RowHashes
from offload_platform.warehouse.sql import column_type, quoted
from offload_platform.warehouse.storage import content_hash, ensure_storage, key_id, rows_table

from .test_validate import ALL_CONTRACTS, CONTRACTS, random_frame

STAMP = datetime(2018, 12, 8, tzinfo=UTC)
SEGMENTS = CONTRACTS["segments"]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def hashed(contract: Contract, rows: pl.DataFrame, stamp: datetime | None = STAMP) -> pl.DataFrame:
    with RowHashes(contract, stamp) as hashes:
        return hashes.added_to(rows.with_row_index("line", 2))


@pytest.mark.parametrize("contract", ALL_CONTRACTS, ids=lambda contract: f"{contract.vendor} {contract.offload_type}")
def test_a_row_has_the_hashes_that_it_has_when_it_is_kept(
    connection: duckdb.DuckDBPyConnection, contract: Contract
) -> None:
    json = {c.name: pl.lit('{"a": 1}') for c in contract.columns.values() if column_type(c) == "JSON"}
    rows = hashed(contract, random_frame(contract, 50, seed=1).with_columns(**json))
    about = [name for name in contract.identity if name in contract.columns]
    assert not rows.drop_nulls(about).filter(pl.col(KEY_HIGH) == pl.col(KEY_LOW)).height, "each half says something"
    staged = ArrowStream(rows)  # noqa: F841 (read by DuckDB by its name)
    ensure_storage(connection, contract)
    stamp = "TIMESTAMPTZ '2018-12-08 00:00:00+00' AS key_stamp, " if contract.is_told_apart_by_delivery else ""
    connection.execute(
        f"INSERT INTO {rows_table(contract)} BY NAME SELECT line AS row_no, {stamp}"
        f"{KEY_HIGH}::UHUGEINT << 64 | {KEY_LOW} AS key_id, {CONTENT_HASH} AS content_hash, "
        f"{', '.join(map(quoted, contract.columns))} FROM staged"
    )
    differing = connection.execute(
        f"SELECT count(*) FILTER (key_id <> {key_id(contract)}), "
        f"count(*) FILTER (content_hash <> {content_hash(contract)}), count(*) FROM {rows_table(contract)}"
    ).fetchall()
    assert differing == [(0, 0, 50)]


def test_another_content_has_another_hash_and_the_key_of_what_it_is_about() -> None:
    same, other = {"user_id": "a", "segment_id": "x"}, {"user_id": "b", "segment_id": "x"}
    rows = [same, same, same | {"extra": "{}"}, other]
    schema = {c.name: c.dtype for c in SEGMENTS.columns.values()}
    first, again, said_otherwise, of_another = hashed(SEGMENTS, pl.DataFrame(rows, schema=schema)).select(HASHES).rows()
    assert first == again
    assert first[:2] == said_otherwise[:2]
    assert first[2] != said_otherwise[2]
    assert not set(first) & set(of_another)


def test_hashes_that_a_row_has_are_taken_anew() -> None:
    schema = {c.name: c.dtype for c in SEGMENTS.columns.values()}
    rows = hashed(SEGMENTS, pl.DataFrame([{"user_id": "a", "segment_id": "x"}], schema=schema))
    with RowHashes(SEGMENTS, STAMP) as hashes:
        again = hashes.added_to(rows.with_columns(extra=pl.lit("{}")))
    assert again.columns == rows.columns
    assert again[CONTENT_HASH][0] != rows[CONTENT_HASH][0]


def test_rows_that_are_told_apart_by_delivery_need_its_stamp() -> None:
    [contract] = [contract for contract in ALL_CONTRACTS if contract.is_told_apart_by_delivery]
    rows = random_frame(contract, 3, seed=1)
    day, next_day = (hashed(contract, rows, stamp) for stamp in (STAMP, STAMP.replace(day=9)))
    assert not set(day[KEY_LOW]) & set(next_day[KEY_LOW])
    with pytest.raises(ValueError, match="it has no stamp"):
        RowHashes(contract, None)
