"""Writes lifestyle deliveries: successive snapshots of the same people."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from offload_platform.simulator.attributes import attributes_long, attributes_wide
from offload_platform.simulator.events import stationaries, transports
from offload_platform.simulator.faults import FAULTS, Planter
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.moments import moments
from offload_platform.simulator.parts import Part, Written
from offload_platform.simulator.population import places_of, users_numbered
from offload_platform.simulator.randomness import Integers, Purpose, drawn_uuid
from offload_platform.simulator.segments import segments
from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation
from offload_platform.simulator.snapshot import epoch_s, present_users, told_stays, told_trips, window_days
from offload_platform.simulator.timeline import timeline
from offload_platform.simulator.wire import wire_of
from offload_platform.simulator.writing import Summary, write

_USER_DAYS_AT_ONCE = 8_192
_MOST_USERS_AT_ONCE = 512
_TRIPS_AT_ONCE = 4_096
"""Fewer than the stays of the users at once, because the fixes of a trip are 100 times the text of a stay."""


def write_deliveries(
    simulation: Simulation,
    out: Path,
    manifest_dir: Path | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Write all snapshots of a simulation below `out`; see `write`."""
    return write([Snapshots(simulation)], out, manifest_dir, on_progress)


@dataclass(frozen=True)
class Snapshots:
    """The lifestyle deliveries of a simulation."""

    simulation: Simulation

    @property
    def types(self) -> tuple[str, ...]:
        """Offload types that are delivered."""
        return self.simulation.types

    @property
    def deliveries(self) -> int:
        """Snapshots times offload types."""
        return len(self.simulation.stamps) * len(self.simulation.types)

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:
        """Write all snapshots."""
        for stamp in self.simulation.stamps:
            yield from _written_parts(self.simulation, stamp, out, manifest)


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


def _written_parts(simulation: Simulation, stamp: datetime, out: Path, manifest: Manifest) -> Iterator[Written]:
    """Write a snapshot; the parts of the same users are written side by side."""
    for part_number, first in enumerate(range(0, simulation.users, simulation.users_per_part)):
        last = min(first + simulation.users_per_part, simulation.users)
        present = present_users(simulation, stamp, np.arange(first, last))
        with ExitStack() as open_parts:
            parts = {
                offload_type: open_parts.enter_context(
                    _part(simulation, stamp, offload_type, part_number, out, manifest)
                )
                for offload_type in simulation.types
            }
            for some in _a_few_at_once(simulation, present):
                for offload_type, cells in rows_of(simulation, stamp, some):
                    parts[offload_type].write(cells)
        yield from (part.written for part in parts.values())


def _part(
    simulation: Simulation, stamp: datetime, offload_type: str, part_number: int, out: Path, manifest: Manifest
) -> Part:
    """A part; all parts of one type in one delivery are of one job."""
    place = (epoch_s(stamp), OFFLOAD_TYPES.index(offload_type))
    folder = f"{stamp:%m_%d_%Y_%H_%M_%S}_{stamp.microsecond // 1000:03d}"
    name = f"part-{part_number:05d}-{drawn_uuid(simulation.seed, Purpose.JOB, *place)}-c000.csv.gz"
    key = f"{folder}/{simulation.app_id}/{offload_type}.{simulation.app_id}.csv/{name}"
    wire = wire_of(simulation, offload_type, stamp)
    planter = Planter(simulation.seed, simulation.faults, FAULTS, (*place, part_number), wire)
    return Part(key, stamp, wire, planter, out, manifest)


def _a_few_at_once(simulation: Simulation, number: Integers) -> Iterator[Integers]:
    """So many users that their rows fit in little memory; at least one group, which may be empty."""
    count = max(1, min(_MOST_USERS_AT_ONCE, _USER_DAYS_AT_ONCE // simulation.window_days))
    for first in range(0, max(len(number), 1), count):
        yield number[first : first + count]
