"""JSON in cells, decoded by DuckDB: it is the fastest decoder of fixes found, and one bad cell costs only itself."""

import duckdb
import polars as pl

from offload_platform.contracts.readers import JsonMemberCell, JsonObjectCell, JsonReader, TextListCell
from offload_platform.quality.arrow import ArrowStream

_FIX_SHAPE = '{"latitude":"DOUBLE","longitude":"DOUBLE","timestamp":"VARCHAR"}'


def _fix(latitude: str, longitude: str, time: str) -> str:
    # DuckDB reads a time without an offset as UTC and a date as midnight; both would be wrong without a word.
    instant, local = f"try_cast({time} AS TIMESTAMPTZ)", f"try_cast({time} AS TIMESTAMP)"
    offset = f"((epoch_us({local}) - epoch_us({instant})) // 60000000)"
    readable = f"""length({time}) BETWEEN 20 AND 35
        AND ({time}[-1] = 'Z' OR {time}[-6] IN ('+', '-') OR {time}[-5] IN ('+', '-'))
        AND {offset} BETWEEN -840 AND 840"""
    return f"""{{
        latitude: {latitude},
        longitude: {longitude},
        fix_at: CASE WHEN {readable} THEN {instant} END,
        fix_local: CASE WHEN {readable} THEN {local} END,
        utc_offset_min: CASE WHEN {readable} THEN {offset}::SMALLINT END
    }}"""


class JsonCells:
    """Decodes JSON cells; holds one in-memory DuckDB connection, so one is needed for each thread."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": "512MB"})
        self._connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> "JsonCells":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def decode(self, cells: pl.Series, reader: JsonReader) -> pl.Series:
        """Values of the cells, of the same length; null where a cell is null or does not decode."""
        present = cells.is_not_null()
        if isinstance(reader, TextListCell):
            json_like = cells.str.contains(r"^\s*[\[{\"]").fill_null(False)
            decoded = self._scattered(cells, json_like, _text_list_sql())
            if not reader.bare_word:
                return decoded
            words = pl.select(pl.when(present & ~json_like).then(pl.concat_list(cells))).to_series()
            return pl.select(pl.coalesce(decoded, words)).to_series()
        if isinstance(reader, JsonObjectCell):
            return self._scattered(cells, present, "CASE WHEN kind = 'OBJECT' THEN cell END")
        if isinstance(reader, JsonMemberCell):
            member = reader.member.replace("'", "''")
            return self._scattered(cells, present, f"CASE WHEN kind = 'OBJECT' THEN cell ->> '{member}' END")
        return self._scattered(cells, present, _points_sql())

    def _scattered(self, cells: pl.Series, wanted: pl.Series, sql: str) -> pl.Series:
        rows = wanted.arg_true()
        frame = pl.DataFrame({"row": rows, "cell": cells.gather(rows)})
        decoded = self._query(frame, sql)
        if rows.len() == cells.len():
            return decoded
        every_row = pl.DataFrame({"row": pl.int_range(cells.len(), dtype=pl.UInt32, eager=True)})
        joined = every_row.join(
            pl.DataFrame({"row": rows, "value": decoded}), on="row", how="left", maintain_order="left"
        )
        return joined["value"]

    def _query(self, frame: pl.DataFrame, sql: str) -> pl.Series:
        cells = ArrowStream(frame)  # noqa: F841 (read by DuckDB by its name)
        relation = self._connection.sql(
            f"""SELECT row, {sql} AS value FROM (
                SELECT row, CASE WHEN valid THEN cell END AS cell, CASE WHEN valid THEN json_type(cell) END AS kind
                FROM (SELECT row, cell, json_valid(cell) AS valid FROM cells)
            )"""
        )
        result = pl.DataFrame(ArrowStream(relation))
        if not result["row"].equals(frame["row"]):
            result = result.sort("row")
        return result["value"]


def _text_list_sql() -> str:
    return "CASE WHEN kind = 'ARRAY' THEN from_json(cell, '[\"VARCHAR\"]') END"


def _points_sql() -> str:
    fix_of_object = _fix("p.latitude", "p.longitude", "p.timestamp")
    fix_of_array = _fix("try_cast(p[1] AS DOUBLE)", "try_cast(p[2] AS DOUBLE)", "p[3]")
    objects = f"""from_json(CASE WHEN kind = 'OBJECT' THEN cell END, '{{"waypoints":[{_FIX_SHAPE}]}}').waypoints"""
    arrays = """from_json(CASE WHEN kind = 'ARRAY' THEN cell END, '[["VARCHAR"]]')"""
    fixes = f"""CASE kind
        WHEN 'OBJECT' THEN list_transform({objects}, lambda p: {fix_of_object})
        WHEN 'ARRAY' THEN list_transform({arrays}, lambda p: {fix_of_array}) END"""
    # Text such as "nan" and numbers such as 1e999 become a DOUBLE that is no position.
    whole = "len(list_filter(fixes, lambda p: isfinite(p.latitude) AND isfinite(p.longitude))) = len(fixes)"
    return f"(SELECT CASE WHEN {whole} THEN fixes END FROM (SELECT {fixes} AS fixes))"
