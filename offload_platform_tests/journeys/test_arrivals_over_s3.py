"""A sensor over weeks on a live S3 server: deliveries part by part, out of order, twice, late, and with gaps.

After each tick the loads that it asks for are run, and what the warehouse and its ledger hold is compared with what was
delivered.
"""

import gzip
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import obstore
import pytest
from obstore.store import S3Store

from offload_platform.orchestration.arrivals import arrivals_of
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.resources import source_key, source_of, warehouse_in
from offload_platform.orchestration.run import plan
from offload_platform.settings import Feed, Settings
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.merge import merge

from ..landing.fault_proxy import FaultProxy, fault_proxy

APP_ID = "5a689ab0e97b960500002109"
JOB = "0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70"
FIRST, SECOND = (f"{digit * 8}-1111-2222-3333-{digit * 12}" for digit in "ab")
LABELS = "abcdefghijkl"


def users(count: int, first: int = 0) -> list[str]:
    return [f"{number:024x}" for number in range(first, first + count)]


class Bucket:
    """The vendor's side: what it puts below the feed's root."""

    def __init__(self, server: ObjectStoreServer, root: str) -> None:
        self.root = root
        self.store = S3Store(
            "offloads",
            endpoint=server.url,
            region="eu-west-1",
            access_key_id=server.admin.access_key,
            secret_access_key=server.admin.secret_key,
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    def put(self, key: str, content: bytes) -> None:
        obstore.put(self.store, f"{self.root}/{key}", content)

    def snapshot_part(self, day: str, number: int, rows: list[str]) -> None:
        """A part of the segments of a week, as `MM_DD`."""
        name = f"part-{number:05d}-{JOB}-c000.csv.gz"
        body = "".join(f"{line}\n" for line in ("user_id,metadata_user_id,segment_id", *rows))
        self.put(
            f"{day}_2026_15_00_00_000/{APP_ID}/segments.{APP_ID}.csv/{name}", gzip.compress(body.encode(), mtime=0)
        )

    def scores(self, day: str, folder: str, rows: int | None, *, marked: bool = True) -> None:
        """The scores of a day, as `MM_DD`, of some users; None for a day without a part."""
        where = f"2026_{day}_{folder}/{APP_ID}/scores_realtime.{APP_ID}.csv"
        if rows is not None:
            lines = ["timestamp,user_id,smooth", *(f"1790000000000,{user},0.5" for user in users(rows))]
            self.put(f"{where}/part-00000-{JOB}-c000.csv.gz", gzip.compress("\n".join(lines).encode(), mtime=0))
        if marked:
            self.put(f"{where}/_SUCCESS", b"")

    def links(self, *external: str) -> None:
        rows = [f"{user},{name}" for user, name in zip(users(len(external)), external, strict=True)]
        self.put("_mapping/user_external.csv", "\n".join(["user_id,external_id", *rows]).encode())


class Platform:
    """The client's side: a feed on the bucket, its sensor, and a Dagster instance that keeps what has run."""

    def __init__(self, folder: Path, url: str, root: str) -> None:
        feed = Feed(
            name="acme",
            vendor="sentiance",
            url=f"s3://offloads/{root}",
            app_id=APP_ID,
            endpoint_url=url,
            aws_profile="tests-client",
            cadence={"lifestyle": "weekly", "driving": "daily", "mapping": "daily"},
            types=("segments", "scores_realtime", "mapping"),
            settle_hours=0,
            start=date(2026, 9, 5),
        )
        self.settings = Settings(warehouse=folder / "warehouse", feeds=(feed,))
        self.instance = open_instance(warehouse_in(self.settings.warehouse).files)
        self.cursor: str | None = None
        self.run_keys: set[str] = set()

    def tick(self) -> Any:
        [feed] = self.settings.feeds
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"warehouse": warehouse_in(self.settings.warehouse), source_key(feed): source_of(feed)},
            definitions=build_definitions(self.settings),
        )
        evaluated = arrivals_of(feed).evaluate_tick(context)
        self.cursor = evaluated.cursor
        return evaluated

    def tick_and_load(self) -> list[str]:
        """What a tick asks for, as `type/partition`, and has loaded when this returns."""
        job = build_definitions(self.settings).resolve_implicit_global_asset_job_def()
        asked = []
        for request in self.tick().run_requests:
            assert request.run_key not in self.run_keys, "Dagster would skip a run key that it has seen"
            self.run_keys.add(request.run_key)
            result = job.execute_in_process(
                partition_key=request.partition_key, asset_selection=request.asset_selection, instance=self.instance
            )
            assert result.success
            asked.append(f"{request.asset_selection[0].path[-1]}/{request.partition_key}")
        return sorted(asked)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with warehouse_in(self.settings.warehouse).writing() as connection:
            return connection.execute(sql).fetchall()

    def holds(self) -> dict[str, int]:
        """Rows by `type/partition` in the tables, checked against the ledger."""
        ledger = self.query(
            "SELECT offload_type || '/' || partition, sum(rows_loaded)::BIGINT FROM ops.ledger "
            "WHERE status = 'loaded' AND rows_in = rows_loaded + rows_quarantined GROUP BY ALL"
        )
        tables = self.query(
            """
            SELECT 'segments/' || time_bucket(INTERVAL 7 DAY, delivery_stamp, TIMESTAMPTZ '2026-09-05')::DATE, count(*)
            FROM delivered.segments GROUP BY ALL
            """
        )
        if self.query("SELECT 1 FROM duckdb_views() WHERE view_name = 'scores_realtime'"):
            tables += self.query(
                "SELECT 'scores_realtime/' || data_day, count(*) FROM delivered.scores_realtime GROUP BY ALL"
            )
        if self.query("SELECT 1 FROM duckdb_views() WHERE view_name = 'mapping'"):
            tables += self.query(
                "SELECT 'mapping/' || delivery_stamp::DATE, count(*) FROM delivered.mapping GROUP BY ALL"
            )
        assert {name: rows for name, rows in ledger if rows} == dict(tables)
        return dict(ledger)

    def merged(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask what is known after all that is loaded was merged."""
        with warehouse_in(self.settings.warehouse).writing() as connection:
            merge(connection)
            return connection.execute(sql).fetchall()

    def labels(self) -> list[tuple[str, str]]:
        """The labels that hold, and the days from which they have been known."""
        sql = "SELECT segment_id, strftime(known_from, '%m-%d') FROM sentiance.segments ORDER BY ALL"
        return [(label, day) for label, day in self.merged(sql)]


@pytest.fixture
def bucket(object_store: ObjectStoreServer, tmp_path: Path) -> Bucket:
    return Bucket(object_store, f"acme/{tmp_path.name}")


@pytest.fixture
def proxy(object_store: ObjectStoreServer) -> Iterator[FaultProxy]:
    with fault_proxy(object_store.url) as running:
        yield running


@pytest.fixture
def platform(bucket: Bucket, proxy: FaultProxy, tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path, proxy.url, bucket.root)
    with platform.instance:
        yield platform


def labels(count: int) -> list[str]:
    return [f"{users(1)[0]},,{label}" for label in LABELS[:count]]


def test_weeks_that_arrive_in_any_way_are_each_loaded_once(bucket: Bucket, platform: Platform) -> None:
    # Part by part.
    bucket.snapshot_part("09_12", 0, labels(2))
    bucket.snapshot_part("09_12", 2, labels(1))
    evaluated = platform.tick()
    assert not evaluated.run_requests
    assert "waiting for 09_12_2026_15_00_00_000: segments lacks part 00001" in evaluated.skip_message
    bucket.snapshot_part("09_12", 1, labels(3))
    assert platform.tick_and_load() == ["segments/2026-09-12"]
    assert platform.holds() == {"segments/2026-09-12": 6}
    assert platform.labels() == [("a", "09-12"), ("b", "09-12"), ("c", "09-12")], "each label once"
    # Out of order, and with a gap.
    bucket.snapshot_part("09_05", 0, labels(4))
    bucket.snapshot_part("09_26", 0, labels(5))
    assert platform.tick_and_load() == ["segments/2026-09-05", "segments/2026-09-26"]
    assert platform.labels() == [(a, "09-05") for a in "abc"] + [("d", "09-26"), ("e", "09-26")]
    # Late.
    bucket.snapshot_part("09_19", 0, labels(1))
    assert platform.tick_and_load() == ["segments/2026-09-19"]
    held = {f"segments/2026-09-{day}": rows for day, rows in (("05", 4), (12, 6), (19, 1), (26, 5))}
    assert platform.holds() == held
    restored = [("a", "09-05")] + [(label, "09-26") for label in "bcde"]
    assert platform.labels() == restored, "all but one were lacking in a week"
    # Twice, the same; then with another content.
    bucket.snapshot_part("09_05", 0, labels(4))
    assert platform.tick_and_load() == []
    bucket.snapshot_part("09_05", 0, labels(7))
    assert platform.tick_and_load() == ["segments/2026-09-05"]
    assert platform.holds() == held | {"segments/2026-09-05": 7}
    assert platform.labels() == restored
    ended = (
        "SELECT segment_id, known_to::DATE::VARCHAR FROM history.segments "
        "WHERE change_kind = 'new' AND segment_id > 'e' ORDER BY ALL"
    )
    assert platform.query(ended) == [("f", "2026-09-12"), ("g", "2026-09-12")]
    # Back to the bytes of before.
    bucket.snapshot_part("09_05", 0, labels(4))
    assert platform.tick_and_load() == ["segments/2026-09-05"]
    # After the sensor has lost its cursor.
    platform.cursor = None
    assert platform.tick_and_load() == []
    assert platform.holds() == held
    assert platform.labels() == restored
    assert platform.query(ended) == []


def test_days_wait_for_their_marker_may_be_empty_and_may_be_run_again(bucket: Bucket, platform: Platform) -> None:
    bucket.snapshot_part("09_05", 0, labels(1))
    bucket.scores("09_10", FIRST, 3, marked=False)
    assert platform.tick_and_load() == ["segments/2026-09-05"]
    bucket.scores("09_11", FIRST, None)
    assert platform.tick_and_load() == ["scores_realtime/2026-09-11"]
    bucket.scores("09_10", FIRST, None)
    assert platform.tick_and_load() == ["scores_realtime/2026-09-10"]
    held = {"segments/2026-09-05": 1, "scores_realtime/2026-09-10": 3, "scores_realtime/2026-09-11": 0}
    assert platform.holds() == held
    bucket.scores("09_10", SECOND, 2, marked=False)
    assert platform.tick_and_load() == []
    _next_second()
    bucket.scores("09_10", SECOND, None)
    assert platform.tick_and_load() == ["scores_realtime/2026-09-10"]
    assert platform.holds() == held | {"scores_realtime/2026-09-10": 2}
    assert platform.query("SELECT delivery_folder, status FROM ops.ledger WHERE partition = '2026-09-10'") == [
        (f"2026_09_10_{SECOND}", "loaded"),
        (f"2026_09_10_{FIRST}", "superseded"),
    ]


def test_each_version_of_the_mapping_is_loaded_once(bucket: Bucket, platform: Platform) -> None:
    bucket.snapshot_part("09_05", 0, labels(1))
    bucket.links("anna", "bert")
    [mapping, _] = platform.tick_and_load()
    assert mapping.startswith("mapping/")
    _next_second()
    bucket.links("anna", "cleo")
    assert platform.tick_and_load() == [mapping]
    assert platform.tick_and_load() == []
    assert platform.merged("SELECT external_id, change_kind, known_to IS NULL FROM history.mapping ORDER BY ALL") == [
        ("anna", "new", True),
        ("bert", "deleted", True),
        ("bert", "new", False),
        ("cleo", "new", True),
    ]
    assert platform.query("SELECT external_id FROM sentiance.mapping ORDER BY ALL") == [("anna",), ("cleo",)]


def test_a_plan_counts_the_requests_that_its_loads_take(bucket: Bucket, platform: Platform, proxy: FaultProxy) -> None:
    for part in range(3):
        bucket.snapshot_part("09_12", part, labels(1))
    bucket.scores("09_14", FIRST, 3)
    bucket.links("anna")
    [feed] = platform.settings.feeds
    planned = plan(platform.settings, [feed])
    proxy.targets.clear()
    platform.tick()
    listed = len(proxy.targets)
    platform.cursor = None
    proxy.targets.clear()
    assert len(platform.tick_and_load()) == 3
    assert sum(load.requests for load in planned.loads) == len(proxy.targets) - listed


def test_a_listing_that_fails_is_one_error_and_the_next_tick_goes_on(
    bucket: Bucket, platform: Platform, object_store: ObjectStoreServer
) -> None:
    bucket.snapshot_part("09_05", 0, labels(1))
    assert platform.tick_and_load() == ["segments/2026-09-05"]
    bucket.snapshot_part("09_12", 0, labels(1))
    object_store.revoke_client()
    try:
        with pytest.raises(dg.Failure, match="check aws_profile of the feed"):
            platform.tick()
    finally:
        object_store.restore_client()
    assert platform.tick_and_load() == ["segments/2026-09-12"]


def _next_second() -> None:
    """Wait until the store's clock, which has whole seconds, shows another time."""
    time.sleep(1.1)
