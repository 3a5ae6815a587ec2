"""When deliveries are due, how late a vendor is, and which deliveries are missing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_platform.contracts.deliveries import Delivery, Part, Placement, Role, StoredObject
from offload_platform.landing.punctuality import Punctuality, State, period_of, punctuality_of, schedule
from offload_platform.orchestration.partitions import partition_key_of
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

APP = "5a689ab0e97b960500002109"
CONTRACTS = vendor_named("sentiance").contracts
MakeFeed = Callable[..., Feed]
FIRST = datetime(2026, 3, 7, 15, tzinfo=UTC)
WEEK, DAY, HOUR = timedelta(weeks=1), timedelta(days=1), timedelta(hours=1)


@pytest.fixture(scope="module")
def weekly(feed_of: MakeFeed) -> Feed:
    """Due: a week after the stamp before, 21 hours to be published, 24 to settle. Late from 6, overdue from 36 h."""
    return feed_of("s3://offloads/acme", settle_hours=24, start=date(2026, 3, 7))


@pytest.fixture(scope="module")
def daily(feed_of: MakeFeed) -> Feed:
    """Due: a day after the data day before, 31 hours to be published. Late from 5, overdue from 24 h."""
    return feed_of("s3://offloads/acme", cadence={"driving": "daily", "mapping": "daily"}, start=date(2026, 3, 7))


def delivery(stamp: datetime, offload_type: str = "segments", because: str | None = None) -> Delivery:
    family = CONTRACTS[offload_type].family
    stored = StoredObject("key", 1, "etag", stamp)
    part = Part(stored, Placement("folder", stamp, family, APP, offload_type, Role.PART))
    return Delivery(f"{stamp}", stamp, family, APP, offload_type, (part,), because)


def judged(feed: Feed, stamps: list[datetime], now: datetime, offload_type: str = "segments") -> Punctuality:
    return punctuality_of(feed, CONTRACTS[offload_type], [delivery(s, offload_type) for s in stamps], now)


DUE = FIRST + WEEK + 21 * HOUR + 24 * HOUR


@pytest.mark.parametrize(
    ("after_due", "state", "hours_late", "words"),
    [
        (timedelta(hours=-1), State.ON_TIME, 0.0, "on time"),
        (timedelta(hours=5, minutes=59), State.ON_TIME, 5 + 59 / 60, "on time"),
        (timedelta(hours=6), State.LATE, 6.0, "late 6 h"),
        (timedelta(hours=7, minutes=54), State.LATE, 7.9, "late 7 h"),
        (timedelta(hours=36), State.OVERDUE, 36.0, "overdue 36 h"),
        (timedelta(hours=95), State.OVERDUE, 95.0, "overdue 3 d"),
    ],
)
def test_the_next_delivery_is_late_and_overdue_as_the_deadline_says(
    weekly: Feed, after_due: timedelta, state: State, hours_late: float, words: str
) -> None:
    said = judged(weekly, [FIRST], DUE + after_due)
    assert (said.newest, said.due, said.state, said.in_words) == (FIRST, DUE, state, words)
    assert said.hours_late == pytest.approx(hours_late)
    assert (said.is_late, said.is_overdue) == (state is not State.ON_TIME, state is State.OVERDUE)


def test_the_newest_complete_delivery_counts_and_no_other(weekly: Feed) -> None:
    found = [
        delivery(FIRST),
        delivery(FIRST + WEEK, because="segments lacks part 00001"),
        delivery(FIRST + WEEK, "moments"),
        delivery(FIRST - WEEK),
        delivery(FIRST + 52 * WEEK),
    ]
    said = punctuality_of(weekly, CONTRACTS["segments"], found, DUE + 7 * HOUR)
    assert (said.newest, said.state) == (FIRST, State.LATE), "of another type, before the start, or in the far future"


def test_before_the_first_delivery_the_start_of_the_feed_stands_for_it(weekly: Feed, daily: Feed) -> None:
    start = datetime(2026, 3, 7, tzinfo=UTC)
    for feed, offload_type, due in (
        (weekly, "segments", start + WEEK + 45 * HOUR),
        (daily, "scores_realtime", start + DAY + 31 * HOUR),
    ):
        patient = judged(feed, [], due, offload_type)
        assert (patient.state, patient.newest, patient.due) == (State.NEVER, None, due)
        assert (patient.is_late, patient.in_words) == (False, "never")
        assert judged(feed, [], due + 7 * HOUR, offload_type).is_late
        assert not judged(feed, [], due + 7 * HOUR, offload_type).is_overdue
        assert judged(feed, [], due + 40 * HOUR, offload_type).is_overdue


def test_the_deadlines_of_the_configuration_count(weekly: Feed, feed_of: MakeFeed) -> None:
    strict = feed_of(
        weekly.url, settle_hours=24, start=weekly.start, deadlines={"lifestyle": {"late_hours": 1, "overdue_hours": 2}}
    )
    assert judged(strict, [FIRST], DUE + 1.5 * HOUR).state is State.LATE
    assert judged(strict, [FIRST], DUE + 2 * HOUR).state is State.OVERDUE


def test_driving_days_that_are_not_there_are_missing(daily: Feed) -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in (8, 9, 12, 13, 15)]
    said = judged(daily, days, datetime(2026, 3, 16, tzinfo=UTC), "transports_realtime")
    assert said.missing == (date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 14)), "from the first delivery on"
    assert said.due == datetime(2026, 3, 17, 7, tzinfo=UTC)


def test_an_incomplete_delivery_leaves_its_period_missing(weekly: Feed) -> None:
    found = [delivery(FIRST), replace(delivery(FIRST + WEEK), incomplete_because="no"), delivery(FIRST + 2 * WEEK)]
    said = punctuality_of(weekly, CONTRACTS["segments"], found, FIRST + 2 * WEEK)
    assert said.missing == (date(2026, 3, 14),)


def test_a_job_that_slips_over_the_edge_of_a_week_makes_no_gap(weekly: Feed) -> None:
    """Friday evening and Sunday morning fall into the partitions before and after: nothing is missing."""
    stamps = [FIRST, FIRST + WEEK - 20 * HOUR, FIRST + 2 * WEEK + 18 * HOUR, FIRST + 3 * WEEK]
    assert len({period_of(weekly, "lifestyle", s) for s in stamps}) == 3
    assert judged(weekly, stamps, stamps[-1]).missing == ()


def test_a_register_is_judged_by_its_last_change(daily: Feed) -> None:
    changed = datetime(2026, 3, 10, 4, 30, tzinfo=UTC)
    said = judged(daily, [changed], changed + DAY + 6 * HOUR, "mapping")
    assert (said.newest, said.due, said.in_words) == (changed, changed + DAY, "late 6 h")
    assert judged(daily, [changed, changed + 5 * DAY], changed + 5 * DAY, "mapping").missing == ()


def test_the_schedule_follows_the_stamp_before(weekly: Feed) -> None:
    slipped, repeated, late = FIRST + WEEK + 2 * DAY, FIRST + WEEK + 3 * DAY, FIRST + 3 * WEEK
    published = 21 * HOUR
    assert [(e.stamp, e.due, e.found) for e in schedule(weekly, "lifestyle", [late, slipped, FIRST, repeated])] == [
        (FIRST, FIRST + published, (FIRST,)),
        (FIRST + WEEK, FIRST + WEEK + published, (slipped, repeated)),
        (slipped + WEEK, slipped + WEEK + published, ()),
        (slipped + 2 * WEEK, slipped + 2 * WEEK + published, (late,)),
    ]
    expected = schedule(weekly, "lifestyle", [FIRST], until=FIRST + 2 * WEEK + published)
    assert [(e.stamp, bool(e.found)) for e in expected] == [
        (FIRST, True),
        (FIRST + WEEK, False),
        (FIRST + 2 * WEEK, False),
    ]
    assert len(schedule(weekly, "lifestyle", [FIRST], until=FIRST + 2 * WEEK + published - HOUR)) == 2
    assert schedule(weekly, "lifestyle", [], until=FIRST + 52 * WEEK) == []


STAMPS = st.lists(st.integers(0, 100 * 24).map(lambda hours: FIRST + hours * HOUR), min_size=1, max_size=12)


@given(STAMPS)
def test_every_stamp_has_one_place_near_its_own_time(stamps: list[datetime]) -> None:
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url="s3://offloads/acme",
        app_id=APP,
        cadence={"lifestyle": "weekly"},
        start=date(2026, 3, 7),
    )
    expected = schedule(feed, "lifestyle", stamps)
    assert sorted(s for e in expected for s in e.found) == sorted(set(stamps))
    assert all(a.stamp < b.stamp for a, b in pairwise(expected))
    for e in expected:
        assert all(abs(found - e.stamp) <= WEEK for found in e.found)


@given(
    st.integers(0, 400 * 24 * 60).map(lambda minutes: datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)),
    st.sampled_from(["weekly", "daily"]),
    st.dates(date(2024, 12, 1), date(2025, 3, 1)),
)
def test_a_period_is_a_partition(stamp: datetime, cadence: str, start: date) -> None:
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url="s3://offloads/acme",
        app_id=APP,
        cadence={"lifestyle": cadence},
        start=start,
    )
    assert str(period_of(feed, "lifestyle", stamp)) == partition_key_of(feed, "lifestyle", stamp)
