"""Tells which rows of a delivery are kept already: each row gets the number of the kept row that it repeats, or a new
one.

Rows are known by the hashes of their key and of their content. They are compared bucket by bucket, so that the memory
that it takes does not grow with the delivery, apart from nine bytes for the number of each row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.quality.arrow import ArrowStream
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.storage import content_hash, key_id, rows_table

PLACE = "place_in_delivery"
"""Column of an incoming row's position in its delivery, from 0."""

_ROWS_PER_BUCKET = 1_000_000


@dataclass(frozen=True)
class Recognised:
    """By the place of an incoming row: number of the kept row that it is, and whether that is yet to be kept."""

    row_no: npt.NDArray[np.int64]
    is_new: npt.NDArray[np.bool_]

    def numbered(self, batch: pl.DataFrame) -> pl.DataFrame:
        """A batch of consecutive rows with the columns `row_no` and `is_new`."""
        places = slice(batch[PLACE][0], batch[PLACE][-1] + 1)
        return batch.with_columns(pl.Series("row_no", self.row_no[places]), pl.Series("is_new", self.is_new[places]))


def recognise(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    rows: int,
    batches: Iterable[pl.DataFrame],
    key_stamp: datetime | None,
) -> Recognised:
    """Compare the rows of a delivery with those that are kept, and with each other.

    `batches` are its rows in their order, with their places; `key_stamp` is the stamp of the delivery where that is
    part of the key. The temporary table `incoming` is left behind: place, key_id and content_hash of every row.
    """
    between = _hash(connection, contract, batches, key_stamp)
    recognised = Recognised(np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
    buckets = 1 + rows // _ROWS_PER_BUCKET
    repeats = [
        _compare(connection, feed, contract, between, f"content_hash % {buckets} = {bucket}", recognised)
        for bucket in range(buckets)
    ]
    [(highest,)] = fetched(connection, f"SELECT coalesce(max(row_no), 0) FROM {rows_table(contract)}")
    is_new = recognised.is_new
    recognised.row_no[is_new] = highest + np.arange(1, np.count_nonzero(is_new) + 1)
    for repeated in repeats:
        recognised.row_no[repeated[PLACE].to_numpy()] = recognised.row_no[repeated["first_place"].to_numpy()]
    return recognised


def _hash(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    batches: Iterable[pl.DataFrame],
    key_stamp: datetime | None,
) -> tuple[datetime, datetime] | None:
    """Fill `incoming`; returns the times between which all events happened, where the rows are events."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE incoming ({PLACE} UINTEGER, key_id UHUGEINT, content_hash UBIGINT)"
    )
    stamped, stamp = (", ?::TIMESTAMPTZ AS key_stamp", [key_stamp]) if key_stamp else ("", [])
    events: list[datetime] = []
    for batch in batches:
        rows = ArrowStream(batch)  # noqa: F841 (read by DuckDB by its name)
        connection.execute(
            f"INSERT INTO incoming SELECT {PLACE}, {key_id(contract)}, {content_hash(contract)} "
            f"FROM (SELECT *{stamped} FROM rows)",
            stamp,
        )
        if contract.fixed_event_time:
            events += span_of(batch[contract.fixed_event_time])
    return (min(events), max(events)) if events else None


def span_of(times: pl.Series) -> list[datetime]:
    """The earliest and the latest of some instants; nothing where there is none."""
    return [time for time in (times.min(), times.max()) if isinstance(time, datetime)]


def _compare(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    between: tuple[datetime, datetime] | None,
    in_bucket: str,
    recognised: Recognised,
) -> pl.DataFrame:
    """Recognise the first of equal rows in a bucket; returns the others, with the place of the first."""
    # Rows of other times need not be looked at.
    near = f"AND {quoted(contract.fixed_event_time)} BETWEEN ? AND ?" if contract.fixed_event_time and between else ""
    known = f"FROM {rows_table(contract)} WHERE feed = ? AND {in_bucket} {near}"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE firsts AS
        SELECT key_id, content_hash, min({PLACE}) AS first_place, count(*) AS times, any_value(row_no) AS row_no
        FROM (FROM incoming WHERE {in_bucket})
        LEFT JOIN (SELECT key_id, content_hash, row_no {known}) USING (key_id, content_hash)
        GROUP BY key_id, content_hash
        """,
        [feed, *(between or ())] if near else [feed],
    )
    found = pl.DataFrame(ArrowStream(connection.sql("SELECT first_place, row_no FROM firsts")))
    kept = found.drop_nulls()
    recognised.row_no[kept["first_place"].to_numpy()] = kept["row_no"].to_numpy()
    recognised.is_new[found.filter(pl.col("row_no").is_null())["first_place"].to_numpy()] = True
    repeated = pl.DataFrame(
        ArrowStream(
            connection.sql(
                f"SELECT {PLACE}, first_place FROM incoming JOIN (FROM firsts WHERE times > 1) "
                f"USING (key_id, content_hash) WHERE {PLACE} <> first_place"
            )
        )
    )
    connection.execute("DROP TABLE firsts")
    return repeated
