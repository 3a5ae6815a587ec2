"""The cluster and the lake are an extra: their tests are run where it is installed, by `make test` in an environment of
its own. What nodes do is tested everywhere.
"""

import pickle
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("ray") else ["test_lake.py", "test_cluster.py", "test_delta.py"]


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
