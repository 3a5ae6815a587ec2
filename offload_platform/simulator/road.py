"""Rows of `mapped_waypoints_realtime`: drives matched to the road, with speed and speed limit, as JSON members."""

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.drives import Drives
from offload_platform.simulator.driving_settings import DrivingSimulation
from offload_platform.simulator.randomness import Purpose, choice, draw, fraction
from offload_platform.simulator.waypoints import degrees, fixes_of

_LIMITS_KMH = texts.series(("20", "30", "48.28", "50", "70", "80.47", "90", "112.65", "120"))
_WHOLE_SECONDS = 0.13
_FIX = (
    '{"latitude":<latitude><latitude decimals>,"longitude":<longitude><longitude decimals>,"speed_v2":<speed>,'
    '"speedlimit":<limit>,"waypoint_timestamp":"<time>"}'
)


def mapped_waypoints_realtime(simulation: DrivingSimulation, drives: Drives) -> pl.DataFrame:
    """One row for each drive, with its fixes in time; times have six decimal places or none."""
    trips = drives.trips
    share = fraction(draw(drives.seed, Purpose.ROAD, drives.event))
    count = np.maximum(2, np.round(simulation.fixes_per_drive * (0.2 + 1.6 * share)).astype(np.int64))
    fixes = fixes_of(drives.places, drives.life, trips, count)
    drawn = draw(drives.seed, Purpose.ROAD, drives.event[fixes.trip], fixes.nth)
    elapsed_us = fixes.part_done * (trips.end - trips.start)[fixes.trip] * 1e6
    second, microsecond = np.divmod(elapsed_us.astype(np.int64), 1_000_000)
    microsecond[fraction(drawn) < _WHOLE_SECONDS] = 0
    mean_kmh = (trips.distance_m / (trips.end - trips.start) * 3.6)[fixes.trip]
    road = pl.DataFrame(
        {
            **degrees("latitude", fixes.latitude),
            **degrees("longitude", fixes.longitude),
            "speed": texts.decimals(mean_kmh * (0.2 + 1.25 * np.sin(np.pi * fixes.part_done)), 1),
            "limit": texts.at(_LIMITS_KMH, choice(drawn, len(_LIMITS_KMH), 1)),
            "time": texts.times(
                trips.start[fixes.trip] + second, drives.offset[fixes.trip], texts.millionths(microsecond)
            ),
        }
    )
    bounds = drives.bounds()
    listed = texts.joined(road.select(texts.filled(_FIX)).to_series(), fixes.trip, len(drives))
    return pl.DataFrame(
        {
            "user_id": texts.quoted(drives.identity()["user_id"]),
            "session_id": texts.quoted(drives.session_ids()),
            **{name: texts.quoted(text) for name, text in bounds.items()},
            "mapped_waypoints": pl.select(pl.concat_str(pl.lit("["), listed, pl.lit("]"))).to_series(),
        }
    )
