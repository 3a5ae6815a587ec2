"""Records of a part as RFC 4180 has them: split exactly, numbered by physical line, with the lines that are none.

The lines of a block that are not plainly one record each are found by their quotes and line ends, and read one by one;
all others are parsed at once and the result is proved against the bytes: as many rows as lines, every byte of a line
accounted for, every quote where a quote may stand. So a bad line costs only itself.
"""

import codecs
import csv
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from offload_platform.contracts.readers import wire_name
from offload_platform.landing.errors import UntrustedPart

BLOCK_BYTES = 8 << 20
LONGEST_LINE_BYTES = 16 << 20
# A line that is no row is a handful of Python objects for a while, and there may be nothing but such lines.
MOST_LINES_OF_A_BLOCK = 1 << 19
MOST_LINES_OF_A_RECORD = 200
LINE = "line"
REJECT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    LINE: pl.Int64,
    "reasons": pl.List(pl.String),
    "raw": pl.String,
}

_SLICE_BYTES = 1 << 18
_LINES_OF_A_GROUP = 256
_PACKED = (b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"(\xb5\x2f\xfd")
_A_ROW = b'""\n'
_NEWLINE, _CARRIAGE_RETURN, _QUOTE = b"\n", b"\r", b'"'

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NOTE_POSITION = "offload_platform.note_position"
_undecoded = threading.local()

# polars imports numpy when it is first given an array, and fails where a second thread does so meanwhile.
pl.Series(np.empty(0))

# The csv module refuses cells of more than 128 kB unless told otherwise; a long trip's waypoints are longer.
csv.field_size_limit(LONGEST_LINE_BYTES)


@dataclass(frozen=True)
class Block:
    """Whole lines of a part. `first_line` is the physical line of the first one; the header is line 1."""

    content: bytes
    first_line: int

    @cached_property
    def line_ends(self) -> Positions:
        """Where the physical lines end, a last one without a line end included."""
        return _line_ends(self.content)

    @cached_property
    def ends_in_return(self) -> Flags:
        """Which physical lines end in a carriage return before their line feed."""
        if _CARRIAGE_RETURN not in self.content:
            return np.zeros(self.lines, dtype=bool)
        before = np.frombuffer(self.content, dtype=np.uint8)[np.maximum(self.line_ends - 1, 0)]
        returns: Flags = (before == _CARRIAGE_RETURN[0]) & (self.line_ends < len(self.content))
        return returns

    @property
    def lines(self) -> int:
        """Physical lines."""
        return len(self.line_ends)

    def ends_of_records(self, heights: Mapping[int, int]) -> tuple[int, int]:
        """How many records have an end, and how many of them CRLF; `heights` has the lines of those of more than one.

        The line ends inside a record belong to the text of its cells.
        """
        is_last = np.ones(self.lines, dtype=bool)
        for line, height in heights.items():
            is_last[line - self.first_line : line - self.first_line + height - 1] = False
        has_end = self.line_ends < len(self.content)
        return int(np.count_nonzero(is_last & has_end)), int(np.count_nonzero(is_last & self.ends_in_return))

    def raw(self, first_lines: pl.Series, heights: Mapping[int, int]) -> list[str]:
        """The text of the records that begin on some lines; `heights` has the lines of those of more than one."""
        ends = self.line_ends
        texts = []
        for line in first_lines:
            nth = line - self.first_line
            start = 0 if nth == 0 else int(ends[nth - 1]) + 1
            texts.append(printable(self.content[start : int(ends[nth + heights.get(line, 1) - 1])]))
        return texts


@dataclass(frozen=True)
class Records:
    """What a block holds: `rows` of text by wire name with their `line`, and the records `rejected`.

    `blank` counts empty lines, `continued` the lines of records after their first; `heights` has the number of lines
    of each row that has more than one, by its first line.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    blank: int = 0
    continued: int = 0
    heights: Mapping[int, int] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Physical lines accounted for."""
        return self.rows.height + self.rejected.height + self.blank + self.continued


