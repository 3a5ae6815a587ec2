"""Clicks and conversions: the funnel, what becomes of conversions, and what changes late."""

from functools import partial

import streamlit as st

from offload_platform.dashboard.charts import classes, over_days, ranked
from offload_platform.dashboard.show import figures, table, tile

tile(
    "clicks/figures",
    partial(
        figures,
        clicks="Clicks|{:,.0f}",
        conversions="Conversions|{:,.0f}",
        confirmed="Confirmed|{:,.0f}",
        waiting="Waiting|{:,.0f}",
        declined="Declined|{:,.0f}",
    ),
)
left, right = st.columns(2)
with left:
    tile("clicks/funnel", classes("step", "place", "counted", ("", "clicks or conversions")))
    tile("clicks/flow", ranked("flow", "changes", "changes"))
with right:
    tile("clicks/days", over_days("day", "conversions", "conversions", "status"))
    tile("clicks/late", classes("days_after", "days_after", "changes", ("days after the conversion", "changes")))
tile("clicks/partners", table(percent=["conversion_share"]))
