"""Contract of `transports`: movements of a user from one place to another."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.contract import Contract
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import LIFESTYLE


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
    mode: types.Text = shared.mode(f"{shared.LIFESTYLE_MODEL}; API data reference")
    distance_m: types.Number = shared.distance_m(shared.LIFESTYLE_MODEL)
    waypoint_count: types.Count = shared.waypoint_count(shared.LIFESTYLE_MODEL)
    waypoints: types.PointList = shared.waypoints(shared.LIFESTYLE_MODEL)
    duration_s: types.Seconds = shared.duration_s("movement")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="transports",
    family=LIFESTYLE,
    rows=Transports,
    event_time="start_at",
    window=shared.WINDOW,
    key=("app_id", "user_id", "start_at"),
    source="Offloads document, section Transports",
    remarks=shared.timeline_remarks() | shared.waypoint_remarks(),
    views=(shared.waypoints_view("transport_waypoints", "transport"),),
)
