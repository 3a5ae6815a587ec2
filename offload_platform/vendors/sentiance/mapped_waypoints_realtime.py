"""Contract of `mapped_waypoints_realtime`: drives matched to the road, with speed and speed limit."""

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat, Reference, View
from offload_platform.contracts.nested import Kind, Member, ObjectsCell
from offload_platform.contracts.readers import Computed
from offload_platform.vendors.sentiance import driving_columns as driving
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import DRIVING

FIXES = ObjectsCell(
    "mapped_waypoints",
    (
        Member("latitude", "latitude", Kind.NUMBER),
        Member("longitude", "longitude", Kind.NUMBER),
        Member("speed_kmh", "speed_v2", Kind.NUMBER),
        Member("speed_limit_kmh", "speedlimit", Kind.NUMBER),
        Member("fix", "waypoint_timestamp", Kind.TIME),
    ),
)


class MappedWaypointsRealtime(pa.DataFrameModel):
    """A drive with its position fixes matched to the road; it joins to drives on session_id and start."""

    user_id: types.Text = shared.user_id()
    session_id: types.Text = driving.session_id()
    start_at: types.Instant = shared.start_at("drive", driving.DRIVING_MODEL)
    start_local: types.WallClock = shared.start_local("drive", driving.DRIVING_MODEL)
    utc_offset_min: types.OffsetMinutes = shared.start_offset(driving.DRIVING_MODEL)
    end_at: types.Instant = shared.end_at("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_local: types.WallClock = shared.end_local("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset(driving.DRIVING_MODEL, may_be_open=False)
    fix_count: types.Count = column(
        Computed(lambda: pl.col("fixes").list.len().cast(pl.Int32), wire="mapped_waypoints"),
        "Number of position fixes.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
    )
    fixes: FIXES.dtype = column(  # type: ignore[name-defined]
        FIXES,
        "The position fixes in delivered order; mapped_waypoints shows them as rows.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.LOCATION,
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="mapped_waypoints_realtime",
    family=DRIVING,
    rows=MappedWaypointsRealtime,
    content=Content.INCREMENT,
    event_time="start_at",
    references=(Reference("transports_realtime", ("user_id", "start_at")),),
    key=("app_id", "user_id", "session_id", "start_at"),
    source="Offloads document, section Driving // Realtime offloads",
    wire=CsvFormat(ordered=False),
    stamp_columns=driving.DATA_DAY,
    remarks={"end_at: before start_at": pl.col("end_at") >= pl.col("start_at")},
    views=(
        View(
            name="mapped_waypoints",
            description="One row for each position fix that was matched to the road, in delivered order.",
            sql="""
                SELECT feed, app_id, known_from, object_key, line, user_id, session_id, start_at, seq,
                    fix.latitude, fix.longitude, fix.speed_kmh, fix.speed_limit_kmh, fix.fix_at, fix.fix_local,
                    fix.fix_utc_offset_min AS utc_offset_min
                FROM (SELECT * EXCLUDE (utc_offset_min), unnest(fixes) AS fix, generate_subscripts(fixes, 1) AS seq
                      FROM {table})
            """,
            columns={
                "seq": "Position of the fix in the list, from 1; times repeat and run backwards at places.",
                "latitude": "Latitude matched to the road, WGS84. Unit: deg. Privacy: location.",
                "longitude": "Longitude matched to the road, WGS84. Unit: deg. Privacy: location.",
                "speed_kmh": "Speed. Unit: km/h.",
                "speed_limit_kmh": "Speed limit of the road. Unit: km/h.",
                "fix_at": "When the position was taken (UTC instant).",
                "fix_local": "When the position was taken on the driver's wall clock, as delivered.",
                "utc_offset_min": "Wall clock minus UTC at the fix. Unit: min.",
            },
        ),
    ),
)
