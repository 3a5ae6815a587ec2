"""Parts as an enemy would write them: bounded in memory and time, each row loaded as it was written or set aside."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.nested import Kind, Member, ObjectsCell
from offload_platform.landing import decompress, fingerprint, records, staging
from offload_platform.landing.decompress import NONE
from offload_platform.landing.errors import LandingError, UntrustedPart
from offload_platform.landing.fingerprint import read_fingerprint
from offload_platform.landing.json_lines import parse as parse_json
from offload_platform.landing.masking import NOT_SHOWN, mask_of
from offload_platform.landing.records import Block, read_blocks
from offload_platform.quality import json_cells
from offload_platform.quality.json_cells import JsonCells

from .conftest import Stage, contract_of, loaded_rows

USER = "5a689ab0e97b960500002109"
HEADER = b"user_id,metadata_user_id,segment_id\n"
CELLS = JsonCells()


def members_of(content: bytes) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """Members of each line that holds an object, and the lines that hold none, with the reason."""
    found, _ = parse_json(Block(content, 1), CELLS, "part")
    rows = [{n.removeprefix("wire:"): v for n, v in row.items() if n != "line"} for row in found.rows.to_dicts()]
    return rows, [(line, reasons[0]) for line, reasons, _ in found.rejected.rows()]


# Too much of it


def test_a_bomb_is_refused_when_it_is_larger_than_rows_ever_are(
    stage_part: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompress, "_ALWAYS_UNPACKED_BYTES", 4 << 20)
    row = f"{USER},,a\n".encode()
    bomb = gzip.compress(HEADER + row * 400_000, compresslevel=9)
    assert 200 * len(bomb) < 400_000 * len(row)
    with pytest.raises(UntrustedPart, match=r"packed bytes become more than .* as no rows do\. Ask the vendor"):
        stage_part(bomb)
    assert stage_part(gzip.compress(HEADER + row * 40_000)).loaded == 40_000


def test_a_line_of_a_gigabyte_costs_no_more_than_its_beginning() -> None:
    read = 0

    def gigabyte() -> Iterator[bytes]:
        nonlocal read
        yield b"1,2\n"
        while read < 1 << 30:
            read += 1 << 18
            yield bytes(1 << 18)

    tracemalloc.start()
    try:
        with pytest.raises(UntrustedPart, match=r"^part: line 3: longer than 16 MB, so it is no row"):
            list(read_blocks(gigabyte(), b"", "part"))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert read <= 18 << 20


@pytest.mark.parametrize("line", [b"\n", b"x\n", b'"\n', b'1,"\n'])
def test_millions_of_short_lines_come_in_blocks_of_a_bounded_number(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_LINES_OF_A_BLOCK", 1000)
    content = line * 5500 + b"1,2\n" * 700
    blocks = list(read_blocks(iter([content]), b"", "part"))
    assert b"".join(block.content for block in blocks) == content
    assert max(block.lines for block in blocks) <= 1000
    assert [block.first_line for block in blocks] == [2 + sum(b.lines for b in blocks[:n]) for n in range(len(blocks))]


def test_a_record_of_several_lines_is_not_cut_where_a_block_has_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(b'%d,"a\nb"\n' % i if i % 700 == 0 else b"%d,x\n" % i for i in range(1, 9000))
    whole = records.parse(Block(content, 2), ("a", "b"), ",")
    monkeypatch.setattr(records, "MOST_LINES_OF_A_BLOCK", 1000)
    found = [records.parse(b, ("a", "b"), ",") for b in read_blocks(iter([content]), b"", "part")]
    assert len(found) > 8
    assert [row for part in found for row in part.rows.rows()] == whole.rows.rows()
    assert sum(part.rejected.height for part in found) == 0


def test_a_part_of_blank_lines_is_given_up(stage_part: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_ALWAYS_READ_BLANK_LINES", 1000)
    monkeypatch.setattr(records, "MOST_LINES_OF_A_BLOCK", 2000)
    row = f"{USER},,a\n".encode()
    assert stage_part(HEADER + row + b"\n" * 1000).loaded == 1
    assert stage_part(HEADER + (row + b"\n") * 1500).loaded == 1500
    with pytest.raises(UntrustedPart, match=r"1,9\d\d of the first 2,000 lines are blank"):
        stage_part(HEADER + row * 10 + b"\n" * 100_000)


def test_a_header_of_countless_columns_is_refused_at_once(stage_part: Stage) -> None:
    header = HEADER.strip() + b",".join([b"", *(b"%d" % n for n in range(100_000))])
    with pytest.raises(UntrustedPart, match="line 1: 100,003 columns, more than the 5,000 that are read"):
        stage_part(header + b"\n")


def test_the_widest_header_that_is_read(stage_part: Stage) -> None:
    more = fingerprint.MOST_COLUMNS - 3
    header = HEADER.strip() + b",".join([b"", *(b"%d" % n for n in range(more))])
    row = f"{USER},,a".encode() + b"," * more + b"last"
    rows = loaded_rows(stage_part(b"\n".join([header, row])))
    assert rows["extra"].to_list() == [json.dumps({str(more - 1): "last"}, separators=(",", ":"))]


def test_countless_members_are_refused_before_a_table_is_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UntrustedPart, match=r"^part: from line 1: 5,000 different members in 5,000 lines\. Ask the"):
        members_of(b"".join(b'{"k%d":1}\n' % n for n in range(5000)))
    rows, _ = members_of(b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(5000)) + b"}\n")
    assert len(rows[0]) == 5000
    monkeypatch.setattr(json_cells, "_MOST_MEMBER_CELLS", 10)
    with pytest.raises(UntrustedPart):
        members_of(b'{"a":1,"b":2,"c":3}\n' * 4)


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000])
def test_deep_json_is_read_and_shown_without_falling_over(value: str) -> None:
    rows, rejected = members_of(f'{{"a":{value}}}\n'.encode())
    assert (rows, rejected) == ([{"a": value}], [])
    # What may be no JSON is read by Python, which goes less deep.
    assert members_of(f'{{"a":{value},}}\n'.encode()) == ([], [(1, "not a JSON object")])
    assert mask_of(contract_of("driving_events_realtime"), (), "")(f'{{"a":{value}}}') == NOT_SHOWN


# Names


NAMES = [
    *("", "*", "**", "^.*$", "$", "$.a", "a/b", "a~b", "~1", "0", "-", "#", "?", "'", '"', "\\", "a.b", "[0]", " "),
    *("line", "is_object", "is_clear", "nth", "names", "v", "wire:a", "user_id; DROP TABLE x", "nul\x00", "\x1b[31m"),
    *("<script>alert(1)</script>", "=1+1", "[red]", "a\nb", "é", "A", "a"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_member_of_any_name_is_read_under_its_name(name: str) -> None:
    line = json.dumps({name: "one", "other": "two"}).encode() + b"\n"
    assert members_of(line) == ([{name: "one", "other": "two"}], [])


def test_columns_of_any_name_are_kept_in_extra_under_it(stage_part: Stage) -> None:
    names = [name for name in NAMES if "\x00" not in name and name == name.strip()]
    # Names that differ in case alone are two columns here, and would be one to DuckDB.
    names += ["USER_ID", "Segment_Id"]
    quoted = ",".join('"' + name.replace('"', '""').replace("\n", " ") + '"' for name in names)
    row = ",".join(str(n) for n in range(len(names)))
    [extra] = loaded_rows(stage_part(f"{HEADER.decode().strip()},{quoted}\n{USER},,a,{row}\n".encode()))["extra"]
    assert json.loads(extra) == {name.replace("\n", " "): str(n) for n, name in enumerate(names)}


@pytest.mark.parametrize(
    ("line", "member"),
    [('{"a":1,"a":2}', "a"), ('{"a":1,"\\u0061":2}', "a"), ('{"é":1,"é":1}', "é"), ('{"":1,"b":2,"":3}', "")],
)
def test_an_object_with_a_doubled_member_is_set_aside(line: str, member: str) -> None:
    rows, rejected = members_of(f'{{"x":1}}\n{line}\n[1]\n{{"{member}":"ok"}}\n'.encode())
    assert rejected == [(2, "a member stands twice"), (3, "not a JSON object")]
    assert [row.get(member) for row in rows] == [None, "ok"]


# Whatever comes


def strict(line: bytes) -> dict[str, Any] | None:
    """The object in a line as Python's json has it, by RFC 8259 and without doubt; None where there is none."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs)

    def top(text: str) -> Any:
        seen: list[list[str]] = []

        def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            seen.append([name for name, _ in pairs])
            return once(pairs)

        value = json.loads(text, parse_constant=refuse, object_pairs_hook=noted)
        # The outermost object ends last.
        if isinstance(value, dict) and len(set(seen[-1])) < len(seen[-1]):
            raise ValueError("doubled")
        return value

    try:
        text = line.removesuffix(b"\r").decode("utf-8")
        value = top(text)
        json.dumps(value, ensure_ascii=False).encode()  # a surrogate without its other half is no text
    except ValueError:
        return None
    return value if isinstance(value, dict) and "\x00" not in text else None


