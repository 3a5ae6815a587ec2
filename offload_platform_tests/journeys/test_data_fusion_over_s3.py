"""A vendor that delivers every few minutes, on a live S3 server: a sensor over several ticks in a day, then the marts.

After each tick the loads that it asks for are run. What the published tables hold in the end is compared with what the
simulated vendor knows.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import obstore
import pytest
from obstore.store import S3Store

from offload_platform.landing.pseudonyms import KEY_VARIABLE
from offload_platform.orchestration.arrivals import arrivals_of
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.checks import GAP_CHECK, REFERENCE_CHECK
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.resources import source_key, source_of, warehouse_in
from offload_platform.settings import Feed, Settings
from offload_platform.simulator.affise import (
    CLICKS,
    CONVERSIONS,
    AffiseSimulation,
    columns_of,
    content_of,
    exports,
    key_of,
    lives,
)
from offload_platform.simulator.object_store import ObjectStoreServer

from ..conftest import CLIENT_PROFILE, contract_of
from ..landing.fault_proxy import FaultProxy, fault_proxy

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date()
ZONE = "Europe/Moscow"
SIMULATION = AffiseSimulation(
    first_day=YESTERDAY,
    slots=48,
    clicks_per_slot=6,
    conversion_share=0.5,
    orphan_share=0.3,
    hold_hours=2,
    later_change_share=0.3,
    timezone=ZONE,
)


class Vendor:
    """The vendor's side: files that it puts below the root, some now and some later."""

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

    def export(self, simulation: AffiseSimulation, *numbers: int) -> None:
        """Put the files of some exports, by their numbers; those without a row are files with a header alone."""
        stamps = {simulation.stamps[number] for number in numbers}
        for offload_type, stamp, rows in exports(simulation):
            if stamp in stamps:
                self.put(key_of(simulation, offload_type, stamp), content_of(simulation, offload_type, rows))


class Client:
    """The client's side: a feed, its sensor, and a Dagster instance that keeps what has run."""

    def __init__(self, folder: Path, url: str, root: str) -> None:
        feed = Feed(
            name="acme",
            vendor="affise",
            url=f"s3://offloads/{root}",
            endpoint_url=url,
            aws_profile=CLIENT_PROFILE,
            cadence={"data_fusion": "intraday"},
            directories={CLICKS: "affise/clicks", CONVERSIONS: "affise/conversions"},
            source_timezone=ZONE,
            start=YESTERDAY - timedelta(days=70),
        )
        self.settings = Settings(warehouse=folder / "warehouse", feeds=(feed,))
        self.instance = open_instance(warehouse_in(self.settings.warehouse).files)
        self.cursor: str | None = None
        self.run_keys: set[str] = set()
        self.checks: dict[tuple[str, str], Any] = {}

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

    def tick_and_load(self, succeeds: bool = True) -> dict[str, int]:
        """The rows that each load has brought in, by `type/partition`."""
        job = build_definitions(self.settings).resolve_implicit_global_asset_job_def()
        loaded = {}
        for request in self.tick().run_requests:
            assert request.run_key not in self.run_keys, "Dagster would skip a run key that it has seen"
            self.run_keys.add(request.run_key)
            result = job.execute_in_process(
                partition_key=request.partition_key,
                asset_selection=request.asset_selection,
                instance=self.instance,
                raise_on_error=succeeds,
            )
            assert result.success == succeeds
            offload_type = request.asset_selection[0].path[-1]
            for event in result.get_asset_materialization_events():
                rows = event.materialization.metadata["rows loaded"].value
                loaded[f"{offload_type}/{request.partition_key}"] = rows
            for check in result.get_asset_check_evaluations():
                self.checks[offload_type, check.check_name] = check
        return loaded

    def publish(self) -> None:
        job = build_definitions(self.settings).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(asset_selection=[PUBLISHED_KEY], instance=self.instance).success

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.settings.warehouse / "published" / "offloads.duckdb", read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def objects(self) -> list[tuple[Any, ...]]:
        with warehouse_in(self.settings.warehouse).writing() as connection:
            return connection.execute("SELECT object_key, etag FROM ops.ledger ORDER BY ALL").fetchall()


