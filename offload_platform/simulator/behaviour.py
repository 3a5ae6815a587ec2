"""Rows of `driving_events_realtime`: what happened on each drive, as JSON members.

Sizes follow the sample of 2019: the greatest acceleration of a peak (m/s2) is five times the magnitude of its event,
coasting ends at 1 m/s2 where braking begins, and the integral is a change of speed in km/h.
"""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from offload_platform.simulator import texts
from offload_platform.simulator.arrays import owners
from offload_platform.simulator.drives import Drives
from offload_platform.simulator.driving_settings import DrivingSimulation, Vintage
from offload_platform.simulator.randomness import Bits, Flags, Integers, Numbers, Purpose, choice, draw, fraction


@dataclass(frozen=True)
class Kind:
    """A kind of event; of `weight` in 2,475 events. Boundaries have no type."""

    category: str
    type: str | None
    weight: int


KINDS: tuple[Kind, ...] = (
    Kind("acceleration", "accelerate", 853),
    Kind("acceleration", "brake", 376),
    Kind("acceleration", "coast", 392),
    Kind("turn", "left_turn", 290),
    Kind("turn", "right_turn", 308),
    Kind("turn", "roundabout", 20),
    Kind("turn", "lane_switch", 11),
    Kind("anomalies", "phone_usage", 64),
    Kind("mounted", "mounted", 48),
    Kind("boundaries", None, 100),
    Kind("idle", "idle", 8),
    Kind("traffic", "traffic", 5),
)
CATEGORIES = (
    "acceleration",
    "idle",
    "breakdown",
    "boundaries",
    "turn",
    "anomalies",
    "mounted",
    "crash",
    "traffic",
)
"""All lists of a drive in delivered order; nobody has seen a breakdown or a crash."""

_KIND_ENDS = np.cumsum([kind.weight for kind in KINDS]) / sum(kind.weight for kind in KINDS)
_CATEGORY = np.array([CATEGORIES.index(kind.category) for kind in KINDS])
_TYPES = texts.series([kind.type or "" for kind in KINDS])
_PEAKS = np.array([{"lane_switch": 2, "roundabout": 3}.get(kind.type or "", 1) for kind in KINDS])
_GREATEST_MPS2 = np.array(
    [
        {"accelerate": (0.3, 3.2), "brake": (1.005, 4.5), "coast": (0.2, 1.0)}.get(kind.type or "", (0, 0))
        for kind in KINDS
    ]
)
_ACCELERATE, _LEFT = (
    next(nth for nth, kind in enumerate(KINDS) if kind.type == t) for t in ("accelerate", "left_turn")
)
_MEAN_OF_GREATEST = 0.57
_MPS2_OF_NORM = 5
_KMH_OF_MPS = 3.6
_GREATEST_ANGLE_DEG = 130
_LONGEST_MANOEUVRE_MS = 14_000
_MANOEUVRES = ("acceleration", "turn")
_WHOLE_SECONDS = ("anomalies", "mounted")
_MINUTE_MS = 60_000
_MOST_MINUTES = 5

