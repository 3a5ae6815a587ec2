"""How the delivered text of a cell becomes a value: declarations only, applied by `quality/conform.py`.

A reader names the delivered (wire) column that it reads. Where text is present and no value comes of it,
the row has a cast failure, unless the reader says that such text means "no value".
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from offload_platform.contracts.nested import ObjectsCell


def delivered(wire: str) -> pl.Expr:
    """The delivered text of a wire column, for expressions of `Computed` readers; an empty cell is null."""
    return pl.col(wire_name(wire))


def wire_name(wire: str) -> str:
    """The name under which a delivered column stands beside the typed columns in one frame."""
    return f"wire:{wire}"


@dataclass(frozen=True)
class TextCell:
    """Text as delivered; an empty cell is null.

    `lower` folds the case, `suffix` is cut off; `masked` is a pattern and `absent` holds texts that mean null.
    """

    wire: str
    lower: bool = False
    suffix: str | None = None
    masked: str | None = None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberCell:
    """A decimal number. Values in `absent` mean null and are compared as numbers, so -1, -1.0 and -1e0 are one.

    `misfit_to_extra` keeps text that is no number in the `extra` column and reports it, where the type of the
    column is only known from samples; otherwise the row goes to quarantine.
    """

    wire: str
    absent: tuple[float, ...] = ()
    misfit_to_extra: bool = False


@dataclass(frozen=True)
class DecimalCell:
    """A decimal number, exact to the digits of its column's type, such as an amount of money.

    Of a number with more digits, the rounded value (half to even) is kept, and its text in the `extra` column; that is
    reported.
    """

    wire: str


@dataclass(frozen=True)
class IntegerCell:
    """A whole number; values in `absent` mean null.

    `otherwise` computes the value from typed columns where none is given.
    """

    wire: str
    absent: tuple[int, ...] = ()
    otherwise: Callable[[], pl.Expr] | None = None


@dataclass(frozen=True)
class BooleanCell:
    """`true` or `false` in any case."""

    wire: str
    misfit_to_extra: bool = False


@dataclass(frozen=True)
class InstantCell:
    """An ISO 8601 time with an offset, as UTC instant. Text in `open_marks` means "not ended yet" and gives null."""

    wire: str
    open_marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpochCell:
    """Milliseconds since 1970 (UTC) as an instant; a spreadsheet may have written them with an exponent."""

    wire: str


@dataclass(frozen=True)
class SourceClockCell:
    """A time `YYYY-MM-DD hh:mm:ss` without an offset, on the clock of the feed's source, as UTC instant.

    In the hour that a clock change repeats, the earlier instant is meant. Text in `absent` means null.
    """

    wire: str
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class WallClockCell:
    """The wall clock of the same cell that an `InstantCell` reads."""

    wire: str


@dataclass(frozen=True)
class OffsetCell:
    """Minutes between wall clock and UTC of the same cell that an `InstantCell` reads."""

    wire: str


@dataclass(frozen=True)
class TextListCell:
    """A JSON list of texts in a cell. Text that does not begin like JSON is a list of one, unless `bare_word` is off.

    With `optional`, text that is no JSON list gives null and is no failure.
    """

    wire: str
    bare_word: bool = True
    optional: bool = False
    misfit_to_extra: bool = False


@dataclass(frozen=True)
class JsonObjectCell:
    """A JSON object, kept as JSON text."""

    wire: str


@dataclass(frozen=True)
class JsonMemberCell:
    """One text member of the JSON object that a `JsonObjectCell` reads."""

    wire: str
    member: str


@dataclass(frozen=True)
class PointsCell:
    """Position fixes in either wire shape: `{"waypoints": [{"latitude": …}]}` or `[[latitude, longitude, time]]`.

    A fix without latitude or longitude is a cast failure; an unreadable time leaves the fix without one.
    """

    wire: str


@dataclass(frozen=True)
class PseudonymCell:
    """An identifier of which only a keyed hash is kept: the same id gives the same hash wherever its `kind` is read.

    The case of the id plays no part. `absent` holds texts, in lower case, that stand for no id. What several people may
    share, as an address of the net, is not `of_person`.
    """

    wire: str
    kind: str
    absent: tuple[str, ...] = ()
    of_person: bool = True


@dataclass(frozen=True)
class NetworkCell:
    """An IP address of which only the network is kept: 24 bits of it, or 48 of IPv6. What is no address is null."""

    wire: str


@dataclass(frozen=True)
class FamilyCell:
    """A text of which only the family is kept: the first whose pattern is found in it, or else `other`."""

    wire: str
    families: tuple[tuple[str, str], ...]
    other: str = "other"


@dataclass(frozen=True)
class ScrubbedCell:
    """Free text without mail addresses and telephone numbers; a URL also without its query, fragment and user."""

    wire: str
    is_url: bool = False


@dataclass(frozen=True)
class Computed:
    """A value computed from typed columns (`pl.col`) and delivered text (`delivered`), after the cells are read.

    Computed columns are worked out in the order of the contract; `wire` names the delivered column it rests on.
    """

    expression: Callable[[], pl.Expr]
    wire: str | None = None


@dataclass(frozen=True)
class UnknownColumns:
    """The `extra` column: delivered columns that the contract does not know, as a JSON object of texts.

    Where they may hold personal data, they are `scrubbed` like free text.
    """

    scrubbed: bool = False


CellReader = (
    TextCell
    | NumberCell
    | DecimalCell
    | IntegerCell
    | BooleanCell
    | InstantCell
    | EpochCell
    | SourceClockCell
    | WallClockCell
    | OffsetCell
    | TextListCell
    | JsonObjectCell
    | JsonMemberCell
    | PointsCell
    | ObjectsCell
    | PseudonymCell
    | NetworkCell
    | FamilyCell
    | ScrubbedCell
)
Protecting = PseudonymCell | NetworkCell | FamilyCell | ScrubbedCell
"""Readers of personal data: what was delivered is kept nowhere, in no table, quarantine or log."""
JsonReader = TextListCell | JsonObjectCell | JsonMemberCell | PointsCell | ObjectsCell
Reader = CellReader | Computed | UnknownColumns
