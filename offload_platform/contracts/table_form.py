"""A contract read from files that carry its table: what an export of this platform sends, and another one takes in.

Such files have the columns of the table under their own names, each value as an export writes it: instants in UTC,
decimals with all their digits, ids that are pseudonyms already. So nothing is protected, worked out or renamed a second
time. Not here: how exports write (`exports/selection.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from offload_platform.contracts.columns import Column
from offload_platform.contracts.contract import Contract, CsvFormat
from offload_platform.contracts.readers import (
    CellReader,
    DecimalCell,
    InstantCell,
    IntegerCell,
    JsonObjectCell,
    NumberCell,
    TextCell,
    UnknownColumns,
)

_READERS: Mapping[Any, Callable[[str], CellReader]] = {
    pl.String: TextCell,
    pl.Datetime("us", "UTC"): InstantCell,
    pl.Float64: NumberCell,
    pl.Int32: IntegerCell,
}
_OF_THE_SENDER = ("feed", "app_id", "delivery_stamp", "known_from", "known_to", "change_kind", "object_key", "line")
"""Columns that tell how a row came to the sender; how it comes here is told anew."""


def in_table_form(contract: Contract) -> Contract:
    """The same contract, read from files of its table.

    Raises:
        ValueError: a column is of a type that such files are not read for.
    """
    return replace(
        contract,
        readers={name: _reader_of(column) for name, column in contract.columns.items()},
        wire=CsvFormat(ordered=False, may_be_empty=True),
        dropped=tuple(name for name in _OF_THE_SENDER if name not in contract.columns),
    )


def _reader_of(column: Column) -> CellReader:
    if isinstance(column.facts.reader, UnknownColumns):
        return JsonObjectCell(column.name)
    if isinstance(column.dtype, pl.Decimal):
        return DecimalCell(column.name)
    if column.dtype not in _READERS:
        raise ValueError(f"{column.name} is {column.dtype}, which is not read from files of a table")
    return _READERS[column.dtype](column.name)
