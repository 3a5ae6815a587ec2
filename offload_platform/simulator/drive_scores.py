"""Rows of `transports_realtime` and `scores_realtime`: drives with their scores, and the scores of their drivers."""

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.drives import Drives
from offload_platform.simulator.driving_settings import DrivingSimulation, Vintage
from offload_platform.simulator.randomness import Bits, Flags, Numbers, Purpose, draw, fraction
from offload_platform.simulator.simulation import WaypointForm
from offload_platform.simulator.waypoints import waypoint_cells

_NO_SCORE = -1.0
_SCORE_PLACES = 6
_USERS_WITHOUT_A_SCORE = 0.02

_NEED_NO_EVENTS = frozenset({"legal", "focus", "mounted", "attention"})
"""Scores that are given also where there is not enough data for the others."""

_WEATHER: dict[str, tuple[float, float]] = {
    "precipitation_intensity": (0, 2),
    "precipitation_probability": (0, 1),
    "temperature": (-8, 31),
    "dew_point": (-11, 19),
    "humidity": (0.2, 1),
    "pressure": (984, 1041),
    "wind_speed": (0, 14),
    "wind_gust": (0, 24),
    "wind_bearing": (0, 359),
    "cloud_cover": (0, 1),
    "uv_index": (0, 9),
    "ozone": (260, 410),
}
"""Least and greatest value of each quantity."""
_UNKNOWN_WEATHER = 0.1

_SCORES_OF_2017 = ("smooth", "legal", "anticipative", "focus", "mounted")
_SCORES_OF_2019 = ("hard_events", "hard_accel", "hard_brake", "legal_v2")
_SCORES_OF_JULY_2022 = ("aggr_v2", "anti_v2", "hard_turn", "attention")
_USER_SCORES_OF_2019 = (*_SCORES_OF_2019, "smooth_v2", "anticipative_v2", "hard_turn")


def transports_realtime(simulation: DrivingSimulation, drives: Drives, run: int) -> pl.DataFrame:
    """One row for each drive; the columns are those of the vintage."""
    vintage = simulation.vintage
    trips = drives.trips
    columns = {
        **drives.identity(),
        **drives.bounds(),
        "mode": pl.repeat("car", len(drives), eager=True),
        "distance": texts.integers(trips.distance_m),
        "waypoints": waypoint_cells(drives.users, drives.places, drives.life, trips, WaypointForm.OBJECTS),
        "duration": texts.integers(trips.end - trips.start),
        **_drive_scores(simulation, drives, run, _SCORES_OF_2017),
    }
    if vintage is not Vintage.SAMPLE_2017:
        columns["session_id"] = drives.session_ids()
        columns |= _drive_scores(simulation, drives, run, _SCORES_OF_2019)
    if vintage is Vintage.SAMPLE_JUNE_2022:
        columns |= _weather(drives)
    if vintage is Vintage.SAMPLE_JULY_2022:
        role = (fraction(drives.event) < 0.12).astype(np.int64)
        columns["event_id"] = drives.event_ids()
        columns["occupant_role"] = texts.at(texts.series(("driver", "passenger")), role)
        columns |= _drive_scores(simulation, drives, run, _SCORES_OF_JULY_2022)
    return pl.DataFrame(columns)


def scores_realtime(simulation: DrivingSimulation, drives: Drives, day: int, run: int) -> pl.DataFrame:
    """One row for each user who drove, as of the start of the last drive; `day` is counted from 1970-01-01."""
    user = np.unique(drives.user)
    last_start = np.zeros(len(drives.users), dtype=np.int64)
    np.maximum.at(last_start, drives.user, drives.trips.start)
    later = () if simulation.vintage is Vintage.SAMPLE_2017 else _USER_SCORES_OF_2019
    number = drives.users.number[user]
    is_none = fraction(draw(simulation.seed, Purpose.USER_SCORE, number)) < _USERS_WITHOUT_A_SCORE
    scores = {
        name: _score_cells(name, draw(simulation.seed, Purpose.USER_SCORE, number, day, run, nth), is_none)
        for nth, name in enumerate((*_SCORES_OF_2017, *later))
    }
    return pl.DataFrame(
        {
            "timestamp": texts.integers(last_start[user] * 1000),
            "user_id": texts.at(drives.users.user_id, user),
            **scores,
        }
    )


def _drive_scores(
    simulation: DrivingSimulation, drives: Drives, run: int, names: tuple[str, ...]
) -> dict[str, pl.Series]:
    is_none = drives.is_unscored(simulation.unscored_share)
    return {
        name: _score_cells(name, draw(simulation.seed, Purpose.DRIVE_SCORE, drives.event, run, _key(name)), is_none)
        for name in names
    }


def _score_cells(name: str, drawn: Bits, is_none: Flags) -> pl.Series:
    """Scores between 0 and 1, most of them good."""
    score: Numbers = np.round(fraction(drawn) ** 0.5, _SCORE_PLACES)
    return texts.numbers(score if name in _NEED_NO_EVENTS else np.where(is_none, _NO_SCORE, score))


def _weather(drives: Drives) -> dict[str, pl.Series]:
    cells = {}
    for nth, when in enumerate(("start", "end")):
        drawn = draw(drives.seed, Purpose.WEATHER, drives.event, nth)
        is_unknown = pl.lit(pl.Series(fraction(drawn) < _UNKNOWN_WEATHER))
        for turn, (name, (least, greatest)) in enumerate(_WEATHER.items(), 1):
            value = texts.numbers(np.round(least + (greatest - least) * fraction(drawn, turn), 2))
            cells[f"{when}_{name}"] = pl.select(pl.when(is_unknown).then(pl.lit("")).otherwise(value)).to_series()
    return cells


def _key(name: str) -> int:
    """A number of a score, so that another vintage gives the same value."""
    return (*_SCORES_OF_2017, *_SCORES_OF_2019, *_SCORES_OF_JULY_2022).index(name)
