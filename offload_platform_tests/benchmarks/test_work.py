"""The work that a load does stays near the floor: DuckDB alone, which checks nothing, on the same file."""

import sys
from pathlib import Path

import pytest

from .deliveries import write_delivery
from .limits import GUARD
from .measuring import run

USERS = 600
BAD_SHARE = 0.001


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 110,000 stays in one part."""
    folder = tmp_path_factory.mktemp("work") / "delivered"
    write_delivery("stationaries", folder, USERS, BAD_SHARE, parts_wanted=1)
    return folder


def counted(delivery: Path, work: Path, *more: str) -> dict[str, float]:
    """CPU of each step and of the whole load, in multiples of the floor's."""
    module = "offload_platform_tests.benchmarks.loads.counted_work"
    # With more threads, polars' wait for each other where the machine is busy, and that is CPU too.
    cost = run([sys.executable, "-m", module, str(delivery), str(work), *more], {"POLARS_MAX_THREADS": "1"})
    assert cost.error is None, cost.error
    return {name: float(times) for name, times in cost.said.items()}


def test_no_step_takes_more_than_its_limit(delivery: Path, tmp_path: Path) -> None:
    found = counted(delivery, tmp_path)
    assert found.keys() == GUARD.keys()
    assert {name: times for name, times in found.items() if times > GUARD[name]} == {}


@pytest.mark.parametrize(
    ("what", "seen"), [("steps", {"parse", "conform", "validate"}), ("load", {"load", "commit"})], ids=["steps", "load"]
)
def test_work_that_is_done_twice_is_seen(delivery: Path, tmp_path: Path, what: str, seen: set[str]) -> None:
    found = counted(delivery, tmp_path, "--twice", what, "--rounds", "2")
    assert seen <= {name for name, times in found.items() if times > GUARD[name]}
