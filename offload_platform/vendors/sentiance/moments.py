"""Contract of `moments`: periods in which a user was in a certain context."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import JsonMemberCell, JsonObjectCell, TextCell
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import LIFESTYLE
from offload_platform.vendors.sentiance.vocabulary import MOMENT_DEFINITIONS


class Moments(pa.DataFrameModel):
    """A period in which one user was in one context; moments overlap, so never add durations across definitions."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    start_at: types.Instant = shared.start_at("moment")
    start_local: types.WallClock = shared.start_local("moment")
    utc_offset_min: types.OffsetMinutes = shared.start_offset()
    end_at: types.Instant = shared.end_at("moment")
    end_local: types.WallClock = shared.end_local("moment")
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset()
    is_open: types.Flag = shared.is_open("moment")
    moment_id: types.Text = column(
        TextCell("moment_definition_id"),
        "Which context, as delivered.",
        source=f"{shared.LIFESTYLE_MODEL}; library page on moments",
        privacy=Privacy.BEHAVIOUR,
        enumeration=MOMENT_DEFINITIONS,
    )
    meta_name: types.Text = column(
        JsonMemberCell("meta", "name"),
        "Name of the city or country that the moment is about.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    meta: types.Json = column(
        JsonObjectCell("meta"),
        "All that was delivered about the moment, as a JSON object.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    duration_s: types.Seconds = shared.duration_s("moment")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="moments",
    family=LIFESTYLE,
    rows=Moments,
    event_time="start_at",
    window=shared.WINDOW,
    key=("app_id", "user_id", "moment_id", "start_at", "meta_name"),
    source="Offloads document, section Moments",
    remarks=shared.timeline_remarks(),
)
