"""Small files with the rows that are in them, told by hand: the readers and Python's csv and json are held to them.

`conformance/expected.json` says of each file its `rows` (line, then cells or members as text; an empty cell is null)
and the lines `rejected` with the reason, or why it is `refused`. Python is asked the same. Where it takes more than the
reader, which loads nothing that is open to doubt, the file says so (`python_takes_more`).
"""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.json_lines import parse as parse_json
from offload_platform.landing.records import Block
from offload_platform.quality.drift import DriftKind
from offload_platform.quality.json_cells import JsonCells

from .conftest import Stage, loaded_rows, quarantined_rows
from .test_hostile_parts import USER, agrees, strict

FOLDER = Path(__file__).with_name("conformance")
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
CSV = [name for name in EXPECTED if name.endswith(".csv")]
JSON = [name for name in EXPECTED if name.endswith(".jsonl")]


def test_each_file_is_expected_to_hold_something() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {*EXPECTED, "expected.json"}


@pytest.mark.parametrize("name", CSV)
def test_csv_is_read_as_expected(stage_part: Stage, name: str) -> None:
    content, expected = gzip.compress((FOLDER / name).read_bytes()), EXPECTED[name]
    if refused := expected.get("refused"):
        with pytest.raises(UntrustedPart) as caught:
            stage_part(content)
        assert refused in str(caught.value)
        return
    staged = stage_part(content)
    rows = loaded_rows(staged)
    cells = ("line", "metadata_user_id", "segment_id")
    assert [list(row) for row in (rows.select(cells).rows() if rows.height else [])] == expected["rows"]
    assert [[line, reasons[0]] for _, line, reasons, _ in quarantined_rows(staged)] == expected.get("rejected", [])
    assert {d.kind.value for d in staged.drift if d.kind is not DriftKind.NEW_VALUE} == set(expected.get("drift", ()))


@pytest.mark.parametrize("name", [name for name in CSV if "refused" not in EXPECTED[name]])
def test_csv_holds_for_python_what_is_expected(name: str) -> None:
    """The csv module has no notion of a broken line: it is asked for the lines that are expected to be rows."""
    text = (FOLDER / name).read_bytes().decode("utf-8-sig", errors="surrogateescape")
    lines = text.split("\n")
    delimiter = max(",;\t", key=lines[0].count)
    rejected = [line for line, _ in EXPECTED[name].get("rejected", ())]
    kept = "\n".join(line for n, line in enumerate(lines, 1) if n not in rejected)
    header, *records = csv.reader(io.StringIO(kept, newline=""), delimiter=delimiter, strict=True)
    found = [dict(zip(header, record, strict=True)) for record in records if record]
    assert all(row["user_id"] == USER for row in found)
    assert [[row["metadata_user_id"] or None, row["segment_id"] or None] for row in found] == [
        cells for _, *cells in EXPECTED[name]["rows"]
    ]
    takes_more = EXPECTED[name].get("python_takes_more", False)
    assert takes_more or not any(is_one_record(lines[line - 1], delimiter, len(header)) for line in rejected)


def is_one_record(line: str, delimiter: str, fields: int) -> bool:
    """Whether a line is one record of so many fields to Python, and text."""
    try:
        line.encode()
        [record] = csv.reader(io.StringIO(line, newline=""), delimiter=delimiter, strict=True)
    except (ValueError, csv.Error):
        return False
    return len(record) == fields


@pytest.mark.parametrize("name", JSON)
def test_json_lines_are_read_as_expected_and_as_python_reads_them(name: str) -> None:
    content, expected = (FOLDER / name).read_bytes(), EXPECTED[name]
    with JsonCells() as cells:
        found, _ = parse_json(Block(content, 1), cells, name)
    rows = [
        [row.pop("line"), {n.removeprefix("wire:"): text for n, text in row.items() if text is not None}]
        for row in found.rows.to_dicts()
    ]
    assert rows == expected["rows"]
    assert [[line, reasons[0]] for line, reasons, _ in found.rejected.rows()] == expected.get("rejected", [])
    by_line = dict(rows)
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        value = strict(line)
        assert (number in by_line) == (value is not None), line
        if value is not None:
            assert all(agrees(by_line[number].get(name), inner) for name, inner in value.items())
