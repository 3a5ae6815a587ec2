"""Places as cells of H3, a grid whose cells nest: a coarser cell is the parent of a finer one.

Mean areas: resolution 5 is 253 km², 6 is 36 km², 7 is 5.2 km², 8 is 0.74 km², 9 is 0.11 km².
"""

import re

import h3
import polars as pl

from offload_platform.quality.protect import each_once

FINEST = 9
"""No tier has finer cells, whatever a rule says; attackers may know finer ones."""

_DECIMALS = 5
_AS_CELLS = re.compile("8[0-9a-f]{14}")


def cells_of(latitude: pl.Series, longitude: pl.Series, resolution: pl.Series, finest: int = FINEST) -> pl.Series:
    """The cell of each place (degrees, WGS84) in a resolution; null where one of the three is, and off the globe."""
    # Of places that are a metre apart, one is worked out.
    points = pl.DataFrame(
        {
            "latitude": latitude.cast(pl.Float64).round(_DECIMALS),
            "longitude": longitude.cast(pl.Float64).round(_DECIMALS),
            "resolution": resolution.cast(pl.Int64).clip(upper_bound=finest),
        }
    )
    on_globe = points.unique().drop_nulls().filter(pl.col("latitude").abs() <= 90, pl.col("longitude").abs() <= 180)
    found = on_globe.with_columns(
        pl.Series("cell", [h3.latlng_to_cell(*point) for point in on_globe.rows()], dtype=pl.String)
    )
    return points.join(found, on=points.columns, how="left", maintain_order="left")["cell"]


def at_most(cells: pl.Series, resolution: int) -> pl.Series:
    """Cells that are finer than a resolution as their parents in it; the others, and nulls, as they are."""

    def coarser(cell: str) -> str:
        return h3.cell_to_parent(cell, resolution) if h3.get_resolution(cell) > resolution else cell

    return each_once(cells, coarser)


def centres(cells: pl.Series) -> pl.DataFrame:
    """Latitude and longitude (degrees) of the centres of cells."""
    return pl.DataFrame(
        [h3.cell_to_latlng(cell) for cell in cells],
        schema={"latitude": pl.Float64, "longitude": pl.Float64},
        orient="row",
    )


def is_cell(text: str) -> bool:
    """Whether a text is a cell."""
    return bool(_AS_CELLS.fullmatch(text)) and bool(h3.is_valid_cell(text))
