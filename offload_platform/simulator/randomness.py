"""Random numbers that are a pure function of their keys, so any part of the simulation can be made alone."""

import uuid
from enum import IntEnum, auto

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]

_ALL_BITS = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


class Purpose(IntEnum):
    """What a number is drawn for; two purposes never share numbers."""

    USER_ID = auto()
    CLIENT_ID = auto()
    HOME = auto()
    TRAITS = auto()
    PLACE = auto()
    VENUE = auto()
    STREET = auto()
    DAY_PLAN = auto()
    TRIP = auto()
    TRIP_FATE = auto()
    STAY_FATE = auto()
    LOCATION_MOMENT = auto()
    PRESENCE = auto()
    SEGMENT = auto()
    SEGMENT_REPEAT = auto()
    ATTRIBUTE = auto()
    JOB = auto()
    FAULT = auto()
    FIRST_FAULT = auto()
    PROCESSING = auto()
    RERUN = auto()
    SESSION = auto()
    DRIVE_ID = auto()
    DRIVE_SCORE = auto()
    USER_SCORE = auto()
    WEATHER = auto()
    BEHAVIOUR = auto()
    ROAD = auto()
    DRIVING_FOLDER = auto()
    DRIVING_JOB = auto()
    LINK = auto()


def draw(seed: int, purpose: Purpose, *keys: int | npt.NDArray[np.integer]) -> Bits:
    """64 random bits for each combination of keys; arrays broadcast against each other.

    The keys are taken in one after the other by the mixing function of splitmix64, so the order of keys matters.
    """
    state = np.asarray([_mixed_integer(_mixed_integer(seed) ^ purpose)], dtype=np.uint64)
    for key in keys:
        state = _mixed(state ^ np.asarray(key).astype(np.uint64))
    return state


def fraction(bits: Bits, turn: int = 0) -> Numbers:
    """A number in [0, 1) from drawn bits; each `turn` gives another number from the same bits."""
    mixed = _mixed(bits + np.uint64(turn)) if turn else bits
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choice(bits: Bits, count: int | npt.NDArray[np.integer], turn: int = 0) -> Integers:
    """A whole number in [0, count) from drawn bits."""
    return (fraction(bits, turn) * count).astype(np.int64)


def drawn_uuid(seed: int, purpose: Purpose, *keys: int) -> uuid.UUID:
    """A random UUID."""
    high, low = (int(draw(seed, purpose, *keys, half)[0]) for half in (0, 1))
    return uuid.UUID(int=high << 64 | low, version=4)


def _mixed(state: Bits) -> Bits:
    state = state + np.uint64(_STEP)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


def _mixed_integer(state: int) -> int:
    state = (state + _STEP) & _ALL_BITS
    state = ((state ^ (state >> 30)) * _FIRST) & _ALL_BITS
    state = ((state ^ (state >> 27)) * _SECOND) & _ALL_BITS
    return state ^ (state >> 31)
