"""Texts that stand in CSV cells and in JSON as they are: quoted where needed, times as the vendor writes them."""

import re
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


def times(epoch_s: Integers, offset_min: Integers, fraction: pl.Series | None = None) -> pl.Series:
    """Times as `2018-10-07T08:15:23+01:00`, from whole seconds since 1970 in UTC and minutes east of UTC.

    `fraction` are the texts that follow the seconds, with their point.
    """
    day, second = np.divmod(epoch_s + offset_min * 60, SECONDS_PER_DAY)
    if not len(day):
        return series(())
    first = int(day.min())
    days = series([(_EPOCH + timedelta(days=number)).isoformat() for number in range(first, int(day.max()) + 1)])
    written = pl.DataFrame(
        {
            "day": at(days, day - first),
            "clock": at(_clocks(), second),
            **({} if fraction is None else {"fraction": fraction}),
            "offset": at(_offsets(), offset_min + _FARTHEST_OFFSET_MIN),
        }
    )
    return written.select(pl.concat_str(pl.all())).to_series()


def times_ms(epoch_ms: Integers, offset_min: Integers) -> pl.Series:
    """Times as `2018-10-07T08:15:23.045+01:00`, from milliseconds since 1970 in UTC and minutes east of UTC."""
    second, millisecond = np.divmod(epoch_ms, 1000)
    return times(second, offset_min, at(thousandths(), millisecond))


def filled(template: str) -> pl.Expr:
    """The template with the text of a column in place of each `<column>`."""
    pieces = re.split(r"<(.+?)>", template)
    return pl.concat_str(pl.col(piece) if nth % 2 else pl.lit(piece) for nth, piece in enumerate(pieces))


def numbers(values: Numbers) -> pl.Series:
    """Decimal numbers in their shortest form; whole ones without a point."""
    return pl.Series(values).cast(pl.String).str.strip_suffix(".0")


def integers(values: Integers) -> pl.Series:
    """Whole numbers."""
    return pl.Series(values).cast(pl.String)


def millionths(values: Integers) -> pl.Series:
    """`.000001` to `.999999`, and nothing for zero."""
    thousands, ones = np.divmod(values, 1000)
    written = pl.concat_str(at(thousandths(), thousands), at(thousandths(), ones).str.strip_prefix("."))
    return pl.select(pl.when(pl.lit(pl.Series(values)) == 0).then(pl.lit("")).otherwise(written)).to_series()


def quoted(texts: pl.Series) -> pl.Series:
    """Texts in quotes, for JSON; they hold nothing that would need an escape."""
    return pl.select(pl.concat_str(pl.lit('"'), texts, pl.lit('"'))).to_series()


def joined(texts: pl.Series, group: Integers, groups: int) -> pl.Series:
    """The texts of each group with commas between them; `group` ascends, and a group without a text is empty."""
    members = pl.DataFrame({"group": group, "text": texts}).lazy()
    lists = members.group_by("group", maintain_order=True).agg(pl.col("text").str.join(","))
    every = pl.LazyFrame({"group": np.arange(groups)})
    found = every.join(lists, on="group", how="left", maintain_order="left")
    return found.select(pl.col("text").fill_null("")).collect().to_series()


def decimals(values: Numbers, places: int = 3) -> pl.Series:
    """Numbers rounded to some decimal places, in their shortest form; whole ones with `.0`."""
    return pl.Series(np.round(values, places)).cast(pl.String)


@cache
def thousandths() -> pl.Series:
    """`.000` to `.999`."""
    return series([f".{n:03d}" for n in range(1000)])


@cache
def _clocks() -> pl.Series:
    return series([f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(SECONDS_PER_DAY)])


@cache
def _offsets() -> pl.Series:
    minutes = range(-_FARTHEST_OFFSET_MIN, _FARTHEST_OFFSET_MIN + 1)
    return series(["Z" if m == 0 else f"{'-' if m < 0 else '+'}{abs(m) // 60:02d}:{abs(m) % 60:02d}" for m in minutes])
