"""Cells on the globe: H3, which is the same everywhere and has cells of about one size."""

from typing import Any

import h3

SIZES = {"large (36 km²)": 6, "middle (5 km²)": 7, "small (0.7 km²)": 8}
"""Resolution by what people choose; the areas are averages."""


def h3_cell(latitude: float, longitude: float, resolution: int) -> str:
    """The cell of a position in degrees."""
    return str(h3.latlng_to_cell(latitude, longitude, resolution))


def centre_of(cell: str) -> tuple[float, float]:
    """Longitude and latitude of a cell's centre, in the order of GeoJSON."""
    latitude, longitude = h3.cell_to_latlng(cell)
    return round(longitude, 6), round(latitude, 6)


def polygon_of(cell: str) -> dict[str, Any]:
    """A cell as a GeoJSON polygon."""
    ring = [[round(longitude, 6), round(latitude, 6)] for latitude, longitude in h3.cell_to_boundary(cell)]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def line_between(origin: str, destination: str) -> dict[str, Any]:
    """The way between two cells' centres as a GeoJSON line."""
    return {"type": "LineString", "coordinates": [list(centre_of(origin)), list(centre_of(destination))]}
