"""Ways in which a row can be broken, each with the reason that the platform must give.

A fault breaks one row in one way. Which row is broken depends on the seed and on the row's place in its part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from offload_platform.simulator.events import OPEN_DURATION
from offload_platform.simulator.randomness import Purpose, choice, draw, fraction
from offload_platform.simulator.wire import Wire

NOT_UTF8 = "\U0010fffd"
"""Stands in a line for a byte that is not UTF-8, until the line becomes bytes."""
_BROKEN_BYTE = b"\xff"

_TEXT_COLUMNS = (
    "address.city",
    "mode",
    "moment_definition_id",
    "segment_id",
    "attribute_name",
    "metadata_user_id",
)
_SURPLUS = "surplus"
_LATITUDE_OF_FIX = '""latitude"": '


@dataclass(frozen=True)
class Row:
    """A row that is to be broken: its cells by column, how they become a line, and a number to choose by."""

    cells: dict[str, str]
    wire: Wire
    turn: int

    @property
    def line(self) -> str:
        """The row as it would be delivered."""
        return self.wire.line(self.cells)

    def with_cell(self, column: str, text: str) -> str:
        """The line with another text in one cell."""
        return self.wire.line(self.cells | {column: text})

    def text_column(self) -> str | None:
        """A column whose cell holds text that has no form of its own."""
        return next((column for column in _TEXT_COLUMNS if column in self.cells), None)


@dataclass(frozen=True)
class Broken:
    """A broken line and the reason that the platform must give for it."""

    line: str
    reason: str


@dataclass(frozen=True)
class Fault:
    """A kind of fault; `broken` gives None for a row that it does not fit."""

    kind: str
    broken: Callable[[Row], Broken | None]


@dataclass(frozen=True)
class Planted:
    """A broken row: its number in the part, what stands there, and what must be said of it.

    `raw` is the line without its end; bytes that are not UTF-8 and NUL are written as `\\xff` and `\\x00`.
    """

    row: int
    kind: str
    raw: str
    reason: str


class Planter:
    """Breaks a `share` of the rows of one part by the `faults` in turn; `place` are numbers that no other part has."""

    def __init__(self, seed: int, share: float, faults: Sequence[Fault], place: tuple[int, ...], wire: Wire) -> None:
        self.planted = 0
        self._seed = seed
        self._share = share
        self._wire = wire
        self._place = place
        first = int(choice(draw(seed, Purpose.FIRST_FAULT, *place), len(faults))[0])
        self._waiting = [*faults[first:], *faults[:first]]

    def plant(self, cells: pl.DataFrame, lines: pl.Series, first_row: int) -> tuple[pl.Series, list[Planted]]:
        """The lines with some of them broken; `first_row` is the number of the first row in the part."""
        if not self._share:
            return lines, []
        drawn = draw(self._seed, Purpose.FAULT, *self._place, np.arange(first_row, first_row + len(lines)))
        positions = np.flatnonzero(fraction(drawn) < self._share)
        turns = choice(drawn[positions], 2**30, 1)
        chosen = cells[pl.Series(positions, dtype=pl.Int64)].iter_rows()
        planted: list[Planted] = []
        broken_lines: list[str] = []
        broken_positions: list[int] = []
        for position, turn, texts in zip(positions.tolist(), turns.tolist(), chosen, strict=True):
            row = Row(dict(zip(cells.columns, texts, strict=True)), self._wire, turn)
            if found := self._break(row):
                kind, broken = found
                raw = broken.line.replace(NOT_UTF8, "\\xff").replace("\0", "\\x00")
                planted.append(Planted(first_row + position, kind, raw, broken.reason))
                broken_lines.append(broken.line)
                broken_positions.append(position)
        self.planted += len(planted)
        return lines.scatter(broken_positions, broken_lines) if planted else lines, planted

    def _break(self, row: Row) -> tuple[str, Broken] | None:
        """Break a row by the fault that has waited longest of those that fit it."""
        for fault in self._waiting:
            if broken := fault.broken(row):
                self._waiting.remove(fault)
                self._waiting.append(fault)
                return fault.kind, broken
        return None


def with_broken_bytes(content: bytes) -> bytes:
    """The bytes of lines, with the bytes that are not UTF-8 in their places."""
    return content.replace(NOT_UTF8.encode(), _BROKEN_BYTE)


def _too_few_fields(row: Row) -> Broken | None:
    cells = list(row.cells.values())
    quoted = next((position for position, text in enumerate(cells) if '"' in text), len(cells))
    most = min(quoted, len(cells) - 1)
    if most == 0:
        return None
    kept = 1 + row.turn % most
    line = row.wire.delimiter.join(cells[:kept])
    return Broken(line, f"too few fields: {kept} of {len(cells)}") if line else None


def _too_many_fields(row: Row) -> Broken:
    width = len(row.cells)
    return Broken(row.line + row.wire.delimiter + _SURPLUS, f"too many fields: {width + 1} of {width}")


def _unterminated_quote(row: Row) -> Broken | None:
    column = row.text_column()
    if column is None or not row.cells[column] or '"' in row.line:
        return None  # a quote alone in its cell would make one sound record with the next such row
    return Broken(row.with_cell(column, '"' + row.cells[column]), "unterminated quote")


def _stray_quote(row: Row) -> Broken:
    text = row.cells["user_id"]
    return Broken(row.with_cell("user_id", text[:12] + '"' + text[12:]), "stray quote")


def _not_utf8(row: Row) -> Broken | None:
    return _with_inserted(row, NOT_UTF8, "not UTF-8")


def _nul_byte(row: Row) -> Broken | None:
    return _with_inserted(row, "\0", "NUL byte")


def _with_inserted(row: Row, mark: str, reason: str) -> Broken | None:
    column = row.text_column()
    if column is None:
        return None
    text = row.cells[column]
    return Broken(row.with_cell(column, text[:1] + mark + text[1:]), reason)


def cell_fault(column: str, reason: str, *broken: str | Callable[[str], str | None]) -> Fault:
    """A fault of one cell; `broken` are the texts that replace it, or ways to break the text that is there."""

    def with_broken_cell(row: Row) -> Broken | None:
        if column not in row.cells:
            return None
        way = broken[row.turn % len(broken)]
        text = way if isinstance(way, str) else way(row.cells[column])
        return None if text is None else Broken(row.with_cell(column, text), reason)

    return Fault(reason, with_broken_cell)


def _with_impossible_minute(time: str) -> str | None:
    return f"{time[:14]}85{time[16:]}" if len(time) > 1 else None


def _without_offset(time: str) -> str | None:
    return time[:19] if len(time) > 1 else None


def _without_latitude(fixes: str) -> str | None:
    before, found, after = fixes.partition(_LATITUDE_OF_FIX)
    return before + after.partition(", ")[2] if found else None


def _cut_off(fixes: str) -> str:
    return fixes[:-3] + '"'


def _negative(duration: str) -> str | None:
    return None if duration == str(OPEN_DURATION) else "-7"


_NO_TIME: Sequence[str | Callable[[str], str | None]] = (_with_impossible_minute, _without_offset, "n/a")

FAULTS: tuple[Fault, ...] = (
    Fault("too few fields", _too_few_fields),
    Fault("too many fields", _too_many_fields),
    Fault("unterminated quote", _unterminated_quote),
    Fault("stray quote", _stray_quote),
    Fault("not UTF-8", _not_utf8),
    Fault("NUL byte", _nul_byte),
    cell_fault("start", "start_at: not a time with an offset", *_NO_TIME),
    cell_fault("end", "end_at: not a time with an offset", *_NO_TIME),
    cell_fault("latitude", "latitude: not a number", "n/a"),
    cell_fault("duration", "duration_s: not a whole number", "12.5s"),
    cell_fault("distance", "distance_m: not a number", "n/a"),
    cell_fault("waypoints", "waypoints: not a list of fixes", _cut_off, _without_latitude),
    cell_fault("location.place.type", "place_types: not a JSON list", '"[""travel"""'),
    cell_fault("meta", "meta: not a JSON object", '"{""name"": ""Gent"""'),
    cell_fault("user_id", "user_id: str_matches('^[0-9a-f]{24}$')", lambda user_id: user_id[:20]),
    cell_fault("latitude", "latitude: less_than_or_equal_to(90)", "91.5"),
    cell_fault("longitude", "longitude: greater_than_or_equal_to(-180)", "-181"),
    cell_fault("duration", "duration_s: greater_than_or_equal_to(0)", _negative),
    cell_fault("distance", "distance_m: greater_than_or_equal_to(0)", "-5"),
    cell_fault("location.significance", "significance: not_nullable", ""),
    cell_fault("mode", "mode: not_nullable", ""),
    cell_fault("segment_id", "segment_id: not_nullable", ""),
    cell_fault("attribute_name", "attribute: not_nullable", ""),
    cell_fault("moment_definition_id", "moment_id: not_nullable", ""),
)
"""Those of lifestyle files. Those of a cell are named like their reason; they fit the types that deliver the cell."""

DRIVING_FAULTS: tuple[Fault, ...] = (
    *FAULTS,
    cell_fault("timestamp", "as_of_at: not milliseconds since 1970", "yesterday", "-7"),
    cell_fault("smooth", "score_smooth: not a number", "n/a"),
    cell_fault("hard_turn", "score_hard_turn: not a number", "0:5"),
)
"""Those of driving files in CSV."""
