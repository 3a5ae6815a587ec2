"""Copies the build file, which holds all that is known, to where it is safe."""

import filecmp
import shutil
from pathlib import Path

import duckdb

from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.publish import flush


class BackupFailed(Exception):
    """The copy is not equal to the build file; a copy that was there before stands."""


def back_up(connection: duckdb.DuckDBPyConnection, files: WarehouseFiles, target: Path) -> int:
    """Copy the build file to a file, which appears whole or not at all; returns its size in bytes.

    The connection is the writer's, with the writer lock held; it is closed here, after a checkpoint, because only a
    closed file holds everything.

    Raises:
        BackupFailed: the copy differs from the build file.
    """
    connection.execute("CHECKPOINT")
    connection.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".new")
    try:
        shutil.copyfile(files.build, aside)
        if not filecmp.cmp(files.build, aside, shallow=False):
            raise BackupFailed(
                f"the copy of {files.build} differs from it. Back up again; if it stays so, check the disk."
            )
        flush(aside)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return target.stat().st_size
