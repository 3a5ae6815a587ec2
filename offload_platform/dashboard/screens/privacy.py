"""Privacy: what the tiers must keep to, and what the attacks on them have measured."""

from functools import partial

import streamlit as st

from offload_platform.dashboard.charts import LONG_NAME, against_limit, ranked
from offload_platform.dashboard.show import figures, table, tile
from offload_platform.dashboard.view import current

if "report" not in current().sources:
    st.info(
        "There is no privacy report yet. Add `privacy: {}` to feeds.yaml, set OFFLOAD_PSEUDONYM_KEY, and run `offload "
        "privacy build`. A dashboard that is opened with --file alone shows none."
    )
    st.stop()
st.caption("Of the newest report, whatever is chosen on the left. docs/privacy.md explains each target.")
tile(
    "privacy/figures",
    partial(
        figures,
        met="Targets met|{:,.0f}",
        missed="Targets missed|{:,.0f}",
        persons="Persons|",
        rows_attacked="Rows attacked|{:,.0f}",
        days_old="Age of the report|{:,.1f} days",
    ),
)
tile("privacy/missed", table(), empty="All targets are met.")
tile("privacy/targets", against_limit("measure", "used", "of what the target allows", "state"))
tile("privacy/attacks", ranked("attack", "found_share", "found", ".0%", colour="rows_are", widest_name=LONG_NAME))
tile("privacy/kept", table(percent=["kept_share", "left_out_share"]))
