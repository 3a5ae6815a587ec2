"""How the commands write: tables, counts, progress, JSON."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

# A file or a pipe has no width to fold tables to.
stdout = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
stderr = Console(stderr=True)


def table_of(title: str | None, *headers: str) -> Table:
    """A table without rows. A header that ends in `>` is of a column of numbers. Its cells are never broken."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    for header in headers:
        right = header.endswith(">")
        table.add_column(header.removesuffix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def warned(count: int) -> str:
    """The count, coloured unless it is zero."""
    return f"[yellow]{count:,}[/yellow]" if count else "0"


def some_of(names: Sequence[str]) -> str:
    """The first name, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


@contextmanager
def counting(what: str) -> Iterator[Callable[[float], None]]:
    """Shows what is counted while it grows; gives what is to be told of each step."""
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda amount: progress.advance(task, amount)


def print_json(said: dict[str, Any]) -> None:
    """Write one JSON document to standard output."""
    print(json.dumps(said, default=str, indent=2, ensure_ascii=False))  # noqa: T201 (machine-readable output)