def printable(record: bytes) -> str:
    """A record as text for quarantine: undecodable bytes and NUL are escaped, the last line end is cut off."""
    text = record.removesuffix(_NEWLINE).removesuffix(_CARRIAGE_RETURN).decode("utf-8", errors="backslashreplace")
    return text.replace("\x00", "\\x00")


def read_blocks(chunks: Iterator[bytes], rest: bytes, key: str, first_line: int = 2) -> Iterator[Block]:
    """Cut the bytes after the header into blocks of whole lines, of about 8 MB and no more than half a million lines.

    A block ends where no record can run on, or else at a line end outside quotes; at any line end where its second half
    has none of either, because a quote is never closed or a record of several lines is longer than that.

    Raises:
        UntrustedPart: when a single line is longer than 16 MB.
    """
    held: list[bytes] = [rest]
    size, line = len(rest), first_line
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES:
            # Nearly always the last chunk has such an end, and nothing needs to be copied to find it.
            if not (cut := _safe_cut(chunk)):
                chunk = b"".join(held)
                held = [chunk]
                cut = _cut(chunk)
            if cut:
                held[-1], chunk = chunk[:cut], chunk[cut:]
                for block in _of_few_lines(b"".join(held), line):
                    yield block
                    line += block.lines
            elif len(chunk) > LONGEST_LINE_BYTES:
                raise UntrustedPart(f"{key}: line {line}: longer than {LONGEST_LINE_BYTES >> 20} MB, so it is no row.")
            held, size = [chunk], len(chunk)
    if content := b"".join(held):
        yield from _of_few_lines(content, line)


def parse(block: Block, columns: tuple[str, ...], delimiter: str) -> Records:
    """Split a block into records; every physical line is accounted for."""
    lines = _Lines.of(block, delimiter)
    rows = _plain_rows(lines, columns, delimiter)
    if rows is None:
        lines.doubt(np.arange(block.lines))
        rows = pl.DataFrame(schema={wire_name(c): pl.String for c in columns})
    rows = rows.with_columns(pl.Series(LINE, lines.plain + block.first_line, dtype=pl.Int64))
    records = Records(rows, pl.DataFrame(schema=REJECT_SCHEMA))
    if lines.are_doubtful.any():
        others = _parse_one_by_one(lines, columns, delimiter)
        records = replace(others, rows=_in_order(rows, others.rows))
    if records.lines != block.lines:
        raise AssertionError(f"{records.lines} of {block.lines} lines accounted for, from line {block.first_line}")
    return records


def _of_few_lines(content: bytes, first_line: int) -> Iterator[Block]:
    """Whole lines as one block; as several where they are too many."""
    block = Block(content, first_line)
    while block.lines > MOST_LINES_OF_A_BLOCK:
        cut = _cut(block.content[: int(block.line_ends[MOST_LINES_OF_A_BLOCK - 1]) + 1])
        first, content = Block(block.content[:cut], block.first_line), block.content[cut:]
        yield first
        block = Block(content, block.first_line + first.lines)
    yield block


def _cut(content: bytes) -> int:
    """Where the first part of a block ends, after a line end in its second half; 0 when there is none."""
    half = len(content) // 2
    if cut := _safe_cut(content[half:]):
        return half + cut
    quotes = content.count(_QUOTE)
    end = len(content)
    while (newline := content.rfind(_NEWLINE, half, end)) >= 0:
        quotes -= content.count(_QUOTE, newline + 1, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return content.rfind(_NEWLINE) + 1


def _safe_cut(content: bytes) -> int:
    """The last place after a line end where no record can run on, wherever in a record the content begins; or 0."""
    data = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE[0])
    odd = np.flatnonzero(_count_by_line(np.flatnonzero(data == _QUOTE[0]), ends) % 2)
    # Only a line of an odd number of quotes begins a record of several lines; the first one here, cut off, may be such.
    begins = np.concatenate([[0], odd])
    lasts = np.append(odd, len(ends)) - 1
    safe = lasts[lasts - begins >= MOST_LINES_OF_A_RECORD - 1]
    return int(ends[safe[-1]]) + 1 if len(safe) else 0