def agrees(text: str | None, value: Any) -> bool:
    """Whether a member's text says the value that Python reads; an empty text is read as null."""
    if isinstance(value, str):
        return text == (value or None)
    if value is None or text is None:
        return value is None and text is None
    again = json.loads(text)
    return bool(again == value) and isinstance(again, bool) == isinstance(value, bool)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.sampled_from([",}", ": nan", "[,]", "NaN", '"', "\\"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3).filter(str.isprintable), v, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(
    st.sampled_from(NAMES) | st.text(st.characters(codec="utf-8"), max_size=4), json_values, max_size=4
)
signs = [
    *(b"{", b"}", b"[", b"]", b":", b",", b'"a"', b'"b"', b'"', b"1", b"-", b"0", b".5", b"e9", b"nan", b"NaN", b"/*"),
    *(b"Infinity", b"-inf", b"true", b"null", b" ", b"\t", b"\r", b"\\u0000", b"\\ud800", b"\xff", b"\x00"),
]
tokens = st.lists(st.sampled_from(signs), max_size=12).map(b"".join)
lines_of_json = st.one_of(
    objects.map(lambda o: json.dumps(o, ensure_ascii=False).encode()),
    objects.map(lambda o: json.dumps(o).encode()),
    objects.map(lambda o: json.dumps(o, separators=(" ,  ", " : ")).encode()),
    tokens,
    tokens.map(lambda t: b'{"a":' + t + b"}"),
    st.binary(max_size=12),
).filter(lambda line: b"\n" not in line)


@settings(max_examples=150, deadline=None)
@given(st.lists(lines_of_json, min_size=1, max_size=6))
def test_json_lines_are_what_python_says_they_are(lines: list[bytes]) -> None:
    rows, rejected = members_of(b"\n".join(lines) + b"\n")
    expected = [(n, strict(line)) for n, line in enumerate(lines, 1) if line.removesuffix(b"\r")]
    assert [line for line, _ in rejected] == [n for n, value in expected if value is None]
    values = [value for _, value in expected if value is not None]
    assert len(rows) == len(values)
    for row, value in zip(rows, values, strict=True):
        assert {name for name, text in row.items() if text is not None} <= set(value)
        assert all(agrees(row[name], inner) for name, inner in value.items()), (row, value)


beginnings = [
    *(b"user_id", b"metadata_user_id", b"segment_id", USER.encode(), b",", b";", b"\n", b"\r\n", b"\r", b'"', b'""'),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"}", b'{"user_id":1}', b"a", "é".encode(), b" ", b"\t"),
    *(b"\x1f\x8b", b"x^", gzip.compress(b"a"), HEADER, HEADER.replace(b",", b";"), HEADER.upper()),
]
pieces = st.lists(st.sampled_from(beginnings), max_size=20).map(b"".join)
any_part = st.one_of(pieces, pieces.map(lambda p: HEADER + p), pieces.map(gzip.compress), st.binary(max_size=60))


