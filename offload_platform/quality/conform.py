"""Delivered text into the contract's typed columns, with the cells that would not convert.

Nothing is dropped here: every row of the input is in the output, typed, and `failures` names the cells in which
text was present and no value came of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from offload_platform.contracts.columns import Column
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.nested import ObjectsCell
from offload_platform.contracts.readers import (
    BooleanCell,
    CellReader,
    Computed,
    DecimalCell,
    EpochCell,
    FamilyCell,
    InstantCell,
    IntegerCell,
    JsonObjectCell,
    JsonReader,
    NetworkCell,
    NumberCell,
    OffsetCell,
    PointsCell,
    PseudonymCell,
    ScrubbedCell,
    SourceClockCell,
    TextCell,
    TextListCell,
    UnknownColumns,
    WallClockCell,
    wire_name,
)
from offload_platform.quality import protect, timestamps
from offload_platform.quality.decimals import decimals, is_rounded
from offload_platform.quality.json_cells import JsonCells
from offload_platform.quality.reading import AS_DELIVERED, Reading

_FAULTS: dict[type, str] = {
    NumberCell: "not a number",
    DecimalCell: "not an amount",
    SourceClockCell: "not a time of the source's clock",
    IntegerCell: "not a whole number",
    BooleanCell: "not true or false",
    InstantCell: "not a time with an offset",
    EpochCell: "not milliseconds since 1970",
    TextListCell: "not a JSON list",
    JsonObjectCell: "not a JSON object",
    PointsCell: "not a list of fixes",
    ObjectsCell: "not a list of objects",
}


@dataclass(frozen=True)
class Conformed:
    """Typed rows, one for each input row and in its order.

    `failures` has a row for each cell that would not convert: `row` (position), `column`, `reason`. `misfits`
    counts cells by column whose text went to `extra` because the contract says so.
    """

    rows: pl.DataFrame
    failures: pl.DataFrame
    misfits: dict[str, int]


_LARGEST_EPOCH_MS = 4_102_444_800_000  # the year 2100

FAILURE_SCHEMA = {"row": pl.UInt32, "column": pl.String, "reason": pl.String}


class Conformer:
    """Converts blocks of one part, whose delivered columns are known from its header."""

    def __init__(
        self,
        contract: Contract,
        delivered_columns: Sequence[str],
        json_cells: JsonCells,
        reading: Reading = AS_DELIVERED,
    ) -> None:
        self.delivered_columns = tuple(delivered_columns)
        self._columns = list(contract.columns.values())
        self._cells = {c.name: r for c in self._columns if isinstance(r := c.facts.reader, CellReader)}
        self._missing = [w for w in contract.wire_columns if w not in set(delivered_columns)]
        self._unknown = [w for w in delivered_columns if w not in contract.known_wire_columns]
        self._dtypes = {c.name: c.dtype for c in self._columns}
        self._json_cells = json_cells
        self._reading = reading
        scalars = {name: _scalar(reader, reading) for name, reader in self._cells.items()}
        self._scalars = [e.alias(name) for name, e in scalars.items() if e is not None]

    def conform(self, delivered: pl.DataFrame) -> Conformed:
        """Convert a block of delivered text; its columns are named by `wire_name`, an empty cell is null."""
        frame = delivered.with_columns(pl.lit(None, dtype=pl.String).alias(wire_name(w)) for w in self._missing)
        frame = frame.with_columns(self._clocks(frame))
        # Lazily, so that what expressions have in common is worked out once.
        scalars = frame.lazy().select(self._scalars).collect()
        typed = scalars.with_columns(
            *(
                self._json_cells.decode(frame[wire_name(reader.wire)], reader).alias(name)
                for name, reader in self._cells.items()
                if isinstance(reader, JsonReader)
            ),
            *self._by_value(frame),
        )
        failures, misfits = self._failures(frame, typed)
        misfits |= self._rounded(frame, typed)
        return Conformed(
            self._completed(frame, typed, misfits), failures, {c: int(s.sum()) for c, s in misfits.items()}
        )

    def _clocks(self, frame: pl.DataFrame) -> list[pl.Series]:
        """Wall clock and offset of every cell that holds a time, read once for all columns that need it."""
        marks = {r.wire: r.open_marks for r in self._cells.values() if isinstance(r, InstantCell)}
        readings = {wire: pl.col(wire_name(wire)) for wire in marks}
        quick = frame.select(
            *(timestamps.wall_clock(text).alias(f"local:{wire}") for wire, text in readings.items()),
            *(timestamps.offset_minutes(text).alias(f"offset:{wire}") for wire, text in readings.items()),
        )
        unread = quick.select(
            (pl.col(f"local:{wire}").is_null() | pl.col(f"offset:{wire}").is_null()).alias(wire) for wire in marks
        )
        clocks: list[pl.Series] = []
        for wire, open_marks in marks.items():
            local, offset = quick[f"local:{wire}"], quick[f"offset:{wire}"]
            if unread[wire].any():
                local, offset = _read_again(frame[wire_name(wire)], local, offset, unread[wire], open_marks)
            clocks += [local, offset]
        return clocks

    def _by_value(self, frame: pl.DataFrame) -> Iterator[pl.Series]:
        """What no expression works out: each distinct text is looked at once."""
        for name, reader in self._cells.items():
            match reader:
                case DecimalCell():
                    yield decimals(frame[wire_name(reader.wire)], self._dtypes[name]).alias(name)
                case NetworkCell():
                    yield protect.networks(frame[wire_name(reader.wire)]).alias(name)
                case PseudonymCell():
                    yield self._pseudonyms(frame[wire_name(reader.wire)], reader).alias(name)

    def _pseudonyms(self, ids: pl.Series, reader: PseudonymCell) -> pl.Series:
        if self._reading.key is None:
            return pl.Series([None], dtype=pl.String).new_from_index(0, ids.len())
        return protect.pseudonyms(ids, reader.kind, self._reading.key, reader.absent)

    def _rounded(self, frame: pl.DataFrame, typed: pl.DataFrame) -> dict[str, pl.Series]:
        """Which amounts have more digits than their column."""
        amounts = {name: reader.wire for name, reader in self._cells.items() if isinstance(reader, DecimalCell)}
        found = {name: is_rounded(frame[wire_name(wire)], typed[name]) for name, wire in amounts.items()}
        return {name: rounded for name, rounded in found.items() if rounded.any()}

    def _failures(self, frame: pl.DataFrame, typed: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
        # Of no text comes no value: where there are no more of the latter, every text has become one.
        checks = {
            name: pl.col(wire_name(reader.wire)).is_not_null() & pl.col(name).is_null() & ~_means_none(reader)
            for name, reader in self._cells.items()
            if type(reader) in _FAULTS
            and not (isinstance(reader, TextListCell) and reader.optional)
            and typed[name].null_count() > frame[wire_name(reader.wire)].null_count()
        }
        if not checks:
            return pl.DataFrame(schema=FAILURE_SCHEMA), {}
        wires = frame.select(cs.starts_with(wire_name("")))
        both = pl.concat([wires, typed], how="horizontal")
        failed = both.select(rule.fill_null(False).alias(name) for name, rule in checks.items())
        bad = [name for name, any_bad in failed.select(pl.all().any()).row(0, named=True).items() if any_bad]
        misfits = {name: failed[name] for name in bad if _keeps_misfits(self._cells[name])}
        cases = [
            pl.DataFrame({"row": failed[name].arg_true()}).with_columns(
                column=pl.lit(name), reason=pl.lit(f"{name}: {_FAULTS[type(self._cells[name])]}")
            )
            for name in bad
            if name not in misfits
        ]
        return (pl.concat(cases) if cases else pl.DataFrame(schema=FAILURE_SCHEMA)), misfits

    def _completed(self, frame: pl.DataFrame, typed: pl.DataFrame, misfits: dict[str, pl.Series]) -> pl.DataFrame:
        both = pl.concat([frame.select(cs.starts_with(wire_name(""))), typed], how="horizontal").lazy()
        for c in self._columns:
            reader = c.facts.reader
            if isinstance(reader, Computed):
                both = both.with_columns(reader.expression().cast(c.dtype).alias(c.name))
            elif isinstance(reader, IntegerCell) and reader.otherwise is not None:
                both = both.with_columns(pl.coalesce(pl.col(c.name), reader.otherwise()).alias(c.name))
            elif isinstance(reader, UnknownColumns):
                both = both.with_columns(self._extra(misfits, reader).alias(c.name))
        return both.select(c.name for c in self._columns).collect()

    def _extra(self, misfits: dict[str, pl.Series], reader: UnknownColumns) -> pl.Expr:
        """Unknown columns and misfits of each row as one JSON object; null where there is nothing to keep."""
        kept = {wire: pl.col(wire_name(wire)) for wire in self._unknown}
        if reader.scrubbed:
            kept = {wire: protect.scrubbed(text) for wire, text in kept.items()}
        for name, is_misfit in misfits.items():
            wire = self._cells[name].wire
            kept[wire] = pl.when(pl.lit(is_misfit)).then(pl.col(wire_name(wire)))
        if not kept:
            return pl.lit(None, dtype=pl.String)
        members = [
            pl.when(text.is_not_null()).then(
                pl.struct(text.alias(wire)).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
            )
            for wire, text in kept.items()
        ]
        joined = pl.concat_str(members, separator=",", ignore_nulls=True)
        return pl.when(pl.any_horizontal(m.is_not_null() for m in members)).then(
            pl.concat_str(pl.lit("{"), joined, pl.lit("}"))
        )


def _read_again(
    text: pl.Series, local: pl.Series, offset: pl.Series, unread: pl.Series, open_marks: Sequence[str]
) -> tuple[pl.Series, pl.Series]:
    """Wall clock and offset with the times that are not of the usual shape; neither where one of them is unreadable."""
    rows = unread.arg_true()
    local, offset = local.scatter(rows, None), offset.scatter(rows, None)
    texts = text.gather(rows)
    is_time = texts.is_not_null() & ~texts.is_in(list(open_marks))
    if is_time.any():
        general = timestamps.general(texts.filter(is_time))
        whole = general.select(pl.when(pl.all_horizontal(pl.all().is_not_null())).then(pl.all()))
        rows = rows.filter(is_time)
        local, offset = local.scatter(rows, whole["local"]), offset.scatter(rows, whole["offset"])
    return local, offset


def _keeps_misfits(reader: CellReader) -> bool:
    return isinstance(reader, NumberCell | BooleanCell | TextListCell) and reader.misfit_to_extra


def _scalar(reader: CellReader, reading: Reading) -> pl.Expr | None:
    """The expression that reads a cell of plain text; None for readers that work otherwise."""
    match reader:
        case TextCell():
            return _text(reader)
        case NumberCell():
            number = pl.col(wire_name(reader.wire)).cast(pl.Float64, strict=False)
            return pl.when(number.is_finite() & ~_in(number, reader.absent)).then(number)
        case IntegerCell():
            return pl.when(~_in(_whole(reader), reader.absent)).then(_whole(reader))
        case BooleanCell():
            lower = pl.col(wire_name(reader.wire)).str.to_lowercase()
            return pl.when(lower.is_in(["true", "false"])).then(lower == "true")
        case InstantCell():
            return timestamps.instant(pl.col(f"local:{reader.wire}"), pl.col(f"offset:{reader.wire}"))
        case EpochCell():
            milliseconds = pl.col(wire_name(reader.wire)).cast(pl.Float64, strict=False)
            plausible = milliseconds.is_between(0, _LARGEST_EPOCH_MS)
            return (
                pl.when(plausible)
                .then(milliseconds.round())
                .cast(pl.Int64)
                .cast(pl.Datetime("ms"))
                .cast(pl.Datetime("us"))
                .dt.replace_time_zone("UTC")
            )
        case SourceClockCell():
            return timestamps.source_instant(pl.col(wire_name(reader.wire)), reading.zone)
        case ScrubbedCell():
            text = pl.col(wire_name(reader.wire))
            return protect.scrubbed_url(text) if reader.is_url else protect.scrubbed(text)
        case FamilyCell():
            return protect.family(pl.col(wire_name(reader.wire)), reader.families, reader.other)
        case WallClockCell():
            return pl.col(f"local:{reader.wire}")
        case OffsetCell():
            return pl.col(f"offset:{reader.wire}")
    return None


def _text(reader: TextCell) -> pl.Expr:
    text = pl.col(wire_name(reader.wire))
    if reader.lower:
        text = text.str.to_lowercase()
    if reader.suffix:
        text = text.str.strip_suffix(reader.suffix)
    if reader.masked:
        text = pl.when(~text.str.contains(reader.masked)).then(text)
    if reader.absent:
        text = pl.when(~text.is_in(list(reader.absent))).then(text)
    return text


def _whole(reader: IntegerCell) -> pl.Expr:
    """Whole numbers, also where a spreadsheet has written them with a fraction of zero or an exponent."""
    decimal = pl.col(wire_name(reader.wire)).cast(pl.Float64, strict=False)
    whole = decimal.cast(pl.Int32, strict=False)
    return pl.when(decimal == whole).then(whole)


def _in(value: pl.Expr, absent: Sequence[float]) -> pl.Expr:
    return pl.any_horizontal(value == number for number in absent) if absent else pl.lit(False)


def _means_none(reader: CellReader) -> pl.Expr:
    """Whether the text of a cell is one that the contract reads as "no value"."""
    match reader:
        case NumberCell(wire=wire, absent=absent) if absent:
            return _in(pl.col(wire_name(wire)).cast(pl.Float64, strict=False), absent).fill_null(False)
        case IntegerCell(absent=absent) if absent:
            return _in(_whole(reader), absent).fill_null(False)
        case InstantCell(wire=wire, open_marks=marks) | SourceClockCell(wire=wire, absent=marks) if marks:
            return pl.col(wire_name(wire)).is_in(list(marks))
    return pl.lit(False)


def wires_of(columns: Sequence[Column]) -> dict[str, str | None]:
    """The delivered column behind each column."""
    return {c.name: None if isinstance(c.facts.reader, UnknownColumns) else c.facts.reader.wire for c in columns}
