"""Rows of `moments`: what the stays and transports of a snapshot mean, and the calendar."""

import json
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.events import identity
from offload_platform.simulator.population import CITIES, SPELLINGS, Places, Users, role_of_slot
from offload_platform.simulator.randomness import Flags, Integers, Purpose, draw, fraction
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.snapshot import Stays, Trips, epoch_s, window_days
from offload_platform.simulator.timeline import SECONDS_PER_DAY, Timeline, weekday
from offload_platform.simulator.venues import Role

_DEFINITIONS = (
    "at_home",
    "working_at_work",
    "shopping_routine",
    "children_drop_off",
    "sporting",
    "lunch_out",
    "dinner_out",
    "evening_entertainment",
    "nearby_poi",
    "business_trip",
    "holiday",
    "commute_from_home",
    "commute_from_work",
    "weekday",
    "weekend",
    "city",
    "country",
)
_DEFINITION = {name: position for position, name in enumerate(_DEFINITIONS)}
_NONE = -1
_OF_ROLE = {
    Role.HOME: "at_home",
    Role.WORK: "working_at_work",
    Role.SHOP: "shopping_routine",
    Role.SCHOOL: "children_drop_off",
    Role.SPORT: "sporting",
    Role.RESTAURANT: "lunch_out",
    Role.SIGHT: "nearby_poi",
    Role.AWAY: "business_trip",
}
_OF_ROLE_ARRAY = np.array([_DEFINITION[_OF_ROLE[role]] if role in _OF_ROLE else _NONE for role in Role])

_NAMES = texts.series(
    [texts.cell(json.dumps({"name": name}, ensure_ascii=False)) for name in (*(c.name for c in CITIES), *SPELLINGS)]
    + [""]
)
_NO_NAME = len(_NAMES) - 1
_IDS = texts.series(_DEFINITIONS)


@dataclass(frozen=True)
class _Moments:
    """Moments side by side: `definition` is a position in `_DEFINITIONS`, `name` one in `_NAMES`."""

    user: Integers
    start: Integers
    end: Integers
    definition: Integers
    name: Integers


def moments(
    simulation: Simulation, stamp: datetime, users: Users, places: Places, life: Timeline, trips: Trips, stays: Stays
) -> pl.DataFrame:
    """One row for each moment; a moment ends with the stay or transport that it was seen in."""
    found = [
        _of_stays(users, life, stays),
        *_of_locations(simulation.seed, users, places, life, stays),
        _of_commutes(life, trips),
        _of_calendar(simulation, stamp, users),
    ]
    user, start, end, definition, name = (
        np.concatenate([getattr(some, field) for some in found])
        for field in ("user", "start", "end", "definition", "name")
    )
    order = np.lexsort((definition, start, user))
    user, start, end = user[order], start[order], end[order]
    offset = users.offset[user]
    return pl.DataFrame(
        {
            **identity(users, user),
            "start": texts.times(start, offset),
            "end": texts.times(end, offset),
            "moment_definition_id": texts.at(_IDS, definition[order]),
            "meta": texts.at(_NAMES, name[order]),
            "duration": texts.integers(end - start),
        }
    )


def _of_stays(users: Users, life: Timeline, stays: Stays) -> _Moments:
    user = life.user[stays.row]
    day, second = np.divmod(stays.start + users.offset[user] * 60, SECONDS_PER_DAY)
    definition = _OF_ROLE_ARRAY[role_of_slot()[life.destination[stays.row]]]
    for otherwise, usual, is_other in (
        ("dinner_out", "lunch_out", second >= 16 * 3600),
        ("evening_entertainment", "nearby_poi", second >= 17 * 3600),
        ("holiday", "business_trip", weekday(day) >= 5),
    ):
        definition = np.where((definition == _DEFINITION[usual]) & is_other, _DEFINITION[otherwise], definition)
    return _chosen(~stays.is_open & (definition != _NONE), user, stays.start, stays.end, definition, _NO_NAME)


def _of_locations(seed: int, users: Users, places: Places, life: Timeline, stays: Stays) -> tuple[_Moments, _Moments]:
    user, slot = life.user[stays.row], life.destination[stays.row]
    share = fraction(draw(seed, Purpose.LOCATION_MOMENT, life.event[stays.row]))
    is_away = role_of_slot()[slot] == Role.AWAY
    country = len(CITIES) + users.spelling[user]
    in_city = _chosen(
        ~stays.is_open & (is_away | (share < 0.2)),
        user,
        stays.start,
        stays.end,
        _DEFINITION["city"],
        places.city[user, slot],
    )
    in_country = _chosen(
        ~stays.is_open & (share >= 0.98), user, stays.start, stays.end, _DEFINITION["country"], country
    )
    return in_city, in_country


def _of_commutes(life: Timeline, trips: Trips) -> _Moments:
    roles = role_of_slot()
    origin, destination = roles[life.origin[trips.row]], roles[life.destination[trips.row]]
    from_home = (origin == Role.HOME) & (destination == Role.WORK)
    from_work = (origin == Role.WORK) & (destination == Role.HOME)
    definition = np.where(from_home, _DEFINITION["commute_from_home"], _DEFINITION["commute_from_work"])
    return _chosen(from_home | from_work, life.user[trips.row], trips.start, trips.end, definition, _NO_NAME)


def _of_calendar(simulation: Simulation, stamp: datetime, users: Users) -> _Moments:
    """Every local day that lies in the window as a whole."""
    now = epoch_s(stamp)
    first_day, last_day = window_days(simulation, stamp)
    user, day = (axis.ravel() for axis in np.indices((len(users), last_day - first_day + 1)))
    day = day + first_day
    start = day * SECONDS_PER_DAY - users.offset[user] * 60
    end = start + SECONDS_PER_DAY - 1
    definition = np.where(weekday(day) >= 5, _DEFINITION["weekend"], _DEFINITION["weekday"])
    in_window = (start >= now - simulation.window_days * SECONDS_PER_DAY) & (end <= now)
    return _chosen(in_window, user, start, end, definition, _NO_NAME)


def _chosen(
    wanted: Flags,
    user: Integers,
    start: Integers,
    end: Integers,
    definition: Integers | int,
    name: Integers | int,
) -> _Moments:
    definition, name = np.broadcast_to(definition, user.shape), np.broadcast_to(name, user.shape)
    return _Moments(user[wanted], start[wanted], end[wanted], definition[wanted], name[wanted])
