"""Records of a part as RFC 4180 has them: split exactly, numbered by physical line, with the lines that are none.

A block of whole lines is parsed at once and the result is proved against the bytes: as many rows as lines, every
delimiter accounted for, every quote where a quote may stand. Where that fails, the lines that are not plainly one
record each are found and read one by one, and the rest is parsed at once; so a bad line costs only itself.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from offload_platform.contracts.readers import wire_name
from offload_platform.landing.errors import UntrustedPart

BLOCK_BYTES = 16 << 20
LONGEST_LINE_BYTES = 64 << 20
MOST_LINES_OF_A_RECORD = 1000
LINE = "line"
REJECT_SCHEMA = {LINE: pl.Int64, "reasons": pl.List(pl.String), "raw": pl.String}

_SLICE_BYTES = 1 << 16
_NEWLINE, _CARRIAGE_RETURN, _QUOTE = b"\n", b"\r", b'"'
_SURPLUS = "surplus"

Positions = npt.NDArray[np.int64]

# The csv module refuses cells of more than 128 kB unless told otherwise; a long trip's waypoints are longer.
csv.field_size_limit(LONGEST_LINE_BYTES)


@dataclass(frozen=True)
class Block:
    """Whole lines of a part. `first_line` is the physical line of the first one; the header is line 1."""

    content: bytes
    first_line: int

    @property
    def lines(self) -> int:
        """Physical lines, a last one without a line end included."""
        return self.content.count(_NEWLINE) + (not self.content.endswith(_NEWLINE))

    def raw(self, lines: pl.Series) -> list[str]:
        """The text of some physical lines without their line ends; undecodable bytes are escaped."""
        ends = _positions(self.content, _NEWLINE)
        texts = []
        for line in lines:
            nth = line - self.first_line
            start = 0 if nth == 0 else int(ends[nth - 1]) + 1
            end = int(ends[nth]) if nth < len(ends) else len(self.content)
            texts.append(printable(self.content[start:end]))
        return texts


@dataclass(frozen=True)
class Records:
    """What a block holds: `rows` of text by wire name with their `line`, and the records `rejected`.

    `blank` counts empty lines, `continued` the lines of a record after its first.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    blank: int = 0
    continued: int = 0

    @property
    def lines(self) -> int:
        """Physical lines accounted for."""
        return self.rows.height + self.rejected.height + self.blank + self.continued


def printable(line: bytes) -> str:
    """A line as text for quarantine: undecodable bytes and NUL are escaped, the line end is cut off."""
    text = line.removesuffix(_NEWLINE).removesuffix(_CARRIAGE_RETURN).decode("utf-8", errors="backslashreplace")
    return text.replace("\x00", "\\x00")


def read_blocks(chunks: Iterator[bytes], rest: bytes, key: str) -> Iterator[Block]:
    """Cut the bytes after the header into blocks of whole lines, of about 16 MB.

    A block ends at a line end outside quotes, unless a quote that is never closed leaves none in its second half.

    Raises:
        UntrustedPart: when a single line is longer than 64 MB.
    """
    held: list[bytes] = [rest]
    size, line = len(rest), 2
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES:
            content = b"".join(held)
            if cut := _cut(content):
                block = Block(content[:cut], line)
                yield block
                line += block.lines
                content = content[cut:]
            elif len(content) > LONGEST_LINE_BYTES:
                raise UntrustedPart(f"{key}: line {line}: longer than {LONGEST_LINE_BYTES >> 20} MB, so it is no row.")
            held, size = [content], len(content)
    if content := b"".join(held):
        yield Block(content, line)


def parse(block: Block, columns: tuple[str, ...], delimiter: str) -> Records:
    """Split a block into records; every physical line is accounted for."""
    records = _parse_at_once(block, columns, delimiter) or _parse_around_faults(block, columns, delimiter)
    if records.lines != block.lines:
        raise AssertionError(f"{records.lines} of {block.lines} lines accounted for, from line {block.first_line}")
    return records


