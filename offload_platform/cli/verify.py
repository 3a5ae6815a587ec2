"""`offload verify`: compare stores, accounts, tables and the published file, and name each difference."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedOption,
    FeedsOption,
    JsonOption,
    TypeOption,
    app,
    check_types,
    chosen_feeds,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.settings import SettingsError


@app.command()
def verify(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    offload_type: TypeOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read every loaded part and every block again, and compare each value.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that what was delivered is what is kept and published; name each difference and the next step."""
    from offload_platform.orchestration.resources import source_of, warehouse_in
    from offload_platform.warehouse.verification import Weight
    from offload_platform.warehouse.verification import verify as compare

    settings = settings_of(feeds)
    chosen = chosen_feeds(settings, feed)
    check_types(chosen, offload_type)
    warehouse = warehouse_in(settings.warehouse)
    if not warehouse.files.build.exists():
        raise SettingsError(f"{warehouse.files.build} is not there yet. Next: offload run")
    with stderr.status("Comparing …") as status:
        verified = compare(
            warehouse.writing,
            warehouse.files,
            chosen,
            lambda one: source_of(one).store(one),
            offload_type or (),
            full=full,
            on_step=status.update,
        )
    if as_json:
        print_json(asdict(verified) | {"is_sound": verified.is_sound, "full": full})
    else:
        if verified.differences:
            table = table_of(None, "feed", "type", "partition", "", "found and next step")
            for one in verified.differences:
                colour = "red" if one.weight is Weight.PROBLEM else "yellow"
                found = f"{escape(one.found)}\n[bold]→ {escape(one.next_step)}[/bold]"
                weight = f"[{colour}]{one.weight.value}[/{colour}]"
                table.add_row(one.feed, one.offload_type, one.partition, weight, found)
            stdout.print(table)
        again = f", {verified.parts_read_again:,} of them read again" if full else ""
        stdout.print(
            f"Compared: {verified.parts:,} loaded parts with {verified.rows:,} rows; {verified.parts_in_store:,} of "
            f"them are in the store as they were{again}; {verified.tables_published:,} tables of the published file.",
            soft_wrap=True,
        )
        stdout.print("No problem was found." if verified.is_sound else "Problems were found; see above.")
    if not verified.is_sound:
        raise typer.Exit(PROBLEM_EXIT)
