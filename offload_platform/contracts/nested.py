"""Lists of JSON objects inside a cell or a line: which members they have, and what becomes of each.

Declarations only; `quality/nested_objects.py` turns them into a decoder. A time gives three fields: `<name>_at` (UTC
instant), `<name>_local` (wall clock as delivered) and `<name>_utc_offset_min`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Kind(StrEnum):
    """What a member holds."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"
    OBJECTS = "objects"


@dataclass(frozen=True)
class Member:
    """One member of an object: `name` in the warehouse, `path` in the JSON (steps divided by dots).

    `members` are those of the objects in the list that an `OBJECTS` member holds.
    """

    name: str
    path: str
    kind: Kind
    members: tuple["Member", ...] = ()


@dataclass(frozen=True)
class ObjectsCell:
    """A JSON list of objects; text that is none is a cast failure.

    With `keyed_as`, the cell holds an object of such lists instead (one list for each category), and the key of the
    list that an object came from becomes the field of that name. Keys that nobody knows yet are read like the others.
    """

    wire: str
    members: tuple[Member, ...]
    keyed_as: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The polars type of the decoded list."""
        key = {self.keyed_as: pl.String} if self.keyed_as else {}
        return pl.List(pl.Struct(key | dict(_fields(self.members))))


def _fields(members: tuple[Member, ...]) -> Iterator[tuple[str, pl.DataType | type[pl.DataType]]]:
    for member in members:
        match member.kind:
            case Kind.TEXT:
                yield member.name, pl.String
            case Kind.NUMBER:
                yield member.name, pl.Float64
            case Kind.FLAG:
                yield member.name, pl.Boolean
            case Kind.TIME:
                yield f"{member.name}_at", pl.Datetime("us", "UTC")
                yield f"{member.name}_local", pl.Datetime("us")
                yield f"{member.name}_utc_offset_min", pl.Int16
            case Kind.OBJECTS:
                yield member.name, pl.List(pl.Struct(dict(_fields(member.members))))
