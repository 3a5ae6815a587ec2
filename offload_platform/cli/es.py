"""`offload es`: hand what names nobody to Elasticsearch and Kibana."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedOption,
    FeedsOption,
    FirstOption,
    JsonOption,
    LastOption,
    app,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout
from offload_platform.cli.listening import listened
from offload_platform.settings import SettingsError

if TYPE_CHECKING:
    from offload_platform.handoff.push import Pushed

es_app = typer.Typer(help="Hand what names nobody to Elasticsearch and Kibana.", no_args_is_help=True)
app.add_typer(es_app, name="es")


@es_app.command()
def export(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the files of the hand-off that are due: documents, index template, Kibana's objects. Nothing is sent."""
    from offload_platform.handoff.bulk import folder_of, is_due, make_handoff
    from offload_platform.listening.days import Tier, days_of
    from offload_platform.listening.raw import listening_of
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    files = WarehouseFiles(settings.warehouse)
    said = []
    for one in listened(settings, feed):
        assert one.listening is not None
        days = days_of(files, one.listening.country)
        made = [
            make_handoff(files, one, days, day)
            for day in days.of(Tier.CLEAN, listening_of(one).dataset)
            if (first is None or day >= first.date())
            and (last is None or day <= last.date())
            and is_due(files, one, days, day)
        ]
        said.append(
            {
                "feed": one.name,
                "folder": str(folder_of(files, one)),
                "days": len(made),
                "documents": sum(day.documents for day in made),
                "deletions": sum(day.deletions for day in made),
            }
        )
    if as_json:
        return print_json({"handed_off": said})
    for s in said:
        stdout.print(
            f"{s['feed']}: {s['days']:,} days, {s['documents']:,} documents, {s['deletions']:,} deletions in "
            f"{s['folder']}",
            soft_wrap=True,
        )
    return None


@es_app.command()
def push(
    url: Annotated[str, typer.Option("--url", help="The Elasticsearch, as https://host:9200.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Name of the variable that holds the API key.")
    ] = None,
    ca_certs: Annotated[
        Path | None, typer.Option("--ca-certs", help="Certificates of who vouches for the server, in PEM.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what this server has taken before.")] = False,
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the files of the hand-off that the server does not have yet; the index template goes first."""
    from offload_platform.handoff.push import Server
    from offload_platform.handoff.push import push as send
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    if api_key_env is not None and not os.environ.get(api_key_env):
        raise SettingsError(f"--api-key-env: the environment variable {api_key_env} is not set")
    server = Server(url, os.environ[api_key_env] if api_key_env else None, ca_certs)
    files, refused = WarehouseFiles(settings.warehouse), 0
    said = []
    for one in listened(settings, feed):
        with stderr.status(f"Sending {one.name} …"):
            pushed = send(
                files, one, server, first.date() if first else None, last.date() if last else None, again=again
            )
        refused += pushed.refused.total()
        said.append({"feed": one.name, **_said(pushed)})
        if not as_json:
            _show(one.name, pushed)
    if as_json:
        print_json({"pushed": said})
    if refused:
        raise typer.Exit(PROBLEM_EXIT)


def _said(pushed: "Pushed") -> dict[str, object]:
    return {
        "files": pushed.files,
        "indexed": pushed.indexed,
        "deleted": pushed.deleted,
        "refused": dict(pushed.refused),
        "examples": pushed.examples,
    }


def _show(name: str, pushed: "Pushed") -> None:
    stdout.print(f"{name}: {pushed.files:,} files, {pushed.indexed:,} documents taken, {pushed.deleted:,} deleted")
    for kind, count in pushed.refused.most_common():
        stdout.print(f"[red]refused:[/red] {count:,} with {escape(kind)}")
    if pushed.examples:
        stdout.print(
            f"Such as {', '.join(pushed.examples)}. The file stays to be sent: mend the index, and push again.",
            soft_wrap=True,
        )
