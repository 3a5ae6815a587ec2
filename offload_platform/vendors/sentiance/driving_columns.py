"""Columns that the driving types share. Driving files hold what was processed on one UTC day, whenever driven."""

from typing import Any

import polars as pl

from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import StampColumn
from offload_platform.contracts.nested import Kind, Member
from offload_platform.contracts.readers import Computed, NumberCell, TextCell
from offload_platform.vendors.sentiance.shared_columns import elapsed_s

DRIVING_MODEL = "Sentiance driving data model, July 2022"

DATA_DAY = (
    StampColumn("data_day", "DATE", "delivery_stamp::DATE", "UTC day that the delivery holds the processing of."),
    StampColumn("published_on", "DATE", "delivery_stamp::DATE + 1", "UTC day on which the vendor publishes that day."),
)


def session_id() -> Any:
    """The recording session."""
    return column(
        TextCell("session_id"),
        "Id of the recording session, a UUID; one session may hold several drives.",
        source=DRIVING_MODEL,
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )


def event_id() -> Any:
    """The vendor's id of the drive."""
    return column(
        TextCell("event_id"),
        "Id of the drive, 64 hexadecimal digits; absent in deliveries before 2022.",
        source=DRIVING_MODEL,
        privacy=Privacy.IDENTIFIER,
        expected=False,
        nullable=True,
    )


def drive_key() -> Any:
    """What tells drives apart over deliveries: the vendor's id, or user and start where none is delivered."""
    return column(
        Computed(
            lambda: pl.coalesce(
                "event_id", pl.format("{}@{}", "user_id", pl.col("start_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
            )
        ),
        "What tells drives apart: event_id, or user and start (UTC) where none is delivered. Joins drives and events.",
        source="Sentiance driving samples of 2019 and 2022",
        privacy=Privacy.IDENTIFIER,
    )


def score(wire: str, meaning: str, *, expected: bool = True) -> Any:
    """A score between 0 and 1, higher is better; -1 means that there was not enough data."""
    return column(
        NumberCell(wire, absent=(-1.0,)),
        f"{meaning} Higher is better; null where there was not enough data (delivered as -1).",
        unit="score 0..1",
        source=DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        expected=expected,
        nullable=True,
    )


def score_remarks(columns: tuple[str, ...]) -> dict[str, pl.Expr]:
    """Remarks on scores outside 0..1; they are kept (samples of 2017 and 2019 hold some)."""
    return {f"{name}: outside 0..1": pl.col(name).is_between(0, 1).fill_null(True) for name in columns}


def drive_remarks() -> dict[str, pl.Expr]:
    """Remarks on times of a drive; such rows are kept (sample of 2022: end before start)."""
    elapsed = elapsed_s(pl.col("start_at"), pl.col("end_at"))
    return {
        "end_at: before start_at": elapsed >= 0,
        "duration_s: differs from end - start by more than 1 s": (
            (pl.col("duration_s") - elapsed).abs() <= 1
        ).fill_null(True),
    }


PEAK = (
    Member("start", "start", Kind.TIME),
    Member("end", "end", Kind.TIME),
    Member("duration_s", "duration", Kind.NUMBER),
    Member("mean_mps2", "mean", Kind.NUMBER),
    Member("max_mps2", "max", Kind.NUMBER),
    Member("delta_v_kmh", "integral", Kind.NUMBER),
    Member("angle_deg", "angle", Kind.NUMBER),
    Member("peak_magnitude", "magnitude", Kind.NUMBER),
    Member("is_positive", "is_positive", Kind.FLAG),
)
