"""`offload backup` and `offload restore`: all that the warehouse knows, kept where it is safe, and brought back."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT, FeedsOption, app, settings_of
from offload_platform.cli.console import stderr, stdout
from offload_platform.settings import SettingsError

_EXPORTS = ".exports.zip"

ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="AWS profile of an s3:// place. Default: the environment's credentials.")
]
EndpointOption = Annotated[str | None, typer.Option("--endpoint-url", help="Of an S3-compatible store.")]
RegionOption = Annotated[str | None, typer.Option("--region", help="Region of the bucket.")]


@app.command()
def backup(
    out: Annotated[
        str, typer.Argument(help="Folder or s3://bucket/prefix; what ends in .duckdb is the name of the copy itself.")
    ],
    profile: ProfileOption = None,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    feeds: FeedsOption = None,
) -> None:
    """Copy the build file: rows, history, ledger. Loads wait to commit while it is copied.

    Where there are exports, what they have sent and up to where is written beside it (.exports.zip); a manifest with
    checksums (.manifest.json) is written last.
    """
    from offload_platform.exports.registry import Registry
    from offload_platform.orchestration.resources import warehouse_in
    from offload_platform.warehouse.backup import BackupFailed, make_backup, name_of_a_new_one
    from offload_platform.warehouse.files import troubles_explained
    from offload_platform.warehouse.safes import SafeUnusable, safe_at

    warehouse = warehouse_in(settings_of(feeds).warehouse)
    if not warehouse.files.build.exists():
        raise SettingsError(f"{warehouse.files.build} is not there yet. Next: offload run")
    registry = Registry(warehouse.files.exports)
    beside = {_EXPORTS: registry.back_up} if registry.exists() else {}
    try:
        safe, name = safe_at(out, profile, endpoint_url, region)
        with stderr.status("Copying …"), troubles_explained(safe.folder or warehouse.files.root):
            name = name or name_of_a_new_one(datetime.now(UTC))
            manifest = make_backup(warehouse.writing, warehouse.files, safe, name, beside)
    except (BackupFailed, SafeUnusable) as error:
        raise _problem(error) from error
    for file in manifest.files:
        stdout.print(f"Written: {safe}/{file.name}, {file.size_bytes / 1e6:,.1f} MB", soft_wrap=True)


@app.command()
def restore(
    source: Annotated[
        str, typer.Argument(help="Folder or s3://bucket/prefix: its newest backup; what ends in .duckdb is that one.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose the build file that is there, and what it has loaded since.")
    ] = False,
    profile: ProfileOption = None,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    feeds: FeedsOption = None,
) -> None:
    """Bring a backup back, when every byte of it is proved. Stop Dagster and exports before."""
    from offload_platform.exports.registry import Registry
    from offload_platform.warehouse.backup import RestoreFailed
    from offload_platform.warehouse.backup import restore as bring_back
    from offload_platform.warehouse.files import WarehouseFiles, troubles_explained
    from offload_platform.warehouse.safes import SafeUnusable, safe_at

    files = WarehouseFiles(settings_of(feeds).warehouse)
    registry = Registry(files.exports)
    keeps_exports = registry.exists() and not replace
    try:
        safe, name = safe_at(source, profile, endpoint_url, region)
        with stderr.status("Restoring …"), troubles_explained(files.root):
            unpack = {} if keeps_exports else {_EXPORTS: registry.restore}
            manifest = bring_back(files, safe, name, unpack, replace=replace)
    except (RestoreFailed, SafeUnusable) as error:
        raise _problem(error) from error
    stdout.print(f"Restored: {safe}/{manifest.name}, of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)
    stdout.print("Next: [bold]offload run[/bold] loads what has arrived since, and publishes.")
    if files.erasures.exists():
        stdout.print("Then repeat the erasures that are newer than the backup: their receipts do not tell the ids.")
    if manifest.beside(_EXPORTS):
        kept = "Exports were there, and are as they were." if keeps_exports else "Exports are those of the backup."
        stdout.print(f"{kept} Next: [bold]offload export resume NAME --from-now[/bold] for each.")


def _problem(error: Exception) -> typer.Exit:
    stderr.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
    return typer.Exit(PROBLEM_EXIT)
