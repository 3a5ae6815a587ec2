"""Records of a part, exactly as RFC 4180 has them: rows, rejects, line numbers and raw text."""

import csv
import io
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offload_platform.contracts.readers import wire_name
from offload_platform.landing import records
from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.records import Block, Records, parse, read_blocks

TWO = ("a", "b")
Cells = tuple[str | None, ...]


def rows_of(found: Records) -> list[tuple[int, Cells]]:
    """Line and cells of each row."""
    frame = found.rows.select(records.LINE, pl.exclude(records.LINE))
    return [(line, tuple(cells)) for line, *cells in frame.iter_rows()]


def rejects_of(found: Records) -> list[tuple[int, str, str]]:
    """Line, reason and raw text of each reject, which has exactly one reason."""
    assert all(len(reasons) == 1 for reasons in found.rejected["reasons"])
    return [(line, reasons[0], raw) for line, reasons, raw in found.rejected.iter_rows()]


def read(content: bytes, columns: tuple[str, ...] = TWO, delimiter: str = ",") -> Records:
    return parse(Block(content, first_line=2), columns, delimiter)


def read_in_blocks(
    content: bytes, columns: tuple[str, ...], delimiter: str, chunk: int
) -> tuple[list[tuple[int, Cells]], list[tuple[int, str, str]], int]:
    """Rows, rejects and lines of a content that arrives in small chunks."""
    pieces = iter([content[i : i + chunk] for i in range(0, len(content), chunk)])
    found = [parse(block, columns, delimiter) for block in read_blocks(pieces, b"", "part")]
    return (
        [row for records_ in found for row in rows_of(records_)],
        [reject for records_ in found for reject in rejects_of(records_)],
        sum(records_.lines for records_ in found),
    )


