"""Rows of `stationaries` and `transports`, as columns of cells under their delivered names."""

import json

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.geography import COUNTRIES
from offload_platform.simulator.population import CITIES, SPELLINGS, Places, Users, role_of_slot
from offload_platform.simulator.randomness import Integers, Purpose, choice, draw, fraction
from offload_platform.simulator.simulation import WaypointForm
from offload_platform.simulator.snapshot import Stays, Trips
from offload_platform.simulator.timeline import MODES, Timeline
from offload_platform.simulator.venues import FIRST_SLOT, ROLE_PLACES, SLOTS
from offload_platform.simulator.waypoints import waypoint_cells

OPEN_END = "-"
OPEN_DURATION = -1

_VENUES = tuple(venue for p in ROLE_PLACES for venue in p.venues)
_VENUE_NAMES = texts.series([texts.cell(venue.name or "") for venue in _VENUES])
_VENUE_KINDS = texts.series([texts.cell(json.dumps(venue.kinds)) if venue.kinds else "" for venue in _VENUES])
_SIGNIFICANCES = texts.series(
    [
        p.first_significance if slot == FIRST_SLOT[p.role] else p.significance
        for slot, p in enumerate(ROLE_PLACES[role] for role in role_of_slot())
    ]
)
_CITY_NAMES = texts.series([texts.cell(city.name) for city in CITIES])
_CITY_KINDS = texts.series([city.kind for city in CITIES])
_COUNTRY_NAMES = texts.series([texts.cell(spelling) for spelling in SPELLINGS])
_MODES = texts.series(MODES)

_STREETS_OF = np.array([len(country.streets) for country in COUNTRIES])
_FIRST_STREET_OF = np.cumsum(_STREETS_OF) - _STREETS_OF
_STREETS = texts.series([texts.cell(street) for country in COUNTRIES for street in country.streets] + ["Hidden", ""])
_HIDDEN, _NO_STREET = len(_STREETS) - 2, len(_STREETS) - 1


def identity(users: Users, user: Integers) -> dict[str, pl.Series]:
    """The two columns with which every offload type begins, for the users at these positions."""
    return {"user_id": texts.at(users.user_id, user), "metadata_user_id": texts.at(users.client_id, user)}


def stationaries(seed: int, users: Users, places: Places, life: Timeline, stays: Stays) -> pl.DataFrame:
    """One row for each stay."""
    user = life.user[stays.row]
    offset = users.offset[user]
    end = texts.times(stays.end, offset)
    at_place = place_cells(seed, users, places)[pl.Series(user * SLOTS + life.destination[stays.row], dtype=pl.Int64)]
    return pl.DataFrame(
        {
            **identity(users, user),
            "start": texts.times(stays.start, offset),
            "end": pl.select(pl.when(pl.lit(stays.is_open)).then(pl.lit(OPEN_END)).otherwise(pl.lit(end))).to_series(),
            **at_place.to_dict(),
            "duration": texts.integers(np.where(stays.is_open, OPEN_DURATION, stays.end - stays.start)),
        }
    )


def transports(users: Users, places: Places, life: Timeline, trips: Trips, form: WaypointForm) -> pl.DataFrame:
    """One row for each trip."""
    user = life.user[trips.row]
    offset = users.offset[user]
    return pl.DataFrame(
        {
            **identity(users, user),
            "start": texts.times(trips.start, offset),
            "end": texts.times(trips.end, offset),
            "mode": texts.at(_MODES, trips.mode),
            "distance": texts.integers(trips.distance_m),
            "waypoints": waypoint_cells(users, places, life, trips, form),
            "duration": texts.integers(trips.end - trips.start),
        }
    )


def place_cells(seed: int, users: Users, places: Places) -> pl.DataFrame:
    """What is delivered of each place: one row for each slot of each user, in this order."""
    slots = np.arange(SLOTS)
    drawn = draw(seed, Purpose.STREET, users.number[:, None], slots)
    shown, country = fraction(drawn, 1), users.country[:, None]
    street = _FIRST_STREET_OF[country] + choice(drawn, _STREETS_OF[country], 2)
    street = np.where(shown < 0.5, _HIDDEN, np.where(shown < 0.7, _NO_STREET, street))
    city, venue = places.city.ravel(), places.venue.ravel()
    return pl.DataFrame(
        {
            "location.significance": texts.at(_SIGNIFICANCES, np.tile(slots, len(users))),
            "latitude": texts.numbers(places.latitude.ravel()),
            "longitude": texts.numbers(places.longitude.ravel()),
            "address.country": texts.at(_COUNTRY_NAMES, np.repeat(users.spelling, SLOTS)),
            "address.city": texts.at(_CITY_NAMES, city),
            "address.city_type": texts.at(_CITY_KINDS, city),
            "address.streetname": texts.at(_STREETS, street.ravel()),
            "location.place.name": texts.at(_VENUE_NAMES, venue),
            "location.place.type": texts.at(_VENUE_KINDS, venue),
        }
    )
