"""`offload plan`: what a run would load, replace and wait for."""

from offload_platform.cli.app import (
    FeedOption,
    FeedsOption,
    FirstOption,
    JsonOption,
    LastOption,
    TypeOption,
    app,
    check_types,
    chosen_feeds,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.cli.plans import exit_if_unlisted, incomplete_said, show_remarks


@app.command()
def plan(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    offload_type: TypeOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would load and what it would wait for; change nothing."""
    from offload_platform.orchestration import run as runs

    settings = settings_of(feeds)
    chosen = chosen_feeds(settings, feed)
    check_types(chosen, offload_type)
    with stderr.status("Listing deliveries …"):
        made = runs.plan(
            settings, chosen, offload_type or [], first.date() if first else None, last.date() if last else None
        )
    if as_json:
        print_json(
            {
                "loads": [
                    {
                        "feed": load.feed.name,
                        "offload_type": load.offload_type,
                        "partition": load.partition,
                        "delivery": load.delivery.folder,
                        "parts": len(load.delivery.parts),
                        "bytes": load.delivery.size,
                        "replaces": load.replaces,
                        "requests": load.requests,
                    }
                    for load in made.loads
                ],
                "up_to_date": made.up_to_date,
                "incomplete": incomplete_said(made.incomplete),
                "outside": sorted({d.folder for d in made.outside}),
                "unlisted": made.unlisted,
            }
        )
        return exit_if_unlisted(made)
    for name in dict.fromkeys(load.feed.name for load in made.loads):
        table = table_of(name, "type", "partition", "parts>", "MB>", "replaces a load")
        for load in made.loads:
            if load.feed.name == name:
                table.add_row(
                    load.offload_type,
                    load.partition,
                    f"{len(load.delivery.parts):,}",
                    f"{load.delivery.size / 1e6:,.2f}",
                    "yes" if load.replaces else "no",
                )
        stdout.print(table)
    parts = sum(len(load.delivery.parts) for load in made.loads)
    size = sum(load.delivery.size for load in made.loads)
    listings = sum(load.listings for load in made.loads)
    stdout.print(
        f"{len(made.loads)} partitions to load: {parts:,} parts, {size / 1e6:,.1f} MB stored, {listings + parts:,} "
        f"requests ({listings:,} listings, {parts:,} reads); {made.up_to_date} are up to date."
    )
    show_remarks(made)
    exit_if_unlisted(made)
