"""Places: where people stay, what that is to them, and for how long."""

from functools import partial

import streamlit as st

from offload_platform.dashboard import maps
from offload_platform.dashboard.cells import SIZES, polygon_of
from offload_platform.dashboard.charts import classes, ranked
from offload_platform.dashboard.show import figures, table, tile

SIGNIFICANCES = ("home", "work", "regular", "nonregular", "poi", "new")

tile(
    "places/figures",
    partial(
        figures,
        stays="Stays|{:,.0f}",
        users="People|{:,.0f}",
        median_hours="Median stay|{:,.1f} h",
        open_stays="Stays that go on|{:,.0f}",
    ),
)
left, right = st.columns(2)
size = left.segmented_control(
    "Cells", list(SIZES), default="middle (5 km²)", key="cells", required=True, bind="query-params"
)
chosen = right.multiselect("Significance", SIGNIFICANCES, key="significance", bind="query-params", placeholder="all")
tile(
    "places/cells",
    maps.cells,
    lambda cell: polygon_of(cell["cell"]),
    resolution=SIZES[size],
    significances=chosen or SIGNIFICANCES,
)
left, right = st.columns(2)
with left:
    tile("places/significance", ranked("significance", "stays", "stays"))
    tile("places/dwell", classes("hours", "place", "stays", ("duration, h", "stays"), "significance"))
with right:
    tile("places/venues", table())
