"""Records of a part in JSON lines: one object a line, its members as text under their names.

Each line stands for itself, so a broken one costs only itself. What JSON is, RFC 8259 says: DuckDB also takes commas
before a closing bracket, and numbers that are none.
"""

import json
from typing import NoReturn

import polars as pl

from offload_platform.contracts.readers import wire_name
from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.records import LINE, REJECT_SCHEMA, Block, Records, printable
from offload_platform.quality.json_cells import JsonCells, TooManyMembers

_MAY_BE_LOOSE = (r",[ \t\r\n]*[}\]]", r"(?i)[:,\[][ \t\r\n]*-?(?:nan|inf)")


def parse(block: Block, json_cells: JsonCells, key: str) -> tuple[Records, tuple[str, ...]]:
    """Split a block into records, and say which members its objects have.

    Raises:
        UntrustedPart: the objects have too many different members; the message names the object key.
    """
    lines: list[str] = []
    numbers: list[int] = []
    rejected: list[tuple[int, list[str], str]] = []
    blank = 0
    content = block.content.removesuffix(b"\n")
    for number, raw in enumerate(content.split(b"\n"), block.first_line):
        line = raw.removesuffix(b"\r")
        if not line:
            blank += 1
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            rejected.append((number, ["not UTF-8"], printable(raw)))
            continue
        if "\x00" in text:
            rejected.append((number, ["NUL byte"], printable(raw)))
        else:
            lines.append(text)
            numbers.append(number)
    try:
        found = json_cells.members(_without_loose(pl.Series(lines, dtype=pl.String)))
    except TooManyMembers as error:
        raise UntrustedPart(
            f"{key}: from line {block.first_line}: {error}. Ask the vendor what the part is."
        ) from error
    found = found.with_columns(pl.Series(LINE, numbers, dtype=pl.Int64))
    for nth in (~found["is_object"]).arg_true():
        rejected.append((numbers[nth], ["not a JSON object"], lines[nth]))
    for nth in (found["is_object"] & ~found["is_clear"]).arg_true():
        rejected.append((numbers[nth], ["a member stands twice"], lines[nth]))
    members = [name for name in found.columns if name not in ("is_object", "is_clear", LINE)]
    rows = found.filter("is_object", "is_clear").select(
        LINE, *(pl.when(pl.col(name) != "").then(pl.col(name)) for name in members)
    )
    rejects = pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row").sort(LINE)
    return Records(rows, rejects, blank), tuple(name.removeprefix(wire_name("")) for name in members)


def _without_loose(lines: pl.Series) -> pl.Series:
    """The lines, null where DuckDB would take for JSON what is none."""
    doubtful = {nth for pattern in _MAY_BE_LOOSE for nth in lines.str.contains(pattern).arg_true()}
    loose = [nth for nth in sorted(doubtful) if not _is_strict(lines[nth])]
    return lines.scatter(loose, None) if loose else lines


def _is_strict(line: str) -> bool:
    try:
        json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