@settings(max_examples=300, deadline=None)
@given(any_part, st.sampled_from(["part.csv.gz", "x.json.gz"]), st.booleans())
def test_any_beginning_has_a_fingerprint_or_is_refused(content: bytes, key: str, named: bool) -> None:
    columns = ("user_id", "metadata_user_id", "segment_id") if named else ()
    try:
        found, rest = read_fingerprint(
            iter([content] if content else []), key, contract_of("segments"), compression=NONE, columns=columns
        )
    except UntrustedPart as error:
        said = str(error)
    else:
        said = f"{key}: "
        assert content.endswith(rest)
        assert len(set(found.columns)) == len(found.columns)
    assert said.startswith(f"{key}: ")
    assert said.isprintable()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_part)
def test_any_part_is_accounted_for_or_refused(stage_part: Stage, content: bytes) -> None:
    try:
        staged = stage_part(content)
    except LandingError:
        return
    assert staged.rows_in == staged.loaded + staged.quarantined
    if staged.loaded:
        assert set(loaded_rows(staged)["user_id"]) <= {USER}


# Values


def test_numbers_that_are_none_reach_no_column(stage_json: Callable[[str], Any]) -> None:
    fix = '{"latitude": 1.5, "longitude": %s, "timestamp": 5}'
    told = [fix % number for number in ("2.5", "1e999", '"nan"', '"-Infinity"', '"2.5"')]
    rows = stage_json(f"[{','.join(told)}]")
    assert rows == [2.5, None, None, None, 2.5]


