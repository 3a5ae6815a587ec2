"""From cells to the text of a part: CSV with header, delimiter and line end and the drifts that are wanted, or JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.simulation import DriftKind, Simulation

BYTE_ORDER_MARK = "\ufeff"

_NEW_COLUMN = {"attributes.wide": "shoe.size.value"}
_ANY_NEW_COLUMN, _NEW_VALUE = "confidence", "0.87"
_OPTIONAL_COLUMN = {
    "stationaries": "location.place.name",
    "transports": "duration",
    "moments": "meta",
}
_ANY_OPTIONAL_COLUMN = "metadata_user_id"
_UNKNOWN_VALUE = {
    "stationaries": ("location.significance", "second_home"),
    "transports": ("mode", "hoverboard"),
    "moments": ("moment_definition_id", "coffee_break"),
    "segments": ("segment_id", "lifestyle.moon_traveller"),
    "attributes.long": ("attribute_name", "shoe.size.value"),
}
_ROWS_BETWEEN_UNKNOWN_VALUES = 50


@dataclass(frozen=True)
class Wire:
    """How the parts of one offload type look in one delivery: CSV, as the texts of its cells."""

    offload_type: str
    drifts: frozenset[DriftKind] = frozenset()
    usual_line_end: str = "\r\n"

    @property
    def first_line(self) -> int:
        """The line of the first row."""
        return 2

    @property
    def delimiter(self) -> str:
        """What stands between two cells."""
        return ";" if DriftKind.SEMICOLON in self.drifts else ","

    @property
    def line_end(self) -> str:
        """What stands after each line."""
        return "\n" if DriftKind.LINE_FEED in self.drifts else self.usual_line_end

    def header(self, columns: list[str]) -> str:
        """The first line, with its end."""
        mark = BYTE_ORDER_MARK if DriftKind.BYTE_ORDER_MARK in self.drifts else ""
        return mark + self.delimiter.join(texts.cell(column) for column in columns) + self.line_end

    def shaped(self, cells: pl.DataFrame, first_row: int) -> pl.DataFrame:
        """The cells that are delivered; `first_row` is the number of the first row in its part."""
        if DriftKind.UNKNOWN_VALUE in self.drifts:
            cells = self._with_unknown_values(cells, first_row)
        if DriftKind.MISSING_COLUMN in self.drifts:
            cells = cells.drop(_OPTIONAL_COLUMN.get(self.offload_type, _ANY_OPTIONAL_COLUMN))
        if DriftKind.NEW_COLUMN in self.drifts:
            new = _NEW_COLUMN.get(self.offload_type, _ANY_NEW_COLUMN)
            cells = cells.with_columns(pl.lit(_NEW_VALUE).alias(new))
        if DriftKind.COLUMN_ORDER in self.drifts:
            cells = cells.select(reversed(cells.columns))
        return cells

    def lines(self, cells: pl.DataFrame) -> pl.Series:
        """The rows as lines, without their ends."""
        return cells.select(pl.concat_str(pl.all(), separator=self.delimiter)).to_series()

    def line(self, cells: Mapping[str, str]) -> str:
        """One row as a line, without its end."""
        return self.delimiter.join(cells.values())

    def _with_unknown_values(self, cells: pl.DataFrame, first_row: int) -> pl.DataFrame:
        column, value = _UNKNOWN_VALUE[self.offload_type]
        row = pl.int_range(pl.len()) + first_row
        is_unknown = row % _ROWS_BETWEEN_UNKNOWN_VALUES == 0
        return cells.with_columns(pl.when(is_unknown).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@dataclass(frozen=True)
class JsonLines(Wire):
    """One JSON object a line, without a header; its cells are JSON texts by the name of the member."""

    usual_line_end: str = "\n"

    @property
    def first_line(self) -> int:
        """The line of the first row."""
        return 1

    def header(self, columns: list[str]) -> str:  # noqa: ARG002 (every line names its members)
        """Nothing."""
        return ""

    def lines(self, cells: pl.DataFrame) -> pl.Series:
        """The rows as lines, without their ends."""
        members = [pl.concat_str(pl.lit(f'"{name}":'), pl.col(name)) for name in cells.columns]
        return cells.select(pl.concat_str(pl.lit("{"), pl.concat_str(members, separator=","), pl.lit("}"))).to_series()

    def line(self, cells: Mapping[str, str]) -> str:
        """One row as a line, without its end."""
        return "{" + ",".join(f'"{name}":{text}' for name, text in cells.items()) + "}"


def wire_of(simulation: Simulation, offload_type: str, stamp: datetime) -> Wire:
    """How an offload type looks in the delivery of a stamp."""
    drifts = (d for d in simulation.drifts if d.offload_type == offload_type)
    return Wire(offload_type, frozenset(d.kind for d in drifts if d.since is None or d.since <= stamp))
