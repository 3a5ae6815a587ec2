"""Slots: the moments at which files are due. They divide each day, from midnight on, in the time zone of the names.

A slot is known by its end, in UTC. A change of the frequency takes effect at the next end under the old one, so that
between the slots before and those after nothing is left out and nothing is double.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_NAME = "%Y-%m-%d-%H-%M"


@dataclass(frozen=True)
class Cadence:
    """Minutes from slot to slot, for the slots after a moment (UTC)."""

    after: datetime
    minutes: int


def slot_before(moment: datetime, minutes: int, zone: ZoneInfo) -> datetime:
    """The last slot at or before a moment."""
    local = moment.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    step = timedelta(minutes=minutes)
    return (midnight + (local - midnight) // step * step).astimezone(UTC)


def slot_after(cadences: Sequence[Cadence], moment: datetime, zone: ZoneInfo) -> datetime:
    """The first slot after a moment; `cadences` are in the order of their times."""
    moment = max(moment, cadences[0].after)
    minutes = next(c.minutes for c in reversed(cadences) if c.after <= moment)
    return slot_before(moment, minutes, zone) + timedelta(minutes=minutes)


def newest_slot(cadences: Sequence[Cadence], moment: datetime, zone: ZoneInfo) -> datetime | None:
    """The last slot at or before a moment; None where there was none yet."""
    known = [c for c in cadences if c.after < moment]
    if not known:
        return None
    slot = max(slot_before(moment, known[-1].minutes, zone), known[-1].after)
    return slot if slot > cadences[0].after else None


def changed(cadences: Sequence[Cadence], now: datetime, minutes: int, zone: ZoneInfo) -> list[Cadence]:
    """The cadences when the frequency is changed now: the slot that is open ends as it would have."""
    until = slot_after(cadences, now - timedelta(microseconds=1), zone)
    kept = [c for c in cadences if c.after < until]
    return kept if kept[-1].minutes == minutes else [*kept, Cadence(until, minutes)]


def name_of(slot: datetime, zone: ZoneInfo) -> str:
    """The name of a slot's file, without ending: `YYYY-MM-DD-hh-mm`."""
    return slot.astimezone(zone).strftime(_NAME)


def slot_named(name: str, zone: ZoneInfo) -> datetime:
    """The slot of a name. Raises ValueError where it is none."""
    return datetime.strptime(name, _NAME).replace(tzinfo=zone).astimezone(UTC)


def key_of(slot: datetime, directory: str, zone: ZoneInfo) -> str:
    """The key of a slot's object in the bucket."""
    return f"{directory}/{slot.astimezone(zone):%Y/%m/%d}/{name_of(slot, zone)}.csv.gz"
