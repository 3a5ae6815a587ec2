"""`offload decide`: release or reject a delivery that is held."""

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT, FeedsOption, app, settings_of
from offload_platform.cli.console import stderr, stdout
from offload_platform.settings import SettingsError


@app.command()
def decide(
    feed: Annotated[str, typer.Argument(help="Feed of the delivery.")],
    offload_type: Annotated[str, typer.Argument(metavar="TYPE", help="Offload type of the delivery.")],
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Day of its stamp (UTC).")],
    release: Annotated[bool, typer.Option("--release", help="It is right: merge it.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="It is wrong: leave this version of it out.")] = False,
    feeds: FeedsOption = None,
) -> None:
    """Release or reject a delivery that is held because it would take back too much; then publish."""
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.resources import warehouse_in
    from offload_platform.orchestration.run import publish_now
    from offload_platform.warehouse.files import WarehouseFiles
    from offload_platform.warehouse.holds import Decision, NotHeld
    from offload_platform.warehouse.holds import decide as write_decision

    if release == reject:
        raise typer.BadParameter("say either --release or --reject")
    settings = settings_of(feeds)
    settings.feed(feed)
    decision = Decision.RELEASED if release else Decision.REJECTED
    with warehouse_in(settings.warehouse).writing() as connection:
        try:
            write_decision(connection, feed, offload_type, day.date(), decision)
        except NotHeld as error:
            raise SettingsError(str(error)) from error
    opened = open_instance(WarehouseFiles(settings.warehouse), capture_output=False)
    with opened as instance, stderr.status("Merging and publishing …"):
        publishing_error = publish_now(settings, instance)
    if publishing_error:
        stdout.print(f"[red]{escape(publishing_error)}[/red]", soft_wrap=True)
        raise typer.Exit(PROBLEM_EXIT)
    stdout.print(f"{feed} {offload_type} {day:%Y-%m-%d} is {decision.value}, and the published file follows it.")
