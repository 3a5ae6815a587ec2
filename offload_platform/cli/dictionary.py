"""`offload dictionary`: write the data dictionary."""

from pathlib import Path
from typing import Annotated

import typer

from offload_platform.cli.app import app
from offload_platform.cli.console import stderr, stdout


@app.command()
def dictionary(
    out: Annotated[Path, typer.Option(help="File to write: .html (one page with a search) or .md.")],
) -> None:
    """Write every table and column, what it means, its unit, privacy class, source and an example."""
    from offload_platform import dictionary as made

    if out.suffix not in made.FORMATS:
        raise typer.BadParameter(f"{out}: the name must end in {' or '.join(made.FORMATS)}", param_hint="--out")
    with stderr.status("Simulating examples …"):
        made.write_dictionary(out)
    stdout.print(f"Written: {out}", soft_wrap=True)
