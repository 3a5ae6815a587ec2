"""The published file as pages read it: one file, opened for reading, for all tiles of a page.

A new file takes the place of the old one while pages are looked at. Who has the old one open goes on reading that;
pages that are drawn afterwards open the new one. Nobody holds up the writer, who never writes into a published file.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import duckdb
import polars as pl

from offload_platform.warehouse.files import prepare
from offload_platform.warehouse.marts import Mart
from offload_platform.warehouse.sql import fetched, literal

_SCHEMA = "published"
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 2, "memory_limit": "1GB", "temp_directory": ""}
_ANSWERS_KEPT = 200
_ATTEMPTS = 20

Function = Callable[..., object]


class NotPublished(Exception):
    """There is no published file, or none that can be read; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """Which file stands at a path: another one has another version."""

    inode: int
    modified_ns: int


def version_of(file: Path) -> Version:
    """The version of the file that stands there now. Raises NotPublished."""
    try:
        said = file.stat()
    except FileNotFoundError as error:
        raise NotPublished(
            f"Nothing is published at {file} yet. Run `offload run`, which loads and publishes what has arrived."
        ) from error
    return _version(said)


def version_beside(patterns: Iterable[str]) -> str | None:
    """The version of files beside the published one, whose names are like that; None where there are none."""
    said = []
    for file in sorted(file for pattern in map(Path, patterns) for file in pattern.parent.glob(pattern.name)):
        # One that was there may be gone by now.
        with suppress(FileNotFoundError):
            said.append((str(file), _version(file.stat())))
    return sha256(repr(said).encode()).hexdigest() if said else None


class Published:
    """An open published file. It answers from several threads at once, and keeps its answers, as it never changes."""

    def __init__(self, file: Path, functions: Mapping[str, Function], beside: Iterable[str] = ()) -> None:
        """Open the file that stands there now; `functions` are what tiles call beside DuckDB's own.

        Statements may read files beside it whose names are like `beside`.

        Raises:
            NotPublished: there is none, or it is no file of DuckDB.
        """
        # A connection to the path itself would get what the process has open under that name already: the old file.
        self._connection = duckdb.connect(":memory:", config=_CONFIG)
        for name, function in functions.items():
            self._connection.create_function(name, function)
        self.file = file
        self.version = self._attach()
        self.at = datetime.fromtimestamp(self.version.modified_ns / 1e9, UTC)
        # Statements read what they are meant to and nothing else: no other file, and no variable of the program.
        for pattern in beside:
            where, path = ("directories", str(Path(pattern).parent)) if "*" in pattern else ("paths", pattern)
            allowed = f"list_append(current_setting('allowed_{where}'), {literal(path)})"
            self._connection.execute(f"SET allowed_{where} = {allowed}")
        self._connection.execute("SET python_enable_replacements = false")
        self._connection.execute("SET enable_external_access = false")
        self.tables = frozenset(
            fetched(
                self._connection,
                f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = {literal(_SCHEMA)} "
                f"UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = {literal(_SCHEMA)}",
            )
        )
        self._answers: OrderedDict[tuple[str, str], pl.DataFrame] = OrderedDict()
        self._lock = threading.Lock()

    def reads(self, sql: str) -> list[tuple[str, str]]:
        """Schema and name of every table and view that a statement names."""
        return sorted(Mart("", "", {}, sql).reads(self._connection.cursor()))

    def answer(self, sql: str, version: str = "") -> pl.DataFrame:
        """The rows of a statement; `version` is that of the other files that it reads. Raises duckdb.Error."""
        asked = (sql, version)
        with self._lock:
            if asked in self._answers:
                self._answers.move_to_end(asked)
                return self._answers[asked]
        cursor = self._connection.cursor()
        cursor.execute(f"USE {_SCHEMA}")
        prepare(cursor)
        rows = pl.DataFrame(cursor.sql(sql))
        with self._lock:
            self._answers[asked] = rows
            while len(self._answers) > _ANSWERS_KEPT:
                self._answers.popitem(last=False)
        return rows

    def _attach(self) -> Version:
        for _ in range(_ATTEMPTS):
            version = version_of(self.file)
            try:
                self._connection.execute(f"ATTACH {literal(str(self.file))} AS {_SCHEMA} (READ_ONLY)")
            except duckdb.Error as error:
                raise NotPublished(
                    f"{self.file} cannot be opened ({error}). Publish again; if it stays so, check the disk."
                ) from error
            if version_of(self.file) == version:
                return version
            # Another file took its place in between: whose version is whose is not known.
            self._connection.execute(f"DETACH {_SCHEMA}")
        raise NotPublished(f"{self.file} is published too often to be read. Wait a little, then reload the page.")


def _version(said: os.stat_result) -> Version:
    return Version(said.st_ino, said.st_mtime_ns)
