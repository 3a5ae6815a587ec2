"""Tells which rows of a delivery are kept already: each row gets the number of the kept row that it repeats, or a new
one.

Rows are known by the hashes of their key and of their content, which are staged with them. They are compared bucket by
bucket, so that the memory that it takes does not grow with the delivery, apart from nine bytes for the number of each
row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.hashes import CONTENT_HASH, HASHES, KEY_HIGH, KEY_LOW
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.storage import rows_table

_ROWS_PER_BUCKET = 2_000_000
_PLACE, _FIRST_PLACE, _ROW_NO = "place", "first_place", "row_no"
_LOW_64 = 2**64 - 1


@dataclass(frozen=True)
class Recognised:
    """By the place of an incoming row: number of the kept row that it is, and whether that is yet to be kept."""

    row_no: npt.NDArray[np.int64]
    is_new: npt.NDArray[np.bool_]


def recognise(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    row_files: Sequence[Path],
    between: tuple[datetime, datetime] | None,
) -> Recognised:
    """Compare the rows of a delivery, in the order of its staged files, with those that are kept, and with each other.

    All that they tell happened `between` two times, where the rows are events.
    """
    rows = sum(_hashes_in(file).height for file in row_files)
    recognised = Recognised(np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
    buckets = 1 + rows // _ROWS_PER_BUCKET
    repeats = []
    for bucket in range(buckets):
        kept = _kept(connection, feed, contract, between, f"content_hash % {buckets} = {bucket}")
        repeats.append(_compare(_incoming(row_files, buckets, bucket), kept, recognised))
    [(highest,)] = fetched(connection, f"SELECT coalesce(max(row_no), 0) FROM {rows_table(contract)}")
    is_new = recognised.is_new
    recognised.row_no[is_new] = highest + np.arange(1, np.count_nonzero(is_new) + 1)
    for repeated in repeats:
        recognised.row_no[repeated[_PLACE].to_numpy()] = recognised.row_no[repeated[_FIRST_PLACE].to_numpy()]
    return recognised


def span_of(times: pl.Series) -> list[datetime]:
    """The earliest and the latest of some instants; nothing where there is none."""
    return [time for time in (times.min(), times.max()) if isinstance(time, datetime)]


def _hashes_in(file: Path) -> pl.DataFrame:
    return pl.read_ipc(file, columns=list(HASHES))


def _incoming(row_files: Sequence[Path], buckets: int, bucket: int) -> pl.DataFrame:
    """Place and hashes of the rows of one bucket, in the order of their places."""
    found = [pl.DataFrame(schema={_PLACE: pl.UInt32, **dict.fromkeys(HASHES, pl.UInt64)})]
    place = 0
    for file in row_files:
        hashes = _hashes_in(file).with_row_index(_PLACE, place)
        place += hashes.height
        found.append(hashes.filter(pl.col(CONTENT_HASH) % buckets == bucket) if buckets > 1 else hashes)
    return pl.concat(found)


def _kept(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    between: tuple[datetime, datetime] | None,
    in_bucket: str,
) -> pl.DataFrame:
    """Hashes and numbers of the kept rows of one bucket."""
    # Rows of other times need not be looked at.
    near = f"AND {quoted(contract.fixed_event_time)} BETWEEN ? AND ?" if contract.fixed_event_time and between else ""
    return pl.DataFrame(
        ArrowStream(
            connection.sql(
                f"SELECT (key_id >> 64)::UBIGINT AS {KEY_HIGH}, (key_id & {_LOW_64})::UBIGINT AS {KEY_LOW}, "
                f"content_hash AS {CONTENT_HASH}, row_no AS {_ROW_NO} FROM {rows_table(contract)} "
                f"WHERE feed = ? AND {in_bucket} {near}",
                params=[feed, *(between or ())] if near else [feed],
            )
        )
    )


def _compare(incoming: pl.DataFrame, kept: pl.DataFrame, recognised: Recognised) -> pl.DataFrame:
    """Recognise the rows of a bucket that are kept, and the first of equal ones; returns the others, with the place of
    the first.
    """
    known = incoming.join(kept, on=CONTENT_HASH).filter(
        (pl.col(KEY_HIGH) == pl.col(f"{KEY_HIGH}_right")) & (pl.col(KEY_LOW) == pl.col(f"{KEY_LOW}_right"))
    )
    recognised.row_no[known[_PLACE].to_numpy()] = known[_ROW_NO].to_numpy()
    is_known = np.zeros(len(recognised.row_no), np.bool_)
    is_known[known[_PLACE].to_numpy()] = True
    unknown = incoming.filter(pl.Series(~is_known[incoming[_PLACE].to_numpy()]))
    recognised.is_new[unknown[_PLACE].to_numpy()] = True
    # Sorting numbers is many times cheaper than grouping rows, and few hashes are there more than once.
    ordered = np.sort(unknown[CONTENT_HASH].to_numpy())
    doubled = pl.Series(ordered[1:][ordered[1:] == ordered[:-1]], dtype=pl.UInt64).unique()
    suspects = unknown.filter(pl.col(CONTENT_HASH).is_in(doubled.implode()))
    repeated = suspects.with_columns(pl.col(_PLACE).min().over(HASHES).alias(_FIRST_PLACE)).filter(
        pl.col(_PLACE) != pl.col(_FIRST_PLACE)
    )
    recognised.is_new[repeated[_PLACE].to_numpy()] = False
    return repeated.select(_PLACE, _FIRST_PLACE)
