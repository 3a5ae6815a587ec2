"""`offload backup`: copy all that the warehouse knows to where it is safe."""

from pathlib import Path
from typing import Annotated

import typer

from offload_platform.cli.app import FeedsOption, app, settings_of
from offload_platform.cli.console import stderr, stdout
from offload_platform.settings import SettingsError


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(help="File to write; it appears whole or not at all.")],
    feeds: FeedsOption = None,
) -> None:
    """Copy the build file: rows, history, ledger. Loads wait to commit while it is copied.

    Where there are exports, what they have sent and up to where is written beside it, to FILE.exports.tar.
    """
    from offload_platform.exports.registry import Registry
    from offload_platform.orchestration.resources import warehouse_in
    from offload_platform.warehouse.backup import back_up

    warehouse = warehouse_in(settings_of(feeds).warehouse)
    if not warehouse.files.build.exists():
        raise SettingsError(f"{warehouse.files.build} is not there yet. Next: offload run")
    with stderr.status("Copying …"), warehouse.writing() as connection:
        size = back_up(connection, warehouse.files, out)
    stdout.print(f"Written: {out}, {size / 1e6:,.1f} MB", soft_wrap=True)
    registry = Registry(warehouse.files.exports)
    if registry.exists():
        beside = out.with_name(f"{out.name}.exports.tar")
        size = registry.back_up(beside)
        stdout.print(f"Written: {beside}, {size / 1e6:,.1f} MB", soft_wrap=True)
