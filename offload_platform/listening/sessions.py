"""Sessions: messages of one login, cut where nothing was said for too long. No I/O.

A session is a function of its messages alone: neither midnight nor the order in which days were made plays a part.
"""

import hashlib
from datetime import timedelta

import polars as pl

from offload_platform.contracts.listening import Listening

_DIGITS = 16
_MARK = "session|v1"


def with_sessions(rows: pl.DataFrame, listening: Listening, gap: timedelta) -> pl.DataFrame:
    """The rows with id, size and duration (whole seconds) of their sessions; all three are null without a person.

    A session goes on where a message comes no later than `gap` after the one before.
    """
    person, moment, names = listening.person, listening.moment, listening.computed
    ordered = rows.sort(person, moment, nulls_last=True)
    breaks = (pl.col(moment).diff() > gap).fill_null(True).over(person)
    of_session = [person, "number"]
    sessions = ordered.with_columns(number=breaks.cum_sum().over(person)).with_columns(
        begin=pl.col(moment).min().over(of_session),
        size=pl.len().over(of_session).cast(pl.Int32),
        seconds=(pl.col(moment).max() - pl.col(moment).min()).over(of_session).dt.total_seconds().cast(pl.Int32),
    )
    distinct = sessions.filter(pl.col(person).is_not_null()).select(person, "begin").unique()
    ids = [session_id(*one) for one in zip(distinct[person], distinct["begin"].dt.timestamp("us"), strict=True)]
    known = distinct.with_columns(pl.Series(names.session, ids, dtype=pl.String))
    is_known = pl.col(person).is_not_null()
    return (
        sessions.join(known, on=[person, "begin"], how="left", maintain_order="left")
        .with_columns(
            pl.when(is_known).then("size").alias(names.size), pl.when(is_known).then("seconds").alias(names.duration)
        )
        .drop("number", "begin", "size", "seconds")
    )


def session_id(person: str, begin_us: int) -> str:
    """The id of the session of a person (a keyed hash) that began at a moment, in microseconds since 1970.

    It takes no key, because the one who sees it sees the hash of the person beside it.
    """
    return hashlib.sha256(f"{_MARK}|{person}|{begin_us}".encode()).hexdigest()[:_DIGITS]
