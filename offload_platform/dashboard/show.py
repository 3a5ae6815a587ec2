"""How a tile is shown: its picture, and behind a button its table, its SQL and its downloads."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
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
_REMEDY = {
    False: "Publish again with this version: `offload run`.",
    True: "Reload the page; if it stays so, see whether who runs the dashboard may read these files.",
}
_SMALL = "logins"
"""The column that is null, as all figures beside it, where a group is too small to be told."""


def tile(name: str, draw: Draw, geometry: Geometry | None = None, empty: str = _NOTHING, **values: Value) -> None:
    """Show a tile: `draw` makes a picture of its rows, `geometry` a GeoJSON geometry of one, for those with a place.

    `empty` is said where there are no rows.
    """
    view, one = current(), tile_named(name)
    sql = one.statement({**view.values, **values})
    sources = [view.sources[name] for name in sorted(one.parameters & view.sources.keys())]
    tables = view.published.reads(sql)
    with st.container(border=True):
        st.markdown(f"**{one.title}**", help=one.said)
        if missing := [table for table in tables if table not in view.published.tables and table[0] in ("mart", "ops")]:
            names = ", ".join(".".join(table) for table in missing)
            st.info(f"No feed has delivered this yet: there is no {names}. See the page Overview for what is loaded.")
            return
        try:
            rows = view.published.answer(sql, " ".join(source.version for source in sources))
        except duckdb.Error as error:
            st.error(f"This tile cannot be read: {error}. {_REMEDY[bool(sources)]}")
            return
        if rows.is_empty():
            st.info(empty)
        else:
            draw(rows)
            if small := small_groups(rows):
                st.caption(f'{small} of {rows.height} groups are of fewer than {_limit()} logins: "<{_limit()}".')
        _behind(
            view,
            one,
            sql,
            [*(".".join(table) for table in tables), *(_named(file, view) for one in sources for file in one.files)],
            rows,
            geometry,
        )


def small_groups(rows: pl.DataFrame) -> int:
    """How many rows are of groups that are too small to be told."""
    return rows[_SMALL].null_count() if _SMALL in rows.columns else 0


def with_small(rows: pl.DataFrame, limit: int, percent: Sequence[str] = ()) -> pl.DataFrame:
    """Rows in which the figures of groups below a limit say so; columns become texts for that, some in percent."""
    if not small_groups(rows):
        return rows
    is_small = rows[_SMALL].is_null()
    hidden = [name for name in rows.columns if rows.filter(is_small)[name].is_null().all()]
    return rows.with_columns(
        pl.Series(
            name,
            [
                f"<{limit}" if small else _said(value, name in percent)
                for small, value in zip(is_small, rows[name], strict=True)
            ],
            pl.String,
        )
        for name in hidden
    )


def figures(rows: pl.DataFrame, **labels: str) -> None:
    """Show the one row as large figures: a label and a format, as `Trips|{:,.0f}`, for each column."""
    said = with_small(rows, _limit()).row(0, named=True)
    for column, (name, label) in zip(st.columns(len(labels)), labels.items(), strict=True):
        title, _, form = label.partition("|")
        value = said[name]
        column.metric(title, "–" if value is None else value if isinstance(value, str) else form.format(value))


def table(*, percent: Sequence[str] = ()) -> Draw:
    """What shows rows as a table, these columns as percent."""

    def draw(rows: pl.DataFrame) -> None:
        told = with_small(rows, _limit(), percent)
        shares = {n: st.column_config.NumberColumn(format="percent") for n in percent if told.schema[n].is_numeric()}
        st.dataframe(told, hide_index=True, column_config=_times(told) | shares)

    return draw


def as_geojson(rows: Iterable[dict[str, Any]], geometry: Geometry) -> str:
    """Rows as a GeoJSON collection, with all of their columns as properties."""
    features = [{"type": "Feature", "properties": row, "geometry": geometry(row)} for row in rows]
    return json.dumps({"type": "FeatureCollection", "features": features}, default=str, ensure_ascii=False)


def _behind(
    view: View, one: Tile, sql: str, tables: Sequence[str], rows: pl.DataFrame, geometry: Geometry | None
) -> None:
    names = ", ".join(f"`{name}`" for name in tables) or "`duckdb_columns()`"
    limit = _limit()
    with st.expander(f"Table, SQL and downloads – {names}"):
        st.code(sql, language="sql")
        st.dataframe(with_small(rows.head(_ROWS_IN_TABLE), limit), hide_index=True, column_config=_times(rows))
        if rows.height > _ROWS_IN_TABLE:
            st.caption(f"The first {_ROWS_IN_TABLE} of {rows.height:,} rows; downloads have all of them.")
        file = f"{one.name.replace('/', '_')}_{view.published.at:%Y%m%dT%H%M%SZ}"
        # What is downloaded is made when somebody asks for it, when no page is being drawn any more.
        kinds: list[tuple[str, str, str, Callable[[], bytes]]] = [
            ("CSV", "csv", "text/csv", lambda: _flat(with_small(rows, limit)).write_csv().encode()),
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


def _named(file: str, view: View) -> str:
    """The name of what stands beside the published file, below the warehouse where it is there."""
    warehouse = view.published.file.parent.parent
    return str(Path(file).relative_to(warehouse)) if Path(file).is_relative_to(warehouse) else file


def _limit() -> int:
    """Of how many a group must be to be told."""
    limit = current().values["smallest"]
    assert isinstance(limit, int)
    return limit


def _said(value: Any, is_share: bool) -> str:
    """A figure beside others that are words."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.1%}" if is_share else f"{value:,.2f}"
    return str(value)


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
