"""The `offload` command: run, plan, status, scorecard, doctor, tidy, simulate, demo, dev.

Here: what people type and read. The work is done in the rooms below; Dagster is imported only by commands that need it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from offload_platform.landing.errors import LandingError
from offload_platform.settings import FEEDS_VARIABLE, Feed, Settings, SettingsError, feeds_file, read_settings

app = typer.Typer(
    help="Turns vendor offloads in S3 into a DuckDB warehouse that analysts can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console()
_err = Console(stderr=True)

FeedsOption = Annotated[
    Path | None, typer.Option("--feeds", help=f"Configuration file. Default: ${FEEDS_VARIABLE}, or feeds.yaml.")
]
FeedOption = Annotated[list[str] | None, typer.Option("--feed", help="Only this feed; may be repeated.")]
TypeOption = Annotated[list[str] | None, typer.Option("--type", help="Only this offload type; may be repeated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of tables.")]
FirstOption = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of stamps to look at.")
]
LastOption = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of stamps to look at.")
]
PROBLEM_EXIT, USAGE_EXIT = 1, 2
_DAYS_SHOWN, _DELIVERIES_SHOWN = 8, 10


class Family(StrEnum):
    """What can be simulated."""

    LIFESTYLE = "lifestyle"
    DRIVING = "driving"
    MAPPING = "mapping"


def main() -> None:
    """Entry point: errors that people can mend are told in a sentence, not a traceback."""
    # A shell's background job ignores Ctrl-C, and SIGTERM would leave servers behind: both end a command in order.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (SettingsError, LandingError) as error:
        _err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(USAGE_EXIT if isinstance(error, SettingsError) else PROBLEM_EXIT)


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
    settings = _settings(feeds)
    chosen = _chosen(settings, feed)
    _check_types(chosen, offload_type)
    outcomes, plan, publishing_error = _run(
        settings, chosen, offload_type or [], first.date() if first else None, last.date() if last else None, parallel
    )
    alerting_error = _send_alerts(settings, plan)
    failed = [o for o in outcomes if not o.succeeded]
    if as_json:
        _print_json(
            {
                "loads": [asdict(o) for o in outcomes],
                "up_to_date": plan.up_to_date,
                "incomplete": _incomplete_json(plan.incomplete),
                "outside": sorted({d.folder for d in plan.outside}),
                "unlisted": plan.unlisted,
                "unrecognised": {name: list(d.unrecognised) for name, d in plan.discoveries.items()},
                "published": str(_published(settings)) if _published(settings).exists() else None,
                "publishing_error": publishing_error,
                "alerting_error": alerting_error,
            }
        )
    else:
        _show_run(settings, outcomes, plan, publishing_error)
        if alerting_error:
            _out.print(f"[red]not alerted:[/red] {escape(alerting_error)}", soft_wrap=True)
    if failed or publishing_error or alerting_error or plan.unlisted:
        raise typer.Exit(PROBLEM_EXIT)


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

    settings = _settings(feeds)
    chosen = _chosen(settings, feed)
    _check_types(chosen, offload_type)
    with _err.status("Listing deliveries …"):
        made = runs.plan(
            settings, chosen, offload_type or [], first.date() if first else None, last.date() if last else None
        )
    if as_json:
        _print_json(
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
                "incomplete": _incomplete_json(made.incomplete),
                "outside": sorted({d.folder for d in made.outside}),
                "unlisted": made.unlisted,
            }
        )
        return _exit_if_unlisted(made)
    for name in dict.fromkeys(load.feed.name for load in made.loads):
        table = _table(name, "type", "partition", "parts>", "MB>", "replaces a load")
        for load in made.loads:
            if load.feed.name == name:
                table.add_row(
                    load.offload_type,
                    load.partition,
                    f"{len(load.delivery.parts):,}",
                    f"{load.delivery.size / 1e6:,.2f}",
                    "yes" if load.replaces else "no",
                )
        _out.print(table)
    parts = sum(len(load.delivery.parts) for load in made.loads)
    size = sum(load.delivery.size for load in made.loads)
    listings = sum(load.listings for load in made.loads)
    _out.print(
        f"{len(made.loads)} partitions to load: {parts:,} parts, {size / 1e6:,.1f} MB stored, {listings + parts:,} "
        f"requests ({listings:,} listings, {parts:,} reads); {made.up_to_date} are up to date."
    )
    _show_remarks(made)
    _exit_if_unlisted(made)


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
    from offload_platform.warehouse.ledger import newest_events, table_status

    settings = _settings(feeds)
    chosen = _chosen(settings, feed)
    contracts = {(c.vendor, c.offload_type): c for one in chosen for c in subscribed_contracts(one)}
    with _reading_published(settings) as connection:
        tables = table_status(connection) if connection else []
        events = newest_events(connection, contracts.values()) if connection and (clocks or as_json) else {}
    with _err.status("Listing deliveries …"):
        plan = make_plan(settings, chosen)
    stand = standings(chosen, plan, tables, events, datetime.now(UTC))
    published = _published(settings)
    published_at = datetime.fromtimestamp(published.stat().st_mtime, UTC) if published.exists() else None
    if as_json:
        _print_json(
            {
                "published": str(published) if published_at else None,
                "published_at": published_at,
                "tables": [s.said for s in stand],
                "waiting": [
                    {"feed": p.feed.name, "offload_type": p.offload_type, "partition": p.partition} for p in plan.loads
                ],
                "incomplete": _incomplete_json(plan.incomplete),
                "unlisted": plan.unlisted,
                "unrecognised": {name: list(d.unrecognised) for name, d in plan.discoveries.items()},
            }
        )
        return _exit_if_unlisted(plan)
    for one in chosen:
        of_feed = [s for s in stand if s.feed == one.name]
        _show_standing(one.name, of_feed)
        if clocks:
            _show_clocks(of_feed)
        _show_missing(of_feed)
    if published_at:
        _out.print(f"Published {published_at:%Y-%m-%d %H:%M:%S} UTC: {published}", soft_wrap=True)
    else:
        _out.print("Nothing is published yet. Next: [bold]offload run[/bold]")
    if plan.loads:
        _out.print(
            f"[yellow]{len(plan.loads)} partitions are complete and new.[/yellow] Next: [bold]offload run[/bold]"
        )
    elif tables and not plan.unlisted:
        _out.print("Every complete delivery is loaded.")
    _show_remarks(plan)
    _exit_if_unlisted(plan)


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
    settings = _settings(feeds)
    chosen = _chosen(settings, feed)
    _check_types(chosen, offload_type)
    now = datetime.now(UTC)
    days = (first.date() if first else None, last.date() if last else None)
    deliveries, unlisted = [], {}
    with _reading_published(settings) as connection:
        for one in chosen:
            with _err.status(f"Scoring {one.name} …"):
                listed = _listed_unsettled(one, now)
                if isinstance(listed, LandingError):
                    unlisted[one.name] = str(listed)
                    listed = None
                for contract in subscribed_contracts(one):
                    if not offload_type or contract.offload_type in offload_type:
                        deliveries += score(connection, one, contract, listed, now, *days)
    card = files.Scorecard(chosen, tuple(deliveries), now, *days)
    if out:
        files.write(card, out)
    if as_json:
        _print_json(files.said(card) | {"unlisted": unlisted})
    elif out:
        _out.print(f"Written: {out}", soft_wrap=True)
    else:
        _show_scorecard(card)
    if unlisted and not as_json:
        for error in unlisted.values():
            _out.print(f"[red]not listed:[/red] {escape(error)}", soft_wrap=True)
    if unlisted:
        raise typer.Exit(PROBLEM_EXIT)


@app.command()
def doctor(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    send_test_alert: Annotated[
        bool, typer.Option("--send-test-alert", help="Send a message to the webhook of the alerts.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, credentials, rights, layout and gaps; say the next step for each problem."""
    from offload_platform.landing.inspection import Finding, Grade, inspect

    settings = _settings(feeds)
    findings = [Finding("", "configuration", Grade.GOOD, f"{settings.file}: {len(settings.feeds)} feeds")]
    findings.append(_warehouse_finding(settings))
    if settings.alerts is not None or send_test_alert:
        findings.append(_alerts_finding(settings, send_test_alert))
    for one in _chosen(settings, feed):
        with _err.status(f"Looking at {one.name} …"):
            findings += inspect(one)
    if as_json:
        _print_json({"findings": [asdict(f) for f in findings]})
    else:
        colours = {Grade.GOOD: "green", Grade.NOTE: "yellow", Grade.PROBLEM: "red"}
        table = _table(None, "feed", "looked at", "", "found and next step")
        for f in findings:
            step = f"\n[bold]→ {escape(f.next_step)}[/bold]" if f.next_step else ""
            colour = colours[f.grade]
            table.add_row(f.feed, f.subject, f"[{colour}]{f.grade.value}[/{colour}]", escape(f.found) + step)
        _out.print(table)
    if any(f.grade is Grade.PROBLEM for f in findings):
        raise typer.Exit(PROBLEM_EXIT)


