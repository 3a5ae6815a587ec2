"""`offload dashboard`: pages over the published file, on this machine alone."""

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import USAGE_EXIT, FeedsOption, app, feeds_or_demo
from offload_platform.cli.console import stderr, stdout
from offload_platform.settings import Settings, read_settings

if TYPE_CHECKING:
    from offload_platform.dashboard.launch import Shown


@app.command()
def dashboard(
    feeds: FeedsOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    file: Annotated[
        Path | None, typer.Option(help="Published file to show. Default: that of the configuration's warehouse.")
    ] = None,
) -> None:
    """Open the dashboard on 127.0.0.1 over the published file; it follows when a new one is published."""
    from offload_platform.dashboard.launch import ADDRESS, EXTRA, Shown, command_of, environment_of, is_installed

    if not is_installed():
        said = f"the dashboard is not installed. Next: pip install '{EXTRA}', or `make dashboard` in the repository."
        stderr.print(f"[red]error:[/red] {escape(said)}", soft_wrap=True)
        raise typer.Exit(USAGE_EXIT)
    if file is not None and feeds is None:
        shown = Shown(file=file.resolve())
    else:
        shown = shown_of(read_settings(feeds_or_demo(feeds)), file)
    stdout.print(
        f"File: {shown.file}. Dashboard: [bold]http://{ADDRESS}:{port}[/bold]  (stop with Ctrl-C)", soft_wrap=True
    )
    # In a session of its own, it gets Ctrl-C once, from here.
    process = subprocess.Popen(command_of(port), env=environment_of(shown), start_new_session=True)
    try:
        process.wait()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    raise typer.Exit(process.returncode)


def shown_of(settings: Settings, file: Path | None = None) -> "Shown":
    """What is shown of a warehouse: its published file or another one, and what stands beside it, made or not yet."""
    from offload_platform.dashboard.launch import SMALLEST_GROUP, Beside, Shown
    from offload_platform.listening.reading import messages_of
    from offload_platform.privacy.report import report_file, report_sql
    from offload_platform.warehouse.files import WarehouseFiles

    files = WarehouseFiles(settings.warehouse.resolve())
    beside: dict[str, Beside] = {}
    limits = [feed.listening.smallest_group for feed in settings.feeds if feed.listening is not None]
    if messages := [messages_of(files, feed) for feed in settings.feeds if feed.listening is not None]:
        sql = " UNION ALL BY NAME ".join(one.sql for one in messages)
        beside["messages"] = Beside(sql=sql, patterns=tuple(one.pattern for one in messages))
    if settings.privacy is not None:
        limits.append(settings.privacy.k)
        beside["report"] = Beside(sql=report_sql(files), patterns=(str(report_file(files)),))
    return Shown(
        file=(file or files.published).resolve(),
        basemap=settings.dashboard.basemap_style_url,
        beside=beside,
        smallest_group=max(limits, default=SMALLEST_GROUP),
    )
