"""`offload export`: deliver rows of the published file to buckets of clients."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT, FeedsOption, JsonOption, app, settings_of
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from offload_platform.exports.registry import Registry, Saved

export_app = typer.Typer(
    help="Deliver rows that have changed to buckets of clients, every few minutes.", no_args_is_help=True
)
app.add_typer(export_app, name="export")

NameArgument = Annotated[str, typer.Argument(help="Name of the export.")]
_RELOAD = "Dagster shows it when its code location is loaded anew."


@export_app.command(name="list")
def list_exports(
    log: Annotated[bool, typer.Option("--log", help="Show what was done with exports, deleted ones included.")] = False,
    feeds: FeedsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the exports that are saved, and where they send what to."""
    registry = _registry(settings_of(feeds))
    exports, lines = registry.all(), registry.log() if log or as_json else []
    if as_json:
        said = [e.form.model_dump(mode="json") | {"state": e.state} for e in exports]
        return print_json({"exports": said, "log": [vars(line) for line in lines]})
    table = table_of(None, "export", "state", "source", "to", "every, min>")
    for e in exports:
        source = e.form.source.table or e.form.source.sql_file or ""
        table.add_row(e.name, e.state, escape(source), escape(e.form.address), str(e.form.frequency_minutes))
    if exports:
        stdout.print(table)
    else:
        stdout.print("No export is saved. Next: [bold]offload export add FORM.yaml[/bold]; see export.example.yaml")
    for line in lines:
        stdout.print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.name}: {escape(line.said)}", soft_wrap=True)
    return None


@export_app.command()
def add(
    form: Annotated[Path, typer.Argument(help="The form; see export.example.yaml.")], feeds: FeedsOption = None
) -> None:
    """Save a form, try its bucket, and begin to send; or change the settings of an export that is there."""
    from offload_platform.exports.form import read_form
    from offload_platform.exports.managing import add as save
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    read, sql = read_form(form)
    with stderr.status("Trying …"):
        saved = save(WarehouseFiles(settings.warehouse), _registry(settings), read, sql)
    columns = ", ".join(saved.form.columns or ())
    stdout.print(
        f"{saved.name} is {saved.state}: {escape(columns)} to {escape(saved.form.address)}, every "
        f"{saved.form.frequency_minutes} minutes. {_RELOAD}",
        soft_wrap=True,
    )
    if not saved.is_conditional:
        stdout.print("The store cannot refuse to replace an object: it is asked before each file is put.")


@export_app.command(name="test")
def try_out(name: NameArgument, feeds: FeedsOption = None) -> None:
    """Put an object into the bucket of an export, and delete it again."""
    from offload_platform.exports.managing import try_bucket

    registry = _registry(settings_of(feeds))
    with stderr.status("Trying …"):
        try_bucket(registry, name)
    stdout.print(f"{name} can put, look at and delete objects below {registry.get(name).form.address}", soft_wrap=True)


@export_app.command()
def run(
    name: NameArgument,
    slot: Annotated[
        str | None, typer.Option("--slot", help="Name of a slot's file, YYYY-MM-DD-hh-mm. Default: the newest due.")
    ] = None,
    feeds: FeedsOption = None,
) -> None:
    """Send the slots that are due now, instead of at their time."""
    from offload_platform.exports.registry import Outcome
    from offload_platform.exports.sending import check_slot, newest_due, waiting
    from offload_platform.exports.slots import name_of, slot_named
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.run import export_now
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    registry = _registry(settings)
    export = registry.get(name)
    now = datetime.now(UTC)
    newest = registry.newest(export)
    if slot is None:
        due = newest_due(export, now)
        if due is None or not waiting(registry, export, now):
            stdout.print(f"{name}: no slot is due.")
            return
        slot = name_of(due, export.form.zone)
    try:
        until = slot_named(slot, export.form.zone)
    except ValueError:
        raise typer.BadParameter(f"--slot: {slot!r} is not of the form YYYY-MM-DD-hh-mm") from None
    known = registry.slot(export, until)
    if known is None or known.outcome is Outcome.PINNED:
        check_slot(export, newest, until, now)
        opened = open_instance(WarehouseFiles(settings.warehouse), capture_output=False)
        with opened as instance, stderr.status("Sending …"):
            error = export_now(settings, instance, name, slot)
        if error:
            stdout.print(f"[red]not sent:[/red] {escape(error)}", soft_wrap=True)
            raise typer.Exit(PROBLEM_EXIT)
    done = registry.slot(export, until)
    assert done is not None
    stdout.print(f"{name} {slot}: {done.rows:,} rows, {escape(done.key or 'no file, because nothing has changed')}")


