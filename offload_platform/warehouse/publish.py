"""Publishes the build file: a whole copy, built aside, verified and swapped in one step.

A reader that holds the old file keeps reading it; nobody who reads is waited for, and no reader sees half a load.
"""

import filecmp
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.tables import quoted

_READ_ONLY = 0o444


class PublishFailed(Exception):
    """The copy is not equal to the build file; the old published file stands."""


@dataclass(frozen=True)
class Published:
    """What was published: rows by qualified table name, and the size of the file in bytes."""

    rows: dict[str, int]
    size_bytes: int
    at: datetime


def publish(connection: duckdb.DuckDBPyConnection, files: WarehouseFiles) -> Published:
    """Copy the build file beside the published one, verify it, and put it in its place.

    The connection is the writer's, with the writer lock held; it is closed here, after a checkpoint, because only a
    closed file holds everything. The published file is read-only, so that no client opens it for writing by accident.

    Raises:
        PublishFailed: the copy cannot be read, or its row counts or its bytes differ from those of the build file.
    """
    expected = count_rows(connection)
    connection.execute("CHECKPOINT")
    connection.close()
    files.published.parent.mkdir(parents=True, exist_ok=True)
    aside = files.published.with_suffix(".duckdb.new")
    aside.unlink(missing_ok=True)
    try:
        shutil.copyfile(files.build, aside)
        _verify(aside, expected, files)
        aside.chmod(_READ_ONLY)
        flush(aside)
        aside.replace(files.published)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return Published(expected, files.published.stat().st_size, datetime.now(UTC))


def _verify(aside: Path, expected: dict[str, int], files: WarehouseFiles) -> None:
    next_step = "the published file is unchanged. Publish again; if it stays so, check the disk."
    try:
        with duckdb.connect(aside, read_only=True) as copy:
            prepare(copy)
            counted = count_rows(copy)
    except duckdb.Error as error:
        raise PublishFailed(f"the copy of {files.build} cannot be read ({error}); {next_step}") from error
    if counted != expected:
        different = {t for t in expected.keys() | counted.keys() if expected.get(t) != counted.get(t)}
        raise PublishFailed(
            f"the copy of {files.build} holds other rows than the build file in {', '.join(sorted(different))}; "
            f"{next_step}"
        )
    if not filecmp.cmp(files.build, aside, shallow=False):
        raise PublishFailed(f"the copy of {files.build} differs from it; {next_step}")


def count_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of every table, by qualified name."""
    tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
    counted = {}
    for schema, table in tables:
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}").fetchall()
        counted[f"{schema}.{table}"] = rows
    return counted


def flush(path: os.PathLike[str]) -> None:
    """Make sure that a file is on the disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
