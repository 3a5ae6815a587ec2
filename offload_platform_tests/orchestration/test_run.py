"""`offload run` in parallel: the same warehouse whatever the order, whatever dies, and however often it is run."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.run import LoadOutcome, PlannedLoad, default_parallel, execute, plan, publish_now
from offload_platform.settings import Settings, read_settings
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Drift, DriftKind, Simulation
from offload_platform.warehouse.files import WarehouseFiles, prepare

TYPES = ("stationaries", "moments", "segments")
WEEKS = 3
LOADS = WEEKS * len(TYPES)
DIFFERS = {"ledger": "loaded_at", "receipts": "run_id, committed_at"}
"""Columns of `ops` tables that are other in each load."""
Make = Callable[..., Any]
Content = dict[str, list[str]]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks of three types, with broken rows and drift."""
    root = tmp_path_factory.mktemp("simulated") / "delivered"
    drifts = (Drift(DriftKind.NEW_COLUMN, "segments"), Drift(DriftKind.UNKNOWN_VALUE, "moments"))
    write_deliveries(
        Simulation(users=5, snapshots=WEEKS, types=TYPES, faults=0.05, drifts=drifts, users_per_part=2), root
    )
    return root


@pytest.fixture
def feeds(tmp_path: Path, delivered: Path, feed_of: Make, feeds_yaml: Make) -> Path:
    return feeds_yaml(tmp_path, feed_of(delivered.as_uri(), types=TYPES))


@dataclass(frozen=True)
class Expected:
    """What can be seen in the build file and in the published one."""

    build: Content
    published: Content


@pytest.fixture
def settings(feeds: Path) -> Settings:
    return read_settings(feeds)


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(settings.warehouse), capture_output=False) as instance:
        yield instance


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, delivered: Path, feed_of: Make) -> Expected:
    """What the files hold when one partition after the other has been loaded, and all have been published."""
    folder = tmp_path_factory.mktemp("expected")
    settings = Settings(warehouse=folder / "warehouse", feeds=(feed_of(delivered.as_uri(), types=TYPES),))
    with open_instance(WarehouseFiles(settings.warehouse), capture_output=False) as instance:
        outcomes = list(execute(settings, plan(settings, settings.feeds).loads, instance))
        assert [o.error for o in outcomes if not o.succeeded] == []
        assert publish_now(settings, instance) is None
    content = content_of(WarehouseFiles(settings.warehouse).build)
    assert len(content["ops.receipts"]) == LOADS
    assert content["ops.quarantine"]
    assert content["ops.drift"]
    assert content["ops.withdrawals"]
    for name in TYPES:
        delivered_rows, versions, current = (
            len(content[f"{schema}.{name}"]) for schema in ("delivered", "history", "sentiance")
        )
        assert delivered_rows > versions > current > 0
    published = content_of(WarehouseFiles(settings.warehouse).published)
    assert published | {t: rows for t, rows in content.items() if not t.startswith("delivered.")} == published
    assert published["mart.stationary"]
    return Expected(content, published)


def content_of(file: Path) -> Content:
    """Every row that can be seen as sorted texts, without the columns that are other in each load.

    How the build file keeps the rows is left out: their numbers follow the order of the loads.
    """
    with duckdb.connect(file, read_only=True) as connection:
        prepare(connection)
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'store'"
        ).fetchall()
        left_out = {table: f"EXCLUDE ({DIFFERS[table]})" if table in DIFFERS else "" for _, table in tables}
        return {
            f"{schema}.{table}": sorted(
                repr(row) for row in connection.execute(f"SELECT * {left_out[table]} FROM {schema}.{table}").fetchall()
            )
            for schema, table in tables
        }


def key_of(load: PlannedLoad | LoadOutcome) -> tuple[str, str]:
    return load.offload_type, load.partition


def run_statuses(instance: dg.DagsterInstance) -> list[str]:
    return [run.status.value for run in instance.get_runs()]


