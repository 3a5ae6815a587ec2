"""Contract of `transports_realtime`: drives that were processed on one UTC day.

The set of columns differs by year (13, 18, 24 and 42 columns, none inside the other); all of them are here, and those
that come and go are not expected.
"""

from typing import Any

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract, CsvFormat, View
from offload_platform.contracts.readers import Computed, NumberCell, PointsCell, TextCell
from offload_platform.vendors.sentiance import driving_columns as driving
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import DRIVING
from offload_platform.vendors.sentiance.vocabulary import TRANSPORT_MODES

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
    session_id: types.Text = column(
        TextCell("session_id"),
        "Id of the recording session, a UUID; one session may hold several drives.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.IDENTIFIER,
        nullable=True,
    )
    start_at: types.Instant = driving.start_at()
    start_local: types.WallClock = driving.start_local()
    utc_offset_min: types.OffsetMinutes = driving.start_offset()
    end_at: types.Instant = driving.end_at()
    end_local: types.WallClock = driving.end_local()
    end_utc_offset_min: types.OffsetMinutes = driving.end_offset()
    mode: types.Text = column(
        TextCell("mode"),
        "Mode of transport as delivered.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        enumeration=TRANSPORT_MODES,
    )
    occupant_role: types.Text = column(
        TextCell("occupant_role"),
        "Whether the user drove; leave passengers out of driver rankings.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        enumeration=frozenset({"driver", "passenger", "unknown"}),
        expected=False,
        nullable=True,
    )
    distance_m: types.Number = column(
        NumberCell("distance"),
        "Distance driven.",
        unit="m",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
        ge=0,
    )
    duration_s: types.Seconds = driving.duration_s()
    waypoint_count: types.Count = column(
        Computed(lambda: pl.col("waypoints").list.len().cast(pl.Int32), wire="waypoints"),
        "Number of position fixes in waypoints.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )
    waypoints: types.PointList = column(
        PointsCell("waypoints"),
        "Position fixes in delivered order: latitude and longitude in degrees WGS84, fix_at as UTC instant, "
        "fix_local as delivered wall clock, utc_offset_min between them.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
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
    key=("app_id", "user_id", "start_at"),
    source="Offloads document, section Driving // Realtime offloads",
    wire=CsvFormat(ordered=False),
    stamp_columns=driving.DATA_DAY,
    remarks=driving.drive_remarks() | driving.score_remarks(_SCORES),
    views=(
        View(
            name="drive_waypoints",
            description="One row for each position fix of a drive, in delivered order.",
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
                "fix_local": "When the position was taken on the driver's wall clock, as delivered.",
                "utc_offset_min": "Wall clock minus UTC at the fix. Unit: min.",
            },
        ),
    ),
)
