"""Maps that need no network: a plain background, the shapes of countries, and layers of data.

The shapes are coarse (1:110 million): they tell which country it is, and not where its border runs.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pydeck as pdk
import streamlit as st

from offload_platform.dashboard.cells import centre_of
from offload_platform.dashboard.view import current

Draw = Callable[[pl.DataFrame], None]
_HEIGHT = 520
_BLUE, _ORANGE = [0, 114, 178], [230, 159, 0]
_SHADES = {
    # Sea, land, border, text.
    "light": ("#dbe6ee", [250, 249, 246], [170, 178, 184], [60, 60, 60]),
    "dark": ("#11181f", [38, 44, 50], [92, 100, 108], [225, 225, 225]),
}
_STEPS = {
    "light": [[198, 219, 239], [158, 202, 225], [107, 174, 214], [66, 146, 198], [33, 113, 181], [8, 69, 148]],
    "dark": [[31, 62, 92], [38, 88, 130], [52, 116, 166], [84, 148, 196], [128, 184, 222], [190, 222, 244]],
}
_DEGREES_NEAR, _DEGREES_AT_0 = 1.5, 400
_FARTHEST, _NEAREST = 6.5, 11.0


def flows(rows: pl.DataFrame) -> None:
    """Arcs between cells, and a dot for what stays inside one; wide and large where trips are many."""
    most = rows["trips"].max()
    ways = [
        {
            **row,
            "origin": centre_of(row["origin_cell"]),
            "destination": centre_of(row["destination_cell"]),
            "width": 1 + 5 * (row["trips"] / most) ** 0.5,
        }
        for row in rows.to_dicts()
    ]
    between = [way for way in ways if way["origin_cell"] != way["destination_cell"]]
    inside = [way for way in ways if way["origin_cell"] == way["destination_cell"]]
    layers = [
        pdk.Layer(
            "ScatterplotLayer",
            inside,
            get_position="origin",
            get_radius="width",
            radius_units="'pixels'",
            get_fill_color=[*_BLUE, 150],
            pickable=True,
        ),
        pdk.Layer(
            "ArcLayer",
            between,
            get_source_position="origin",
            get_target_position="destination",
            get_width="width",
            get_source_color=[*_BLUE, 190],
            get_target_color=[*_ORANGE, 190],
            get_height=0.3,
            pickable=True,
        ),
    ]
    weights = [(way["origin"], way["trips"]) for way in ways] + [(way["destination"], way["trips"]) for way in ways]
    _show(
        layers,
        weights,
        "{origin_city} → {destination_city}\n{trips} trips of {users} users, {median_km} km (median)",
        pitch=30,
    )


def cells(rows: pl.DataFrame) -> None:
    """Cells by how many stays are in them, each step of colour with as many cells as the others."""
    steps = _STEPS[_theme()]
    ranks = (rows["stays"].rank("max") - 1) / rows.height * len(steps)
    shaded = [{**row, "colour": [*steps[int(rank)], 190]} for row, rank in zip(rows.to_dicts(), ranks, strict=True)]
    layers = [
        pdk.Layer(
            "H3HexagonLayer",
            shaded,
            get_hexagon="cell",
            get_fill_color="colour",
            extruded=False,
            high_precision=True,
            stroked=True,
            get_line_color=[255, 255, 255, 90],
            line_width_min_pixels=0.5,
            pickable=True,
        ),
        _names(rows),
    ]
    weights = [(centre_of(row["cell"]), row["stays"]) for row in shaded]
    _show(layers, weights, "{stays} stays of {users} users, {median_hours} h (median)\n{city}")


def _names(rows: pl.DataFrame) -> pdk.Layer:
    """The names of the cities that the data themselves tell, each at its fullest cell."""
    named = rows.drop_nulls("city").unique("city", keep="first", maintain_order=True).head(40)
    texts = [{"text": row["city"], "place": centre_of(row["cell"])} for row in named.to_dicts()]
    return pdk.Layer(
        "TextLayer",
        texts,
        get_position="place",
        get_text="text",
        get_size=13,
        get_color=_SHADES[_theme()][3],
        get_pixel_offset=[0, -24],
        background=True,
        get_background_color=[*_SHADES[_theme()][1], 200],
        background_padding=[4, 2, 4, 2],
        character_set="'auto'",
        font_family="'sans-serif'",
    )


def _show(
    layers: Sequence[pdk.Layer], weights: Sequence[tuple[tuple[float, float], int]], tooltip: str, pitch: int = 0
) -> None:
    basemap = current().basemap
    ground = [] if basemap else [_land()]
    deck = pdk.Deck(
        layers=[*ground, *layers],
        initial_view_state=_around(weights, pitch),
        map_style=basemap or _plain_style(_theme()),
        tooltip={"text": tooltip},
    )
    st.pydeck_chart(deck, height=_HEIGHT)


def _around(weights: Sequence[tuple[tuple[float, float], int]], pitch: int) -> pdk.ViewState:
    """A view of what is around the heaviest place. People are often in several countries: a view of all shows none."""
    heaviest, _ = max(weights, key=lambda weighed: weighed[1])
    near = [
        place for place, _ in weights if all(abs(a - b) < _DEGREES_NEAR for a, b in zip(place, heaviest, strict=True))
    ]
    spans = [max(place[axis] for place in near) - min(place[axis] for place in near) for axis in (0, 1)]
    middle = [(max(place[axis] for place in near) + min(place[axis] for place in near)) / 2 for axis in (0, 1)]
    # The height of the map shows so many degrees of longitude, and half of them with each step of zoom.
    zoom = min(max(math.log2(_DEGREES_AT_0 / max(*spans, 0.01)), _FARTHEST), _NEAREST)
    return pdk.ViewState(longitude=middle[0], latitude=middle[1], zoom=zoom, pitch=pitch)


def _land() -> pdk.Layer:
    _, land, border, _ = _SHADES[_theme()]
    return pdk.Layer(
        "GeoJsonLayer", _shapes(), get_fill_color=land, get_line_color=border, line_width_min_pixels=1, stroked=True
    )


def _theme() -> str:
    return "dark" if st.context.theme.type == "dark" else "light"


@cache
def _shapes() -> Any:
    return json.loads(Path(__file__).with_name("land.geojson").read_text(encoding="utf-8"))


@cache
def _plain_style(theme: str) -> str:
    """A map style that is nothing but the colour of the sea, and asks nobody for anything."""
    background = {"id": "sea", "type": "background", "paint": {"background-color": _SHADES[theme][0]}}
    style = {"version": 8, "sources": {}, "layers": [background]}
    return f"data:application/json,{quote(json.dumps(style))}"
