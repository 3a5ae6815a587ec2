"""Contract of `stationaries`: stays of a user at a place."""

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import Computed, NumberCell, TextCell, TextListCell, delivered
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import LIFESTYLE
from offload_platform.vendors.sentiance.vocabulary import CITY_TYPES, SIGNIFICANCES

MASKED = r"(?i)^h+idden$"


class Stationaries(pa.DataFrameModel):
    """A stay of one user at one place; a stay that had not ended when the snapshot was made is open."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    start_at: types.Instant = shared.start_at("stay")
    start_local: types.WallClock = shared.start_local("stay")
    utc_offset_min: types.OffsetMinutes = shared.start_offset()
    end_at: types.Instant = shared.end_at("stay")
    end_local: types.WallClock = shared.end_local("stay")
    end_utc_offset_min: types.OffsetMinutes = shared.end_offset()
    is_open: types.Flag = shared.is_open("stay")
    significance: types.Text = column(
        TextCell("location.significance"),
        "What the place is to the user: home, work, a place visited regularly or not, or a point of interest.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        enumeration=SIGNIFICANCES,
    )
    latitude: types.Number = column(
        NumberCell("latitude"),
        "Latitude of the place, WGS84.",
        unit="deg",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        ge=-90,
        le=90,
    )
    longitude: types.Number = column(
        NumberCell("longitude"),
        "Longitude of the place, WGS84.",
        unit="deg",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        ge=-180,
        le=180,
    )
    country: types.Text = column(
        TextCell("address.country"),
        "Country as delivered: local-language names, in several spellings.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    city: types.Text = column(
        TextCell("address.city"),
        "City as delivered; abbreviations occur.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    city_type: types.Text = column(
        TextCell("address.city_type", lower=True),
        "Kind of settlement, in lower case.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
        enumeration=CITY_TYPES,
    )
    street_name: types.Text = column(
        TextCell("address.streetname", masked=MASKED),
        "Street; null where the vendor masked it (delivered as 'Hidden').",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        nullable=True,
    )
    is_street_masked: types.Flag = column(
        Computed(
            lambda: delivered("address.streetname").str.contains(MASKED).fill_null(False), wire="address.streetname"
        ),
        "True where the vendor delivered a mask instead of the street.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.NONE,
    )
    place_name: types.Text = column(
        TextCell("location.place.name"),
        "Name of the venue, where one was recognised.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        sensitive=True,
        nullable=True,
    )
    place_types: types.TextList = column(
        TextListCell("location.place.type"),
        "Kind of venue as a path from general to specific.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        sensitive=True,
        nullable=True,
    )
    place_category: types.Text = column(
        Computed(lambda: pl.col("place_types").list.first(), wire="location.place.type"),
        "The general kind of venue: the first of place_types.",
        source=shared.LIFESTYLE_MODEL,
        privacy=Privacy.LOCATION,
        sensitive=True,
        nullable=True,
    )
    duration_s: types.Seconds = shared.duration_s("stay")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="stationaries",
    family=LIFESTYLE,
    rows=Stationaries,
    event_time="start_at",
    window=shared.WINDOW,
    key=("app_id", "user_id", "start_at"),
    source="Offloads document, section Stationaries",
    remarks=shared.timeline_remarks(),
)
