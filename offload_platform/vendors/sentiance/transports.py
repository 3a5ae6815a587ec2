"""Contract of `transports`: movements of a user from one place to another."""

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract, View
from offload_platform.contracts.readers import Computed, NumberCell, PointsCell, TextCell
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import LIFESTYLE
from offload_platform.vendors.sentiance.vocabulary import TRANSPORT_MODES


class Transports(pa.DataFrameModel):
    """A movement of one user from one place to another, in one mode; several may follow without a stay between."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    start_at: types.Instant = shared.start_at("movement")
    start_local: types.WallClock = shared.start_local("movement")
    utc_offset_min: types.OffsetMinutes = shared.start_offset()
    end_at: types.Instant = shared.end_at("movement")
    end_local: types.WallClock = shared.end_local("movement")
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset()
    is_open: types.Flag = shared.is_open("movement")
    mode: types.Text = column(
        TextCell("mode"),
        "Mode of transport as delivered; it may be corrected in a later snapshot.",
        source=f"{shared.LIFESTYLE_MODEL}; API data reference",
        privacy=Privacy.BEHAVIOUR,
        enumeration=TRANSPORT_MODES,
    )
    distance_m: types.Number = column(
        NumberCell("distance"),
        "Distance travelled; 0 is legal.",
        unit="m",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
        ge=0,
    )
    waypoint_count: types.Count = column(
        Computed(lambda: pl.col("waypoints").list.len().cast(pl.Int32), wire="waypoints"),
        "Number of position fixes in waypoints.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    waypoints: types.PointList = column(
        PointsCell("waypoints"),
        "Position fixes in delivered order: latitude and longitude in degrees WGS84, fix_at as UTC instant, "
        "fix_local as delivered wall clock, utc_offset_min between them.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    duration_s: types.Seconds = shared.duration_s("movement")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="transports",
    family=LIFESTYLE,
    rows=Transports,
    key=("app_id", "user_id", "start_at"),
    source="Offloads document, section Transports",
    remarks=shared.timeline_remarks()
    | {
        "waypoints: a fix without a readable time": ~pl.col("waypoints")
        .list.eval(pl.element().struct.field("fix_at").is_null())
        .list.any()
        .fill_null(False),
    },
    views=(
        View(
            name="transport_waypoints",
            description="One row for each position fix of a transport, in delivered order.",
            sql="""
                SELECT feed, app_id, delivery_stamp, object_key, line, user_id, start_at, mode, seq, point.*
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
        ),
    ),
)
