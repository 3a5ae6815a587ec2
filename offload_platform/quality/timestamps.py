"""ISO 8601 times with an offset, read from text into instant, wall clock and offset.

Deliveries mix fractions of 0, 3 and 6 digits, `Z` and `±hh:mm`, and offsets of many zones in one column (as the
samples of vendors show). Nearly all are of fixed width, which is read at a quarter of the general price; what the
fixed-width reading leaves null goes through the general one.
"""

import polars as pl

_OFFSETS = {"Z": 0} | {
    f"{sign}{hour:02d}:{minute:02d}": factor * (hour * 60 + minute)
    for sign, factor in (("+", 1), ("-", -1))
    for hour in range(15)
    for minute in (0, 15, 30, 45)
    if hour < 14 or minute == 0
}
# Digits are spelled out, because \d also stands for the digits of other scripts.
_DATE, _TIME = "[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-5][0-9]"
_FIXED_WIDTH = f"^{_DATE}T{_TIME}"
_WITHOUT_OFFSET = rf"^{_DATE}[T ]{_TIME}(?:\.[0-9]{{1,9}})?$"
_GENERAL = (
    rf"^(?<date>{_DATE})[T ]?(?<time>{_TIME})(?:\.(?<fraction>[0-9]{{1,9}}))?"
    r"(?<zone>Z|[+-](?:0[0-9]|1[0-3]):?[0-5][0-9]|[+-]14:?00)$"
)
_MICROSECONDS_PER_MINUTE = 60_000_000


def wall_clock(text: pl.Expr) -> pl.Expr:
    """Wall clock of `YYYY-MM-DDTHH:MM:SS` followed by a usual offset; null for any other shape."""
    clock = text.str.slice(0, 19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False, cache=False)
    # The parser alone would also take blanks and signs in place of digits, and a second 60.
    return pl.when(text.str.contains(_FIXED_WIDTH)).then(clock)


def offset_minutes(text: pl.Expr) -> pl.Expr:
    """Minutes of the offset that follows a fixed-width clock; null for any other shape."""
    return text.str.slice(19).replace_strict(_OFFSETS, default=None, return_dtype=pl.Int16)


def general(text: pl.Series) -> pl.DataFrame:
    """Wall clock (`local`) and offset in minutes (`offset`) of any shape that is accepted; null where none is.

    `T`, a blank or nothing may stand between date and time; up to nine fraction digits are cut to microseconds;
    offsets are `Z`, `±hh:mm` or `±hhmm` up to 14 hours.
    """
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(_GENERAL)).unnest("text")
    clock = pl.concat_str("date", pl.lit("T"), "time").str.to_datetime(
        "%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False
    )
    microseconds = pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    digits = pl.col("zone").str.replace(":", "", literal=True)
    minutes = digits.str.slice(1, 2).cast(pl.Int16, strict=False) * 60 + digits.str.slice(3, 2).cast(
        pl.Int16, strict=False
    )
    signed = pl.when(digits == "Z").then(0).when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)
    return parts.select(
        local=clock + pl.duration(microseconds=microseconds, time_unit="us"), offset=signed.cast(pl.Int16)
    )


def source_instant(text: pl.Expr, zone: str) -> pl.Expr:
    """The UTC instant of `YYYY-MM-DD hh:mm:ss` (a `T` and fractions may be there) on the clock of a zone.

    Null for another shape and for a time that the zone's clock skips; the earlier instant of a time that it repeats.
    """
    clock = text.str.slice(0, 19).str.replace(" ", "T", literal=True)
    local = clock.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False, cache=False)
    known = pl.when(text.str.contains(_WITHOUT_OFFSET)).then(local)
    return known.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def instant(local: pl.Expr, offset: pl.Expr) -> pl.Expr:
    """The UTC instant of a wall clock and its offset in minutes."""
    utc = local.to_physical() - offset.cast(pl.Int64) * _MICROSECONDS_PER_MINUTE
    return utc.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
