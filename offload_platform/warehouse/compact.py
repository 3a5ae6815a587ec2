"""Gives the space of deleted rows back to the disk.

DuckDB marks the blocks of deleted rows as free and fills them with later loads, but its file does not shrink and the
old bytes stay in it until then. Where much is free, the file is written anew.
"""

import shutil
from pathlib import Path

import duckdb

from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles
from offload_platform.warehouse.publish import count_rows, flush
from offload_platform.warehouse.sql import literal

_WORTH_FROM_SHARE = 0.25
"""Below, the next loads use the free blocks up, and to write the whole file anew is not worth it."""


class CompactFailed(Exception):
    """The file that was written anew is not equal to the build file; the build file stands."""


def compact(connection: duckdb.DuckDBPyConnection, files: WarehouseFiles, *, always: bool = False) -> bool:
    """Write the build file anew where a quarter or more of it is free, and the disk has room; whether that was done.

    The connection is the writer's, with the writer lock held; it is closed here where the file is written anew. With
    `always` that is done however little is free.

    Raises:
        CompactFailed: the new file does not hold what the old one holds, or the disk has no room although it must.
    """
    connection.execute("CHECKPOINT")
    [(block_size, total, used, free)] = connection.execute(
        "SELECT block_size, total_blocks, used_blocks, free_blocks FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchall()
    has_room = shutil.disk_usage(files.build.parent).free > used * block_size
    if always and not has_room:
        raise CompactFailed(
            f"{files.build} is to be written anew, and the disk has no room for the {used * block_size / 1e6:,.0f} MB "
            "that it holds. Make room, and call the command again."
        )
    if not always and (free < total * _WORTH_FROM_SHARE or not has_room):
        return False
    aside = files.build.with_suffix(".duckdb.new")
    _remove(aside)
    try:
        expected = count_rows(connection)
        _copy(connection, aside)
        connection.close()
        _verify(aside, expected, files)
        flush(aside)
        aside.replace(files.build)
    except BaseException:
        _remove(aside)
        raise
    return True


def _remove(aside: Path) -> None:
    # With the log of one that was interrupted, the next would not be what was copied.
    for file in (aside, _log_of(aside)):
        file.unlink(missing_ok=True)


def _log_of(file: Path) -> Path:
    """Where DuckDB writes what is not in the file yet."""
    return file.with_name(file.name + ".wal")


def _copy(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    [(source,)] = connection.execute("SELECT current_database()").fetchall()
    version = literal(str(CONNECTION_CONFIG["storage_compatibility_version"]))
    connection.execute(f"ATTACH {literal(str(target))} AS compacted (STORAGE_VERSION {version})")
    connection.execute(f'COPY FROM DATABASE "{source}" TO compacted')
    connection.execute("CHECKPOINT compacted")
    connection.execute("DETACH compacted")


def _verify(aside: Path, expected: dict[str, int], files: WarehouseFiles) -> None:
    with duckdb.connect(aside, read_only=True) as copy:
        counted = count_rows(copy)
    if counted != expected or _log_of(aside).exists():
        different = sorted(t for t in expected.keys() | counted.keys() if expected.get(t) != counted.get(t))
        where = ", ".join(different) or "its log"
        raise CompactFailed(
            f"{files.build} was written anew with other rows in {where}; the old file stands. "
            "Call the command again; if it stays so, check the disk."
        )
