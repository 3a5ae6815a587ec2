"""Sends what is due, each slot once and no change never, whatever is killed and when.

The rule. A slot is *pinned* before anything is put: its file lies on this machine, and one transaction writes down its
name, its SHA-256, and what the client will know with it. From then on that file, and no other, is the slot's; it is put
until the bucket has it, under the condition that nothing is there, and only then does a second transaction say that it
is sent. A process that dies in between leaves a pinned slot, which the next one puts again: if the object is there, its
SHA-256 is the same, and that is the end of it. No slot is pinned before the one before it is sent.

What goes into a slot is found by comparing what the published file says with what the client knows (`selection.py`),
and not by any window of time: what is loaded late, with old times, cannot fall between two windows. A time of change,
where the source has one, only spreads changes over slots that were missed: each of these takes what had changed by its
end, and the newest slot that is due takes all that is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from shutil import rmtree

from offload_platform.exports.bucket import Bucket
from offload_platform.exports.errors import ExportError, RowsDiffer
from offload_platform.exports.form import OnEmpty
from offload_platform.exports.payload import sha256_of, write_payload
from offload_platform.exports.registry import Outcome, Registry, Saved, Slot, State
from offload_platform.exports.selection import Question, identity_of, lines, reading, select
from offload_platform.exports.slots import key_of, name_of, newest_slot, slot_after
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.publish import flush

_KNOWN = ".parquet"


def newest_due(export: Saved, now: datetime) -> datetime | None:
    """The newest slot whose end, and the time to settle after it, have passed; None before the first."""
    return newest_slot(export.cadences, now - timedelta(seconds=export.form.settle_seconds), export.form.zone)


def waiting(registry: Registry, export: Saved, now: datetime) -> int:
    """How many slots are due and not sent."""
    due, newest = newest_due(export, now), registry.newest(export)
    count = int(newest.outcome is Outcome.PINNED)
    slot = newest.slot
    while due is not None and (slot := slot_after(export.cadences, slot, export.form.zone)) <= due:
        count += 1
    return count


def next_due(export: Saved, now: datetime) -> datetime:
    """When the next slot is due that is not yet."""
    settle = timedelta(seconds=export.form.settle_seconds)
    return slot_after(export.cadences, now - settle, export.form.zone) + settle


def check_slot(export: Saved, newest: Slot, slot: datetime, now: datetime) -> None:
    """Raise ExportError unless a slot is the export's, is due, and comes after those that were dealt with."""
    due = newest_due(export, now)
    is_slot = slot_after(export.cadences, slot - timedelta(microseconds=1), export.form.zone) == slot
    if due is None or slot > due or slot < newest.slot or not is_slot:
        raise ExportError(f"{export.name} has no slot {name_of(slot, export.form.zone)}, or it is not due yet")


def send_due(
    files: WarehouseFiles, registry: Registry, name: str, until: datetime | None = None, now: datetime | None = None
) -> Iterator[Slot]:
    """Send every slot that is due, up to one of them or the newest, in their order; yields each when it is sent.

    A slot that fails ends this, and blocks later slots of this export alone. One that was sent before is yielded as it
    was, where it is the one that was asked for. `now` is in UTC.

    Raises:
        ExportError: the slot is none of this export's or is not due, or a file could not be made or put.
        SettingsError: a variable that holds a key is not set.
    """
    now = now or datetime.now(UTC)
    with registry.lock(registry.get(name).id):
        # It may have been paused or deleted while another process held the lock.
        export = registry.get(name)
        _check_active(export)
        due = newest_due(export, now)
        newest = registry.newest(export)
        if until is not None:
            if (before := registry.slot(export, until)) and before.outcome is not Outcome.PINNED:
                yield before
                return
            check_slot(export, newest, until, now)
        work = _Work(files, registry, export, due)
        work.clear()
        if newest.outcome is Outcome.PINNED:
            newest = work.put(newest)
            yield newest
        last = until or due
        while last is not None and (slot := slot_after(export.cadences, newest.slot, export.form.zone)) <= last:
            _check_active(registry.get(name))
            newest = work.put(work.pin(slot, newest))
            yield newest


