"""Loads the same files by this platform, by bare engines and by other tools, in one run, and says what each took.

    make bench
    python -m offload_platform_tests.benchmarks.compare --types stationaries --minutes 3

Each load is a process of its own, from its start to its end, imports included. In a round everybody loads the same
delivery, one after the other; ratios are medians of the ratios of rounds, so that what else the machine does counts for
both. The platform reads from an S3 server on this machine, the others from local copies of the same objects. CPU of
the S3 server is not counted.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from offload_platform.simulator.object_store import ObjectStoreServer

from . import report
from .contenders import DLT, PLATFORM, Contender, Task, contenders
from .imports import heaviest
from .measuring import NO_TIME, Cost, run, write_json
from .peers import REPOSITORY, Peers, install

USERS = {"stationaries": 4110, "transports": 220, "attributes.long": 1640, "driving_events_realtime": 3500}
"""Users in the largest delivery: 750,000 stays, 40,000 trips, a million attributes, 4,000 drives."""
SIZES = {"large": 1, "middle": 4, "small": 16}
"""By how much a delivery is smaller than the largest."""
FEW_BAD, MANY_BAD = 0.001, 0.05
_TIMES_FULL = 4
_MINUTES_FULL = 90
_ROUNDS = 3
_SHARE_OF_LOADS = 0.75
"""Of the time; what is left of it is for the merges."""
_MERGED_USERS = 1100
_SNAPSHOTS = 9
_SMALLER = 4
_BUCKET, _ROOT = "benchmark", "acme"
_IMPORTED = ("offload_platform.warehouse.load", "offload_platform.orchestration.build")
_BENCHMARKS = "offload_platform_tests.benchmarks"


@dataclass(frozen=True)
class Cell:
    """A delivery that is measured with."""

    offload_type: str
    size: str
    bad_share: float

    @property
    def name(self) -> str:
        """Where it is kept."""
        return f"{self.offload_type}-{self.size}-{self.bad_share:g}"

    def users(self, times: int) -> int:
        """Users in it; `times` as many as usual."""
        return max(USERS[self.offload_type] * times // SIZES[self.size], 1)

    def is_for(self, contender: Contender) -> bool:
        """Whether somebody loads it: all but who takes minutes for the larger ones."""
        return contender.name != DLT or self.size == "small"


def cells(offload_types: Sequence[str]) -> list[Cell]:
    """The deliveries, those that tell most first."""
    kinds = [("large", FEW_BAD), ("middle", FEW_BAD), ("small", FEW_BAD), ("middle", 0.0), ("middle", MANY_BAD)]
    return [Cell(offload_type, *kind) for kind in kinds for offload_type in offload_types]


class Benchmark:
    """One run. What there was no time for is told with the rest."""

    def __init__(self, work: Path, console: Console, seconds: float, times: int) -> None:
        self._work = work
        self._console = console
        self._times = times
        self._end_of_loads = time.monotonic() + _SHARE_OF_LOADS * seconds
        self._end = time.monotonic() + seconds

    def loads(self, offload_types: Sequence[str], peers: Peers) -> dict[str, Any]:
        """Load every delivery by everybody."""
        everybody = contenders(peers)
        files: dict[Cell, dict[str, Any]] = {}
        runs: list[dict[str, Any]] = []
        with ObjectStoreServer(self._work / "s3", _BUCKET, _ROOT) as server:
            credentials = self._work / "credentials"
            server.write_profiles(credentials, client_profile="offload-benchmark")
            os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
            os.environ["OFFLOAD_BENCHMARK_ENDPOINT"] = server.url
            for cell in cells(offload_types):
                folder = self._work / cell.name
                files[cell] = self._write(cell, folder)
                server.upload_folder(folder, f"{_ROOT}/{cell.name}")
            # Everything once before anything twice, in case there is no time for all rounds.
            for number in range(_ROUNDS):
                for cell, content in files.items():
                    if number == 0 or (cell.size == "large" and cell.bad_share == FEW_BAD):
                        runs += list(self._round(cell, content, everybody, number))
        told = [{**asdict(cell), **content} for cell, content in files.items()]
        return {"files": told, "runs": runs, "peers": peers.versions()}

    def _write(self, cell: Cell, folder: Path) -> dict[str, Any]:
        arguments = [cell.offload_type, str(folder), "--users", str(cell.users(self._times))]
        module = [sys.executable, "-m", f"{_BENCHMARKS}.deliveries"]
        return _or_stop(run([*module, *arguments, "--bad-share", str(cell.bad_share)])).said

    def _round(
        self, cell: Cell, content: dict[str, Any], everybody: Sequence[Contender], number: int
    ) -> Iterator[dict[str, Any]]:
        expected = {"rows": content["rows"] - content["bad_rows"], "quarantined": content["bad_rows"]}
        here = [who for who in everybody if cell.is_for(who) and (who.is_measured_often or number == 0)]
        # Nobody is always the first, who finds the files cold.
        for who in here[number % len(here) :] + here[: number % len(here)]:
            if who.missing or time.monotonic() > self._end_of_loads:
                yield _of(cell, who, number, error=who.missing or NO_TIME)
                continue
            self._console.log(f"{cell.name}, round {number + 1}: {who.name}")
            with tempfile.TemporaryDirectory(dir=self._work) as out:
                url, folder = f"s3://{_BUCKET}/{_ROOT}/{cell.name}", self._work / cell.name
                task = Task(cell.offload_type, url, folder, Path(out) / "out.duckdb")
                command, environment = who.command(task)
                cost = run(command, environment, who.cpu_limit)
            if who.name == PLATFORM and (told := _or_stop(cost).said) != expected:
                raise SystemExit(f"{cell.name}: {told} is said to be loaded, and there are {expected}")
            yield _of(cell, who, number, **asdict(cost))

    def merges(self) -> list[dict[str, Any]]:
        """Merge weekly snapshots, one after the other: small ones, and four times as large ones."""
        found = []
        for users in (_MERGED_USERS * self._times // _SMALLER, _MERGED_USERS * self._times):
            if time.monotonic() > self._end:
                self._console.log("no time was left for the merges")
                break
            self._console.log(f"merging {_SNAPSHOTS} snapshots of {users} users")
            out = self._work / f"weeks-{users}.json"
            module = [sys.executable, "-m", f"{_BENCHMARKS}.history_weeks", "--types", "stationaries"]
            size = ["--users", str(users), "--weeks", str(_SNAPSHOTS)]
            _or_stop(run([*module, *size, "--json", str(out), "--without-truth"]))
            found.append({"users": users, "weeks": report.read_json(out)})
        return found

    def fixed_costs(self) -> dict[str, Any]:
        """What is paid once: imports, and runs of partitions that hold nothing."""
        self._console.log("fixed costs")
        starts = {module: _or_stop(run([sys.executable, "-c", f"import {module}"])) for module in _IMPORTED}
        empty = _or_stop(run([sys.executable, "-m", f"{_BENCHMARKS}.loads.empty_runs", str(self._work / "empty")]))
        return {
            "imports": {
                module: {"cpu": cost.cpu, "peak": cost.peak, "heaviest": heaviest(module)}
                for module, cost in starts.items()
            },
            "empty": {"cpu": empty.cpu, "peak": empty.peak, **empty.said},
        }


def _of(cell: Cell, who: Contender, number: int = 0, **measured: Any) -> dict[str, Any]:
    return {**asdict(cell), "contender": who.name, "reads": who.reads, "note": who.note, "round": number, **measured}


def _or_stop(cost: Cost) -> Cost:
    if cost.error:
        raise SystemExit(f"the benchmark cannot go on: {cost.error}")
    return cost


def _machine() -> dict[str, Any]:
    packages = ("duckdb", "polars", "pandera", "isal", "obstore", "numpy", "dagster")
    return {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "versions": {name: version(name) for name in packages},
    }


def main(
    types: Annotated[list[str] | None, typer.Option(help="Offload types; all four by default.")] = None,
    minutes: Annotated[float, typer.Option(help="Nothing is begun after that; what is left out is told.")] = 10.0,
    full: Annotated[bool, typer.Option(help="Four times the data: three million stays. Takes an hour.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results: performance.json and performance.svg.")] = (
        REPOSITORY / ".bench" / "results"
    ),
) -> None:
    """Measure, show, and write the results."""
    console = Console(stderr=True)
    console.log("installing other tools into .bench")
    peers = install()
    started, load_before = time.monotonic(), os.getloadavg()
    seconds = 60 * (max(minutes, _MINUTES_FULL) if full else minutes)
    with tempfile.TemporaryDirectory(prefix="offload-benchmark-") as folder:
        benchmark = Benchmark(Path(folder), console, seconds, _TIMES_FULL if full else 1)
        results = {
            "machine": _machine(),
            "fixed": benchmark.fixed_costs(),
            **benchmark.loads(types or list(USERS), peers),
            "merges": benchmark.merges(),
        }
    results["seconds"] = round(time.monotonic() - started)
    results["load"] = {"before": load_before, "after": os.getloadavg()}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "performance.json", results)
    (out / "performance.svg").write_text(report.plot(results), encoding="utf-8")
    Console(width=160).print(*report.tables(results), sep="\n\n")
    Console().print(f"\nWritten: {out}/performance.json, {out}/performance.svg", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
