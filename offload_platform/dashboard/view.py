"""What a page looks at: the file, and the filters that all pages share and the address keeps."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

import duckdb
import streamlit as st

from offload_platform.dashboard.cells import h3_cell
from offload_platform.dashboard.launch import Shown, shown_by
from offload_platform.dashboard.published import Published, Version, version_beside, version_of
from offload_platform.dashboard.tile import Source, Value

_DAYS_SHOWN = 28
_EARLIEST, _LATEST = date(2010, 1, 1), date(2100, 1, 1)
_KEY = "view"


@dataclass(frozen=True)
class View:
    """The file that a page shows, and the values of its tiles' parameters."""

    published: Published
    basemap: str | None
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, Source]:
        """What the page reads beside the file, by the name of the parameter."""
        return {name: value for name, value in self.values.items() if isinstance(value, Source)}


def shown() -> Shown:
    """What the command was told to show."""
    return shown_by(os.environ)


def open_now() -> Published:
    """The file that is published now, opened once for all who look at it. Raises NotPublished."""
    told = shown()
    return _opened(
        str(told.file), tuple(p for one in told.beside.values() for p in one.patterns), version_of(told.file)
    )


def sources() -> dict[str, Source]:
    """What stands beside the published file now, by the name of the parameter; what is not made yet is left out."""
    return {
        name: Source(one.sql, one.patterns, version)
        for name, one in shown().beside.items()
        if (version := version_beside(one.patterns)) is not None
    }


def remember(published: Published) -> None:
    """Ask for the filters, and keep them for the page that is drawn now."""
    told = shown()
    values = _filters(published) | sources() | {"smallest": told.smallest_group}
    st.session_state[_KEY] = View(published, told.basemap, values)


def current() -> View:
    """What the page looks at."""
    return cast(View, st.session_state[_KEY])


def choices(source: str, column: str) -> list[str]:
    """What there is in a column of what stands beside the file, for a filter; nothing where it cannot be read."""
    view = current()
    rows = view.sources[source]
    try:
        found = view.published.answer(f"SELECT DISTINCT {column} FROM ({rows.sql}) ORDER BY 1", rows.version)
    except duckdb.Error:
        # Each tile says so, and what to do.
        return []
    return found[column].to_list()


# Streamlit tells answers apart by all arguments whose names begin with a letter.
def _open(file: str, beside: tuple[str, ...], version: Version) -> Published:  # noqa: ARG001
    return Published(Path(file), {"h3_cell": h3_cell}, beside)


# Two, for those who still draw a page of the file before.
_opened = st.cache_resource(max_entries=2, show_spinner=False)(_open)


def _filters(published: Published) -> dict[str, Value]:
    """The filters, which stand beside every page."""
    known = published.answer(
        "SELECT list(DISTINCT feed ORDER BY feed) AS feeds, max((delivery_stamp AT TIME ZONE 'UTC')::DATE) AS newest "
        "FROM ops.ledger WHERE status IN ('loaded', 'expired')"
    ).row(0, named=True)
    newest = known["newest"] or datetime.now(UTC).date()
    with st.sidebar:
        feeds = st.multiselect("Feed", known["feeds"] or [], key="feed", bind="query-params", placeholder="all feeds")
        said = "The first day of the period, on people's own clocks where they have one, else UTC."
        first = _day("From", "from", newest - timedelta(days=_DAYS_SHOWN - 1), said)
        last = _day("To", "to", newest, "The last day of the period; the newest delivery's by default.")
        modes = _modes(published)
        chosen = st.multiselect(
            "Mode", modes, key="mode", bind="query-params", placeholder="all modes", help="For trips and drives."
        )
    if first > last:
        st.error(f"The period begins on {first}, after its end on {last}. Choose an earlier first day on the left.")
        st.stop()
    return {
        "feeds": feeds or known["feeds"] or [],
        "first": first,
        "last": last,
        "modes": chosen or modes,
        # Whole hours, so that what is asked again has been answered.
        "now": datetime.now(UTC).replace(minute=0, second=0, microsecond=0),
    }


def _day(label: str, key: str, default: date, said: str) -> date:
    chosen: date = st.date_input(
        label, default, _EARLIEST, _LATEST, key=key, bind="query-params", format="YYYY-MM-DD", help=said
    )
    return chosen


def _modes(published: Published) -> list[str]:
    movers = [
        f"SELECT DISTINCT mode FROM mart.{name}"
        for name in ("transport", "drive")
        if ("mart", name) in published.tables
    ]
    if not movers:
        return []
    return published.answer(f"SELECT mode FROM ({' UNION '.join(movers)}) ORDER BY mode")["mode"].to_list()
