"""Writes the deliveries of a simulation into a folder: parts below it, and the record of what was planted beside it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from offload_platform.simulator.attributes import attributes_long, attributes_wide
from offload_platform.simulator.events import stationaries, transports
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.moments import moments
from offload_platform.simulator.parts import Part
from offload_platform.simulator.population import places_of, users_numbered
from offload_platform.simulator.randomness import Integers
from offload_platform.simulator.segments import segments
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.snapshot import present_users, told_stays, told_trips, window_days
from offload_platform.simulator.timeline import timeline

_USER_DAYS_AT_ONCE = 8_192
_MOST_USERS_AT_ONCE = 512
_TRIPS_AT_ONCE = 4_096
"""Fewer than the stays of the users at once, because the fixes of a trip are 100 times the text of a stay."""


@dataclass(frozen=True)
class Summary:
    """What was written.

    `deliveries` counts folders times offload types, `rows` all rows by offload type, `planted` the broken ones among
    them; `size` is the bytes of all parts as stored.
    """

    deliveries: int
    parts: int
    rows: Mapping[str, int]
    planted: int
    size: int


def write_deliveries(
    simulation: Simulation,
    out: Path,
    manifest_dir: Path | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Write all snapshots of a simulation below `out`, which stands for a feed's root; parts there are replaced.

    Args:
        simulation: What to write.
        out: The folder.
        manifest_dir: Where `manifest.jsonl` (what was planted) and `parts.jsonl` (rows of each part) go; they are
            replaced too. By default it is named like `out`, with `.manifest` at the end.
        on_progress: Told of each finished part: its key below `out` and its rows.
    """
    rows = dict.fromkeys(simulation.types, 0)
    parts = planted = size = 0
    with Manifest(manifest_dir or out.with_name(f"{out.name}.manifest")) as manifest:
        for stamp in simulation.stamps:
            for part in _written_parts(simulation, stamp, out, manifest):
                manifest.add_part(part.key, part.offload_type, stamp, part.rows, part.planted)
                rows[part.offload_type] += part.rows
                parts += 1
                planted += part.planted
                size += part.size
                if on_progress:
                    on_progress(part.key, part.rows)
    return Summary(len(simulation.stamps) * len(simulation.types), parts, rows, planted, size)


def rows_of(simulation: Simulation, stamp: datetime, number: Integers) -> Iterator[tuple[str, pl.DataFrame]]:
    """The cells that a snapshot holds of the users of these numbers: once or more for each offload type."""
    wanted = simulation.types
    users = users_numbered(simulation.seed, number)
    if {"stationaries", "transports", "moments"} & set(wanted):
        places = places_of(simulation.seed, users)
        life = timeline(simulation.seed, users, places, *window_days(simulation, stamp))
        trips, stays = told_trips(simulation, stamp, life), told_stays(simulation, stamp, life)
        if "stationaries" in wanted:
            yield "stationaries", stationaries(simulation.seed, users, places, life, stays)
        if "transports" in wanted:
            for some in trips.split(_TRIPS_AT_ONCE):
                yield "transports", transports(users, places, life, some, simulation.waypoint_form)
        if "moments" in wanted:
            yield "moments", moments(simulation, stamp, users, places, life, trips, stays)
    if "segments" in wanted:
        yield "segments", segments(simulation.seed, stamp, users)
    if "attributes.wide" in wanted:
        yield "attributes.wide", attributes_wide(simulation, stamp, users)
    if "attributes.long" in wanted:
        yield "attributes.long", attributes_long(simulation, stamp, users)


def _written_parts(simulation: Simulation, stamp: datetime, out: Path, manifest: Manifest) -> Iterator[Part]:
    """Write a snapshot; the parts of the same users are written side by side."""
    for part_number, first in enumerate(range(0, simulation.users, simulation.users_per_part)):
        last = min(first + simulation.users_per_part, simulation.users)
        present = present_users(simulation, stamp, np.arange(first, last))
        with ExitStack() as open_parts:
            parts = {
                offload_type: open_parts.enter_context(
                    Part(simulation, stamp, offload_type, part_number, out, manifest)
                )
                for offload_type in simulation.types
            }
            for some in _a_few_at_once(simulation, present):
                for offload_type, cells in rows_of(simulation, stamp, some):
                    parts[offload_type].write(cells)
        yield from parts.values()


def _a_few_at_once(simulation: Simulation, number: Integers) -> Iterator[Integers]:
    """So many users that their rows fit in little memory; at least one group, which may be empty."""
    count = max(1, min(_MOST_USERS_AT_ONCE, _USER_DAYS_AT_ONCE // simulation.window_days))
    for first in range(0, max(len(number), 1), count):
        yield number[first : first + count]
