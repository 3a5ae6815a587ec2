"""Writes the deliveries of a simulation into a folder: parts below it, and what was planted in them beside it."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from offload_platform.simulator.attributes import attributes_long, attributes_wide
from offload_platform.simulator.events import stationaries, transports
from offload_platform.simulator.faults import Planter
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.moments import moments
from offload_platform.simulator.parts import PartFile
from offload_platform.simulator.population import places_of, users_numbered
from offload_platform.simulator.randomness import Integers, Purpose, draw
from offload_platform.simulator.segments import segments
from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation
from offload_platform.simulator.snapshot import present_users, told_stays, told_trips, window_days
from offload_platform.simulator.timeline import timeline
from offload_platform.simulator.wire import wire_of

_USER_DAYS_AT_ONCE = 8_192
_MOST_USERS_AT_ONCE = 512
_TIMELINE_TYPES = frozenset({"stationaries", "transports", "moments"})


@dataclass(frozen=True)
class Summary:
    """What was written. `rows` counts all rows by offload type, `planted` the broken ones among them.

    `deliveries` counts folders times offload types; `size` is the bytes of all parts as stored.
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
            for part_number, first_user in enumerate(range(0, simulation.users, simulation.users_per_part)):
                last_user = min(first_user + simulation.users_per_part, simulation.users)
                number = present_users(simulation, stamp, np.arange(first_user, last_user))
                with ExitStack() as stack:
                    written = {
                        offload_type: stack.enter_context(
                            _Part(simulation, stamp, offload_type, part_number, out, manifest)
                        )
                        for offload_type in simulation.types
                    }
                    for some in _split(simulation, number):
                        for offload_type, cells in rows_of(simulation, stamp, some).items():
                            written[offload_type].write(cells)
                for offload_type, part in written.items():
                    manifest.add_part(part.key, offload_type, stamp, part.rows, part.planter.planted)
                    rows[offload_type] += part.rows
                    parts += 1
                    planted += part.planter.planted
                    size += part.size
                    if on_progress:
                        on_progress(part.key, part.rows)
    return Summary(len(simulation.stamps) * len(simulation.types), parts, rows, planted, size)
