"""Writes driving deliveries: a folder for each UTC data day, with a marker for each offload type."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from offload_platform.simulator.behaviour import driving_events_realtime
from offload_platform.simulator.drive_scores import scores_realtime, transports_realtime
from offload_platform.simulator.drives import Drives, days_since_1970, drives_processed
from offload_platform.simulator.driving_settings import DRIVING_TYPES, DrivingSimulation
from offload_platform.simulator.faults import DRIVING_FAULTS, Planter
from offload_platform.simulator.json_faults import JSON_FAULTS
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.parts import Part, Written
from offload_platform.simulator.randomness import Integers, Purpose, drawn_uuid
from offload_platform.simulator.road import mapped_waypoints_realtime
from offload_platform.simulator.wire import JsonLines, Wire
from offload_platform.simulator.writing import Summary, write

_USERS_AT_ONCE = 1_024
_THINGS_AT_ONCE = 50_000
"""Events, or fixes, whose texts are in memory at once; each takes up to 340 bytes."""
_JSON_TYPES = ("driving_events_realtime", "mapped_waypoints_realtime")
_MARKED_AFTER = timedelta(days=1, hours=4)
_BETWEEN_RUNS = timedelta(hours=5)


def write_driving_days(
    simulation: DrivingSimulation,
    out: Path,
    manifest_dir: Path | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Write all driving days of a simulation below `out`; see `write`."""
    return write([DrivingDays(simulation)], out, manifest_dir, on_progress)


@dataclass(frozen=True)
class DrivingDays:
    """The driving deliveries of a simulation."""

    simulation: DrivingSimulation

    @property
    def types(self) -> tuple[str, ...]:
        """Offload types that are delivered."""
        return self.simulation.types

    @property
    def deliveries(self) -> int:
        """Folders times offload types."""
        return len(self._folders) * len(self.simulation.types)

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:
        """Write all folders."""
        for folder in self._folders:
            yield from folder.parts(out, manifest)

    @property
    def _folders(self) -> list["_Folder"]:
        reruns = set(self.simulation.rerun_days)
        return [
            _Folder(self.simulation, day, run)
            for day in self.simulation.data_days
            for run in range(1 + (day in reruns))
        ]


@dataclass(frozen=True)
class _Folder:
    """What one run over a data day delivers."""

    simulation: DrivingSimulation
    day: date
    run: int

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:
        """Write the parts and then the markers; the parts of the same users are written side by side."""
        settings = self.simulation
        last = 0 if self.day in settings.empty_days else settings.users
        part_numbers = dict.fromkeys(settings.types, 0)
        for first in range(0, last, settings.users_per_part):
            number = np.arange(first, min(first + settings.users_per_part, last))
            with ExitStack() as open_parts:
                parts: dict[str, Part] = {}
                for offload_type, cells in self._rows(number):
                    if cells.is_empty():
                        continue
                    if offload_type not in parts:
                        part = self._part(offload_type, part_numbers[offload_type], out, manifest)
                        parts[offload_type] = open_parts.enter_context(part)
                        part_numbers[offload_type] += 1
                    parts[offload_type].write(cells)
                    # Or it would still be there while the next cells are made.
                    del cells
            yield from (part.written for part in parts.values())
        for offload_type in settings.types:
            self._mark(out / self._type_folder(offload_type) / "_SUCCESS")

    def _rows(self, number: Integers) -> Iterator[tuple[str, pl.DataFrame]]:
        for first in range(0, len(number), _USERS_AT_ONCE):
            some = number[first : first + _USERS_AT_ONCE]
            drives = drives_processed(self.simulation, self.day, some, self.run)
            yield from rows_of(self.simulation, drives, self.day, self.run)

    def _part(self, offload_type: str, part_number: int, out: Path, manifest: Manifest) -> Part:
        """A part; CSV parts of one type are of one job, whose id their names bear."""
        place = (days_since_1970(self.day), self.run, DRIVING_TYPES.index(offload_type))
        is_json = offload_type in _JSON_TYPES
        job = drawn_uuid(self.simulation.seed, Purpose.DRIVING_JOB, *place)
        name = f"part-{part_number:05d}" + (".json.gz" if is_json else f"-{job}-c000.csv.gz")
        wire = JsonLines(offload_type) if is_json else Wire(offload_type, usual_line_end="\n")
        faults = JSON_FAULTS if is_json else DRIVING_FAULTS
        planter = Planter(self.simulation.seed, self.simulation.faults, faults, (*place, part_number), wire)
        return Part(f"{self._type_folder(offload_type)}/{name}", self._midnight, wire, planter, out, manifest)

    def _type_folder(self, offload_type: str) -> str:
        run_id = drawn_uuid(self.simulation.seed, Purpose.DRIVING_FOLDER, days_since_1970(self.day), self.run)
        app_id, kind = self.simulation.app_id, "json" if offload_type in _JSON_TYPES else "csv"
        return f"{self.day:%Y_%m_%d}_{run_id}/{app_id}/{offload_type}.{app_id}.{kind}"

    def _mark(self, marker: Path) -> None:
        """Write a marker, dated as the vendor's are: in the night after the data day, and after the run before."""
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        marked_at = (self._midnight + _MARKED_AFTER + self.run * _BETWEEN_RUNS).timestamp()
        os.utime(marker, (marked_at, marked_at))

    @property
    def _midnight(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)


def rows_of(simulation: DrivingSimulation, drives: Drives, day: date, run: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """The cells that a data day holds of these drives, which are all of their users: once or more for each type."""
    wanted = simulation.types
    if "scores_realtime" in wanted:
        yield "scores_realtime", scores_realtime(simulation, drives, days_since_1970(day), run)
    if "transports_realtime" in wanted:
        yield "transports_realtime", transports_realtime(simulation, drives, run)
    if "driving_events_realtime" in wanted:
        for some in drives.split(max(1, _THINGS_AT_ONCE // simulation.events_per_drive)):
            yield "driving_events_realtime", driving_events_realtime(simulation, some)
    if "mapped_waypoints_realtime" in wanted:
        for some in drives.split(max(1, _THINGS_AT_ONCE // simulation.fixes_per_drive)):
            yield "mapped_waypoints_realtime", mapped_waypoints_realtime(simulation, some)
