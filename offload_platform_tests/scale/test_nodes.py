"""What nodes do: the same as one machine, or nothing, and never with a secret that was sent to them."""

import pickle
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import MostlyBad
from offload_platform.landing.store import DeliveryStore
from offload_platform.scale.cluster import Cluster, ClusterBench, bench_of
from offload_platform.scale.errors import OtherNode, ScaleUnusable
from offload_platform.scale.merging import BucketToMerge, ClusterBuckets, buckets_of, merge_bucket
from offload_platform.scale.nodes import PartToStage, software, stage_part
from offload_platform.scale.place import Place
from offload_platform.settings import Scale, read_settings
from offload_platform.simulator.affise import AffiseSimulation, DataFusion
from offload_platform.simulator.writing import write
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse import versions
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.holds import Decision, decide, held_deliveries
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.publish import publish

from ..conftest import contract_of
from ..warehouse import test_holds as held_back
from ..warehouse import test_merge_at_random as at_random
from ..warehouse.by_hand import ByHand
from . import everything as deliveries
from .comparing import content_of, names_in

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
KEY = "0123456789abcdef" * 4
WEEK = "2018-12-08"
Make = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place((tmp_path / "shared").as_uri())


def files_in(place: Place) -> list[Path]:
    return [path for path in Path(place.path).rglob("*") if path.is_file()]


def without_times(content: dict[str, list[str]], warehouse: Any) -> dict[str, list[str]]:
    """The content, and the ledger without the time of the load."""
    rows = warehouse.query("SELECT * EXCLUDE (loaded_at) FROM ops.ledger")
    return content | {"ops.ledger": sorted(map(repr, rows))}


def test_what_nodes_stage_is_loaded_as_what_one_machine_stages(
    vendor_and_warehouse: Make, feed_of: Make, partition: Make, nodes: Any, place: Place, tmp_path: Path
) -> None:
    vendor, own = vendor_and_warehouse(tmp_path)
    _, other = vendor_and_warehouse(tmp_path / "other")
    for number in range(3):
        rows = [f"{user},,behavior.early_bird" for user in (ANN, BEN)] + ["no user,,behavior.early_bird"] * number
        vendor.part(WEEK, [f"{number:024x},,behavior.night_owl", *rows], number=number)
    feed = feed_of(vendor.url, types=("segments",))
    bench = ClusterBench(nodes, place, 4)
    loaded = [own.load(feed, partition(WEEK)), other.load(feed, partition(WEEK), bench=bench)]
    assert loaded[0].measures == loaded[1].measures
    assert loaded[0].quarantined == 3
    assert len(nodes.sent) == 3
    mine, theirs = (without_times(warehouse.content("ops.receipts"), warehouse) for warehouse in (own, other))
    assert mine == theirs
    assert len(mine["delivered.segments"]) == 9
    assert files_in(place) == [], "nothing is left behind"


