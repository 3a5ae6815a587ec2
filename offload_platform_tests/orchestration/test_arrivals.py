"""The arrivals sensor: each version of a complete delivery is reported once and loaded once."""

import gzip
import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from offload_platform.orchestration import arrivals
from offload_platform.orchestration.arrivals import arrivals_of
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.deliveries import delivery_key
from offload_platform.orchestration.resources import source_key, source_of, warehouse_in
from offload_platform.orchestration.tables import table_key
from offload_platform.settings import Feed, Settings
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation

FIRST = datetime(2026, 9, 5, 15, 5, 54, 499_000, UTC)
TYPES = ("segments", "stationaries")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_deliveries(Simulation(users=3, first_stamp=FIRST, snapshots=2, types=TYPES), tmp_path / "root")
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url=(tmp_path / "root").as_uri(),
        app_id=Simulation().app_id,
        cadence={"lifestyle": "weekly"},
        types=TYPES,
        settle_hours=0,
        start=date(2026, 9, 5),
    )
    return Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))


def tick(settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    [feed] = settings.feeds
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"warehouse": warehouse_in(settings.warehouse), source_key(feed): source_of(feed)},
        definitions=build_definitions(settings),
    )
    return arrivals_of(feed).evaluate_tick(context)


def load(settings: Settings, instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        partition_key=request.partition_key, asset_selection=request.asset_selection, instance=instance
    )
    return result.success


def keys(evaluated: Any) -> set[str]:
    return {request.run_key.rpartition("/")[0] for request in evaluated.run_requests}


def load_all(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    evaluated = tick(settings, instance)
    assert all(load(settings, instance, request) for request in evaluated.run_requests)
    return evaluated.cursor


def test_each_complete_delivery_is_reported_and_asked_for_once(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, instance)
        expected = {f"acme/{t}/{day}" for t in TYPES for day in ("2026-09-05", "2026-09-12")}
        assert keys(first) == expected
        arrived = [e for e in first.asset_events if isinstance(e, dg.AssetMaterialization)]
        assert {(e.asset_key, e.partition) for e in arrived} == {
            (delivery_key("acme", t), day) for t in TYPES for day in ("2026-09-05", "2026-09-12")
        }
        second = tick(settings, instance, first.cursor)
        assert not second.run_requests
        assert not second.asset_events


def test_a_vendor_that_is_late_is_told_of_once_and_again_when_it_has_delivered(
    settings: Settings, tmp_path: Path
) -> None:
    def told(evaluated: Any) -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
        results = [e for e in evaluated.asset_events if isinstance(e, dg.AssetCheckEvaluation)]
        return {e.asset_key.path[1]: (e.passed, e.severity) for e in results}

    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, instance)
        assert told(first) == dict.fromkeys(TYPES, (False, dg.AssetCheckSeverity.ERROR))
        second = tick(settings, instance, first.cursor)
        assert told(second) == {}
        yesterday = datetime.now(UTC) - timedelta(days=1)
        write_deliveries(Simulation(users=3, first_stamp=yesterday, types=TYPES), tmp_path / "newer")
        [newer] = (tmp_path / "newer").iterdir()
        shutil.move(newer, tmp_path / "root" / newer.name)
        assert told(tick(settings, instance, second.cursor)) == dict.fromkeys(TYPES, (True, dg.AssetCheckSeverity.WARN))


