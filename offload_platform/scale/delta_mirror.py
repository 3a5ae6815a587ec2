"""Publishes a published file to Delta tables: the same schemas, tables, descriptions, and every row.

Delta commits by table. A reader of two tables may see one before its commit and one after; whoever reads the versions
that `ops.publication` names, which is committed last, sees one published state, also while the next one is under way,
and where one was killed. The next publication mends what such a one has left.

Delta has neither views nor macros. What is a view of the published file is a table here; what its macros tell is a
filter on `known_from` and `known_to`.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from offload_platform.scale.chunks import (
    PUBLISHED,
    Chunk,
    Mirrored,
    chunks_of,
    compare,
    file_of,
    tables_of,
    write_chunk,
)
from offload_platform.scale.delta import (
    BEGUN,
    COLUMNS,
    ENDED,
    PUBLICATION,
    TRIES,
    WRITTEN,
    Attempt,
    DeltaTables,
    commit,
    in_one_commit,
    library_of_delta,
    names_in,
    refuse_if_overtaken,
    schema_of,
)
from offload_platform.scale.delta_types import Kept, field, kept_columns
from offload_platform.warehouse.sql import fetched, literal, quoted

_VIEW = "materialised"


@dataclass(frozen=True)
class Relation:
    """A table or view of the published file, or a table that was published once and has no columns any more."""

    schema: str
    name: str
    types: Mapping[str, str]
    columns: Mapping[str, Kept]
    comments: Mapping[str, str]
    description: str
    is_view: bool

    @property
    def fields(self) -> list[dict[str, object]]:
        """Its columns as Delta has them."""
        return [field(name, kind, self.comments.get(name)) for name, kind in self.columns.items()]


@dataclass(frozen=True)
class Change:
    """What brings a table, as it was opened, to what it is to hold."""

    table: Any
    is_alike: bool
    chunks: list[Chunk]
    added: list[Any]
    gone: list[Any]

    @property
    def kept(self) -> int:
        """Files that stay."""
        return len(self.chunks) - len(self.added)


def publish_to_delta(published: Path, tables: DeltaTables, run_id: str, spill: Path) -> Mirrored:
    """Bring Delta tables to a published file, one commit for each that differs, and name their versions at the end.

    Raises:
        StaleAttempt: a later attempt has begun.
        SharedDiffers: a table holds other rows than were committed.
        NotInDelta: a column has a type that Delta cannot keep.
        ScaleUnusable: the tables cannot be reached.
    """
    started = time.monotonic()
    tables = tables.reached()
    attempt = tables.begin()
    with tables.connected(spill) as connection, tables.troubles_explained():
        connection.execute(f"ATTACH {literal(str(published))} AS {PUBLISHED} (READ_ONLY)")
        return _Publication(connection, tables, attempt).publish(run_id, started)


@dataclass(frozen=True)
class _Publication:
    connection: duckdb.DuckDBPyConnection
    tables: DeltaTables
    attempt: Attempt

    def publish(self, run_id: str, started: float) -> Mirrored:
        # All files first: the less there is between the commits, the shorter tables differ from each other.
        changes = [(relation, self._change(relation)) for relation in self._relations()]
        committing = time.monotonic()
        changes = [(relation, self._committed(relation, change)) for relation, change in changes]
        versions = {(r.schema, r.name): change.table.version() for r, change in changes if r.columns}
        rows = self._counted(changes)
        self._end(versions, rows, run_id)
        now = time.monotonic()
        return Mirrored(
            rows,
            sum(len(change.added) for _, change in changes),
            sum(change.kept for _, change in changes),
            self.attempt.number,
            now - committing,
            now - started,
        )

    def _relations(self) -> list[Relation]:
        """What is to be published: tables, views, and without columns what was published before and is no more."""
        comments: dict[tuple[str, str], dict[str, str]] = {}
        for schema, name, column, comment in fetched(self.connection, _COMMENTS, [PUBLISHED]):
            comments.setdefault((schema, name), {})[column] = comment
        found = []
        for kinds in ("tables", "views"):
            for (schema, name), types in tables_of(self.connection, kinds).items():
                said = comments.get((schema, name), {})
                columns = kept_columns(self.connection, f"{schema}.{name}", types)
                found.append(Relation(schema, name, types, columns, said, said.get("", ""), kinds == "views"))
        now = {(relation.schema, relation.name) for relation in found}
        for schema, name in sorted(versions_of(self.connection, self.tables).keys() - now):
            found.append(Relation(schema, name, {}, {}, {}, "", False))
        return found

    def _change(self, relation: Relation) -> Change:
        """Compare a table with what it is to hold, and write the files that it lacks."""
        library = library_of_delta()
        table = self.tables.opened(relation.schema, relation.name)
        is_alike = table is not None and _types(table.schema()) == _types(schema_of(relation.fields))
        files: list[str] = []
        if table is not None:
            refuse_if_overtaken(table, WRITTEN, self.attempt)
            files = names_in(table)
        chunks: list[Chunk] = []
        kept, added = set(), []
        if relation.columns:
            source = f"{PUBLISHED}.{quoted(relation.schema)}.{quoted(relation.name)}"
            if relation.is_view:
                self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_VIEW} AS FROM {source}")
                source = _VIEW
            chunks = chunks_of(self.connection, source, relation.schema, relation.name, relation.types)
            values = ", ".join(
                f"{quoted(name)}::{kind.sql} AS {quoted(name)}" for name, kind in relation.columns.items()
            )
            for chunk in chunks:
                if is_alike and (file := file_of(chunk, files)):
                    kept.add(file)
                else:
                    added.append(self._written(source, chunk, relation.types, values))
        gone = [library.transaction.RemoveAction(file, True, _now_ms()) for file in files if file not in kept]
        return Change(table, is_alike, chunks, added, gone)

    def _written(self, source: str, chunk: Chunk, types: Mapping[str, str], values: str = "*") -> Any:
        """Write a file of a table, and say how Delta takes it in."""
        path, size = write_chunk(self.connection, source, chunk, types, self.tables.data, values)
        said = json.dumps({"numRecords": chunk.rows})
        return library_of_delta().transaction.AddAction(path.rpartition("/")[2], size, {}, _now_ms(), True, said)

    def _committed(self, relation: Relation, change: Change) -> Change:
        """Commit what is to be changed; anew where others have come before. Gives the table as it is then."""
        for is_last in (*[False] * TRIES, True):
            try:
                if not self._commit(relation, change):
                    return change
            except library_of_delta().exceptions.DeltaError:
                if is_last:
                    raise
                change = self._change(relation)
            else:
                break
        table = self.tables.opened(relation.schema, relation.name)
        refuse_if_overtaken(table, WRITTEN, self.attempt)
        return replace(change, table=table)

    def _commit(self, relation: Relation, change: Change) -> bool:
        """Commit files, and then descriptions; returns whether there was anything to commit."""
        attempts = {WRITTEN: self.attempt.number}
        if change.table is None:
            if relation.columns:
                of = (relation.schema, relation.name)
                self.tables.create(*of, relation.fields, relation.description, change.added, attempts)
            return bool(relation.columns)
        if relation.columns and not change.is_alike:
            change.table.create_write_transaction(
                change.added, "overwrite", schema_of(relation.fields), commit_properties=in_one_commit(attempts)
            )
        elif change.added or change.gone or not self.attempt.is_alone:
            commit(change.table, [*change.added, *change.gone], attempts)
        elif not self._to_describe(relation, change.table):
            return False
        for describe in self._to_describe(relation, self.tables.opened(relation.schema, relation.name)):
            describe()
        return True

    def _to_describe(self, relation: Relation, table: Any) -> list[Callable[[], None]]:
        """What gives a table the description, comments and properties that it lacks."""
        if not relation.columns:
            return []
        in_commit = in_one_commit({WRITTEN: self.attempt.number})
        told = {column.name: column.metadata.get("comment", "") for column in table.schema().fields}
        lacking = [
            partial(table.alter.set_column_metadata, name, {"comment": comment})
            for name in relation.columns
            if told.get(name) != (comment := relation.comments.get(name, ""))
        ]
        metadata = table.metadata()
        if (metadata.description or "") != relation.description:
            lacking.append(partial(table.alter.set_table_description, relation.description))
        if metadata.configuration != self.tables.properties:
            lacking.append(partial(table.alter.set_table_properties, self.tables.properties))
        return [partial(one, commit_properties=in_commit) for one in lacking]

    def _counted(self, changes: Sequence[tuple[Relation, Change]]) -> dict[str, int]:
        """Count the rows of each table in its files, and compare them with the published file and the ledger."""
        files = {
            f"{relation.schema}.{relation.name}": []
            if change.table is None
            else self.tables.files_of(change.table, relation.schema, relation.name)
            for relation, change in changes
        }
        counted = {name: self._sum("count(*)", of, "true") for name, of in files.items()}
        quarantined = self._sum("sum(rows_quarantined)", files["ops.ledger"], "status = 'loaded'")
        compare(counted, [chunk for _, change in changes for chunk in change.chunks], quarantined)
        return counted

    def _sum(self, what: str, files: Sequence[str], condition: str) -> int:
        if not files:
            return 0
        [(found,)] = fetched(
            self.connection, f"SELECT coalesce({what}, 0) FROM read_parquet(?) WHERE {condition}", [files]
        )
        return int(found)

    def _end(self, versions: Mapping[tuple[str, str], int], rows: Mapping[str, int], run_id: str) -> None:
        """Name the versions that belong together: from here on, they are what is published."""
        spelled = ", ".join(f"{quoted(name)} {kind.sql}" for name, (kind, _) in COLUMNS.items())
        self.connection.execute(f"CREATE TEMP TABLE publication ({spelled})")
        said = (self.attempt.number, run_id, datetime.now(UTC))
        self.connection.executemany(
            f"INSERT INTO publication VALUES ({', '.join('?' * len(COLUMNS))})",
            [(*name, version, rows[".".join(name)], *said) for name, version in versions.items()],
        )
        added = self._written("publication", Chunk(*PUBLICATION, "all", len(versions), str(self.attempt.number)), {})
        removed = library_of_delta().transaction.RemoveAction
        for is_last in (*[False] * TRIES, True):
            table = self.tables.opened(*PUBLICATION)
            refuse_if_overtaken(table, BEGUN, self.attempt)
            if table.metadata().configuration != self.tables.properties:
                table.alter.set_table_properties(self.tables.properties, commit_properties=in_one_commit({}))
                table = self.tables.opened(*PUBLICATION)
            gone = [removed(file, True, _now_ms()) for file in names_in(table)]
            try:
                commit(table, [added, *gone], {ENDED: self.attempt.number})
            except library_of_delta().exceptions.DeltaError:
                if is_last:
                    raise
            else:
                return


def versions_of(connection: duckdb.DuckDBPyConnection, tables: DeltaTables) -> dict[tuple[str, str], int]:
    """The version of each table that belongs to the newest publication; none where there was none."""
    table = tables.opened(*PUBLICATION)
    if table is None or not (files := tables.files_of(table, *PUBLICATION)):
        return {}
    found = fetched(connection, "SELECT schema_name, table_name, version FROM read_parquet(?)", [files])
    return {(schema, name): version for schema, name, version in found}


def _types(schema: Any) -> list[tuple[str, object]]:
    """Names and types of a schema, without what is said of them."""
    return [(column["name"], column["type"]) for column in json.loads(schema.to_json())["fields"]]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_COMMENTS = """
    SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()
    WHERE database_name = $1 AND comment IS NOT NULL
    UNION ALL SELECT schema_name, table_name, '', comment FROM duckdb_tables()
    WHERE database_name = $1 AND comment IS NOT NULL
    UNION ALL SELECT schema_name, view_name, '', comment FROM duckdb_views()
    WHERE database_name = $1 AND comment IS NOT NULL
"""
