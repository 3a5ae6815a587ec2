"""Where a warehouse keeps its files, and who may write."""

import errno
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, rmtree

import duckdb
from filelock import FileLock, Timeout
from polars.exceptions import PolarsError

from offload_platform.landing.errors import LandingError

# DuckDB 1.5 holds several blocks of each column of what it commits: 615 attributes do not fit into 640 MB.
_MEMORY = "1GB" if duckdb.__version__.startswith("1.") else "256MB"

CONNECTION_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": "v1.5.0",
    "memory_limit": _MEMORY,
    "threads": 2,
}
"""DuckDB 1.5 can open what is written (storage version), and a load stays small beside its neighbours."""

Writing = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
"""Opens the build file as its one writer."""

_log = logging.getLogger(__name__)

_OF_OTHERS = 0o077
# What DuckDB says of an entry that does not fit its checksum, and of a log that does not even begin.
_DAMAGED_LOG = re.compile(r"Corrupt WAL file: .*?at byte position (\d+)|Invalid WAL entry type")
_FAILED = ".failed"
_WHY_FAILED = "error.txt"

_HELD_OPEN = re.compile(r"Could not set lock on file.*?Conflicting lock is held in (.*?)(?:\.\s|$)", re.DOTALL)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_ERRORS = (*_FULL, errno.EROFS)


class WarehouseUnusable(LandingError):
    """The disk is full or read-only, or another program has the build file open; what the warehouse held stands."""


@contextmanager
def troubles_explained(folder: Path) -> Iterator[None]:
    """Tell in a sentence that nothing can be written to a warehouse's folder, whichever library has found it.

    Raises:
        WarehouseUnusable: it is.
    """
    try:
        yield
    except (OSError, duckdb.Error, PolarsError) as error:
        if holder := _HELD_OPEN.search(str(error)):
            raise WarehouseUnusable(
                f"{folder}: another program has the build file open ({holder[1]}): close it there, then run again. "
                "The published file is the one to read."
            ) from error
        number = next((one for one in _DISK_ERRORS if _is(one, error)), None)
        if number is None:
            raise
        if number in _FULL:
            there = next(parent for parent in (folder, *folder.parents) if parent.exists())
            free = disk_usage(there).free / 1e6
            step = f"the disk is full ({free:,.1f} MB are free, or a limit is reached): make room"
        else:
            step = "the disk is read-only: see why, and mount it for writing"
        raise WarehouseUnusable(f"{folder}: {step}, then run again. What was there stands.") from error


def _is(number: int, error: Exception) -> bool:
    return getattr(error, "errno", None) == number or os.strerror(number) in str(error)


