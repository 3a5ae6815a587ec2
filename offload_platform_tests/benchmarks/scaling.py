"""What more nodes bring: stages one partition on 1, 2 and 4 of them, and commits it; compares with Amdahl's law.

    .venv-scale/bin/python -m offload_platform_tests.benchmarks.scaling --docs docs

In two ways: with a fixed time of service for each part, most of which a node sleeps, so that the cores of this machine
do not bound what is seen; and with larger parts that are nothing but work, of which sizes and CPU for each row are
taken too. The fastest of some rounds counts. What is not on the nodes, the commit, is measured apart. Each node has one
slot, all in one network namespace, as Ray listens on every address. `--docs` writes figures, plot and tables into a
folder.
"""

import argparse
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console

from offload_platform.landing.errors import LandingError
from offload_platform.landing.staging import StagedDelivery, StagedPart
from offload_platform.scale.cluster import Cluster, ClusterBench, Nodes
from offload_platform.scale.nodes import PartToStage, stage_part
from offload_platform.scale.place import Place
from offload_platform.settings import Feed
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.publish import publish

from ..conftest import Warehouse
from ..scale.machines import ALONE, NAMESPACE, add_node, cluster
from .report import Grid, read_json

WORKERS = (1, 2, 4)
PARTS = 12
WEEKS = (10**8, 10**9, 10**10)
STAMP = datetime(2026, 9, 5, 15, 5, 54, 499_000, UTC)
_MARKED = re.compile(r"(<!-- scaling: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_INSIDE = "OFFLOAD_BENCHMARK_IS_INSIDE"
_WIDTH, _HEIGHT, _MARGIN = 640, 300, 46
_KINDS = {"fixed": ("fixed time of service", "#2563eb"), "work": ("nothing but work", "#d97706")}
Results = Mapping[str, Any]


@dataclass(frozen=True)
class Served:
    """A part to stage, and the seconds that a node takes for it at least."""

    part: PartToStage
    seconds: float


@dataclass(frozen=True)
class Account:
    """What came of a part on a node: CPU in seconds, and the most memory that the process ever held, in bytes."""

    staged: StagedPart | LandingError
    cpu: float
    peak: int


def serve(task: Served) -> Account:
    """On a node: stage a part, and take as long as is said."""
    end, before = time.monotonic() + task.seconds, time.process_time()
    staged = stage_part(task.part)
    cpu = time.process_time() - before
    time.sleep(max(0.0, end - time.monotonic()))
    return Account(staged, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


@dataclass(frozen=True)
class Serving:
    """Nodes that take a time for each part at least, and keep account of it."""

    nodes: Nodes
    seconds: float
    accounts: list[Account] = field(default_factory=list)

    def run(self, function: Callable[[Any], Any], task: Any) -> Any:
        assert function is stage_part
        account = self.nodes.run(serve, Served(task, self.seconds))
        self.accounts.append(account)
        return account.staged


@dataclass(frozen=True)
class Run:
    """What a load took.

    On the clock, in seconds: until all was staged and fetched, and from then on. In CPU seconds: on the nodes, and of
    this process before and after that moment.
    """

    kind: str
    workers: int
    staging: float
    commit: float
    cpu_nodes: float
    cpu_fetching: float
    cpu_commit: float


class Delivery:
    """One delivery of stays in a folder, to be loaded again and again, each time into another warehouse."""

    def __init__(self, kind: str, folder: Path, users: int, seconds: float) -> None:
        self.kind, self.seconds = kind, seconds
        self._folder = folder
        simulation = Simulation(
            users=users,
            users_per_part=users // PARTS,
            first_stamp=STAMP,
            snapshots=1,
            window_days=28,
            types=("stationaries",),
            inactive_share=0.0,
        )
        write_deliveries(simulation, folder / "delivered")
        self._feed = Feed(
            name="acme",
            vendor="sentiance",
            url=(folder / "delivered").as_uri(),
            app_id=simulation.app_id,
            cadence={"lifestyle": "weekly"},
            settle_hours=0,
            start=date(2000, 1, 1),
            types=simulation.types,
        )
        self.sizes: dict[str, float] = {}

    def load(self, nodes: Nodes, workers: int) -> Run:
        """Load it, with all parts handed out at once, and keep its sizes."""
        warehouse = Warehouse(self._folder / "warehouse")
        shutil.rmtree(warehouse.files.root, ignore_errors=True)
        contract = vendor_named("sentiance").contracts["stationaries"]
        partition = Partition("acme", contract, f"{STAMP:%Y-%m-%d}", STAMP, STAMP + timedelta(seconds=1))
        serving = Serving(nodes, self.seconds)
        bench = ClusterBench(serving, Place((self._folder / "staging").as_uri()), PARTS)
        at = [(time.monotonic(), time.process_time())]

        def on_staged(staged: StagedDelivery) -> None:
            at.append((time.monotonic(), time.process_time()))
            self.sizes["staged"] = sum(file.stat().st_size for part in staged.parts for file in part.row_files)

        loaded = warehouse.load(self._feed, partition, bench=bench, on_staged=on_staged)
        at.append((time.monotonic(), time.process_time()))
        assert len(serving.accounts) == PARTS
        self.sizes |= {"rows": loaded.staged.loaded, "delivered": loaded.delivery.size}
        self.sizes["peak of a node"] = max(account.peak for account in serving.accounts)
        clock, cpu = ([after[n] - before[n] for before, after in pairwise(at)] for n in range(2))
        return Run(self.kind, workers, *clock, sum(account.cpu for account in serving.accounts), *cpu)

    def finish(self) -> None:
        """Merge and publish what was loaded last."""
        warehouse = Warehouse(self._folder / "warehouse")
        with warehouse.writing() as connection:
            began = time.process_time()
            merge(connection, [self._feed])
            self.sizes["cpu to merge"] = time.process_time() - began
            self.sizes["build"] = _used_bytes(connection)
            began = time.process_time()
            self.sizes["published"] = publish(connection, warehouse.files, [self._feed]).size_bytes
            self.sizes["cpu to publish"] = time.process_time() - began


def _used_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    connection.execute("CHECKPOINT")
    used = "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    [(size,)] = connection.execute(used).fetchall()
    return int(size)


def measure(folder: Path, users: int, seconds: float, rounds: int, say: Callable[[str], None]) -> Results:
    """Load both deliveries on more and more nodes; the first load on each number warms the nodes up."""
    deliveries = [
        Delivery("fixed", folder / "fixed", 2 * PARTS, seconds),
        Delivery("work", folder / "work", users, 0.0),
    ]
    runs: list[Run] = []
    with cluster(0) as machines:
        nodes = Cluster(machines.address)
        for workers in WORKERS:
            while len(machines.worker_nodes) < workers:
                add_node(machines)
            for number in range(rounds + 1):
                for delivery in deliveries:
                    run = delivery.load(nodes, workers)
                    say(f"{workers} nodes, {delivery.kind}: staged in {run.staging:.1f} s, then {run.commit:.1f} s")
                    runs += [run] if number else []
    # What is done for the first time in a process takes longer.
    for delivery in (deliveries[0], *deliveries):
        delivery.finish()
    return {
        "cores": os.cpu_count(),
        "rounds": rounds,
        "parts": PARTS,
        "seconds": seconds,
        "sizes": {delivery.kind: delivery.sizes for delivery in deliveries},
        "runs": [asdict(run) for run in runs],
    }


def speed_ups(results: Results, kind: str) -> list[tuple[int, float, float, float]]:
    """By number of nodes: that number, and how many times as fast staging was, the load was, and could have been."""
    found = []
    first, serial = (_best(results, kind, 1, figure) for figure in ("staging", "commit"))
    for workers in WORKERS:
        staging, commit = (_best(results, kind, workers, figure) for figure in ("staging", "commit"))
        by_amdahl = (first + serial) / (first / workers + serial)
        found.append((workers, first / staging, (first + serial) / (staging + commit), by_amdahl))
    return found


def _best(results: Results, kind: str, workers: int | None, figure: str) -> float:
    return min(run[figure] for run in results["runs"] if run["kind"] == kind and workers in (None, run["workers"]))


def curve(results: Results) -> Grid:
    """What more nodes bring."""
    rows = [
        [
            f"{name}, {results['sizes'][kind]['rows']:,.0f} rows",
            f"{workers}",
            f"{_best(results, kind, workers, 'staging'):.2f}",
            f"{staging:.2f}",
            f"{_best(results, kind, workers, 'commit'):.2f}",
            f"{load:.2f}",
            f"{by_amdahl:.2f}",
        ]
        for kind, (name, _) in _KINDS.items()
        for workers, staging, load, by_amdahl in speed_ups(results, kind)
    ]
    headers = ("", "nodes>", "staging, s>", "times as fast>", "commit, s>", "load, times as fast>", "by Amdahl>")
    return Grid("What more nodes bring", headers, rows)


def of_a_row(results: Results) -> dict[str, float]:
    """What each row more takes, from the small delivery to the large one: microseconds of CPU, and bytes."""
    small, large = (
        results["sizes"][kind]
        | {cpu: _best(results, kind, None, cpu) for cpu in ("cpu_nodes", "cpu_fetching", "cpu_commit")}
        for kind in ("fixed", "work")
    )
    rows = large["rows"] - small["rows"]
    each = {figure: (large[figure] - small[figure]) / rows for figure in large}
    return {figure: value * 1e6 if "cpu" in figure else value for figure, value in each.items()}


def rows_measured(results: Results) -> Grid:
    """What a row takes."""
    row = of_a_row(results)
    headers = ("of a row of stays", "where", "CPU, µs>", "bytes>")
    peak = results["sizes"]["work"]["peak of a node"] / 1e6
    return Grid(
        "What a row takes",
        headers,
        [
            ["delivered, compressed", "S3, read by nodes", "", f"{row['delivered']:.0f}"],
            ["staged", f"nodes, each with {peak:,.0f} MB at most", f"{row['cpu_nodes']:.1f}", ""],
            [
                "exchanged",
                "S3, written by nodes, and read and removed",
                f"{row['cpu_fetching']:.1f}",
                f"{row['staged']:.0f}",
            ],
            ["committed", "control machine, disk", f"{row['cpu_commit']:.1f}", ""],
            ["merged, a first week", "control machine, disk", f"{row['cpu to merge']:.1f}", f"{row['build']:.0f}"],
            ["published", "control machine, disk", f"{row['cpu to publish']:.1f}", f"{row['published']:.0f}"],
        ],
    )


def costs(results: Results) -> Grid:
    """What a week of many rows takes, as many times what a row takes."""
    row = of_a_row(results)
    control = sum(row[figure] for figure in ("cpu_fetching", "cpu_commit", "cpu to merge", "cpu to publish"))
    lines = []
    for rows in WEEKS:
        hours = rows * row["cpu_nodes"] / 1e6 / 3600
        lines.append(
            [
                f"10^{len(str(rows)) - 1}",
                f"{hours:.2g}",
                f"{max(1, -(-hours // 1)):.0f}",
                f"{rows * control / 1e6 / 3600:.2g}",
                *(f"{rows * row[figure] / 1e9:,.0f}" for figure in ("delivered", "staged", "build", "published")),
            ]
        )
    headers = ("rows of a week", "CPU hours on nodes>", "slots to stage it in an hour>", "CPU hours, control machine>")
    sizes = ("GB delivered>", "GB exchanged>", "GB of build file>", "GB published>")
    return Grid("What weeks take", (*headers, *sizes), lines)


def plot(results: Results) -> str:
    """An SVG: how many times as fast loads are, over the number of nodes; dashed, by Amdahl's law."""
    most = max(WORKERS)

    def place(workers: float, fast: float) -> str:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * (workers - 1) / (most - 1)
        return f"{x:.1f},{_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * (fast - 1) / (most - 1):.1f}"

    drawn = [f'<path d="M{_MARGIN} {_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}" fill="none" stroke="#888"/>']
    for number, (kind, (name, colour)) in enumerate(_KINDS.items()):
        found = speed_ups(results, kind)
        for dashes, line in (("", [(n, load) for n, _, load, _ in found]), ("4", [(n, by) for n, _, _, by in found])):
            points = " ".join(place(*point) for point in line)
            drawn.append(
                f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes or "none"}" '
                f'points="{points}"/>'
            )
        drawn.append(
            f'<text x="{_MARGIN + 10}" y="{_MARGIN + 18 * number}" fill="{colour}">{name}; dashed: by Amdahl</text>'
        )
    for n in WORKERS:
        x, y = place(n, 1).split(",")
        drawn.append(f'<text x="{x}" y="{float(y) + 18:.1f}" text-anchor="middle" fill="#334155">{n} nodes</text>')
        x, y = place(1, n).split(",")
        drawn.append(f'<text x="{float(x) - 8:.1f}" y="{y}" text-anchor="end" fill="#334155">× {n}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(drawn)}</svg>\n'
    )


def filled_in(document: str, results: Results) -> str:
    """A document with the results between its marks."""
    grids = {"curve": curve, "row": rows_measured, "costs": costs}
    return _MARKED.sub(lambda mark: f"{mark[1]}\n{grids[mark[2]](results).markdown()}\n{mark[3]}", document)


def main() -> None:
    """Measure and show, in a network namespace that nobody else is in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4_800, help="of the delivery that is nothing but work")
    parser.add_argument("--seconds", type=float, default=0.5, help="of the fixed time of service")
    parser.add_argument("--rounds", type=int, default=5, help="of which the fastest counts: others use the machine too")
    parser.add_argument("--docs", type=Path, help="write into scale.md, scaling.json and scaling.svg in a folder")
    asked = parser.parse_args()
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        command = [*NAMESPACE, "bash", "-c", ALONE, sys.executable, "-m", __name__, *sys.argv[1:]]
        os.execvp(command[0], command)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        say = Console(stderr=True).print
        results = measure(Path(folder), asked.users, asked.seconds, asked.rounds, say)
    for grid in (curve(results), rows_measured(results), costs(results)):
        console.print(grid.rich())
    if asked.docs:
        write_into(asked.docs, results)


def write_into(docs: Path, results: Results) -> None:
    """Write figures and plot into a folder, and the tables into its scale.md."""
    (docs / "scaling.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = read_json(docs / "scaling.json")
    (docs / "scaling.svg").write_text(plot(results), encoding="utf-8")
    document = docs / "scale.md"
    document.write_text(filled_in(document.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    # By its name, so that nodes find what is handed to them.
    from offload_platform_tests.benchmarks import scaling

    scaling.main()
