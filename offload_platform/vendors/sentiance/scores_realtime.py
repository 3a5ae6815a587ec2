"""Contract of `scores_realtime`: the rolling driving scores of a user on one UTC day."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat, Reference
from offload_platform.contracts.readers import Computed, EpochCell, delivered
from offload_platform.vendors.sentiance import driving_columns as driving
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import DRIVING


class ScoresRealtime(pa.DataFrameModel):
    """The driving scores of one user over the last nine weeks; windows overlap, so never average them over days."""

    user_id: types.Text = shared.user_id()
    as_of_at: types.Instant = column(
        EpochCell("timestamp"),
        "The drive up to which the scores were taken (UTC instant).",
        source="Sentiance data model 0.1.2, sheet driving",
        privacy=Privacy.BEHAVIOUR,
    )
    is_as_of_coarse: types.Flag = column(
        Computed(lambda: delivered("timestamp").str.contains("[eE]"), wire="timestamp"),
        "True where the time was delivered rounded, in scientific notation; it is off by up to 83 minutes then.",
        source=shared.SAMPLE_2019,
        privacy=Privacy.NONE,
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
    score_smooth_v2: types.Number = driving.score("smooth_v2", "Gentle acceleration, braking and turns, renormalised.")
    score_anticipative_v2: types.Number = driving.score(
        "anticipative_v2", "Few hard inputs around turns, renormalised; braking in turns is detected better."
    )
    score_hard_turn: types.Number = driving.score("hard_turn", "Penalty for each hard turn.")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


_SCORES = tuple(name for name in ScoresRealtime.__annotations__ if name.startswith("score_"))

CONTRACT = Contract(
    vendor="sentiance",
    offload_type="scores_realtime",
    family=DRIVING,
    rows=ScoresRealtime,
    content=Content.INCREMENT,
    references=(Reference("transports_realtime", ("user_id",), days=63),),
    key=("app_id", "user_id", "delivery_stamp"),
    source="Offloads document, section Driving // Realtime offloads",
    wire=CsvFormat(ordered=False),
    stamp_columns=driving.DATA_DAY,
    remarks=driving.score_remarks(_SCORES),
)
