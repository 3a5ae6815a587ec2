"""Who the simulated users are and which places they know. A user is the same in every delivery."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from offload_platform.simulator.geography import COUNTRIES, KM_PER_DEGREE
from offload_platform.simulator.randomness import Flags, Integers, Numbers, Purpose, choice, draw, fraction
from offload_platform.simulator.venues import ROLE_PLACES, Role

CITIES = tuple(city for country in COUNTRIES for city in country.cities)
SPELLINGS = tuple(spelling for country in COUNTRIES for spelling in country.spellings)
WORKING_DAYS: tuple[tuple[int, ...], ...] = (
    (0, 1, 2, 3, 4),
    (0, 1, 2, 3, 4),
    (0, 1, 2, 3, 4),
    (0, 1, 3),
    (1, 2, 3, 6),
    (),
)
"""Weekdays on which users go to work, Monday being 0; each user has one of these sets."""

_CITY_LATITUDE = np.array([city.latitude for city in CITIES])
_CITY_LONGITUDE = np.array([city.longitude for city in CITIES])
_CITIES_OF = np.array([len(country.cities) for country in COUNTRIES])
_FIRST_CITY_OF = np.cumsum(_CITIES_OF) - _CITIES_OF
_SPELLINGS_OF = np.array([len(country.spellings) for country in COUNTRIES])
_FIRST_SPELLING_OF = np.cumsum(_SPELLINGS_OF) - _SPELLINGS_OF
_OFFSETS = np.array([country.offset for country in COUNTRIES])

_SLOT_ROLE = np.repeat([p.role for p in ROLE_PLACES], [p.count for p in ROLE_PLACES])
_NEAREST_KM = np.array([p.nearest_km for p in ROLE_PLACES])[_SLOT_ROLE]
_FARTHEST_KM = np.array([p.farthest_km for p in ROLE_PLACES])[_SLOT_ROLE]
_VENUES_OF = np.array([len(p.venues) for p in ROLE_PLACES])
_FIRST_VENUE_OF = np.cumsum(_VENUES_OF) - _VENUES_OF
_HOME_SPREAD_KM = 6.0
_FIRST_CREATION = 1_450_000_000
_CREATION_SPAN_S = 80_000_000


@dataclass(frozen=True)
class Users:
    """Some users of the population, side by side.

    `number` is a user's place in the whole population. `country`, `city`, `spelling` and `working_days` are
    positions in the tables of this module and of `geography`; `offset` is minutes east of UTC; `taste` in [0, 8)
    decides which modes of transport the user prefers. Texts are ready to stand in a CSV cell.
    """

    number: Integers
    user_id: pl.Series
    client_id: pl.Series
    country: Integers
    city: Integers
    spelling: Integers
    offset: Integers
    working_days: Integers
    taste: Integers

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Places:
    """Places of some users: row = user, column = slot (`venues.FIRST_SLOT`).

    Coordinates are in degrees with five decimals; `city` and `venue` are positions in `CITIES` and in all venues of
    `venues.ROLE_PLACES`.
    """

    latitude: Numbers
    longitude: Numbers
    city: Integers
    venue: Integers


def users_numbered(seed: int, number: Integers) -> Users:
    """The users of these numbers."""
    traits = draw(seed, Purpose.TRAITS, number)
    country = choice(traits, len(COUNTRIES), 1)
    return Users(
        number=number,
        user_id=_user_ids(seed, number),
        client_id=_client_ids(seed, number),
        country=country,
        city=_FIRST_CITY_OF[country] + choice(traits, _CITIES_OF[country], 2),
        spelling=_FIRST_SPELLING_OF[country] + choice(traits, _SPELLINGS_OF[country], 3),
        offset=_OFFSETS[country],
        working_days=choice(traits, len(WORKING_DAYS), 4),
        taste=choice(traits, 8, 5),
    )


def places_of(seed: int, users: Users) -> Places:
    """All places that these users know."""
    home = draw(seed, Purpose.HOME, users.number)
    home_latitude, home_longitude = _moved(
        _CITY_LATITUDE[users.city], _CITY_LONGITUDE[users.city], fraction(home, 1) * _HOME_SPREAD_KM, fraction(home, 2)
    )
    drawn = draw(seed, Purpose.PLACE, users.number[:, None], np.arange(len(_SLOT_ROLE)))
    away = _SLOT_ROLE == Role.AWAY
    others = _CITIES_OF[users.country][:, None]
    step = 1 + choice(drawn, others - 1, 1)
    first = _FIRST_CITY_OF[users.country][:, None]
    other_city = first + (users.city[:, None] - first + step) % others
    city = np.where(away, other_city, users.city[:, None])
    latitude, longitude = _moved(
        np.where(away, _CITY_LATITUDE[city], home_latitude[:, None]),
        np.where(away, _CITY_LONGITUDE[city], home_longitude[:, None]),
        _NEAREST_KM + fraction(drawn, 2) * (_FARTHEST_KM - _NEAREST_KM),
        fraction(drawn, 3),
    )
    return Places(
        latitude=np.round(latitude, 5),
        longitude=np.round(longitude, 5),
        city=city,
        venue=_FIRST_VENUE_OF[_SLOT_ROLE] + choice(draw(seed, Purpose.VENUE, drawn), _VENUES_OF[_SLOT_ROLE]),
    )


def external_ids(seed: int, number: Integers) -> pl.Series:
    """The client's own ids of the users of these numbers, whether the vendor's files carry them or not."""
    return pl.Series([f"{bits:016x}" for bits in draw(seed, Purpose.CLIENT_ID, number).tolist()], dtype=pl.String)


def has_work(users: Users) -> Flags:
    """Whether the user goes to work on any day."""
    goes: Flags = np.array([bool(days) for days in WORKING_DAYS])[users.working_days]
    return goes


def role_of_slot() -> Integers:
    """Role of the place in each slot."""
    return _SLOT_ROLE


def _user_ids(seed: int, number: Integers) -> pl.Series:
    drawn = draw(seed, Purpose.USER_ID, number)
    created = _FIRST_CREATION + choice(drawn, _CREATION_SPAN_S, 1)
    ids = [f"{at:08x}{bits:016x}" for at, bits in zip(created.tolist(), drawn.tolist(), strict=True)]
    return pl.Series(ids, dtype=pl.String)


def _client_ids(seed: int, number: Integers) -> pl.Series:
    """A quarter of the users carry the client's own id."""
    drawn = draw(seed, Purpose.CLIENT_ID, number)
    is_carried = pl.Series((drawn % 4 == 0).tolist(), dtype=pl.Boolean)
    return pl.select(pl.when(is_carried).then(external_ids(seed, number)).otherwise(pl.lit(""))).to_series()


def _moved(latitude: Numbers, longitude: Numbers, distance: Numbers, turn: Numbers) -> tuple[Numbers, Numbers]:
    """The points that lie some kilometres off, in the direction of a turn in [0, 1)."""
    angle = 2 * np.pi * turn
    north = distance / KM_PER_DEGREE * np.sin(angle)
    east = distance / (KM_PER_DEGREE * np.cos(np.radians(latitude))) * np.cos(angle)
    return latitude + north, longitude + east
