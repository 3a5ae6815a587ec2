"""Rows of `segments`: the labels that a user carries, in one generation of names or in both."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.events import identity
from offload_platform.simulator.population import CITIES, WORKING_DAYS, Users, has_work
from offload_platform.simulator.randomness import Bits, Flags, Integers, Purpose, choice, draw, fraction
from offload_platform.simulator.snapshot import epoch_s
from offload_platform.simulator.timeline import SECONDS_PER_DAY

_SECONDS_BETWEEN_CHANGES = 84 * SECONDS_PER_DAY
_BOTH_GENERATIONS = 0.75
_REPEATED_ROW = 0.03


@dataclass(frozen=True)
class _Label:
    """A label: its name in the first generation, in the second, or both; `share` of the users carry it."""

    first: str | None
    second: str | None
    share: float = 0.0


_SETTLEMENTS = ("city", "town")
_HOMES = tuple(_Label(f"behavior.{kind}_home", f"work_life.home.{kind}_home") for kind in _SETTLEMENTS)
_WORKERS = tuple(_Label(f"behavior.{kind}_worker", f"work_life.work.{kind}_worker") for kind in _SETTLEMENTS)
_FULL_TIME = _Label("lifestyle.fulltime_worker", "work_life.work.fulltime_worker")
_PART_TIME = _Label("lifestyle.parttime_worker", "work_life.work.parttime_worker")
_ONE_OF: tuple[tuple[_Label, ...], ...] = (
    tuple(
        _Label(f"lifestyle.physical_activity.{level}", f"leisure.wellbeing.physical_activity.{level}")
        for level in ("limited", "moderate", "high")
    ),
    tuple(
        _Label(f"lifestyle.social_activity.{level}", f"work_life.social.social_activity.{level}")
        for level in ("limited", "moderate", "high")
    ),
    tuple(
        _Label(f"mobility.mobility.{level}", f"mobility.transport.mobility.{level}")
        for level in ("limited", "moderate", "high")
    ),
    tuple(_Label(f"driver_behavior.{amount}_driver", None) for amount in ("light", "medium", "heavy")),
)
_ONE_OF_COMMUTERS: tuple[tuple[_Label, ...], ...] = tuple(
    tuple(_Label(f"mobility.{kind}_commuter", f"mobility.commute.{kind}_commuter") for kind in kinds)
    for kinds in (("easy", "normal", "heavy"), ("short", "normal", "long"))
)
_FREE: tuple[_Label, ...] = (
    _Label("behavior.early_bird", "work_life.home.early_bird", 0.25),
    _Label("behavior.night_owl", "work_life.home.night_owl", 0.1),
    _Label("behavior.homeworker", "work_life.work.homeworker", 0.1),
    _Label("behavior.workaholic", "work_life.work.workaholic", 0.1),
    _Label("driver_behavior.anticipative_driver", "mobility.driving.anticipative_driver", 0.3),
    _Label("driver_behavior.efficient_driver", "mobility.driving.efficient_driver", 0.25),
    _Label("driver_behavior.legal_driver", "mobility.driving.legal_driver", 0.3),
    _Label("driver_behavior.aggressive_driver", "mobility.driving.aggressive_driver", 0.08),
    _Label("driver_behavior.day_driver", None, 0.2),
    _Label("lifestyle.brand_loyalty.supermarket", "leisure.shopping.brand_loyalty.supermarket", 0.2),
    _Label("lifestyle.couch_potato", "work_life.home.homebody", 0.15),
    _Label("lifestyle.dog_walker", "work_life.home.dog_walker", 0.08),
    _Label("lifestyle.healthy_biker", "leisure.wellbeing.healthy_biker", 0.15),
    _Label("lifestyle.resto_lover", "leisure.wining_and_dining.resto_lover", 0.35),
    _Label("lifestyle.sportive", "leisure.wellbeing.sportive", 0.2),
    _Label("lifestyle.uber_parent", "work_life.family.uber_parent", 0.1),
    _Label("mobility.car_owner", None, 0.2),
    _Label("mobility.die_hard_driver", "mobility.driving.die_hard_driver", 0.2),
    _Label("mobility.frequent_flyer", "mobility.travel.frequent_flyer", 0.15),
    _Label("mobility.green_commuter", "mobility.commute.green_commuter", 0.25),
    _Label("mobility.public_transports_user", "mobility.transport.public_transports_user", 0.3),
    _Label(None, "leisure.entertainment.nature_lover", 0.1),
    _Label(None, "leisure.shopping.foodie", 0.12),
    _Label(None, "leisure.wining_and_dining.resto_lover.asian", 0.06),
    _Label(None, "work_life.home.sleep_deprived", 0.06),
)


def segments(seed: int, stamp: datetime, users: Users) -> pl.DataFrame:
    """One row for each name of each label; a few rows stand twice, as the vendor repeats some."""
    both = fraction(draw(seed, Purpose.SEGMENT, users.number)) < _BOTH_GENERATIONS
    user: list[Integers] = []
    segment_number: list[Integers] = []
    names: list[str] = []
    for label, carries in _carried(seed, stamp, users):
        for segment, delivered in ((label.first, both | (label.second is None)), (label.second, np.True_)):
            if segment is not None:
                carriers = np.flatnonzero(carries & delivered)
                user.append(carriers)
                segment_number.append(np.full(len(carriers), len(names)))
                names.append(segment)
    position, number = np.concatenate(user), np.concatenate(segment_number)
    repeat = fraction(draw(seed, Purpose.SEGMENT_REPEAT, users.number[position], number)) < _REPEATED_ROW
    order = np.argsort(position, kind="stable")
    order = np.repeat(order, np.where(repeat[order], 2, 1))
    return pl.DataFrame(
        {**identity(users, position[order]), "segment_id": texts.at(texts.series(names), number[order])}
    )


def _carried(seed: int, stamp: datetime, users: Users) -> Iterator[tuple[_Label, Flags]]:
    """Each label and which of the users carry it; a user's labels change a few times a year."""
    kind = np.array([_SETTLEMENTS.index(city.kind) for city in CITIES])[users.city]
    works = has_work(users)
    full_time = np.array([len(days) >= 5 for days in WORKING_DAYS])[users.working_days]
    for position in range(len(_SETTLEMENTS)):
        yield _HOMES[position], kind == position
        yield _WORKERS[position], works & (kind == position)
    yield _FULL_TIME, works & full_time
    yield _PART_TIME, works & ~full_time
    family = 0
    for families, may_carry in ((_ONE_OF, np.ones(len(users), dtype=np.bool_)), (_ONE_OF_COMMUTERS, works)):
        for labels in families:
            family += 1
            carried = choice(_drawn(seed, stamp, users, family), len(labels))
            for position, label in enumerate(labels):
                yield label, may_carry & (carried == position)
    for position, label in enumerate(_FREE):
        yield label, fraction(_drawn(seed, stamp, users, 1_000 + position)) < label.share


def _drawn(seed: int, stamp: datetime, users: Users, family: int) -> Bits:
    stagger = choice(draw(seed, Purpose.SEGMENT, users.number, family), _SECONDS_BETWEEN_CHANGES)
    period = (epoch_s(stamp) + stagger) // _SECONDS_BETWEEN_CHANGES
    return draw(seed, Purpose.SEGMENT, users.number, family, period)
