"""JSON in cells, decoded by DuckDB: it is the fastest decoder of fixes found, and one bad cell costs only itself."""

from collections.abc import Callable
from functools import partial

import polars as pl

from offload_platform.contracts.nested import ObjectsCell
from offload_platform.contracts.readers import JsonMemberCell, JsonObjectCell, JsonReader, TextListCell, wire_name
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.engine import connect
from offload_platform.quality.nested_objects import objects_sql, parsed_time, time_fields
from offload_platform.quality.sql import literal
from offload_platform.quality.timestamps import instant, offset_minutes, wall_clock

_MOST_MEMBER_CELLS = 1 << 24
_FIX = pl.element().struct
_POSITION = _FIX.field("latitude"), _FIX.field("longitude")


class TooManyMembers(Exception):
    """The objects in some lines have so many different members that a table of them would fill the memory."""

    def __init__(self, names: int, lines: int) -> None:
        super().__init__(f"{names:,} different members in {lines:,} lines")


class JsonCells:
    """Decodes JSON cells; one is needed for each thread.

    As a context manager, it gives the engine's connection back.
    """

    def __init__(self) -> None:
        self._connection = connect()

    def __enter__(self) -> "JsonCells":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def decode(self, cells: pl.Series, reader: JsonReader) -> pl.Series:
        """Values of the cells, of the same length; null where a cell is null or does not decode."""
        match reader:
            case TextListCell():
                return self._each_once(cells, partial(self._text_lists, bare_word=reader.bare_word))
            case JsonObjectCell():
                return self._each_once(cells, partial(self._values, sql="CASE WHEN kind = 'OBJECT' THEN cell END"))
            case JsonMemberCell(member=member):
                sql = f"CASE WHEN kind = 'OBJECT' THEN cell ->> {literal(member)} END"
                return self._each_once(cells, partial(self._values, sql=sql))
            case ObjectsCell():
                return self._scattered(cells, objects_sql(reader, "cell", "kind"))
            case _:
                return self._points(cells)

    def _text_lists(self, cells: pl.Series, bare_word: bool) -> pl.Series:
        """Lists of texts; a cell that does not look like JSON is, where a bare word may stand, a list of that word."""
        json_like = cells.str.contains(r"^\s*[\[{\"]")
        decoded = self._values(pl.select(pl.when(json_like).then(cells)).to_series(), _text_list_sql())
        if not bare_word:
            return decoded
        words = pl.select(pl.when(~json_like).then(pl.concat_list(cells))).to_series()
        return pl.select(pl.coalesce(decoded, words)).to_series()

    def _points(self, cells: pl.Series) -> pl.Series:
        """Fixes. Times of the usual shape are read as those of columns are, at half the price of DuckDB's reading."""
        text = _FIX.field("timestamp")
        clocks = wall_clock(text).alias("fix_local"), offset_minutes(text).alias("utc_offset_min")
        told = self._scattered(cells, _fixes_sql()).to_frame("fixes")
        read = told.select(pl.col("fixes").list.eval(pl.struct(*_POSITION, text, *clocks))).to_series()
        local, offset = _FIX.field("fix_local"), _FIX.field("utc_offset_min")
        is_unusual = text.is_not_null() & (local.is_null() | offset.is_null())
        fixes = read.list.eval(pl.struct(*_POSITION, instant(local, offset).alias("fix_at"), local, offset))
        unusual = read.list.eval(is_unusual).list.any().fill_null(False).arg_true()
        if unusual.len():
            others = self._scattered(cells.gather(unusual), _timed_fixes_sql())
            places = pl.int_range(cells.len(), dtype=pl.UInt32, eager=True)
            fixes = pl.concat([fixes, others]).gather(places.scatter(unusual, cells.len() + places.head(unusual.len())))
        # Text such as "nan" and numbers such as 1e999 become a DOUBLE that is no position.
        is_whole = fixes.list.eval(
            pl.all_horizontal(value.is_finite().fill_null(False) for value in _POSITION)
        ).list.all()
        return pl.select(pl.when(is_whole).then(fixes)).to_series()

    def members(self, lines: pl.Series) -> pl.DataFrame:
        """Members of the JSON objects in some lines, as text by `wire_name`; null rows for lines that hold no object.

        The column `is_object` says which lines hold one, and `is_clear` in which each member stands once. Members that
        are no text are given as JSON.

        Raises:
            TooManyMembers: the objects have so many different members that a table of them would fill the memory.
        """
        stream = ArrowStream(pl.DataFrame({"line": lines}))  # noqa: F841 (read by DuckDB by its name)
        self._connection.execute(
            """CREATE OR REPLACE TEMP TABLE objects AS
                SELECT row_number() OVER () AS nth, CASE WHEN names IS NOT NULL THEN line END AS line, names
                FROM (SELECT line, CASE WHEN len(names) > 0 THEN names WHEN json_type(line) = 'OBJECT' THEN names END
                        AS names
                    FROM (SELECT line, json_keys(line) AS names
                        FROM (SELECT CASE WHEN json_valid(line) THEN line END AS line FROM stream)))"""
        )
        # Nearly all lines have the members of the line before, so looking at each combination once costs little.
        combinations = [
            combination
            for (combination,) in self._connection.execute(
                "SELECT names FROM objects WHERE names IS NOT NULL GROUP BY names ORDER BY min(nth)"
            ).fetchall()
        ]
        names = list(dict.fromkeys(name for combination in combinations for name in combination))
        all_clear = all(len(set(combination)) == len(combination) for combination in combinations)
        if len(names) * lines.len() > _MOST_MEMBER_CELLS:
            raise TooManyMembers(len(names), lines.len())
        pointers = ", ".join(literal(_pointer(name)) for name in names)
        values = f"json_extract_string(line, [{pointers}])" if names else "NULL::VARCHAR[]"
        found = pl.DataFrame(
            ArrowStream(
                self._connection.sql(
                    f"""SELECT line IS NOT NULL AS is_object,
                        {"line IS NOT NULL" if all_clear else "len(list_distinct(names)) = len(names)"} AS is_clear,
                        {values} AS v FROM objects ORDER BY nth"""
                )
            )
        )
        return found.select(
            "is_object", "is_clear", *(pl.col("v").list.get(i).alias(wire_name(name)) for i, name in enumerate(names))
        )

    def _each_once(self, cells: pl.Series, decode: Callable[[pl.Series], pl.Series]) -> pl.Series:
        """Decode each distinct cell once: short cells repeat so often that looking them up costs less."""
        distinct = cells.drop_nulls().unique()
        decoded = pl.DataFrame({"cell": distinct, "value": decode(distinct)})
        return pl.DataFrame({"cell": cells}).join(decoded, on="cell", how="left", maintain_order="left")["value"]

    def _values(self, cells: pl.Series, sql: str) -> pl.Series:
        return self._query(cells.to_frame("cell").with_row_index("row"), sql)

    def _scattered(self, cells: pl.Series, sql: str) -> pl.Series:
        rows = cells.is_not_null().arg_true()
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
                SELECT row, cell,
                    CASE ltrim(cell, ' \t\r\n')[1] WHEN '{{' THEN 'OBJECT' WHEN '[' THEN 'ARRAY' END AS kind
                FROM (SELECT row, CASE WHEN json_valid(cell) THEN cell END AS cell FROM cells)
            )"""
        )
        result = pl.DataFrame(ArrowStream(relation))
        if not result["row"].equals(frame["row"]):
            result = result.sort("row")
        return result["value"]


def _text_list_sql() -> str:
    return "CASE WHEN kind = 'ARRAY' THEN from_json(cell, '[\"VARCHAR\"]') END"


def _fixes_sql() -> str:
    """Fixes as they are told: position, and time as text."""
    shape = '{"waypoints": [{"latitude": "DOUBLE", "longitude": "DOUBLE", "timestamp": "VARCHAR"}]}'
    objects = f"from_json(CASE WHEN kind = 'OBJECT' THEN cell END, '{shape}').waypoints"
    arrays = """from_json(CASE WHEN kind = 'ARRAY' THEN cell END, '[["VARCHAR"]]')"""
    of_array = "{latitude: try_cast(p[1] AS DOUBLE), longitude: try_cast(p[2] AS DOUBLE), timestamp: p[3]}"
    return (
        f"CASE kind WHEN 'OBJECT' THEN {objects} WHEN 'ARRAY' THEN list_transform({arrays}, lambda p: {of_array}) END"
    )


def _timed_fixes_sql() -> str:
    parsed = f"{{latitude: p.latitude, longitude: p.longitude, t: {parsed_time('p.timestamp')}}}"
    at, local, offset = time_fields("p.t")
    fix = (
        f"{{latitude: p.latitude, longitude: p.longitude, fix_at: {at}, fix_local: {local}, utc_offset_min: {offset}}}"
    )
    return f"list_transform(list_transform({_fixes_sql()}, lambda p: {parsed}), lambda p: {fix})"


def _pointer(name: str) -> str:
    """The JSON Pointer (RFC 6901) of a member: it takes any name, where a path has signs of its own."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
