"""What the privacy report says: one measure a line, with its target."""

from dataclasses import dataclass
from enum import StrEnum


class Head(StrEnum):
    """What a measure is about: the three tests of the Opinion 05/2014 on anonymisation, and what is beside them."""

    CANARIES = "canaries"
    SINGLING_OUT = "singling out"
    LINKABILITY = "linkability"
    INFERENCE = "inference"
    KEY = "key"
    UTILITY = "utility"
    CONTROL = "control"
    """The same attack on rows as they were delivered: where it does not succeed there, it proves nothing."""


class Unit(StrEnum):
    """What a value is."""

    SHARE = "share"
    COUNT = "count"
    KM = "km"
    POINTS = "points"
    """Hundredths of a share."""
    CORRELATION = "correlation"


@dataclass(frozen=True)
class Measure:
    """What was measured of what, the target in words, and whether it is met; some measures have none."""

    head: Head
    what: str
    of: str
    value: float
    unit: Unit = Unit.SHARE
    target: str = ""
    is_met: bool | None = None


def at_most(head: Head, what: str, of: str, value: float, most: float, unit: Unit = Unit.SHARE) -> Measure:
    """A measure that must not exceed something."""
    return Measure(head, what, of, value, unit, f"≤ {most:g}", value <= most)


def at_least(head: Head, what: str, of: str, value: float, least: float, unit: Unit = Unit.SHARE) -> Measure:
    """A measure that must reach something."""
    return Measure(head, what, of, value, unit, f"≥ {least:g}", value >= least)
