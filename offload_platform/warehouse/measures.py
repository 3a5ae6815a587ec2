"""Figures of what a load has left in the warehouse: what checks are judged by.

Not here: thresholds, verdicts and words. The figures are taken under the writer's lock, so each costs a small share of
the load, and memory that does not grow with what is found: plain aggregates, which DuckDB can move to disk, and hashes
in buckets.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import duckdb
import numpy as np
import polars as pl

from offload_platform.contracts.contract import Content, Contract, Decisions, Reference
from offload_platform.contracts.deliveries import Delivery
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.drift import Drift, DriftKind
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.ops import OF_TYPE
from offload_platform.warehouse.sql import fetched, literal, quoted
from offload_platform.warehouse.storage import sightings_table
from offload_platform.warehouse.views import delivered_rows, delivered_view

_ROWS_PER_BUCKET = 4_000_000
_EXAMPLES = 5
_PLACES_OF_AN_EXAMPLE = 10
_MINUTES_OF_A_DAY = 1440
_INSTANT = timedelta(microseconds=1)
_IN_SLICE = "feed = ? AND delivery_stamp >= ? AND delivery_stamp < ?"


@dataclass(frozen=True)
class PartAccount:
    """Rows of one object: `rows_*` as the ledger has them, `in_*` as counted in the tables."""

    object_key: str
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    in_table: int
    in_quarantine: int
    rows_erased: int = 0

    @property
    def balances(self) -> bool:
        """Whether every row that came in is where the ledger says, or erased."""
        return self.rows_in == self.in_table + self.in_quarantine + self.rows_erased and (
            self.rows_loaded,
            self.rows_quarantined,
        ) == (
            self.in_table,
            self.in_quarantine,
        )


@dataclass(frozen=True)
class RepeatedKey:
    """A natural key of several rows; `places` are the first of them, as object key and line."""

    rows: int
    contents: int
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Repeats:
    """Rows whose natural key stands before.

    A `copy` equals an earlier row of its key in all columns of the contract; a `contradiction` equals none.
    `examples` are a few of the keys, contradictory ones first.
    """

    copies: int
    contradictions: int
    examples: tuple[RepeatedKey, ...]

    @property
    def rows(self) -> int:
        """Rows whose natural key stands before."""
        return self.copies + self.contradictions


@dataclass(frozen=True)
class Lags:
    """How long before the end of its data day an increment's events happened, in days.

    `late` counts rows that lag by more than the days that the feed allows. Median and 95th percentile are those of a
    row, to the minute.
    """

    rows: int
    late: int
    median_days: float
    percentile_95_days: float
    longest_days: float


@dataclass(frozen=True)
class Volume:
    """Rows of a delivery, and of those loaded before it: earlier by stamp, the nearest first."""

    rows: int
    earlier: tuple[int, ...]

    @property
    def usual(self) -> float | None:
        """Median of the deliveries before; None when there is none."""
        return median(self.earlier) if self.earlier else None

    @property
    def change(self) -> float | None:
        """Share by which the rows differ from what is usual; None when that is none or zero."""
        return (self.rows - self.usual) / self.usual if self.usual else None


@dataclass(frozen=True)
class Gap:
    """Deliveries in a row that did not come where they come every few minutes: how many, and those on both sides."""

    after: datetime
    before: datetime
    missing: int


@dataclass(frozen=True)
class Link:
    """A reference between two offload types that a feed delivers."""

    referring: Contract
    reference: Reference
    referred: Contract


@dataclass(frozen=True)
class Coverage:
    """Rows that refer to another type, and how many of them refer to what was not delivered.

    `unjudged` says why that cannot be told yet.
    """

    link: Link
    rows: int = 0
    uncovered: int = 0
    unjudged: str | None = None


@dataclass(frozen=True)
class Undone:
    """States that rows tell of what was known before, and those among them that undo a decision."""

    changes: int
    undone: int


@dataclass(frozen=True)
class Measures:
    """The figures of one load.

    `lags` are those of an increment; `newest_event_days` is by how many days the newest event of any other delivery is
    older than its stamp, below zero for an event after it. Both are None where no row has an event time. `drift` is all
    that the slice shows beside its contract, `gaps` are those before each of its deliveries, longest first, where
    deliveries add up. `decisions` are changes, and those that undo one.
    """

    parts: tuple[PartAccount, ...]
    repeats: Repeats
    lags: Lags | None
    newest_event_days: float | None
    volume: Volume
    coverages: tuple[Coverage, ...]
    drift: tuple[Drift, ...] = ()
    gaps: tuple[Gap, ...] = ()
    decisions: Undone | None = None


def links_of(feed: Feed, contract: Contract) -> tuple[Link, ...]:
    """References that an offload type makes, then those that others make to it, as far as the feed delivers both."""
    delivered = {
        c.offload_type: c
        for c in vendor_named(feed.vendor).contracts.values()
        if c.family in feed.cadence and c.offload_type in feed.expected_types(c.family)
    }
    links = [Link(c, r, delivered[r.to]) for c in delivered.values() for r in c.references if r.to in delivered]
    made = [link for link in links if link.referring == contract]
    return (*made, *(link for link in links if link.referred == contract and link not in made))


def measure(connection: duckdb.DuckDBPyConnection, feed: Feed, replaced: Partition, delivery: Delivery) -> Measures:
    """Take the figures of the slice of a table that a delivery has just replaced."""
    contract, thresholds = replaced.contract, feed.thresholds(delivery.offload_type)
    in_table, repeated = _delivered(connection, replaced)
    parts = _parts(connection, replaced, in_table)
    lags, newest = None, None
    if contract.event_time is not None and contract.content is Content.INCREMENT:
        lags = _lags(connection, replaced, contract.event_time, thresholds.late_arrivals.days)
    elif contract.event_time is not None:
        newest = _newest_event_days(connection, replaced, delivery.stamp)
    return Measures(
        parts=parts,
        repeats=_repeats(connection, replaced, repeated),
        lags=lags,
        newest_event_days=newest,
        volume=Volume(
            sum(part.in_table for part in parts),
            _earlier_rows(connection, replaced, delivery, thresholds.volume.trailing),
        ),
        coverages=tuple(_coverage(connection, feed, link, replaced, delivery) for link in links_of(feed, contract)),
        drift=_drift(connection, replaced),
        gaps=_gaps(connection, replaced, feed.period(contract.family)) if replaced.adds_up else (),
        decisions=_undone(connection, replaced, contract.decisions) if contract.decisions else None,
    )


def _undone(connection: duckdb.DuckDBPyConnection, replaced: Partition, decisions: Decisions) -> Undone:
    """Each state of the slice beside the one before it, by the time of the change and whichever day told it."""
    contract, table = replaced.contract, delivered_view(replaced.contract)
    assert contract.changed_at is not None
    key, status = ", ".join(quoted(name) for name in contract.identity), quoted(decisions.column)
    state = f"{key}, {quoted(contract.changed_at)}, {status}"
    [(changes, undone)] = connection.execute(
        f"""
        WITH told AS (SELECT DISTINCT {state} FROM {table} WHERE {_IN_SLICE}),
        states AS (
            SELECT DISTINCT {state} FROM {table} SEMI JOIN told USING ({key}) WHERE feed = ?
        ),
        in_turn AS (
            SELECT *, lag({status}) OVER (PARTITION BY {key} ORDER BY {quoted(contract.changed_at)}) AS before
            FROM states
        )
        SELECT count(before), count(*) FILTER (list_contains(?, before) AND list_contains(?, {status}))
        FROM in_turn SEMI JOIN told USING ({state})
        """,
        [*_slice(replaced), replaced.feed, list(decisions.made), list(decisions.undecided)],
    ).fetchall()
    return Undone(changes, undone)


def _drift(connection: duckdb.DuckDBPyConnection, replaced: Partition) -> tuple[Drift, ...]:
    found = connection.execute(
        f"SELECT kind, column_name, detail, row_count FROM ops.drift WHERE {_IN_SLICE} AND vendor = ? "
        "AND offload_type = ? ORDER BY ALL",
        [*_slice(replaced), replaced.contract.vendor, replaced.contract.offload_type],
    ).fetchall()
    return tuple(Drift(DriftKind(kind), *said) for kind, *said in found)


def _gaps(connection: duckdb.DuckDBPyConnection, replaced: Partition, period: timedelta) -> tuple[Gap, ...]:
    """Gaps between deliveries, from the last one before the slice on; what comes after the newest may yet come."""
    found = connection.execute(
        f"""
        WITH stamps AS (
            SELECT DISTINCT delivery_stamp AS stamp FROM ops.ledger
            WHERE {OF_TYPE} AND status IN ('loaded', 'expired') AND delivery_stamp < ?
        ),
        spans AS (SELECT lag(stamp) OVER (ORDER BY stamp) AS after, stamp AS before FROM stamps)
        SELECT after, before, round((epoch(before) - epoch(after)) / ?)::BIGINT - 1 AS missing
        FROM spans WHERE before >= ? AND missing > 0 ORDER BY missing DESC, before
        """,
        [
            *(replaced.feed, replaced.contract.vendor, replaced.contract.offload_type),
            *(replaced.end, period.total_seconds(), replaced.start),
        ],
    ).fetchall()
    return tuple(Gap(*row) for row in found)


def _delivered(connection: duckdb.DuckDBPyConnection, replaced: Partition) -> tuple[dict[str, int], pl.Series]:
    """How many rows of the slice each object has, and the hashes of the keys that may stand more than once."""
    contract = replaced.contract
    [(size,)] = fetched(
        connection,
        f"SELECT count(*) FROM store.parts JOIN {sightings_table(contract)} USING (part_no) WHERE {_IN_SLICE} "
        "AND vendor = ? AND offload_type = ?",
        [*_slice(replaced), contract.vendor, contract.offload_type],
    )
    key, buckets = _key_hash(contract), 1 + size // _ROWS_PER_BUCKET
    rows: Counter[int] = Counter()
    repeated = []
    for bucket in range(buckets):
        found = pl.DataFrame(
            ArrowStream(
                connection.sql(
                    f"SELECT part_no, {key} AS key_hash FROM ({delivered_rows(contract)}) "
                    f"WHERE {_IN_SLICE} AND {key} % {buckets} = {bucket}",
                    params=_slice(replaced),
                )
            )
        )
        rows.update(dict(found["part_no"].value_counts().rows()))
        # Sorting numbers is many times cheaper than grouping rows, and few keys stand more than once.
        ordered = np.sort(found["key_hash"].to_numpy())
        repeated.append(pl.Series("key_hash", ordered[1:][ordered[1:] == ordered[:-1]], dtype=pl.UInt64).unique())
    keys = dict(fetched(connection, f"SELECT part_no, object_key FROM store.parts WHERE {_IN_SLICE}", _slice(replaced)))
    return {keys[part_no]: n for part_no, n in rows.items()}, pl.concat(repeated)


def _key_hash(contract: Contract) -> str:
    """SQL of a hash that rows of one natural key and one delivery have in common."""
    # What a row is about is hashed already; only where its key says less, rows of one key are about different things.
    said = ["key_id"] if set(contract.identity) <= set(contract.key) else [quoted(name) for name in contract.key]
    return f"hash({', '.join([*said, 'delivery_stamp'])})"


def _parts(
    connection: duckdb.DuckDBPyConnection, replaced: Partition, in_table: Mapping[str, int]
) -> tuple[PartAccount, ...]:
    found = connection.execute(
        f"""
        WITH ledger AS (
            SELECT object_key, rows_in, rows_loaded, rows_quarantined, rows_erased FROM ops.ledger
            WHERE {_IN_SLICE} AND offload_type = ? AND status = 'loaded'
        ),
        loaded AS (SELECT unnest(?::VARCHAR[]) AS object_key, unnest(?::BIGINT[]) AS in_table),
        quarantined AS (
            SELECT object_key, count(*) AS in_quarantine FROM ops.quarantine
            WHERE {_IN_SLICE} AND offload_type = ? GROUP BY ALL
        )
        SELECT object_key, coalesce(rows_in, 0), coalesce(rows_loaded, 0), coalesce(rows_quarantined, 0),
            coalesce(in_table, 0), coalesce(in_quarantine, 0), coalesce(rows_erased, 0)
        FROM ledger FULL JOIN loaded USING (object_key) FULL JOIN quarantined USING (object_key)
        ORDER BY object_key
        """,
        [
            *(*_slice(replaced), replaced.contract.offload_type),
            *(list(in_table), list(in_table.values())),
            *(*_slice(replaced), replaced.contract.offload_type),
        ],
    ).fetchall()
    return tuple(PartAccount(*row) for row in found)


def _repeats(connection: duckdb.DuckDBPyConnection, replaced: Partition, suspects: pl.Series) -> Repeats:
    """Rows whose key has the hash of another's are few; only they are compared, key by key and column by column."""
    if suspects.is_empty():
        return Repeats(0, 0, ())
    contract = replaced.contract
    # Of a slice of several deliveries, a key may stand in each.
    names = list(dict.fromkeys((*contract.key, "delivery_stamp")))
    # DuckDB 1.5 makes no table of a struct without names.
    named_key = f"{{{', '.join(f'{literal(name)}: {quoted(name)}' for name in names)}}}"
    # DuckDB gives NULL, [] and [NULL] one hash; their JSON differs.
    content = ", ".join(
        f"to_json({quoted(c.name)})" if c.dtype.is_nested() else quoted(c.name) for c in contract.columns.values()
    )
    stream = ArrowStream(suspects.to_frame("key_hash"))  # noqa: F841 (read by DuckDB by its name)
    connection.execute("CREATE OR REPLACE TEMP TABLE suspects AS FROM stream")
    suspected = (
        f"(SELECT *, {named_key} AS key FROM ({delivered_rows(contract)}) "
        f"SEMI JOIN suspects ON {_key_hash(contract)} = key_hash WHERE {_IN_SLICE})"
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE repeated AS
        WITH contents AS (
            SELECT key, hash({content}) AS content, count(*) AS n, min(line) AS first_line
            FROM {suspected} GROUP BY ALL
        )
        SELECT key, sum(n)::BIGINT AS key_rows, count(*) AS key_contents, min(first_line) AS first_line
        FROM contents GROUP BY key HAVING sum(n) > 1
        """,
        _slice(replaced),
    )
    [(rows, contradictions)] = fetched(
        connection,
        "SELECT coalesce(sum(key_rows - 1), 0)::BIGINT, coalesce(sum(key_contents - 1), 0)::BIGINT FROM repeated",
    )
    examples = fetched(
        connection,
        f"""
        WITH examples AS (FROM repeated ORDER BY key_contents > 1 DESC, first_line, key LIMIT {_EXAMPLES})
        SELECT key_rows, key_contents, min(row(object_key, line), {_PLACES_OF_AN_EXAMPLE})
        FROM {suspected} AS suspected JOIN examples ON suspected.key IS NOT DISTINCT FROM examples.key
        GROUP BY examples.key, key_rows, key_contents, first_line
        ORDER BY key_contents > 1 DESC, first_line, examples.key
        """,
        _slice(replaced),
    )
    connection.execute("DROP TABLE repeated")
    connection.execute("DROP TABLE suspects")
    return Repeats(
        copies=rows - contradictions,
        contradictions=contradictions,
        examples=tuple(RepeatedKey(n, contents, tuple(map(tuple, places))) for n, contents, places in examples),
    )


def _lags(
    connection: duckdb.DuckDBPyConnection, replaced: Partition, event_time: str, allowed_days: float
) -> Lags | None:
    # Ranks of minutes and not of rows: a quantile of DuckDB's would hold every lag in memory.
    [(rows, late, median_minute, percentile_95_minute, oldest)] = connection.execute(
        f"""
        WITH minutes AS (
            SELECT (epoch_us(?::TIMESTAMPTZ) - epoch_us({quoted(event_time)})) // 60_000_000 AS minute,
                count(*) AS n, count(*) FILTER ({quoted(event_time)} < ?) AS late, min({quoted(event_time)}) AS oldest
            FROM {delivered_view(replaced.contract)} WHERE {_IN_SLICE} AND {quoted(event_time)} IS NOT NULL GROUP BY ALL
        ),
        ranked AS (SELECT *, sum(n) OVER (ORDER BY minute) / sum(n) OVER () AS up_to FROM minutes)
        SELECT sum(n)::BIGINT, sum(late)::BIGINT, min(minute) FILTER (up_to >= 0.5),
            min(minute) FILTER (up_to >= 0.95), min(oldest)
        FROM ranked
        """,
        [replaced.end, replaced.end - timedelta(days=allowed_days), *_slice(replaced)],
    ).fetchall()
    if rows is None:
        return None
    return Lags(
        rows,
        late,
        median_minute / _MINUTES_OF_A_DAY,
        percentile_95_minute / _MINUTES_OF_A_DAY,
        (replaced.end - oldest) / timedelta(days=1),
    )


def _newest_event_days(connection: duckdb.DuckDBPyConnection, replaced: Partition, stamp: datetime) -> float | None:
    [(newest,)] = connection.execute(
        f"SELECT max(last_event_at) FROM store.parts WHERE {_IN_SLICE} AND vendor = ? AND offload_type = ?",
        [*_slice(replaced), replaced.contract.vendor, replaced.contract.offload_type],
    ).fetchall()
    return None if newest is None else (stamp - newest) / timedelta(days=1)


def _earlier_rows(
    connection: duckdb.DuckDBPyConnection, replaced: Partition, delivery: Delivery, trailing: int
) -> tuple[int, ...]:
    if replaced.adds_up:
        # A day that is not over is compared with the same hours of the days before.
        found = connection.execute(
            "SELECT coalesce(sum(rows_loaded) FILTER "
            "(86400 - (epoch(?::TIMESTAMPTZ) - epoch(delivery_stamp) - 1) % 86400 - 1 <= ?), 0)::BIGINT "
            "FROM ops.ledger WHERE feed = ? AND offload_type = ? AND status IN ('loaded', 'expired') "
            'AND delivery_stamp < ? GROUP BY "partition" ORDER BY max(delivery_stamp) DESC LIMIT ?',
            [
                *(replaced.start, (delivery.stamp - replaced.start).total_seconds()),
                *(replaced.feed, delivery.offload_type, replaced.start, trailing),
            ],
        ).fetchall()
        return tuple(rows for (rows,) in found)
    found = connection.execute(
        "SELECT sum(rows_loaded)::BIGINT FROM ops.ledger WHERE feed = ? AND offload_type = ? "
        "AND status IN ('loaded', 'expired') AND delivery_stamp < ? "
        "GROUP BY delivery_stamp ORDER BY delivery_stamp DESC LIMIT ?",
        [replaced.feed, delivery.offload_type, delivery.stamp, trailing],
    ).fetchall()
    return tuple(rows for (rows,) in found)


def _coverage(
    connection: duckdb.DuckDBPyConnection, feed: Feed, link: Link, replaced: Partition, delivery: Delivery
) -> Coverage:
    begin, stamp = replaced.start if replaced.adds_up else delivery.stamp, delivery.stamp
    first = begin - timedelta(days=link.reference.days)
    # Of deliveries that add up, the first need not come at the first minute of its day.
    back_from = first + timedelta(days=1) - _INSTANT if replaced.adds_up else first
    if unjudged := _why_unjudged(connection, feed, link, (first, back_from), (begin, stamp)):
        return Coverage(link, unjudged=unjudged)
    # Nine weeks of another type may be many rows: their hashes are joined in half the time of their texts.
    hashed = f"hash({', '.join(quoted(name) for name in link.reference.columns)}) AS refers_to"
    given = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in link.reference.columns)
    [(rows, uncovered)] = connection.execute(
        f"""
        WITH referring AS (
            SELECT {hashed} FROM {delivered_view(link.referring)}
            WHERE feed = ? AND delivery_stamp BETWEEN ? AND ? AND {given}
        ),
        referred AS (
            SELECT {hashed} FROM {delivered_view(link.referred)} WHERE feed = ? AND delivery_stamp BETWEEN ? AND ?
        )
        SELECT (SELECT count(*) FROM referring), (SELECT count(*) FROM referring ANTI JOIN referred USING (refers_to))
        """,
        [feed.name, begin, stamp, feed.name, first, stamp],
    ).fetchall()
    return Coverage(link, rows, uncovered)


def _why_unjudged(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    link: Link,
    back_to_one_of: tuple[datetime, datetime],
    referring_in: tuple[datetime, datetime],
) -> str | None:
    (first, latest_first), (begin, stamp) = back_to_one_of, referring_in
    referring, referred = link.referring.offload_type, link.referred.offload_type
    [(is_loaded, back_to)] = connection.execute(
        "SELECT coalesce(bool_or(offload_type = ? AND delivery_stamp BETWEEN ? AND ?), false), "
        "min(delivery_stamp) FILTER (offload_type = ? AND delivery_stamp BETWEEN ? AND ?) "
        "FROM ops.ledger WHERE feed = ? AND status = 'loaded'",
        [referring, begin, stamp, referred, first, stamp, feed.name],
    ).fetchall()
    if not is_loaded:
        return f"{referring} of {stamp:%Y-%m-%d} is not loaded"
    if back_to is None:
        return f"nothing of {referred} is loaded from {first:%Y-%m-%d} to {stamp:%Y-%m-%d}"
    if back_to > latest_first:
        return f"{referred} is loaded from {back_to:%Y-%m-%d} on, and needed from {first:%Y-%m-%d} on"
    return None


def _slice(replaced: Partition) -> Sequence[Any]:
    return [replaced.feed, replaced.start, replaced.end]
