"""`offload tidy`: remove what has been kept long enough."""

from dataclasses import asdict
from typing import Annotated

import typer

from offload_platform.cli.app import FeedsOption, JsonOption, app, settings_of
from offload_platform.cli.console import print_json, stderr, stdout


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

    settings = settings_of(feeds)
    with open_instance(WarehouseFiles(settings.warehouse)) as instance, stderr.status("Tidying up …"):
        tidied = housekeeping.tidy(settings, instance, dry_run=dry_run)
    if as_json:
        return print_json(asdict(tidied) | {"dry_run": dry_run})
    for sentence in housekeeping.in_words(tidied):
        stdout.print(f"{'would go' if dry_run else 'gone'}: {sentence}", soft_wrap=True)
    if not housekeeping.in_words(tidied):
        stdout.print("Nothing has been kept long enough to go.")
