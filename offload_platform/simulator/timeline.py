"""What users do: days of trips between places, with a stay after each trip.

The timeline is what truly happened. What a snapshot tells of it is the matter of `snapshot.py`.
"""

from dataclasses import dataclass

import numpy as np

from offload_platform.simulator.geography import distance_km
from offload_platform.simulator.population import WORKING_DAYS, Places, Users
from offload_platform.simulator.randomness import Bits, Integers, Numbers, Purpose, choice, draw, fraction
from offload_platform.simulator.venues import FIRST_SLOT, HOME_SLOT, ROLE_PLACES, Role

SECONDS_PER_DAY = 86_400
NOT_YET = np.iinfo(np.int64).max
"""Stands for the end of a stay that has not ended within the days of the timeline."""

MODES: tuple[str, ...] = (
    "walking",
    "biking",
    "escooter",
    "car",
    "bus",
    "tram",
    "subway",
    "train",
    "motorcycle",
    "flight",
    "insufficient_data",
)
_KMH = np.array([4.8, 15, 17, 42, 24, 22, 30, 85, 45, 520, 60])


@dataclass(frozen=True)
class _Plan:
    """A day: where to and at what local hour; `weight` is how common it is among the plans of its kind of day."""

    weight: float
    trips: tuple[tuple[Role, float], ...]


_WORK_DAYS: tuple[_Plan, ...] = (
    _Plan(6, ((Role.WORK, 8.0), (Role.HOME, 17.25))),
    _Plan(3, ((Role.WORK, 7.75), (Role.SHOP, 16.5), (Role.HOME, 18.0))),
    _Plan(2, ((Role.WORK, 8.25), (Role.RESTAURANT, 12.25), (Role.WORK, 13.5), (Role.HOME, 17.5))),
    _Plan(2, ((Role.WORK, 8.5), (Role.SPORT, 17.5), (Role.HOME, 20.0))),
    _Plan(2, ((Role.SCHOOL, 7.5), (Role.WORK, 8.75), (Role.SCHOOL, 16.25), (Role.HOME, 17.5))),
    _Plan(1, ((Role.WORK, 7.5), (Role.FUEL, 16.75), (Role.HOME, 18.0), (Role.RESTAURANT, 19.5), (Role.HOME, 22.0))),
    _Plan(0.3, ((Role.AWAY, 6.75), (Role.HOME, 18.5))),
)
_FREE_DAYS: tuple[_Plan, ...] = (
    _Plan(1, ()),
    _Plan(3, ((Role.SHOP, 10.25), (Role.HOME, 11.75))),
    _Plan(2, ((Role.SIGHT, 13.5), (Role.HOME, 17.0))),
    _Plan(2, ((Role.SPORT, 9.5), (Role.HOME, 11.75), (Role.FRIEND, 15.0), (Role.HOME, 18.5))),
    _Plan(2, ((Role.SHOP, 9.75), (Role.RESTAURANT, 12.0), (Role.SIGHT, 14.0), (Role.HOME, 17.0))),
    _Plan(2, ((Role.SIGHT, 11.0), (Role.HOME, 14.5), (Role.FRIEND, 19.0), (Role.HOME, 23.75))),
    _Plan(0.3, ((Role.AWAY, 8.0), (Role.SIGHT, 13.0), (Role.HOME, 19.5))),
)
_PLANS = _WORK_DAYS + _FREE_DAYS
_LONGEST = max(len(plan.trips) for plan in _PLANS)
_LATEST_ARRIVAL_H = 28.0  # before the earliest departure of the next day, on the first day's clock
_JITTER_S = 1_800
_SHORTEST_STAY_S = 300
_SHORTEST_TRIP_S = 60

_TRIPS_OF = np.array([len(plan.trips) for plan in _PLANS])
_ROLE = np.array([[role for role, _ in p.trips] + [0] * (_LONGEST - len(p.trips)) for p in _PLANS], dtype=np.int64)
_HOUR = np.array([[hour for _, hour in p.trips] + [_LATEST_ARRIVAL_H] * (_LONGEST + 1 - len(p.trips)) for p in _PLANS])
_PLACES_OF = np.array([p.count for p in ROLE_PLACES])
_FIRST_SLOT = np.array(FIRST_SLOT)

_UP_TO_KM = np.array([1.2, 6.0, 60.0, 450.0])
_MODES_UP_TO = np.array(
    [
        [MODES.index(mode) for mode in modes]
        for modes in (
            ("walking", "walking", "walking", "biking", "walking", "escooter", "walking", "walking"),
            ("car", "car", "biking", "biking", "bus", "tram", "walking", "escooter"),
            ("car", "car", "car", "car", "bus", "subway", "train", "motorcycle"),
            ("car", "car", "car", "train", "train", "train", "train", "car"),
            ("flight",) * 8,
        )
    ]
)


