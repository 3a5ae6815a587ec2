"""Publishes a published file to a lake: the same schemas, tables, views, macros and comments, and every row.

The rows of a table lie in files by the month in which they became known (or were delivered). A file is named by what
is in it; only those that differ are written, and one transaction takes all of them in and the old ones out: readers see
one published state or the next. A published file of any age can be published so. What others have written to the
tables is taken out again.

DuckLake keeps comments of tables, their columns and views; those of the columns of views are in `ops.view_columns`.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from hashlib import sha256
from pathlib import Path

import duckdb

from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.lake import LAKE, Lake
from offload_platform.warehouse.sql import fetched, literal, quoted, sync_table
from offload_platform.warehouse.transactions import transaction

PUBLICATION = "publication"
"""Key of the fence of what is published."""

_SOURCE = "published"
_TIMES = ("known_from", "delivery_stamp", "committed_at")
_FORM = {"form": "VARCHAR", "published_at": "TIMESTAMPTZ", "run_id": "VARCHAR"}
_NAMED = re.compile(r'"?(\w+)"?\."?(\w+)"?')
_VIEW_COLUMNS = dict.fromkeys(("schema_name", "view_name", "column_name", "comment"), "VARCHAR")


class LakeDiffers(ScaleUnusable):
    """The lake would hold other rows than the published file, or does."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a table that lie in a file: those of a month, or all. `fingerprint` tells their content."""

    schema: str
    table: str
    month: str
    rows: int
    fingerprint: str

    @property
    def name(self) -> str:
        """What the name of its file begins with."""
        return f"{self.month}-{self.fingerprint}-"


@dataclass(frozen=True)
class Mirrored:
    """What was published: rows by table, files that were written and kept, and how long the lock was held (s)."""

    rows: dict[str, int]
    written: int
    kept: int
    snapshot: int
    locked_seconds: float
    seconds: float


def publish_to_lake(published: Path, lake: Lake, run_id: str, spill: Path) -> Mirrored:
    """Bring a lake to a published file, in one commit.

    Raises:
        StaleAttempt: a later attempt has begun.
        LakeDiffers: the lake would hold other rows; nothing was committed.
        ScaleUnusable: the lake cannot be reached.
    """
    started = time.monotonic()
    token = lake.begin(PUBLICATION)
    with lake.connected(spill) as connection:
        connection.execute(f"ATTACH {literal(str(published))} AS {_SOURCE} (READ_ONLY)")
        try:
            return _publish(connection, lake, run_id, token, started)
        except duckdb.Error as error:
            raise ScaleUnusable(
                f"the lake could not be brought to {published}; it is as it was. See that catalog and store answer, "
                f"then publish again. ({' '.join(str(error).split())[:400]})"
            ) from error


def _publish(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str, token: int, started: float) -> Mirrored:
    tables = _tables(connection)
    wanted = [chunk for schema, table in tables for chunk in _chunks(connection, schema, table, tables[schema, table])]
    form = _form_of(connection)
    before = _files(connection)
    missing = [chunk for chunk in wanted if _file_of(chunk, before) is None]
    # What was written by an attempt that failed is found by nobody, and removed by `upkeep.forget`.
    written = {chunk: _write(connection, lake, chunk, tables[chunk.schema, chunk.table]) for chunk in missing}
    with lake.committing(PUBLICATION, token):
        locked = time.monotonic()
        with transaction(connection):
            connection.execute(f"CALL {LAKE}.set_commit_message('offload_platform', {literal(f'run {run_id}')})")
            _ensure_form(connection, form, tables)
            kept = _swap(connection, tables, wanted, written)
            connection.execute(f"DELETE FROM {LAKE}.ops.lake")
            connection.execute(f"INSERT INTO {LAKE}.ops.lake VALUES (?, ?, ?)", [form, datetime.now(UTC), run_id])
            rows = _prove(connection, tables, wanted)
        locked_seconds = time.monotonic() - locked
    _prove(connection, tables, wanted)
    [(snapshot,)] = fetched(connection, f"SELECT max(snapshot_id) FROM ducklake_snapshots({literal(LAKE)})")
    return Mirrored(rows, len(written), kept, snapshot, locked_seconds, time.monotonic() - started)


