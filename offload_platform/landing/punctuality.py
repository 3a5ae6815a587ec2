"""When a vendor's deliveries are due, and whether it keeps to that. No I/O: what was found comes in.

A delivery is due a period after the stamp of the one before it, and then as long as its family takes to be published.
A stamp less than half a period after the one before is a repetition, and is due at no time of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from offload_platform.contracts.contract import Content, Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import settle_period
from offload_platform.settings import Feed

_HALF = 0.5
_HOURS_OF_A_LONG_DELAY = 48


class State(StrEnum):
    """How a vendor stands with one offload type."""

    ON_TIME = "on time"
    LATE = "late"
    OVERDUE = "overdue"
    NEVER = "never delivered"


@dataclass(frozen=True)
class Punctuality:
    """How a feed's vendor stands with one offload type.

    `newest` is the stamp of the newest complete delivery, `due` when the next one should count as complete;
    `hours_late` are counted from there and are 0 before. From `late_from_hours` on it is late, from
    `overdue_from_hours` on overdue. `missing` are the dates of deliveries between the first and the newest complete one
    that are not there or not complete.
    """

    feed: str
    offload_type: str
    newest: datetime | None
    due: datetime
    hours_late: float
    late_from_hours: float
    overdue_from_hours: float
    missing: tuple[date, ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether the next delivery, or the first one, is late or overdue."""
        return self.hours_late >= self.late_from_hours

    @property
    def is_overdue(self) -> bool:
        """Whether the next delivery, or the first one, is overdue."""
        return self.hours_late >= self.overdue_from_hours

    @property
    def state(self) -> State:
        """The state in one word; a vendor that never delivered may yet have time (`is_late`)."""
        if self.newest is None:
            return State.NEVER
        if self.is_overdue:
            return State.OVERDUE
        return State.LATE if self.is_late else State.ON_TIME

    @property
    def in_words(self) -> str:
        """The state with how late it is, as `late 7 h` or `overdue 3 d`."""
        if self.newest is None:
            return "never"
        return f"{self.state} {self.delay_in_words}" if self.is_late else self.state.value

    @property
    def delay_in_words(self) -> str:
        """How late it is in hours, in minutes where it is short and in days where it is long; rounded down."""
        if self.hours_late < 1:
            return f"{int(self.hours_late * 60)} min"
        return (
            f"{int(self.hours_late)} h"
            if self.hours_late < _HOURS_OF_A_LONG_DELAY
            else f"{int(self.hours_late / 24)} d"
        )


@dataclass(frozen=True)
class Expected:
    """A delivery that was expected: its stamp by the rhythm, when it was due in the store, and the stamps found for it.

    Several stamps are found for one where the vendor has repeated it; none where it is missing.
    """

    stamp: datetime
    due: datetime
    found: tuple[datetime, ...]


def punctuality_of(feed: Feed, contract: Contract, deliveries: Iterable[Delivery], now: datetime) -> Punctuality:
    """Judge one offload type of a feed by the deliveries that its root holds.

    Before the first delivery the feed's start stands for the stamp of the one before. An object that is replaced in
    place is judged by its last change; which of its versions are missing cannot be told.
    """
    of_type = [d for d in deliveries if d.offload_type == contract.offload_type and d.is_complete]
    stamps = sorted({d.stamp for d in of_type if counts(feed, contract.family, d.stamp, now)})
    newest = stamps[-1] if stamps else None
    due = due_after(feed, contract.family, newest or _start(feed)) + settle_period(feed, contract.family)
    deadline = feed.deadline(contract.family)
    missing: tuple[date, ...] = ()
    if contract.content is not Content.REGISTER:
        missing = tuple(e.stamp.date() for e in schedule(feed, contract.family, stamps) if not e.found)
    hours_late = max((now - due) / timedelta(hours=1), 0.0)
    return Punctuality(
        *(feed.name, contract.offload_type, newest, due, hours_late),
        *(deadline.late_hours, deadline.overdue_hours, missing),
    )


def schedule(feed: Feed, family: str, stamps: Iterable[datetime], until: datetime | None = None) -> list[Expected]:
    """The deliveries that were expected, in order, from the first stamp to the newest.

    With `until`, also those after the newest that were due by then. The first delivery is expected at its own stamp.
    """
    period = feed.period(family)
    lateness = feed.layout.families[family].published_after
    expected: list[Expected] = []
    before: datetime | None = None
    for stamp in sorted(set(stamps)):
        if before is None:
            expected.append(Expected(stamp, stamp + lateness, (stamp,)))
        elif not (periods := int((stamp - before) / period + _HALF)):
            last = expected[-1]
            expected[-1] = Expected(last.stamp, last.due, (*last.found, stamp))
            continue
        else:
            due = [before + period * number for number in range(1, periods + 1)]
            expected += [Expected(d, d + lateness, ()) for d in due[:-1]]
            expected.append(Expected(due[-1], due[-1] + lateness, (stamp,)))
        before = stamp
    while until is not None and before is not None and (due_at := before + period + lateness) <= until:
        before += period
        expected.append(Expected(before, due_at, ()))
    return expected


def due_after(feed: Feed, family: str, stamp: datetime) -> datetime:
    """When the delivery after the one with this stamp is due in the store."""
    return stamp + feed.period(family) + feed.layout.families[family].published_after


def counts(feed: Feed, family: str, stamp: datetime, now: datetime) -> bool:
    """Whether a stamp is neither from before the feed's start nor so far ahead that it must be a mistake."""
    return _start(feed) <= stamp < now + feed.period(family)


def period_of(feed: Feed, family: str, stamp: datetime) -> date:
    """First day of the period that a stamp falls into, counted from the feed's start: the key of its partition."""
    period = feed.period(family)
    return feed.start + (stamp - _start(feed)) // period * period


def _start(feed: Feed) -> datetime:
    return datetime.combine(feed.start, time(), feed.zone)
