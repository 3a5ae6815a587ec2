"""What every command that lists deliveries says of those that it cannot load."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT
from offload_platform.cli.console import stdout

if TYPE_CHECKING:
    from offload_platform.contracts.deliveries import Delivery
    from offload_platform.orchestration.run import Plan


_FOLDERS_SHOWN = 10
"""A vendor that delivers every few minutes has hundreds of them in a few days."""


def show_remarks(plan: "Plan") -> None:
    """What cannot be listed, what is waited for, what is left out, and what is not recognised."""
    for error in plan.unlisted.values():
        stdout.print(f"[red]not listed:[/red] {escape(error)}", soft_wrap=True)
    for folder, because in dict.fromkeys((d.folder, d.incomplete_because) for d in plan.incomplete):
        stdout.print(f"[yellow]waiting:[/yellow] {escape(folder)}: {escape(because or '')}", soft_wrap=True)
    left_out = sorted({d.folder for d in plan.outside})
    for folder in left_out[:_FOLDERS_SHOWN]:
        stdout.print(
            f"[yellow]left out:[/yellow] {escape(folder)}: from before the feed's start, or stamped in the future"
        )
    if len(left_out) > _FOLDERS_SHOWN:
        stdout.print(f"[yellow]left out:[/yellow] {len(left_out) - _FOLDERS_SHOWN:,} more, for the same reason")
    for name, discovery in plan.discoveries.items():
        if discovery.unrecognised:
            stdout.print(
                f"[yellow]unrecognised:[/yellow] {len(discovery.unrecognised)} objects of {name}; see offload doctor"
            )


def exit_if_unlisted(plan: "Plan") -> None:
    """Ends the command as failed where a feed's root could not be listed."""
    if plan.unlisted:
        raise typer.Exit(PROBLEM_EXIT)


def incomplete_said(deliveries: Sequence["Delivery"]) -> list[dict[str, Any]]:
    """The deliveries that are waited for, for JSON."""
    return [{"folder": d.folder, "offload_type": d.offload_type, "because": d.incomplete_because} for d in deliveries]