@pytest.fixture
def vendor(object_store: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    return Vendor(object_store, f"acme/{tmp_path.name}")


@pytest.fixture
def proxy(object_store: ObjectStoreServer) -> Iterator[FaultProxy]:
    with fault_proxy(object_store.url) as running:
        yield running


@pytest.fixture
def client(vendor: Vendor, proxy: FaultProxy, tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path, proxy.url, vendor.root)
    with client.instance:
        yield client


def expected(simulation: AffiseSimulation) -> dict[str, tuple[str, Decimal, bool]]:
    """Status and payout of each conversion in the end, and whether its click was never delivered."""
    last = simulation.stamps[-1]
    found = {}
    for click, states in lives(simulation):
        told = [state for state in states if state.changed_at <= last]
        if told:
            is_orphan = click.delivered_at is None or click.delivered_at > last
            found[told[-1].id] = (told[-1].status, told[-1].payout, is_orphan)
    return found


def fetched(proxy: FaultProxy) -> list[str]:
    """The parts that were fetched since the last time."""
    targets = [target.rpartition("/")[2] for target in proxy.targets if target.endswith(".csv.gz")]
    proxy.targets.clear()
    return targets


def test_a_day_grows_in_any_order_and_ends_as_the_vendor_knows_it(
    vendor: Vendor, client: Client, proxy: FaultProxy
) -> None:
    early = AffiseSimulation(**{**vars(SIMULATION), "version": 0})
    day = f"{YESTERDAY}"
    vendor.export(early, 0, 1)
    assert client.tick_and_load().keys() == {f"{CLICKS}/{day}", f"{CONVERSIONS}/{day}"}
    assert len(fetched(proxy)) == 4
    assert client.tick_and_load() == {}, "nothing is new"
    vendor.export(early, 2)
    assert client.tick_and_load().keys() == {f"{CLICKS}/{day}", f"{CONVERSIONS}/{day}"}
    assert len(fetched(proxy)) == 2, "only what is new is fetched"
    # Out of order, and with gaps.
    later = list(range(3, SIMULATION.slots))
    random.Random(1).shuffle(later)
    for some in (later[:20], later[20:21], later[21:]):
        vendor.export(early, *some)
        client.tick_and_load()
    assert len(fetched(proxy)) == 2 * len(later)
    client.publish()
    short = dict(client.query("SELECT conversion_id, status FROM affise.conversions"))
    # Files that lacked a row are written anew.
    before = dict(client.objects())
    vendor.export(SIMULATION, *range(SIMULATION.slots))
    client.tick_and_load()
    changed = {key for key, etag in client.objects() if before[key] != etag}
    assert len(fetched(proxy)) == len(changed) > 0
    assert len(client.objects()) == 2 * SIMULATION.slots, "each file once"
    client.publish()
    truth = expected(SIMULATION)
    assert len(short) < len(truth)
    found = client.query("SELECT conversion_id, status, payout, is_orphan FROM mart.attribution")
    assert {conversion: tuple(said) for conversion, *said in found} == truth
    assert len(found) == len(truth)
    told = client.query("SELECT conversion_id, count(*) FROM history.conversions GROUP BY ALL")
    last = SIMULATION.stamps[-1]
    slots = {}
    for _, states in lives(SIMULATION):
        for state in states:
            if state.changed_at <= last:
                minutes = (state.changed_at - SIMULATION.stamps[0]) / timedelta(minutes=15)
                slots.setdefault(state.id, set()).add(max(0, -int(-minutes // 1)))
    assert dict(told) == {conversion: len(seen) for conversion, seen in slots.items()}
    # A sensor that has lost its cursor asks for nothing that is loaded.
    client.cursor = None
    assert client.tick_and_load() == {}


def test_a_click_that_comes_later_fills_the_orphan(vendor: Vendor, client: Client) -> None:
    stamp = SIMULATION.stamps[4]
    [click] = [c for c, states in lives(SIMULATION) if states and c.delivered_at == c.at][:1]
    files = {(t, s): rows for t, s, rows in exports(SIMULATION)}
    rows = {t: [row for (kind, _), found in files.items() if kind == t for row in found] for t in (CLICKS, CONVERSIONS)}
    conversion = next(row for row in rows[CONVERSIONS] if row["clickid"] == click.id)
    vendor.put(key_of(SIMULATION, CONVERSIONS, stamp), content_of(SIMULATION, CONVERSIONS, [conversion]))
    client.tick_and_load()
    client.publish()
    orphan = "SELECT is_orphan, clicked_at IS NULL, click_known_from IS NULL FROM mart.attribution"
    assert client.query(orphan) == [(True, True, True)]
    own = next(row for row in rows[CLICKS] if row["id"] == click.id)
    vendor.put(key_of(SIMULATION, CLICKS, stamp + timedelta(hours=3)), content_of(SIMULATION, CLICKS, [own]))
    client.tick_and_load()
    client.publish()
    assert client.query(orphan) == [(False, False, False)]


def test_gaps_are_reported_by_how_many_are_missing_in_a_row(vendor: Vendor, client: Client) -> None:
    verdicts = []
    for numbers in ((0, 1, 3), (6,), (15,), (2, 4, 5, *range(7, 15))):
        vendor.export(SIMULATION, *numbers)
        client.tick_and_load()
        check = client.checks[CONVERSIONS, GAP_CHECK]
        verdicts.append((check.passed, check.severity.value, check.metadata["most in a row"].value))
    assert verdicts == [(True, "WARN", 1), (False, "WARN", 2), (False, "ERROR", 8), (True, "WARN", 0)]


def test_conversions_without_a_click_are_counted_as_soon_as_clicks_are_known_for_long_enough(
    vendor: Vendor, client: Client
) -> None:
    vendor.export(SIMULATION, *range(12))
    client.tick_and_load()
    assert "not judged" in client.checks[CONVERSIONS, REFERENCE_CHECK].description
    long_ago = SIMULATION.stamps[0] - timedelta(days=30)
    vendor.put(key_of(SIMULATION, CLICKS, long_ago), content_of(SIMULATION, CLICKS, []))
    client.cursor = None
    client.tick_and_load()
    vendor.export(SIMULATION, 12)
    client.tick_and_load()
    check = client.checks[CONVERSIONS, REFERENCE_CHECK]
    assert not check.passed
    shares = [value.value for name, value in check.metadata.items() if "share" in name]
    assert shares[0] > 0.05


def test_a_change_to_an_old_day_is_seen_when_its_month_has_its_turn(
    vendor: Vendor, client: Client, proxy: FaultProxy
) -> None:
    vendor.export(SIMULATION, 0)
    client.tick_and_load()
    long_ago = SIMULATION.stamps[0] - timedelta(days=60)
    vendor.put(key_of(SIMULATION, CLICKS, long_ago), content_of(SIMULATION, CLICKS, []))
    asked: dict[str, int] = {}
    ticks = 0
    while not asked and ticks < 10:
        proxy.targets.clear()
        asked = client.tick_and_load()
        ticks += 1
    assert list(asked) == [f"{CLICKS}/{(YESTERDAY - timedelta(days=60))}"]
    assert ticks <= 4, "at most as many looks as months"


def test_a_file_that_cannot_be_read_fails_the_run_and_keeps_out_no_other(vendor: Vendor, client: Client) -> None:
    vendor.export(SIMULATION, 0)
    vendor.put(key_of(SIMULATION, CLICKS, SIMULATION.stamps[1]), b"\x1f\x8b no gzip at all")
    [feed] = client.settings.feeds
    client.settings = client.settings.model_copy(
        update={"feeds": (feed.model_copy(update={"types": (CLICKS,), "directories": {CLICKS: "affise/clicks"}}),)}
    )
    [rows] = client.tick_and_load(succeeds=False).values()
    assert rows > 0, "the other file is loaded, and told of"
    client.publish()
    assert client.query("SELECT count(*) FROM affise.clicks") == [(rows,)]
    vendor.export(SIMULATION, 1)
    assert client.tick_and_load().keys() == {f"{CLICKS}/{YESTERDAY}"}


def test_a_vendor_that_falls_silent_is_told_of_once_in_the_words_of_minutes(vendor: Vendor, client: Client) -> None:
    now = datetime.now(UTC)
    quiet = AffiseSimulation(**{**vars(SIMULATION), "first_day": (now - timedelta(days=2)).date(), "slots": 400})
    due = [number for number, stamp in enumerate(quiet.stamps) if stamp <= now - timedelta(minutes=50)]
    vendor.put(key_of(quiet, CLICKS, quiet.stamps[due[-1]]), content_of(quiet, CLICKS, []))
    told = [e for e in client.tick().asset_events if isinstance(e, dg.AssetCheckEvaluation)]
    assert {(e.asset_key.path[1], e.passed, e.severity.name) for e in told} == {
        (CLICKS, False, "WARN"),
        (CONVERSIONS, False, "ERROR"),
    }
    assert not [e for e in client.tick().asset_events if isinstance(e, dg.AssetCheckEvaluation)]


def test_the_simulated_columns_are_those_that_the_contract_knows() -> None:
    for offload_type in (CLICKS, CONVERSIONS):
        assert set(columns_of(offload_type)) <= contract_of(offload_type).known_wire_columns
