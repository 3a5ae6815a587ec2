"""Exact decimal numbers out of text: never a binary fraction on the way."""

import decimal
from functools import lru_cache

import polars as pl

_SHAPE = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)
_REMEMBERED = 1 << 16


def decimals(texts: pl.Series, dtype: pl.Decimal) -> pl.Series:
    """The number in each text, rounded to the digits of the type; null for what is none, or too large for the type."""
    if texts.null_count() == texts.len():
        return pl.Series([None], dtype=dtype).new_from_index(0, texts.len())
    plain = texts.filter(texts.str.contains(_SHAPE).fill_null(False)).unique()
    found = [_fitted(text, dtype.precision or 38, dtype.scale) for text in plain]
    values = pl.Series(found, dtype=dtype)
    return texts.replace_strict(plain, values, default=None, return_dtype=dtype)


def is_rounded(texts: pl.Series, numbers: pl.Series) -> pl.Series:
    """Whether a text says more digits than its number has."""
    if numbers.null_count() == numbers.len():
        return pl.Series([False]).new_from_index(0, numbers.len())
    digits = pl.DataFrame({"text": texts, "number": numbers}).unique().drop_nulls()
    more = [text for text, number in digits.rows() if decimal.Decimal(text) != number]
    return texts.is_in(more).fill_null(False)


@lru_cache(_REMEMBERED)
def _fitted(text: str, precision: int, scale: int) -> decimal.Decimal | None:
    try:
        number = decimal.Decimal(text).quantize(decimal.Decimal(1).scaleb(-scale), context=_CONTEXT)
    except decimal.InvalidOperation:
        return None
    return number if abs(number) < decimal.Decimal(10) ** (precision - scale) else None
