"""Tiles: a title, what is to be known of it, and one SQL statement with parameters.

A tile is `tiles/<page>/<tile>.sql`. Its first comment line is the title; the lines after an empty one say more. `$name`
stands for a parameter. What is shown as the SQL of a tile is what is run, with the values in their places.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path

from offload_platform.warehouse.sql import literal

_FOLDER = Path(__file__).parent / "tiles"
_PARAMETER = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True)
class Source:
    """Rows that stand in files beside the published one: a query, the names of the files, and their version."""

    sql: str
    files: tuple[str, ...]
    version: str


Value = str | int | float | date | datetime | Sequence[str] | Source


@dataclass(frozen=True)
class Tile:
    """A question, and its statement; `name` is `<page>/<tile>`."""

    name: str
    title: str
    said: str
    sql: str

    @property
    def parameters(self) -> set[str]:
        """Names of the parameters."""
        return set(_PARAMETER.findall(self.sql))

    def statement(self, values: Mapping[str, Value]) -> str:
        """The statement with these values. Raises KeyError where one is missing."""
        return _PARAMETER.sub(lambda found: _spelled(values[found[1]]), self.sql)


def tile_names() -> list[str]:
    """The names of all tiles."""
    return sorted(str(file.relative_to(_FOLDER).with_suffix("")) for file in _FOLDER.rglob("*.sql"))


@cache
def tile_named(name: str) -> Tile:
    """The tile of that name."""
    lines = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    title, _, *said = (line.removeprefix("--").strip() for line in lines[:length])
    return Tile(name, title, " ".join(said), "\n".join(lines[length:]))


def _spelled(value: Value) -> str:
    match value:
        case str():
            return literal(value)
        case int() | float():
            return str(value)
        case Source():
            return f"({value.sql})"
        case datetime():
            return f"TIMESTAMPTZ {literal(value.isoformat())}"
        case date():
            return f"DATE {literal(value.isoformat())}"
    return f"[{', '.join(literal(one) for one in value)}]::VARCHAR[]"
