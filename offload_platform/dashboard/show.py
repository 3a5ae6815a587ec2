"""How a tile is shown: its picture, and behind a button its table, its SQL and its downloads."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import duckdb
import polars as pl
import streamlit as st

from offload_platform.dashboard.tile import Tile, Value, tile_named
from offload_platform.dashboard.view import View, current

Draw = Callable[[pl.DataFrame], None]
Geometry = Callable[[dict[str, Any]], dict[str, Any]]
_ROWS_IN_TABLE = 300
_NOTHING = "Nothing here in this period. Choose another period, feed or mode on the left."


def tile(name: str, draw: Draw, geometry: Geometry | None = None, empty: str = _NOTHING, **values: Value) -> None:
    """Show a tile: `draw` makes a picture of its rows, `geometry` a GeoJSON geometry of one, for those with a place.

    `empty` is said where there are no rows.
    """
    view, one = current(), tile_named(name)
    sql = one.statement({**view.values, **values})
    tables = view.published.reads(sql)
    with st.container(border=True):
        st.markdown(f"**{one.title}**", help=one.said)
        if missing := [table for table in tables if table not in view.published.tables and table[0] in ("mart", "ops")]:
            names = ", ".join(".".join(table) for table in missing)
            st.info(f"No feed has delivered this yet: there is no {names}. See the page Overview for what is loaded.")
            return
        try:
            rows = view.published.answer(sql)
        except duckdb.Error as error:
            st.error(f"This tile cannot be read: {error}. Publish again with this version: `offload run`.")
            return
        if rows.is_empty():
            st.info(empty)
        else:
            draw(rows)
        _behind(view, one, sql, tables, rows, geometry)


def figures(rows: pl.DataFrame, **labels: str) -> None:
    """Show the one row as large figures: a label and a format, as `Trips|{:,.0f}`, for each column."""
    said = rows.row(0, named=True)
    for column, (name, label) in zip(st.columns(len(labels)), labels.items(), strict=True):
        title, _, form = label.partition("|")
        value = said[name]
        column.metric(title, "–" if value is None else form.format(value))


def table(*, percent: Sequence[str] = ()) -> Draw:
    """What shows rows as a table, these columns as percent."""

    def draw(rows: pl.DataFrame) -> None:
        shares = {name: st.column_config.NumberColumn(format="percent") for name in percent}
        st.dataframe(rows, hide_index=True, column_config=_times(rows) | shares)

    return draw


def as_geojson(rows: Iterable[dict[str, Any]], geometry: Geometry) -> str:
    """Rows as a GeoJSON collection, with all of their columns as properties."""
    features = [{"type": "Feature", "properties": row, "geometry": geometry(row)} for row in rows]
    return json.dumps({"type": "FeatureCollection", "features": features}, default=str, ensure_ascii=False)


def _behind(
    view: View, one: Tile, sql: str, tables: list[tuple[str, str]], rows: pl.DataFrame, geometry: Geometry | None
) -> None:
    names = ", ".join(f"`{schema}.{name}`" for schema, name in tables) or "`duckdb_columns()`"
    with st.expander(f"Table, SQL and downloads – {names}"):
        st.code(sql, language="sql")
        st.dataframe(rows.head(_ROWS_IN_TABLE), hide_index=True, column_config=_times(rows))
        if rows.height > _ROWS_IN_TABLE:
            st.caption(f"The first {_ROWS_IN_TABLE} of {rows.height:,} rows; downloads have all of them.")
        file = f"{one.name.replace('/', '_')}_{view.published.at:%Y%m%dT%H%M%SZ}"
        # What is downloaded is made when somebody asks for it.
        kinds: list[tuple[str, str, str, Callable[[], bytes]]] = [
            ("CSV", "csv", "text/csv", lambda: _flat(rows).write_csv().encode()),
            ("Parquet", "parquet", "application/vnd.apache.parquet", lambda: _parquet(rows)),
        ]
        if geometry:
            of = geometry
            kinds.append(
                ("GeoJSON", "geojson", "application/geo+json", lambda: as_geojson(rows.to_dicts(), of).encode())
            )
        for column, (label, ending, mime, made) in zip(st.columns(len(kinds)), kinds, strict=True):
            column.download_button(
                label, made, f"{file}.{ending}", mime, key=f"{one.name}.{ending}", on_click="ignore", width="stretch"
            )


def _times(rows: pl.DataFrame) -> dict[str, Any]:
    """Instants to the minute; they are UTC."""
    instants = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Datetime)]
    return {name: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC") for name in instants}


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose every cell fits into CSV."""
    nested = [name for name, kind in rows.schema.items() if kind.is_nested()]
    return rows.with_columns(pl.col(nested).map_elements(str, return_dtype=pl.String)) if nested else rows


def _parquet(rows: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    rows.write_parquet(content)
    return content.getvalue()
