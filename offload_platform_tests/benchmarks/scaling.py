"""What more nodes bring: stages one partition on 1, 2 and 4 of them, and commits it; compares with Amdahl's law.

    .venv-scale/bin/python -m offload_platform_tests.benchmarks.scaling --docs docs

In two ways: with a fixed time of service for each part, most of which a node sleeps, so that the cores of this machine
do not bound what is seen; and with parts that are nothing but work. The commit is on the control machine, and measured
apart. Each node has one slot and the loopback of a network namespace of its own, as Ray listens on every address.
`--docs` writes what was measured, a plot, and the tables into docs/scale.md.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from offload_platform.landing.errors import LandingError
from offload_platform.landing.staging import StagedDelivery, StagedPart
from offload_platform.scale.cluster import Cluster, ClusterBench, Nodes
from offload_platform.scale.nodes import PartToStage, stage_part
from offload_platform.scale.place import Place
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition

from ..conftest import Warehouse
from ..scale.machines import ALONE, NAMESPACE, add_node, cluster
from .report import Grid, read_json

WORKERS = (1, 2, 4)
STAMP = datetime(2026, 9, 5, 15, 5, 54, 499_000, UTC)
_MARKED = re.compile(r"(<!-- scaling: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_INSIDE = "OFFLOAD_BENCHMARK_IS_INSIDE"
_WIDTH, _HEIGHT, _MARGIN = 640, 300, 46
_COLOURS = {"fixed": "#2563eb", "work": "#d97706"}
_LABELS = {"fixed": "parts with a fixed time of service", "work": "nothing but work, on {cores} shared cores"}


@dataclass(frozen=True)
class Served:
    """A part to stage, and the seconds that a node takes for it at least."""

    part: PartToStage
    seconds: float


def serve(task: Served) -> StagedPart | LandingError:
    """On a node: stage a part, and take as long as is said."""
    end = time.monotonic() + task.seconds
    staged = stage_part(task.part)
    time.sleep(max(0.0, end - time.monotonic()))
    return staged


@dataclass(frozen=True)
class Serving:
    """Nodes that take a fixed time for each part."""

    nodes: Nodes
    seconds: float

    def run(self, function: Callable[[Any], Any], task: Any) -> Any:
        assert function is stage_part
        return self.nodes.run(serve, Served(task, self.seconds))


@dataclass(frozen=True)
class Figures:
    """What a load took: seconds on the clock until it was staged, and from then on; and its rows."""

    staging: float
    commit: float
    rows: int
    staged_bytes: int


class Loads:
    """One delivery in a folder, loaded again and again into warehouses of their own."""

    def __init__(self, folder: Path, users: int, parts: int) -> None:
        simulation = Simulation(
            users=users,
            users_per_part=-(-users // parts),
            first_stamp=STAMP,
            snapshots=1,
            window_days=28,
            types=("stationaries",),
            inactive_share=0.0,
        )
        self._folder = folder
        self._feed = simulation_feed(simulation, folder / "delivered")
        self._nth = 0

    def load(self, nodes: Nodes, at_once: int) -> Figures:
        self._nth += 1
        warehouse = Warehouse(self._folder / f"warehouse-{self._nth}")
        contract = vendor_named("sentiance").contracts["stationaries"]
        partition = Partition("acme", contract, f"{STAMP:%Y-%m-%d}", STAMP, STAMP + timedelta(seconds=1))
        place = Place((self._folder / "staging").as_uri())
        staged_at, size = [0.0], [0]

        def on_staged(staged: StagedDelivery) -> None:
            staged_at[0] = time.monotonic()
            size[0] = sum(file.stat().st_size for part in staged.parts for file in part.row_files)

        began = time.monotonic()
        loaded = warehouse.load(
            self._feed, partition, bench=ClusterBench(nodes, place, at_once), on_staged=on_staged
        )
        ended = time.monotonic()
        shutil.rmtree(warehouse.files.root)
        return Figures(staged_at[0] - began, ended - staged_at[0], loaded.staged.loaded, size[0])