@pytest.mark.parametrize(("parallel", "seed"), [(2, None), (3, 1), (1, 2)])
def test_content_is_the_same_at_any_parallelism_and_in_any_order(
    settings: Settings, instance: dg.DagsterInstance, expected: Expected, parallel: int, seed: int | None
) -> None:
    loads = list(plan(settings, settings.feeds).loads)
    if seed is not None:
        random.Random(seed).shuffle(loads)
    seen: list[list[PlannedLoad]] = []
    outcomes = list(execute(settings, loads, instance, parallel, lambda under_way: seen.append(list(under_way))))
    assert sorted(map(key_of, outcomes)) == sorted(map(key_of, loads))
    assert all(outcome.succeeded for outcome in outcomes)
    assert run_statuses(instance) == ["SUCCESS"] * LOADS
    assert publish_now(settings, instance) is None
    files = WarehouseFiles(settings.warehouse)
    assert content_of(files.build) == expected.build
    assert content_of(files.published) == expected.published
    begun = list(dict.fromkeys(key_of(load) for under_way in seen for load in under_way))
    assert begun == [key_of(load) for load in loads]
    assert max(map(len, seen)) == parallel


def test_it_is_published_once(
    settings: Settings, instance: dg.DagsterInstance, expected: Expected, feeds: Path, offload: Make
) -> None:
    said = offload("run", "--feeds", feeds, "--parallel", 2, "--json")
    assert said.code == 0, said.err
    assert [(o["offload_type"], o["partition"]) for o in said.json["loads"]] == [
        key_of(load) for load in plan_of_new(settings, feeds)
    ], "told in the order of the plan"
    assert len(instance.fetch_materializations(PUBLISHED_KEY, limit=10).records) == 1
    assert content_of(WarehouseFiles(settings.warehouse).published) == expected.published
    assert offload("run", "--feeds", feeds, "--json").json["loads"] == []
    assert len(instance.fetch_materializations(PUBLISHED_KEY, limit=10).records) == 1, "nothing is new"


def plan_of_new(settings: Settings, feeds: Path) -> Sequence[PlannedLoad]:
    """The plan of a warehouse that holds nothing."""
    elsewhere = settings.model_copy(update={"warehouse": feeds.parent / "elsewhere"})
    return plan(elsewhere, elsewhere.feeds).loads


def test_what_was_loaded_and_not_published_is_published_by_the_next_run(
    settings: Settings, instance: dg.DagsterInstance, expected: Expected, feeds: Path, offload: Make
) -> None:
    """As after a kill between the last load and the end."""
    files = WarehouseFiles(settings.warehouse)
    assert offload("run", "--feeds", feeds, "--to", "2018-12-10").code == 0
    assert files.is_published
    rest = plan(settings, settings.feeds).loads
    assert rest
    assert all(outcome.succeeded for outcome in execute(settings, rest, instance))
    assert not files.is_published
    said = offload("run", "--feeds", feeds, "--json")
    assert (said.code, said.json["loads"]) == (0, [])
    assert content_of(files.published) == expected.published


