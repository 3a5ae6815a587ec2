"""Contract of `attributes.long`: one row per user and attribute."""

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import Computed, TextCell, TextListCell, delivered
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.attribute_catalogue import MASKED, SUFFIX, Kind, attributes
from offload_platform.vendors.sentiance.layout import LIFESTYLE

_VALUE = "attribute_value"
_KINDS = {a.name: a.kind.value for a in attributes()}
_NONE_NUMBERS = {a.name: a.none_number for a in attributes() if a.none_number is not None}
_NONE_TEXTS = {a.name: a.none_text for a in attributes() if a.none_text is not None}


def _may_be(kind: Kind) -> pl.Expr:
    """Whether an attribute holds values of a kind; one that is not catalogued may hold any."""
    is_of_kind = {attribute: known == kind.value for attribute, known in _KINDS.items()}
    return pl.col("attribute").replace_strict(is_of_kind, default=True, return_dtype=pl.Boolean)


def _number() -> pl.Expr:
    number = delivered(_VALUE).cast(pl.Float64, strict=False)
    none = pl.col("attribute").replace_strict(_NONE_NUMBERS, default=None, return_dtype=pl.Float64)
    return pl.when(_may_be(Kind.NUMBER) & number.is_finite() & number.ne_missing(none)).then(number)


def _boolean() -> pl.Expr:
    lower = delivered(_VALUE).str.to_lowercase()
    return pl.when(_may_be(Kind.BOOLEAN) & lower.is_in(["true", "false"])).then(lower == "true")


def _is_masked() -> pl.Expr:
    return (_may_be(Kind.TEXT) & delivered(_VALUE).str.contains(MASKED)).fill_null(False)


def _text() -> pl.Expr:
    raw = delivered(_VALUE)
    none = pl.col("attribute").replace_strict(_NONE_TEXTS, default=None, return_dtype=pl.String)
    none_number = pl.col("attribute").replace_strict(_NONE_NUMBERS, default=None, return_dtype=pl.Float64)
    otherwise_typed = (
        pl.col("value_num").is_not_null()
        | pl.col("value_bool").is_not_null()
        | pl.col("value_list").is_not_null()
        | pl.col("is_masked")
        | (raw.cast(pl.Float64, strict=False) == none_number).fill_null(False)
    )
    return pl.when(~otherwise_typed & raw.ne_missing(none)).then(raw)


class AttributesLong(pa.DataFrameModel):
    """One long-term attribute of one user in this snapshot; an attribute without a value is delivered as a row too."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    attribute: types.Text = column(
        TextCell("attribute_name", suffix=SUFFIX),
        "Name of the attribute, without the '.value' that it is delivered with; spelled as delivered.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.NONE,
        enumeration=frozenset(_KINDS),
    )
    value_raw: types.Text = column(
        TextCell(_VALUE),
        "The value as delivered; null when none.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    value_list: types.TextList = column(
        TextListCell(_VALUE, bare_word=False, optional=True),
        "The value, where it is a list.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    value_num: types.Number = column(
        Computed(_number, wire=_VALUE),
        "The value, where it is a number; null for the -1 that means none in driving behaviour attributes.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    value_bool: types.Flag = column(
        Computed(_boolean, wire=_VALUE),
        "The value, where it is true or false.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    is_masked: types.Flag = column(
        Computed(_is_masked, wire=_VALUE),
        "True where the vendor delivered a mask ('Hidden') instead of the value.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.NONE,
    )
    value_text: types.Text = column(
        Computed(_text, wire=_VALUE),
        "The value, where it is text; null for the 0 that means none in most-common attributes.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        sensitive=True,
        nullable=True,
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="attributes.long",
    family=LIFESTYLE,
    window=shared.ATTRIBUTES_WINDOW,
    rows=AttributesLong,
    key=("app_id", "user_id", "attribute"),
    source="Offloads document, section Attributes - Long",
)
