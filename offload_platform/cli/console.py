"""How the commands write: tables, counts, progress, JSON. What vendors have written commands no terminal."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table

# Control characters, and those that turn the direction of the text beside them.
_UNSEEN = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_AS_JSON = {sign: f"\\u{sign:04x}" for sign in _UNSEEN if sign != ord("\n")}
_AS_TEXT = {sign: f"\\x{sign:02x}" if sign < 0x100 else escape for sign, escape in _AS_JSON.items()}


class _Harmless:
    """What is to be written, with the signs that nobody sees spelled out. Rich's own are no part of its text."""

    def __init__(self, written: ConsoleRenderable) -> None:
        self._written = written

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._written, options):
            yield segment if segment.control else Segment(segment.text.translate(_AS_TEXT), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._written)


class _Disarming(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Harmless(one) for one in renderables]


# A file or a pipe has no width to fold tables to.
stdout = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
stderr = Console(stderr=True)
for _console in (stdout, stderr):
    _console.push_render_hook(_Disarming())


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
    print(json.dumps(said, default=str, indent=2, ensure_ascii=False).translate(_AS_JSON))  # noqa: T201 (machine-readable output)
