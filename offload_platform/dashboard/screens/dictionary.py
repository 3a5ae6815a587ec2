"""Dictionary: what every table and column of the file means."""

import streamlit as st

from offload_platform.dashboard.show import table, tile

text = st.text_input(
    "Search", key="search", bind="query-params", placeholder="a table, a column, or a word of what it means"
)
tile("dictionary/columns", table(), empty="No column has that in its name or meaning. Try a shorter word.", text=text)
