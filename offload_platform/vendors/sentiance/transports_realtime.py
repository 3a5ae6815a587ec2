"""Contract of `transports_realtime`: drives that were processed on one UTC day.

The set of columns differs by year (13, 18, 24 and 42 columns, none inside the other); all of them are here, and those
that come and go are not expected.
"""

from typing import Any

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat
from offload_platform.contracts.readers import NumberCell, TextCell
from offload_platform.vendors.sentiance import driving_columns as driving
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import DRIVING

_WEATHER = {
    "precipitation_intensity": "mm/h",
    "precipitation_probability": "share 0..1",
    "temperature": "°C",
    "dew_point": "°C",
    "humidity": "share 0..1",
    "pressure": "hPa",
    "wind_speed": "m/s",
    "wind_gust": "m/s",
    "wind_bearing": "deg",
    "cloud_cover": "share 0..1",
    "uv_index": "index",
    "ozone": "DU",
}


def _weather(wire: str, unit: str, when: str, what: str) -> Any:
    return column(
        NumberCell(wire),
        f"Weather at the {when} of the drive: {what.replace('_', ' ')}. Not documented; the unit is inferred.",
        unit=unit,
        source="Sentiance driving sample of 2022-06-28",
        privacy=Privacy.LOCATION,
        expected=False,
        nullable=True,
    )


class _Drives(pa.DataFrameModel):
    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    event_id: types.Text = driving.event_id()
    drive_key: types.Text = driving.drive_key()
    session_id: types.Text = driving.session_id()
    start_at: types.Instant = shared.start_at("drive", driving.DRIVING_MODEL)
    start_local: types.WallClock = shared.start_local("drive", driving.DRIVING_MODEL)
    utc_offset_min: types.OffsetMinutes = shared.start_offset(driving.DRIVING_MODEL)
    end_at: types.Instant = shared.end_at("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_local: types.WallClock = shared.end_local("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset(driving.DRIVING_MODEL, may_be_open=False)
    mode: types.Text = shared.mode(driving.DRIVING_MODEL)
    occupant_role: types.Text = column(
        TextCell("occupant_role"),
        "Whether the user drove; leave passengers out of driver rankings.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        enumeration=frozenset({"driver", "passenger", "unknown"}),
        expected=False,
        nullable=True,
    )
    distance_m: types.Number = shared.distance_m(driving.DRIVING_MODEL)
    duration_s: types.Seconds = shared.duration_s("drive", driving.DRIVING_MODEL)
    waypoint_count: types.Count = shared.waypoint_count(driving.DRIVING_MODEL)
    waypoints: types.PointList = shared.waypoints(driving.DRIVING_MODEL)
    score_smooth: types.Number = driving.score("smooth", "Gentle acceleration and braking, coasting rewarded.")
    score_legal: types.Number = driving.score("legal", "Respect of speed limits.")
    score_anticipative: types.Number = driving.score("anticipative", "Few hard inputs around turns.")
    score_focus: types.Number = driving.score("focus", "Share of time without handling the phone.")
    score_mounted: types.Number = driving.score("mounted", "Share of time in which the phone sat in a mount.")
    score_hard_events: types.Number = driving.score("hard_events", "Penalty for each hard event.")
    score_hard_accel: types.Number = driving.score("hard_accel", "Penalty for each hard acceleration.")
    score_hard_brake: types.Number = driving.score("hard_brake", "Penalty for each hard braking.")
    score_legal_v2: types.Number = driving.score("legal_v2", "Respect of speed limits, with a better speed estimate.")
    score_smooth_v2: types.Number = driving.score(
        "aggr_v2", "Gentle acceleration, braking and turns, renormalised.", expected=False
    )
    score_anticipative_v2: types.Number = driving.score(
        "anti_v2", "Few hard inputs around turns, renormalised; braking in turns is detected better.", expected=False
    )
    score_hard_turn: types.Number = driving.score("hard_turn", "Penalty for each hard turn.", expected=False)
    score_attention: types.Number = driving.score(
        "attention", "Phone-call behaviour: handheld, hands-free and handling without a call.", expected=False
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


_WEATHER_COLUMNS = {
    f"weather_{when}_{what}": (f"{when}_{what}", unit, when, what)
    for when in ("start", "end")
    for what, unit in _WEATHER.items()
}

TransportsRealtime: type[pa.DataFrameModel] = type(
    "TransportsRealtime",
    (_Drives,),
    {
        "__doc__": "A drive that was processed on the data day of the delivery, with its scores and position fixes.",
        "__module__": __name__,
        "__annotations__": dict.fromkeys(_WEATHER_COLUMNS, types.Number),
        **{name: _weather(*facts) for name, facts in _WEATHER_COLUMNS.items()},
    },
)

_SCORES = tuple(name for name in _Drives.__annotations__ if name.startswith("score_"))

CONTRACT = Contract(
    vendor="sentiance",
    offload_type="transports_realtime",
    family=DRIVING,
    rows=TransportsRealtime,
    content=Content.INCREMENT,
    event_time="start_at",
    key=("app_id", "drive_key"),
    source="Offloads document, section Driving // Realtime offloads",
    wire=CsvFormat(ordered=False),
    stamp_columns=driving.DATA_DAY,
    remarks=driving.drive_remarks() | driving.score_remarks(_SCORES) | shared.waypoint_remarks(),
    views=(shared.waypoints_view("drive_waypoints", "drive"),),
)
