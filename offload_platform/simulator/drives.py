"""The drives that the vendor processed on one UTC day: car trips of the timeline, most of them of that day."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.driving_settings import DrivingSimulation
from offload_platform.simulator.events import identity
from offload_platform.simulator.population import Places, Users, places_of, users_numbered
from offload_platform.simulator.randomness import Bits, Flags, Integers, Purpose, choice, draw, fraction
from offload_platform.simulator.snapshot import Trips
from offload_platform.simulator.timeline import MODES, SECONDS_PER_DAY, Timeline, timeline

_EPOCH = date(1970, 1, 1)
_LATEST_DAYS = 4
_LONGEST_PROCESSING_S = 1_800
_DROPPED_BY_RERUN = 0.03
_SESSION_S = 3 * 3600
_FARTHEST_ZONE_AND_TRIP_DAYS = 2


@dataclass(frozen=True)
class Drives:
    """Some drives, side by side; `trips` are rows of `life`, whose users have the `places`."""

    seed: int
    users: Users
    places: Places
    life: Timeline
    trips: Trips

    def __len__(self) -> int:
        return len(self.trips.row)

    @property
    def user(self) -> Integers:
        """Position of each drive's user among the users."""
        return self.life.user[self.trips.row]

    @property
    def offset(self) -> Integers:
        """Minutes east of UTC where each drive took place."""
        return self.users.offset[self.user]

    @property
    def event(self) -> Bits:
        """What identifies each drive for further draws."""
        return self.life.event[self.trips.row]

    def split(self, count: int) -> "Iterator[Drives]":
        """The drives in groups of at most so many; at least one group, which may be empty."""
        for trips in self.trips.split(count):
            yield Drives(self.seed, self.users, self.places, self.life, trips)

    def is_unscored(self, share: float) -> Flags:
        """Which drives had too little data: this share of them."""
        few: Flags = fraction(draw(self.seed, Purpose.DRIVE_SCORE, self.event)) < share
        return few

    def identity(self) -> dict[str, pl.Series]:
        """The columns `user_id` and `metadata_user_id`."""
        return identity(self.users, self.user)

    def bounds(self) -> dict[str, pl.Series]:
        """The columns `start` and `end`."""
        return {
            "start": texts.times(self.trips.start, self.offset),
            "end": texts.times(self.trips.end, self.offset),
        }

    def event_ids(self) -> pl.Series:
        """The vendor's id of each drive: 64 hexadecimal digits."""
        drawn = draw(self.seed, Purpose.DRIVE_ID, self.event[:, None], np.arange(4))
        return texts.series(["".join(f"{bits:016x}" for bits in row) for row in drawn.tolist()])

    def session_ids(self) -> pl.Series:
        """The recording session of each drive; drives of one user within a few hours mostly share one."""
        session = (self.users.number[self.user], self.trips.start // _SESSION_S)
        halves = (draw(self.seed, Purpose.SESSION, *session, half).tolist() for half in (0, 1))
        ids = [uuid.UUID(int=high << 64 | low, version=4) for high, low in zip(*halves, strict=True)]
        return texts.series([str(session_id).upper() for session_id in ids])


def drives_processed(simulation: DrivingSimulation, day: date, number: Integers, run: int = 0) -> Drives:
    """The drives of the users of these numbers that were processed on a data day.

    A later `run` over the day leaves some of them out.
    """
    users = users_numbered(simulation.seed, number)
    places = places_of(simulation.seed, users)
    days = days_since_1970(day)
    first_day, last_day = days - _LATEST_DAYS - _FARTHEST_ZONE_AND_TRIP_DAYS, days + 1
    life = timeline(simulation.seed, users, places, first_day, last_day)
    drawn = draw(simulation.seed, Purpose.PROCESSING, life.event)
    days_late = np.where(fraction(drawn) < simulation.late_share, 1 + choice(drawn, _LATEST_DAYS, 1), 0)
    processed = life.end + choice(drawn, _LONGEST_PROCESSING_S, 2) + days_late * SECONDS_PER_DAY
    told = (life.mode == MODES.index("car")) & (processed // SECONDS_PER_DAY == days)
    if run:
        told &= fraction(draw(simulation.seed, Purpose.RERUN, life.event, run)) >= _DROPPED_BY_RERUN
    row = np.flatnonzero(told)
    trips = Trips(row, life.start[row], life.end[row], life.mode[row], life.distance_m[row])
    return Drives(simulation.seed, users, places, life, trips)


def days_since_1970(day: date) -> int:
    """Number of a day, counted from 1970-01-01."""
    return (day - _EPOCH).days
