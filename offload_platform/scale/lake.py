"""The shared warehouse: a DuckLake, whose catalog is in PostgreSQL and whose files lie in a place that all reach.

DuckLake's own concurrency control refuses most of several writers of a table, and lets two first writers double it. So
whatever changes a lake takes one lock, which PostgreSQL frees when its holder dies; and an attempt that was overtaken
by a later one changes nothing. Not here: what is in it (`mirror.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from offload_platform.scale.connection import connected_to, not_installed
from offload_platform.scale.errors import ScaleUnusable, StaleAttempt
from offload_platform.scale.place import Place
from offload_platform.warehouse.sql import literal

LAKE = "lake"
"""Name of the lake in connections of the platform; analysts choose their own."""

_EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
_LOCK = "offload_platform: commit"
_KEEP_ALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "connect_timeout": 10}
_FENCE = """
    CREATE SCHEMA IF NOT EXISTS offload;
    CREATE TABLE IF NOT EXISTS offload.fence (key text PRIMARY KEY, token bigint NOT NULL)
"""


@dataclass(frozen=True)
class Lake:
    """A lake: how libpq finds its catalog, without the password, and where its files are."""

    catalog: str
    data: Place

    @contextmanager
    def connected(self, spill: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of DuckDB with the lake attached; what memory does not hold is spilled to a folder.

        Raises:
            ScaleUnusable: an extension is missing, or the catalog cannot be reached.
        """
        with connected_to(self.data, spill, _EXTENSIONS) as connection:
            options = [f"DATA_PATH {literal(self.data.path.rstrip('/') + '/')}", "DATA_INLINING_ROW_LIMIT 0"]
            options += ["READ_ONLY"] if read_only else []
            try:
                connection.execute(
                    f"ATTACH {literal(f'ducklake:postgres:{self.catalog}')} AS {LAKE} ({', '.join(options)})"
                )
            except duckdb.Error as error:
                raise self._unusable(error) from error
            yield connection

    def begin(self, key: str) -> int:
        """Begin an attempt at a commit; returns its token, which is higher than that of all attempts before.

        Raises:
            ScaleUnusable: the catalog cannot be reached.
        """
        with self.locked() as cursor:
            cursor.execute(_FENCE)
            cursor.execute(
                "INSERT INTO offload.fence VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET token = fence.token + 1 "
                "RETURNING token",
                (key,),
            )
            return int(cursor.fetchone()[0])

    @contextmanager
    def committing(self, key: str, token: int) -> Iterator[None]:
        """Hold the lock for the commit of an attempt.

        Raises:
            StaleAttempt: a later attempt has begun.
            ScaleUnusable: the catalog cannot be reached.
        """
        with self.locked() as cursor:
            cursor.execute("SELECT token FROM offload.fence WHERE key = %s", (key,))
            [newest] = cursor.fetchone()
            if newest != token:
                raise StaleAttempt(
                    f"attempt {token} at {key} was overtaken by attempt {newest}, which does the same. Nothing was "
                    "changed by this one."
                )
            yield

    @contextmanager
    def locked(self) -> Iterator[Any]:
        """Hold the one lock of all that changes the lake; it is freed when this process, or its connection, dies.

        A cursor of the catalog's database is given, whose statements are committed at once.

        Raises:
            ScaleUnusable: the catalog cannot be reached.
        """
        try:
            import psycopg2
        except ImportError as error:
            raise not_installed("psycopg2") from error
        try:
            server = psycopg2.connect(self.catalog, **_KEEP_ALIVE)
        except psycopg2.Error as error:
            raise self._unusable(error) from error
        try:
            server.autocommit = True
            with server.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (_LOCK,))
                yield cursor
        finally:
            server.close()

    def _unusable(self, error: Exception) -> ScaleUnusable:
        said = " ".join(str(error).split())[:300]
        return ScaleUnusable(
            f"the catalog ({self.catalog}) cannot be used: check scale.catalog, the password in PGPASSWORD or "
            f"~/.pgpass, and that PostgreSQL runs. ({said})"
        )
