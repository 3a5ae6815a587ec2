"""Loads the same file by DuckDB alone and by the platform, in turns in one process, and says what the steps took.

    python -m offload_platform_tests.benchmarks.loads.counted_work FOLDER WORK [--twice steps|load]

CPU in multiples of DuckDB's, the least of some rounds each: what else the machine does only ever adds to it. The
delivery has one part, so that one step is under way at a time. For a test of the limits, work can be done twice: by
each step between reading and committing, or by all of the load.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from offload_platform.landing import records, staging
from offload_platform.quality.conform import Conformer
from offload_platform.warehouse import load as loading
from offload_platform.warehouse.files import WarehouseFiles

from .duckdb_engine import create
from .whole_load import feed_of, load

_TYPE = "stationaries"
_STEPS: dict[str, tuple[Any, str]] = {
    "parse": (records, "parse"),
    "conform": (Conformer, "conform"),
    "validate": (staging, "validate"),
    "commit": (loading, "replace_partition"),
}
"""Where the platform looks up what does a step."""
_WITHOUT_TRACE = ("parse", "conform", "validate")
"""Steps that can be repeated inside one load; a partition that is committed again finds its rows there."""
_SAMPLES = 3


class Step:
    """A step, wrapped: keeps the least CPU seconds of each of its calls in a round, and what all samples took."""

    def __init__(self, owner: Any, name: str, samples: int, times: int) -> None:
        self.calls: list[float] = []
        self.spent = 0.0
        inner: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: Any, **named: Any) -> Any:
            took = []
            for _ in range(samples):
                before = time.process_time()
                for _ in range(times):
                    result = inner(*arguments, **named)
                took.append(time.process_time() - before)
            self.calls.append(min(took))
            self.spent += sum(took)
            return result

        setattr(owner, name, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--twice", choices=["steps", "load"])
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    [part] = map(str, folder.rglob("part-*.gz"))
    steps = {}
    for name, (owner, attribute) in _STEPS.items():
        can_repeat = name in _WITHOUT_TRACE
        times = 2 if can_repeat and asked.twice == "steps" else 1
        steps[name] = Step(owner, attribute, _SAMPLES if can_repeat else 1, times)
    floors, rests = [], []
    rounds: dict[str, list[list[float]]] = {name: [] for name in steps}
    for number in range(asked.rounds):
        floors.append(_floor(part, asked.work / f"{number}.duckdb"))
        started = time.process_time()
        for warehouse in range(2 if asked.twice == "load" else 1):
            files = WarehouseFiles(asked.work / f"warehouse-{number}-{warehouse}")
            load(feed_of(folder.as_uri(), _TYPE), _TYPE, files)
        rests.append(time.process_time() - started - sum(step.spent for step in steps.values()))
        for name, step in steps.items():
            rounds[name].append(step.calls)
            step.calls, step.spent = [], 0.0
    if idle := [name for name, calls in rounds.items() if not all(calls)]:
        raise SystemExit(f"never called: {', '.join(idle)}; the platform looks these steps up elsewhere now")
    # The calls of a round are those of every other round: the same file, one block after the other.
    least = {name: sum(map(min, zip(*calls, strict=True))) for name, calls in rounds.items()}
    least["load"] = min(rests) + sum(least.values())
    sys.stdout.write(json.dumps({name: cpu / min(floors) for name, cpu in least.items()}) + "\n")


def _floor(part: str, out: Path) -> float:
    started = time.process_time()
    with duckdb.connect(out) as connection:
        create(connection, _TYPE, [part], is_declared=True)
    return time.process_time() - started


if __name__ == "__main__":
    main()
