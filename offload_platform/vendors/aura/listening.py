"""Active Listening: what becomes of Aura's logs, and the panels on it.

Stated are the columns of CLEAN that the annex and release 1.1 name; that the others pass, and every panel, is a
proposal (docs/aura.md marks which is which).
"""

from collections.abc import Mapping
from typing import Any

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.listening import Breakdown, Listening, Measure, Panel, PanelKind
from offload_platform.contracts.readers import Computed
from offload_platform.vendors.aura.layout import TYPES

MESSAGE, RECOGNIZER, _ = TYPES
UNSURE_BELOW = 0.5

_ANNEX = "Aura Analytics 1.1, annex of fields"
_RELEASE = "Aura Analytics 1.1, release notes"
_PROPOSED = "proposed; the annex cannot be read that far"
_HASH = r"^[0-9a-f]{64}$"


def _of(
    raw: str,
    description: str,
    *,
    source: str,
    privacy: Privacy = Privacy.NONE,
    unit: str | None = None,
    nullable: bool = True,
    sensitive: bool = False,
    **rules: Any,
) -> Any:
    return column(
        Computed(lambda: pl.col(raw)),
        description,
        source=source,
        privacy=privacy,
        unit=unit,
        nullable=nullable,
        sensitive=sensitive,
        **rules,
    )


class CleanMessages(pa.DataFrameModel):
    """A message of a conversation, by nobody that is named."""

    MSG_DT: types.Instant = _of(
        "msg_dt", "When the message was written (UTC).", source=_ANNEX, privacy=Privacy.BEHAVIOUR, nullable=False
    )
    AURA_ID: types.Text = _of(
        "aura_id",
        "Keyed hash of the login; each login has another. Null for users who have not logged in.",
        source=_ANNEX,
        privacy=Privacy.IDENTIFIER,
        str_matches=_HASH,
    )
    CHANNEL_CD: types.Text = _of("channel_cd", "Channel.", source=_ANNEX)
    COUNTRY_CD: types.Text = _of("country_cd", "Country, ISO 3166.", source=_PROPOSED, nullable=False)
    STATUS_CD: types.Text = _of("status_cd", "HTTP status of the response.", source=_RELEASE)
    REASON: types.Text = _of("reason", "Code of an error.", source=_PROPOSED)
    VERSION_ID: types.Text = _of("version_id", "Version of Aura.", source=_PROPOSED, nullable=False)
    LANG_CD: types.Text = _of("lang_cd", "Language and country.", source=_PROPOSED)
    DURATION_NU: types.Count = _of("duration_nu", "How long it took.", source=_PROPOSED, unit="ms", ge=0)
    utterance: types.Text = _of(
        "utterance",
        "What was said, with a tag in the place of each address and number that was found.",
        source=_PROPOSED,
        privacy=Privacy.BEHAVIOUR,
        sensitive=True,
    )
    intent: types.Text = _of(
        "intent", "What the surest recogniser took it to mean.", source=_PROPOSED, privacy=Privacy.BEHAVIOUR
    )
    score: types.Number = _of("score_nu", "How sure that recogniser was.", source=_PROPOSED)
    recognizer: types.Text = _of("recognizer", "Which one it was.", source=_PROPOSED)
    sesId: types.Text = _of(  # noqa: N815 (the names of release 1.1)
        "sesId",
        "Session: messages of one login of which none comes long after the one before. Null without a login.",
        source=_RELEASE,
        privacy=Privacy.BEHAVIOUR,
        str_matches=r"^[0-9a-f]{16}$",
    )
    sesSize: types.Count = _of("sesSize", "Messages of the session.", source=_RELEASE, ge=1)  # noqa: N815
    sesDuration: types.Seconds = _of(  # noqa: N815
        "sesDuration", "Time from its first message to its last.", source=_RELEASE, unit="s", ge=0
    )
    userType: types.Text = _of(  # noqa: N815
        "userType",
        "`test` for users on the list of test users, `real` for others, `unknown` without a login or a list.",
        source=_RELEASE,
        nullable=False,
        isin=["real", "test", "unknown"],
    )

    class Config:
        strict = True
        ordered = True


