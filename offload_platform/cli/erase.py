"""`offload erase`: remove persons from all that the platform keeps, and from what is to come."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT, FeedsOption, app, settings_of
from offload_platform.cli.console import stderr, stdout, table_of
from offload_platform.settings import SettingsError

if TYPE_CHECKING:
    from offload_platform.warehouse.erasure import Erasure


@app.command()
def erase(
    user: Annotated[list[str] | None, typer.Option("--user", help="The vendor's id; may be repeated.")] = None,
    external_id: Annotated[
        list[str] | None,
        typer.Option("--external-id", help="The client's id, with all users ever linked to it; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    verify: Annotated[Path | None, typer.Option("--verify", help="Check a receipt instead.")] = None,
    feeds: FeedsOption = None,
) -> None:
    """Erase persons: rows, history, quarantine, staged and published files, and every later load."""
    from offload_platform.orchestration.erasing import erase_persons, preview
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.scale.errors import ScaleUnusable
    from offload_platform.warehouse.compact import CompactFailed
    from offload_platform.warehouse.erasure import Request
    from offload_platform.warehouse.files import WarehouseFiles
    from offload_platform.warehouse.publish import PublishFailed
    from offload_platform.warehouse.search import SHORTEST
    from offload_platform.warehouse.tombstones import key_from_environment

    if verify:
        return _verify(verify)
    request = Request(_stripped(user), _stripped(external_id))
    if not request.users and not request.external_ids:
        raise typer.BadParameter("say whom to erase: --user or --external-id")
    settings = settings_of(feeds)
    files = WarehouseFiles(settings.warehouse)
    if not files.build.exists():
        raise SettingsError(f"{files.build} is not there yet. Next: offload run")
    if dry_run:
        _show(preview(settings, request), "would go")
        if settings.privacy or any(feed.listening for feed in settings.feeds):
            stdout.print("Not counted: rows of privacy tiers, and of what is made of an assistant's logs. They go too.")
        return None
    key = key_from_environment()
    with open_instance(files, capture_output=False) as instance, stderr.status("Erasing …"):
        try:
            erased = erase_persons(settings, instance, request, key)
        except (CompactFailed, PublishFailed, ScaleUnusable) as error:
            raise _problem(f"the rows are erased, but not all of their bytes are gone: {error}") from error
    _show(erased.erasure, "gone")
    for receipt in erased.receipts:
        stdout.print(f"Receipt: {receipt}", soft_wrap=True)
    if short := sum(len(value) < SHORTEST for value in erased.erasure.ids):
        stdout.print(f"Not searched for: {short} ids of fewer than {SHORTEST} characters.")
    if erased.found_in:
        raise _problem(
            "an erased id still stands in:\n"
            + "\n".join(f"  {place}" for place in erased.found_in)
            + "\nRemove it there by hand, and call the command again; docs/erasure.md says how."
        )
    stdout.print("No file of the warehouse holds the ids any more.")
    return None


def _stripped(values: list[str] | None) -> tuple[str, ...]:
    if not all(value.strip() for value in values or ()):
        raise typer.BadParameter("an id is empty")
    return tuple(dict.fromkeys(value.strip() for value in values or ()))


def _verify(file: Path) -> None:
    from offload_platform.warehouse.receipts import is_genuine
    from offload_platform.warehouse.tombstones import key_from_environment

    if not file.is_file():
        raise SettingsError(f"{file}: there is no such file")
    if not is_genuine(file.read_text(encoding="utf-8"), key_from_environment()):
        raise _problem(f"{file} is not as it was signed, or it was signed with another key")
    stdout.print(f"{file} is as it was signed.", soft_wrap=True)


def _show(erasure: "Erasure", heading: str) -> None:
    table = table_of(heading, "table", "rows>", "delivered>", "versions>", "quarantined>", "masked>")
    said = [*sorted(erasure.removed.items()), ("all", erasure.total()), *sorted(erasure.elsewhere.items())]
    for name, removed in said:
        counts = (removed.rows, removed.sightings, removed.versions, removed.quarantined, removed.masked)
        table.add_row(name, *(f"{count:,}" for count in counts))
    stdout.print(table)
    if not erasure.removed:
        stdout.print("Nothing is kept of these ids: see that they are spelled as the vendor delivers them.")
    if erasure.linked:
        stdout.print(
            f"Also linked, and not erased by themselves (--external-id): {escape(', '.join(sorted(erasure.linked)))}",
            soft_wrap=True,
        )


def _problem(said: str) -> typer.Exit:
    stdout.print(f"[red]problem:[/red] {escape(said)}", soft_wrap=True)
    return typer.Exit(PROBLEM_EXIT)
