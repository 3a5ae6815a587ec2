"""Data quality: every row accounted for, why some are set aside, and what vendors take back."""

from functools import partial

import streamlit as st

from offload_platform.dashboard.charts import over_days
from offload_platform.dashboard.show import figures, table, tile

tile(
    "quality/figures",
    partial(
        figures,
        rows_in="Rows delivered|{:,.0f}",
        rows_loaded="Loaded|{:,.0f}",
        rows_quarantined="In quarantine|{:,.0f}",
        rows_erased="Of erased persons|{:,.0f}",
        unaccounted="Unaccounted for|{:,.0f}",
    ),
)
tile("quality/parts", table(percent=["quarantined_share"]))
left, right = st.columns(2)
with left:
    tile("quality/reasons", table(), empty="No row of this period is in quarantine.")
with right:
    tile(
        "quality/corrections",
        over_days("day", "events", "events", "change_kind"),
        empty="Nothing was changed in this period.",
    )
tile("quality/sample", table(), empty="No row of this period is in quarantine.")
