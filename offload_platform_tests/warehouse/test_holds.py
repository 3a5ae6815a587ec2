"""A delivery that would take back too much is held, until the next one confirms it or somebody decides."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.settings import Feed
from offload_platform.thresholds import CheckThresholds, WithdrawalThreshold
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.holds import Decision, Held, NotHeld, decide, held_deliveries
from offload_platform.warehouse.merge import merge

from ..conftest import APP_ID
from .by_hand import ByHand, at

ANN = "a" * 24
STAMPS = [at("03-07T15:00") + timedelta(weeks=week) for week in range(4)]
TRIPS = 40
LIMIT = WithdrawalThreshold(hold_above=0.25, hold_from=5)
FEED = Feed(
    name="acme",
    vendor="sentiance",
    url="file:///nowhere",
    app_id=APP_ID,
    start=date(2026, 3, 1),
    cadence={"lifestyle": "weekly"},
    checks=CheckThresholds(withdrawals=LIMIT),
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def hand(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> ByHand:
    return ByHand(connection, tmp_path)


def trips(numbers: Sequence[int], mode: str = "car") -> list[dict[str, Any]]:
    first = at("03-01T00:00")
    return [{"user_id": ANN, "start_at": first + timedelta(hours=n), "mode": mode} for n in numbers]


def deliver(hand: ByHand, week: int, held: Sequence[int], mode: str = "car") -> None:
    hand.deliver("transports", STAMPS[week], trips(held, mode))


def merged(hand: ByHand) -> tuple[int, list[datetime]]:
    """How many trips hold, and the stamps of the deliveries that are held."""
    merge(hand.connection, [FEED])
    [(trips_now,)] = hand.connection.execute("SELECT count(*) FROM sentiance.transports").fetchall()
    return trips_now, [held.stamp for held in held_deliveries(hand.connection)]


def test_what_is_cut_short_is_held_and_what_comes_back_leaves_it_aside(hand: ByHand) -> None:
    deliver(hand, 0, range(TRIPS))
    assert merged(hand) == (TRIPS, [])
    deliver(hand, 1, range(TRIPS // 2), mode="bus")
    assert merged(hand) == (TRIPS, [STAMPS[1]])
    assert held_deliveries(hand.connection) == [Held("acme", "sentiance", "transports", STAMPS[1], TRIPS, TRIPS // 2)]
    assert hand.connection.execute("SELECT DISTINCT mode FROM sentiance.transports").fetchall() == [("car",)]
    assert hand.connection.execute("SELECT count(*) FROM delivered.transports").fetchall() == [(TRIPS * 3 // 2,)]
    deliver(hand, 2, range(TRIPS))
    assert merged(hand) == (TRIPS, [STAMPS[1]])
    deliver(hand, 1, range(TRIPS))
    assert merged(hand) == (TRIPS, []), "what is delivered anew is judged anew"


def test_the_next_delivery_confirms(hand: ByHand) -> None:
    deliver(hand, 0, range(TRIPS))
    deliver(hand, 1, range(TRIPS // 2))
    assert merged(hand) == (TRIPS, [STAMPS[1]])
    deliver(hand, 2, range(TRIPS // 2 + 1))
    assert merged(hand) == (TRIPS // 2 + 1, [])
    kinds = "SELECT known_from, count(*) FROM history.transports WHERE change_kind = 'deleted' GROUP BY ALL ORDER BY 1"
    assert hand.connection.execute(kinds).fetchall() == [(STAMPS[1], TRIPS // 2)]
    deliver(hand, 3, range(3))
    assert merged(hand) == (TRIPS // 2 + 1, [STAMPS[3]]), "and what it says after that is judged by itself"


@pytest.mark.parametrize(("share", "is_held"), [(9, False), (10, False), (11, True)])
def test_the_limit_itself_is_allowed(hand: ByHand, share: int, is_held: bool) -> None:
    deliver(hand, 0, range(TRIPS))
    deliver(hand, 1, range(share, TRIPS))
    assert merged(hand) == ((TRIPS, [STAMPS[1]]) if is_held else (TRIPS - share, []))


def test_few_are_never_held(hand: ByHand) -> None:
    deliver(hand, 0, range(5))
    deliver(hand, 1, range(4, 5))
    assert merged(hand) == (1, [])
    deliver(hand, 2, range(6, 20))
    deliver(hand, 3, range(19, 20))
    assert merged(hand)[1] == [STAMPS[3]]


def test_somebody_releases_rejects_and_thinks_again(hand: ByHand) -> None:
    deliver(hand, 0, range(TRIPS))
    deliver(hand, 1, range(TRIPS // 2))
    assert merged(hand) == (TRIPS, [STAMPS[1]])
    decide(hand.connection, "acme", "transports", STAMPS[1].date(), Decision.RELEASED)
    assert merged(hand) == (TRIPS // 2, [])
    decide(hand.connection, "acme", "transports", STAMPS[1].date(), Decision.REJECTED)
    assert merged(hand) == (TRIPS, [])
    deliver(hand, 2, range(TRIPS // 2))
    assert merged(hand) == (TRIPS, [STAMPS[2]]), "what was rejected confirms nothing"
    with pytest.raises(NotHeld, match=r"acme transports 2026-03-07 is not held\. Held are: acme transports 2026-03-21"):
        decide(hand.connection, "acme", "transports", STAMPS[0].date(), Decision.RELEASED)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_the_order_of_loads_does_not_matter(hand: ByHand, order: Sequence[int]) -> None:
    held = [range(TRIPS), range(TRIPS // 2), range(TRIPS), range(10)]
    for week in order:
        deliver(hand, week, held[week])
        merged(hand)
    assert merged(hand) == (TRIPS, [STAMPS[1], STAMPS[3]])


def test_other_feeds_have_the_usual_limits(hand: ByHand) -> None:
    deliver(hand, 0, range(TRIPS))
    deliver(hand, 1, range(1))
    merge(hand.connection)
    assert held_deliveries(hand.connection) == []
