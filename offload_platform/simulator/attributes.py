"""Rows of `attributes.wide` and `attributes.long`: two renderings of the same values."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.events import identity
from offload_platform.simulator.population import CITIES, SPELLINGS, WORKING_DAYS, Users, has_work
from offload_platform.simulator.randomness import Bits, Integers, Purpose, choice, draw, fraction
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.snapshot import epoch_s
from offload_platform.simulator.timeline import SECONDS_PER_DAY
from offload_platform.simulator.venues import ROLE_PLACES, Role
from offload_platform.vendors.sentiance.attribute_catalogue import SUFFIX, Attribute, Kind, attributes

_DAYS_BETWEEN_CHANGES = 28
_NO_SCORE = -1.0
_FIRST_TASTE_WITHOUT_CAR = 4
_GREATEST_AND_DECIMALS = {
    "confidence 0..1": (1, 9),
    "count": (2, 0),
    "days": (63, 0),
    "days/month": (30, 2),
    "days/week": (7, 2),
    "denominator (m)": (4_000_000, 0),
    "denominator (s)": (5_000_000, 0),
    "denominator (unclear)": (4_000_000_000, 0),
    "h-index": (20, 0),
    "local hour, decimal": (24, 2),
    "m": (50_000, 3),
    "n/month": (20, 4),
    "n/week": (14, 4),
    "ratio to population": (3, 9),
    "s": (40_000, 3),
    "scale unknown": (1, 9),
    "score 0..1": (1, 9),
    "share 0..1": (1, 9),
}
_NONE_TEXT = "0"
_MASK = "Hidden"
_VENUES_OF_WORD = {
    "drinks": Role.RESTAURANT,
    "food": Role.RESTAURANT,
    "restaurant": Role.RESTAURANT,
    "shop": Role.SHOP,
    "sport": Role.SPORT,
    "education": Role.SCHOOL,
    "gas_station": Role.FUEL,
    "culture": Role.SIGHT,
    "health": Role.SIGHT,
}
_WORKING_DAYS_CELLS = texts.series([texts.cell(json.dumps(days)) for days in WORKING_DAYS])
_CITY_NAMES = texts.series([texts.cell(city.name) for city in CITIES])
_CITY_KINDS = texts.series([city.kind.upper() for city in CITIES])
_COUNTRY_NAMES = texts.series([texts.cell(spelling) for spelling in SPELLINGS])


def attributes_wide(simulation: Simulation, stamp: datetime, users: Users) -> pl.DataFrame:
    """One row for each user."""
    values = attribute_values(simulation, stamp, users)
    return pl.DataFrame({**identity(users, np.arange(len(users))), **values})


def attributes_long(simulation: Simulation, stamp: datetime, users: Users) -> pl.DataFrame:
    """One row for each attribute and user, attribute by attribute; an empty value has its row too."""
    values = attribute_values(simulation, stamp, users)
    attribute, user = (axis.ravel() for axis in np.indices((len(values), len(users))))
    return pl.DataFrame(
        {
            **identity(users, user),
            "attribute_name": texts.at(texts.series(list(values)), attribute),
            "attribute_value": pl.concat(list(values.values())),
        }
    )


def attribute_values(simulation: Simulation, stamp: datetime, users: Users) -> Mapping[str, pl.Series]:
    """Cells of each attribute, by delivered name, one for each user. A value changes about every four weeks."""
    catalogue = attributes()
    number = np.arange(len(catalogue))[:, None]
    stagger = (users.number * 7 + number) % _DAYS_BETWEEN_CHANGES
    period = (epoch_s(stamp) // SECONDS_PER_DAY + stagger) // _DAYS_BETWEEN_CHANGES
    drawn = draw(simulation.seed, Purpose.ATTRIBUTE, number, users.number, period)
    count = len(users)
    numeric = _numbers(catalogue, users, drawn)
    return {
        attribute.name + SUFFIX: numeric.slice(position * count, count)
        if attribute.kind is Kind.NUMBER
        else _others(attribute, simulation, users, drawn[position])
        for position, attribute in enumerate(catalogue)
    }


def _numbers(catalogue: tuple[Attribute, ...], users: Users, drawn: Bits) -> pl.Series:
    """Cells of all attributes, attribute by attribute, as if all were numbers."""
    bounds = np.array([_GREATEST_AND_DECIMALS.get(a.unit or "", (1, 0)) for a in catalogue])
    greatest, scale = bounds[:, :1], 10.0 ** bounds[:, 1:]
    values = np.round(fraction(drawn, 1) * greatest * scale) / scale
    share = fraction(drawn, 2)
    is_score = np.array([a.none_number is not None for a in catalogue])[:, None]
    drives = users.taste < _FIRST_TASTE_WITHOUT_CAR
    values = np.where(share < 0.3, 0.0, values)
    values = np.where(is_score & ((share < 0.1) | ~drives), _NO_SCORE, values)
    names = [a.name for a in catalogue]
    for name, known in (
        ("hashome", np.ones(len(users))),
        ("haswork", has_work(users).astype(np.float64)),
        ("timezone", users.offset * 60.0),
    ):
        values[names.index(name)], share[names.index(name)] = known, 0.0
    is_empty = pl.Series((~is_score & (share > 0.88)).ravel())
    written = texts.numbers(values.ravel())
    return pl.select(pl.when(is_empty).then(pl.lit("")).otherwise(written)).to_series()


def _others(attribute: Attribute, simulation: Simulation, users: Users, drawn: Bits) -> pl.Series:
    if attribute.kind is Kind.LIST:
        return texts.at(_WORKING_DAYS_CELLS, users.working_days)
    if attribute.kind is Kind.BOOLEAN:
        return texts.at(texts.series(("FALSE", "TRUE")), choice(drawn, 4, 1) // 3 ^ 1)
    if attribute.name == "client_id":
        return texts.series([simulation.app_id] * len(users))
    if attribute.name == "usertype":
        return texts.series(["user"] * len(users))
    return _most_common(attribute.name, users, drawn)


def _most_common(name: str, users: Users, drawn: Bits) -> pl.Series:
    """Where or what a user mostly is; some have no such thing, and some names are masked."""
    words = name.split(".")
    is_none = fraction(drawn, 1) < (0.8 if "holiday" in words else 0.15)
    if "work" in words:
        is_none |= ~has_work(users)
    is_masked = ~is_none & (fraction(drawn, 2) < 0.4) & ("city_type" not in words)
    of_word: dict[str, Callable[[], pl.Series]] = {
        "city": lambda: texts.at(_CITY_NAMES, users.city),
        "city_type": lambda: texts.at(_CITY_KINDS, users.city),
        "country": lambda: texts.at(_COUNTRY_NAMES, users.spelling),
        "region": lambda: texts.series([_MASK] * len(users)),
    }
    known = next((of_word[word]() for word in words if word in of_word), None)
    if known is None:
        known = _venue_names(words, drawn)
    return pl.select(
        pl.when(pl.lit(pl.Series(is_none)))
        .then(pl.lit(_NONE_TEXT))
        .when(pl.lit(pl.Series(is_masked)))
        .then(pl.lit(_MASK))
        .otherwise(pl.lit(known))
    ).to_series()


def _venue_names(words: list[str], drawn: Bits) -> pl.Series:
    role = next(_VENUES_OF_WORD[word] for word in words if word in _VENUES_OF_WORD)
    names = [texts.cell(venue.name) for venue in ROLE_PLACES[role].venues if venue.name]
    position: Integers = choice(drawn, len(names), 3)
    return texts.at(texts.series(names), position)