def _cut(content: bytes) -> int:
    """Where the first part of a block ends: after its last line end outside quotes; 0 when there is no line end."""
    quotes = content.count(_QUOTE)
    end = len(content)
    while (newline := content.rfind(_NEWLINE, len(content) // 2, end)) >= 0:
        quotes -= content.count(_QUOTE, newline + 1, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return content.rfind(_NEWLINE) + 1


def _parse_at_once(block: Block, columns: tuple[str, ...], delimiter: str) -> Records | None:
    """Parse a block in which every line is one well-formed record; None when it is not proved to be such a block."""
    content = block.content
    if b"\x00" in content:
        return None
    if returns := content.count(_CARRIAGE_RETURN):
        content = content.replace(b"\r\n", b"\n")
        if len(block.content) - len(content) != returns:
            return None
    if not _quotes_are_sound(content, delimiter):
        return None
    lines = block.lines
    rows = _frame(content, columns, delimiter)
    if rows is None or rows.height != lines or rows[_SURPLUS].null_count() != lines:
        return None
    in_cells = 0
    if _QUOTE in content:
        counts = pl.all().exclude(_SURPLUS).str.count_matches(delimiter, literal=True).sum()
        in_cells = rows.select(pl.sum_horizontal(counts)).item()
    if content.count(delimiter.encode()) != lines * (len(columns) - 1) + in_cells:
        return None
    numbers = pl.int_range(block.first_line, block.first_line + lines, dtype=pl.Int64)
    return Records(rows.drop(_SURPLUS).with_columns(numbers.alias(LINE)), pl.DataFrame(schema=REJECT_SCHEMA))


def _frame(content: bytes, columns: tuple[str, ...], delimiter: str) -> pl.DataFrame | None:
    """Text of all cells by wire name, and a surplus column that shows rows with too many cells; empty cells are null."""
    names = [*(wire_name(c) for c in columns), _SURPLUS]
    try:
        rows = pl.read_csv(
            content,
            has_header=False,
            schema={name: pl.String for name in names},
            separator=delimiter,
            truncate_ragged_lines=True,
        )
    except pl.exceptions.PolarsError:
        return None
    return rows.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _quotes_are_sound(content: bytes, delimiter: str) -> bool:
    """Whether every quote opens a cell, closes one, or is one of a pair inside; all closed at the end."""
    neighbours = _may_stand_beside_a_quote(delimiter)
    data = np.frombuffer(content, dtype=np.uint8)
    seen = 0
    for start in range(0, len(data), _SLICE_BYTES):
        at = np.flatnonzero(data[start : start + _SLICE_BYTES] == _QUOTE[0]) + start
        opening, closing = at[seen % 2 :: 2], at[1 - seen % 2 :: 2]
        if not (neighbours[data[opening - 1]] | (opening == 0)).all():
            return False
        if not neighbours[data[np.minimum(closing + 1, len(data) - 1)]].all():
            return False
        seen += len(at)
    return seen % 2 == 0


def _may_stand_beside_a_quote(delimiter: str) -> npt.NDArray[np.bool_]:
    allowed = np.zeros(256, dtype=bool)
    allowed[[_QUOTE[0], _NEWLINE[0], ord(delimiter)]] = True
    return allowed


def _positions(content: bytes, sign: bytes) -> Positions:
    return np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == sign[0])


def _parse_around_faults(block: Block, columns: tuple[str, ...], delimiter: str) -> Records:
    """Parse the lines that are plainly one record each at once, and the others one by one."""
    lines = _physical_lines(block.content)
    doubtful = _doubtful_lines(block.content, len(columns), delimiter)
    plain = np.flatnonzero(~doubtful)
    content = b"".join([lines[nth] for nth in plain]).replace(b"\r\n", b"\n")
    rows = _frame(content, columns, delimiter)
    if rows is None or rows.height != len(plain):
        doubtful[:] = True
        plain = plain[:0]
        rows = _frame(b"", columns, delimiter)
        assert rows is not None
    numbered = rows.drop(_SURPLUS).with_columns(pl.Series(LINE, plain + block.first_line, dtype=pl.Int64))
    others = _parse_one_by_one(lines, np.flatnonzero(doubtful), block.first_line, columns, delimiter)
    return Records(
        pl.concat([numbered, others.rows]).sort(LINE), others.rejected, others.blank, others.continued
    )


def _doubtful_lines(content: bytes, columns: int, delimiter: str) -> npt.NDArray[np.bool_]:
    """Which physical lines are not plainly one record of so many cells, with the lines a record may run on to."""
    data = np.frombuffer(content, dtype=np.uint8)
    ends = _positions(content, _NEWLINE)
    if not content.endswith(_NEWLINE):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    quotes = _positions(content, _QUOTE)
    line_of_quote = np.searchsorted(ends, quotes)
    quotes_of_line = np.bincount(line_of_quote, minlength=len(ends))
    quotes_before_line = np.concatenate([[0], np.cumsum(quotes_of_line)[:-1]])
    is_opening = (np.arange(len(quotes)) - quotes_before_line[line_of_quote]) % 2 == 0

    neighbours = _may_stand_beside_a_quote(delimiter)
    before = neighbours[data[quotes - 1]] | (quotes == starts[line_of_quote])
    follows = data[np.minimum(quotes + 1, len(data) - 1)]
    after = neighbours[follows] | (follows == _CARRIAGE_RETURN[0]) | (quotes + 1 == len(data))
    doubtful = np.zeros(len(ends), dtype=bool)
    doubtful[line_of_quote[np.where(is_opening, ~before, ~after)]] = True

    delimiters = _positions(content, delimiter.encode())
    line_of_delimiter = np.searchsorted(ends, delimiters)
    quotes_before = np.searchsorted(quotes, delimiters) - quotes_before_line[line_of_delimiter]
    outside = line_of_delimiter[quotes_before % 2 == 0]
    doubtful |= np.bincount(outside, minlength=len(ends)) != columns - 1

    returns = _positions(content, _CARRIAGE_RETURN)
    lone = returns[data[np.minimum(returns + 1, len(data) - 1)] != _NEWLINE[0]]
    for unusual in (lone, _positions(content, b"\x00"), _undecodable(content, ends)):
        doubtful[np.searchsorted(ends, unusual)] = True

    odd = np.flatnonzero(quotes_of_line % 2)
    doubtful[odd] = True
    for first, last in zip(odd, odd[1:], strict=False):
        if last - first < MOST_LINES_OF_A_RECORD:
            doubtful[first : last + 1] = True
    return doubtful


def _undecodable(content: bytes, ends: Positions) -> Positions:
    """Where lines are not UTF-8: the first such byte of each line."""
    found = []
    start = 0
    while start < len(content):
        try:
            content[start:].decode("utf-8")
            break
        except UnicodeDecodeError as error:
            found.append(start + error.start)
            nth = int(np.searchsorted(ends, found[-1]))
            start = int(ends[nth]) + 1
    return np.array(found, dtype=np.int64)


def _physical_lines(content: bytes) -> list[bytes]:
    lines = content.split(_NEWLINE)
    last = lines.pop()
    return [line + _NEWLINE for line in lines] + ([last] if last else [])


def _parse_one_by_one(
    lines: list[bytes], doubtful: Positions, first_line: int, columns: tuple[str, ...], delimiter: str
) -> Records:
    """Read doubtful lines as records; a line that is none is set aside, and reading goes on after it."""
    well_formed = _record_pattern(delimiter)
    cells: list[list[str]] = []
    row_lines: list[int] = []
    rejected: list[tuple[int, list[str], str]] = []
    blank = continued = 0
    next_line = 0
    is_doubtful = set(doubtful.tolist())
    for nth in doubtful.tolist():
        if nth < next_line:
            continue
        next_line = nth + 1
        if not lines[nth].strip(b"\r\n"):
            blank += 1
            continue
        record = _whole_record(lines, nth, is_doubtful, well_formed)
        if record is None:
            rejected.append((first_line + nth, [_fault(lines[nth], delimiter)], printable(lines[nth])))
            continue
        whole = b"".join(record)
        values = next(csv.reader([whole.decode("utf-8")], delimiter=delimiter, strict=True))
        if len(values) == len(columns):
            cells.append(values)
            row_lines.append(first_line + nth)
        else:
            few = "few" if len(values) < len(columns) else "many"
            reason = f"too {few} fields: {len(values)} of {len(columns)}"
            rejected.append((first_line + nth, [reason], printable(whole)))
        continued += len(record) - 1
        next_line = nth + len(record)
    rows = pl.DataFrame(cells, schema={wire_name(c): pl.String for c in columns}, orient="row")
    return Records(
        rows.with_columns(pl.when(pl.all() != "").then(pl.all())).with_columns(pl.Series(LINE, row_lines, dtype=pl.Int64)),
        pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
        blank,
        continued,
    )


def _whole_record(
    lines: list[bytes], nth: int, is_doubtful: set[int], well_formed: re.Pattern[str]
) -> list[bytes] | None:
    """The lines of the record that begins on a line; None when no well-formed record begins there."""
    record: list[bytes] = []
    quotes = 0
    for line in lines[nth : nth + MOST_LINES_OF_A_RECORD]:
        if nth + len(record) not in is_doubtful:
            return None
        record.append(line)
        quotes += line.count(_QUOTE)
        if quotes % 2 == 0:
            break
    whole = b"".join(record)
    if quotes % 2 or b"\x00" in whole:
        return None
    try:
        text = whole.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return record if well_formed.fullmatch(text.removesuffix("\n").removesuffix("\r")) else None


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
