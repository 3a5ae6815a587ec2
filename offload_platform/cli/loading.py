"""`offload run`: load what is complete and new, and publish."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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
    published_file,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout, table_of, warned
from offload_platform.cli.plans import incomplete_said, show_remarks
from offload_platform.settings import Feed, Settings, SettingsError

if TYPE_CHECKING:
    from offload_platform.orchestration.run import LoadOutcome, Plan, PlannedLoad


@app.command()
def run(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    offload_type: TypeOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Partitions to load at once. Default: one for each core, at most 4."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Load what is complete and new, through Dagster, and publish."""
    settings = settings_of(feeds)
    chosen = chosen_feeds(settings, feed)
    check_types(chosen, offload_type)
    outcomes, plan, publishing_error = load(
        settings, chosen, offload_type or [], first.date() if first else None, last.date() if last else None, parallel
    )
    alerting_error = _send_alerts(settings, plan)
    failed = [o for o in outcomes if not o.succeeded]
    if as_json:
        print_json(
            {
                "loads": [asdict(o) for o in outcomes],
                "up_to_date": plan.up_to_date,
                "incomplete": incomplete_said(plan.incomplete),
                "outside": sorted({d.folder for d in plan.outside}),
                "unlisted": plan.unlisted,
                "unrecognised": {name: list(d.unrecognised) for name, d in plan.discoveries.items()},
                "published": str(published_file(settings)) if published_file(settings).exists() else None,
                "publishing_error": publishing_error,
                "alerting_error": alerting_error,
            }
        )
    else:
        show_loads(settings, outcomes, plan, publishing_error)
        if alerting_error:
            stdout.print(f"[red]not alerted:[/red] {escape(alerting_error)}", soft_wrap=True)
    if failed or publishing_error or alerting_error or plan.unlisted:
        raise typer.Exit(PROBLEM_EXIT)


def load(
    settings: Settings,
    feeds: Sequence[Feed],
    offload_types: Sequence[str],
    first: date | None,
    last: date | None,
    parallel: int | None = None,
) -> tuple[list["LoadOutcome"], "Plan", str | None]:
    """Load what is planned, and publish, with progress on the terminal.

    Returns the outcomes in the plan's order, the plan, and why publishing failed, if it did.
    """
    from offload_platform.orchestration import run as runs
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.sharing import is_behind
    from offload_platform.privacy.tiers import are_behind
    from offload_platform.warehouse.files import WarehouseFiles

    files = WarehouseFiles(settings.warehouse)
    with stderr.status("Listing deliveries …"):
        plan = runs.plan(settings, feeds, offload_types, first, last)
    outcomes = []
    publishing_error = None
    has_tiers_to_make = settings.privacy is not None and are_behind(files)
    has_to_share = is_behind(settings)
    is_up_to_date = files.is_published or not files.build.exists()
    if not plan.loads and is_up_to_date and not has_tiers_to_make and not has_to_share:
        return [], plan, None
    try:
        with open_instance(files, capture_output=False) as instance:
            with _loading(len(plan.loads)) as (on_change, on_outcome):
                at_once = parallel or runs.default_parallel(plan.loads)
                with closing(runs.execute(settings, plan.loads, instance, at_once, on_change)) as loading:
                    for outcome in loading:
                        outcomes.append(outcome)
                        on_outcome()
            if files.build.exists() and not files.is_published:
                with stderr.status("Publishing …"):
                    publishing_error = runs.publish_now(settings, instance)
            elif has_to_share or has_tiers_to_make:
                with stderr.status("Sharing what is published …" if has_to_share else "Making the privacy tiers …"):
                    publishing_error = runs.share_now(settings, instance) or runs.protect_now(settings, instance)
    except (KeyboardInterrupt, SystemExit):
        stderr.print("[yellow]stopped:[/yellow] what is loaded stays. Next: [bold]offload run[/bold] loads the rest")
        raise
    place = {(load.feed.name, load.offload_type, load.partition): number for number, load in enumerate(plan.loads)}
    outcomes.sort(key=lambda o: place[o.feed, o.offload_type, o.partition])
    return outcomes, plan, publishing_error