def test_a_wiped_cursor_asks_for_nothing_that_is_loaded(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        [wanted] = [r for r in tick(settings, instance).run_requests if "segments/2026-09-12" in r.run_key]
        assert load(settings, instance, wanted)
        assert keys(tick(settings, instance)) == {
            "acme/segments/2026-09-05",
            "acme/stationaries/2026-09-05",
            "acme/stationaries/2026-09-12",
        }


def test_a_re_delivered_part_is_a_new_version_whatever_its_date(settings: Settings, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, instance)
        [part] = (tmp_path / "root").glob("09_05_2026*/*/segments.*/part-*")
        lines = gzip.decompress(part.read_bytes()).splitlines(keepends=True)
        part.write_bytes(gzip.compress(b"".join(lines[:-1])))
        again = tick(settings, instance, first.cursor)
        assert keys(again) == {"acme/segments/2026-09-05"}
        assert {r.run_key for r in again.run_requests}.isdisjoint(r.run_key for r in first.run_requests)


def test_going_back_to_earlier_bytes_is_asked_for_under_a_new_run_key(settings: Settings, tmp_path: Path) -> None:
    [part] = (tmp_path / "root").glob("09_05_2026*/*/segments.*/part-*")
    earlier = part.read_bytes()
    with dg.DagsterInstance.ephemeral() as instance:
        first = {r.run_key for r in tick(settings, instance).run_requests}
        load_all(settings, instance)
        part.write_bytes(gzip.compress(gzip.decompress(earlier).rpartition(b"\n")[0]))
        load_all(settings, instance)
        part.write_bytes(earlier)
        back = {r.run_key for r in tick(settings, instance).run_requests}
    assert len(back) == 1
    assert back.isdisjoint(first)


def test_touching_the_newer_delivery_of_a_week_does_not_take_the_table_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for stamp, snapshot_root in ((FIRST, root), (FIRST + timedelta(days=1), tmp_path / "second")):
        write_deliveries(Simulation(users=3, first_stamp=stamp, types=("segments",)), snapshot_root)
    [newer] = (tmp_path / "second").iterdir()
    shutil.move(newer, root / newer.name)
    long_ago = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    for part in root.rglob("part-*"):
        os.utime(part, (long_ago, long_ago))
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url=root.as_uri(),
        app_id=Simulation().app_id,
        cadence={"lifestyle": "weekly"},
        types=("segments",),
        settle_hours=24,
        start=date(2026, 9, 5),
    )
    settings = Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))
    with dg.DagsterInstance.ephemeral() as instance:
        load_all(settings, instance)
        [part] = (root / newer.name).rglob("part-*")
        part.touch()
        assert keys(tick(settings, instance)) == set()


def test_an_incomplete_delivery_is_waited_for_and_says_why(settings: Settings, tmp_path: Path) -> None:
    [folder] = (tmp_path / "root").glob("09_12_2026*/*/stationaries.*")
    shutil.move(folder, tmp_path / "held")
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, instance)
        assert {k.rpartition("/")[2] for k in keys(first)} == {"2026-09-05"}
        waiting = tick(settings, instance, first.cursor)
        assert waiting.skip_message
        assert "stationaries has no part yet" in waiting.skip_message
        shutil.move(tmp_path / "held", folder)
        assert {k.rpartition("/")[2] for k in keys(tick(settings, instance, waiting.cursor))} == {"2026-09-12"}


def test_a_root_that_cannot_be_listed_is_one_clear_error(settings: Settings, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.Failure, match="check the url of the feed"):
        tick(settings, instance)


def test_the_cursor_can_be_read(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = json.loads(tick(settings, instance).cursor or "")
    assert set(cursor["seen"]) == {f"{t}/{day}" for t in TYPES for day in ("2026-09-05", "2026-09-12")}


def test_a_cursor_of_another_version_is_no_more_than_forgotten(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        load_all(settings, instance)
        assert keys(tick(settings, instance, '{"seen": ["of old"]}')) == set()


def test_many_deliveries_are_asked_for_over_several_ticks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_REQUESTS_PER_TICK", 3)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, instance)
        second = tick(settings, instance, first.cursor)
        assert (len(keys(first)), len(keys(second))) == (3, 1)
        assert keys(first) | keys(second) == {f"acme/{t}/{day}" for t in TYPES for day in ("2026-09-05", "2026-09-12")}
        assert not tick(settings, instance, second.cursor).run_requests


def test_freshness_stands_on_the_delivery_and_allows_for_the_settle_period(settings: Settings) -> None:
    slow = settings.feeds[0].model_copy(update={"settle_hours": 24.0})
    for feed, warn in ((settings.feeds[0], timedelta(days=7, hours=6)), (slow, timedelta(days=8, hours=6))):
        defs = build_definitions(settings.model_copy(update={"feeds": (feed,)}))
        specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
        policy = specs[delivery_key("acme", "segments")].freshness_policy
        assert policy is not None
        assert policy.warn_window.to_timedelta() == warn  # type: ignore[attr-defined]
        assert specs[table_key(feed, "segments")].freshness_policy is None
