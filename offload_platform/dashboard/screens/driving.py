"""Driving: how well, how often something happens, the phone, the night, and who has changed."""

from functools import partial

import polars as pl
import streamlit as st

from offload_platform.dashboard.charts import line, ranked, small_multiples
from offload_platform.dashboard.show import figures, table, tile

tile(
    "driving/figures",
    partial(
        figures,
        drives="Drives|{:,.0f}",
        drivers="Drivers|{:,.0f}",
        km="Kilometres|{:,.0f}",
        night_share="Kilometres at night|{:.1%}",
    ),
)
tile("driving/scores", small_multiples("score", "at_least", "drives", ("score", "drives")))
left, right = st.columns(2)
with left:
    tile("driving/events", ranked("event_type", "per_100_km", "events per 100 km", ",.1f"))
    tile("driving/movers", table(), empty="Nobody has 20 km in both halves of this period.")
with right:

    def weeks(rows: pl.DataFrame) -> None:
        """Both lines, one below the other."""
        line("week", "phone_s_per_100_km", "phone, s per 100 km")(rows)
        line("week", "night_share", "km at night", ".0%")(rows)

    tile("driving/weeks", weeks)