def _send_alerts(settings: Settings, plan: "Plan") -> str | None:
    """Send what is new in Dagster's log, and which roots could not be listed; returns why that failed, or None."""
    if settings.alerts is None:
        return None
    from offload_platform.orchestration.alerts import Listing, send_news
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.webhook import AlertNotSent
    from offload_platform.warehouse.files import WarehouseFiles

    now = datetime.now(UTC)
    listings = {name: Listing(plan.unlisted.get(name), now) for name in (*plan.discoveries, *plan.unlisted)}
    with open_instance(WarehouseFiles(settings.warehouse)) as instance:
        try:
            while send_news(settings, settings.alerts, instance, listings).more:
                pass
        except (AlertNotSent, SettingsError) as error:
            return str(error)
    return None


def show_loads(
    settings: Settings,
    outcomes: Sequence["LoadOutcome"],
    plan: "Plan",
    publishing_error: str | None,
    by_type: bool = False,
) -> None:
    """Tables of what was loaded, by partition or by type; what failed, what waits, and the next step."""
    succeeded = [o for o in outcomes if o.succeeded]
    for feed in dict.fromkeys(o.feed for o in succeeded):
        table = table_of(feed, "type", "partition", "rows in>", "loaded>", "quarantined>", "drift>", "s>", "MB/s>")
        for label, group in _grouped([o for o in succeeded if o.feed == feed], by_type):
            seconds = sum(o.seconds for o in group)
            table.add_row(
                group[0].offload_type,
                label,
                f"{sum(o.rows_in for o in group):,}",
                f"{sum(o.rows_loaded for o in group):,}",
                warned(sum(o.rows_quarantined for o in group)),
                warned(sum(o.drift for o in group)),
                f"{seconds:,.2f}",
                f"{sum(o.megabytes for o in group) / max(seconds, 1e-9):,.2f}",
            )
        stdout.print(table)
    if succeeded:
        stdout.print("[dim]s: seconds of a load, listing and commit included; MB/s: of stored, compressed bytes.[/dim]")
    for o in outcomes:
        if not o.succeeded:
            stdout.print(
                f"[red]failed:[/red] {o.feed} {o.offload_type} {o.partition}: {escape(o.error or '')}", soft_wrap=True
            )
    if not outcomes:
        stdout.print(f"Nothing new: {plan.up_to_date} partitions are up to date.")
    show_remarks(plan)
    if publishing_error:
        stdout.print(f"[red]{escape(publishing_error)}[/red]", soft_wrap=True)
    elif published_file(settings).exists():
        stdout.print(f"Published: {published_file(settings)}", soft_wrap=True)
    else:
        stdout.print("Nothing to publish yet. Next: [bold]offload doctor[/bold]")
    if any(o.rows_quarantined for o in succeeded):
        stdout.print("Quarantined rows: [bold]SELECT * FROM ops.quarantine[/bold] in the published file.")


def _grouped(outcomes: Sequence["LoadOutcome"], by_type: bool) -> Iterator[tuple[str, list["LoadOutcome"]]]:
    if not by_type:
        yield from ((o.partition, [o]) for o in outcomes)
        return
    for offload_type in dict.fromkeys(o.offload_type for o in outcomes):
        group = [o for o in outcomes if o.offload_type == offload_type]
        yield f"{len(group)} weeks", group


@contextmanager
def _loading(total: int) -> Iterator[tuple[Callable[[Sequence["PlannedLoad"]], None], Callable[[], None]]]:
    """Shows how many loads have ended, and which are under way; gives what is to be told of each change of either."""
    ended = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
    )
    under_way = Progress(TextColumn("  {task.description}"), TimeElapsedColumn(), console=stderr)
    shown: dict[tuple[str, str, str], Any] = {}
    loading = ended.add_task("Loading", total=total, visible=bool(total))

    def on_change(loads: Sequence["PlannedLoad"]) -> None:
        now = [(load.feed.name, load.offload_type, load.partition) for load in loads]
        for gone in shown.keys() - now:
            under_way.remove_task(shown.pop(gone))
        for begun in now:
            if begun not in shown:
                shown[begun] = under_way.add_task(" ".join(begun), total=None)

    with Live(Group(ended, under_way), console=stderr, transient=True):
        yield on_change, lambda: ended.advance(loading)
