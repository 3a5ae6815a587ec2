"""Records of a part in JSON lines: one object a line, its members as text under their names.

Each line stands for itself, so a broken one costs only itself.
"""

import polars as pl

from offload_platform.contracts.readers import wire_name
from offload_platform.landing.records import LINE, REJECT_SCHEMA, Block, Records, printable
from offload_platform.quality.json_cells import JsonCells


def parse(block: Block, json_cells: JsonCells) -> tuple[Records, tuple[str, ...]]:
    """Split a block into records, and say which members its objects have."""
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
    found = json_cells.members(pl.Series(lines, dtype=pl.String)).with_columns(pl.Series(LINE, numbers, dtype=pl.Int64))
    for nth in (~found["is_object"]).arg_true():
        rejected.append((numbers[nth], ["not a JSON object"], lines[nth]))
    columns = tuple(name for name in found.columns if name not in ("is_object", LINE))
    rows = found.filter("is_object").select(LINE, *(pl.col(name).alias(wire_name(name)) for name in columns))
    rows = rows.with_columns(pl.when(pl.col(wire_name(name)) != "").then(pl.col(wire_name(name))) for name in columns)
    rejects = pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row").sort(LINE)
    return Records(rows, rejects, blank), columns