def command(feeds: Path, parallel: int, **more: Any) -> "subprocess.Popen[str]":
    """The command as a terminal starts it: a process group of its own, and Ctrl-C works."""
    return subprocess.Popen(
        [sys.executable, "-m", "offload_platform.cli", "run", "--feeds", str(feeds), "--parallel", str(parallel)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | {"COLUMNS": "200"},
        **more,
    )


def descendants(pid: int) -> set[int]:
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in said.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def workers_of(pid: int) -> list[int]:
    """Worker processes of a command; a tracker of `multiprocessing` is none."""
    return [child for child in descendants(pid) if "spawn_main" in words_of(child)]


def words_of(pid: int) -> str:
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def is_alive(pid: int) -> bool:
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(said) and not said.startswith("Z")


def wait_until(met: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def some_are_loaded(instance: dg.DagsterInstance, number: int = 1) -> bool:
    return run_statuses(instance).count("SUCCESS") >= number


def folders_left_by_loads(settings: Settings) -> list[Path]:
    return [path for path in (settings.warehouse / "staging").iterdir() if path.is_dir()]


def test_killed_in_the_middle_nothing_goes_on_and_the_next_run_loads_the_rest(
    settings: Settings, instance: dg.DagsterInstance, expected: Expected, feeds: Path, offload: Make
) -> None:
    running = command(feeds, 2)
    wait_until(lambda: some_are_loaded(instance))
    processes = descendants(running.pid)
    assert len(workers_of(running.pid)) == 2
    running.kill()
    running.communicate(timeout=60)
    wait_until(lambda: not any(map(is_alive, processes)), seconds=10)
    files = WarehouseFiles(settings.warehouse)
    assert not files.published.exists()
    said = offload("run", "--feeds", feeds, "--parallel", 2, "--json")
    assert said.code == 0, said.err
    assert 0 < len(said.json["loads"]) < LOADS
    assert content_of(files.published) == expected.published
    assert folders_left_by_loads(settings) == []


@pytest.mark.parametrize(
    ("parallel", "number", "code"), [(2, signal.SIGINT, 130), (2, signal.SIGTERM, 143), (1, signal.SIGINT, 130)]
)
def test_interrupted_it_ends_in_order(
    settings: Settings,
    instance: dg.DagsterInstance,
    feeds: Path,
    parallel: int,
    number: signal.Signals,
    code: int,
) -> None:
    running = command(feeds, parallel)
    wait_until(lambda: some_are_loaded(instance) and "STARTED" in run_statuses(instance))
    processes = descendants(running.pid)
    os.killpg(running.pid, number)
    out, error = running.communicate(timeout=60)
    assert running.returncode == code, error
    assert "stopped: what is loaded stays. Next: offload run loads the rest" in error
    assert "Traceback" not in out + error
    wait_until(lambda: not any(map(is_alive, processes)), seconds=1)
    assert folders_left_by_loads(settings) == []
    statuses = run_statuses(instance)
    assert set(statuses) <= {"SUCCESS", "CANCELED" if parallel > 1 else "FAILURE"}
    assert not WarehouseFiles(settings.warehouse).published.exists()
    assert 0 < len(plan(settings, settings.feeds).loads) <= LOADS - statuses.count("SUCCESS")


def test_a_process_that_is_killed_fails_its_load_alone(
    settings: Settings, instance: dg.DagsterInstance, expected: Expected, feeds: Path, offload: Make
) -> None:
    running = command(feeds, 2)
    wait_until(lambda: "STARTED" in run_statuses(instance))
    [run, *_] = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    [start] = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_START).records
    os.kill(start.event_log_entry.get_dagster_event().pid or 0, signal.SIGKILL)
    out, error = running.communicate(timeout=300)
    assert running.returncode == 1, error
    [told] = [line for line in out.splitlines() if line.startswith("failed:")]
    assert "the process that loaded it died (killed by SIGKILL), most often because memory had run out." in told
    assert sorted(run_statuses(instance)) == ["FAILURE", *["SUCCESS"] * LOADS], "one load failed; one publishing"
    said = offload("run", "--feeds", feeds, "--json")
    assert (said.code, len(said.json["loads"])) == (0, 1)
    assert content_of(WarehouseFiles(settings.warehouse).published) == expected.published


def test_a_trouble_of_dagster_itself_fails_one_load(settings: Settings, instance: dg.DagsterInstance) -> None:
    loads = plan(settings, settings.feeds).loads[:2]
    unknown = replace(loads[0], partition="1999-01-01")
    outcomes = list(execute(settings, [unknown, loads[1]], instance))
    assert [o.succeeded for o in outcomes] == [False, True]
    assert "1999-01-01" in (outcomes[0].error or "")


def test_the_default_is_one_for_each_core_but_for_little_work(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [some, *_] = plan(settings, settings.feeds).loads
    assert default_parallel([some] * 3) == 1
    assert default_parallel([some] * 100) == min(pl.thread_pool_size(), 4)
    [part, *_] = some.delivery.parts
    large = replace(part, stored=replace(part.stored, size=100_000_000))
    assert default_parallel([replace(some, delivery=replace(some.delivery, parts=(large,)))]) > 1
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 64)
    assert default_parallel([some] * 100) == 4
