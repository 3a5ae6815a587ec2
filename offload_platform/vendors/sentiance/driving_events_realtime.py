"""Contract of `driving_events_realtime`: what happened on each drive, as nested JSON.

Units were measured on the sample of 2019: `max` and `mean` of a peak are m/s2, `features.magnitude` is a fifth of that,
and the integral is a change of speed in km/h. The magnitude of an event itself is always 0 and left out, as documented.
"""

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

EVENTS = ObjectsCell(
    "behavior_events",
    (
        Member("event_type", "type", Kind.TEXT),
        Member("start", "start", Kind.TIME),
        Member("end", "end", Kind.TIME),
        Member("duration_s", "duration", Kind.NUMBER),
        Member("duration_min", "duration_in_min", Kind.NUMBER),
        Member("mean_mps2", "mean", Kind.NUMBER),
        Member("magnitude_norm", "features.magnitude", Kind.NUMBER),
        Member("traffic_intensity", "intensity", Kind.TEXT),
        Member("traffic_probability", "probs", Kind.NUMBER),
        Member("peaks", "peaks", Kind.OBJECTS, driving.PEAK),
    ),
    keyed_as="category",
)

_DRIVE = "feed, app_id, known_from, object_key, line, user_id, drive_key, event_id, drive_start_at"


class DrivingEventsRealtime(pa.DataFrameModel):
    """A drive that was processed on the data day of the delivery, with the events on it."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    event_id: types.Text = driving.event_id()
    drive_key: types.Text = driving.drive_key()
    start_at: types.Instant = shared.start_at("drive", driving.DRIVING_MODEL)
    start_local: types.WallClock = shared.start_local("drive", driving.DRIVING_MODEL)
    utc_offset_min: types.OffsetMinutes = shared.start_offset(driving.DRIVING_MODEL)
    end_at: types.Instant = shared.end_at("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_local: types.WallClock = shared.end_local("drive", driving.DRIVING_MODEL, may_be_open=False)
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset(driving.DRIVING_MODEL, may_be_open=False)
    mode: types.Text = shared.mode(driving.DRIVING_MODEL)
    event_count: types.Count = column(
        Computed(lambda: pl.col("events").list.len().cast(pl.Int32), wire="behavior_events"),
        "Number of events on the drive, of all categories.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
    )
    events: EVENTS.dtype = column(  # type: ignore[name-defined]
        EVENTS,
        "The events, with their category; drive_events and drive_event_peaks show them as rows.",
        source=driving.DRIVING_MODEL,
        privacy=Privacy.BEHAVIOUR,
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="driving_events_realtime",
    family=DRIVING,
    rows=DrivingEventsRealtime,
    content=Content.INCREMENT,
    event_time="start_at",
    references=(Reference("transports_realtime", ("user_id", "start_at")),),
    key=("app_id", "drive_key"),
    source="Offloads document, section Driving // Realtime offloads",
    wire=CsvFormat(ordered=False),
    stamp_columns=driving.DATA_DAY,
    remarks={"end_at: before start_at": pl.col("end_at") >= pl.col("start_at")},
    views=(
        View(
            name="drive_events",
            description="One row for each event on a drive.",
            sql=f"""
                SELECT {_DRIVE}, seq, event.category, event.event_type, event.start_at, event.start_local,
                    event.start_utc_offset_min AS utc_offset_min, event.end_at,
                    coalesce(
                        event.duration_s, 60 * event.duration_min,
                        date_diff('millisecond', event.start_at, event.end_at) / 1000
                    ) AS duration_s,
                    event.mean_mps2, event.magnitude_norm, event.traffic_intensity, event.traffic_probability,
                    len(event.peaks) AS peak_count,
                    list_max(list_transform(event.peaks, lambda peak: peak.max_mps2)) AS peak_mps2
                FROM (
                    SELECT *, start_at AS drive_start_at, unnest(events) AS event,
                        generate_subscripts(events, 1) AS seq
                    FROM {{table}}
                )
            """,
            columns={
                "drive_start_at": "When the drive began (UTC instant).",
                "seq": "Position of the event in the drive, from 1.",
                "category": "Category of the event, as delivered; new ones flow through.",
                "event_type": "Type of the event; null for boundaries.",
                "start_at": "When the event began (UTC instant).",
                "start_local": "When the event began on the driver's wall clock, as delivered.",
                "utc_offset_min": "Wall clock minus UTC at the start of the event. Unit: min.",
                "end_at": "When the event ended (UTC instant).",
                "duration_s": "How long it lasted; taken from start and end where it is not delivered. Unit: s.",
                "mean_mps2": "Mean acceleration, for accelerations and turns. Unit: m/s2.",
                "magnitude_norm": "Strength of the event; 1 is 5 m/s2.",
                "traffic_intensity": "Traffic only: low, medium or high.",
                "traffic_probability": "Traffic only: probability of that intensity. Unit: share 0..1.",
                "peak_count": "Number of peaks, see drive_event_peaks.",
                "peak_mps2": "Greatest acceleration in the event; accelerations only. Unit: m/s2.",
            },
        ),
        View(
            name="drive_event_peaks",
            description="One row for each peak of an acceleration or a turn.",
            sql=f"""
                SELECT {_DRIVE}, event_seq, category, event_type, peak_seq, peak.start_at, peak.start_local,
                    peak.start_utc_offset_min AS utc_offset_min, peak.end_at, peak.duration_s, peak.mean_mps2,
                    peak.max_mps2, peak.delta_v_kmh, peak.angle_deg, peak.peak_magnitude, peak.is_positive
                FROM (
                    SELECT *, event.category AS category, event.event_type AS event_type,
                        unnest(event.peaks) AS peak, generate_subscripts(event.peaks, 1) AS peak_seq
                    FROM (
                        SELECT *, start_at AS drive_start_at, unnest(events) AS event,
                            generate_subscripts(events, 1) AS event_seq
                        FROM {{table}}
                    )
                )
            """,
            columns={
                "drive_start_at": "When the drive began (UTC instant).",
                "event_seq": "Position of the event in the drive, from 1; seq of drive_events.",
                "category": "Category of the event.",
                "event_type": "Type of the event.",
                "peak_seq": "Position of the peak in the event, from 1.",
                "start_at": "When the peak began (UTC instant).",
                "start_local": "When the peak began on the driver's wall clock, as delivered.",
                "utc_offset_min": "Wall clock minus UTC at the start of the peak. Unit: min.",
                "end_at": "When the peak ended (UTC instant).",
                "duration_s": "How long the peak lasted. Unit: s.",
                "mean_mps2": "Mean acceleration in the peak. Unit: m/s2.",
                "max_mps2": "Greatest acceleration in the peak; accelerations only. Unit: m/s2.",
                "delta_v_kmh": "Change of speed over the peak; accelerations only. Unit: km/h.",
                "angle_deg": "Angle turned, left positive; turns only. Unit: deg.",
                "peak_magnitude": "Magnitude of the peak as delivered; turns only, not documented.",
                "is_positive": "Direction of the peak, as delivered.",
            },
        ),
    ),
)
