"""What the vendor tells of the timeline in the snapshot of one stamp.

A snapshot holds the users that were heard of lately, and of them what began in the window. The vendor works on old
events still: some are corrected after a while, some withdrawn. All this depends on the stamp alone, not on other
snapshots.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np

from offload_platform.simulator.randomness import (
    Bits,
    Flags,
    Integers,
    Numbers,
    Purpose,
    draw,
    fraction,
)
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.timeline import MODES, NOT_YET, SECONDS_PER_DAY, Timeline

_MISTAKEN_FOR = {
    "walking": "biking",
    "biking": "walking",
    "escooter": "biking",
    "car": "bus",
    "bus": "car",
    "tram": "bus",
    "subway": "tram",
    "train": "car",
    "motorcycle": "car",
    "flight": "insufficient_data",
    "insufficient_data": "car",
}
_FIRST_MODE = np.array([MODES.index(_MISTAKEN_FOR[mode]) for mode in MODES])
_FIRST_DISTANCE = 0.93
_FIRST_END = 0.95


@dataclass(frozen=True)
class Trips:
    """Transports as one snapshot tells them; `row` is the position in the timeline, times are UTC seconds."""

    row: Integers
    start: Integers
    end: Integers
    mode: Integers
    distance_m: Integers

    def split(self, count: int) -> "Iterator[Trips]":
        """The trips in groups of at most so many; at least one group, which may be empty."""
        for first in range(0, max(len(self.row), 1), count):
            yield Trips(*(getattr(self, field.name)[first : first + count] for field in fields(self)))


@dataclass(frozen=True)
class Stays:
    """Stays as one snapshot tells them; `row` is the position in the timeline of the trip before.

    `end` is the stamp for a stay that is still open.
    """

    row: Integers
    start: Integers
    end: Integers
    is_open: Flags


def epoch_s(stamp: datetime) -> int:
    """Whole seconds since 1970 of a stamp."""
    return int(stamp.timestamp())


def window_days(simulation: Simulation, stamp: datetime) -> tuple[int, int]:
    """First and last local day, counted from 1970-01-01, that can matter to a snapshot, whatever the user's zone."""
    today = epoch_s(stamp) // SECONDS_PER_DAY
    return today - simulation.window_days - 2, today + 1


def present_users(simulation: Simulation, stamp: datetime, number: Integers) -> Integers:
    """Which of these users the snapshot tells of."""
    week = epoch_s(stamp) // (7 * SECONDS_PER_DAY)
    heard_of = fraction(draw(simulation.seed, Purpose.PRESENCE, number, week)) >= simulation.inactive_share
    return number[heard_of]


def told_trips(simulation: Simulation, stamp: datetime, life: Timeline) -> Trips:
    """Transports that began in the window and have ended."""
    now = epoch_s(stamp)
    is_withdrawn, is_first = _fate(simulation, Purpose.TRIP_FATE, now, life.event, life.end)
    begins = now - simulation.window_days * SECONDS_PER_DAY
    row = np.flatnonzero((life.start >= begins) & (life.end <= now) & ~is_withdrawn)
    is_first = is_first[row]
    start, end, mode, distance = life.start[row], life.end[row], life.mode[row], life.distance_m[row]
    return Trips(
        row=row,
        start=start,
        end=_first_end(start, end, is_first),
        mode=np.where(is_first, _FIRST_MODE[mode], mode),
        distance_m=np.where(is_first, (distance * _FIRST_DISTANCE).astype(np.int64), distance),
    )


def told_stays(simulation: Simulation, stamp: datetime, life: Timeline) -> Stays:
    """Stays that began in the window; the last one of each user is open, until the trip that ends it is known."""
    now = epoch_s(stamp)
    is_open = life.next_end > now
    is_withdrawn, is_first = _fate(simulation, Purpose.STAY_FATE, now, life.event, life.left)
    begins = now - simulation.window_days * SECONDS_PER_DAY
    row = np.flatnonzero((life.end >= begins) & (life.end <= now) & (is_open | ~is_withdrawn))
    is_open = is_open[row]
    start, end = life.end[row], np.where(is_open, now, life.left[row])
    return Stays(row=row, start=start, end=_first_end(start, end, is_first[row] & ~is_open), is_open=is_open)


def _fate(simulation: Simulation, purpose: Purpose, now: int, event: Bits, end: Integers) -> tuple[Flags, Flags]:
    """Whether events are withdrawn by now, and whether they are still told in their first version."""
    drawn = draw(simulation.seed, purpose, event)
    share: Numbers = fraction(drawn)
    cadence = simulation.cadence_days * SECONDS_PER_DAY
    settled = np.minimum(end, NOT_YET // 2) + (cadence * (1 + 3 * fraction(drawn, 1))).astype(np.int64)
    is_settled = settled <= now
    is_withdrawn = share < simulation.withdrawal_share
    is_corrected = ~is_withdrawn & (share < simulation.withdrawal_share + simulation.correction_share)
    return is_withdrawn & is_settled, is_corrected & ~is_settled


def _first_end(start: Integers, end: Integers, is_first: Flags) -> Integers:
    """The end as it was told at first: a twentieth of the duration too early."""
    return np.where(is_first, start + ((end - start) * _FIRST_END).astype(np.int64), end)
