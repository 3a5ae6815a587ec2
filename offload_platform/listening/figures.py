"""Figures of a day: what was counted of each kind of user, altogether and by channel, version, intent and so on.

A group of fewer persons than the limit is not told. Small groups are put together under one name, with the next larger
one where need be, so that no group can be worked out as what is left of the whole.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl

from offload_platform.contracts.listening import Listening

FIGURES = "daily_metrics"
ALL, OTHER, NONE = "(all)", "(other)", "(none)"
_HIGH = 0.95
SCHEMA: dict[str, Any] = {
    "day": pl.Date,
    "user_type": pl.String,
    "breakdown": pl.String,
    "value": pl.String,
    "is_suppressed": pl.Boolean,
    "persons": pl.Int32,
    "messages": pl.Int32,
    "sessions": pl.Int32,
    "failed": pl.Int32,
    "unsure": pl.Int32,
    "median_session_size": pl.Float64,
    "median_session_s": pl.Float64,
    "median_ms": pl.Float64,
    "p95_ms": pl.Float64,
    "mean_score": pl.Float64,
}
_FIRST_FIGURE = list(SCHEMA).index("persons")


def figures_of(rows: pl.DataFrame, listening: Listening, day: date, smallest_group: int) -> pl.DataFrame:
    """Figures of the messages of a day. Groups of fewer than `smallest_group` persons have no figure."""
    found: list[tuple[Any, ...]] = []
    for (user_type,), of_type in sorted(rows.group_by(listening.computed.user_type), key=lambda group: str(group[0])):
        found.append((day, user_type, ALL, ALL, *_of_group(of_type, listening, smallest_group)))
        for breakdown in listening.breakdowns:
            for value, group in _groups(of_type, breakdown.of, listening.person, smallest_group):
                found.append((day, user_type, breakdown.name, value, *_of_group(group, listening, smallest_group)))
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def _groups(rows: pl.DataFrame, by: pl.Expr, person: str, smallest: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each value, by value; values of small groups are put together."""
    named = rows.with_columns(by.fill_null(NONE).cast(pl.String).alias("value"))
    groups = {str(value): group for (value,), group in named.group_by("value")}
    by_size = sorted(groups, key=lambda value: (groups[value][person].drop_nulls().n_unique(), value))
    pooled: list[str] = []
    persons: set[str] = set()
    for value in by_size:
        own = set(groups[value][person].drop_nulls())
        if len(own) >= smallest and (not pooled or len(persons) >= smallest):
            continue
        pooled.append(value)
        persons |= own
    for value in sorted(groups.keys() - set(pooled)):
        yield value, groups[value]
    if pooled:
        yield OTHER, pl.concat([groups[value] for value in sorted(pooled)])


def _of_group(rows: pl.DataFrame, listening: Listening, smallest: int) -> tuple[Any, ...]:
    """Whether a group is suppressed, and its figures; none where it is."""
    names = listening.computed
    persons = rows[listening.person].drop_nulls().n_unique()
    if persons < smallest:
        return True, *[None] * (len(SCHEMA) - _FIRST_FIGURE)
    sessions = rows.filter(pl.col(names.session).is_not_null()).unique(names.session)
    took, score = rows[listening.took], rows[listening.score]
    return (
        False,
        persons,
        rows.height,
        sessions.height,
        int(rows.select(listening.failed.sum()).item()),
        int(rows.select(listening.unsure.sum()).item()),
        sessions[names.size].median(),
        sessions[names.duration].median(),
        took.median(),
        took.quantile(_HIGH),
        score.mean(),
    )
