"""The shared warehouse as Delta tables: a folder for each, in a place that all reach, and no catalog.

There is no lock either. A commit is of the version after the one that was compared, or is refused: the store keeps one
file of a name. And each table knows the latest attempt that has written to it, so that one that was overtaken stops.
Not here: what is in them (`delta_mirror.py`).
"""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import duckdb

from offload_platform.scale.chunks import SharedDiffers
from offload_platform.scale.connection import connected_to, not_installed
from offload_platform.scale.delta_types import Kept, field
from offload_platform.scale.errors import ScaleUnusable, StaleAttempt
from offload_platform.scale.place import Place

PUBLICATION = ("ops", "publication")
"""The table that names what belongs together; it knows which attempts have begun, and which has ended."""

WRITTEN, BEGUN, ENDED = (f"offload_platform: {what}" for what in ("written", "begun", "ended"))
"""Under which names a table keeps the number of an attempt."""

COLUMNS = {
    "schema_name": (Kept("VARCHAR", "string"), "Schema, which is a folder."),
    "table_name": (Kept("VARCHAR", "string"), "Table, which is a folder in it."),
    "version": (Kept("BIGINT", "long"), "Version of the table that belongs to this publication."),
    "rows": (Kept("BIGINT", "long"), "Rows of that version."),
    "attempt": (Kept("BIGINT", "long"), "Number of the attempt that has published."),
    "run_id": (Kept("VARCHAR", "string"), "Run that has published."),
    "published_at": (Kept("TIMESTAMPTZ", "timestamp"), "When all of it was there (UTC)."),
}
"""Columns of the table that names what belongs together, and what they mean."""

TRIES = 10
"""How often a commit is tried that others have come before."""

_DESCRIPTION = "The newest publication: which version of each table belongs to it. Written last."
_FEATURES = {"timestampNtz"}
_VERSIONS_OF_A_CHECKPOINT = "20"


@dataclass(frozen=True)
class Attempt:
    """A publication that has begun. `is_alone` says that all before have ended, and none can still commit."""

    number: int
    is_alone: bool


