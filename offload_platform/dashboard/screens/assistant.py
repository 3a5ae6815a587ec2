"""Assistant: what is said to it, when and where, what it takes that to mean, and where it fails."""

from functools import partial

import polars as pl
import streamlit as st

from offload_platform.dashboard.charts import histogram, line, over_days, ranked, week
from offload_platform.dashboard.show import figures, table, tile
from offload_platform.dashboard.view import choices, current

KINDS = {"real": ["real"], "test": ["test"], "all": ["real", "test", "unknown"]}

if "messages" not in current().sources:
    st.info(
        "Nothing is made of an assistant's logs yet. Say whose they are under `listening` of their feed (see "
        "feeds.example.yaml), and run `offload listening run`. A dashboard that is opened with --file alone shows none."
    )
    st.stop()
left, middle, right = st.columns(3)
known = choices("messages", "user_type")
kind = left.segmented_control(
    "Users",
    list(KINDS),
    default="real" if "real" in known else "all",
    key="users",
    required=True,
    bind="query-params",
    help="Test users are those on the list of their feed. Without a list, all are unknown.",
)
channels = choices("messages", "channel")
chosen = middle.multiselect("Channel", channels, key="channel", bind="query-params", placeholder="all channels")
threshold = right.slider(
    "Guessed below a score of", 0.0, 1.0, 0.5, 0.05, key="guessed", bind="query-params", help="How sure is sure enough."
)
asked = partial(
    tile,
    empty="No message of these users in this period. Choose another period, other users or channels.",
    kinds=KINDS[kind],
    channels=chosen or channels,
)


def days(rows: pl.DataFrame) -> None:
    """Four lines, one below the other."""
    line("day", "logins", "logins", ",.0f", "day")(rows)
    line("day", "sessions", "sessions", ",.0f", "day")(rows)
    line("day", "median_messages", "messages (median)", ",.1f", "day")(rows)
    line("day", "median_s", "session, s (median)", ",.0f", "day")(rows)


asked(
    "assistant/figures",
    partial(
        figures,
        messages="Messages|{:,.0f}",
        logins="Logins|{:,.0f}",
        sessions="Sessions|{:,.0f}",
        median_messages="Messages a session|{:,.0f}",
        median_s="Seconds a session|{:,.0f}",
        failed_share="Failed|{:.1%}",
    ),
)
left, right = st.columns(2)
with left:
    asked("assistant/days", over_days("day", "messages", "messages", "channel"))
    asked("assistant/hours", week("messages", "messages", "hour (UTC)"))
    asked("assistant/channels", ranked("channel", "share", "share of messages", ".0%"))
    asked("assistant/kinds", table())
with right:
    asked("assistant/sessions", days)
    asked("assistant/scores", histogram("at_least", 0.05, "messages", ("score", "messages"), threshold))
    asked("assistant/languages", table())
asked("assistant/intents", table(percent=["guessed_share"]), threshold=threshold)
asked("assistant/versions", table(percent=["failed_share"]))
asked("assistant/failures", table(), empty="No message of these users has failed in this period.")
text = st.text_input(
    "Search", key="text", bind="query-params", placeholder="a word of what was said; nothing finds all"
)
asked("assistant/texts", table(), empty="No text of these users holds that. Try a shorter word.", text=text)