@dataclass(frozen=True)
class _Work:
    """One export at work; whoever has it holds the export's lock. `due` is the newest slot that is due."""

    files: WarehouseFiles
    registry: Registry
    export: Saved
    due: datetime | None

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(self.export.form)

    def clear(self) -> None:
        """Remove what was left behind by a process that died, and what no slot needs any more."""
        folder = self.registry.files_of(self.export.id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = self.registry.files_kept(self.export.id, self.registry.kept(self.export))
        for left in folder.iterdir():
            if left.is_dir():
                rmtree(left)
            elif left not in kept:
                left.unlink()

    def pin(self, slot: datetime, before: Slot) -> Slot:
        """Decide for good what a slot holds."""
        pinned = self._selected(slot, before)
        self.registry.note(self.export, pinned)
        return pinned

    def put(self, slot: Slot) -> Slot:
        """Bring a pinned slot's file into the bucket; one that holds none stays as it is."""
        if slot.outcome is not Outcome.PINNED:
            return slot
        file = self.registry.unsent(self.export.id, slot.slot)
        key, sha256 = slot.key, slot.sha256
        if key is None or sha256 is None or not file.exists() or sha256_of(file) != sha256:
            raise ExportError(
                f"{self.export.name}: {file} is not as it was when the slot was pinned. Bring it back from a backup, "
                f"or leave the slot out: offload export resume {self.export.name} --from-now"
            )
        # Counted before it is tried: a process that dies has tried as well.
        slot = replace(slot, attempts=slot.attempts + 1)
        self.registry.note(self.export, slot)
        etag = self._bucket.put(key, file, sha256, self.export.is_conditional is True)
        slot = replace(slot, outcome=Outcome.SENT, etag=etag, sent_at=datetime.now(UTC))
        self.registry.note(self.export, slot)
        self.clear()
        return slot

    def _selected(self, slot: datetime, before: Slot) -> Slot:
        form, zone = self.export.form, self.export.form.zone
        question = Question(form, self.export.sql)
        folder = self.registry.files_of(self.export.id)
        pinned = Slot(
            slot,
            Outcome.PINNED,
            datetime.now(UTC),
            key_of(slot, form.directory, zone),
            known=before.known,
            published=before.published,
            next_change_at=before.next_change_at,
        )
        file = self.registry.unsent(self.export.id, slot)
        takes_all = self.due is not None and slot >= self.due
        if self._is_unchanged(slot, before, takes_all):
            if form.on_empty is OnEmpty.SKIP:
                return replace(pinned, outcome=Outcome.EMPTY, key=None)
            payload = write_payload(file, form.columns or (), ())
            flush(folder)
            return replace(pinned, bytes=payload.bytes, sha256=payload.sha256)
        # Before it is opened: what is published meanwhile is compared in the next slot.
        published = identity_of(self.files.published) if self.files.published.exists() else ""
        known = folder / f"{file.name.partition('.')[0]}{_KNOWN}"
        with reading(self.files.published, folder / "spill") as connection:
            selected = select(
                connection,
                question,
                folder / before.known if before.known else None,
                None if takes_all else slot,
                known,
            )
            pinned = replace(
                pinned,
                selected=selected.rows,
                gone=selected.gone,
                known=known.name,
                published=published,
                next_change_at=selected.next_change_at,
            )
            flush(known)
            if not selected.rows and form.on_empty is OnEmpty.SKIP:
                flush(folder)
                return replace(pinned, outcome=Outcome.EMPTY, key=None)
            payload = write_payload(file, form.columns or (), lines(connection, question))
        if payload.rows != selected.rows:
            raise RowsDiffer(
                f"{self.export.name}: {payload.rows:,} rows are in the file of {name_of(slot, zone)}, and "
                f"{selected.rows:,} were selected; it was not sent"
            )
        # The names of new files are to be on the disk as well.
        flush(folder)
        return replace(pinned, rows=payload.rows, bytes=payload.bytes, sha256=payload.sha256)

    def _is_unchanged(self, slot: datetime, before: Slot, takes_all: bool) -> bool:
        """Whether nothing can have changed since the slot before: then nothing is read, however large the source."""
        if not self.files.published.exists() or before.published != identity_of(self.files.published):
            return False
        return before.next_change_at is None or (not takes_all and before.next_change_at > slot)


def is_in_bucket(export: Saved, slot: Slot) -> bool:
    """Whether the object of a slot that was sent is in the bucket, with the bytes that were sent.

    Raises:
        BucketRefused: the object has other bytes, or the store does not tell.
    """
    assert slot.key is not None
    assert slot.sha256 is not None
    return Bucket(export.form).etag_of(slot.key, slot.sha256) is not None


def _check_active(export: Saved) -> None:
    if export.state is not State.ACTIVE:
        raise ExportError(f"{export.name} is {export.state}. Next: offload export resume {export.name}")
