"""`offload simulate`: write vendor-shaped deliveries."""

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from offload_platform.cli.app import JsonOption, TypeOption, app
from offload_platform.cli.console import counting, print_json, stdout, table_of


class Family(StrEnum):
    """What can be simulated."""

    LIFESTYLE = "lifestyle"
    DRIVING = "driving"
    MAPPING = "mapping"
    DATA_FUSION = "data_fusion"
    LOGS = "logs"


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write to; it becomes the root of a feed.")],
    users: Annotated[
        int,
        typer.Option(
            min=1,
            help="Users; each has about 180 stays in nine weeks, and talks once a day. One in five clicks each quarter "
            "of an hour.",
        ),
    ] = 100,
    family: Annotated[
        list[Family] | None, typer.Option("--family", help="What to write; may be repeated. Default: lifestyle.")
    ] = None,
    snapshots: Annotated[int, typer.Option(min=1, help="Successive lifestyle deliveries.")] = 1,
    days: Annotated[
        int, typer.Option(min=1, help="Days of driving, data fusion and logs; the mapping is that of the last.")
    ] = 1,
    first_stamp: Annotated[
        datetime | None, typer.Option("--first", formats=["%Y-%m-%d"], help="Day of the first delivery.")
    ] = None,
    cadence_days: Annotated[int, typer.Option(min=1, help="Days between deliveries.")] = 7,
    window_days: Annotated[int, typer.Option(min=1, help="Days of history in each delivery.")] = 63,
    offload_type: TypeOption = None,
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of rows that are broken on purpose.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed gives other people.")] = 1,
    app_id: Annotated[str | None, typer.Option(help="App id in the paths.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write vendor-shaped deliveries of any size, with a manifest of what was broken on purpose."""
    from offload_platform.simulator.affise import AffiseSimulation, DataFusion
    from offload_platform.simulator.aura import AssistantLogs, LogSimulation
    from offload_platform.simulator.deliveries import Snapshots
    from offload_platform.simulator.driving import DrivingDays
    from offload_platform.simulator.driving_settings import DRIVING_TYPES, DrivingSimulation
    from offload_platform.simulator.mapping import MAPPING_TYPES, Links, MappingSimulation
    from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation
    from offload_platform.simulator.writing import Source, write

    types_of = {
        Family.LIFESTYLE: OFFLOAD_TYPES,
        Family.DRIVING: DRIVING_TYPES,
        Family.MAPPING: MAPPING_TYPES,
        Family.DATA_FUSION: DataFusion.types,
        Family.LOGS: AssistantLogs.types,
    }
    known = [name for one in family or [Family.LIFESTYLE] for name in types_of[one]]
    for name in offload_type or ():
        if name not in known:
            raise typer.BadParameter(f"unknown offload type {name!r}; known: {', '.join(known)}")
    wanted = {one: tuple(t for t in types_of[one] if t in known and t in (offload_type or known)) for one in Family}
    people: dict[str, Any] = {"seed": seed, "users": users}
    said: dict[str, Any] = people | {"faults": faults} | ({"app_id": app_id} if app_id else {})
    lifestyle = said | {"snapshots": snapshots, "cadence_days": cadence_days, "window_days": window_days}
    driving, mapping = said | {"days": days}, people | {"version": days - 1}
    fusion: dict[str, Any] = {"seed": seed, "slots": 96 * days, "clicks_per_slot": max(users // 5, 1)}
    logs = people | {"days": days}
    if first_stamp:
        lifestyle["first_stamp"] = first_stamp.replace(hour=15, minute=5, second=54, microsecond=499_000, tzinfo=UTC)
        driving["first_day"] = mapping["first_day"] = fusion["first_day"] = first_stamp.date()
        logs["first_day"] = first_stamp.date()
    sources: list[Source] = []
    try:
        if types := wanted[Family.LIFESTYLE]:
            sources.append(Snapshots(Simulation(types=types, **lifestyle)))
        if types := wanted[Family.DRIVING]:
            sources.append(DrivingDays(DrivingSimulation(types=types, **driving)))
        if wanted[Family.MAPPING]:
            sources.append(Links(MappingSimulation(**mapping)))
        if types := wanted[Family.DATA_FUSION]:
            sources.append(DataFusion(AffiseSimulation(**fusion), types))
        if types := wanted[Family.LOGS]:
            sources.append(AssistantLogs(LogSimulation(**logs), types))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with counting("Writing rows") as advance:
        summary = write(sources, out, on_progress=lambda _, rows: advance(rows))
    if as_json:
        print_json(asdict(summary))
        return
    table = table_of(None, "type", "rows>")
    for name, rows in summary.rows.items():
        table.add_row(name, f"{rows:,}")
    stdout.print(table)
    stdout.print(
        f"{summary.parts:,} parts, {summary.size / 1e6:,.1f} MB in {out}; {summary.planted:,} broken rows, listed in "
        f"{out}.manifest.\nNext: a feed with [bold]url: {out.resolve().as_uri()}[/bold] and settle_hours: 0",
        soft_wrap=True,
    )
