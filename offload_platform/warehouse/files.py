"""Where a warehouse keeps its files, and who may write."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import duckdb
from filelock import FileLock, Timeout

CONNECTION_CONFIG = {"storage_compatibility_version": "v1.5.0", "memory_limit": "256MB", "threads": 2}
"""DuckDB 1.5 can open what is written (storage version), and a load stays small beside its neighbours."""


@dataclass(frozen=True)
class WarehouseFiles:
    """The folder of one warehouse."""

    root: Path

    @property
    def build(self) -> Path:
        """The private file that loads write to; nobody reads it while a load commits."""
        return self.root / "build" / "offloads.duckdb"

    @property
    def published(self) -> Path:
        """The read-only file that analysts open."""
        return self.root / "published" / "offloads.duckdb"

    @property
    def dagster_home(self) -> Path:
        """Runs, events and schedules of Dagster."""
        return self.root / "dagster"

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """A new folder for one staged delivery, removed afterwards; what killed loads have left is removed too."""
        staging = self.root / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        for left_behind in staging.iterdir():
            if left_behind.is_dir():
                _remove_if_abandoned(left_behind)
        folder = staging / uuid.uuid4().hex
        with FileLock(_lock_of(folder)):
            folder.mkdir()
            try:
                yield folder
            finally:
                rmtree(folder)
                _lock_of(folder).unlink(missing_ok=True)

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """Wait to be the one writer. The lock is freed by the system when its process dies."""
        self.build.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.build.with_suffix(".lock"), poll_interval=0.02):
            yield


def _lock_of(folder: Path) -> Path:
    """The lock of a staging folder, held as long as its load lives."""
    return folder.with_suffix(".lock")


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(Timeout), FileLock(_lock_of(folder), timeout=0):
        rmtree(folder, ignore_errors=True)
        _lock_of(folder).unlink(missing_ok=True)


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a connection speak UTC, whatever the machine's zone."""
    connection.execute("SET TimeZone = 'UTC'")