def test_every_offload_type_is_the_same_from_nodes(
    everything: Any,
    vendor_and_warehouse: Make,
    nodes: Any,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Staged and merged by nodes, every table and view that people see is what one process has made."""
    for name, value in deliveries.SECRETS.items():
        monkeypatch.setenv(name, value)
    _, warehouse = vendor_and_warehouse(tmp_path)
    settings = read_settings(everything.feeds_file).model_copy(update={"warehouse": warehouse.files.root})
    deliveries.load(settings, warehouse, bench=ClusterBench(nodes, place, 4))
    with warehouse.writing() as connection:
        publish(connection, warehouse.files, settings.feeds, ClusterBuckets(nodes, place, 0, 4))
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{everything.whole}' AS one (READ_ONLY)")
        connection.execute(f"ATTACH '{warehouse.files.published}' AS many (READ_ONLY)")
        names = names_in(connection, "one")
        assert names_in(connection, "many") == names
        assert [n for n in names if content_of(connection, "one", n) != content_of(connection, "many", n)] == []
    assert {pickle.loads(sent)[0] for sent in nodes.sent} == {stage_part, merge_bucket}


def test_a_part_that_is_refused_by_a_node_says_all_that_it_would_have_said(
    vendor_folder: Any, warehouse: Any, feed_of: Make, partition: Make, nodes: Any, place: Place
) -> None:
    vendor_folder.part(WEEK, ["no user,,x"] * 1200)
    feed = feed_of(vendor_folder.url, types=("segments",))
    refused = []
    for more in ({}, {"bench": ClusterBench(nodes, place, 4)}):
        with pytest.raises(MostlyBad) as caught:
            warehouse.load(feed, partition(WEEK), **more)
        refused.append((str(caught.value), vars(caught.value)))
    assert refused[0] == refused[1]
    assert files_in(place) == []


@pytest.fixture
def task(vendor_folder: Any, feed_of: Make, place: Place) -> PartToStage:
    vendor_folder.part(WEEK, [f"{ANN},,behavior.early_bird"])
    feed = feed_of(vendor_folder.url, types=("segments",))
    [delivery] = discover(feed, DeliveryStore(feed).list_objects(identify=lambda _: True)).deliveries
    contract = contract_of("segments")
    return PartToStage(feed, delivery.parts[0], "segments", contract.version, software(), place)


def test_a_node_with_other_software_or_another_key_stages_nothing(task: PartToStage, place: Place) -> None:
    assert stage_part(task).loaded == 1  # type: ignore[union-attr]
    before = files_in(place)
    for other, says in (
        (replace(task, software="duckdb 0.1"), "Install the same version on both"),
        (replace(task, reading="another"), "OFFLOAD_PSEUDONYM_KEY of the control machine"),
    ):
        refused = stage_part(other)
        assert isinstance(refused, OtherNode)
        assert says in str(refused)
    bucket = BucketToMerge("acme", "sentiance", "segments", at_random.FIRST, False, 0, "duckdb 0.1", place)
    assert isinstance(merge_bucket(bucket), OtherNode)
    assert files_in(place) == before


def test_no_secret_is_sent_to_a_node(
    vendor_folder: Any,
    warehouse: Any,
    feed_of: Make,
    partition: Make,
    nodes: Any,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The nodes have them from their own environment, and find the same pseudonyms."""
    monkeypatch.setenv("OFFLOAD_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of the store")
    day = date(2026, 11, 21)
    write([DataFusion(AffiseSimulation(first_day=day, slots=1, empty_share=0))], vendor_folder.root)
    feed = feed_of(
        vendor_folder.url,
        vendor="affise",
        app_id=None,
        cadence={"data_fusion": "daily"},
        directories={"clicks": "affise/clicks", "conversions": "affise/conversions"},
        start=day,
    )
    bench = ClusterBench(nodes, place, 2)
    loaded = warehouse.load(feed, partition(str(day), "clicks", days=1), bench=bench)
    assert loaded.staged.loaded > 0
    assert loaded.staged.reading.key is not None
    sent = b"".join(nodes.sent)
    assert sent
    assert KEY.encode() not in sent
    assert b"a secret of the store" not in sent


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


def test_nodes_merge_random_lives_as_one_machine_does(
    tmp_path: Path, nodes: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late, repeated and replaced loads included."""
    monkeypatch.setattr(at_random, "USERS", 20)
    snapshots = at_random.invent(random.Random(7))
    found = []
    for buckets in (versions.OWN_BUCKETS, ClusterBuckets(nodes, place, 0, 4)):
        monkeypatch.setattr(at_random, "merge", partial(merge, buckets=buckets))
        with in_memory() as connection:
            at_random.load(ByHand(connection, tmp_path), snapshots, random.Random(8))
            accounts = [
                connection.execute(f"FROM ops.{table} ORDER BY ALL").fetchall() for table in ("withdrawals", "holds")
            ]
            found.append((at_random.history(connection, "acme"), accounts))
    assert found[0] == found[1]
    assert {kind for said in found[0][0].values() for *_, kind, _, _ in said} == {
        *("new", "changed", "deleted", "restored")
    }
    assert len(nodes.sent) > 50
    assert files_in(place) == []


def test_nodes_merge_around_a_delivery_that_is_held(tmp_path: Path, nodes: Any, place: Place) -> None:
    """It is held, then another comes, then somebody lets it pass; users are in buckets that see no hold."""
    users = [f"{number:024x}" for number in range(8)]
    first, second, third = held_back.STAMPS[:3]

    def trips(count: int, mode: str) -> list[dict[str, Any]]:
        began = [held_back.STAMPS[0] - timedelta(hours=hour) for hour in range(1, count + 1)]
        return [{"user_id": user, "start_at": start, "mode": mode} for user in users for start in began]

    told = "FROM history.transports ORDER BY ALL"
    found: list[list[Any]] = []
    for buckets in (versions.OWN_BUCKETS, ClusterBuckets(nodes, place, 0, 4)):
        with in_memory() as connection:
            hand, seen = ByHand(connection, tmp_path), []
            for stamp, count, mode in ((first, 10, "car"), (second, 5, "bus"), (third, 10, "bike")):
                hand.deliver("transports", stamp, trips(count, mode))
                merge(connection, [held_back.FEED], buckets=buckets)
                seen += [held_deliveries(connection), connection.execute(told).fetchall()]
            decide(connection, "acme", "transports", second.date(), Decision.RELEASED)
            merge(connection, [held_back.FEED], buckets=buckets)
            seen += [held_deliveries(connection), connection.execute(told).fetchall()]
            found.append(seen)
    assert found[0] == found[1]
    assert [held.stamp for held in found[0][2]] == [second]
    assert found[0][2] == found[0][4]
    assert found[0][6] == []
    assert len(nodes.sent) >= 8
    assert files_in(place) == []


def test_users_can_be_merged_one_without_the_others() -> None:
    """What a snapshot lacks is looked for among the keys of its users, so these must all be in one bucket."""
    for vendor in vendor_names():
        for contract in vendor_named(vendor).contracts.values():
            if contract.window is not None:
                assert contract.subject in contract.identity, contract.offload_type


def test_little_is_merged_by_this_process(tmp_path: Path, nodes: Any, place: Place) -> None:
    with in_memory() as connection:
        hand = ByHand(connection, tmp_path)
        hand.deliver("segments", at_random.FIRST, [{"user_id": ANN, "segment_id": "x"}])
        merge(connection, buckets=ClusterBuckets(nodes, place, 1000, 4))
        assert connection.execute("SELECT count(*) FROM sentiance.segments").fetchall() == [(1,)]
    assert nodes.sent == []


def test_by_default_nothing_leaves_this_process() -> None:
    cluster = Scale(fan_out="ray", ray_address="head:6379", staging="file:///shared")
    for scale in (None, Scale()):
        assert bench_of(scale) is bench_of(None)
    for scale in (None, Scale(), cluster):
        assert buckets_of(scale) is versions.OWN_BUCKETS
    merging = cluster.model_copy(update={"merge_from_rows": 5})
    assert buckets_of(merging) == ClusterBuckets(Cluster("head:6379"), Place("file:///shared"), 5, 32)
    assert bench_of(merging) == ClusterBench(Cluster("head:6379"), Place("file:///shared"), 32)


def test_a_cluster_without_ray_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScaleUnusable, match=r"Ray is not installed here: set the environment up from requirements-sca"):
        Cluster("head:6379").run(str, 1)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ScaleUnusable, match="check the url and endpoint_url of scale"):
        Place((tmp_path / "file").as_uri()).put(tmp_path / "file", "name")
