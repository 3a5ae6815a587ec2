"""`offload dashboard`: pages over the published file, on this machine alone."""

import signal
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import USAGE_EXIT, FeedsOption, app, feeds_or_demo, published_file
from offload_platform.cli.console import stderr, stdout
from offload_platform.settings import read_settings


@app.command()
def dashboard(
    feeds: FeedsOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    file: Annotated[
        Path | None, typer.Option(help="Published file to show. Default: that of the configuration's warehouse.")
    ] = None,
) -> None:
    """Open the dashboard on 127.0.0.1 over the published file; it follows when a new one is published."""
    from offload_platform.dashboard.launch import ADDRESS, EXTRA, command_of, environment_of, is_installed

    if not is_installed():
        said = f"the dashboard is not installed. Next: pip install '{EXTRA}', or `make dashboard` in the repository."
        stderr.print(f"[red]error:[/red] {escape(said)}", soft_wrap=True)
        raise typer.Exit(USAGE_EXIT)
    basemap = None
    if file is None or feeds is not None:
        settings = read_settings(feeds_or_demo(feeds))
        file, basemap = file or published_file(settings), settings.dashboard.basemap_style_url
    stdout.print(f"File: {file}. Dashboard: [bold]http://{ADDRESS}:{port}[/bold]  (stop with Ctrl-C)", soft_wrap=True)
    # In a session of its own, it gets Ctrl-C once, from here.
    process = subprocess.Popen(command_of(port), env=environment_of(file, basemap), start_new_session=True)
    try:
        process.wait()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    raise typer.Exit(process.returncode)
