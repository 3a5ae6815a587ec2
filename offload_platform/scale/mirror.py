"""Publishes a published file to a lake: the same schemas, tables, views, macros and comments, and every row.

Of the files that hold the rows (`chunks.py`), those that differ are written, and one transaction takes all of them in
and the old ones out: readers see one published state or the next. A published file of any age can be published so. What
others have written to the tables is taken out again.

DuckLake keeps comments of tables, their columns and views; those of the columns of views are in `ops.view_columns`.
"""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from hashlib import sha256
from pathlib import Path

import duckdb

from offload_platform.scale.chunks import (
    PUBLISHED,
    Chunk,
    Mirrored,
    SharedDiffers,
    chunks_of,
    compare,
    file_of,
    tables_of,
    write_chunk,
)
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.lake import LAKE, Lake
from offload_platform.warehouse.sql import fetched, literal, quoted, sync_table
from offload_platform.warehouse.transactions import transaction

PUBLICATION = "publication"
"""Key of the fence of what is published."""

_FORM = {"form": "VARCHAR", "published_at": "TIMESTAMPTZ", "run_id": "VARCHAR"}
_NAMED = re.compile(r'"?(\w+)"?\."?(\w+)"?')
_VIEW_COLUMNS = dict.fromkeys(("schema_name", "view_name", "column_name", "comment"), "VARCHAR")


def publish_to_lake(published: Path, lake: Lake, run_id: str, spill: Path) -> Mirrored:
    """Bring a lake to a published file, in one commit.

    Raises:
        StaleAttempt: a later attempt has begun.
        SharedDiffers: the lake would hold other rows; nothing was committed.
        ScaleUnusable: the lake cannot be reached.
    """
    started = time.monotonic()
    token = lake.begin(PUBLICATION)
    with lake.connected(spill) as connection:
        connection.execute(f"ATTACH {literal(str(published))} AS {PUBLISHED} (READ_ONLY)")
        try:
            return _publish(connection, lake, run_id, token, started)
        except duckdb.Error as error:
            raise ScaleUnusable(
                f"the lake could not be brought to {published}; it is as it was. See that catalog and store answer, "
                f"then publish again. ({' '.join(str(error).split())[:400]})"
            ) from error


def _publish(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str, token: int, started: float) -> Mirrored:
    tables = tables_of(connection)
    wanted = [
        chunk
        for (schema, table), columns in tables.items()
        for chunk in chunks_of(connection, _rows_of(schema, table), schema, table, columns)
    ]
    form = _form_of(connection)
    before = _files(connection)
    missing = [chunk for chunk in wanted if _held(chunk, before) is None]
    # What was written by an attempt that failed is found by nobody, and removed by `upkeep.forget`.
    written = {
        chunk: write_chunk(connection, _rows_of(*(of := (chunk.schema, chunk.table))), chunk, tables[of], lake.data)[0]
        for chunk in missing
    }
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


def _held(chunk: Chunk, files: Mapping[tuple[str, str], Mapping[str, bool]]) -> str | None:
    """The file of the lake that holds the rows of a chunk already."""
    found = files.get((chunk.schema, chunk.table), {})
    return file_of(chunk, [file for file, is_whole in found.items() if is_whole])


def _rows_of(schema: str, table: str) -> str:
    return f"{PUBLISHED}.{quoted(schema)}.{quoted(table)}"


def _swap(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[tuple[str, str], Mapping[str, str]],
    wanted: Sequence[Chunk],
    written: Mapping[Chunk, str],
) -> int:
    """Take the wanted files in, and all others out; returns how many were there already."""
    now = _files(connection)
    kept = {chunk: _held(chunk, now) for chunk in wanted}
    if lost := [chunk for chunk, file in kept.items() if file is None and chunk not in written]:
        # Somebody has changed the lake by other means between the look at it and the lock.
        raise SharedDiffers(f"{lost[0].schema}.{lost[0].table} has changed meanwhile. Publish again.")
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
    counted = {
        f"{schema}.{table}": int(
            fetched(connection, f"SELECT count(*) FROM {LAKE}.{quoted(schema)}.{quoted(table)}")[0][0]
        )
        for schema, table in tables
    }
    [(rows,)] = fetched(
        connection,
        f"SELECT coalesce(sum(rows_quarantined), 0) FROM {LAKE}.ops.ledger WHERE status = 'loaded'",
    )
    compare(counted, wanted, rows)
    return counted


def _form_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Another text where schemas, columns, views, macros or comments of the published file are others."""
    said = [_columns(connection), _views(connection), _macros(connection), _comments(connection)]
    return sha256(repr(said).encode()).hexdigest()[:16]


def _ensure_form(
    connection: duckdb.DuckDBPyConnection, form: str, tables: Mapping[tuple[str, str], Mapping[str, str]]
) -> None:
    """Give the lake the schemas, tables, views, macros and comments of the published file."""
    schemas = [name for (name,) in fetched(connection, _SCHEMAS, [PUBLISHED])]
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
        [PUBLISHED],
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
        [PUBLISHED],
    )


def _views(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str | None]]:
    """Schema, name, SQL and comment of every view, each after those that it reads."""
    found = fetched(
        connection,
        "SELECT schema_name, view_name, sql, comment FROM duckdb_views() WHERE database_name = ? AND NOT internal "
        "ORDER BY schema_name, view_name",
        [PUBLISHED],
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
        [PUBLISHED],
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
        [PUBLISHED],
    )
