"""What is known of exports: their forms and states, and one row for each slot that was dealt with. A SQLite file.

It stands apart from the warehouse's own file, which has one writer at a time: an export must not wait for a load, nor a
load for an export, and people may look at any time. The newest row of an export's slots is its watermark: which slot
was dealt with last, and in which file the hashes of all rows stand that the client then had. So what was sent and up to
where are one row, and cannot contradict each other.
"""

import shutil
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock

from offload_platform.exports.errors import ExportError
from offload_platform.exports.form import SAVED, ExportForm
from offload_platform.exports.slots import Cadence
from offload_platform.warehouse.publish import flush

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL, form TEXT NOT NULL, sql TEXT,
    is_conditional INTEGER
);
CREATE TABLE IF NOT EXISTS cadences (
    export INTEGER NOT NULL, after TEXT NOT NULL, minutes INTEGER NOT NULL, PRIMARY KEY (export, after)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slots (
    export INTEGER NOT NULL, slot TEXT NOT NULL, outcome TEXT NOT NULL, key TEXT, selected INTEGER NOT NULL,
    rows INTEGER NOT NULL, gone INTEGER NOT NULL, bytes INTEGER, sha256 TEXT, etag TEXT, attempts INTEGER NOT NULL,
    pinned_at TEXT NOT NULL, sent_at TEXT, known TEXT, published TEXT, next_change_at TEXT, PRIMARY KEY (export, slot)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (at TEXT NOT NULL, name TEXT NOT NULL, said TEXT NOT NULL);
COMMIT;
"""
_WAIT_SECONDS = 60.0
_ENDING = ".csv.gz"
_KEPT = "ORDER BY slot DESC LIMIT 2"


class State(StrEnum):
    """What is done about an export. One that was deleted is in the log alone."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"


class Outcome(StrEnum):
    """What became of a slot."""

    START = "start"
    """Nothing was due: the export counts from here on."""
    PINNED = "pinned"
    """Its file is made, and may or may not be in the bucket yet."""
    SENT = "sent"
    EMPTY = "empty"
    """Nothing had changed, and no file was wanted."""


@dataclass(frozen=True)
class Saved:
    """An export as it is saved. `is_conditional` says whether its store refuses to replace an object when told so."""

    id: int
    name: str
    state: State
    form: ExportForm
    sql: str | None
    is_conditional: bool | None
    cadences: tuple[Cadence, ...]


@dataclass(frozen=True)
class Slot:
    """What was done in a slot. `selected` counts the rows that had changed, `rows` those in the file, `gone` rows that
    the client has and the source has no more. `known` names the file of the hashes of all that the client has then,
    `published` is the identity of the published file that was read; `next_change_at` is the earliest change that was
    left to a later slot. Sizes are in bytes, times in UTC.
    """

    slot: datetime
    outcome: Outcome
    pinned_at: datetime
    key: str | None = None
    selected: int = 0
    rows: int = 0
    gone: int = 0
    bytes: int | None = None
    sha256: str | None = None
    etag: str | None = None
    attempts: int = 0
    sent_at: datetime | None = None
    known: str | None = None
    published: str | None = None
    next_change_at: datetime | None = None


@dataclass(frozen=True)
class Logged:
    """A line of the log: what was done with an export, and when. It outlives the export."""

    at: datetime
    name: str
    said: str


class Registry:
    """The exports of a warehouse, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """In a folder, which is made when the first export is saved."""
        self.folder = folder

    @property
    def _file(self) -> Path:
        return self.folder / "exports.sqlite"

    def exists(self) -> bool:
        """Whether an export was ever saved."""
        return self._file.exists()

    def files_of(self, export: int) -> Path:
        """The folder of an export's own files: what is not sent yet, and the hashes of what the client has."""
        return self.folder / str(export)

    def lock(self, export: int) -> FileLock:
        """Held by whoever sends, so that each slot is sent by one process; freed by the system when that dies."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.folder / f"{export}.lock", poll_interval=0.02)

    def all(self) -> list[Saved]:
        """Every export, by name."""
        if not self.exists():
            return []
        with self._reading() as connection:
            return [self._saved(connection, row) for row in connection.execute("SELECT * FROM exports ORDER BY name")]

    def find(self, name: str) -> Saved | None:
        """The export of a name; None where there is none."""
        return next((saved for saved in self.all() if saved.name == name), None)

    def get(self, name: str) -> Saved:
        """The export of a name.

        Raises:
            ExportError: there is none.
        """
        saved = self.find(name)
        if saved is None:
            known = ", ".join(one.name for one in self.all()) or "none"
            raise ExportError(f"there is no export {name!r}; saved: {known}")
        return saved

    def save(self, form: ExportForm, sql: str | None, cadences: Sequence[Cadence], said: str) -> Saved:
        """Save a new form as a draft, or new settings of an export that is there; its state and its slots stay."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO exports (name, state, form, sql) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET form = excluded.form, sql = excluded.sql",
                [form.name, State.DRAFT, form.model_dump_json(), sql],
            )
            [(export,)] = connection.execute("SELECT id FROM exports WHERE name = ?", [form.name])
            connection.execute("DELETE FROM cadences WHERE export = ?", [export])
            for cadence in cadences:
                connection.execute(
                    "INSERT INTO cadences VALUES (?, ?, ?)", [export, _text(cadence.after), cadence.minutes]
                )
            _log(connection, form.name, said)
        return self.get(form.name)

    def begin(self, export: Saved, start: Slot, is_conditional: bool, cadences: Sequence[Cadence]) -> None:
        """Make a draft active: it counts from a slot on."""
        with self._writing() as connection:
            for cadence in cadences:
                connection.execute(
                    "INSERT INTO cadences VALUES (?, ?, ?)", [export.id, _text(cadence.after), cadence.minutes]
                )
            _put(connection, export.id, start)
            self._set_state(connection, export, State.ACTIVE, is_conditional)

    def set_state(self, export: Saved, state: State, is_conditional: bool | None = None) -> None:
        """Change the state of an export, and what is known of its store."""
        with self._writing() as connection:
            self._set_state(connection, export, state, is_conditional)

    def start_again(self, export: Saved, start: Slot) -> None:
        """Count from another slot on; a slot that is pinned and not sent is given up."""
        with self._writing() as connection:
            connection.execute("DELETE FROM slots WHERE export = ? AND outcome = ?", [export.id, Outcome.PINNED])
            _put(connection, export.id, start)
            _log(connection, export.name, f"slots up to {_text(start.slot)} are left out")

    def delete(self, export: Saved) -> None:
        """Erase all that is kept of an export but for a line in the log."""
        with self._writing() as connection:
            [(files,)] = connection.execute(
                "SELECT count(*) FROM slots WHERE export = ? AND outcome = ?", [export.id, Outcome.SENT]
            )
            for table, column in (("slots", "export"), ("cadences", "export"), ("exports", "id")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [export.id])
            _log(connection, export.name, f"deleted; {files} files stay in the bucket")

    def note(self, export: Saved, slot: Slot) -> None:
        """Write down what became of a slot: this is what commits it."""
        with self._writing() as connection:
            _put(connection, export.id, slot)

    def newest(self, export: Saved) -> Slot:
        """The slot that was dealt with last: the watermark.

        Raises:
            ExportError: the export is a draft and counts from nowhere yet.
        """
        found = self._slots(export, "ORDER BY slot DESC LIMIT 1")
        if not found:
            raise ExportError(f"{export.name} is a draft. Next: offload export resume {export.name}")
        return found[0]

    def kept(self, export: Saved) -> list[Slot]:
        """The slots whose files are kept: the newest, and the one before it, to which a pinned one can be undone."""
        return self._slots(export, _KEPT)

    def slot(self, export: Saved, slot: datetime) -> Slot | None:
        """What became of a slot; None where nothing was done about it."""
        found = self._slots(export, "AND slot = ?", _text(slot))
        return found[0] if found else None

    def newest_sent(self, export: Saved) -> Slot | None:
        """The newest slot whose file is in the bucket."""
        found = self._slots(export, "AND outcome = ? ORDER BY slot DESC LIMIT 1", Outcome.SENT)
        return found[0] if found else None

    def totals(self, export: Saved) -> tuple[int, int, int]:
        """Files, rows and bytes that were sent."""
        with self._reading() as connection:
            [row] = connection.execute(
                "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM slots "
                "WHERE export = ? AND outcome = ?",
                [export.id, Outcome.SENT],
            )
        return tuple(row)

    def log(self) -> list[Logged]:
        """What was done with exports, oldest first."""
        if not self.exists():
            return []
        with self._reading() as connection:
            found = connection.execute("SELECT * FROM audit ORDER BY rowid").fetchall()
        return [Logged(datetime.fromisoformat(at), name, said) for at, name, said in found]

    def back_up(self, target: Path) -> int:
        """Write all that is kept of exports to one zip file, which appears whole or not at all; returns its bytes.

        Nothing is committed meanwhile, so files and rows belong together.
        """
        copy, aside = self.folder / "backup.sqlite", target.with_name(target.name + ".new")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._writing() as connection:
                with closing(sqlite3.connect(copy)) as other, closing(self._open()) as reader:
                    reader.backup(other)
                named = self._named(connection)
                with zipfile.ZipFile(aside, "w") as archive:
                    archive.write(copy, self._file.name)
                    for file in named:
                        archive.write(file, file.relative_to(self.folder).as_posix())
            flush(aside)
            aside.replace(target)
        finally:
            copy.unlink(missing_ok=True)
            aside.unlink(missing_ok=True)
        return target.stat().st_size

    def restore(self, archive: Path) -> None:
        """Put what was backed up in the place of all that is kept of exports; to be called while nothing is sent."""
        aside = self.folder.with_name(f"{self.folder.name}.new")
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(mode=0o700, parents=True)
        with zipfile.ZipFile(archive) as files:
            files.extractall(aside)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        aside.rename(self.folder)

    def _named(self, connection: sqlite3.Connection) -> list[Path]:
        """The files that rows speak of."""
        found: list[Path] = []
        for (export,) in connection.execute("SELECT id FROM exports").fetchall():
            newest = connection.execute(f"SELECT * FROM slots WHERE export = ? {_KEPT}", [export]).fetchall()
            found += self.files_kept(export, [_slot(row) for row in newest])
        return sorted(file for file in found if file.exists())

    def files_kept(self, export: int, slots: Sequence[Slot]) -> set[Path]:
        """The files of an export that some slots need."""
        folder = self.files_of(export)
        known = {folder / slot.known for slot in slots if slot.known}
        return known | {self.unsent(export, slot.slot) for slot in slots if slot.outcome is Outcome.PINNED}

    def unsent(self, export: int, slot: datetime) -> Path:
        """Where the file of a slot waits until it is sent."""
        return self.files_of(export) / f"{slot.astimezone(UTC):%Y%m%dT%H%M}{_ENDING}"

    def all_unsent(self) -> list[Path]:
        """The files of all exports that wait to be sent."""
        return sorted(self.folder.glob(f"*/*{_ENDING}"))

    def _set_state(
        self, connection: sqlite3.Connection, export: Saved, state: State, is_conditional: bool | None
    ) -> None:
        connection.execute(
            "UPDATE exports SET state = ?, is_conditional = coalesce(?, is_conditional) WHERE id = ?",
            [state, is_conditional, export.id],
        )
        if state is not export.state:
            _log(connection, export.name, state.value)

    def _slots(self, export: Saved, which: str, *values: str) -> list[Slot]:
        with self._reading() as connection:
            return [
                _slot(row)
                for row in connection.execute(f"SELECT * FROM slots WHERE export = ? {which}", [export.id, *values])
            ]

    def _saved(self, connection: sqlite3.Connection, row: Sequence[Any]) -> Saved:
        export, name, state, form, sql, is_conditional = row
        cadences = connection.execute("SELECT after, minutes FROM cadences WHERE export = ? ORDER BY after", [export])
        return Saved(
            export,
            name,
            State(state),
            ExportForm.model_validate_json(form, context=SAVED),
            sql,
            None if is_conditional is None else bool(is_conditional),
            tuple(Cadence(datetime.fromisoformat(after), minutes) for after, minutes in cadences),
        )

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=_WAIT_SECONDS, isolation_level=None)
        # What is deleted is overwritten, and what is committed is on the disk.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA synchronous = FULL")
        # Whoever made the file may have died before its tables were made.
        connection.executescript(_SCHEMA)
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(self._open()) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; taken back if the body raises."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _put(connection: sqlite3.Connection, export: int, slot: Slot) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO slots VALUES ({', '.join('?' * 16)})",
        [
            export,
            _text(slot.slot),
            slot.outcome,
            slot.key,
            slot.selected,
            slot.rows,
            slot.gone,
            slot.bytes,
            slot.sha256,
            slot.etag,
            slot.attempts,
            _text(slot.pinned_at),
            _text(slot.sent_at) if slot.sent_at else None,
            slot.known,
            slot.published,
            _text(slot.next_change_at) if slot.next_change_at else None,
        ],
    )


def _slot(row: Sequence[Any]) -> Slot:
    _, slot, outcome, *counts, pinned_at, sent_at, known, published, next_change_at = row
    key, selected, rows, gone, size, sha256, etag, attempts = counts
    return Slot(
        slot=datetime.fromisoformat(slot),
        outcome=Outcome(outcome),
        pinned_at=datetime.fromisoformat(pinned_at),
        key=key,
        selected=selected,
        rows=rows,
        gone=gone,
        bytes=size,
        sha256=sha256,
        etag=etag,
        attempts=attempts,
        sent_at=_moment(sent_at),
        known=known,
        published=published,
        next_change_at=_moment(next_change_at),
    )


def _log(connection: sqlite3.Connection, name: str, said: str) -> None:
    connection.execute("INSERT INTO audit VALUES (?, ?, ?)", [_text(datetime.now(UTC)), name, said])


def _text(moment: datetime) -> str:
    """A moment as text of one length, so that texts are in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
