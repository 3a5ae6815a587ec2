"""A published file with the simulated lives of a city: frames of the simulator, without deliveries and loads.

Deliveries of so many rows would take minutes; what is tested begins at the published file.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from offload_platform.quality.arrow import ArrowStream
from offload_platform.simulator.population import Places, Users, places_of, users_numbered
from offload_platform.simulator.randomness import Integers
from offload_platform.simulator.timeline import MODES, NOT_YET, Timeline, timeline
from offload_platform.simulator.venues import ROLE_PLACES
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.blank import write_blank
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare

FIRST_DAY = date(2026, 9, 7)
FEED = "acme_city"
_VENUES = [venue for places in ROLE_PLACES for venue in places.venues]
_SIGNIFICANCE = [
    places.first_significance if slot == 0 else places.significance
    for places in ROLE_PLACES
    for slot in range(places.count)
]


def city(root: Path, users: int, days: int, seed: int = 1) -> WarehouseFiles:
    """Publish the lives of some users of Antwerp over some days, from a Monday on."""
    files = WarehouseFiles(root)
    people = users_numbered(seed, np.arange(users))
    people = replace(people, country=people.country * 0, city=people.city * 0, offset=people.offset * 0 + 60)
    places = places_of(seed, people)
    first = (FIRST_DAY - date(1970, 1, 1)).days
    life = timeline(seed, people, places, first, first + days - 1)
    for file in (files.build, files.published):
        file.parent.mkdir(parents=True)
    write_blank(files, [vendor_named("sentiance")], files.published)
    with duckdb.connect(files.published, config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        for table, frame in (
            ("stationaries", _stays(people, places, life)),
            ("transports", _trips(people, places, life)),
            ("segments", _labels(people, seed)),
            ("scores_realtime", _scores(people, seed, days)),
        ):
            stream = ArrowStream(frame)  # noqa: F841 (read by DuckDB by its name)
            connection.execute(
                f"INSERT INTO history.{table} BY NAME SELECT *, '{FEED}' AS feed, 'new' AS change_kind, "
                "TIMESTAMPTZ '2026-11-01 00:00:00Z' AS known_from FROM stream"
            )
    return files


def _times(start: Integers, end: Integers, offset: Integers) -> dict[str, pl.Series]:
    def instants(seconds: Integers) -> pl.Series:
        return pl.Series(seconds * 1_000_000, dtype=pl.Datetime("us"))

    return {
        "start_at": instants(start).dt.replace_time_zone("UTC"),
        "end_at": instants(end).dt.replace_time_zone("UTC"),
        "start_local": instants(start + offset * 60),
        "end_local": instants(end + offset * 60),
        "duration_s": pl.Series(end - start, dtype=pl.Int32),
        "is_open": pl.repeat(False, len(start), eager=True),
    }


def _stays(people: Users, places: Places, life: Timeline) -> pl.DataFrame:
    row = np.flatnonzero(life.left < NOT_YET)
    user, slot = life.user[row], life.destination[row]
    venue = places.venue[user, slot]
    kinds = pl.Series([list(_VENUES[one].kinds) for one in venue], dtype=pl.List(pl.String))
    return pl.DataFrame(
        {
            "user_id": people.user_id.gather(user),
            "metadata_user_id": people.client_id.gather(user),
            "latitude": places.latitude[user, slot],
            "longitude": places.longitude[user, slot],
            "significance": pl.Series(_SIGNIFICANCE).gather(slot),
            "place_types": kinds,
            "place_category": kinds.list.first(),
            **_times(life.end[row], life.left[row], people.offset[user]),
        }
    )


def _trips(people: Users, places: Places, life: Timeline) -> pl.DataFrame:
    def fixes(slot: Integers) -> pl.Series:
        at = {"latitude": places.latitude[life.user, slot], "longitude": places.longitude[life.user, slot]}
        return pl.DataFrame(at).to_struct("fix")

    ends = pl.DataFrame({"first": fixes(life.origin), "last": fixes(life.destination)})
    return pl.DataFrame(
        {
            "user_id": people.user_id.gather(life.user),
            "metadata_user_id": people.client_id.gather(life.user),
            "mode": pl.Series(MODES).gather(life.mode),
            "distance_m": pl.Series(life.distance_m, dtype=pl.Float64),
            "waypoints": ends.select(pl.concat_list("first", "last")).to_series(),
            **_times(life.start, life.end, people.offset[life.user]),
        }
    )


def _labels(people: Users, seed: int) -> pl.DataFrame:
    chosen = np.random.default_rng(seed)
    kinds = (
        ("behavior.city_home", "behavior.town_home"),
        ("lifestyle.fulltime_worker", "lifestyle.parttime_worker"),
        ("driver_behavior.heavy_driver", "driver_behavior.light_driver"),
        ("lifestyle.physical_activity.high", "lifestyle.physical_activity.limited"),
    )
    frames = [
        pl.DataFrame(
            {"user_id": people.user_id, "segment_id": pl.Series(names).gather(chosen.integers(2, size=len(people)))}
        )
        for names in kinds
    ]
    return pl.concat(frames)


def _scores(people: Users, seed: int, days: int) -> pl.DataFrame:
    chosen = np.random.default_rng(seed)
    last = pl.Series([FIRST_DAY]).dt.offset_by(f"{days - 1}d")[0]
    return pl.DataFrame(
        {
            "user_id": people.user_id,
            "as_of_at": pl.repeat(last, len(people), eager=True).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "data_day": pl.repeat(last, len(people), eager=True),
            **{name: chosen.beta(6, 3, len(people)) for name in ("score_smooth", "score_legal", "score_focus")},
        }
    )