def _tables(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, str]]:
    """Types of the columns of every table of the published file, by schema and name."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind in fetched(
        connection,
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() "
        "USING (database_name, schema_name, table_name) WHERE database_name = ? "
        "ORDER BY schema_name, table_name, column_index",
        [_SOURCE],
    ):
        found.setdefault((schema, table), {})[column] = kind
    return found


def _month(columns: Mapping[str, str]) -> str:
    """SQL of the month that a row is filed under."""
    time_column = next((name for name in _TIMES if name in columns), None)
    return f"coalesce(strftime({quoted(time_column)}, '%Y-%m'), 'none')" if time_column else "'all'"


def _chunks(connection: duckdb.DuckDBPyConnection, schema: str, table: str, columns: Mapping[str, str]) -> list[Chunk]:
    # DuckDB gives NULL, [] and [NULL] one hash; their JSON differs.
    values = ", ".join(
        f"to_json({quoted(name)})" if kind.endswith(("]", ")")) and not kind.startswith("DECIMAL") else quoted(name)
        for name, kind in columns.items()
    )
    found = fetched(
        connection,
        f"SELECT {_month(columns)} AS month, count(*), sum(hash({values})::UHUGEINT)::VARCHAR "
        f"FROM {_SOURCE}.{quoted(schema)}.{quoted(table)} GROUP BY month ORDER BY month",
    )
    said = repr(list(columns.items()))
    return [
        Chunk(schema, table, month, rows, sha256(f"{said} {rows} {total}".encode()).hexdigest()[:16])
        for month, rows, total in found
    ]


def _files(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, bool]]:
    """The files that the lake has now, by schema and table, and whether nobody has deleted rows of each."""
    tables = fetched(connection, "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?", [LAKE])
    return {
        (schema, table): dict(
            fetched(
                connection,
                f"SELECT data_file, delete_file IS NULL FROM ducklake_list_files({literal(LAKE)}, {literal(table)}, "
                f"schema => {literal(schema)})",
            )
        )
        for schema, table in tables
    }


def _file_of(chunk: Chunk, files: Mapping[tuple[str, str], Mapping[str, bool]]) -> str | None:
    """The file of the lake that holds the rows of a chunk already."""
    found = files.get((chunk.schema, chunk.table), {})
    return next(
        (file for file, is_whole in found.items() if is_whole and file.rpartition("/")[2].startswith(chunk.name)), None
    )


def _write(connection: duckdb.DuckDBPyConnection, lake: Lake, chunk: Chunk, columns: Mapping[str, str]) -> str:
    """Write a chunk's file, where nobody sees it yet; returns its path."""
    folder = f"{lake.data.path.rstrip('/')}/{chunk.schema}/{chunk.table}"
    if not lake.data.url.startswith("s3://"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    file = f"{folder}/{chunk.name}{uuid.uuid4().hex}.parquet"
    connection.execute(
        f"COPY (FROM {_SOURCE}.{quoted(chunk.schema)}.{quoted(chunk.table)} "
        f"WHERE {_month(columns)} = {literal(chunk.month)}) TO {literal(file)} (FORMAT parquet, COMPRESSION zstd)"
    )
    return file


def _swap(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[tuple[str, str], Mapping[str, str]],
    wanted: Sequence[Chunk],
    written: Mapping[Chunk, str],
) -> int:
    """Take the wanted files in, and all others out; returns how many were there already."""
    now = _files(connection)
    kept = {chunk: _file_of(chunk, now) for chunk in wanted}
    if lost := [chunk for chunk, file in kept.items() if file is None and chunk not in written]:
        # Somebody has changed the lake by other means between the look at it and the lock.
        raise LakeDiffers(f"{lost[0].schema}.{lost[0].table} has changed meanwhile. Publish again.")
    for schema, table in tables:
        stay = {file for chunk, file in kept.items() if (chunk.schema, chunk.table) == (schema, table)}
        if gone := [file for file in now.get((schema, table), ()) if file not in stay]:
            connection.execute(
                f"DELETE FROM {LAKE}.{quoted(schema)}.{quoted(table)} "
                f"WHERE filename IN ({', '.join(literal(file) for file in gone)})"
            )
    for chunk, file in written.items():
        if kept[chunk] is None:
            connection.execute(
                f"CALL ducklake_add_data_files({literal(LAKE)}, {literal(chunk.table)}, {literal(file)}, "
                f"schema => {literal(chunk.schema)})"
            )
    return sum(file is not None for file in kept.values())


def _prove(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[tuple[str, str], object], wanted: Sequence[Chunk]
) -> dict[str, int]:
    """Count what the lake holds, and compare it with the published file and the ledger in it; returns the rows."""
    expected = {f"{schema}.{table}": 0 for schema, table in tables}
    for chunk in wanted:
        expected[f"{chunk.schema}.{chunk.table}"] += chunk.rows
    counted = {
        f"{schema}.{table}": int(
            fetched(connection, f"SELECT count(*) FROM {LAKE}.{quoted(schema)}.{quoted(table)}")[0][0]
        )
        for schema, table in tables
    }
    if counted != expected:
        different = sorted(name for name, rows in counted.items() if rows != expected[name])
        raise LakeDiffers(
            f"the lake holds other rows than the published file in {', '.join(different)}. Publish again; if it stays "
            "so, see who else writes to the lake."
        )
    [(rows,)] = fetched(
        connection,
        f"SELECT coalesce(sum(rows_quarantined), 0) FROM {LAKE}.ops.ledger WHERE status = 'loaded'",
    )
    if rows != counted["ops.quarantine"]:
        raise LakeDiffers(
            f"the ledger of the lake tells of {rows:,} rows in quarantine, and there are "
            f"{counted['ops.quarantine']:,}. Publish again."
        )
    return counted


def _form_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Another text where schemas, columns, views, macros or comments of the published file are others."""
    said = [_columns(connection), _views(connection), _macros(connection), _comments(connection)]
    return sha256(repr(said).encode()).hexdigest()[:16]


def _ensure_form(
    connection: duckdb.DuckDBPyConnection, form: str, tables: Mapping[tuple[str, str], Mapping[str, str]]
) -> None:
    """Give the lake the schemas, tables, views, macros and comments of the published file."""
    schemas = [name for (name,) in fetched(connection, _SCHEMAS, [_SOURCE])]
    [(is_new,)] = fetched(
        connection,
        "SELECT count(*) = 0 FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'ops' "
        "AND table_name = 'lake'",
        [LAKE],
    )
    if not is_new and fetched(connection, f"SELECT form FROM {LAKE}.ops.lake") == [(form,)]:
        return
    views, macros, comments = _views(connection), _macros(connection), _comments(connection)
    connection.execute(f"USE {LAKE}")
    for schema in schemas:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    for (schema, table), columns in tables.items():
        sync_table(connection, schema, table, columns)
    sync_table(connection, "ops", "lake", _FORM)
    sync_table(connection, "ops", "view_columns", _VIEW_COLUMNS)
    for _, _, sql, _ in views:
        connection.execute(sql.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    for schema, name, parameters, definition in macros:
        connection.execute(
            f"CREATE OR REPLACE MACRO {quoted(schema)}.{quoted(name)}({', '.join(parameters)}) AS TABLE {definition}"
        )
    for schema, name, column, comment in comments:
        of = f"{quoted(schema)}.{quoted(name)}"
        what = f"TABLE {of}" if column is None else f"COLUMN {of}.{quoted(column)}"
        connection.execute(f"COMMENT ON {what} IS {literal(comment)}")
    for schema, name, _, said in views:
        if said is not None:
            connection.execute(f"COMMENT ON VIEW {quoted(schema)}.{quoted(name)} IS {literal(said)}")
    connection.execute("DELETE FROM ops.view_columns")
    connection.execute(
        "INSERT INTO ops.view_columns SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() "
        "SEMI JOIN (SELECT schema_name, view_name AS table_name FROM duckdb_views() WHERE database_name = $1) "
        "USING (schema_name, table_name) WHERE database_name = $1 AND comment IS NOT NULL ORDER BY ALL",
        [_SOURCE],
    )
    connection.execute("USE memory")


_SCHEMAS = (
    "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? AND NOT internal AND schema_name <> 'main' "
    "ORDER BY schema_name"
)


def _columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    return fetched(
        connection,
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() "
        "WHERE database_name = ? ORDER BY ALL",
        [_SOURCE],
    )


def _views(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str | None]]:
    """Schema, name, SQL and comment of every view, each after those that it reads."""
    found = fetched(
        connection,
        "SELECT schema_name, view_name, sql, comment FROM duckdb_views() WHERE database_name = ? AND NOT internal "
        "ORDER BY schema_name, view_name",
        [_SOURCE],
    )
    named = {(schema, name): (schema, name, sql, comment) for schema, name, sql, comment in found}
    # Whatever names a view need not read it; to make it later does no harm.
    reads = {
        view: {other for other in set(_NAMED.findall(sql)) & named.keys() if other != view}
        for view, (_, _, sql, _) in named.items()
    }
    return [named[view] for view in TopologicalSorter(reads).static_order()]


def _macros(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, list[str], str]]:
    """Schema, name, parameters and definition of every macro."""
    return fetched(
        connection,
        "SELECT schema_name, function_name, parameters, macro_definition FROM duckdb_functions() "
        "WHERE database_name = ? AND function_type = 'table_macro' AND NOT internal ORDER BY ALL",
        [_SOURCE],
    )


def _comments(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str | None, str]]:
    """Schema, table, column (None for the table itself) and comment of all that is said of tables."""
    return fetched(
        connection,
        "SELECT schema_name, table_name, NULL AS column_name, comment FROM duckdb_tables() "
        "WHERE database_name = $1 AND comment IS NOT NULL "
        "UNION ALL SELECT schema_name, table_name, column_name, c.comment FROM duckdb_columns() AS c "
        "SEMI JOIN duckdb_tables() AS t USING (database_name, schema_name, table_name) "
        "WHERE c.database_name = $1 AND c.comment IS NOT NULL ORDER BY ALL",
        [_SOURCE],
    )
