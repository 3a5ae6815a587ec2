"""Position fixes of transports: from the place of departure to that of arrival, in time, and as JSON in a CSV cell."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.arrays import owners
from offload_platform.simulator.population import Places, Users
from offload_platform.simulator.randomness import Integers, Numbers
from offload_platform.simulator.simulation import WaypointForm
from offload_platform.simulator.snapshot import Trips
from offload_platform.simulator.timeline import MODES, Timeline

_SECONDS_BETWEEN_FIXES = 90
_MOST_FIXES = 60
_BEND_DEG = 0.002
_UNITS_PER_DEGREE = 100_000

_WRITTEN = {
    # (before the list, before latitude, before longitude, before time, after time, after the list)
    WaypointForm.OBJECTS: (
        '"{ ""waypoints"": [',
        '{ ""latitude"": ',
        ', ""longitude"": ',
        ', ""timestamp"": ""',
        '""}',
        '] }"',
    ),
    WaypointForm.ARRAYS: ('"[', "[", ", ", ', ""', '""]', ']"'),
}


@dataclass(frozen=True)
class Fixes:
    """Fixes of some trips, side by side; coordinates are in degrees.

    `trip` is the position of the trip, `nth` the number of the fix in it, `part_done` how far the trip has come.
    """

    trip: Integers
    nth: Integers
    part_done: Numbers
    latitude: Numbers
    longitude: Numbers


def fixes_of(places: Places, life: Timeline, trips: Trips, count: Integers) -> Fixes:
    """As many fixes of each trip as `count` says, evenly spread from its start to its end."""
    trip, nth = owners(count)
    part_done = nth / np.maximum(count[trip] - 1, 1)
    row = trips.row[trip]
    user, origin, destination = life.user[row], life.origin[row], life.destination[row]
    bend = _BEND_DEG * np.sin(2 * np.pi * part_done)
    return Fixes(
        trip,
        nth,
        part_done,
        _between(places.latitude[user, origin], places.latitude[user, destination], part_done) + bend,
        _between(places.longitude[user, origin], places.longitude[user, destination], part_done),
    )


def waypoint_cells(users: Users, places: Places, life: Timeline, trips: Trips, form: WaypointForm) -> pl.Series:
    """The cell of each trip. A trip whose mode was not recognised may have no fix at all."""
    count = np.clip(2 + (trips.end - trips.start) // _SECONDS_BETWEEN_FIXES, 2, _MOST_FIXES)
    count[(trips.mode == MODES.index("insufficient_data")) & (trips.start % 2 == 0)] = 0
    on_way = fixes_of(places, life, trips, count)
    time = trips.start[on_way.trip] + np.round(on_way.part_done * (trips.end - trips.start)[on_way.trip]).astype(
        np.int64
    )

    before, to_latitude, to_longitude, to_time, after_time, after = _WRITTEN[form]
    fixes = pl.DataFrame(
        {
            "trip": on_way.trip,
            **degrees("latitude", on_way.latitude),
            **degrees("longitude", on_way.longitude),
            "time": texts.times(time, users.offset[life.user[trips.row[on_way.trip]]]),
        }
    )
    fix = pl.concat_str(
        pl.lit(to_latitude),
        "latitude",
        "latitude decimals",
        pl.lit(to_longitude),
        "longitude",
        "longitude decimals",
        pl.lit(to_time),
        "time",
        pl.lit(after_time),
    )
    lists = fixes.lazy().select("trip", fix=fix).group_by("trip", maintain_order=True).agg(pl.col("fix").str.join(", "))
    every_trip = pl.LazyFrame({"trip": np.arange(len(count))})
    cells = every_trip.join(lists, on="trip", how="left", maintain_order="left").select(
        pl.concat_str(pl.lit(before), pl.col("fix").fill_null(""), pl.lit(after))
    )
    return cells.collect().to_series()


def _between(origin: Numbers, destination: Numbers, part_done: Numbers) -> Numbers:
    return origin + (destination - origin) * part_done


def degrees(name: str, values: Numbers) -> dict[str, pl.Series]:
    """A coordinate with exactly five decimals, in two pieces: sign and whole degrees, point and decimals."""
    units: Integers = np.round(np.abs(values) * _UNITS_PER_DEGREE).astype(np.int64)
    whole, decimals = np.divmod(units, _UNITS_PER_DEGREE)
    is_negative = (values < 0) & (units > 0)
    return {name: texts.at(_wholes(), whole + 181 * is_negative), f"{name} decimals": texts.at(_decimals(), decimals)}


@cache
def _wholes() -> pl.Series:
    return texts.series([str(n) for n in range(181)] + [f"-{n}" for n in range(181)])


@cache
def _decimals() -> pl.Series:
    return texts.series([f".{n:05d}" for n in range(_UNITS_PER_DEGREE)])
