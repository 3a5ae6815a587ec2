"""Overview: what arrived, what is late and whose fault that is, and what was remarkable."""

from functools import partial

import streamlit as st

from offload_platform.dashboard.charts import over_days
from offload_platform.dashboard.show import figures, table, tile

tile(
    "overview/figures",
    partial(
        figures,
        deliveries="Deliveries|{:,.0f}",
        rows_in="Rows|{:,.0f}",
        rows_loaded="Rows loaded|{:,.0f}",
        rows_quarantined="Rows in quarantine|{:,.0f}",
    ),
)
tile("overview/standing", table(), empty="Nothing is loaded yet. Run `offload run`.")
tile("overview/rows", over_days("day", "row_count", "rows", "became"))
left, right = st.columns(2)
with left:
    tile("overview/drift", table(), empty="Deliveries of this period look as their contracts say.")
with right:
    tile("overview/held", table(), empty="No delivery was ever held.")
    tile("overview/incomplete", table(), empty="No part of this period waits.")
