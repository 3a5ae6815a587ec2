"""Contract of `attributes.wide`: one row per user, one column per attribute.

The attribute columns come and go between deliveries, and their types are known from samples only. So a value that
does not fit its column's type never costs the user's row: it stays in `extra` as delivered and is reported.
"""

from typing import Any

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import column
from offload_platform.contracts.contract import Contract, CsvFormat, View
from offload_platform.contracts.readers import BooleanCell, CellReader, NumberCell, TextCell, TextListCell
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.attribute_catalogue import MASKED, SUFFIX, Attribute, Kind, attributes
from offload_platform.vendors.sentiance.layout import LIFESTYLE

_TYPES: dict[Kind, Any] = {
    Kind.NUMBER: types.Number,
    Kind.TEXT: types.Text,
    Kind.BOOLEAN: types.Flag,
    Kind.LIST: types.TextList,
}


def _reader(attribute: Attribute) -> CellReader:
    wire = attribute.name + SUFFIX
    match attribute.kind:
        case Kind.NUMBER:
            absent = () if attribute.none_number is None else (attribute.none_number,)
            return NumberCell(wire, absent=absent, misfit_to_extra=True)
        case Kind.BOOLEAN:
            return BooleanCell(wire, misfit_to_extra=True)
        case Kind.LIST:
            return TextListCell(wire, bare_word=False, misfit_to_extra=True)
        case Kind.TEXT:
            absent_text = () if attribute.none_text is None else (attribute.none_text,)
            return TextCell(wire, masked=MASKED, absent=absent_text)


def _column(attribute: Attribute) -> Any:
    return column(
        _reader(attribute),
        f"{attribute.description}. Attribute {attribute.name}.",
        source=f"{shared.LIFESTYLE_MODEL}; samples of 2017 and 2019",
        privacy=attribute.privacy,
        unit=attribute.unit,
        sensitive=attribute.sensitive,
        expected=attribute.last_seen >= 2019,
        nullable=True,
    )


class _Users(pa.DataFrameModel):
    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    extra: types.Json = shared.extra()

    class Config:
        strict = True


AttributesWide: type[pa.DataFrameModel] = type(
    "AttributesWide",
    (_Users,),
    {
        "__doc__": "The long-term attributes of one user in this snapshot, one column per attribute.",
        "__module__": __name__,
        "__annotations__": {a.column: _TYPES[a.kind] for a in attributes()},
        **{a.column: _column(a) for a in attributes()},
    },
)


def _unpivoted(kind: Kind, value: str) -> str:
    named = ", ".join(f'"{a.column}" AS "{a.name}"' for a in attributes() if a.kind is kind)
    return f"""
        SELECT * FROM (
            UNPIVOT (SELECT feed, app_id, known_from, user_id, {named} FROM {{table}})
            ON COLUMNS(* EXCLUDE (feed, app_id, known_from, user_id)) INTO NAME attribute VALUE {value}
        )"""


_NUMBER = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_KNOWN = ", ".join(f"'{a.name}'" for a in attributes())

_UNKNOWN_OR_MISFIT = rf"""
    SELECT feed, app_id, known_from, user_id, attribute,
        CASE WHEN is_new AND regexp_full_match(text, '{_NUMBER}') THEN try_cast(text AS DOUBLE) END AS value_num,
        CASE WHEN NOT is_new OR NOT (
            regexp_full_match(text, '{_NUMBER}') OR lower(text) IN ('true', 'false')
            OR (text LIKE '[%' AND json_valid(text)) OR regexp_matches(text, '{MASKED}')
        ) THEN text END AS value_text,
        CASE WHEN is_new AND lower(text) IN ('true', 'false') THEN lower(text) = 'true' END AS value_bool,
        CASE WHEN is_new AND text LIKE '[%' AND json_valid(text)
            THEN from_json(CASE WHEN json_valid(text) THEN text ELSE '[]' END, '["VARCHAR"]') END AS value_list
    FROM (
        SELECT *, regexp_replace(key, '[.]value$', '') AS attribute, value ->> '$' AS text,
            regexp_replace(key, '[.]value$', '') NOT IN ({_KNOWN}) AS is_new
        FROM (SELECT feed, app_id, known_from, user_id, extra FROM {{table}} WHERE extra IS NOT NULL),
            json_each(extra)
    )
"""

CONTRACT = Contract(
    vendor="sentiance",
    offload_type="attributes.wide",
    family=LIFESTYLE,
    window=shared.ATTRIBUTES_WINDOW,
    rows=AttributesWide,
    wire=CsvFormat(ordered=False),
    key=("app_id", "user_id"),
    source="Offloads document, section Attributes - Wide",
    views=(
        View(
            name="attributes_wide_unpivoted",
            description="The wide attributes as one row per user and attribute, with the names and values of "
            "attributes_long; attributes without a value have no row.",
            sql=" UNION ALL BY NAME ".join(
                [
                    _unpivoted(Kind.NUMBER, "value_num"),
                    _unpivoted(Kind.TEXT, "value_text"),
                    _unpivoted(Kind.BOOLEAN, "value_bool"),
                    _unpivoted(Kind.LIST, "value_list"),
                    _UNKNOWN_OR_MISFIT,
                ]
            ),
            columns={
                "attribute": "Name of the attribute, as in attributes_long.",
                "value_num": "The value, where it is a number.",
                "value_text": "The value, where it is text.",
                "value_bool": "The value, where it is true or false.",
                "value_list": "The value, where it is a list.",
            },
        ),
    ),
)