_FLAGS = texts.series(("false", "true"))
_INTENSITIES = texts.series(("low", "medium", "high"))
_OF_EVENT = {
    "acceleration": (
        '{"duration":<duration>,"features":{"magnitude":<norm>},"mean":<mean>,"start":"<start>","magnitude":0.0,'
        '"end":"<end>","category":"acceleration","type":"<type>","peaks":[{"duration":<duration>,"max":<max>,'
        '"integral":<integral>,"mean":<mean>,"start":"<start>","end":"<end>","is_positive":<is positive>}]}'
    ),
    "turn": (
        '{"duration":<duration>,"features":{"magnitude":<norm>},"mean":0.0,"start":"<start>","magnitude":0.0,'
        '"end":"<end>","category":"turn","type":"<type>","peaks":[<peaks>]}'
    ),
    "anomalies": '{"duration":<duration>,"start":"<start>","end":"<end>","category":"anomalies","type":"<type>"}',
    "mounted": '{"duration":<duration>,"start":"<start>","end":"<end>","category":"mounted","type":"<type>"}',
    "boundaries": '{"features":{},"start":"<start>","end":"<end>","category":"boundaries"}',
    "idle": '{"features":{},"start":"<start>","end":"<end>","category":"idle","type":"<type>"}',
    "traffic": (
        '{"intensity":"<intensity>","probs":<probability>,"duration_in_min":<minutes>,"start":"<start>","end":"<end>",'
        '"category":"traffic","type":"<type>"}'
    ),
}
_OF_TURN_PEAK = (
    '{"duration":<duration>,"mean":0.0,"start":"<start>","angle":<angle>,"magnitude":<magnitude>,"end":"<end>",'
    '"is_positive":<is positive>}'
)


@dataclass(frozen=True)
class Events:
    """Events of some drives, side by side: drive by drive, and in time.

    `drive` is the position of the drive, `kind` one in `KINDS`; times are milliseconds since 1970 in UTC, `offset` is
    minutes east of it. `drawn` identifies the event for further draws.
    """

    drive: Integers
    kind: Integers
    start: Integers
    end: Integers
    offset: Integers
    drawn: Bits

    @property
    def duration_s(self) -> Numbers:
        """How long each event lasted."""
        return (self.end - self.start) / 1000

    def of(self, wanted: Flags) -> "Events":
        """Some of the events."""
        return Events(*(getattr(self, field.name)[wanted] for field in fields(self)))

    def of_category(self, category: str) -> "Events":
        """The events of one category."""
        return self.of(_CATEGORY[self.kind] == CATEGORIES.index(category))


def driving_events_realtime(simulation: DrivingSimulation, drives: Drives) -> pl.DataFrame:
    """One row for each drive, with nine lists of events."""
    events = events_of(simulation, drives)
    lists = pl.DataFrame({name: _list(events.of_category(name), len(drives)) for name in CATEGORIES})
    by_category = ",".join(f'"{name}":[<{name}>]' for name in CATEGORIES)
    identity, bounds = drives.identity(), drives.bounds()
    members = {"mode": pl.repeat("car", len(drives), eager=True)} | dict(reversed(identity.items()))
    if simulation.vintage in (Vintage.SAMPLE_JUNE_2022, Vintage.SAMPLE_JULY_2022):
        members["event_id"] = drives.event_ids()
    return pl.DataFrame(
        {
            **{name: texts.quoted(text) for name, text in (members | bounds).items()},
            "behavior_events": lists.select(texts.filled("{" + by_category + "}")).to_series(),
        }
    )


def events_of(simulation: DrivingSimulation, drives: Drives) -> Events:
    """All events of the drives, spread over their time; none on a drive without enough data."""
    trips = drives.trips
    share = fraction(draw(drives.seed, Purpose.BEHAVIOUR, drives.event))
    count = np.maximum(1, np.round(simulation.events_per_drive * (0.2 + 1.6 * share)).astype(np.int64))
    count[drives.is_unscored(simulation.unscored_share)] = 0
    drive, nth = owners(count)
    drawn = draw(drives.seed, Purpose.BEHAVIOUR, drives.event[drive], nth)
    kind = np.searchsorted(_KIND_ENDS, fraction(drawn), side="right")

    drive_start, drive_end = trips.start[drive] * 1000, trips.end[drive] * 1000
    room = (drive_end - drive_start) / count[drive]
    length = _length_ms(kind, room * (0.2 + 0.5 * fraction(drawn, 1)), drive_end - drive_start)
    start = drive_start + ((nth + 0.3 * fraction(drawn, 2)) * room).astype(np.int64)
    start = np.minimum(start, drive_end - length)
    return Events(drive, kind, start, start + length, drives.offset[drive], drawn)


