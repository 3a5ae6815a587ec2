"""What a vendor has taken back: worked examples, delivered by hand, and a count by other means."""

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.accounts import Withdrawals, account_of
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.merge import merge

from .by_hand import ByHand

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
HEADER = "user_id,metadata_user_id,start,end,mode,distance,waypoints"
CONTRACTS = vendor_named("sentiance").contracts
Make = Callable[..., Any]


def trip(user: str, start: str, mode: str = "car") -> str:
    """A movement of 2026 that starts at month-day hour:minute and takes five minutes."""
    begin = datetime.fromisoformat(f"2026-{start}:00+00:00")
    return f"{user},,{begin.isoformat()},{(begin + timedelta(minutes=5)).isoformat()},{mode},900,"


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    return feed_of(vendor_folder.url, types=("transports",), start=date(2026, 3, 7))


@pytest.fixture
def withdrawn(vendor_folder: Any, warehouse: Any, feed: Feed, partition: Make) -> Make:
    """Delivers and loads weekly snapshots of transports, in any order; says what each has taken back, by day."""

    def count(snapshots: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
        for day, rows in snapshots.items():
            vendor_folder.part(f"2026-{day}T15:00:00+00:00", rows, offload_type="transports", header=HEADER)
            warehouse.load(feed, partition(f"2026-{day}", "transports"))
        with warehouse.writing() as connection:
            merge(connection)
            found = account_of(connection, "acme", CONTRACTS["transports"]).withdrawals
        return {f"{stamp:%m-%d}": (w.compared, w.withdrawn) for stamp, w in found.items()}

    return count


def test_slide_out_correction_and_withdrawal(withdrawn: Make) -> None:
    """Of three trips one has left the window, one came back as another mode, and one is gone."""
    assert withdrawn(
        {
            "03-07": [trip(ANN, "01-04T08:00"), trip(ANN, "03-01T08:00", "bus"), trip(ANN, "03-05T18:00")],
            "03-14": [trip(ANN, "03-01T08:00", "tram")],
            "03-21": [trip(ANN, "03-01T08:00", "tram"), trip(ANN, "03-20T07:00", "walking")],
        }
    ) == {"03-14": (2, 1), "03-21": (1, 0)}


def test_an_absent_user_withdraws_nothing_until_it_is_back(withdrawn: Make) -> None:
    snapshots = {
        "03-07": [trip(BEN, "03-01T08:00"), trip(BEN, "03-02T08:00")],
        "03-14": [trip(ANN, "03-10T08:00")],
    }
    assert withdrawn(snapshots) == {}
    back = {"03-21": [trip(BEN, "03-01T08:00"), trip(ANN, "03-10T08:00")]}
    assert withdrawn(snapshots | back) == {"03-21": (3, 1)}


def test_another_start_is_another_event(withdrawn: Make) -> None:
    assert withdrawn(
        {
            "03-07": [trip(CID, "03-06T08:00")],
            "03-14": [trip(CID, "03-06T08:03", "walking"), trip(CID, "03-06T08:09")],
        }
    ) == {"03-14": (1, 1)}


def test_the_edge_of_the_window_is_not_judged(withdrawn: Make) -> None:
    """The window of 03-21 begins on 01-17 at 15:00; a day from there is left to the vendor."""
    assert withdrawn(
        {
            "03-07": [trip(ANN, "01-17T14:00"), trip(ANN, "01-18T10:00"), trip(ANN, "01-18T16:00")],
            "03-21": [trip(ANN, "03-20T07:00")],
        }
    ) == {"03-21": (1, 1)}


def test_the_order_of_loads_does_not_matter(withdrawn: Make) -> None:
    """A week that comes late changes what the weeks after it could have repeated."""
    last = {"03-21": [trip(ANN, "03-20T08:00")]}
    first = {"03-07": [trip(ANN, "03-01T08:00"), trip(ANN, "03-02T08:00")]}
    assert withdrawn(last | first) == {"03-21": (2, 2)}
    assert withdrawn({"03-14": [trip(ANN, "03-02T08:00")]}) == {"03-14": (2, 1), "03-21": (1, 1)}


def test_what_may_lie_in_quarantine_is_not_called_withdrawn(withdrawn: Make) -> None:
    broken = trip(ANN, "03-02T08:00").replace(",900,", ",far,")
    assert withdrawn(
        {
            "03-07": [trip(ANN, "03-01T08:00"), trip(ANN, "03-02T08:00"), trip(BEN, "03-02T08:00")],
            "03-14": [trip(ANN, "03-01T08:00"), broken, trip(BEN, "03-03T08:00")],
        }
    ) == {"03-14": (1, 1)}


def test_presence_is_shown_by_a_stay_as_well_and_by_nothing_else(hand: ByHand) -> None:
    """Ann has no trip in the second snapshot, and a stay; Ben has a moment alone."""
    fill(hand, "transports", {1: {(ANN, 0), (BEN, 0)}, 2: set()})
    fill(hand, "stationaries", {2: {(ANN, 30)}})
    fill(hand, "moments", {1: {(ANN, 0), (BEN, 0)}, 2: {(BEN, 30)}})
    assert counted(hand, "transports") == {2: Withdrawals(1, 1)}
    assert counted(hand, "moments") == {2: Withdrawals(1, 1)}


def test_without_a_witness_nothing_is_withdrawn(hand: ByHand) -> None:
    fill(hand, "moments", {1: {(ANN, 0)}, 2: set()})
    assert counted(hand, "moments") == {}


def test_a_moment_without_a_place_is_the_same_moment(hand: ByHand) -> None:
    """Its key holds a null."""
    fill(hand, "stationaries", {1: {(ANN, 0)}, 2: {(ANN, 0)}})
    fill(hand, "moments", {1: {(ANN, 0)}, 2: {(ANN, 0)}})
    assert counted(hand, "moments") == {2: Withdrawals(1, 0)}


def test_increments_take_nothing_back(hand: ByHand) -> None:
    for offload_type in ("scores_realtime", "transports_realtime"):
        fill(hand, offload_type, {1: {(ANN, 0)}, 2: {(ANN, 1)}})
        assert counted(hand, offload_type) == {}


def test_links_that_are_gone_from_the_mapping(vendor_folder: Any, warehouse: Any, feed_of: Make) -> None:
    """Of three links one stays, one is gone, one has another id of the client; a new one counts for nothing."""
    feed = feed_of(vendor_folder.url, cadence={"mapping": "daily"}, start=date(2026, 3, 1))
    contract = CONTRACTS["mapping"]
    file = vendor_folder.root / "_mapping" / "user_external.csv"
    file.parent.mkdir()
    versions = (
        (1, [f"{ANN},x1", f"{BEN},x2", f"{CID},x3"]),
        (2, [f"{ANN},x1", f"{CID},x4", f"{'d' * 24},x5"]),
        (3, [f"{ANN},x1", f"{CID},x4"]),
    )
    for day, rows in versions:
        file.write_text("\n".join(["user_id,external_id", *rows, ""]))
        changed = datetime(2026, 3, day, 4, tzinfo=UTC).timestamp()
        os.utime(file, (changed, changed))
        start = datetime(2026, 3, day, tzinfo=UTC)
        warehouse.load(feed, Partition("acme", contract, f"2026-03-{day:02d}", start, start + timedelta(days=1)))
    with warehouse.writing() as connection:
        merge(connection)
        found = account_of(connection, "acme", contract).withdrawals
    assert {stamp.day: w for stamp, w in found.items()} == {2: Withdrawals(3, 2), 3: Withdrawals(3, 1)}


WEEK_0 = datetime(2026, 3, 7, 15, tzinfo=UTC)


def stamp_of(week: int) -> datetime:
    return WEEK_0 + timedelta(weeks=week)


def fill(hand: ByHand, offload_type: str, snapshots: dict[int, set[tuple[str, int]]]) -> None:
    """Deliver snapshots by week: events of users by their day before (or after) the first week's stamp."""
    what = {"moments": {"moment_id": "asleep"}}.get(offload_type, {})
    has_start = "start_at" in CONTRACTS[offload_type].columns
    for week, events in snapshots.items():
        rows = [
            {"user_id": user, **({"start_at": WEEK_0 + timedelta(days=day)} if has_start else {}), **what}
            for user, day in sorted(events)
        ]
        hand.deliver(offload_type, stamp_of(week), rows)


def counted(hand: ByHand, offload_type: str) -> dict[int, Withdrawals]:
    merge(hand.connection)
    found = account_of(hand.connection, hand.feed, CONTRACTS[offload_type]).withdrawals
    return {(stamp - WEEK_0) // timedelta(weeks=1): w for stamp, w in found.items()}


SNAPSHOTS = st.dictionaries(
    st.integers(0, 12),
    st.sets(st.tuples(st.sampled_from([ANN, BEN]), st.integers(-70, 90)), max_size=8),
    max_size=5,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def hand(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> ByHand:
    return ByHand(connection, tmp_path, uuid.uuid4().hex)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SNAPSHOTS)
def test_the_count_is_that_of_a_walk_through_each_users_snapshots(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, snapshots: dict[int, set[tuple[str, int]]]
) -> None:
    hand = ByHand(connection, tmp_path, uuid.uuid4().hex)
    fill(hand, "transports", snapshots)
    expected: dict[int, list[int]] = {}
    for user in (ANN, BEN):
        known: set[int] = set()
        for week in sorted(snapshots):
            held = {day for other, day in snapshots[week] if other == user}
            for day in sorted(known) if held else ():
                if stamp_of(week) - (WEEK_0 + timedelta(days=day)) <= timedelta(days=62):
                    tally = expected.setdefault(week, [0, 0])
                    tally[0] += 1
                    tally[1] += day not in held
                    known -= {day} - held
            known |= held
    assert counted(hand, "transports") == {week: Withdrawals(*tally) for week, tally in expected.items()}
