"""Writes one simulated delivery to measure with, and says what is in it.

    python -m offload_platform_tests.benchmarks.deliveries transports FOLDER --users 220 --bad-share 0.001

A process of its own, so that what it holds in memory does not count as that of the loads.
"""

import argparse
import gzip
import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.driving import write_driving_days
from offload_platform.simulator.driving_settings import DRIVING_TYPES, DrivingSimulation
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.writing import Summary

DAY = date(2026, 3, 14)
_STAMP = datetime(2026, 3, 14, 15, 5, 54, 499_000, UTC)
PARTS = 8
_MARK_OF_A_FIX = b'""timestamp""'


@dataclass(frozen=True)
class Content:
    """What a delivery holds: `stored_bytes` and `size_bytes` are those of its parts as stored and decompressed."""

    rows: int
    bad_rows: int
    fixes: int
    parts: int
    stored_bytes: int
    size_bytes: int


def write_delivery(offload_type: str, folder: Path, users: int, bad_share: float, parts_wanted: int = PARTS) -> Content:
    """Write a delivery below a folder, which stands for a feed's root."""
    write = _write_driving if offload_type in DRIVING_TYPES else _write_lifestyle
    written = write(offload_type, folder, users, bad_share, -(-users // parts_wanted))
    parts = sorted(folder.rglob("part-*.gz"))
    fixes = size = 0
    for part in parts:
        with gzip.open(part) as file:
            for line in file:
                size += len(line)
                fixes += line.count(_MARK_OF_A_FIX)
    return Content(written.rows[offload_type], written.planted, fixes, len(parts), written.size, size)


def _write_lifestyle(offload_type: str, folder: Path, users: int, bad_share: float, users_per_part: int) -> Summary:
    simulation = Simulation(
        users=users,
        first_stamp=_STAMP,
        types=(offload_type,),
        users_per_part=users_per_part,
        faults=bad_share,
        inactive_share=0.0,
    )
    return write_deliveries(simulation, folder)


def _write_driving(offload_type: str, folder: Path, users: int, bad_share: float, users_per_part: int) -> Summary:
    simulation = DrivingSimulation(
        users=users, first_day=DAY, types=(offload_type,), users_per_part=users_per_part, faults=bad_share
    )
    return write_driving_days(simulation, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("offload_type")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--bad-share", type=float, default=0.0)
    parser.add_argument("--parts", type=int, default=PARTS)
    asked = parser.parse_args()
    content = write_delivery(asked.offload_type, asked.folder, asked.users, asked.bad_share, asked.parts)
    sys.stdout.write(json.dumps(asdict(content)) + "\n")


if __name__ == "__main__":
    main()
