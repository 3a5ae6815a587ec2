"""The head that all entities share, and the columns that only some of them have.

Columns have the names of the files in lower case. What a source states is so marked by its name; `INFERRED` columns are
read where they are delivered, and expected nowhere.
"""

from typing import Any

import polars as pl

from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.readers import (
    BooleanCell,
    InstantCell,
    IntegerCell,
    NumberCell,
    OffsetCell,
    TextCell,
    UnknownColumns,
)

ENTITIES = "Entities CSV format 5.0.0"
INFERRED = "inferred from sibling entities and the bot's result of a recognition; stated nowhere that can be read"
PERSONS = ("aura_id", "phone_id")
"""Columns, beside the user, that hold an id of a person."""


def user_id(*, nullable: bool = False) -> Any:
    """The user, as the operating business names people."""
    return column(
        TextCell("USER_ID"),
        "User in the systems of the operating business, or a generated one for anonymous users.",
        source=ENTITIES,
        privacy=Privacy.IDENTIFIER,
        nullable=nullable,
    )


def row_id(wire: str, what: str, *, source: str = ENTITIES) -> Any:
    """The key of an entity."""
    return column(
        TextCell(wire), f"Id of the {what}, a UUID.", source=source, privacy=Privacy.NONE, str_length={"min_value": 1}
    )


def moment(wire: str, description: str, *, source: str = ENTITIES) -> Any:
    """When a row was written."""
    return column(InstantCell(wire), f"{description} (UTC instant).", source=source, privacy=Privacy.BEHAVIOUR)


def offset(wire: str, *, source: str = ENTITIES) -> Any:
    """Which offset a time was written with."""
    return column(
        OffsetCell(wire),
        "Minutes east of UTC of the delivered time; anything but 0 breaks the rules of the logs.",
        unit="min",
        source=source,
        privacy=Privacy.NONE,
    )


def action(known: frozenset[str] | None, *, nullable: bool = False) -> Any:
    """What was done."""
    return column(
        TextCell("ACTION_CD"),
        "What was done; the bot receives what a user says and sends what it answers.",
        source=ENTITIES,
        privacy=Privacy.NONE,
        enumeration=known,
        nullable=nullable,
    )


def aura_id() -> Any:
    """The login."""
    return column(
        TextCell("AURA_ID"),
        "Id of the login, a UUID; each login has a new one. Null for users who have not logged in.",
        source=ENTITIES,
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )


def phone_id() -> Any:
    """The telephone."""
    return column(
        TextCell("PHONE_ID"),
        "Telephone number with international prefix.",
        source=ENTITIES,
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )


def country(*, nullable: bool = False) -> Any:
    """The country of the operating business."""
    return column(
        TextCell("COUNTRY_CD"),
        "Country, ISO 3166.",
        source=ENTITIES,
        privacy=Privacy.LOCATION,
        nullable=nullable,
        str_matches=r"^[A-Za-z]{2,3}$",
    )


def correlator(*, nullable: bool = False) -> Any:
    """The request that a row belongs to."""
    return column(
        TextCell("CORR_ID"),
        "Correlator of the request, a UUID: the rows of one request share it, whatever their entity.",
        source=ENTITIES,
        privacy=Privacy.BEHAVIOUR,
        nullable=nullable,
    )


def is_cached(*, nullable: bool = False) -> Any:
    """Whether an answer was at hand."""
    return column(
        BooleanCell("IS_CACHED"),
        "Whether the answer came from a cache.",
        source=ENTITIES,
        privacy=Privacy.NONE,
        nullable=nullable,
    )


def duration(*, nullable: bool) -> Any:
    """How long it took."""
    return column(
        IntegerCell("DURATION_NU"),
        "How long it took.",
        unit="ms",
        source=ENTITIES,
        privacy=Privacy.NONE,
        nullable=nullable,
        ge=0,
    )


def score(wire: str, description: str) -> Any:
    """How sure a recogniser is."""
    return column(NumberCell(wire), description, source=ENTITIES, privacy=Privacy.NONE)


def text(
    wire: str,
    description: str,
    *,
    privacy: Privacy = Privacy.NONE,
    enumeration: frozenset[str] | None = None,
    nullable: bool = True,
    expected: bool = True,
    source: str = ENTITIES,
    sensitive: bool = False,
) -> Any:
    """A text."""
    return column(
        TextCell(wire),
        description,
        source=source,
        privacy=privacy,
        enumeration=enumeration,
        nullable=nullable,
        expected=expected,
        sensitive=sensitive,
    )


def inferred(wire: str, description: str, *, privacy: Privacy = Privacy.BEHAVIOUR, sensitive: bool = False) -> Any:
    """A text that may be delivered."""
    return text(wire, description, privacy=privacy, expected=False, source=INFERRED, sensitive=sensitive)


def utterance() -> Any:
    """What was said."""
    return inferred("MESSAGE", "What was said, in the words of the user or the bot.", sensitive=True)


def extra() -> Any:
    """Whatever the contract does not know."""
    return column(
        UnknownColumns(),
        "Delivered values that no other column holds, as a JSON object by delivered column name; null when none. "
        "Nothing of it is carried on.",
        source="the part's own header",
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )


def utc_remark(at: str) -> dict[str, pl.Expr]:
    """Times that are not in UTC."""
    return {f"{at}: not in UTC": pl.col("utc_offset_min") == 0}


STATUS_REMARK = {
    "status_cd: no status of HTTP": pl.col("status_cd").is_null() | pl.col("status_cd").str.contains("^[1-5][0-9]{2}$")
}
UTTERANCES = {"UTTERANCE": "MESSAGE", "TEXT": "MESSAGE", "MESSAGE_TEXT": "MESSAGE"}
"""Other names that the text of a message may have."""