@dataclass(frozen=True)
class WarehouseFiles:
    """The folder of one warehouse. What loads that failed have staged is kept for `failed_staging_hours`."""

    root: Path
    failed_staging_hours: float = 0.0

    @property
    def build(self) -> Path:
        """The private file that loads write to; nobody reads it while a load commits."""
        return self.root / "build" / "offloads.duckdb"

    @property
    def published(self) -> Path:
        """The read-only file that analysts open."""
        return self.root / "published" / "offloads.duckdb"

    @property
    def is_published(self) -> bool:
        """Whether the published file was made after the last change of the build file."""
        if not self.published.exists():
            return False
        return self.published.stat().st_mtime_ns >= self.build.stat().st_mtime_ns

    @property
    def dagster_home(self) -> Path:
        """Runs, events and schedules of Dagster."""
        return self.root / "dagster"

    @property
    def staging(self) -> Path:
        """Folders of deliveries that are being staged, and of failed loads that are kept for inspection."""
        return self.root / "staging"

    @property
    def erasures(self) -> Path:
        """Receipts of erasures. It is there as soon as somebody is erased."""
        return self.root / "erasures"

    @property
    def exports(self) -> Path:
        """Forms and states of exports, and what each client knows."""
        return self.root / "exports"

    @property
    def privacy(self) -> Path:
        """The privacy tiers, a folder for each, and their report."""
        return self.root / "privacy"

    def open_to_others(self) -> list[Path]:
        """Folders that other users of the machine can enter, the published file's left out: it is for analysts."""
        private = (self.build.parent, self.staging, self.dagster_home, self.erasures, self.exports, self.privacy)
        if not _is_open(self.root):
            return []
        return [folder for folder in private if _is_open(folder)]

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """A new folder for one staged delivery, removed afterwards; what others have left behind is removed too.

        The folder of a load that fails is kept as `<name>.failed`, with its error, for `failed_staging_hours`. Where
        somebody is erased, the error alone is kept: what is staged may hold rows of erased persons.
        """
        self.staging.mkdir(parents=True, exist_ok=True)
        self.clear_staging()
        folder = self.staging / uuid.uuid4().hex
        with FileLock(_lock_of(folder)):
            folder.mkdir()
            try:
                yield folder
            except Exception as error:
                if self.failed_staging_hours > 0:
                    _keep_failed(folder, error, with_rows=not self.erasures.exists())
                raise
            finally:
                _remove(folder)
                _lock_of(folder).unlink(missing_ok=True)

    def staging_left_behind(self, at: float | None = None) -> list[Path]:
        """Folders that nobody needs: of loads that were killed, and of failed ones that have been kept long enough.

        `at` is in seconds since 1970; now by default.
        """
        oldest = (time.time() if at is None else at) - self.failed_staging_hours * 3600
        folders = [path for path in self.staging.iterdir() if path.is_dir()] if self.staging.exists() else []
        return [f for f in folders if (_is_older(f, oldest) if f.suffix == _FAILED else _is_abandoned(f))]

    def clear_staging(self, at: float | None = None) -> None:
        """Remove the folders that nobody needs."""
        for folder in self.staging_left_behind(at):
            if folder.suffix == _FAILED:
                rmtree(folder, ignore_errors=True)
            else:
                _remove_if_abandoned(folder)

    def staging_in_use(self) -> list[Path]:
        """Folders of loads that are under way."""
        folders = [path for path in self.staging.iterdir() if path.is_dir()] if self.staging.exists() else []
        return [f for f in folders if f.suffix != _FAILED and not _is_abandoned(f)]

    def clear_leftovers(self) -> None:
        """Remove what killed processes have left beside build and published file: files that never took their place.

        To be called with the writer lock held, and no connection open.
        """
        for file in (self.build, self.published):
            for left in file.parent.glob(f"{file.name}.new*"):
                left.unlink()
        spilled = self.build.with_name(self.build.name + ".tmp")
        if spilled.exists():
            rmtree(spilled)

    def mend_log(self) -> None:
        """Cut off what a power loss has left unfinished at the end of the build file's log, so that it opens again.

        DuckDB has committed what stands before, and nothing of what is cut: that is loaded again, because the ledger
        is part of the same commit. To be called with the writer lock held. There is a log only after a crash.

        Raises:
            duckdb.Error: the build file cannot be opened for another reason.
        """
        log = self.build.with_name(f"{self.build.name}.wal")
        while log.exists():
            try:
                duckdb.connect(self.build).close()
                return
            except duckdb.Error as error:
                damaged = _DAMAGED_LOG.search(str(error))
                cut_at = int(damaged[1] or 0) if damaged else log.stat().st_size
                if cut_at >= log.stat().st_size:
                    raise
                _log.warning("%s: cut at byte %d, where a write was interrupted", log, cut_at)
                os.truncate(log, cut_at)

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """Wait to be the one writer. The lock is freed by the system when its process dies."""
        self.build.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.build.with_suffix(".lock"), poll_interval=0.02):
            yield


def _is_open(folder: Path) -> bool:
    return folder.exists() and bool(folder.stat().st_mode & _OF_OTHERS)


def _lock_of(folder: Path) -> Path:
    """The lock of a staging folder, held as long as its load lives."""
    return folder.with_suffix(".lock")


def _remove(folder: Path) -> None:
    """Remove a folder, and what is still put there by a thread that an interrupt has parted from its pool."""
    while folder.exists():
        try:
            rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise


def _keep_failed(folder: Path, error: Exception, *, with_rows: bool) -> None:
    if not with_rows:
        _remove(folder)
        folder.mkdir()
    kept = folder.rename(folder.with_suffix(_FAILED))
    # A full disk must not hide what went wrong.
    with suppress(OSError):
        (kept / _WHY_FAILED).write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")


def _is_older(folder: Path, than: float) -> bool:
    try:
        return folder.stat().st_mtime <= than
    except FileNotFoundError:
        # Another load has just removed it.
        return False


def _is_abandoned(folder: Path) -> bool:
    try:
        with FileLock(_lock_of(folder), timeout=0):
            return True
    except Timeout:
        return False


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(Timeout), FileLock(_lock_of(folder), timeout=0):
        rmtree(folder, ignore_errors=True)
        _lock_of(folder).unlink(missing_ok=True)


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a connection speak UTC, whatever the machine's zone, and write nothing to the standard output.

    DuckDB would draw a progress bar there, in the middle of what commands say.
    """
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
