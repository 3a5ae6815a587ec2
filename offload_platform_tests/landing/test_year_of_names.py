"""Two streams of 96 files a day: what a look at the root costs does not grow with the files that lie there."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import boto3
import duckdb
import obstore
import pytest
from obstore.store import MemoryStore

from offload_platform.landing.deliveries import discover
from offload_platform.landing.store import DeliveryStore
from offload_platform.landing.watch import Look, Memory, look, requests_for
from offload_platform.settings import Feed
from offload_platform.warehouse.ledger import loaded_deliveries
from offload_platform.warehouse.ops import ensure_ops

NOW = datetime(2026, 12, 28, 12, 7, tzinfo=UTC)
MONTH, YEAR = date(2026, 12, 1), date(2026, 1, 1)
LOOKS = 30


class Counted(DeliveryStore):
    """A root in memory that counts the requests of its listings, and the objects in them."""

    def __init__(self, start: date) -> None:
        feed = Feed(
            name="acme",
            vendor="affise",
            url="s3://offloads",
            cadence={"data_fusion": "intraday"},
            directories={"clicks": "clicks", "conversions": "conversions"},
            start=start,
        )
        super().__init__(feed, boto3.Session("key", "secret", region_name=feed.region))
        self._store = MemoryStore()
        self.files = 0
        self.requests = self.objects = 0
        stamp = datetime.combine(start, datetime.min.time(), UTC)
        while stamp <= NOW:
            for stream in ("clicks", "conversions"):
                obstore.put(self._store, f"{stream}/{stamp:%Y/%m/%d/%Y-%m-%d-%H-%M}.csv.gz", b"x")
                self.files += 1
            stamp += timedelta(minutes=15)

    def _list_below(self, folder: str, identify: object) -> list:  # type: ignore[override,type-arg]
        found = super()._list_below(folder, identify)  # type: ignore[arg-type]
        self.requests += requests_for(len(found))
        self.objects += len(found)
        return found

    def looks(self) -> Iterator[Look]:
        """The first look, and then one every minute."""
        memory = Memory()
        for minute in range(LOOKS):
            self.requests = self.objects = 0
            one = look(self, memory, NOW + timedelta(minutes=minute), lambda _, stamp: stamp.date())
            memory = one.memory
            yield one


def costs(store: Counted) -> tuple[int, int]:
    """Most requests and most objects of a look after the first."""
    counted = [(store.requests, store.objects) for one in store.looks() if not one.whole]
    assert len(counted) == LOOKS - 1
    return max(requests for requests, _ in counted), max(objects for _, objects in counted)


@pytest.fixture(scope="module")
def year() -> Counted:
    return Counted(YEAR)


def test_a_look_after_a_year_costs_what_it_costs_after_a_month(year: Counted) -> None:
    month = Counted(MONTH)
    assert year.files > 12 * month.files > 60_000
    (requests, objects), (of_a_year, objects_of_a_year) = costs(month), costs(year)
    assert of_a_year <= requests + 4, "a whole month instead of one that is not over; and its name in two spellings"
    assert objects_of_a_year <= 2 * 96 * (31 + 3) < 1.25 * objects
    assert of_a_year < requests_for(year.files) / 2


def test_every_day_of_a_year_is_seen_in_as_many_looks_as_months(year: Counted) -> None:
    seen: set[str] = set()
    for number, one in enumerate(year.looks()):
        if not one.whole and number <= 12:
            seen |= {stored.key for stored in one.listing}
    assert len(seen) == year.files


def test_the_ledger_of_a_year_is_asked_for_what_was_listed_alone(year: Counted) -> None:
    with duckdb.connect(":memory:") as connection:
        ensure_ops(connection)
        connection.execute(
            "INSERT INTO ops.ledger BY NAME SELECT 'acme' AS feed, 'affise' AS vendor, offload_type, "
            "'loaded' AS status, stamp AS delivery_stamp, 'f' AS delivery_fingerprint, "
            "offload_type || strftime(stamp, '/%Y/%m/%d/%Y-%m-%d-%H-%M') AS delivery_folder "
            "FROM range(TIMESTAMPTZ '2026-01-01 00:00:00+00', ?::TIMESTAMPTZ, INTERVAL 15 MINUTE) AS r(stamp), "
            "(VALUES ('clicks'), ('conversions')) AS t(offload_type)",
            [NOW],
        )
        one = next(one for one in year.looks() if not one.whole)
        deliveries = discover(year.feed, one.listing, NOW).deliveries
        loaded = loaded_deliveries(connection, deliveries)
        assert {loaded.fingerprint_of("acme", d) for d in deliveries if d.stamp < NOW} == {"f"}
        assert len(loaded._fingerprints) == len(deliveries) < year.files / 10
