"""The vendor scorecard: for each delivery that was expected, what came of it and when; and totals of them.

What is loaded comes from the published file, what waits or lies there incomplete from a listing of the feed's root.
It holds counts, times and names of folders: nothing of any row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from statistics import median

import duckdb

from offload_platform.contracts.contract import Content, Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import Discovery
from offload_platform.landing.punctuality import Expected, counts, due_after, period_of, schedule
from offload_platform.settings import Feed
from offload_platform.warehouse.accounts import Account, account_of


class Outcome(StrEnum):
    """What became of an expected delivery."""

    LOADED = "loaded"
    NOT_LOADED = "not loaded"
    """It is complete in the store, and not in the published file."""
    REPLACED = "replaced"
    """A newer delivery of the same partition counts."""
    INCOMPLETE = "incomplete"
    MISSING = "missing"
    AWAITED = "awaited"
    """It was due, and is not overdue yet."""
    NOT_KNOWN = "not known"
    """It is not loaded, and the feed's root could not be listed."""


_DELIVERED = (Outcome.LOADED, Outcome.NOT_LOADED, Outcome.REPLACED)


@dataclass(frozen=True)
class ScoredDelivery:
    """One expected delivery of one offload type. Times are UTC, sizes bytes as stored.

    `expected_at` is the stamp that it should have had, `due` when it should have been complete in the store; null for a
    repetition. `hours_late` counts from there to the first complete version. `is_on_time` is null while it is open.
    `redeliveries` are versions of its partition that were loaded after the first. `compared` are the events of the
    deliveries before that it could have repeated, `withdrawn` those that it lacks; null where nothing can be compared.
    """

    feed: str
    offload_type: str
    expected_at: datetime
    outcome: Outcome
    stamp: datetime | None = None
    folder: str | None = None
    due: datetime | None = None
    arrived_at: datetime | None = None
    hours_late: float | None = None
    is_on_time: bool | None = None
    parts: int | None = None
    bytes: int | None = None
    rows_in: int | None = None
    rows_loaded: int | None = None
    rows_quarantined: int | None = None
    drift: int | None = None
    redeliveries: int = 0
    incomplete_folders: int = 0
    compared: int | None = None
    withdrawn: int | None = None
    remark: str | None = None


@dataclass(frozen=True)
class Totals:
    """Totals of the deliveries of one offload type, or of one month of them. Shares are between 0 and 1.

    `on_time_share` is of the deliveries whose punctuality is known; one that is missing or incomplete was not on time.
    """

    feed: str
    offload_type: str
    month: str | None
    expected: int
    delivered: int
    on_time_share: float | None
    median_hours_late: float | None
    worst_hours_late: float | None
    missing: int
    incomplete_folders: int
    redeliveries: int
    bytes: int
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    quarantined_share: float | None
    drift: int
    compared: int
    withdrawn: int
    withdrawn_share: float | None


def score(
    connection: duckdb.DuckDBPyConnection | None,
    feed: Feed,
    contract: Contract,
    found: Discovery | None,
    now: datetime,
    first: date | None = None,
    last: date | None = None,
) -> list[ScoredDelivery]:
    """Score one offload type of a feed, oldest delivery first; `first` and `last` bound the stamps.

    `connection` reads the published file; None where nothing is published. `found` are the deliveries below the feed's
    root, judged without a settle period; None where it could not be listed.
    """
    begin, end = _bounds(first, last)
    account = account_of(connection, feed.name, contract) if connection else Account()
    listing = [] if found is None else found.of_type(contract.offload_type)
    listing = [d for d in listing if counts(feed, contract.family, d.stamp, now)]
    scored = _Scoring(feed, contract, account, listing, found is not None, now).scored()
    return [
        s
        for s in scored
        if (begin is None or (s.stamp or s.expected_at) >= begin) and (end is None or (s.stamp or s.expected_at) < end)
    ]


def totals(deliveries: Sequence[ScoredDelivery], by_month: bool = False) -> list[Totals]:
    """Totals by feed and offload type, in the order given; or by month of the expected stamp as well."""
    groups: dict[tuple[str, str, str | None], list[ScoredDelivery]] = {}
    for delivery in deliveries:
        month = f"{delivery.expected_at:%Y-%m}" if by_month else None
        groups.setdefault((delivery.feed, delivery.offload_type, month), []).append(delivery)
    return [_total(*of, group) for of, group in groups.items()]