@pytest.mark.parametrize(
    ("bad", "reason", "raw"),
    [
        (b"x", "too few fields: 1 of 2", "x"),
        (b"x,y,z", "too many fields: 3 of 2", "x,y,z"),
        (b"x,y,", "too many fields: 3 of 2", "x,y,"),
        (b'x,"y', "unterminated quote", 'x,"y'),
        (b'"x,y', "unterminated quote", '"x,y'),
        (b'x,y"', "stray quote", 'x,y"'),
        (b'x,y"z"', "stray quote", 'x,y"z"'),
        (b'x, "y"', "stray quote", 'x, "y"'),
        (b'x,"y" ', "stray quote", 'x,"y" '),
        (b'x,"y"z"', "stray quote", 'x,"y"z"'),
        (b"x,y\xff", "not UTF-8", "x,y\\xff"),
        (b"x,\xe2\x82", "not UTF-8", "x,\\xe2\\x82"),
        (b"x,\xed\xa0\x80", "not UTF-8", "x,\\xed\\xa0\\x80"),
        (b"x,y\x00z", "NUL byte", "x,y\\x00z"),
        (b"x,y\rz", "carriage return outside quotes", "x,y\rz"),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_bad_line_costs_only_itself(bad: bytes, reason: str, raw: str, line_end: bytes) -> None:
    found = read(line_end.join([b"1,2", bad, "é,\N{EURO SIGN}".encode(), b""]))
    assert rows_of(found) == [(2, ("1", "2")), (4, ("é", "\N{EURO SIGN}"))]
    assert rejects_of(found) == [(3, reason, raw)]
    assert (found.lines, found.blank, found.continued) == (3, 0, 0)


def test_faults_that_would_cancel_out_are_both_found() -> None:
    found = read(b"1,2,\n3\n4,5\n")
    assert rows_of(found) == [(4, ("4", "5"))]
    assert [line for line, *_ in rejects_of(found)] == [2, 3]


def test_lines_of_any_end_blank_lines_and_a_last_line_without_end() -> None:
    found = read(b'\r\n1,2\r\n\n3,4\n"5\r\n\n5","6\n"\r\n\r\n7,8')
    assert rows_of(found) == [(3, ("1", "2")), (5, ("3", "4")), (6, ("5\r\n\n5", "6\n")), (11, ("7", "8"))]
    assert found.rejected.is_empty()
    assert (found.lines, found.blank, found.continued) == (10, 3, 3)


@pytest.mark.parametrize("content", [b"1,2\r", b"1,2", b"1,2\n", b"1,2\r\n"])
def test_the_last_line_may_end_in_any_way(content: bytes) -> None:
    assert rows_of(read(content)) == [(2, ("1", "2"))]


def test_empty_cells_are_null_whether_quoted_or_not_and_blanks_are_text() -> None:
    found = read(b'"",\n, \n"""",""""""\n')
    assert rows_of(found) == [(2, (None, None)), (3, (None, " ")), (4, ('"', '""'))]


def test_a_record_of_several_lines_with_other_than_the_right_fields_is_rejected_whole() -> None:
    found = read(b'1,2\n"a\nb\nc"\n3,4\n')
    assert rows_of(found) == [(2, ("1", "2")), (6, ("3", "4"))]
    assert rejects_of(found) == [(3, "too few fields: 1 of 2", '"a\nb\nc"')]
    assert (found.lines, found.continued) == (5, 2)


def test_raw_text_of_a_row_has_all_its_lines() -> None:
    block = Block(b'1,2\r\n"a\nb",3\r\nlast,"x\ny"', 2)
    found = parse(block, TWO, ",")
    assert block.raw(found.rows[records.LINE], found.heights) == ["1,2", '"a\nb",3', 'last,"x\ny"']


def test_a_quote_that_is_never_closed_does_not_take_its_followers_along() -> None:
    lines = [b'1,"open', *(b"%d,x" % i for i in range(2, 500)), b'500,"open too', b"501,x"]
    found = read(b"\n".join(lines) + b"\n")
    assert found.rows.height == len(lines) - 2
    assert rejects_of(found) == [
        (2, "unterminated quote", '1,"open'),
        (501, "unterminated quote", '500,"open too'),
    ]


def test_a_record_may_run_on_over_so_many_lines_and_no_more() -> None:
    most = records.MOST_LINES_OF_A_RECORD
    cell = b"\n".join(b"x" for _ in range(most))
    assert rows_of(read(b'1,"' + cell + b'"\n2,3\n'))[-1] == (2 + most, ("2", "3"))
    found = read(b'1,"' + cell + b'\n"\n2,3\n')
    assert rows_of(found) == [(3 + most, ("2", "3"))]
    assert rejects_of(found)[0] == (2, "unterminated quote", '1,"x')
    assert found.lines == most + 2


def test_cells_of_more_than_a_hundred_kilobytes() -> None:
    long = "\N{EURO SIGN},\n" * 60 + "x" * 300_000
    quoted = f'1,"{long}"\n2,"{"y" * 200_000}"\n3\n'.encode()
    found = read(quoted)
    assert [cells for _, cells in rows_of(found)] == [("1", long), ("2", "y" * 200_000)]
    assert [line for line, *_ in rejects_of(found)] == [2 + 60 + 2]


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 100)
    monkeypatch.setattr(records, "LONGEST_LINE_BYTES", 1000)
    read_so_far = 0

    def endless() -> Iterator[bytes]:
        nonlocal read_so_far
        yield b"1,2\n"
        while True:
            read_so_far += 50
            yield b"x" * 50

    with pytest.raises(UntrustedPart, match=r"^part: line 3: longer than"):
        list(read_blocks(endless(), b"", "part"))
    assert read_so_far <= 1100


def test_blocks_are_cut_where_no_record_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One quote that is never closed must not have later records of several lines cut in two."""
    lines = [b'1,"open'] + [b'%d,"a\nb"' % i if i % 700 == 0 else b"%d,x" % i for i in range(2, 30_000)]
    content = b"\n".join(lines) + b"\n"
    whole = read(content)
    assert (whole.rows.height, whole.rejected.height) == (len(lines) - 1, 1)
    monkeypatch.setattr(records, "BLOCK_BYTES", 20_000)
    assert read_in_blocks(content, TWO, ",", chunk=1000) == (rows_of(whole), rejects_of(whole), whole.lines)


def test_few_faults_do_not_have_their_block_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    good = [b'%d,"a, ""b"""' % i for i in range(200_000)]
    faults = (b"x", b"x,y,z", b'x,"y', b'x,y"', b'x,y"z"', b"x,\xff", b"x,\x00", b"x,y\rz")
    for nth in range(200):
        good[nth * 1000 + 500] = faults[nth % len(faults)]
    read_singly = 0
    one_by_one = records._parse_one_by_one

    def counted(lines: records._Lines, *others: object) -> Records:
        nonlocal read_singly
        read_singly += np.count_nonzero(lines.are_doubtful)
        return one_by_one(lines, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(records, "_parse_one_by_one", counted)
    found = read(b"\n".join(good) + b"\n")
    assert (found.rows.height, found.rejected.height) == (199_800, 200)
    assert read_singly == 200


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
# Line ends, quotes and delimiters far more often than chance would have them.
cell = st.one_of(
    text, st.lists(st.sampled_from(["\n", "\r\n", "\r", '"', ",", ";", "\t", "|", "x", " ", "é"])).map("".join)
)
tables = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[cell] * width), min_size=1, max_size=12))
delimiters = st.sampled_from([",", ";", "\t", "|"])


