"""From a listing to deliveries: grouping, order, completeness, choice and identity."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.deliveries import Delivery, StoredObject
from offload_platform.landing.deliveries import choose, discover
from offload_platform.settings import Feed

APP = "5a689ab0e97b960500002109"
OTHER_APP = "0" * 23 + "1"
JOB, OTHER_JOB = "0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70", "1b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e71"
DECEMBER, JANUARY = "12_08_2018_15_05_54_499", "01_05_2019_15_00_00_000"
NOW = datetime(2019, 2, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=7)
TYPES = ("stationaries", "transports", "moments", "segments", "attributes.wide", "attributes.long")
MakeFeed = Callable[..., Feed]


def stored(key: str, size: int = 10, etag: str = "e", changed: datetime = LONG_AGO) -> StoredObject:
    return StoredObject(key, size, etag, changed)


def part(
    folder: str, offload_type: str, number: int = 0, *, app: str = APP, job: str | None = JOB, file: int = 0
) -> StoredObject:
    name = f"part-{number:05d}" + (f"-{job}-c{file:03d}.csv" if job else "") + ".gz"
    return stored(f"{folder}/{app}/{offload_type}.{app}.csv/{name}")


def snapshot(folder: str, types: tuple[str, ...] = TYPES, app: str = APP) -> list[StoredObject]:
    return [part(folder, offload_type, app=app) for offload_type in types]


@pytest.fixture(scope="module")
def feed(feed_of: MakeFeed) -> Feed:
    return feed_of("s3://offloads/acme", settle_hours=24)


@pytest.fixture(scope="module")
def segments_feed(feed_of: MakeFeed) -> Feed:
    return feed_of("s3://offloads/acme", settle_hours=24, types=("segments",))


def test_parts_are_grouped_by_folder_and_type_and_the_newest_comes_first(feed: Feed) -> None:
    found = discover(feed, [*snapshot(JANUARY), *snapshot(DECEMBER)], NOW)
    assert [(d.folder, d.offload_type) for d in found.of_type("moments")] == [
        (JANUARY, "moments"),
        (DECEMBER, "moments"),
    ]
    assert len(found.deliveries) == 2 * len(TYPES)
    assert all(d.is_complete and d.app_id == APP and len(d.parts) == 1 for d in found.deliveries)
    assert found.of_type("moments")[1].stamp == datetime(2018, 12, 8, 15, 5, 54, 499_000, tzinfo=UTC)
    assert (found.unrecognised, found.other_app_ids, found.other_types) == ((), {}, {})


def test_parts_are_in_the_order_of_their_numbers_and_files(segments_feed: Feed) -> None:
    parts = [part(DECEMBER, "segments", n, file=f) for n, f in ((0, 0), (0, 1), (1, 0), (2, 0), (10, 0))]
    parts += [part(DECEMBER, "segments", n) for n in range(3, 10)]
    (delivery,) = discover(segments_feed, reversed(parts), NOW).deliveries
    positions = [p.placement.position for p in delivery.parts]
    assert positions == [(0, 0), (0, 1), *((n, 0) for n in range(1, 11))]
    assert delivery.is_complete


def test_what_the_feed_does_not_load_is_counted_and_what_nobody_knows_is_listed(segments_feed: Feed) -> None:
    driving = "2018_12_07_9f01c2e1-1559-4f3f-af33-0551a754ba4d"
    unknown = [
        f"{DECEMBER}/{APP}/shoes.{APP}.csv/part-00000.gz",
        f"{DECEMBER}/{APP}/segments.{OTHER_APP}.csv/part-00000.gz",
        f"{DECEMBER}/{APP}/segments.{APP}.csv/readme.txt",
        f"13_08_2018_15_05_54_499/{APP}/segments.{APP}.csv/part-00000.gz",
        f"02_30_2019_15_05_54_499/{APP}/segments.{APP}.csv/part-00000.gz",
        "loose.csv",
    ]
    ignored = [f"__MACOSX/._{DECEMBER}", f"{DECEMBER}/{APP}/segments.{APP}.csv/.part-00000.gz.crc"]
    listing = [
        *snapshot(DECEMBER),
        *snapshot(DECEMBER, ("segments", "moments"), OTHER_APP),
        part(driving, "scores_realtime"),
        stored(f"{driving}/{APP}/scores_realtime.{APP}.csv/_SUCCESS"),
        *(stored(key) for key in unknown + ignored),
    ]
    found = discover(segments_feed, listing, NOW)
    assert [(d.folder, d.offload_type) for d in found.deliveries] == [(DECEMBER, "segments")]
    assert found.unrecognised == tuple(sorted(unknown))
    assert found.other_app_ids == {OTHER_APP: 2}
    assert found.other_types == {t: 1 for t in TYPES if t != "segments"} | {"scores_realtime": 2}


@pytest.mark.parametrize(
    ("parts", "because"),
    [
        ([], "segments has no part yet"),
        ([part(DECEMBER, "segments", 1)], "segments lacks part 00000"),
        ([part(DECEMBER, "segments", n) for n in (0, 2)], "segments lacks part 00001"),
        ([part(DECEMBER, "segments", 0, file=f) for f in (0, 2)], "segments lacks part 00000, file c001"),
        ([part(DECEMBER, "segments", 0, file=1)], "segments lacks part 00000, file c000"),
        (
            [part(DECEMBER, "segments", 0), part(DECEMBER, "segments", 1, job=OTHER_JOB)],
            "segments holds parts of 2 jobs; ask the vendor which one counts",
        ),
        (
            [
                part(DECEMBER, "segments", 0, job=None),
                replace(stored(""), key=f"{DECEMBER}/{APP}/segments.{APP}.csv/part-00000"),
            ],
            "segments has part 00000 twice",
        ),
    ],
)
def test_a_folder_with_a_hole_is_incomplete_in_all_its_types(
    feed: Feed, parts: list[StoredObject], because: str
) -> None:
    others = snapshot(DECEMBER, tuple(t for t in TYPES if t != "segments"))
    found = discover(feed, [*others, *parts], NOW)
    assert {d.incomplete_because for d in found.deliveries} == {because}
    assert not any(d.is_complete for d in found.deliveries)


def test_a_folder_settles_as_a_whole(feed: Feed) -> None:
    changed = NOW - timedelta(hours=24)
    late = [replace(snapshot(DECEMBER)[0], last_modified=changed), *snapshot(DECEMBER)[1:]]
    listing = [*late, *snapshot(JANUARY)]
    almost = discover(feed, listing, NOW - timedelta(microseconds=1))
    assert {d.folder for d in almost.deliveries if d.is_complete} == {JANUARY}
    assert {d.incomplete_because for d in almost.deliveries if not d.is_complete} == {
        "changed 2019-01-31 00:00 UTC, counts as complete from 2019-02-01 00:00 UTC (settle_hours: 24)"
    }
    assert all(d.is_complete for d in discover(feed, listing, NOW).deliveries)


def test_without_a_settle_period_a_folder_may_be_of_this_second(feed_of: MakeFeed) -> None:
    feed = feed_of("s3://offloads/acme", settle_hours=0)
    fresh = [replace(o, last_modified=NOW + timedelta(minutes=1)) for o in snapshot(DECEMBER)]  # clocks differ
    assert all(d.is_complete for d in discover(feed, fresh, NOW).deliveries)


def delivery(folder: str, stamp: datetime, because: str | None = None) -> Delivery:
    return Delivery(folder, stamp, "lifestyle", APP, "segments", (), because)


FIRST = delivery("first", datetime(2018, 12, 8, tzinfo=UTC))
SECOND = delivery("second", datetime(2018, 12, 9, tzinfo=UTC))
THIRD = delivery("third", datetime(2018, 12, 10, tzinfo=UTC), "moments has no part yet")
TWIN = delivery("twin of the second", SECOND.stamp)


@given(st.permutations([FIRST, SECOND, THIRD, TWIN]))
def test_the_newest_complete_delivery_counts_whatever_the_order(deliveries: list[Delivery]) -> None:
    choice = choose(deliveries)
    assert (choice.chosen, choice.superseded, choice.incomplete) == (TWIN, (SECOND, FIRST), (THIRD,))


def test_nothing_is_chosen_of_nothing_complete() -> None:
    assert choose([]).chosen is None
    choice = choose([THIRD])
    assert (choice.chosen, choice.superseded, choice.incomplete) == (None, (), (THIRD,))


LISTING = [
    *snapshot(DECEMBER),
    *snapshot(JANUARY, TYPES[:4]),
    part(DECEMBER, "moments", 1),
    part(JANUARY, "segments", app=OTHER_APP),
    stored("loose.csv"),
    stored("also loose.csv"),
]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(LISTING))
def test_the_order_of_a_listing_does_not_matter(feed: Feed, listing: list[StoredObject]) -> None:
    assert discover(feed, listing, NOW) == discover(feed, LISTING, NOW)


def test_fingerprint_is_the_set_of_key_size_and_etag(segments_feed: Feed) -> None:
    def fingerprint(*objects: StoredObject) -> str:
        (found,) = discover(segments_feed, objects, NOW).deliveries
        return found.fingerprint

    one, two = part(DECEMBER, "segments", 0), part(DECEMBER, "segments", 1)
    same = fingerprint(one, two)
    assert fingerprint(two, one) == same
    assert fingerprint(one, replace(two, last_modified=NOW - timedelta(days=2))) == same
    others = [
        fingerprint(one),
        fingerprint(one, replace(two, size=11)),
        fingerprint(one, replace(two, etag="f")),
        fingerprint(one, replace(two, key=two.key.removesuffix(".gz"))),
        fingerprint(replace(one, etag=two.etag + "2"), two),
    ]
    assert len({same, *others}) == len(others) + 1
