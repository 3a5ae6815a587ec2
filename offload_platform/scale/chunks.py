"""What a published file holds, month by month: the same for every form of the shared warehouse.

The rows of a table lie in files by the month in which they became known (or were delivered). A file is named by what
is in it, so that only those that differ are written. Not here: how files are taken in (`mirror.py`, `delta.py`).
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import duckdb

from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.place import Place
from offload_platform.warehouse.sql import fetched, literal, quoted

PUBLISHED = "published"
"""Name of the published file in connections that publish it."""

_TIMES = ("known_from", "delivery_stamp", "committed_at")


class SharedDiffers(ScaleUnusable):
    """The shared warehouse would hold other rows than the published file, or does."""


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
    """What was published: rows by table, files that were written and kept, and how long the commit took (s).

    `snapshot` is the number by which readers ask for this state. `locked_seconds` are those of the commit, in which a
    lake holds its lock.
    """

    rows: dict[str, int]
    written: int
    kept: int
    snapshot: int
    locked_seconds: float
    seconds: float


def tables_of(connection: duckdb.DuckDBPyConnection, kinds: str = "tables") -> dict[tuple[str, str], dict[str, str]]:
    """Types of the columns of every table of the published file, by schema and name; or of its `views`."""
    named = {"tables": "duckdb_tables()", "views": "(SELECT *, view_name AS table_name FROM duckdb_views())"}[kinds]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind in fetched(
        connection,
        f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() AS c SEMI JOIN {named} AS t "
        "USING (database_name, schema_name, table_name) WHERE database_name = ? AND NOT internal "
        "ORDER BY schema_name, table_name, column_index",
        [PUBLISHED],
    ):
        found.setdefault((schema, table), {})[column] = kind
    return found


def chunks_of(
    connection: duckdb.DuckDBPyConnection, source: str, schema: str, table: str, columns: Mapping[str, str]
) -> list[Chunk]:
    """The chunks of a table, whose rows are in `source`, which is SQL."""
    # DuckDB gives NULL, [] and [NULL] one hash; their JSON differs. It sums UHUGEINT as DOUBLE: in another order, to
    # another number.
    values = ", ".join(
        f"to_json({quoted(name)})" if kind.endswith(("]", ")")) and not kind.startswith("DECIMAL") else quoted(name)
        for name, kind in columns.items()
    )
    found = fetched(
        connection,
        f"SELECT {_month(columns)} AS month, count(*), sum(hash({values})::HUGEINT)::VARCHAR "
        f"FROM {source} GROUP BY month ORDER BY month",
    )
    said = repr(list(columns.items()))
    return [
        Chunk(schema, table, month, rows, sha256(f"{said} {rows} {total}".encode()).hexdigest()[:16])
        for month, rows, total in found
    ]


def file_of(chunk: Chunk, files: Iterable[str]) -> str | None:
    """The one of some files that holds the rows of a chunk already."""
    return next((file for file in files if file.rpartition("/")[2].startswith(chunk.name)), None)


def write_chunk(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    chunk: Chunk,
    columns: Mapping[str, str],
    place: Place,
    values: str = "*",
) -> tuple[str, int]:
    """Write a chunk's file, where nobody sees it yet; returns its path, and its size in bytes.

    `values` are what is written of each row of `source`, as SQL.
    """
    folder = f"{place.path.rstrip('/')}/{chunk.schema}/{chunk.table}"
    if not place.is_bucket:
        Path(folder).mkdir(parents=True, exist_ok=True)
    file = f"{folder}/{chunk.name}{uuid.uuid4().hex}.parquet"
    [(_, _, size, *_)] = fetched(
        connection,
        f"COPY (SELECT {values} FROM {source} WHERE {_month(columns)} = {literal(chunk.month)}) TO {literal(file)} "
        "(FORMAT parquet, COMPRESSION zstd, RETURN_STATS)",
    )
    return file, size


def compare(counted: Mapping[str, int], chunks: Iterable[Chunk], quarantined: int) -> None:
    """Compare the rows of each table with those of the published file, and the quarantine with the ledger in it.

    `quarantined` are the rows in quarantine by the ledger of the shared warehouse.

    Raises:
        SharedDiffers: they differ.
    """
    expected = dict.fromkeys(counted, 0)
    for chunk in chunks:
        expected[f"{chunk.schema}.{chunk.table}"] += chunk.rows
    if counted != expected:
        different = sorted(name for name, rows in counted.items() if rows != expected[name])
        raise SharedDiffers(
            f"the shared warehouse holds other rows than the published file in {', '.join(different)}. Publish again; "
            "if it stays so, see who else writes to it."
        )
    if quarantined != counted["ops.quarantine"]:
        raise SharedDiffers(
            f"the ledger of the shared warehouse tells of {quarantined:,} rows in quarantine, and there are "
            f"{counted['ops.quarantine']:,}. Publish again."
        )


def _month(columns: Mapping[str, str]) -> str:
    """SQL of the month that a row is filed under."""
    time_column = next((name for name in _TIMES if name in columns), None)
    return f"coalesce(strftime({quoted(time_column)}, '%Y-%m'), 'none')" if time_column else "'all'"