@dataclass
class _Lines:
    """The physical lines of a block: how many quotes they have, and which are doubtful.

    `pairs` counts the quotes inside a cell that stand for one, of lines that are not doubtful for their quotes alone.
    """

    block: Block
    quotes: Positions
    pairs: Positions
    are_doubtful: Flags

    @classmethod
    def of(cls, block: Block, delimiter: str) -> "_Lines":
        """Doubtful are lines that are no plain record whatever their cells: blank, misplaced or unclosed quotes, NUL,
        lone carriage returns, no UTF-8; and the lines that a record with a line end in a cell may run on to.
        """
        content, ends = block.content, block.line_ends
        data = np.frombuffer(content, dtype=np.uint8)
        lengths = np.diff(ends, prepend=-1) - 1
        doubtful: Flags = (lengths == 0) | ((lengths == 1) & (data[ends - 1] == _CARRIAGE_RETURN[0]))
        doubtful[np.searchsorted(ends, _positions(content, b"\x00"))] = True
        doubtful[np.searchsorted(ends, _lone_returns(block))] = True
        doubtful[np.searchsorted(ends, _undecodable(content, ends))] = True
        at = _positions(content, _QUOTE)
        quotes = _count_by_line(at, ends)
        odd = np.flatnonzero(quotes % 2)
        doubtful[odd] = True
        for first, last in pairwise(odd):
            if last - first < MOST_LINES_OF_A_RECORD:
                doubtful[first : last + 1] = True
        if len(odd):
            # In lines of even numbers of quotes, every other one opens a cell, or is the second of a pair inside one.
            at = at[np.repeat(quotes % 2 == 0, quotes)]
        closing, opening = at[1:-1:2], at[2::2]
        in_pair = opening - closing == 1
        openers, closers = np.append(at[:1], opening[~in_pair]), np.append(closing[~in_pair], at[-1:])
        doubtful[np.searchsorted(ends, _misplaced(data, openers, closers, delimiter))] = True
        return cls(block, quotes, _count_by_line(closing[in_pair], ends), doubtful)

    @property
    def plain(self) -> Positions:
        """Which lines are not doubtful, counted from 0."""
        return np.flatnonzero(~self.are_doubtful)

    def doubt(self, lines: Positions) -> None:
        """Make some lines doubtful."""
        self.are_doubtful[lines] = True


def _plain_rows(lines: _Lines, columns: tuple[str, ...], delimiter: str) -> pl.DataFrame | None:
    """Rows of the lines that are not doubtful; lines that turn out to have other cells are made doubtful.

    None when the lines cannot be parsed as one record each.
    """
    plain = lines.plain
    rows = _frame(_without_lines(lines.block, np.flatnonzero(lines.are_doubtful)), columns, delimiter)
    if rows is None or rows.height != len(plain):
        return None
    whole = _have_all_cells(rows, lines, plain)
    if whole.all():
        return rows
    lines.doubt(plain[~whole])
    return rows.filter(pl.Series(whole))


