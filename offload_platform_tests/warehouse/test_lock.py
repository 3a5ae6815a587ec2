"""Two partitions are staged at the same time; commits wait for each other, and a dead writer blocks nobody."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from offload_platform.landing.staging import StagedDelivery
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.warehouse.load import load_partition

DAYS = ("2018-12-08", "2018-12-15")
Make = Callable[..., Any]


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    for day in DAYS:
        vendor_folder.part(day, [f"{'a' * 24},,behavior.early_bird"])
    return feed_of(vendor_folder.url, types=("segments",))


def test_threads_stage_together_and_commit_one_after_the_other(warehouse: Any, feed: Feed, partition: Make) -> None:
    both_staged = threading.Barrier(2)
    inside: list[str] = []
    most_inside = 0

    def load(day: str) -> None:
        @contextmanager
        def writing() -> Iterator[Any]:
            nonlocal most_inside
            with warehouse.writing() as connection:
                inside.append(day)
                most_inside = max(most_inside, len(inside))
                time.sleep(0.2)
                yield connection
                inside.remove(day)

        # A barrier is passed by both or by nobody: both are staged before either may commit.
        load_partition(
            DeliveryStore(feed), partition(day), warehouse.files, writing, day, on_staged=lambda _: both_staged.wait(30)
        )

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(load, DAYS))
    assert most_inside == 1
    assert warehouse.query("SELECT count(*) FROM delivered.segments") == [(2,)]


def test_a_load_is_staged_while_another_writes_and_commits_afterwards(
    warehouse: Any, feed: Feed, partition: Make
) -> None:
    staged = threading.Event()
    order: list[str] = []

    def on_staged(_: StagedDelivery) -> None:
        order.append("staged")
        staged.set()

    with ThreadPoolExecutor(1) as worker:
        with warehouse.writing():
            loading = worker.submit(warehouse.load, feed, partition(), on_staged=on_staged)
            assert staged.wait(30)
            time.sleep(0.3)
            assert not loading.done()
            order.append("written")
        loading.result(30)
    assert order == ["staged", "written"]
    assert warehouse.query("SELECT count(*) FROM delivered.segments") == [(1,)]


PROCESS = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from offload_platform.landing.store import DeliveryStore
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.settings import read_settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.load import load_partition

configuration, day, mine, other = sys.argv[1:]
settings = read_settings(Path(configuration))
[feed] = settings.feeds
warehouse = warehouse_in(settings.warehouse)
start = datetime.fromisoformat(day).replace(tzinfo=UTC)
partition = Partition(
    "acme", vendor_named("sentiance").contracts["segments"], day, start, start + timedelta(days=7)
)

def meet(_):
    Path(mine).touch()
    deadline = time.monotonic() + 60
    while not Path(other).exists():
        assert time.monotonic() < deadline, "the other process is not staging"
        time.sleep(0.01)

load_partition(DeliveryStore(feed), partition, warehouse.files, warehouse.writing, day, on_staged=meet)
"""


def test_processes_stage_together_and_both_commit(tmp_path: Path, warehouse: Any, feed: Feed, feeds_yaml: Make) -> None:
    configuration = feeds_yaml(tmp_path, feed)
    marks = [tmp_path / "first is staged", tmp_path / "second is staged"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(configuration), day, str(mine), str(other)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for day, mine, other in zip(DAYS, marks, reversed(marks), strict=True)
    ]
    said = [process.communicate(timeout=90)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    found = warehouse.query("SELECT delivery_stamp::DATE::VARCHAR FROM delivered.segments ORDER BY ALL")
    assert found == [(day,) for day in DAYS]
    assert list((warehouse.files.root / "staging").iterdir()) == []


def test_a_writer_that_fails_gives_the_lock_back(warehouse: Any) -> None:
    def fail() -> None:
        with warehouse.files.writer_lock():
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    with ThreadPoolExecutor(1) as worker:
        assert worker.submit(warehouse.query, "SELECT 1").result(10) == [(1,)]


def test_folders_of_loads_that_still_go_on_are_left_alone(warehouse: Any) -> None:
    with warehouse.files.staging_folder() as first:
        (first / "rows").write_text("staged")
        with warehouse.files.staging_folder() as second:
            assert first != second
        assert (first / "rows").read_text() == "staged"
        assert not second.exists()
    assert list((warehouse.files.root / "staging").iterdir()) == []