@export_app.command()
def pause(name: NameArgument, feeds: FeedsOption = None) -> None:
    """Send nothing until it is resumed. No change is lost."""
    from offload_platform.exports.managing import pause as stop

    stop(_registry(settings_of(feeds)), name)
    stdout.print(f"{name} is paused. Next: [bold]offload export resume {name}[/bold]")


@export_app.command()
def resume(
    name: NameArgument,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Leave out the slots that were missed; changes go into the next.")
    ] = False,
    feeds: FeedsOption = None,
) -> None:
    """Try the bucket of a draft or a paused export, and send again."""
    from offload_platform.exports.managing import resume as go_on
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    with stderr.status("Trying …"):
        go_on(WarehouseFiles(settings.warehouse), _registry(settings), name, from_now)
    stdout.print(f"{name} is active. {_RELOAD}")


@export_app.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    feeds: FeedsOption = None,
) -> None:
    """Stop an export and erase its settings here. Objects in the bucket stay."""
    from offload_platform.exports.managing import delete as erase

    registry = _registry(settings_of(feeds))
    address = registry.get(name).form.address
    if not yes:
        raise SettingsError(f"{name} would be deleted, and its settings erased; say --yes. {address} stays as it is")
    erase(registry, name)
    stdout.print(f"{name} is deleted. {escape(address)} stays as it is. {_RELOAD.replace('shows', 'forgets')}")


@export_app.command()
def status(feeds: FeedsOption = None, as_json: JsonOption = False) -> None:
    """Show what each export has sent, what waits, and when the next file is due."""
    registry, now = _registry(settings_of(feeds)), datetime.now(UTC)
    standings = [_standing(registry, export, now) for export in registry.all()]
    if as_json:
        return print_json({"exports": standings})
    table = table_of(None, "export", "state", "newest file", "rows>", "files>", "rows in all>", "waiting>", "next due")
    for s in standings:
        table.add_row(
            s["name"],
            s["state"],
            s["newest"] or "–",
            *(f"{s[count]:,}" for count in ("rows", "files", "rows_in_all")),
            f"[yellow]{s['waiting']:,}[/yellow]" if s["waiting"] else "0",
            f"{s['next_due']:%Y-%m-%d %H:%M}" if s["next_due"] else "–",
        )
    stdout.print(table)
    _show_stuck(standings)
    return None


def _show_stuck(standings: Sequence[dict[str, Any]]) -> None:
    for s in standings:
        if s["stuck"]:
            stdout.print(
                f"[red]stuck:[/red] {s['name']} {s['stuck']} was tried {s['attempts']:,} times. "
                f"Next: [bold]offload export run {s['name']}[/bold] says why",
                soft_wrap=True,
            )


def _standing(registry: "Registry", export: "Saved", now: datetime) -> dict[str, Any]:
    from offload_platform.exports.registry import Outcome, State
    from offload_platform.exports.sending import next_due, waiting
    from offload_platform.exports.slots import name_of

    said: dict[str, Any] = {"name": export.name, "state": export.state.value, "newest": None, "rows": 0, "waiting": 0}
    files, rows, size = registry.totals(export)
    said |= {"files": files, "rows_in_all": rows, "bytes_in_all": size, "next_due": None, "stuck": None, "attempts": 0}
    if export.state is State.DRAFT:
        return said
    newest, sent = registry.newest(export), registry.newest_sent(export)
    said["waiting"] = waiting(registry, export, now)
    if export.state is State.ACTIVE:
        said["next_due"] = next_due(export, now)
    if newest.outcome is Outcome.PINNED:
        said |= {"stuck": name_of(newest.slot, export.form.zone), "attempts": newest.attempts}
    if sent is not None:
        said |= {"newest": name_of(sent.slot, export.form.zone), "rows": sent.rows}
    return said


def _registry(settings: Settings) -> "Registry":
    from offload_platform.exports.registry import Registry
    from offload_platform.warehouse.files import WarehouseFiles

    return Registry(WarehouseFiles(settings.warehouse).exports)
