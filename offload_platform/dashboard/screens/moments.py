"""Moments and segments: what people's days are made of, and who has come into a segment or left it."""

import streamlit as st

from offload_platform.dashboard.charts import over_days, ranked
from offload_platform.dashboard.show import table, tile

left, right = st.columns(2)
with left:
    tile("moments/kinds", ranked("moment_key", "moments", "moments"))
    tile("moments/days", over_days("day", "moments", "moments", "moment_key"))
with right:
    tile("moments/changes", over_days("day", "labels", "labels of users", "change"))
    tile("moments/segments", table())
