"""Loads one day of driving events and reads the same file with polars' and DuckDB's own JSON readers, in one run.

    python offload_platform_tests/benchmarks/driving_events.py --drives 20000

Each contender runs in a process of its own. MB are 10^6 bytes of decompressed JSON, and peak memory is that of the
process. The readers only read: they verify no checksum, apply no contract, account for no row and write no warehouse.
"""

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from offload_platform.simulator.driving import write_driving_days
from offload_platform.simulator.driving_settings import DrivingSimulation

DAY = date(2026, 3, 10)
_TYPE = "driving_events_realtime"
_READERS = {
    "polars, read into memory": "import polars; print(polars.read_ndjson({part!r}).height)",
    "polars, streamed to an Arrow file": "import polars; polars.scan_ndjson({part!r}).sink_ipc({out!r})",
    "DuckDB, read_json into a table": (
        "import duckdb; c = duckdb.connect({out!r}, config={{'threads': 2}}); "
        "c.execute('CREATE TABLE t AS FROM read_json(?, maximum_object_size = 67108864)', [{part!r}])"
    ),
}


@dataclass(frozen=True)
class Cost:
    """What a process took: wall and CPU in seconds, peak resident memory in bytes."""

    wall: float
    cpu: float
    peak: int


def main(
    drives: Annotated[int, typer.Option(help="About how many lines the day has.")] = 20_000,
    events: Annotated[int, typer.Option(help="Mean number of events on a drive; one takes about 330 bytes.")] = 90,
    folder: Annotated[Path | None, typer.Option(help="Keep the files here; a temporary folder by default.")] = None,
) -> None:
    """Measure and show."""
    with _folder(folder) as work:
        simulation = DrivingSimulation(
            users=drives, first_day=DAY, types=(_TYPE,), events_per_drive=events, users_per_part=drives
        )
        root = work / "root"
        if not root.exists():
            write_driving_days(simulation, root)
        [part] = root.rglob("part-*.gz")
        lines, size = _measure(part)
        feeds = _write_feeds(work, root, simulation.app_id)
        command = [str(Path(sys.executable).with_name("offload")), "run", "--feeds", str(feeds), "--json"]
        costs = {"offload run: verify, validate, load, publish": _run(command)}
        for name, code in _READERS.items():
            out = work / f"out-{len(costs)}"
            costs[name] = _run([sys.executable, "-c", code.format(part=str(part), out=str(out))])
    table = Table(title=f"{lines:,} lines, {size / 1e6:,.0f} MB of JSON", title_justify="left", box=None)
    for header in ("", "MB/s", "CPU s", "CPU, DuckDB = 1", "peak MB"):
        table.add_column(header, justify="right" if header else "left")
    base = costs["DuckDB, read_json into a table"].cpu
    for name, cost in costs.items():
        speed, ratio = size / 1e6 / cost.wall, cost.cpu / base
        table.add_row(name, f"{speed:,.1f}", f"{cost.cpu:,.1f}", f"{ratio:.2f}", f"{cost.peak / 1e6:,.0f}")
    Console().print(table)


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with TemporaryDirectory() as made:
            yield Path(made)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()


def _measure(part: Path) -> tuple[int, int]:
    lines = size = 0
    with gzip.open(part) as file:
        while block := file.read(1 << 24):
            lines += block.count(b"\n")
            size += len(block)
    return lines, size


def _write_feeds(work: Path, root: Path, app_id: str) -> Path:
    feed = {
        "name": "bench",
        "vendor": "sentiance",
        "url": root.as_uri(),
        "app_id": app_id,
        "cadence": {"driving": "daily"},
        "types": [_TYPE],
        "start": DAY,
    }
    file = work / "feeds.yaml"
    file.write_text(yaml.safe_dump({"warehouse": f"./warehouse-{time.time_ns()}", "feeds": [feed]}), encoding="utf-8")
    return file


def _run(command: list[str]) -> Cost:
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)[:300]}")
    return Cost(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


if __name__ == "__main__":
    typer.run(main)
