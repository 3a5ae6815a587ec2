"""Contract of `segments`: long-term labels of a user."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract, Window
from offload_platform.contracts.readers import TextCell
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import LIFESTYLE, LIFESTYLE_TYPES
from offload_platform.vendors.sentiance.vocabulary import SEGMENTS


class Segments(pa.DataFrameModel):
    """A label that one user carries in this snapshot; some rows are repeated, and many labels have two names."""

    user_id: types.Text = shared.user_id()
    metadata_user_id: types.Text = shared.metadata_user_id()
    segment_id: types.Text = column(
        TextCell("segment_id"),
        "The label as delivered; two generations of names are delivered side by side.",
        source=f"{shared.LIFESTYLE_MODEL}; library page on segments",
        privacy=Privacy.BEHAVIOUR,
        enumeration=SEGMENTS,
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="sentiance",
    offload_type="segments",
    family=LIFESTYLE,
    rows=Segments,
    window=Window(witnesses=LIFESTYLE_TYPES),
    key=("app_id", "user_id", "segment_id"),
    source="Offloads document, section Segments",
)
