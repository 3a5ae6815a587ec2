"""Copies the build file, which holds all that is known, to where it is safe; and brings it back.

A backup is a file of its own name, further files beside it, and a manifest, which is written last: what has none was
never finished.
"""

import filecmp
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from pydantic import BaseModel, ValidationError

from offload_platform.warehouse.files import WarehouseFiles, Writing, prepare
from offload_platform.warehouse.publish import count_rows, flush
from offload_platform.warehouse.receipts import write_receipts
from offload_platform.warehouse.safes import Safe, sha256_of
from offload_platform.warehouse.sql import fetched

MANIFEST = ".manifest.json"
"""What the name of a backup's manifest has after that of its file."""


class BackupFailed(Exception):
    """The copy is not equal to the build file; a copy that was there before stands."""


class RestoreFailed(Exception):
    """There is no whole backup, or something is in its way; the warehouse is as it was."""


class KeptFile(BaseModel):
    """A file of a backup, its size in bytes, and its checksum."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a backup holds: its files, the build file first, and the rows of each table."""

    made_at: datetime
    files: tuple[KeptFile, ...]
    rows: dict[str, int]

    @property
    def name(self) -> str:
        """Name of the backup: that of its build file."""
        return self.files[0].name

    def beside(self, ending: str) -> KeptFile | None:
        """The further file whose name has that ending; None where there was none to keep."""
        return next((file for file in self.files if file.name == self.name + ending), None)


def name_of_a_new_one(at: datetime) -> str:
    """Names sort by time."""
    return f"offloads-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.duckdb"


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


def make_backup(
    writing: Writing, files: WarehouseFiles, safe: Safe, name: str, beside: Mapping[str, Callable[[Path], object]]
) -> Manifest:
    """Keep the build file in a safe under a name, and what the functions of `beside` write, by the ending of its name.

    The writer lock is held while the build file is copied, and not while the copy is sent away.

    Raises:
        BackupFailed: the copy differs from the build file.
        SafeUnusable: the safe does not take it, or gives back other bytes.
    """
    with files.staging_folder() as folder:
        # A safe on this machine takes the copy at once; the manifest says when it is whole.
        local = (safe.folder or folder) / name
        with writing() as connection:
            rows = count_rows(connection)
            back_up(connection, files, local)
        kept = [local]
        for ending, write in beside.items():
            kept.append(local.with_name(name + ending))
            write(kept[-1])
        described = tuple(
            KeptFile(name=file.name, size_bytes=file.stat().st_size, sha256=sha256_of(file)) for file in kept
        )
        for file, said in zip(kept, described, strict=True):
            safe.put(file, said.name, said.sha256)
        manifest = Manifest(made_at=datetime.now(UTC), files=described, rows=rows)
        last = folder / f"{name}{MANIFEST}"
        last.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        safe.put(last, last.name, sha256_of(last))
    return manifest


def find_backup(safe: Safe, name: str | None, folder: Path) -> Manifest:
    """The manifest of a backup, or of the newest one; it is read by way of a folder.

    Raises:
        RestoreFailed: there is none.
        SafeUnusable: the safe cannot be read.
    """
    manifests = [found for found in safe.names() if found.endswith(MANIFEST)]
    wanted = [found for found in manifests if name is None or found == name + MANIFEST]
    if not wanted:
        what = f"no backup {name}" if name else "no backup"
        others = ", ".join(found.removesuffix(MANIFEST) for found in sorted(manifests)[-5:]) or "none"
        raise RestoreFailed(
            f"{safe}: {what} with a manifest, which is written when all else is. Others that are whole: {others}."
        )
    found = []
    for number, one in enumerate(wanted):
        copy = folder / f"{number}{MANIFEST}"
        safe.fetch(one, copy)
        try:
            found.append(Manifest.model_validate_json(copy.read_bytes()))
        except ValidationError as error:
            raise RestoreFailed(f"{safe}: {one} is damaged. Name another backup.") from error
    return max(found, key=lambda manifest: manifest.made_at)


def restore(
    files: WarehouseFiles,
    safe: Safe,
    name: str | None,
    unpack: Mapping[str, Callable[[Path], object]],
    *,
    replace: bool,
) -> Manifest:
    """Put a backup, or the newest one, in the place of the build file, when all of it has been proved to be whole.

    Receipts of erasures are written anew; further files are given to the functions of `unpack`, by the ending of their
    names. With `replace`, a build file that is there is replaced, and lost.

    Raises:
        RestoreFailed: there is no such backup, it is damaged, or a build file is there and must not be replaced.
        SafeUnusable: the safe cannot be read.
    """
    if files.build.exists() and not replace:
        raise RestoreFailed(
            f"{files.build} is there. To lose it and what was loaded since the backup, call this with --replace; to "
            "keep it, move it away."
        )
    with files.staging_folder() as folder:
        manifest = find_backup(safe, name, folder)
        fetched_files = [(file, folder / file.name) for file in manifest.files]
        for file, copy in fetched_files:
            safe.fetch(file.name, copy)
            if (copy.stat().st_size, sha256_of(copy)) != (file.size_bytes, file.sha256):
                raise RestoreFailed(
                    f"{safe}: {file.name} is not as its manifest says: it is damaged, or its backup was interrupted. "
                    "Name another backup."
                )
        build = fetched_files[0][1]
        _prove(build, manifest)
        flush(build)
        with files.writer_lock():
            # A log of the file that was there before would be read into this one.
            _log_of(files.build).unlink(missing_ok=True)
            build.replace(files.build)
            flush(files.build.parent)
            _bring_back_receipts(files)
        for ending, take in unpack.items():
            if further := manifest.beside(ending):
                take(folder / further.name)
    return manifest


def _prove(build: Path, manifest: Manifest) -> None:
    """See that the engine of today reads the file, and finds the rows of its manifest."""
    try:
        with duckdb.connect(build, read_only=True) as connection:
            counted = count_rows(connection)
    except duckdb.Error as error:
        raise RestoreFailed(f"{manifest.name} cannot be opened ({error}). Name another backup.") from error
    if counted != manifest.rows:
        raise RestoreFailed(f"{manifest.name} holds other rows than its manifest says. Name another backup.")


def _bring_back_receipts(files: WarehouseFiles) -> None:
    with duckdb.connect(files.build, read_only=True) as connection:
        prepare(connection)
        known = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ops' AND table_name = 'erasures'"
        if fetched(connection, known) and fetched(connection, "SELECT 1 FROM ops.erasures LIMIT 1"):
            files.erasures.mkdir(mode=0o700, exist_ok=True)
            write_receipts(connection, files)


def _log_of(build: Path) -> Path:
    """Where DuckDB writes what is not in the file yet."""
    return build.with_name(build.name + ".wal")
