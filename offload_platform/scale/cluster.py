"""Hands pure functions to the nodes of a Ray cluster, and waits for what they return.

Ray is an extra: it is imported when something is handed out, and not before.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Part
from offload_platform.landing.errors import LandingError
from offload_platform.landing.staging import OWN_BENCH, Bench, StagedPart
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.reading import Reading
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.nodes import PartToStage, software, stage_part
from offload_platform.scale.place import Place
from offload_platform.settings import FanOut, Scale

Task = TypeVar("Task")
Result = TypeVar("Result")

_LOST_AT_MOST = 5
"""So many nodes may be lost under one task."""
_joining = threading.Lock()


class Nodes(Protocol):
    """Machines that call pure functions."""

    def run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Have one of them call a function, and return what it returns."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, by the address of its head."""

    address: str

    def run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Have a node call a function, and return what it returns; where the node is lost, another one does it again.

        Raises:
            ScaleUnusable: the cluster cannot be reached, or has lost too many nodes under it.
        """
        ray = self.joined()
        remote = ray.remote(num_cpus=1, max_retries=_LOST_AT_MOST, scheduling_strategy="SPREAD")(function)
        try:
            return ray.get(remote.remote(task))  # type: ignore[no-any-return]
        except ray.exceptions.RayTaskError as error:
            # What the function has raised, as it would have here.
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise ScaleUnusable(
                f"the cluster at {self.address} has lost the work {_LOST_AT_MOST + 1} times, or is gone: look at its "
                f"nodes (ray status), then run again. ({_first_line(error)})"
            ) from error

    def joined(self) -> Any:
        """Ray, connected to the cluster; once for each process.

        Raises:
            ScaleUnusable: Ray is not installed, or the cluster cannot be reached.
        """
        try:
            import ray
        except ImportError as error:
            raise ScaleUnusable(
                "scale.fan_out is ray, and Ray is not installed here: set the environment up from "
                "requirements-scale.lock (make scale), or write fan_out: inline."
            ) from error
        with _joining:
            if not ray.is_initialized():
                try:
                    ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
                    # It would tell of a node that died on the standard output, in the middle of what commands say;
                    # no public switch silences that.
                    ray._private.worker._worker_logs_enabled = False
                except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                    raise ScaleUnusable(
                        f"no cluster answers at {self.address}: start its head (ray start --head), check "
                        f"scale.ray_address and the network, then run again. ({_first_line(error)})"
                    ) from error
        return ray

    def slots(self) -> int:
        """How many tasks its nodes can do at the same time now.

        Raises:
            ScaleUnusable: Ray is not installed, or the cluster cannot be reached.
        """
        return int(self.joined().cluster_resources().get("CPU", 0))


@dataclass(frozen=True)
class ClusterBench:
    """Stages each part on a node. `at_once` bounds the parts of a delivery that are handed out at the same time."""

    nodes: Nodes
    place: Place
    at_once: int

    def stage_part(
        self, store: DeliveryStore, part: Part, contract: Contract, reading: Reading, folder: Path
    ) -> StagedPart:
        """Stage one part on a node, and fetch its files."""
        with own_place(self.place) as place:
            task = PartToStage(
                store.feed, part, contract.offload_type, reading.version(contract), self._software, place
            )
            staged = self.nodes.run(stage_part, task)
            if isinstance(staged, LandingError):
                raise staged
            for file in (*staged.row_files, *staged.quarantine_files):
                place.fetch(str(file), folder / file)
            return replace(
                staged,
                row_files=tuple(folder / file for file in staged.row_files),
                quarantine_files=tuple(folder / file for file in staged.quarantine_files),
            )

    @cached_property
    def _software(self) -> str:
        return software()


@contextmanager
def own_place(place: Place) -> Iterator[Place]:
    """A place inside another that nobody else uses, and that is emptied afterwards."""
    own = place.below(uuid.uuid4().hex)
    try:
        yield own
    finally:
        own.empty()


def bench_of(scale: Scale | None) -> Bench:
    """Where parts are staged by a configuration: in this process, unless it says otherwise."""
    if scale is None or scale.fan_out is FanOut.INLINE:
        return OWN_BENCH
    return ClusterBench(cluster_of(scale), staging_of(scale), scale.parts_at_once)


def cluster_of(scale: Scale) -> Cluster:
    """The cluster of a configuration that has one."""
    assert scale.ray_address is not None
    return Cluster(scale.ray_address)


def staging_of(scale: Scale) -> Place:
    """The place by which nodes and control machine exchange files, in a configuration that has one."""
    assert scale.staging is not None
    return Place(scale.staging, scale.endpoint_url, scale.region, scale.aws_profile)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
