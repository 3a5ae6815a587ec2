"""Trips: from where to where, by which mode, how far and when."""

from functools import partial

import streamlit as st

from offload_platform.dashboard import maps
from offload_platform.dashboard.cells import SIZES, line_between
from offload_platform.dashboard.charts import classes, ranked, week
from offload_platform.dashboard.show import figures, tile

tile(
    "trips/figures",
    partial(
        figures,
        trips="Trips|{:,.0f}",
        users="People|{:,.0f}",
        km="Kilometres|{:,.0f}",
        median_km="Median distance|{:,.1f} km",
        median_min="Median duration|{:,.0f} min",
    ),
)
size = st.segmented_control(
    "Cells", list(SIZES), default="middle (5 km²)", key="cells", required=True, bind="query-params"
)
tile(
    "trips/flows",
    maps.flows,
    lambda flow: line_between(flow["origin_cell"], flow["destination_cell"]),
    resolution=SIZES[size],
)
left, right = st.columns(2)
with left:
    tile("trips/modes", ranked("mode", "share", "share of kilometres", ".0%"))
    tile("trips/distances", classes("km", "place", "trips", ("distance, km", "trips")))
with right:
    tile("trips/hours", week("trips", "trips"))
