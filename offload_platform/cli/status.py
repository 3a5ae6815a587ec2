"""`offload status`: is the vendor on time, what is loaded, what waits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offload_platform.cli.app import (
    FeedOption,
    FeedsOption,
    JsonOption,
    app,
    chosen_feeds,
    published_file,
    reading_published,
    settings_of,
)
from offload_platform.cli.console import print_json, some_of, stderr, stdout, table_of, warned
from offload_platform.cli.plans import exit_if_unlisted, incomplete_said, show_remarks
from offload_platform.settings import Settings

if TYPE_CHECKING:
    from offload_platform.landing.punctuality import Punctuality
    from offload_platform.orchestration.standing import Standing

_DAYS_SHOWN = 8


@app.command()
def status(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    clocks: Annotated[
        bool, typer.Option("--clocks", help="Show how new events, deliveries and loads are, and when the next is due.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show whether the vendor has delivered, what is loaded and what waits, and how old the published file is."""
    from offload_platform.orchestration.run import plan as make_plan
    from offload_platform.orchestration.standing import standings
    from offload_platform.orchestration.tables import subscribed_contracts
    from offload_platform.warehouse.holds import held_deliveries
    from offload_platform.warehouse.ledger import newest_events, table_status

    settings = settings_of(feeds)
    chosen = chosen_feeds(settings, feed)
    contracts = {(c.vendor, c.offload_type): c for one in chosen for c in subscribed_contracts(one)}
    with reading_published(settings) as connection:
        tables = table_status(connection) if connection else []
        held = held_deliveries(connection) if connection else []
        events = newest_events(connection, contracts.values()) if connection and (clocks or as_json) else {}
    with stderr.status("Listing deliveries …"):
        plan = make_plan(settings, chosen)
    stand = standings(chosen, plan, tables, events, datetime.now(UTC))
    published = published_file(settings)
    published_at = datetime.fromtimestamp(published.stat().st_mtime, UTC) if published.exists() else None
    tiers = _tiers_said(settings)
    if as_json:
        print_json(
            {
                "privacy": tiers,
                "published": str(published) if published_at else None,
                "published_at": published_at,
                "tables": [s.said for s in stand],
                "waiting": [
                    {"feed": p.feed.name, "offload_type": p.offload_type, "partition": p.partition} for p in plan.loads
                ],
                "incomplete": incomplete_said(plan.incomplete),
                "held": [asdict(one) for one in held],
                "unlisted": plan.unlisted,
                "unrecognised": {name: list(d.unrecognised) for name, d in plan.discoveries.items()},
            }
        )
        return exit_if_unlisted(plan)
    for one in chosen:
        of_feed = [s for s in stand if s.feed == one.name]
        _show_standing(one.name, of_feed)
        if clocks:
            _show_clocks(of_feed)
        _show_missing(of_feed)
    if published_at:
        stdout.print(f"Published {published_at:%Y-%m-%d %H:%M:%S} UTC: {published}", soft_wrap=True)
    else:
        stdout.print("Nothing is published yet. Next: [bold]offload run[/bold]")
    _show_tiers(tiers)
    if plan.loads:
        stdout.print(
            f"[yellow]{len(plan.loads)} partitions are complete and new.[/yellow] Next: [bold]offload run[/bold]"
        )
    elif tables and not plan.unlisted:
        stdout.print("Every complete delivery is loaded.")
    for delivery in held:
        name = f"{delivery.feed} {delivery.offload_type} {delivery.stamp:%Y-%m-%d}"
        stdout.print(
            f"[red]held:[/red] {name} would take back {delivery.withdrawn:,} of {delivery.compared:,}. "
            f"Next: [bold]offload decide {name}[/bold] with --release or --reject",
            soft_wrap=True,
        )
    show_remarks(plan)
    exit_if_unlisted(plan)


