"""Contract of `message`: what users and the assistant say to each other."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy
from offload_platform.contracts.contract import Content, Contract, CsvFormat
from offload_platform.vendors.aura import shared_columns as shared
from offload_platform.vendors.aura.layout import LOGS
from offload_platform.vendors.aura.vocabulary import MESSAGE_ACTIONS, SUBSCRIPTIONS


class Messages(pa.DataFrameModel):
    """A message that the assistant received or sent, or an event of a conversation."""

    user_id: types.Text = shared.user_id()
    msg_dt: types.Instant = shared.moment("MSG_DT", "When the message was written")
    utc_offset_min: types.OffsetMinutes = shared.offset("MSG_DT")
    msg_id: types.Text = shared.row_id("MSG_ID", "message")
    action_cd: types.Text = shared.action(MESSAGE_ACTIONS)
    aura_id: types.Text = shared.aura_id()
    phone_id: types.Text = shared.phone_id()
    channel_cd: types.Text = shared.text("CHANNEL_CD", "Channel, as in the list of Aura's channels.")
    subscription_cd: types.Text = shared.text("SUBSCRIPTION_CD", "Kind of subscription.", enumeration=SUBSCRIPTIONS)
    domain_cd: types.Text = shared.text("DOMAIN_CD", "Domain; for future use.")
    category_cd: types.Text = shared.text("CATEGORY_CD", "Category; for future use.")
    country_cd: types.Text = shared.country()
    corr_id: types.Text = shared.correlator()
    is_cached: types.Flag = shared.is_cached()
    status_cd: types.Text = shared.text("STATUS_CD", "HTTP status of the response.")
    reason: types.Text = shared.text("REASON", "Code of an error.")
    version_id: types.Text = shared.text("VERSION_ID", "Version of Aura, as 8.2.0.", nullable=False)
    lang_cd: types.Text = shared.text("LANG_CD", "Language and country, ISO 639 and ISO 3166 in lower case.")
    tz_cd: types.Text = shared.text(
        "TZ_CD", "Time zone of the user: an offset from UTC, or a name.", privacy=Privacy.LOCATION, nullable=False
    )
    duration_nu: types.Count = shared.duration(nullable=True)
    utterance: types.Text = shared.utterance()
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="aura",
    offload_type="message",
    family=LOGS,
    rows=Messages,
    content=Content.INCREMENT,
    event_time="msg_dt",
    key=("msg_id",),
    persons=shared.PERSONS,
    source=shared.ENTITIES,
    wire=CsvFormat(ordered=False, compression=None, may_be_empty=True, aliases=shared.UTTERANCES),
    remarks=shared.utc_remark("msg_dt") | shared.STATUS_REMARK,
)
