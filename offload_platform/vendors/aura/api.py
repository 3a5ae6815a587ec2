"""Contract of `api`: calls of the assistant to interfaces.

The columns of this entity can be read nowhere. The contract has the head that all readable entities share, and names
its time and key as they name theirs; whatever else is delivered stays in `extra`.
"""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.contract import Content, Contract, CsvFormat
from offload_platform.vendors.aura import shared_columns as shared
from offload_platform.vendors.aura.layout import LOGS

_BY_ANALOGY = "by analogy with the entities that can be read"


class Calls(pa.DataFrameModel):
    """A call of the assistant to an interface; only the columns that all entities share are known."""

    user_id: types.Text = shared.user_id(nullable=True)
    api_dt: types.Instant = shared.moment("API_DT", "When the call was made", source=_BY_ANALOGY)
    utc_offset_min: types.OffsetMinutes = shared.offset("API_DT", source=_BY_ANALOGY)
    api_id: types.Text = shared.row_id("API_ID", "call", source=_BY_ANALOGY)
    action_cd: types.Text = shared.action(None, nullable=True)
    aura_id: types.Text = shared.aura_id()
    phone_id: types.Text = shared.phone_id()
    channel_cd: types.Text = shared.text("CHANNEL_CD", "Channel, as in the list of Aura's channels.")
    domain_cd: types.Text = shared.text("DOMAIN_CD", "Domain; for future use.")
    category_cd: types.Text = shared.text("CATEGORY_CD", "Category; for future use.")
    country_cd: types.Text = shared.country(nullable=True)
    corr_id: types.Text = shared.correlator(nullable=True)
    is_cached: types.Flag = shared.is_cached(nullable=True)
    status_cd: types.Text = shared.text("STATUS_CD", "HTTP status of the response.")
    reason: types.Text = shared.text("REASON", "Code of an error.")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="aura",
    offload_type="api",
    family=LOGS,
    rows=Calls,
    content=Content.INCREMENT,
    event_time="api_dt",
    key=("api_id",),
    persons=shared.PERSONS,
    source="the head that all entities of the Entities CSV format 5.0.0 share",
    wire=CsvFormat(
        ordered=False,
        compression=None,
        may_be_empty=True,
        aliases={"MSG_DT": "API_DT", "MSG_ID": "API_ID"},
    ),
    remarks=shared.utc_remark("api_dt") | shared.STATUS_REMARK,
)
