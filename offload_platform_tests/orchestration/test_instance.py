"""The Dagster instance: what `dagster.yaml` says is what Dagster does, and runs whose process died are found."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.instance.config import PoolGranularity
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG, WILL_RETRY_TAG

from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import TEMPLATE, dagster_home, open_instance
from offload_platform.orchestration.launcher import LocalRunLauncher
from offload_platform.orchestration.tables import LOADS_POOL
from offload_platform.settings import Settings, SettingsError
from offload_platform.warehouse.files import WarehouseFiles

GOOD_ROW = f"{'a' * 24},,behavior.early_bird"
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def files(tmp_path: Path) -> WarehouseFiles:
    return WarehouseFiles(tmp_path / "warehouse")


def test_the_settings_are_written_once_and_then_belong_to_the_operator(files: WarehouseFiles) -> None:
    home = dagster_home(files)
    assert home == files.dagster_home
    assert [file.name for file in home.iterdir()] == ["dagster.yaml"]
    assert (home / "dagster.yaml").read_bytes() == TEMPLATE.read_bytes()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert dagster_home(files) == home
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_the_home_of_the_environment_counts(
    files: WarehouseFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))
    assert dagster_home(files) == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere" / "dagster.yaml").exists()
    assert not files.dagster_home.exists()


def test_the_settings_are_part_of_the_package() -> None:
    assert files_of("offload_platform.orchestration").joinpath("dagster.yaml").is_file()


def test_dagster_takes_every_setting(files: WarehouseFiles) -> None:
    said = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    with open_instance(files) as instance:
        assert not instance.telemetry_enabled
        limits = instance.get_concurrency_config()
        assert limits.run_queue_config is not None
        assert limits.run_queue_config.max_concurrent_runs == said["concurrency"]["runs"]["max_concurrent_runs"]
        assert limits.run_queue_config.max_user_code_failure_retries > 0
        assert limits.pool_config.pool_granularity is PoolGranularity.RUN
        assert limits.pool_config.default_pool_limit == said["concurrency"]["pools"]["default_limit"]
        assert limits.pool_config.default_pool_limit < limits.run_queue_config.max_concurrent_runs
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_poll_interval_seconds == said["run_monitoring"]["poll_interval_seconds"]
        assert instance.run_monitoring_start_timeout_seconds == said["run_monitoring"]["start_timeout_seconds"]
        assert isinstance(instance.run_launcher, LocalRunLauncher)
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == said["run_retries"]["max_retries"]
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.get_settings("sensors")["use_threads"]
        assert instance.get_settings("retention") == said["retention"]


def test_a_setting_that_dagster_does_not_know_is_an_error(files: WarehouseFiles) -> None:
    settings = dagster_home(files) / "dagster.yaml"
    settings.write_text(settings.read_text().replace("max_retries:", "maximum_retries:"))
    with pytest.raises(SettingsError, match=r"dagster\.yaml: .*maximum_retries.* Next: compare it"):
        open_instance(files)


@pytest.fixture
def settings(files: WarehouseFiles, vendor_folder: Any, feed_of: Make) -> Settings:
    return Settings(warehouse=files.root, feeds=(feed_of(vendor_folder.url, types=("segments",)),))


def test_every_load_belongs_to_the_pool_that_is_bounded(settings: Settings) -> None:
    graph = build_definitions(settings).resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.materializable_asset_keys}
    assert pools == {"acme/segments": {LOADS_POOL}, "published_file": set()}


def test_a_run_that_was_killed_is_retried_and_a_load_that_failed_is_not(
    files: WarehouseFiles, settings: Settings, vendor_folder: Any
) -> None:
    part = vendor_folder.part("2018-12-08", [GOOD_ROW])
    part.write_bytes(part.read_bytes()[:-6])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    with open_instance(files) as instance:
        failed = job.execute_in_process(
            partition_key="2018-12-08",
            asset_selection=[dg.AssetKey(["acme", "segments"])],
            instance=instance,
            raise_on_error=False,
        )
        killed = instance.create_run_for_job(_job)
        instance.report_run_failed(killed, "what run monitoring says of a run whose process ended")
        decided = {
            name: instance.get_run_by_id(run_id).tags.get(WILL_RETRY_TAG)
            for name, run_id in (("failed", failed.run_id), ("killed", killed.run_id))
        }
    assert decided == {"failed": "false", "killed": "true"}


@pytest.fixture
def load_under_way(vendor_folder: Any, tmp_path: Path, feed_of: Make, feeds_yaml: Make) -> Iterator[Make]:
    """Starts `offload run` in a process of its own; it is at its commit, for which it waits, when the test goes on."""
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    started: list[subprocess.Popen[bytes]] = []

    def start(instance: dg.DagsterInstance) -> tuple["subprocess.Popen[bytes]", dg.DagsterRun]:
        command = [sys.executable, "-m", "offload_platform.cli", "run", "--feeds", str(feeds)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        deadline = time.monotonic() + 120
        while not (runs := instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process, runs[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_run_is_well_while_its_process_lives_and_dead_at_the_second_look(
    files: WarehouseFiles, load_under_way: Make
) -> None:
    with open_instance(files) as instance:
        launcher = instance.run_launcher
        with files.writer_lock():
            process, run = load_under_way(instance)
            assert [launcher.check_run_worker_health(run).status for _ in range(3)] == [WorkerStatus.RUNNING] * 3
            process.send_signal(signal.SIGKILL)
            dead_but_not_reaped = psutil.Process(process.pid)
            while dead_but_not_reaped.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
            first = launcher.check_run_worker_health(run)
            process.wait()
            second = launcher.check_run_worker_health(run)
        assert first == (WorkerStatus.RUNNING, f"process {process.pid} has ended; looking again", None, None)
        assert second == (WorkerStatus.NOT_FOUND, f"process {process.pid} ended without a word", None, None)


def test_a_process_that_only_has_the_number_of_a_dead_one_is_no_life(files: WarehouseFiles) -> None:
    with open_instance(files) as instance:
        mine = psutil.Process()
        assert looks_at(instance, begun_at=time.time()) == [WorkerStatus.RUNNING] * 2
        assert looks_at(instance, begun_at=mine.create_time() - 3600) == [WorkerStatus.RUNNING, WorkerStatus.NOT_FOUND]


@pytest.mark.parametrize(
    ("server", "second"),
    [
        ('{"host": "127.0.0.1", "port": 4000}', WorkerStatus.NOT_FOUND),
        ('{"host": "localhost", "socket": "/run/offload/code.sock"}', WorkerStatus.NOT_FOUND),
        ('{"host": "loads.example.org", "port": 4000}', WorkerStatus.RUNNING),
    ],
)
def test_a_run_of_another_machine_is_not_judged(files: WarehouseFiles, server: str, second: WorkerStatus) -> None:
    with open_instance(files) as instance:
        assert looks_at(instance, begun_at=1.0, tags={GRPC_INFO_TAG: server}) == [WorkerStatus.RUNNING, second]


def test_a_run_that_has_not_begun_is_left_to_the_start_timeout(files: WarehouseFiles) -> None:
    with open_instance(files) as instance:
        assert looks_at(instance, begun_at=None) == [WorkerStatus.RUNNING] * 2


def looks_at(
    instance: dg.DagsterInstance, begun_at: float | None, tags: dict[str, str] | None = None
) -> list[WorkerStatus]:
    """What two looks say of a run that this process began, by its event, at a time."""
    run = instance.create_run_for_job(_job, tags=tags)
    if begun_at is not None:
        begun = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, _job.name, pid=os.getpid())
        instance.report_dagster_event(begun, run.run_id, timestamp=begun_at)
    return [instance.run_launcher.check_run_worker_health(run).status for _ in range(2)]


@dg.job(name="a_job")
def _job() -> None:
    """Does nothing."""
