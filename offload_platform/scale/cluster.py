"""Hands pure functions to the nodes of a Ray cluster, and waits for what they return."""

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Part
from offload_platform.landing.errors import LandingError
from offload_platform.landing.staging import OWN_BENCH, Bench, StagedPart
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.reading import Reading
from offload_platform.scale.driver import Driver, DriverEnded, LostTask, NotJoined
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.nodes import PartToStage, software, stage_part
from offload_platform.scale.place import Place
from offload_platform.settings import FanOut, Scale

Task = TypeVar("Task")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 30.0
_SECONDS_BETWEEN_WORDS = 600.0
_SECONDS_TO_ANSWER = 10.0
_joining = threading.Lock()
_drivers: dict[str, Driver] = {}
_said_at: dict[str, float] = {}


class Nodes(Protocol):
    """Machines that call pure functions."""

    def run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Have one of them call a function, and return what it returns."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, by the address of its head; this machine is one of it."""

    address: str

    def run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Have a node call a function, and return what it returns; where the node is lost, another one does it again.

        While there is no node, it waits, and says so.

        Raises:
            ScaleUnusable: the cluster cannot be reached, its head is gone, or it has lost too many nodes.
        """
        try:
            with self._head_is_there():
                return self._driver().run(function, task, self._look_for_nodes, _SECONDS_BETWEEN_LOOKS)  # type: ignore[no-any-return]
        except LostTask as error:
            raise ScaleUnusable(
                f"the cluster at {self.address} has lost one piece of work again and again: look at its nodes (ray "
                f"status) and their memory, then run again. ({error})"
            ) from error

    def slots(self) -> int:
        """How many tasks its nodes can do at the same time now.

        Raises:
            ScaleUnusable: Ray is not installed, or the cluster cannot be reached, or has no node.
        """
        with self._head_is_there():
            slots = self._driver().slots()
        if slots == 0:
            raise ScaleUnusable(f"the cluster at {self.address} has no node: start one (ray start --address).")
        return slots

    def _look_for_nodes(self) -> None:
        if self._driver().slots() == 0 and _is_time_to_say(self.address):
            _log.warning(
                "The cluster at %s has no node: its work waits. Start one (ray start --address %s), and it goes on.",
                *(self.address, self.address),
            )

    @contextmanager
    def _head_is_there(self) -> Iterator[None]:
        try:
            yield
        except DriverEnded as error:
            raise ScaleUnusable(
                f"the head of the cluster at {self.address} is gone, and the work of its nodes with it: start it (ray "
                "start --head) and each node again, then run again. Nothing of this was committed."
            ) from error

    def _driver(self) -> Driver:
        """The process that speaks with the cluster; another one where the last has ended."""
        with _joining:
            driver = _drivers.get(self.address)
            if driver is not None and driver.has_ended:
                _drivers.pop(self.address).end()
                driver = None
            if driver is None:
                driver = _drivers[self.address] = self._joined()
            return driver

    def _joined(self) -> Driver:
        if find_spec("ray") is None:
            raise ScaleUnusable(
                "scale.fan_out is ray, and Ray is not installed here: set the environment up from "
                "requirements-scale.lock (make scale), or write fan_out: inline."
            )
        host, _, port = self.address.rpartition(":")
        try:
            # Ray takes a minute to say so.
            socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
            return Driver(self.address)
        except OSError as error:
            raise ScaleUnusable(
                f"no cluster answers at {self.address}: start its head (ray start --head), check scale.ray_address "
                f"and the network, then run again. ({error})"
            ) from error
        except NotJoined as error:
            raise ScaleUnusable(f"{self._why_not_joined(str(error))} Then run again.") from error

    def _why_not_joined(self, said: str) -> str:
        if "token" in said.lower():
            return (
                f"the cluster at {self.address} takes no work without its token: set RAY_AUTH_MODE=token here, and put "
                "the token of its head into ~/.ray/auth_token (or RAY_AUTH_TOKEN_PATH)."
            )
        return (
            f"the cluster at {self.address} does not let this machine in: it must be one of its machines (ray start "
            f"--address {self.address} --num-cpus 0), with the same Ray and the same Python. ({said[:300]})"
        )


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


def _is_time_to_say(address: str) -> bool:
    """Whether it is long ago that this was said last; from then on, it is not."""
    with _joining:
        is_time = time.monotonic() - _said_at.get(address, -_SECONDS_BETWEEN_WORDS) >= _SECONDS_BETWEEN_WORDS
        if is_time:
            _said_at[address] = time.monotonic()
        return is_time
