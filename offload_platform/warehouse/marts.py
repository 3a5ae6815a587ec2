"""The analyst layer of a vendor: views in the schema `mart`, each an SQL file that documents itself.

A mart is `vendors/<vendor>/marts/<name>.sql`. It begins with comment lines: what a row is, an empty comment line, then
`column: text` for the columns that have no comment of their own yet (an indented line goes on with the one above). All
other columns inherit the comment of the column of that name in what the mart reads, so nothing is written twice; a
column that changes its meaning on the way needs a line. A file `<name>.csv` beside it becomes the table that `{rows}`
stands for: what is data is kept as data. Marts may read each other.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.resources import files
from typing import Any

import duckdb

from offload_platform import vendors
from offload_platform.warehouse.sql import comment_on, fetched, literal, quoted

SCHEMA = "mart"
_DESCRIBED = (
    "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() "
    "WHERE database_name = current_database() AND comment IS NOT NULL"
)


class MartUndocumented(Exception):
    """A mart has a column without a comment, or a comment without a column."""


@dataclass(frozen=True)
class Mart:
    """A view: `columns` documents those that inherit no comment, `sql` is the query."""

    name: str
    description: str
    columns: Mapping[str, str]
    sql: str

    def reads(self, connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
        """Schema and name of every table and view that the query names."""
        [(tree,)] = fetched(connection, "SELECT json_serialize_sql(?)", [self.sql])
        return set(_tables(json.loads(tree)))


def marts_of(vendor: str) -> list[Mart]:
    """The marts of a vendor, by name; none where its folder has none."""
    folder = files(vendors).joinpath(vendor, "marts")
    if not folder.is_dir():
        return []
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
    return [
        parse_mart(name.removesuffix(".sql"), text, found.get(name.removesuffix(".sql") + ".csv"))
        for name, text in sorted(found.items())
        if name.endswith(".sql")
    ]


def parse_mart(name: str, text: str, rows: str | None = None) -> Mart:
    """Read the file of a mart, and the text of the CSV file beside it."""
    lines = text.splitlines()
    length = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    said = [line.removeprefix("--").removeprefix(" ") for line in lines[:length]]
    end = said.index("") if "" in said else length
    columns: dict[str, str] = {}
    column = ""
    for line in said[end + 1 :]:
        if line.startswith(" "):
            columns[column] += f" {line.strip()}"
        else:
            column, _, comment = line.partition(": ")
            columns[column] = comment
    sql = "\n".join(lines[length:])
    return Mart(name, " ".join(said[:end]), columns, sql if rows is None else sql.replace("{rows}", _values(rows)))


def ensure_marts(connection: duckdb.DuckDBPyConnection, vendor: str) -> list[str]:
    """Create the marts of a vendor, each after what it reads; returns their names in that order.

    Raises:
        MartUndocumented: a column has no comment, or two that differ, or a comment is of no column.
    """
    marts = {mart.name: mart for mart in marts_of(vendor)}
    reads = {mart.name: mart.reads(connection) for mart in marts.values()}
    needs = {name: {table for schema, table in found if schema == SCHEMA} for name, found in reads.items()}
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    order = list(TopologicalSorter(needs).static_order())
    described: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, comment in fetched(connection, _DESCRIBED):
        described.setdefault((schema, table), {})[column] = comment
    for name in order:
        mart, view = marts[name], f"{SCHEMA}.{quoted(name)}"
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS {mart.sql}")
        shown = [column for column, *_ in fetched(connection, f"DESCRIBE {view}")]
        described[SCHEMA, name] = _comments(mart, shown, [described.get(table, {}) for table in reads[name]])
        comment_on(connection, "VIEW", view, mart.description, described[SCHEMA, name])
    return order


def _comments(mart: Mart, shown: Sequence[str], read: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The comment of each column that a mart shows, in order; `read` are those of what the mart reads."""
    inherited: dict[str, set[str]] = {}
    for comments in read:
        for column, comment in comments.items():
            inherited.setdefault(column, set()).add(comment)
    if unknown := mart.columns.keys() - set(shown):
        raise MartUndocumented(f"mart {mart.name} describes {', '.join(sorted(unknown))}, which it does not have.")
    choices = {c: {mart.columns[c]} if c in mart.columns else inherited.get(c, set()) for c in shown}
    if unsettled := [f"{column} ({len(found)})" for column, found in choices.items() if len(found) != 1]:
        raise MartUndocumented(
            f"mart {mart.name} inherits no comment, or several, for {', '.join(unsettled)}. "
            f"Describe each column in {mart.name}.sql."
        )
    return {column: comment for column, [comment] in choices.items()}


def _tables(node: Any) -> Iterator[tuple[str, str]]:
    """Every table in a parsed query; names without a schema are of the query's own."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and node["schema_name"]:
            yield node["schema_name"], node["table_name"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _tables(inner)


def _values(text: str) -> str:
    """Rows of a CSV file, all text, as a table in SQL."""
    header, *rows = csv.reader(text.splitlines())
    values = ", ".join(f"({', '.join(literal(value) for value in row)})" for row in rows)
    return f"(VALUES {values}) AS rows({', '.join(quoted(name) for name in header)})"
