"""Driving deliveries: judged by the marker of each type folder; the folder with the newest marker counts."""

from datetime import UTC, date, datetime, timedelta

import pytest

from offload_platform.contracts.deliveries import StoredObject
from offload_platform.landing.deliveries import choose, discover
from offload_platform.settings import Feed

APP = "5a689ab0e97b960500002109"
FIRST, SECOND = (f"2026_03_10_{digit * 8}-1111-2222-3333-{digit * 12}" for digit in "ab")
DAY = datetime(2026, 3, 10, tzinfo=UTC)
FEED = Feed(
    name="acme",
    vendor="sentiance",
    url="file:///nowhere",
    app_id=APP,
    cadence={"driving": "daily"},
    start=date(2026, 3, 1),
)


def stored(folder: str, name: str, hours: float, offload_type: str = "scores_realtime") -> StoredObject:
    key = f"{folder}/{APP}/{offload_type}.{APP}.csv/{name}"
    return StoredObject(key, 0 if name == "_SUCCESS" else 10, "e", DAY + timedelta(hours=hours))


def test_a_type_is_complete_with_its_own_marker_and_at_once() -> None:
    listing = [
        stored(FIRST, "part-00000.csv.gz", 28),
        stored(FIRST, "_SUCCESS", 28),
        stored(FIRST, "part-00000.csv.gz", 29, "transports_realtime"),
    ]
    found = discover(FEED, listing, now=DAY + timedelta(hours=29))
    assert {d.offload_type: d.incomplete_because for d in found.deliveries} == {
        "scores_realtime": None,
        "transports_realtime": "transports_realtime has no _SUCCESS yet",
    }


def test_an_empty_day_is_complete_and_an_absent_marker_is_not() -> None:
    [empty] = discover(FEED, [stored(FIRST, "_SUCCESS", 28)]).deliveries
    assert empty.is_complete
    assert empty.parts == ()
    assert empty.stamp == DAY


@pytest.mark.parametrize(("newer", "older"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_of_two_folders_for_a_day_the_newest_marker_counts_in_any_order(newer: str, older: str) -> None:
    listing = [
        stored(older, "part-00000.csv.gz", 27),
        stored(older, "_SUCCESS", 28),
        stored(newer, "part-00000.csv.gz", 20),
        stored(newer, "_SUCCESS", 33),
    ]
    for order in (listing, listing[::-1]):
        choice = choose(discover(FEED, order).deliveries)
        assert choice.chosen is not None
        assert choice.chosen.folder == newer
        assert [d.folder for d in choice.superseded] == [older]


def test_a_hole_in_the_parts_is_waited_for_in_spite_of_the_marker() -> None:
    [found] = discover(FEED, [stored(FIRST, "part-00001.csv.gz", 27), stored(FIRST, "_SUCCESS", 28)]).deliveries
    assert found.incomplete_because == "scores_realtime lacks part 00000"