@pytest.fixture
def stage_json() -> Callable[[str], Any]:
    """Longitudes of a cell of fixes."""
    reader = ObjectsCell("fixes", (Member("longitude", "longitude", Kind.NUMBER),))

    def run(cell: str) -> list[float | None]:
        with JsonCells() as cells:
            [fixes] = cells.decode(pl.Series([cell]), reader).to_list()
        return [fix["longitude"] for fix in fixes]

    return run


def test_rows_are_not_unpacked_a_second_time(stage_part: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no text is not given to a reader that unpacks, though it has no quote, no NUL and no carriage return."""
    hidden = f"{USER},,hidden\n".encode()
    bomb = next(p for n in range(200, 3000) if not {0, 13, 34} & set(p := zlib.compress(hidden * n, 1)))
    read_csv, handed_over = pl.read_csv, []
    monkeypatch.setattr(
        pl, "read_csv", lambda content, **more: handed_over.append(content) or read_csv(content, **more)
    )
    staged = stage_part(HEADER + bomb + f"\n{USER},,a\n".encode())
    assert loaded_rows(staged)["segment_id"].to_list() == ["a"]
    assert staged.rows_in == 1 + staged.quarantined
    assert not [content for content in handed_over if bomb[:20] in content]
    # A packed file that were text as well would be a row.
    staged = stage_part(HEADER + f"x^,,b\n{USER},,a\n".encode())
    assert (staged.loaded, staged.quarantined) == (1, 1)
    assert any(b"x^,,b" in content for content in handed_over)
    assert not [content for content in handed_over if content.startswith(b"x^")]


@pytest.mark.parametrize("first", ["x^2", "x^", "x\x01", "(", "BZh9", "\ufeffa"])
def test_a_row_may_begin_like_a_packed_file(first: str) -> None:
    found = records.parse(Block(f"{first},b\nc,d\n".encode() * 3, 2), ("a", "b"), ",")
    assert [row[:2] for row in found.rows.rows()] == [(first, "b"), ("c", "d")] * 3


def test_what_is_left_in_the_spool_of_a_refused_part_is_nothing_of_it(stage_part: Stage, tmp_path: Path) -> None:
    with pytest.raises(LandingError):
        stage_part(gzip.compress(b"\xff\xfe" + b"x" * 100))
    assert [file.name for file in (tmp_path / "staged").iterdir()] == []
