"""What several Sentiance contracts share: columns, sources that they cite, and the window of a snapshot's events."""

from datetime import timedelta
from typing import Any

import polars as pl

from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import View, Window
from offload_platform.contracts.readers import (
    Computed,
    InstantCell,
    IntegerCell,
    NumberCell,
    OffsetCell,
    PointsCell,
    TextCell,
    UnknownColumns,
    WallClockCell,
    delivered,
)
from offload_platform.vendors.sentiance.vocabulary import TRANSPORT_MODES

LIFESTYLE_MODEL = "Sentiance data model 0.1.2, sheet lifestyle"
SAMPLE_2019 = "Sentiance sample of 2019-01-14"
OPEN_MARKS = ("-", "-1")
# Nine weeks, of users who were active in the last week (offloads document). Whether the vendor cuts on start, end or
# local day is not known, hence the guard. Only a stay or a trip shows that a user was active.
WINDOW = Window(witnesses=("stationaries", "transports"), reach=timedelta(days=63), guard=timedelta(days=1))
ATTRIBUTES_WINDOW = Window(witnesses=("attributes.wide", "attributes.long"))


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


def start_at(what: str, source: str = LIFESTYLE_MODEL) -> Any:
    """When it began: the instant."""
    return column(
        InstantCell("start"), f"When the {what} began (UTC instant).", source=source, privacy=Privacy.BEHAVIOUR
    )


def start_local(what: str, source: str = LIFESTYLE_MODEL) -> Any:
    """When it began: the wall clock."""
    return column(
        WallClockCell("start"),
        f"When the {what} began on the user's wall clock, as delivered.",
        source=source,
        privacy=Privacy.BEHAVIOUR,
    )


def start_offset(source: str = LIFESTYLE_MODEL) -> Any:
    """When it began: the offset."""
    return column(
        OffsetCell("start"),
        "Wall clock minus UTC at the start.",
        unit="min",
        source=source,
        privacy=Privacy.BEHAVIOUR,
    )


def end_at(what: str, source: str = LIFESTYLE_MODEL, *, may_be_open: bool = True) -> Any:
    """When it ended: the instant."""
    return column(
        InstantCell("end", open_marks=OPEN_MARKS if may_be_open else ()),
        f"When the {what} ended (UTC instant){'; null while it goes on' if may_be_open else ''}.",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        nullable=may_be_open,
    )


def end_local(what: str, source: str = LIFESTYLE_MODEL, *, may_be_open: bool = True) -> Any:
    """When it ended: the wall clock."""
    return column(
        WallClockCell("end"),
        f"When the {what} ended on the user's wall clock, as delivered.",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        nullable=may_be_open,
    )


def end_offset(source: str = LIFESTYLE_MODEL, *, may_be_open: bool = True) -> Any:
    """When it ended: the offset."""
    return column(
        OffsetCell("end"),
        "Wall clock minus UTC at the end; differs from the start's across a zone border or a clock change.",
        unit="min",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        nullable=may_be_open,
    )


def is_open(what: str) -> Any:
    """Whether it still went on."""
    return column(
        Computed(lambda: delivered("end").is_null() | delivered("end").is_in(OPEN_MARKS), wire="end"),
        f"True when the {what} had not ended when the snapshot was made (delivered as '-', '-1' or empty).",
        source=SAMPLE_2019,
        privacy=Privacy.BEHAVIOUR,
    )


def duration_s(what: str, source: str = f"{LIFESTYLE_MODEL}; absent in deliveries of 2017") -> Any:
    """How long it lasted, delivered or derived."""
    return column(
        IntegerCell("duration", absent=(-1,), otherwise=lambda: elapsed_s(pl.col("start_at"), pl.col("end_at"))),
        f"How long the {what} lasted; taken from start and end where it is not delivered; null while it goes on.",
        unit="s",
        source=source,
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


def mode(source: str) -> Any:
    """How one moved."""
    return column(
        TextCell("mode"),
        "Mode of transport as delivered; it may be corrected in a later delivery.",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        enumeration=TRANSPORT_MODES,
    )


def distance_m(source: str) -> Any:
    """How far one moved."""
    return column(
        NumberCell("distance"),
        "Distance travelled; 0 is legal.",
        unit="m",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
        ge=0,
    )


def waypoint_count(source: str) -> Any:
    """How many position fixes there are."""
    return column(
        Computed(lambda: pl.col("waypoints").list.len().cast(pl.Int32), wire="waypoints"),
        "Number of position fixes in waypoints.",
        source=source,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def waypoints(source: str) -> Any:
    """Where one was on the way."""
    return column(
        PointsCell("waypoints"),
        "Position fixes in delivered order: latitude and longitude in degrees WGS84, fix_at as UTC instant, "
        "fix_local as delivered wall clock, utc_offset_min between them.",
        source=source,
        privacy=Privacy.LOCATION,
        nullable=True,
    )


def waypoint_remarks() -> dict[str, pl.Expr]:
    """Remarks on position fixes; their rows are kept (sample of 2017: impossible clock values)."""
    fix = pl.element().struct

    def none(of_a_fix: pl.Expr) -> pl.Expr:
        return ~pl.col("waypoints").list.eval(of_a_fix).list.any().fill_null(False)

    outside = (fix.field("latitude").abs() > 90) | (fix.field("longitude").abs() > 180)
    return {
        "waypoints: a fix without a readable time": none(fix.field("fix_at").is_null()),
        "waypoints: a fix outside the globe": none(outside),
    }


def waypoints_view(name: str, of: str) -> View:
    """A view with one row for each position fix."""
    return View(
        name=name,
        description=f"One row for each position fix of a {of}, in delivered order.",
        sql="""
            SELECT feed, app_id, known_from, object_key, line, user_id, start_at, mode, seq, point.*
            FROM (
                SELECT *, unnest(waypoints) AS point, generate_subscripts(waypoints, 1) AS seq FROM {table}
            )
        """,
        columns={
            "seq": "Position of the fix in the list, from 1.",
            "latitude": "Latitude of the fix, WGS84. Unit: deg. Privacy: location.",
            "longitude": "Longitude of the fix, WGS84. Unit: deg. Privacy: location.",
            "fix_at": "When the position was taken (UTC instant); null where the delivered time is impossible.",
            "fix_local": "When the position was taken on the user's wall clock, as delivered.",
            "utc_offset_min": "Wall clock minus UTC at the fix. Unit: min.",
        },
    )
