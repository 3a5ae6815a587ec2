"""Contract of `recognizer`: what the assistant took a message to mean."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy
from offload_platform.contracts.contract import Content, Contract, CsvFormat, Reference
from offload_platform.vendors.aura import shared_columns as shared
from offload_platform.vendors.aura.layout import LOGS
from offload_platform.vendors.aura.vocabulary import RECOGNIZER_ACTIONS


class Recognitions(pa.DataFrameModel):
    """What one recogniser made of one message; each recogniser that is called has a row."""

    user_id: types.Text = shared.user_id()
    recognizer_dt: types.Instant = shared.moment("RECOGNIZER_DT", "When the recogniser answered")
    utc_offset_min: types.OffsetMinutes = shared.offset("RECOGNIZER_DT")
    recognizer_id: types.Text = shared.row_id("RECOGNIZER_ID", "recognition")
    action_cd: types.Text = shared.action(RECOGNIZER_ACTIONS)
    aura_id: types.Text = shared.aura_id()
    phone_id: types.Text = shared.phone_id()
    channel_cd: types.Text = shared.text("CHANNEL_CD", "Channel, as in the list of Aura's channels.")
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
        "TZ_CD", "Time zone of the user: an offset from UTC, or a name.", privacy=Privacy.LOCATION
    )
    duration_nu: types.Count = shared.duration(nullable=False)
    score_nu: types.Number = shared.score("SCORE_NU", "Score that the recogniser returned; more is surer.")
    recognizer: types.Text = shared.inferred("RECOGNIZER", "Name of the recogniser.", privacy=Privacy.NONE)
    intent: types.Text = shared.inferred("INTENT", "What the user wants, by its name.")
    entities: types.Text = shared.inferred("ENTITIES", "Values that were found in the message.", sensitive=True)
    utterance: types.Text = shared.utterance()
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="aura",
    offload_type="recognizer",
    family=LOGS,
    rows=Recognitions,
    content=Content.INCREMENT,
    event_time="recognizer_dt",
    references=(Reference("message", ("corr_id",), days=1),),
    key=("recognizer_id",),
    persons=shared.PERSONS,
    source=shared.ENTITIES,
    wire=CsvFormat(
        ordered=False,
        compression=None,
        may_be_empty=True,
        aliases=shared.UTTERANCES | {"RECOGNIZER_CD": "RECOGNIZER", "INTENT_CD": "INTENT"},
    ),
    remarks=shared.utc_remark("recognizer_dt") | shared.STATUS_REMARK,
)
