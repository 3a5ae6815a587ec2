"""`offload scorecard`: how punctual and how good a vendor's deliveries were."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedOption,
    FeedsOption,
    FirstOption,
    JsonOption,
    LastOption,
    TypeOption,
    app,
    check_types,
    chosen_feeds,
    reading_published,
    settings_of,
)
from offload_platform.cli.console import print_json, some_of, stderr, stdout, table_of, warned
from offload_platform.landing.errors import LandingError
from offload_platform.settings import Feed

if TYPE_CHECKING:
    from offload_platform.landing.deliveries import Discovery
    from offload_platform.scorecard_files import Scorecard

_DELIVERIES_SHOWN = 10


@app.command()
def scorecard(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    offload_type: TypeOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    out: Annotated[Path | None, typer.Option(help="Write a file for the vendor: .html, .csv or .json.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how punctual and how good a vendor's deliveries were; with --out, as a file that holds no personal data."""
    from offload_platform import scorecard_files as files
    from offload_platform.orchestration.tables import subscribed_contracts
    from offload_platform.warehouse.scorecard import score

    if out and out.suffix not in files.FORMATS:
        raise typer.BadParameter(f"{out}: the name must end in {', '.join(files.FORMATS)}", param_hint="--out")
    settings = settings_of(feeds)
    chosen = chosen_feeds(settings, feed)
    check_types(chosen, offload_type)
    now = datetime.now(UTC)
    days = (first.date() if first else None, last.date() if last else None)
    deliveries, unlisted = [], {}
    with reading_published(settings) as connection:
        for one in chosen:
            with stderr.status(f"Scoring {one.name} …"):
                listed = _listed_unsettled(one, now)
                if isinstance(listed, LandingError):
                    unlisted[one.name] = str(listed)
                discovery = None if isinstance(listed, LandingError) else listed
                for contract in subscribed_contracts(one):
                    if not offload_type or contract.offload_type in offload_type:
                        deliveries += score(connection, one, contract, discovery, now, *days)
    card = files.Scorecard(chosen, tuple(deliveries), now, *days)
    if out:
        files.write(card, out)
    if as_json:
        print_json(files.said(card) | {"unlisted": unlisted})
    elif out:
        stdout.print(f"Written: {out}", soft_wrap=True)
    else:
        _show_scorecard(card)
    if unlisted and not as_json:
        for error in unlisted.values():
            stdout.print(f"[red]not listed:[/red] {escape(error)}", soft_wrap=True)
    if unlisted:
        raise typer.Exit(PROBLEM_EXIT)


def _listed_unsettled(feed: Feed, now: datetime) -> "Discovery | LandingError":
    """What the feed's root holds; what is whole counts without waiting for it to settle. Or why it is not known."""
    from offload_platform.landing.deliveries import discover
    from offload_platform.landing.store import DeliveryStore

    try:
        objects = DeliveryStore(feed).list_objects(identify=lambda _: False)
    except LandingError as error:
        return error
    return discover(feed.model_copy(update={"settle_hours": 0.0}), objects, now)


def _show_scorecard(card: "Scorecard") -> None:
    from offload_platform.scorecard_files import hours, share
    from offload_platform.warehouse.scorecard import totals, worst

    headers = ["type", "due>", "on time>", "median>", "worst>", "missing>", "incomplete>", "again>"]
    headers += ["quarantined>", "drift>", "withdrawn>"]
    for feed in card.feeds:
        of_feed = [d for d in card.deliveries if d.feed == feed.name]
        if not of_feed:
            stdout.print(f"[bold]{feed.name}[/bold]: nothing was due")
            continue
        table = table_of(feed.name, *headers)
        for t in totals(of_feed):
            table.add_row(
                t.offload_type,
                f"{t.expected:,}",
                share(t.on_time_share),
                hours(t.median_hours_late),
                hours(t.worst_hours_late),
                warned(t.missing),
                warned(t.incomplete_folders),
                warned(t.redeliveries),
                share(t.quarantined_share),
                warned(t.drift),
                share(t.withdrawn_share),
            )
        stdout.print(table)
        together: dict[tuple[Any, ...], list[str]] = {}
        for d in worst(of_feed):
            together.setdefault((d.expected_at, d.outcome, d.due, d.arrived_at, d.hours_late), []).append(
                d.offload_type
            )
        if together:
            table = table_of(None, "not on time", "expected", "", "due", "arrived", "late>")
            for (expected_at, outcome, *times, late), types in list(together.items())[:_DELIVERIES_SHOWN]:
                table.add_row(
                    some_of(types),
                    f"{expected_at:%Y-%m-%d}",
                    outcome.value,
                    *(f"{at:%Y-%m-%d %H:%M}" if at else "–" for at in times),
                    hours(late),
                )
            stdout.print(table)
    stdout.print(
        "[dim]median, worst: after it was due; again: re-deliveries; quarantined: of rows; withdrawn: of events that "
        "could have been repeated. A file for the vendor: --out FILE.html[/dim]"
    )
