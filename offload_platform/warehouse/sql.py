"""SQL of names, literals, types, comments and tables: what contracts and the `ops` schema are turned into."""

from collections.abc import Mapping, Sequence

import duckdb
import polars as pl

from offload_platform.contracts.columns import Column, Privacy
from offload_platform.contracts.readers import JsonObjectCell, UnknownColumns
from offload_platform.quality.sql import literal as literal
from offload_platform.quality.sql import quoted as quoted


class TableDiffers(Exception):
    """A table of the warehouse cannot take the rows of its contract any more."""


def sql_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    """The DuckDB type of a polars type that contracts use."""
    match dtype:
        case pl.List():
            return f"{sql_type(dtype.inner)}[]"  # type: ignore[arg-type]
        case pl.Struct():
            return "STRUCT(" + ", ".join(f"{quoted(f.name)} {sql_type(f.dtype)}" for f in dtype.fields) + ")"  # type: ignore[arg-type]
        case pl.Datetime():
            return "TIMESTAMPTZ" if dtype.time_zone else "TIMESTAMP"
        case pl.Decimal():
            return f"DECIMAL({dtype.precision},{dtype.scale})"
    return {
        pl.String: "VARCHAR",
        pl.Boolean: "BOOLEAN",
        pl.Float64: "DOUBLE",
        pl.Int16: "SMALLINT",
        pl.Int32: "INTEGER",
        pl.Int64: "BIGINT",
    }[dtype if isinstance(dtype, type) else type(dtype)]


def column_type(column: Column) -> str:
    """The DuckDB type of a contract's column; JSON text gets DuckDB's own JSON type."""
    holds_json = isinstance(column.facts.reader, JsonObjectCell | UnknownColumns)
    return "JSON" if holds_json else sql_type(column.dtype)


def column_comment(column: Column) -> str:
    """Description, unit, privacy class and source of a column, in one line."""
    facts = column.facts
    privacy = facts.privacy.value + (", sensitive" if facts.sensitive else "")
    parts = [
        column.description,
        f"Unit: {facts.unit}." if facts.unit else "",
        f"Privacy: {privacy}." if facts.privacy is not Privacy.NONE or facts.sensitive else "",
        f"Source: {facts.source}.",
    ]
    return " ".join(part for part in parts if part)


def sync_table(connection: duckdb.DuckDBPyConnection, schema: str, table: str, columns: Mapping[str, str]) -> None:
    """Create a table with columns of these types, or add to it those that it lacks.

    Raises:
        TableDiffers: a column has another type.
    """
    name = f"{quoted(schema)}.{quoted(table)}"
    present = dict(
        fetched(
            connection,
            "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
            "AND database_name = current_database()",
            [schema, table],
        )
    )
    if not present:
        spelled = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns.items())
        connection.execute(f"CREATE TABLE {name} ({spelled})")
        return
    for column, kind in columns.items():
        if column not in present:
            connection.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {kind}")
        elif _canonical(connection, kind) != present[column]:
            raise TableDiffers(
                f"{name}: column {column} is {present[column]} in the warehouse and {kind} in the contract. "
                f"Drop it, {table}_sightings and {table}_versions in the build file, and load all its partitions again."
            )


def comment_on(
    connection: duckdb.DuckDBPyConnection, what: str, name: str, description: str, columns: Mapping[str, str]
) -> None:
    """Put comments on a TABLE or VIEW, and on its columns."""
    connection.execute(f"COMMENT ON {what} {name} IS {literal(description)}")
    for column, comment in columns.items():
        connection.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(comment)}")


def _canonical(connection: duckdb.DuckDBPyConnection, kind: str) -> str:
    return str(fetched(connection, f"SELECT typeof(CAST(NULL AS {kind}))")[0][0])


def fetched(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
    """All rows of a query."""
    return connection.execute(sql, list(values)).fetchall()
