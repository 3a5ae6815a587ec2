"""The few kinds of charts that tiles use; every axis says what it counts, and in which unit."""

from collections.abc import Callable

import altair as alt
import polars as pl
import streamlit as st

_HEIGHT = 280
_BAR, _AXIS = 24, 90
_NAME, LONG_NAME = 220, 420
_MARK = "#d55e00"
_HOURS = list(range(24))
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

Draw = Callable[[pl.DataFrame], None]


def ranked(
    category: str, value: str, unit: str, form: str = ",.0f", colour: str | None = None, widest_name: int = _NAME
) -> Draw:
    """Horizontal bars, the largest above."""

    def draw(rows: pl.DataFrame) -> None:
        chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                x=alt.X(f"{value}:Q", title=unit, axis=alt.Axis(format=form, tickCount=6)),
                y=alt.Y(
                    f"{category}:N", title=None, sort="-x", axis=alt.Axis(labelLimit=widest_name, labelOverlap=False)
                ),
                tooltip=_tooltips(rows, {value: form}),
            )
        )
        _show(_coloured(chart, colour).properties(height=_BAR * rows[category].n_unique() + _AXIS))

    return draw


def classes(category: str, order: str, value: str, titles: tuple[str, str], colour: str | None = None) -> Draw:
    """Upright bars over classes in their own order, stacked by colour; titles of both axes."""

    def draw(rows: pl.DataFrame) -> None:
        chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                x=alt.X(f"{category}:O", title=titles[0], sort=alt.SortField(order), axis=alt.Axis(labelAngle=0)),
                y=alt.Y(f"{value}:Q", title=titles[1], axis=alt.Axis(format="~s", tickCount=6)),
                tooltip=_tooltips(rows, {value: ",.0f"}),
            )
        )
        _show(_coloured(chart, colour).properties(height=_HEIGHT))

    return draw


def over_days(day: str, value: str, unit: str, colour: str | None = None) -> Draw:
    """Stacked bars by day."""

    def draw(rows: pl.DataFrame) -> None:
        chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                x=alt.X(f"yearmonthdate({day}):O", title="day", axis=alt.Axis(format="%d %b", labelOverlap=True)),
                y=alt.Y(f"{value}:Q", title=unit, axis=alt.Axis(format="~s", tickCount=6)),
                tooltip=_tooltips(rows, {value: ",.0f"}),
            )
        )
        _show(_coloured(chart, colour).properties(height=_HEIGHT))

    return draw


def line(day: str, value: str, unit: str, form: str = ",.1f", title: str = "week of") -> Draw:
    """A line with a point for each week or day."""

    def draw(rows: pl.DataFrame) -> None:
        _show(
            alt.Chart(rows)
            .mark_line(point=True)
            .encode(
                x=alt.X(f"yearmonthdate({day}):O", title=title, axis=alt.Axis(format="%d %b", labelOverlap=True)),
                y=alt.Y(f"{value}:Q", title=unit, axis=alt.Axis(format=form, tickCount=5)),
                tooltip=_tooltips(rows, {value: form}),
            )
            .properties(height=_HEIGHT * 2 // 3)
        )

    return draw


def week(value: str, unit: str, hour: str = "hour of the start") -> Draw:
    """Weekdays by hours, the more the stronger the colour."""

    def draw(rows: pl.DataFrame) -> None:
        named = rows.with_columns(pl.col("weekday").map_elements(lambda day: _DAYS[day - 1], return_dtype=pl.String))
        _show(
            alt.Chart(named)
            .mark_rect()
            .encode(
                x=alt.X("hour:O", title=hour, axis=alt.Axis(labelAngle=0), scale=alt.Scale(domain=_HOURS)),
                y=alt.Y("weekday:O", title=None, scale=alt.Scale(domain=_DAYS)),
                color=_shade(value, unit),
                tooltip=_tooltips(named, {value: ",.0f"}),
            )
            .properties(height=_HEIGHT)
        )

    return draw


def histogram(at_least: str, width: float, value: str, titles: tuple[str, str], limit: float) -> Draw:
    """Upright bars over classes of one width, and a line where something is divided."""

    def draw(rows: pl.DataFrame) -> None:
        ended = rows.with_columns((pl.col(at_least) + width).alias("below"))
        bars = (
            alt.Chart(ended)
            .mark_bar()
            .encode(
                x=alt.X(f"{at_least}:Q", bin="binned", title=titles[0], scale=alt.Scale(domain=[0, 1])),
                x2="below:Q",
                y=alt.Y(f"{value}:Q", title=titles[1], axis=alt.Axis(format="~s", tickCount=6)),
                tooltip=_tooltips(rows, {value: ",.0f"}),
            )
        )
        divided = alt.Chart(pl.DataFrame({at_least: [limit]})).mark_rule(strokeDash=[6, 4], strokeWidth=2, color=_MARK)
        _show((bars + divided.encode(x=f"{at_least}:Q")).properties(height=_HEIGHT))

    return draw


def against_limit(name: str, value: str, unit: str, states: str) -> Draw:
    """Horizontal bars of how much of what is allowed is used, with a line where all of it is; the worst above."""

    def draw(rows: pl.DataFrame) -> None:
        bars = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                x=alt.X(f"{value}:Q", title=unit, axis=alt.Axis(format=".0%"), scale=alt.Scale(domainMin=0)),
                y=alt.Y(f"{name}:N", title=None, sort="-x", axis=alt.Axis(labelLimit=LONG_NAME, labelOverlap=False)),
                color=alt.Color(f"{states}:N", title=None),
                tooltip=_tooltips(rows, {value: ".0%"}),
            )
        )
        limit = alt.Chart(pl.DataFrame({value: [1.0]})).mark_rule(strokeDash=[6, 4], strokeWidth=2, color=_MARK)
        _show((bars + limit.encode(x=f"{value}:Q")).properties(height=_BAR * rows[name].n_unique() + _AXIS))

    return draw


def small_multiples(facet: str, x: str, value: str, titles: tuple[str, str]) -> Draw:
    """A small chart of bars for each kind, all on the same scales."""

    def draw(rows: pl.DataFrame) -> None:
        kinds = rows[facet].unique(maintain_order=True).to_list()
        for place, kind in zip(st.columns(len(kinds)), kinds, strict=True):
            with place:
                _show(
                    alt.Chart(rows.filter(pl.col(facet) == kind), title=str(kind))
                    .mark_bar()
                    .encode(
                        x=alt.X(
                            f"{x}:O", title=titles[0], axis=alt.Axis(labelAngle=0, format=".1f", labelOverlap=True)
                        ),
                        y=alt.Y(f"{value}:Q", title=titles[1], axis=alt.Axis(format="~s", tickCount=5)),
                        tooltip=_tooltips(rows, {value: ",.0f"}),
                    )
                    .properties(height=_HEIGHT * 2 // 3)
                )

    return draw


def _shade(value: str, unit: str) -> alt.Color:
    """From nothing to the most."""
    return alt.Color(f"{value}:Q", title=unit, scale=alt.Scale(domainMin=0), legend=alt.Legend(format=",.0f"))


def _coloured(chart: alt.Chart, colour: str | None) -> alt.Chart:
    return chart.encode(color=alt.Color(f"{colour}:N", title=None)) if colour else chart


def _tooltips(rows: pl.DataFrame, forms: dict[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(name, format=forms[name]) if name in forms else alt.Tooltip(name) for name in rows.columns]


def _show(chart: alt.Chart | alt.LayerChart) -> None:
    st.altair_chart(chart, width="stretch")
