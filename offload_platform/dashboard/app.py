"""The script that Streamlit runs for whoever looks, each time that something is chosen: filters, then the page."""

from pathlib import Path

import streamlit as st

from offload_platform.dashboard.published import NotPublished, version_of
from offload_platform.dashboard.view import current, open_now, remember, shown, sources

_SECONDS_BETWEEN_LOOKS = 10
# Title and icon of each page, by its name in the address and the name of its script.
PAGES = {
    "overview": ("Overview", ":material/dashboard:"),
    "trips": ("Trips", ":material/route:"),
    "places": ("Places", ":material/place:"),
    "driving": ("Driving", ":material/directions_car:"),
    "moments": ("Moments and segments", ":material/group:"),
    "assistant": ("Assistant", ":material/forum:"),
    "clicks": ("Clicks and conversions", ":material/ads_click:"),
    "privacy": ("Privacy", ":material/shield:"),
    "quality": ("Data quality", ":material/fact_check:"),
    "dictionary": ("Dictionary", ":material/menu_book:"),
}

# An icon that is named would be fetched from a server of fonts.
st.set_page_config(page_title="Offloads", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
page = st.navigation(
    [
        st.Page(f"screens/{name}.py", title=title, icon=icon, url_path=name, default=name == "overview")
        for name, (title, icon) in PAGES.items()
    ]
)
try:
    published = open_now()
except NotPublished as missing:
    st.title("Nothing to show yet")
    st.warning(str(missing))
    st.button("Look again")
    st.stop()
remember(published)


def look_for_a_new_file() -> None:
    """Draw the page anew when another file is published, or what stands beside it is made anew."""
    if version_of(shown().file) != published.version or sources() != current().sources:
        st.rerun()
    st.caption(f"Published {published.at:%Y-%m-%d %H:%M:%S} UTC")


with st.sidebar:
    st.fragment(run_every=_SECONDS_BETWEEN_LOOKS)(look_for_a_new_file)()
st.title(page.title)
page.run()
