"""Where a warehouse keeps its files, and who may write."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import duckdb
from filelock import FileLock

CONNECTION_CONFIG = {"storage_compatibility_version": "v1.5.0", "memory_limit": "512MB", "threads": 2}
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
        """A new folder for one staged delivery, removed afterwards."""
        folder = self.root / "staging" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            rmtree(folder)

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """Wait to be the one writer. The lock is freed by the system when its process dies."""
        self.build.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.build.with_suffix(".lock"), poll_interval=0.02):
            yield


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a connection speak UTC, whatever the machine's zone."""
    connection.execute("SET TimeZone = 'UTC'")