def written(table: list[tuple[str, ...]], delimiter: str, quoting: int, line_end: str) -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink, delimiter=delimiter, quoting=quoting, lineterminator=line_end).writerows(table)  # type: ignore[arg-type]
    return sink.getvalue().encode()


def as_read(table: list[tuple[str, ...]]) -> list[Cells]:
    return [tuple(cell or None for cell in row) for row in table]


@settings(max_examples=200, deadline=None)
@given(
    tables,
    delimiters,
    # A writer of lines that end in LF leaves a carriage return unquoted unless it quotes all.
    st.sampled_from([(csv.QUOTE_ALL, "\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_MINIMAL, "\r\n")]),
)
def test_whatever_a_csv_writer_writes_comes_back_equal(
    table: list[tuple[str, ...]], delimiter: str, quoting_and_line_end: tuple[int, str]
) -> None:
    columns = tuple(str(i) for i in range(len(table[0])))
    content = written(table, delimiter, *quoting_and_line_end)
    with pytest.MonkeyPatch.context() as patch:
        whole = read(content, columns, delimiter)
        assert [cells for _, cells in rows_of(whole)] == as_read(table)
        assert whole.rejected.is_empty()
        assert whole.lines == content.count(b"\n")
        longest = max(len(written([row], delimiter, *quoting_and_line_end)) for row in table)
        patch.setattr(records, "BLOCK_BYTES", 2 * longest)  # a record must fit in half a block
        assert read_in_blocks(content, columns, delimiter, chunk=7) == (rows_of(whole), [], whole.lines)


hostile = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b'"', b'""', b",", b"a", b"b", b" ", b"\xff", b"\x00", "é".encode()]),
    min_size=1,
    max_size=40,
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(hostile, st.integers(1, 3))
def test_the_quick_way_finds_what_the_slow_way_finds(content: bytes, width: int) -> None:
    """Most lines at once and the others one by one, and all one by one: two ways, one result."""
    columns = tuple(str(i) for i in range(width))
    found = read(content, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_plain_rows", lambda *_: None)
        one_by_one = read(content, columns)
    assert rows_of(one_by_one) == rows_of(found)
    assert rejects_of(one_by_one) == rejects_of(found)
    assert (one_by_one.blank, one_by_one.continued, one_by_one.heights) == (found.blank, found.continued, found.heights)


@settings(max_examples=400, deadline=None)
@given(hostile, st.integers(1, 3), st.integers(1, 30))
def test_every_line_is_accounted_for_and_every_byte_is_kept(content: bytes, width: int, block_bytes: int) -> None:
    columns = tuple(str(i) for i in range(width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", block_bytes)
        blocks = list(read_blocks(iter([content[i : i + 3] for i in range(0, len(content), 3)]), b"", "part"))
    assert b"".join(block.content for block in blocks) == content
    line = 2
    for block in blocks:
        assert block.first_line == line
        line += block.lines
        found = parse(block, columns, ",")
        raws = block.raw(found.rows[records.LINE], found.heights) + [raw for *_, raw in rejects_of(found)]
        # A row says again what stands in the part: the raw text, read as CSV, gives its cells.
        for raw, (_, cells) in zip(raws, rows_of(found), strict=False):
            assert tuple(c or None for c in next(csv.reader([raw], strict=True), [""])) == cells
        assert found.rows.columns == [*(wire_name(c) for c in columns), records.LINE]


def test_undecodable_bytes_in_many_lines() -> None:
    lines = [b"%d,\xff" % i if i % 3 else b"%d,x" % i for i in range(3000)]
    found = read(b"\n".join(lines))
    assert [line - 2 for line, _ in rows_of(found)] == list(range(0, 3000, 3))
    assert {reason for _, reason, _ in rejects_of(found)} == {"not UTF-8"}
