"""Texts that stand in CSV cells as they are: quoted where needed, times as the vendor writes them."""

from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl

from offload_platform.simulator.randomness import Integers, Numbers
from offload_platform.simulator.timeline import SECONDS_PER_DAY

_EPOCH = date(1970, 1, 1)
_FARTHEST_OFFSET_MIN = 14 * 60


def cell(text: str) -> str:
    """A text as CSV cell; it is quoted where a comma or a semicolon as delimiter would make it necessary."""
    if any(mark in text for mark in '",;\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def series(texts: list[str] | tuple[str, ...]) -> pl.Series:
    """Texts as a column."""
    return pl.Series(texts, dtype=pl.String)


def at(texts: pl.Series, position: Integers) -> pl.Series:
    """The texts at these positions."""
    return texts.gather(pl.Series(position, dtype=pl.Int64))


def times(epoch_s: Integers, offset_min: Integers) -> pl.Series:
    """Times as `2018-10-07T08:15:23+01:00`, from whole seconds since 1970 in UTC and minutes east of UTC."""
    day, second = np.divmod(epoch_s + offset_min * 60, SECONDS_PER_DAY)
    if not len(day):
        return series(())
    first = int(day.min())
    days = series([(_EPOCH + timedelta(days=number)).isoformat() for number in range(first, int(day.max()) + 1)])
    written = pl.DataFrame(
        [
            at(days, day - first).alias("day"),
            at(_clocks(), second).alias("clock"),
            at(_offsets(), offset_min + _FARTHEST_OFFSET_MIN).alias("offset"),
        ]
    )
    return written.select(pl.concat_str("day", "clock", "offset")).to_series()


def numbers(values: Numbers) -> pl.Series:
    """Decimal numbers in their shortest form; whole ones without a point."""
    return pl.Series(values).cast(pl.String).str.strip_suffix(".0")


def integers(values: Integers) -> pl.Series:
    """Whole numbers."""
    return pl.Series(values).cast(pl.String)


@cache
def _clocks() -> pl.Series:
    return series([f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(SECONDS_PER_DAY)])


@cache
def _offsets() -> pl.Series:
    minutes = range(-_FARTHEST_OFFSET_MIN, _FARTHEST_OFFSET_MIN + 1)
    return series(["Z" if m == 0 else f"{'-' if m < 0 else '+'}{abs(m) // 60:02d}:{abs(m) % 60:02d}" for m in minutes])