def _tiers_said(settings: Settings) -> dict[str, Any] | None:
    """What is known of the privacy tiers; None where there is no `privacy` in the configuration."""
    from offload_platform.privacy.report import last_report
    from offload_platform.privacy.tiers import Tier, are_behind
    from offload_platform.warehouse.files import WarehouseFiles

    if settings.privacy is None:
        return None
    files = WarehouseFiles(settings.warehouse)
    made = {tier.value: tier.file(files) for tier in Tier if tier.file(files).exists()}
    report = last_report(files)
    return {
        "tiers": {
            name: {"file": str(file), "made_at": datetime.fromtimestamp(file.stat().st_mtime, UTC)}
            for name, file in made.items()
        },
        "behind": are_behind(files),
        "report_made_at": report["made_at"] if report else None,
        "targets_missed": [m["what"] for m in report["measures"] if m["is_met"] is False] if report else None,
    }


def _show_tiers(said: Mapping[str, Any] | None) -> None:
    if said is None:
        return
    for name, tier in said["tiers"].items():
        stdout.print(
            f"Privacy tier {name}, made {tier['made_at']:%Y-%m-%d %H:%M:%S} UTC: {tier['file']}", soft_wrap=True
        )
    if said["behind"]:
        stdout.print(
            "[yellow]The privacy tiers are older than the published file, or not made yet.[/yellow] "
            "Next: [bold]offload privacy build[/bold]",
            soft_wrap=True,
        )
    if said["targets_missed"]:
        stdout.print(
            f"[red]{len(said['targets_missed'])} targets of the privacy report are missed.[/red] "
            "Next: [bold]offload privacy report[/bold]",
            soft_wrap=True,
        )


def _show_standing(feed: str, standings: Sequence["Standing"]) -> None:
    headers = ("type", "partitions>", "newest", "loaded>", "quarantined>", "drift>", "vendor", "load")
    table = table_of(feed, *headers)
    for s in standings:
        t = s.table
        table.add_row(
            s.offload_type,
            f"{t.partitions:,}" if t else "0",
            t.newest_partition if t else "–",
            f"{t.rows_loaded:,}" if t else "0",
            warned(t.rows_quarantined if t else 0),
            warned(t.drift if t else 0),
            _vendor_in_colour(s.vendor),
            f"[yellow]{s.load_in_words}[/yellow]" if s.to_load or s.incomplete else s.load_in_words,
        )
    stdout.print(table)


def _vendor_in_colour(vendor: "Punctuality | None") -> str:
    if vendor is None:
        return "not known"
    colour = "red" if vendor.is_overdue else "yellow" if vendor.is_late else None
    return f"[{colour}]{vendor.in_words}[/{colour}]" if colour else vendor.in_words


def _show_clocks(standings: Sequence["Standing"]) -> None:
    table = table_of(None, "type", "newest event", "newest delivery", "last load", "next delivery due")
    for s in standings:
        table.add_row(
            s.offload_type,
            *(
                f"{at:%Y-%m-%d %H:%M}" if at else "–"
                for at in (
                    s.newest_event_at,
                    s.vendor.newest if s.vendor else None,
                    s.table.last_load_at if s.table else None,
                    s.vendor.due if s.vendor else None,
                )
            ),
        )
    stdout.print(table)
    stdout.print("[dim]UTC. Old events in a new delivery: a silent app. An old delivery: a silent vendor.[/dim]")


def _show_missing(standings: Sequence["Standing"]) -> None:
    by_days: dict[tuple[date, ...], list[str]] = {}
    for s in standings:
        if s.vendor and s.vendor.missing:
            by_days.setdefault(s.vendor.missing, []).append(s.offload_type)
    for days, types in by_days.items():
        shown = ", ".join(map(str, days[-_DAYS_SHOWN:]))
        before = f"{len(days) - _DAYS_SHOWN:,} earlier ones, " if len(days) > _DAYS_SHOWN else ""
        stdout.print(
            f"[yellow]missing:[/yellow] {before}{shown}: {some_of(types)} of {standings[0].feed}; ask the vendor",
            soft_wrap=True,
        )