def _length_ms(kind: Integers, length: Numbers, longest: Integers) -> Integers:
    """How long events last: manoeuvres are short, some categories are told in whole seconds or minutes."""

    def is_of(*categories: str) -> Flags:
        return np.isin(_CATEGORY[kind], [CATEGORIES.index(name) for name in categories])

    length = np.where(is_of(*_MANOEUVRES), np.minimum(length, _LONGEST_MANOEUVRE_MS), length)
    length = np.where(is_of(*_WHOLE_SECONDS), np.ceil(length / 1000) * 1000, length)
    minutes = np.clip(np.ceil(length / _MINUTE_MS), 1, np.minimum(_MOST_MINUTES, longest // _MINUTE_MS))
    return np.where(is_of("traffic"), minutes * _MINUTE_MS, length).astype(np.int64)


def _list(events: Events, drives: int) -> pl.Series:
    """The events of one category as the members of a JSON list for each drive."""
    if not len(events.drive):
        return pl.repeat("", drives, eager=True)
    category = KINDS[events.kind[0]].category
    cells = {
        "start": texts.times_ms(events.start, events.offset),
        "end": texts.times_ms(events.end, events.offset),
        "duration": texts.decimals(events.duration_s),
        "type": texts.at(_TYPES, events.kind),
    }
    match category:
        case "acceleration":
            cells |= _acceleration(events)
        case "turn":
            cells |= _turn(events)
        case "traffic":
            cells |= _traffic(events)
    return texts.joined(pl.DataFrame(cells).select(texts.filled(_OF_EVENT[category])).to_series(), events.drive, drives)


def _acceleration(events: Events) -> dict[str, pl.Series]:
    least, most = _GREATEST_MPS2[events.kind].T
    greatest = np.round(least + (most - least) * fraction(events.drawn, 3) ** 3, 3)
    mean = greatest * _MEAN_OF_GREATEST
    is_positive = events.kind == _ACCELERATE
    change = _KMH_OF_MPS * mean * events.duration_s
    return {
        "max": texts.decimals(greatest),
        "norm": texts.decimals(greatest / _MPS2_OF_NORM),
        "mean": texts.decimals(mean),
        "integral": texts.decimals(np.where(is_positive, change, -change)),
        "is positive": texts.at(_FLAGS, is_positive.astype(np.int64)),
    }


def _turn(events: Events) -> dict[str, pl.Series]:
    """A roundabout is right, left, right; a switch of lanes right and left."""
    count = _PEAKS[events.kind]
    turn, nth = owners(count)
    length = (events.end - events.start)[turn] // count[turn]
    start = events.start[turn] + nth * length
    is_positive = (events.kind[turn] == _LEFT) | (nth == 1)
    strength = (0.1 + 0.9 * fraction(events.drawn, 3))[turn] / count[turn]
    angle = _GREATEST_ANGLE_DEG * strength
    peaks = pl.DataFrame(
        {
            "start": texts.times_ms(start, events.offset[turn]),
            "end": texts.times_ms(start + length, events.offset[turn]),
            "duration": texts.decimals(length / 1000),
            "angle": texts.decimals(np.where(is_positive, angle, -angle)),
            "magnitude": texts.decimals(strength * 0.6),
            "is positive": texts.at(_FLAGS, is_positive.astype(np.int64)),
        }
    )
    return {
        "norm": texts.decimals(0.1 + 0.9 * fraction(events.drawn, 3)),
        "peaks": texts.joined(peaks.select(texts.filled(_OF_TURN_PEAK)).to_series(), turn, len(count)),
    }


def _traffic(events: Events) -> dict[str, pl.Series]:
    return {
        "intensity": texts.at(_INTENSITIES, choice(events.drawn, len(_INTENSITIES), 3)),
        "probability": texts.decimals(0.5 + 0.5 * fraction(events.drawn, 4), 2),
        "minutes": texts.integers((events.end - events.start) // _MINUTE_MS),
    }
