"""The cluster and the lake are an extra: their tests are run where it is installed, by `make test` in an environment of
its own. What nodes do is tested everywhere.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .machines import ALONE, NAMESPACE

collect_ignore_glob = [] if find_spec("ray") else ["test_lake.py", "test_cluster.py", "test_faults.py", "test_delta.py"]

ROOT = Path(__file__).parents[2]


class OwnNodes:
    """Calls functions in this process, with tasks and results that have gone through a wire as those of a cluster do.

    `sent` is all that was sent.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def run(self, function: Callable[[Any], Any], task: Any) -> Any:
        self.sent.append(pickle.dumps((function, task)))
        on_the_node, received = pickle.loads(self.sent[-1])
        return pickle.loads(pickle.dumps(on_the_node(received)))


@pytest.fixture
def nodes() -> OwnNodes:
    return OwnNodes()


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory, vendor_and_warehouse: Callable[..., Any]) -> Any:
    """Published files of all offload types of all vendors; made once for lake and Delta tables."""
    from . import everything as deliveries

    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deliveries.SECRETS.items():
            patch.setenv(name, value)
        return deliveries.make(folder, vendor_and_warehouse(folder)[1])


def namespaces_are_permitted() -> bool:
    tried = subprocess.run([*NAMESPACE, "bash", "-c", ALONE, "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.fixture(scope="session")
def found_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Runs a program of this folder in a network namespace that nobody else is in; gives what it has found."""

    def run(program: str) -> dict[str, Any]:
        if not namespaces_are_permitted():
            must_run = os.environ.get("OFFLOAD_TESTS_MUST_RUN")
            assert not must_run, "CI must permit network namespaces (unshare --net): Ray listens on every address"
            pytest.skip("network namespaces are not permitted here, and Ray would listen on every address")
        folder = tmp_path_factory.mktemp(program)
        command = [sys.executable, "-m", f"offload_platform_tests.scale.{program}", folder, folder / "said.json"]
        ended = subprocess.run(
            [*NAMESPACE, "bash", "-c", ALONE, *map(str, command)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
        return dict(json.loads((folder / "said.json").read_text()))

    return run
