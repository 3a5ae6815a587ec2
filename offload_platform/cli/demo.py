"""`offload demo` and `offload dev`: the whole way on this machine, and the Dagster UI on it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedsOption,
    app,
    feeds_or_demo,
    published_file,
    reading_published,
)
from offload_platform.cli.console import counting, stdout, table_of
from offload_platform.cli.loading import load, show_loads
from offload_platform.settings import FEEDS_VARIABLE, read_settings


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo"),
    users: Annotated[int, typer.Option(min=1, help="Simulated users.")] = 100,
) -> None:
    """Show the whole way: S3 server, nine weekly deliveries, backfill, published file, three queries."""
    from offload_platform import demo as demonstration

    stage = demonstration.Demonstration(folder)
    with stage.server() as server:
        stdout.print(f"[bold]1.[/bold] S3 server on {server.url} (this machine only)")
        with counting("   simulating nine weekly deliveries: rows") as advance:
            summary = stage.simulate(users, lambda _, rows: advance(rows))
        stdout.print(
            f"[bold]2.[/bold] {sum(summary.rows.values()):,} rows in {summary.parts} parts simulated, "
            f"{summary.planted:,} of them broken on purpose"
        )
        objects = stage.upload(server)
        stdout.print(f"[bold]3.[/bold] {objects} objects in s3://{demonstration.BUCKET}/{demonstration.ROOT}")
        settings = read_settings(stage.write_feeds(server))
        stdout.print("[bold]4.[/bold] backfill through Dagster, with the vendor's read-only key")
        outcomes, plan, publishing_error = load(settings, settings.feeds, [], None, None)
        show_loads(settings, outcomes, plan, publishing_error, by_type=True)
    stdout.print("\n[bold]5.[/bold] what an analyst asks of the published file")
    with reading_published(settings) as connection:
        for query in demonstration.QUERIES:
            assert connection is not None
            stdout.print(f"\n[bold]{query.question}[/bold]\n[dim]{escape(query.sql)}[/dim]")
            result = connection.sql(query.sql)
            table = table_of(None, *result.columns)
            for row in result.fetchall():
                table.add_row(*(escape(str(value)) for value in row))
            stdout.print(table)
    stdout.print(f"\nPublished file: [bold]{published_file(settings)}[/bold]", soft_wrap=True)
    stdout.print(
        f"Look at it with [bold]make dashboard[/bold] (or: offload dashboard --feeds {stage.feeds_file}), "
        "then http://127.0.0.1:8501",
        soft_wrap=True,
    )
    stdout.print("Open the Dagster UI with [bold]make dev[/bold] (or: offload dev), then http://127.0.0.1:3000")
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

    path = feeds_or_demo(feeds)
    settings = read_settings(path)
    os.environ[FEEDS_VARIABLE] = str(path.resolve())
    os.environ.setdefault("PYTHONWARNINGS", "ignore:Function `dev_command` is superseded")
    os.environ["DAGSTER_HOME"] = str(dagster_home(WarehouseFiles(settings.warehouse)))
    workspace = ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "offload_platform.definitions"]
    command = [sys.executable, "-m", "dagster", "dev", *workspace, "-h", "127.0.0.1", "-p", str(port)]
    stdout.print(f"Feeds: {path}. UI: [bold]http://127.0.0.1:{port}[/bold]  (stop with Ctrl-C)", soft_wrap=True)
    with Demonstration.server_of(path):
        # In a session of its own, it gets Ctrl-C once, from here: a second one would make it leave its children behind.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            process.wait()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
    raise typer.Exit(process.returncode)