def _in_order(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows of both, which are in order each, in the order of their lines."""
    return rows.merge_sorted(others, key=LINE) if others.height else rows


def _lone_returns(block: Block) -> Positions:
    """Where carriage returns stand that do not end a line."""
    at = _positions(block.content, _CARRIAGE_RETURN)
    if len(at) == np.count_nonzero(block.ends_in_return):
        return at[:0]
    data = np.frombuffer(block.content, dtype=np.uint8)
    lone: Positions = at[data[np.minimum(at + 1, len(data) - 1)] != _NEWLINE[0]]
    return lone


def _have_all_cells(rows: pl.DataFrame, lines: _Lines, plain: Positions) -> Flags:
    """Whether each of some lines is as long as the cells of its row with one delimiter between two of them.

    Quotes around a cell are no part of it, and of a pair inside one is: there, the quote that closes stands beside one
    that opens. A line with fewer cells is shorter than its row, one with more is longer, as surplus cells were cut off.
    """
    lengths = np.diff(lines.block.line_ends, prepend=-1) - 1 - lines.block.ends_in_return
    outside_cells = lines.quotes - lines.pairs + (rows.width - 1)
    in_cells = rows.select(pl.sum_horizontal(pl.all().str.len_bytes(), ignore_nulls=True)).to_series().to_numpy()
    whole: Flags = (lengths - outside_cells)[plain] == in_cells
    return whole


def _frame(content: bytes, columns: tuple[str, ...], delimiter: str) -> pl.DataFrame | None:
    """Text of all cells by wire name, empty ones null; surplus cells are cut off, missing ones are null."""
    schema = {wire_name(c): pl.String for c in columns}
    if not content:
        return pl.DataFrame(schema=schema)
    # Polars unpacks bytes that begin like a packed file, such as a row that begins with "x^": a bomb may be in them.
    looks_packed = content.startswith(_PACKED)
    if looks_packed:
        content = _A_ROW + content
    try:
        rows = pl.read_csv(content, separator=delimiter, has_header=False, schema=schema, truncate_ragged_lines=True)
    except (pl.exceptions.PolarsError, OSError):
        return None
    return _with_empty_as_null(rows.slice(1) if looks_packed else rows)


def _with_empty_as_null(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, null where a cell is a pair of quotes and nothing else."""
    empty = [name for name, has in rows.select((pl.all() == "").any()).row(0, named=True).items() if has]
    return rows.with_columns(pl.when(pl.col(empty) != "").then(pl.col(empty))) if empty else rows


def _misplaced(data: npt.NDArray[np.uint8], openers: Positions, closers: Positions, delimiter: str) -> Positions:
    """Of quotes that open a cell and those that close one, the ones that stand where they may not."""
    bounds = np.zeros(256, dtype=bool)
    bounds[[_NEWLINE[0], ord(delimiter)]] = True
    opens_wrongly = ~bounds[data[openers - 1]] & (openers > 0)
    bounds[_CARRIAGE_RETURN[0]] = True
    closes_wrongly = ~bounds[data[np.minimum(closers + 1, len(data) - 1)]] & (closers < len(data) - 1)
    return np.concatenate([openers[opens_wrongly], closers[closes_wrongly]])


def _positions(content: bytes, sign: bytes) -> Positions:
    """Where a sign stands. In slices, as a comparison of all bytes at once would not stay in the cache."""
    if sign not in content:
        return np.array([], dtype=np.int64)
    data = np.frombuffer(content, dtype=np.uint8)
    return np.concatenate(
        [np.flatnonzero(data[at : at + _SLICE_BYTES] == sign[0]) + at for at in range(0, len(data), _SLICE_BYTES)]
    )


def _line_ends(content: bytes) -> Positions:
    """Where the physical lines end, a last one without a line end included."""
    ends = _positions(content, _NEWLINE)
    return ends if not content or content.endswith(_NEWLINE) else np.append(ends, len(content))


def _count_by_line(positions: Positions, ends: Positions) -> Positions:
    """How many of some sorted positions lie in each physical line."""
    return np.diff(np.searchsorted(positions, ends), prepend=0)


def _undecodable(content: bytes, ends: Positions) -> Positions:
    """Where bytes are no UTF-8; looked for in groups of lines, as the text of a whole block would leave the cache."""
    bounds = [0, *(ends[_LINES_OF_A_GROUP - 1 : -1 : _LINES_OF_A_GROUP] + 1).tolist(), len(content)]
    found: list[int] = []
    for start, end in pairwise(bounds):
        group = content[start:end]
        if not group.isascii():
            _undecoded.positions = []
            group.decode("utf-8", errors=_NOTE_POSITION)
            found += [start + position for position in _undecoded.positions]
    return np.array(found, dtype=np.int64)


def _note_position(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    _undecoded.positions.append(error.start)
    return "", error.end


def _without_lines(block: Block, lines: Positions) -> bytes:
    """The content without some physical lines."""
    content, ends = block.content, block.line_ends
    if not len(lines):
        return content
    view = memoryview(content)
    starts = np.where(lines == 0, 0, ends[lines - 1] + 1).tolist()
    nexts = (ends[lines] + 1).tolist()
    kept = [view[a:b] for a, b in zip([0, *nexts], [*starts, len(content)], strict=True) if a < b]
    return b"".join(kept)


def _parse_one_by_one(physical: _Lines, columns: tuple[str, ...], delimiter: str) -> Records:
    """Read doubtful lines as records; a line that is none is set aside, and reading goes on after it."""
    block, doubtful = physical.block, np.flatnonzero(physical.are_doubtful)
    content, ends, first_line = block.content, block.line_ends, block.first_line
    starts = np.where(doubtful == 0, 0, ends[doubtful - 1] + 1).tolist()
    nexts = (ends[doubtful] + 1).tolist()
    lines = {nth: content[a:b] for nth, a, b in zip(doubtful.tolist(), starts, nexts, strict=True)}
    well_formed = _record_pattern(delimiter)
    cells: list[list[str]] = []
    row_lines: list[int] = []
    heights: dict[int, int] = {}
    rejected: list[tuple[int, list[str], str]] = []
    blank = continued = 0
    next_line = 0
    for nth in lines:
        if nth < next_line:
            continue
        next_line = nth + 1
        if not lines[nth].strip(b"\r\n"):
            blank += 1
            continue
        record = _whole_record(lines, nth, well_formed)
        if record is None:
            rejected.append((first_line + nth, [_fault(lines[nth], delimiter)], printable(lines[nth])))
            continue
        text, height = record
        is_quoted = _QUOTE.decode() in text
        values = next(csv.reader([text], delimiter=delimiter, strict=True)) if is_quoted else text.split(delimiter)
        if len(values) == len(columns):
            cells.append(values)
            row_lines.append(first_line + nth)
            if height > 1:
                heights[first_line + nth] = height
        else:
            few = "few" if len(values) < len(columns) else "many"
            reason = f"too {few} fields: {len(values)} of {len(columns)}"
            rejected.append((first_line + nth, [reason], text))
        continued += height - 1
        next_line = nth + height
    rows = pl.DataFrame(cells, schema={wire_name(c): pl.String for c in columns}, orient="row")
    return Records(
        rows.with_columns(pl.when(pl.all() != "").then(pl.all())).with_columns(
            pl.Series(LINE, row_lines, dtype=pl.Int64)
        ),
        pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
        blank,
        continued,
        heights,
    )


def _whole_record(lines: dict[int, bytes], nth: int, well_formed: re.Pattern[str]) -> tuple[str, int] | None:
    """The record that begins on a line, without its line end, and its lines; None when no well-formed one does."""
    record: list[bytes] = []
    quotes = 0
    for following in range(nth, nth + MOST_LINES_OF_A_RECORD):
        line = lines.get(following)
        if line is None:
            return None
        record.append(line)
        quotes += line.count(_QUOTE)
        if quotes % 2 == 0:
            break
    whole = b"".join(record)
    if quotes % 2 or b"\x00" in whole:
        return None
    try:
        text = whole.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None
    # Without quotes, nothing but a carriage return can be where it may not.
    is_record = well_formed.fullmatch(text) if quotes else "\r" not in text
    return (text, len(record)) if is_record else None


def _record_pattern(delimiter: str) -> re.Pattern[str]:
    sign = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*+"|[^"{sign}\r\n]*+)'
    return re.compile(rf"{cell}(?:{sign}{cell})*+")


def _fault(line: bytes, delimiter: str) -> str:
    """Why a line is no record."""
    if b"\x00" in line:
        return "NUL byte"
    try:
        text = line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    opened = rf'(?:^|{re.escape(delimiter)})"(?:[^"]|"")*+$'
    if re.search(opened, text):
        return "unterminated quote"
    return "stray quote" if _QUOTE.decode() in text else "carriage return outside quotes"


codecs.register_error(_NOTE_POSITION, _note_position)