@app.command()
def tidy(
    feeds: FeedsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what `retention` has let expire: old rows, staged files, logs, and runs that say nothing any more."""
    from offload_platform.orchestration import housekeeping
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.warehouse.files import WarehouseFiles

    settings = _settings(feeds)
    with open_instance(WarehouseFiles(settings.warehouse)) as instance, _err.status("Tidying up …"):
        tidied = housekeeping.tidy(settings, instance, dry_run=dry_run)
    if as_json:
        return _print_json(asdict(tidied) | {"dry_run": dry_run})
    for sentence in housekeeping.in_words(tidied):
        _out.print(f"{'would go' if dry_run else 'gone'}: {sentence}", soft_wrap=True)
    if not housekeeping.in_words(tidied):
        _out.print("Nothing has been kept long enough to go.")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write to; it becomes the root of a feed.")],
    users: Annotated[int, typer.Option(min=1, help="Users; each has about 180 stays in nine weeks.")] = 100,
    family: Annotated[
        list[Family] | None, typer.Option("--family", help="What to write; may be repeated. Default: lifestyle.")
    ] = None,
    snapshots: Annotated[int, typer.Option(min=1, help="Successive lifestyle deliveries.")] = 1,
    days: Annotated[int, typer.Option(min=1, help="Driving days; the mapping is that of the last one.")] = 1,
    first_stamp: Annotated[
        datetime | None, typer.Option("--first", formats=["%Y-%m-%d"], help="Day of the first delivery.")
    ] = None,
    cadence_days: Annotated[int, typer.Option(min=1, help="Days between deliveries.")] = 7,
    window_days: Annotated[int, typer.Option(min=1, help="Days of history in each delivery.")] = 63,
    offload_type: TypeOption = None,
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of rows that are broken on purpose.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed gives other people.")] = 1,
    app_id: Annotated[str | None, typer.Option(help="App id in the paths.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write vendor-shaped deliveries of any size, with a manifest of what was broken on purpose."""
    from offload_platform.simulator.deliveries import Snapshots
    from offload_platform.simulator.driving import DrivingDays
    from offload_platform.simulator.driving_settings import DRIVING_TYPES, DrivingSimulation
    from offload_platform.simulator.mapping import MAPPING_TYPES, Links, MappingSimulation
    from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation
    from offload_platform.simulator.writing import Source, write

    types_of = {Family.LIFESTYLE: OFFLOAD_TYPES, Family.DRIVING: DRIVING_TYPES, Family.MAPPING: MAPPING_TYPES}
    known = [name for one in family or [Family.LIFESTYLE] for name in types_of[one]]
    for name in offload_type or ():
        if name not in known:
            raise typer.BadParameter(f"unknown offload type {name!r}; known: {', '.join(known)}")
    wanted = {one: tuple(t for t in types_of[one] if t in known and t in (offload_type or known)) for one in Family}
    people: dict[str, Any] = {"seed": seed, "users": users}
    said: dict[str, Any] = people | {"faults": faults} | ({"app_id": app_id} if app_id else {})
    lifestyle = said | {"snapshots": snapshots, "cadence_days": cadence_days, "window_days": window_days}
    driving, mapping = said | {"days": days}, people | {"version": days - 1}
    if first_stamp:
        lifestyle["first_stamp"] = first_stamp.replace(hour=15, minute=5, second=54, microsecond=499_000, tzinfo=UTC)
        driving["first_day"] = mapping["first_day"] = first_stamp.date()
    sources: list[Source] = []
    try:
        if types := wanted[Family.LIFESTYLE]:
            sources.append(Snapshots(Simulation(types=types, **lifestyle)))
        if types := wanted[Family.DRIVING]:
            sources.append(DrivingDays(DrivingSimulation(types=types, **driving)))
        if wanted[Family.MAPPING]:
            sources.append(Links(MappingSimulation(**mapping)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with _counting("Writing rows") as advance:
        summary = write(sources, out, on_progress=lambda _, rows: advance(rows))
    if as_json:
        _print_json(asdict(summary))
        return
    table = _table(None, "type", "rows>")
    for name, rows in summary.rows.items():
        table.add_row(name, f"{rows:,}")
    _out.print(table)
    _out.print(
        f"{summary.parts:,} parts, {summary.size / 1e6:,.1f} MB in {out}; {summary.planted:,} broken rows, listed in "
        f"{out}.manifest.\nNext: a feed with [bold]url: {out.resolve().as_uri()}[/bold] and settle_hours: 0",
        soft_wrap=True,
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo"),
    users: Annotated[int, typer.Option(min=1, help="Simulated users.")] = 100,
) -> None:
    """Show the whole way: S3 server, nine weekly deliveries, backfill, published file, three queries."""
    from offload_platform import demo as demonstration

    stage = demonstration.Demonstration(folder)
    with stage.server() as server:
        _out.print(f"[bold]1.[/bold] S3 server on {server.url} (this machine only)")
        with _counting("   simulating nine weekly deliveries: rows") as advance:
            summary = stage.simulate(users, lambda _, rows: advance(rows))
        _out.print(
            f"[bold]2.[/bold] {sum(summary.rows.values()):,} rows in {summary.parts} parts simulated, "
            f"{summary.planted:,} of them broken on purpose"
        )
        objects = stage.upload(server)
        _out.print(f"[bold]3.[/bold] {objects} objects in s3://{demonstration.BUCKET}/{demonstration.ROOT}")
        settings = read_settings(stage.write_feeds(server))
        _out.print("[bold]4.[/bold] backfill through Dagster, with the vendor's read-only key")
        outcomes, plan, publishing_error = _run(settings, settings.feeds, [], None, None)
        _show_run(settings, outcomes, plan, publishing_error, by_type=True)
    _out.print("\n[bold]5.[/bold] what an analyst asks of the published file")
    with _reading_published(settings) as connection:
        for query in demonstration.QUERIES:
            assert connection is not None
            _out.print(f"\n[bold]{query.question}[/bold]\n[dim]{escape(query.sql)}[/dim]")
            result = connection.sql(query.sql)
            table = _table(None, *result.columns)
            for row in result.fetchall():
                table.add_row(*(escape(str(value)) for value in row))
            _out.print(table)
    _out.print(f"\nPublished file: [bold]{_published(settings)}[/bold]", soft_wrap=True)
    _out.print("Open the Dagster UI with [bold]make dev[/bold] (or: offload dev), then http://127.0.0.1:3000")
    if publishing_error or not all(o.succeeded for o in outcomes):
        raise typer.Exit(PROBLEM_EXIT)


@app.command()
def dev(
    feeds: FeedsOption = None,
    port: Annotated[int, typer.Option(help="Port of the UI on this machine.")] = 3000,
) -> None:
    """Open the Dagster UI on 127.0.0.1, telemetry off; with the demo's S3 server where the feeds are the demo's."""
    from offload_platform.demo import Demonstration
    from offload_platform.orchestration.instance import dagster_home
    from offload_platform.warehouse.files import WarehouseFiles

    demo_feeds = Demonstration(Path("demo")).feeds_file
    path = feeds or (demo_feeds if not feeds_file().exists() and demo_feeds.exists() else feeds_file())
    settings = read_settings(path)
    os.environ[FEEDS_VARIABLE] = str(path.resolve())
    os.environ.setdefault("PYTHONWARNINGS", "ignore:Function `dev_command` is superseded")
    os.environ["DAGSTER_HOME"] = str(dagster_home(WarehouseFiles(settings.warehouse)))
    workspace = ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "offload_platform.definitions"]
    command = [sys.executable, "-m", "dagster", "dev", *workspace, "-h", "127.0.0.1", "-p", str(port)]
    _out.print(f"Feeds: {path}. UI: [bold]http://127.0.0.1:{port}[/bold]  (stop with Ctrl-C)", soft_wrap=True)
    with Demonstration.server_of(path):
        # In a session of its own, it gets Ctrl-C once, from here: a second one would make it leave its children behind.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            process.wait()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
    raise typer.Exit(process.returncode)


def _settings(feeds: Path | None) -> Settings:
    return read_settings(feeds or feeds_file())


def _chosen(settings: Settings, names: Sequence[str] | None) -> tuple[Feed, ...]:
    return tuple(settings.feed(name) for name in names) if names else settings.feeds


def _check_types(feeds: Sequence[Feed], offload_types: Sequence[str] | None) -> None:
    from offload_platform.orchestration.run import known_types

    known = known_types(feeds)
    for name in offload_types or ():
        if name not in known:
            raise SettingsError(f"--type: unknown offload type {name!r}; known: {', '.join(known)}")


def _run(
    settings: Settings,
    feeds: Sequence[Feed],
    offload_types: Sequence[str],
    first: date | None,
    last: date | None,
    parallel: int | None = None,
) -> tuple[list[Any], Any, str | None]:
    from offload_platform.orchestration import run as runs
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.warehouse.files import WarehouseFiles

    files = WarehouseFiles(settings.warehouse)
    with _err.status("Listing deliveries …"):
        plan = runs.plan(settings, feeds, offload_types, first, last)
    outcomes = []
    publishing_error = None
    if not plan.loads and (files.is_published or not files.build.exists()):
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
                with _err.status("Publishing …"):
                    publishing_error = runs.publish_now(settings, instance)
    except (KeyboardInterrupt, SystemExit):
        _err.print("[yellow]stopped:[/yellow] what is loaded stays. Next: [bold]offload run[/bold] loads the rest")
        raise
    place = {(load.feed.name, load.offload_type, load.partition): number for number, load in enumerate(plan.loads)}
    outcomes.sort(key=lambda o: place[o.feed, o.offload_type, o.partition])
    return outcomes, plan, publishing_error


def _show_run(
    settings: Settings, outcomes: Sequence[Any], plan: Any, publishing_error: str | None, by_type: bool = False
) -> None:
    succeeded = [o for o in outcomes if o.succeeded]
    for feed in dict.fromkeys(o.feed for o in succeeded):
        table = _table(feed, "type", "partition", "rows in>", "loaded>", "quarantined>", "drift>", "s>", "MB/s>")
        for label, group in _grouped([o for o in succeeded if o.feed == feed], by_type):
            seconds = sum(o.seconds for o in group)
            table.add_row(
                group[0].offload_type,
                label,
                f"{sum(o.rows_in for o in group):,}",
                f"{sum(o.rows_loaded for o in group):,}",
                _warned(sum(o.rows_quarantined for o in group)),
                _warned(sum(o.drift for o in group)),
                f"{seconds:,.2f}",
                f"{sum(o.megabytes for o in group) / max(seconds, 1e-9):,.2f}",
            )
        _out.print(table)
    if succeeded:
        _out.print("[dim]s: seconds of a load, listing and commit included; MB/s: of stored, compressed bytes.[/dim]")
    for o in outcomes:
        if not o.succeeded:
            _out.print(f"[red]failed:[/red] {o.feed} {o.offload_type} {o.partition}: {escape(o.error)}", soft_wrap=True)
    if not outcomes:
        _out.print(f"Nothing new: {plan.up_to_date} partitions are up to date.")
    _show_remarks(plan)
    if publishing_error:
        _out.print(f"[red]not published:[/red] {escape(publishing_error)}", soft_wrap=True)
    elif _published(settings).exists():
        _out.print(f"Published: {_published(settings)}", soft_wrap=True)
    else:
        _out.print("Nothing to publish yet. Next: [bold]offload doctor[/bold]")
    if any(o.rows_quarantined for o in succeeded):
        _out.print("Quarantined rows: [bold]SELECT * FROM ops.quarantine[/bold] in the published file.")


def _show_standing(feed: str, standings: Sequence[Any]) -> None:
    headers = ("type", "partitions>", "newest", "rows in>", "loaded>", "quarantined>", "drift>", "vendor", "load")
    table = _table(feed, *headers)
    for s in standings:
        t = s.table
        table.add_row(
            s.offload_type,
            f"{t.partitions:,}" if t else "0",
            t.newest_partition if t else "–",
            f"{t.rows_in:,}" if t else "0",
            f"{t.rows_loaded:,}" if t else "0",
            _warned(t.rows_quarantined if t else 0),
            _warned(t.drift if t else 0),
            _vendor_in_colour(s.vendor),
            f"[yellow]{s.load_in_words}[/yellow]" if s.to_load or s.incomplete else s.load_in_words,
        )
    _out.print(table)


def _vendor_in_colour(vendor: Any) -> str:
    if vendor is None:
        return "not known"
    colour = "red" if vendor.is_overdue else "yellow" if vendor.is_late else None
    return f"[{colour}]{vendor.in_words}[/{colour}]" if colour else vendor.in_words


def _show_clocks(standings: Sequence[Any]) -> None:
    table = _table(None, "type", "newest event", "newest delivery", "last load", "next delivery due")
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
    _out.print(table)
    _out.print("[dim]UTC. Old events in a new delivery: a silent app. An old delivery: a silent vendor.[/dim]")


def _show_missing(standings: Sequence[Any]) -> None:
    by_days: dict[tuple[date, ...], list[str]] = {}
    for s in standings:
        if s.vendor and s.vendor.missing:
            by_days.setdefault(s.vendor.missing, []).append(s.offload_type)
    for days, types in by_days.items():
        shown = ", ".join(map(str, days[-_DAYS_SHOWN:]))
        before = f"{len(days) - _DAYS_SHOWN:,} earlier ones, " if len(days) > _DAYS_SHOWN else ""
        _out.print(
            f"[yellow]missing:[/yellow] {before}{shown}: {_some(types)} of {standings[0].feed}; ask the vendor",
            soft_wrap=True,
        )


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _listed_unsettled(feed: Feed, now: datetime) -> Any:
    """What the feed's root holds; what is whole counts without waiting for it to settle. Or why it is not known."""
    from offload_platform.landing.deliveries import discover
    from offload_platform.landing.store import DeliveryStore

    try:
        objects = DeliveryStore(feed).list_objects(identify=lambda _: False)
    except LandingError as error:
        return error
    return discover(feed.model_copy(update={"settle_hours": 0.0}), objects, now)


def _show_scorecard(card: Any) -> None:
    from offload_platform.scorecard_files import hours, share
    from offload_platform.warehouse.scorecard import totals, worst

    headers = ["type", "due>", "on time>", "median>", "worst>", "missing>", "incomplete>", "again>"]
    headers += ["quarantined>", "drift>", "withdrawn>"]
    for feed in card.feeds:
        of_feed = [d for d in card.deliveries if d.feed == feed.name]
        if not of_feed:
            _out.print(f"[bold]{feed.name}[/bold]: nothing was due")
            continue
        table = _table(feed.name, *headers)
        for t in totals(of_feed):
            table.add_row(
                t.offload_type,
                f"{t.expected:,}",
                share(t.on_time_share),
                hours(t.median_hours_late),
                hours(t.worst_hours_late),
                _warned(t.missing),
                _warned(t.incomplete_folders),
                _warned(t.redeliveries),
                share(t.quarantined_share),
                _warned(t.drift),
                share(t.withdrawn_share),
            )
        _out.print(table)
        together: dict[tuple[Any, ...], list[str]] = {}
        for d in worst(of_feed):
            together.setdefault((d.expected_at, d.outcome, d.due, d.arrived_at, d.hours_late), []).append(
                d.offload_type
            )
        if together:
            table = _table(None, "not on time", "expected", "", "due", "arrived", "late>")
            for (expected_at, outcome, *times, late), types in list(together.items())[:_DELIVERIES_SHOWN]:
                table.add_row(
                    _some(types),
                    f"{expected_at:%Y-%m-%d}",
                    outcome.value,
                    *(f"{at:%Y-%m-%d %H:%M}" if at else "–" for at in times),
                    hours(late),
                )
            _out.print(table)
    _out.print(
        "[dim]median, worst: after it was due; again: re-deliveries; quarantined: of rows; withdrawn: of events that "
        "could have been repeated. A file for the vendor: --out FILE.html[/dim]"
    )


def _grouped(outcomes: Sequence[Any], by_type: bool) -> Iterator[tuple[str, list[Any]]]:
    if not by_type:
        yield from ((o.partition, [o]) for o in outcomes)
        return
    for offload_type in dict.fromkeys(o.offload_type for o in outcomes):
        group = [o for o in outcomes if o.offload_type == offload_type]
        yield f"{len(group)} weeks", group


def _show_remarks(plan: Any) -> None:
    for error in plan.unlisted.values():
        _out.print(f"[red]not listed:[/red] {escape(error)}", soft_wrap=True)
    for folder, because in dict.fromkeys((d.folder, d.incomplete_because) for d in plan.incomplete):
        _out.print(f"[yellow]waiting:[/yellow] {folder}: {escape(because or '')}", soft_wrap=True)
    for folder in sorted({d.folder for d in plan.outside}):
        _out.print(f"[yellow]left out:[/yellow] {folder}: from before the feed's start, or stamped in the future")
    for name, discovery in plan.discoveries.items():
        if discovery.unrecognised:
            _out.print(
                f"[yellow]unrecognised:[/yellow] {len(discovery.unrecognised)} objects of {name}; see offload doctor"
            )


def _exit_if_unlisted(plan: Any) -> None:
    if plan.unlisted:
        raise typer.Exit(PROBLEM_EXIT)


def _incomplete_json(deliveries: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"folder": d.folder, "offload_type": d.offload_type, "because": d.incomplete_because} for d in deliveries]


def _warehouse_finding(settings: Settings) -> Any:
    from offload_platform.landing.inspection import Finding, Grade

    folder = settings.warehouse
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Finding("", "warehouse", Grade.GOOD, str(folder))
    return Finding(
        "", "warehouse", Grade.PROBLEM, f"{existing} cannot be written to", "Set warehouse to a folder of yours."
    )


def _alerts_finding(settings: Settings, send_test_alert: bool) -> Any:
    from offload_platform.landing.inspection import Finding, Grade

    if settings.alerts is None:
        step = f"Add `alerts` to {settings.file}; see feeds.example.yaml."
        return Finding("", "alerts", Grade.PROBLEM, "no alerts are configured", step)
    try:
        host = urlsplit(settings.alerts.url()).hostname
    except SettingsError as error:
        step = "Set it where `offload run` and Dagster start; it holds the whole URL."
        return Finding("", "alerts", Grade.PROBLEM, str(error), step)
    about = ", ".join(settings.alerts.about)
    if not send_test_alert:
        return Finding("", "alerts", Grade.GOOD, f"to {host}, about {about}; not tried (--send-test-alert)")
    from offload_platform.orchestration.alert_message import trial_message
    from offload_platform.orchestration.webhook import AlertNotSent, post

    try:
        post(settings.alerts.url(), trial_message(about))
    except AlertNotSent as error:
        return Finding("", "alerts", Grade.PROBLEM, str(error), "Compare the URL with the one that the service shows.")
    return Finding("", "alerts", Grade.GOOD, f"{host} has taken a test message")


def _send_alerts(settings: Settings, plan: Any) -> str | None:
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


def _published(settings: Settings) -> Path:
    from offload_platform.warehouse.files import WarehouseFiles

    return WarehouseFiles(settings.warehouse).published


@contextmanager
def _reading_published(settings: Settings) -> Iterator[Any]:
    import duckdb

    from offload_platform.warehouse.files import prepare

    if not _published(settings).exists():
        yield None
        return
    with duckdb.connect(_published(settings), read_only=True) as connection:
        prepare(connection)
        yield connection


def _table(title: str | None, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for header in headers:
        right = header.endswith(">")
        table.add_column(header.removesuffix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _warned(count: int) -> str:
    return f"[yellow]{count:,}[/yellow]" if count else "0"


@contextmanager
def _loading(total: int) -> Iterator[tuple[Callable[[Sequence[Any]], None], Callable[[], None]]]:
    """Shows how many loads have ended, and which are under way; gives what is to be told of each change of either."""
    ended = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_err,
    )
    under_way = Progress(TextColumn("  {task.description}"), TimeElapsedColumn(), console=_err)
    shown: dict[tuple[str, str, str], Any] = {}
    loading = ended.add_task("Loading", total=total, visible=bool(total))

    def on_change(loads: Sequence[Any]) -> None:
        now = [(load.feed.name, load.offload_type, load.partition) for load in loads]
        for gone in shown.keys() - now:
            under_way.remove_task(shown.pop(gone))
        for begun in now:
            if begun not in shown:
                shown[begun] = under_way.add_task(" ".join(begun), total=None)

    with Live(Group(ended, under_way), console=_err, transient=True):
        yield on_change, lambda: ended.advance(loading)


@contextmanager
def _counting(what: str) -> Iterator[Any]:
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda amount: progress.advance(task, amount)


def _print_json(said: dict[str, Any]) -> None:
    print(json.dumps(said, default=str, indent=2, ensure_ascii=False))  # noqa: T201 (machine-readable output)


if __name__ == "__main__":
    main()