def _joined(logs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Each message with the recognition of its request whose score is highest; of equals, the first by time and id."""
    best = (
        logs[RECOGNIZER]
        .sort("score_nu", "recognizer_dt", "recognizer_id", descending=[True, False, False])
        .unique("corr_id", keep="first", maintain_order=True)
        .select("corr_id", "intent", "score_nu", "recognizer", pl.col("utterance").alias("recognized"))
    )
    rows = logs[MESSAGE].join(best, on="corr_id", how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce("utterance", "recognized").alias("utterance"))


LISTENING = Listening(
    dataset=MESSAGE,
    logs=TYPES,
    rows=CleanMessages,
    joined=_joined,
    person="AURA_ID",
    moment="MSG_DT",
    of_session=("AURA_ID", "CHANNEL_CD", "COUNTRY_CD", "userType"),
    login="aura_id",
    country="country_cd",
    testers={"user_id": "user", "aura_id": "aura_id", "phone_id": "phone"},
    texts=("utterance",),
    took="DURATION_NU",
    score="score",
    failed=pl.col("STATUS_CD").str.contains("^[45]").fill_null(False),
    unsure=(pl.col("score") < UNSURE_BELOW).fill_null(False),
    breakdowns=(
        Breakdown("hour", pl.col("MSG_DT").dt.strftime("%H")),
        Breakdown("channel", pl.col("CHANNEL_CD")),
        Breakdown("version", pl.col("VERSION_ID")),
        Breakdown("language", pl.col("LANG_CD")),
        Breakdown("intent", pl.col("intent")),
        Breakdown("status", pl.col("STATUS_CD")),
        Breakdown("reason", pl.col("REASON")),
    ),
    panels=(
        Panel("messages", "Messages per day, by channel", PanelKind.BAR, over="MSG_DT", by="CHANNEL_CD"),
        Panel("logins", "Logins per day", PanelKind.LINE, (Measure("cardinality", "AURA_ID"),), over="MSG_DT"),
        Panel(
            "sessions",
            "Sessions per day, their messages and seconds (median)",
            PanelKind.LINE,
            (Measure("cardinality", "sesId"), Measure("median", "sesSize"), Measure("median", "sesDuration")),
            over="MSG_DT",
        ),
        Panel("hours", "Messages by hour", PanelKind.HEAT, over="MSG_DT", by="CHANNEL_CD"),
        Panel("channels", "Share of channels", PanelKind.PIE, over="CHANNEL_CD"),
        Panel("intents", "Most frequent intents", PanelKind.TABLE, (Measure(), Measure("avg", "score")), over="intent"),
        Panel(
            "unsure",
            f"Intents that were guessed (score below {UNSURE_BELOW})",
            PanelKind.TABLE,
            over="intent",
            where=f"score < {UNSURE_BELOW}",
        ),
        Panel("scores", "Scores", PanelKind.BAR, over="score"),
        Panel(
            "failures",
            "Requests that failed, by version",
            PanelKind.BAR,
            over="MSG_DT",
            by="VERSION_ID",
            where="STATUS_CD >= 400",
        ),
        Panel("reasons", "Reasons of failures", PanelKind.TABLE, over="REASON"),
        Panel(
            "durations",
            "How long it took, by version (ms; median and 95 %)",
            PanelKind.LINE,
            (Measure("percentiles", "DURATION_NU", (50, 95)),),
            over="MSG_DT",
            by="VERSION_ID",
        ),
        Panel("languages", "Languages and countries", PanelKind.TABLE, over="LANG_CD", by="COUNTRY_CD"),
        Panel("kinds", "Real users and test users", PanelKind.TABLE, over="userType"),
    ),
)
