"""Columns that every Sentiance offload type begins with, and sources that several contracts cite."""

from typing import Any

import polars as pl

from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.readers import (
    Computed,
    InstantCell,
    IntegerCell,
    OffsetCell,
    TextCell,
    UnknownColumns,
    WallClockCell,
    delivered,
)

LIFESTYLE_MODEL = "Sentiance data model 0.1.2, sheet lifestyle"
SAMPLE_2019 = "Sentiance sample of 2019-01-14"
OPEN_MARKS = ("-", "-1")


def user_id() -> Any:
    """Whose row it is."""
    return column(
        TextCell("user_id"),
        "Sentiance's id of the user, 24 hexadecimal digits.",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.IDENTIFIER,
        str_matches=r"^[0-9a-f]{24}$",
    )


def metadata_user_id() -> Any:
    """The client's own id."""
    return column(
        TextCell("metadata_user_id"),
        "The client's own id of the user, where the client's app has set one.",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )


def extra() -> Any:
    """Whatever the contract does not know."""
    return column(
        UnknownColumns(),
        "Delivered values that no other column holds, as a JSON object by delivered column name; null when none.",
        source="the part's own header",
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def start_at(what: str) -> Any:
    """When it began: the instant."""
    return column(
        InstantCell("start"), f"When the {what} began (UTC instant).", source=LIFESTYLE_MODEL, privacy=Privacy.BEHAVIOUR
    )


def start_local(what: str) -> Any:
    """When it began: the wall clock."""
    return column(
        WallClockCell("start"),
        f"When the {what} began on the user's wall clock, as delivered.",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
    )


def start_offset() -> Any:
    """When it began: the offset."""
    return column(
        OffsetCell("start"),
        "Wall clock minus UTC at the start.",
        unit="min",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
    )


def end_at(what: str) -> Any:
    """When it ended: the instant."""
    return column(
        InstantCell("end", open_marks=OPEN_MARKS),
        f"When the {what} ended (UTC instant); null while it goes on.",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def end_local(what: str) -> Any:
    """When it ended: the wall clock."""
    return column(
        WallClockCell("end"),
        f"When the {what} ended on the user's wall clock, as delivered.",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def end_offset() -> Any:
    """When it ended: the offset."""
    return column(
        OffsetCell("end"),
        "Wall clock minus UTC at the end; differs from the start's across a zone border or a clock change.",
        unit="min",
        source=LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def is_open(what: str) -> Any:
    """Whether it still went on."""
    return column(
        Computed(lambda: delivered("end").is_null() | delivered("end").is_in(OPEN_MARKS), wire="end"),
        f"True when the {what} had not ended when the snapshot was made (delivered as '-', '-1' or empty).",
        source=SAMPLE_2019,
        privacy=Privacy.BEHAVIOUR,
    )


def duration_s(what: str) -> Any:
    """How long it lasted, delivered or derived."""
    return column(
        IntegerCell("duration", absent=(-1,), otherwise=lambda: elapsed_s(pl.col("start_at"), pl.col("end_at"))),
        f"How long the {what} lasted; taken from start and end where it is not delivered; null while it goes on.",
        unit="s",
        source=f"{LIFESTYLE_MODEL}; absent in deliveries of 2017",
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
        ge=0,
    )


def elapsed_s(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Whole seconds between two instants."""
    return (end - start).dt.total_seconds().cast(pl.Int32, strict=False)


def timeline_remarks() -> dict[str, pl.Expr]:
    """Remarks on rows with a start, an end and a duration; such rows are kept (sample of 2022: end before start)."""
    closed = ~pl.col("is_open")
    elapsed = elapsed_s(pl.col("start_at"), pl.col("end_at"))
    return {
        "end_at: before start_at": ~closed | (elapsed >= 0),
        "duration_s: differs from end - start by more than 1 s": ~closed
        | ((pl.col("duration_s") - elapsed).abs() <= 1),
        "duration_s: given although the end is open": closed | pl.col("duration_s").is_null(),
    }