@dataclass(frozen=True)
class DeltaTables:
    """Where the tables are, and for how many days what they were can be read.

    `options` are what deltalake reaches a bucket with; see `reached`.
    """

    data: Place
    keep_days: float = 7
    options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def reached(self) -> "DeltaTables":
        """The same, with the credentials of this moment: to look for them takes longer than to open a table.

        Raises:
            ScaleUnusable: there are none.
        """
        if not self.data.is_bucket:
            return self
        keys = self.data.keys()
        said = {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token,
            "AWS_REGION": self.data.region,
            "AWS_ENDPOINT_URL": self.data.endpoint_url,
            "AWS_ALLOW_HTTP": "true" if (self.data.endpoint_url or "").startswith("http://") else None,
        }
        return replace(self, options={name: value for name, value in said.items() if value})

    def connected(self, spill: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection of DuckDB that reaches the files; what memory does not hold is spilled to a folder.

        Raises:
            ScaleUnusable: an extension, or credentials, are missing.
        """
        return connected_to(self.data, spill, ("httpfs",) if self.data.is_bucket else ())

    def opened(self, schema: str, table: str) -> Any:
        """A `deltalake.DeltaTable` at its newest version; None where there is none.

        Raises:
            SharedDiffers: another program has given it what not every reader knows.
        """
        library = library_of_delta()
        try:
            found = library.DeltaTable(self.folder(schema, table), storage_options=dict(self.options))
        except library.exceptions.TableNotFoundError:
            return None
        if others := set(found.protocol().reader_features or ()) - _FEATURES:
            raise SharedDiffers(
                f"another program has turned {', '.join(sorted(others))} on in {schema}.{table}. Remove its folder, "
                "and publish again."
            )
        return found

    def create(
        self,
        schema: str,
        table: str,
        fields: Sequence[Mapping[str, object]],
        description: str,
        actions: Sequence[Any],
        attempts: Mapping[str, int],
    ) -> None:
        """Make a table with its first files."""
        library_of_delta().transaction.create_table_with_add_actions(
            self.folder(schema, table),
            schema_of(fields),
            actions,
            description=description,
            configuration=self.properties,
            storage_options=dict(self.options),
            commit_properties=in_one_commit(attempts),
        )

    @property
    def properties(self) -> dict[str, str]:
        """Properties of every table: for how long it keeps what it was, whichever program tidies it."""
        kept = f"interval {ceil(self.keep_days * 24)} hours"
        return {
            "delta.checkpointInterval": _VERSIONS_OF_A_CHECKPOINT,
            "delta.deletedFileRetentionDuration": kept,
            "delta.logRetentionDuration": kept,
        }

    def begin(self) -> Attempt:
        """Begin an attempt at a publication; its number is higher than that of all before.

        Raises:
            ScaleUnusable: the tables cannot be reached.
        """
        begun, ended = 0, 0
        with self.troubles_explained():
            for is_last in (*[False] * TRIES, True):
                publication = self.opened(*PUBLICATION)
                try:
                    if publication is None:
                        fields = [field(name, kind, said) for name, (kind, said) in COLUMNS.items()]
                        self.create(*PUBLICATION, fields, _DESCRIPTION, [], {BEGUN: 1})
                    else:
                        begun, ended = (publication.transaction_version(what) or 0 for what in (BEGUN, ENDED))
                        commit(publication, [], {BEGUN: begun + 1})
                except library_of_delta().exceptions.DeltaError:
                    if is_last:
                        raise
                else:
                    break
        return Attempt(begun + 1, begun == ended)

    def folder(self, schema: str, table: str) -> str:
        """Path or URL of a table."""
        return f"{self.data.path.rstrip('/')}/{schema}/{table}"

    def files_of(self, table: Any, schema: str, name: str) -> list[str]:
        """Paths or URLs of the files of an opened table's version."""
        return [f"{self.folder(schema, name)}/{file}" for file in names_in(table)]

    @contextmanager
    def troubles_explained(self) -> Iterator[None]:
        """Tell in a sentence that the tables cannot be read or written, whichever library has found it.

        Raises:
            ScaleUnusable: they cannot.
        """
        try:
            yield
        except (duckdb.Error, library_of_delta().exceptions.DeltaError, OSError) as error:
            raise ScaleUnusable(
                f"the tables in {self.data.url} cannot be used; each is whole. See that the store answers, and that "
                f"scale.data and its credentials are right, then publish again. ({' '.join(str(error).split())[:400]})"
            ) from error


def library_of_delta() -> Any:
    """The package `deltalake`, which takes a moment to import.

    Raises:
        ScaleUnusable: it is not installed.
    """
    try:
        import deltalake.exceptions
        import deltalake.transaction
    except ImportError as error:
        raise not_installed("deltalake") from error
    return deltalake


def schema_of(fields: Sequence[Mapping[str, object]]) -> Any:
    """A schema of Delta with these columns."""
    return library_of_delta().Schema.from_json(json.dumps({"type": "struct", "fields": list(fields)}))


def tables_among(names: Collection[str]) -> list[tuple[str, str]]:
    """Schema and name of every table, published or not, to which one of the names in the place belongs."""
    found = [name.split("/") for name in names]
    return sorted({(parts[0], parts[1]) for parts in found if parts[2:3] == ["_delta_log"]})


def names_in(table: Any) -> list[str]:
    """Names of the files of an opened table's version, in its folder."""
    return list(table.get_add_actions().column("path").to_pylist())


def commit(table: Any, actions: Sequence[Any], attempts: Mapping[str, int]) -> None:
    """Take files into an opened table and others out, as the version after the one that was opened.

    Raises:
        DeltaError: there is such a version already; nothing was changed.
    """
    table.create_write_transaction(actions, "append", table.schema(), commit_properties=in_one_commit(attempts))


def in_one_commit(attempts: Mapping[str, int]) -> Any:
    """What a commit says beside its files: numbers of attempts. It is not tried again after another one."""
    library = library_of_delta()
    said = [library.transaction.Transaction(name, number) for name, number in attempts.items()]
    return library.CommitProperties(app_transactions=said, max_commit_retries=0)


def refuse_if_overtaken(table: Any, name: str, attempt: Attempt) -> None:
    """Stop an attempt that a later one has come before.

    Raises:
        StaleAttempt: the table was written by a later attempt, or one has begun, as `name` says.
    """
    newest = table.transaction_version(name) or 0
    if newest > attempt.number:
        raise StaleAttempt(
            f"attempt {attempt.number} at a publication was overtaken by attempt {newest}, which does the same. Every "
            "table is whole."
        )