@dataclass(frozen=True)
class Timeline:
    """Trips of some users, and the stay that follows each; sorted by user and time.

    `user` is the position among the users, `origin` and `destination` are slots of places, `mode` is a position in
    `MODES`. Times are whole seconds since 1970 in UTC; `left` is when the stay after the trip ended and `next_end`
    when the trip after that stay ended, `NOT_YET` where the days of the timeline do not tell. `event` identifies
    the trip and its stay for further draws.
    """

    user: Integers
    origin: Integers
    destination: Integers
    start: Integers
    end: Integers
    left: Integers
    next_end: Integers
    mode: Integers
    distance_m: Integers
    event: Bits


def timeline(seed: int, users: Users, places: Places, first_day: int, last_day: int) -> Timeline:
    """Trips that begin on local days from `first_day` to `last_day`, counted from 1970-01-01."""
    days = np.arange(first_day, last_day + 1)
    plan = _plans(seed, users, days)
    user, day_position, step = np.nonzero(np.arange(_LONGEST) < _TRIPS_OF[plan][..., None])
    plan, day = plan[user, day_position], days[day_position]
    event = draw(seed, Purpose.TRIP, users.number[user], day, step)

    role = _ROLE[plan, step]
    destination = _FIRST_SLOT[role] + choice(event, _PLACES_OF[role], 1)
    origin = np.where(step == 0, HOME_SLOT, np.roll(destination, 1))
    beeline = distance_km(
        places.latitude[user, origin],
        places.longitude[user, origin],
        places.latitude[user, destination],
        places.longitude[user, destination],
    )
    distance = beeline * (1.05 + 0.35 * fraction(event, 2))
    mode = _modes(distance, users.taste[user], event)

    midnight = day * SECONDS_PER_DAY - users.offset[user] * 60
    departure = _departure_s(plan, step, event)
    latest = np.append(departure[1:], 0) - _SHORTEST_STAY_S
    latest = np.where(step == _TRIPS_OF[plan] - 1, int(_LATEST_ARRIVAL_H * 3600), latest)
    underway = distance / (_KMH[mode] * (0.7 + 0.6 * fraction(event, 3))) * 3600
    arrival = np.minimum(departure + np.maximum(underway.astype(np.int64), _SHORTEST_TRIP_S), latest)

    start, end = midnight + departure, midnight + arrival
    is_last = np.append(user[1:] != user[:-1], True) if len(user) else np.zeros(0, dtype=np.bool_)
    return Timeline(
        user=user,
        origin=origin,
        destination=destination,
        start=start,
        end=end,
        left=np.where(is_last, NOT_YET, np.roll(start, -1)),
        next_end=np.where(is_last, NOT_YET, np.roll(end, -1)),
        mode=mode,
        distance_m=np.round(distance * 1000).astype(np.int64),
        event=event,
    )


def weekday(day: Integers) -> Integers:
    """Weekday of a day counted from 1970-01-01, which was a Thursday; Monday is 0."""
    return (day + 3) % 7


def _plans(seed: int, users: Users, days: Integers) -> Integers:
    """The plan of each user (row) on each day (column)."""
    works = np.array([[day in working for day in range(7)] for working in WORKING_DAYS])
    is_work_day = works[users.working_days][:, weekday(days)]
    drawn = fraction(draw(seed, Purpose.DAY_PLAN, users.number[:, None], days))
    work_day, free_day = (np.searchsorted(_shares(plans), drawn, side="right") for plans in (_WORK_DAYS, _FREE_DAYS))
    return np.where(is_work_day, work_day, len(_WORK_DAYS) + free_day)


def _shares(plans: tuple[_Plan, ...]) -> Numbers:
    """Where, on a scale from 0 to 1, one plan ends and the next one begins."""
    ends: Numbers = np.cumsum([plan.weight for plan in plans]) / sum(plan.weight for plan in plans)
    return ends[:-1]


def _departure_s(plan: Integers, step: Integers, event: Bits) -> Integers:
    """Local seconds since midnight at which a trip begins, around the hour of the plan."""
    planned = (_HOUR[plan, step] * 3600).astype(np.int64)
    return planned + choice(event, _JITTER_S, 4) - _JITTER_S // 2


def _modes(distance: Numbers, taste: Integers, event: Bits) -> Integers:
    """Users mostly keep to their taste; one trip in fifty could not be recognised."""
    whim = np.where(fraction(event, 5) < 0.2, choice(event, 8, 6), taste)
    mode: Integers = _MODES_UP_TO[np.searchsorted(_UP_TO_KM, distance), whim]
    return np.where(fraction(event, 7) < 0.02, MODES.index("insufficient_data"), mode)