def worst(deliveries: Iterable[ScoredDelivery]) -> list[ScoredDelivery]:
    """Deliveries that were not on time: those that never came first, then by hours late."""
    late = [d for d in deliveries if d.is_on_time is False]
    return sorted(late, key=lambda d: (d.hours_late is None, d.hours_late or 0.0, d.expected_at), reverse=True)


def _total(feed: str, offload_type: str, month: str | None, group: Sequence[ScoredDelivery]) -> Totals:
    judged = [d.is_on_time for d in group if d.is_on_time is not None]
    late = [d.hours_late for d in group if d.hours_late is not None]
    rows_in, quarantined = sum(d.rows_in or 0 for d in group), sum(d.rows_quarantined or 0 for d in group)
    compared, withdrawn = sum(d.compared or 0 for d in group), sum(d.withdrawn or 0 for d in group)
    return Totals(
        feed=feed,
        offload_type=offload_type,
        month=month,
        expected=len(group),
        delivered=sum(d.outcome in _DELIVERED for d in group),
        on_time_share=_share(sum(judged), len(judged)),
        median_hours_late=median(late) if late else None,
        worst_hours_late=max(late, default=None),
        missing=sum(d.outcome is Outcome.MISSING for d in group),
        incomplete_folders=sum(d.incomplete_folders for d in group),
        redeliveries=sum(d.redeliveries for d in group),
        bytes=sum(d.bytes or 0 for d in group),
        rows_in=rows_in,
        rows_loaded=sum(d.rows_loaded or 0 for d in group),
        rows_quarantined=quarantined,
        quarantined_share=_share(quarantined, rows_in),
        drift=sum(d.drift or 0 for d in group),
        compared=compared,
        withdrawn=withdrawn,
        withdrawn_share=_share(withdrawn, compared),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class _Scoring:
    """Brings together what was expected, what is loaded and what lies in the store."""

    def __init__(
        self,
        feed: Feed,
        contract: Contract,
        account: Account,
        listing: Sequence[Delivery],
        is_listed: bool,
        now: datetime,
    ) -> None:
        self._feed = feed
        self._contract = contract
        self._account = account
        self._is_listed = is_listed
        self._now = now
        self._deadline = feed.deadline(contract.family)
        # Of several folders with one stamp, the one that counts is taken last.
        self._complete = {d.stamp: d for d in sorted(listing, key=lambda d: d.rank) if d.is_complete}
        self._incomplete = {d.folder: d for d in listing if not d.is_complete}
        whole = {d.folder for d in listing if d.is_complete} | {x.folder for x in account.loaded.values()}
        self._unfinished = {f: s for f, s in account.incomplete.items() if f not in whole} | {
            folder: d.stamp for folder, d in self._incomplete.items()
        }

    def scored(self) -> list[ScoredDelivery]:
        family, account = self._contract.family, self._account
        stamps = {*account.loaded, *account.superseded, *self._complete, *self._unfinished.values()}
        expected = schedule(self._feed, family, stamps, until=self._now)
        if not expected and (due := due_after(self._feed, family, self._start)) <= self._now:
            expected = [Expected(self._start, due, ())]
        if self._contract.content is Content.REGISTER:
            # Versions that nobody has seen cannot be told from versions that never were.
            newest = max(stamps, default=self._start)
            expected = [e for e in expected if e.found or e.stamp > newest or not stamps]
        return [scored for e in expected for scored in self._scored(e)]

    @property
    def _start(self) -> datetime:
        return datetime.combine(self._feed.start, time(), UTC)

    def _scored(self, expected: Expected) -> list[ScoredDelivery]:
        unfinished = [folder for folder, stamp in self._unfinished.items() if stamp in expected.found]
        loaded = [stamp for stamp in expected.found if stamp in self._account.loaded]
        if loaded:
            rows = [self._loaded(expected, stamp) for stamp in loaded]
        elif whole := [s for s in expected.found if s in self._complete or s in self._account.superseded]:
            rows = [self._not_loaded(expected, whole[-1])]
        else:
            rows = [self._open(expected, unfinished)]
        judged = self._judged(rows[0], expected)
        return [replace(judged, incomplete_folders=len(unfinished)), *rows[1:]]

    def _loaded(self, expected: Expected, stamp: datetime) -> ScoredDelivery:
        found = self._account.loaded[stamp]
        taken_back = self._account.withdrawals.get(stamp)
        is_register = self._contract.content is Content.REGISTER
        return replace(
            self._scorable(expected, Outcome.LOADED),
            stamp=stamp,
            folder=found.folder,
            arrived_at=self._arrival(stamp),
            parts=found.parts,
            bytes=found.bytes,
            rows_in=found.rows_in,
            rows_loaded=found.rows_loaded,
            rows_quarantined=found.rows_quarantined,
            drift=self._account.drift.get(stamp, 0),
            # Each version of a register is a delivery of its own, and so is each that adds up.
            redeliveries=0
            if is_register or self._feed.adds_up(self._contract.family)
            else max(self._account.versions.get(found.partition, 1) - 1, 0),
            compared=taken_back.compared if taken_back else None,
            withdrawn=taken_back.withdrawn if taken_back else None,
        )

    def _not_loaded(self, expected: Expected, stamp: datetime) -> ScoredDelivery:
        period = period_of(self._feed, self._contract.family, stamp)
        newer = [s for s in (*self._account.loaded, *self._complete) if s > stamp]
        stays = self._contract.content is Content.REGISTER or self._feed.adds_up(self._contract.family)
        is_replaced = not stays and any(period_of(self._feed, self._contract.family, s) == period for s in newer)
        delivery = self._complete.get(stamp)
        return replace(
            self._scorable(expected, Outcome.REPLACED if is_replaced else Outcome.NOT_LOADED),
            stamp=stamp,
            folder=delivery.folder if delivery else None,
            arrived_at=self._arrival(stamp),
            parts=len(delivery.parts) if delivery else None,
            bytes=delivery.size if delivery else None,
        )

    def _open(self, expected: Expected, unfinished: Sequence[str]) -> ScoredDelivery:
        overdue_at = expected.due + timedelta(hours=self._deadline.overdue_hours)
        because = {self._incomplete[f].incomplete_because for f in unfinished if f in self._incomplete}
        if not self._is_listed:
            outcome = Outcome.NOT_KNOWN
        elif self._now < overdue_at:
            outcome = Outcome.AWAITED
        else:
            outcome = Outcome.INCOMPLETE if unfinished else Outcome.MISSING
        return replace(
            self._scorable(expected, outcome),
            stamp=expected.found[0] if expected.found else None,
            folder=unfinished[0] if unfinished else None,
            remark="; ".join(sorted(b for b in because if b)) or None,
        )

    def _scorable(self, expected: Expected, outcome: Outcome) -> ScoredDelivery:
        return ScoredDelivery(self._feed.name, self._contract.offload_type, expected.stamp, outcome)

    def _judged(self, row: ScoredDelivery, expected: Expected) -> ScoredDelivery:
        if row.outcome in (Outcome.MISSING, Outcome.INCOMPLETE):
            return replace(row, due=expected.due, is_on_time=False)
        arrivals = [a for stamp in expected.found if (a := self._arrival(stamp)) is not None]
        if row.outcome not in _DELIVERED or not arrivals:
            return replace(row, due=expected.due)
        late = max((min(arrivals) - expected.due) / timedelta(hours=1), 0.0)
        return replace(
            row,
            due=expected.due,
            arrived_at=min(arrivals),
            hours_late=late,
            is_on_time=late < self._deadline.late_hours,
        )

    def _arrival(self, stamp: datetime) -> datetime | None:
        """When the first complete version came, as far back as is known."""
        if stamp in self._account.arrivals:
            return self._account.arrivals[stamp]
        if stamp in self._complete:
            return self._complete[stamp].arrived_at
        return self._account.loaded[stamp].changed_at if stamp in self._account.loaded else None


def _bounds(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    begin = datetime.combine(first, time(), UTC) if first else None
    end = datetime.combine(last, time(), UTC) + timedelta(days=1) if last else None
    return begin, end
