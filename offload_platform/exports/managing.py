"""What people do with exports: save, try, pause, resume, delete. `draft → active ⇄ paused → deleted`."""

from datetime import UTC, datetime
from shutil import rmtree

from offload_platform.exports.bucket import Bucket
from offload_platform.exports.errors import ExportError
from offload_platform.exports.form import LONGEST_BACKFILL, ExportForm
from offload_platform.exports.registry import Outcome, Registry, Saved, Slot, State
from offload_platform.exports.selection import Question, identity_of, reading, resolved, take_stock
from offload_platform.exports.slots import Cadence, changed, slot_before
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.publish import flush

_CHANGEABLE = frozenset(
    {"region", "access_key", "secret_key", "aws_profile", "frequency_minutes", "on_empty", "settle_seconds"}
)
_START = "start.parquet"


def add(
    files: WarehouseFiles, registry: Registry, form: ExportForm, sql: str | None, now: datetime | None = None
) -> Saved:
    """Save a form, try it, and make it active; one of an export that is there changes its settings.

    A form that cannot do what it says stays a draft, and one that would change an export to worse is not saved.

    Raises:
        ExportError, SettingsError: the source does not fit, or the bucket refuses; the message names which field.
    """
    now = now or datetime.now(UTC)
    form = _of_published(files, form, sql)
    for other in registry.all():
        if other.name != form.name and _target(other.form) == _target(form):
            raise ExportError(f"directory: {other.name} sends to {form.address} already; name another")
    known = registry.find(form.name)
    if known is None or known.state is State.DRAFT:
        saved = registry.save(form, sql, (), "saved" if known is None else "saved anew")
        return resume(files, registry, saved.name, now=now)
    if fixed := [name for name in _differences(known, form, sql) if name not in _CHANGEABLE]:
        raise ExportError(
            f"{form.name} is {known.state}, and {', '.join(fixed)} cannot be changed: the files that were sent would "
            f"not fit to those to come. Add it under another name, or delete it first: offload export delete "
            f"{form.name} --yes"
        )
    is_conditional = Bucket(form).probe()
    with registry.lock(known.id):
        known = registry.get(form.name)
        cadences = changed(known.cadences, now, form.frequency_minutes, form.zone)
        saved = registry.save(form, sql, cadences, "settings changed")
        registry.set_state(saved, saved.state, is_conditional)
    return registry.get(form.name)


def try_bucket(registry: Registry, name: str) -> None:
    """Put an object into the bucket of an export and delete it again.

    Raises:
        BucketRefused, SettingsError: the message names what is wrong.
    """
    Bucket(registry.get(name).form).probe()


def pause(registry: Registry, name: str) -> None:
    """Send nothing until it is resumed; no change is lost."""
    export = registry.get(name)
    if export.state is State.DRAFT:
        raise ExportError(f"{name} is a draft, and sends nothing anyway")
    registry.set_state(export, State.PAUSED)


def resume(
    files: WarehouseFiles, registry: Registry, name: str, from_now: bool = False, now: datetime | None = None
) -> Saved:
    """Make a draft or a paused export active, when its bucket takes a trial.

    Slots that were missed are sent one by one; `from_now` leaves them out, and what has changed goes into the next.

    Raises:
        ExportError, SettingsError: what is wrong; the state stays.
    """
    now = now or datetime.now(UTC)
    export = registry.get(name)
    is_conditional = Bucket(export.form).probe()
    with registry.lock(export.id):
        export = registry.get(name)
        if export.state is State.DRAFT:
            _begin(files, registry, export, is_conditional, now)
        else:
            if from_now:
                _leave_out(registry, export, now)
            registry.set_state(export, State.ACTIVE, is_conditional)
    return registry.get(name)


def delete(registry: Registry, name: str) -> None:
    """Stop an export and erase its settings, references and files on this side; no object in the bucket is touched."""
    export = registry.get(name)
    # Whoever is sending ends with the slot under way; whoever waits finds nothing any more.
    registry.set_state(export, State.PAUSED)
    with registry.lock(export.id):
        registry.delete(export)
        if (folder := registry.files_of(export.id)).exists():
            rmtree(folder)


def _target(form: ExportForm) -> tuple[str | None, str, str]:
    return form.endpoint_url, form.bucket, form.directory


def _of_published(files: WarehouseFiles, form: ExportForm, sql: str | None) -> ExportForm:
    with reading(files.published, files.exports / "spill") as connection:
        return resolved(connection, Question(form, sql))


def _differences(known: Saved, form: ExportForm, sql: str | None) -> list[str]:
    before, after = known.form.model_dump(), form.model_dump()
    # It has had its effect.
    del before["backfill_from"], after["backfill_from"]
    return [name for name in before if before[name] != after[name]] + (["sql_file"] if known.sql != sql else [])


def _begin(files: WarehouseFiles, registry: Registry, export: Saved, is_conditional: bool, now: datetime) -> None:
    """Count from now on, or from `backfill_from`: what the source held before is taken as known to the client."""
    form, since = export.form, export.form.backfill_from
    if since is not None and not now - LONGEST_BACKFILL <= since <= now:
        raise ExportError(f"backfill_from: must be within the last {LONGEST_BACKFILL.days} days")
    start = slot_before(since or now, form.frequency_minutes, form.zone)
    folder = registry.files_of(export.id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    published = identity_of(files.published)
    with reading(files.published, folder / "spill") as connection:
        take_stock(connection, Question(form, export.sql), since, folder / _START)
    flush(folder / _START)
    flush(folder)
    registry.begin(
        export,
        # With a backfill, the same published file holds what is to be sent.
        Slot(start, Outcome.START, now, known=_START, published=None if since else published),
        is_conditional,
        [Cadence(start, form.frequency_minutes)],
    )


def _leave_out(registry: Registry, export: Saved, now: datetime) -> None:
    """Count from the last slot before now; a slot that is pinned is given up, and its rows count as not sent."""
    kept = registry.kept(export)
    newest = kept[0]
    start = slot_before(now, export.form.frequency_minutes, export.form.zone)
    known = kept[1] if newest.outcome is Outcome.PINNED else newest
    if newest.outcome is not Outcome.PINNED and newest.slot >= start:
        return
    registry.start_again(export, Slot(max(start, newest.slot), Outcome.START, now, known=known.known))
    registry.unsent(export.id, newest.slot).unlink(missing_ok=True)
