"""What a week adds: loads and merges weekly snapshots one after the other, and says what each took.

    python offload_platform_tests/benchmarks/history_weeks.py --users 20000 --weeks 52 --plot docs/history_weeks.svg

Each step is a process of its own; the figures are its CPU seconds, without those of its start, its peak memory, and
sizes of files. A merge that got slower with the number of weeks before it would show as a line that climbs. At the end,
the tables are compared with those that one snapshot of all that time makes, the simulator's truth: the exit code is 1
where they differ.
"""

import argparse
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import duckdb
from rich.console import Console
from rich.progress import track
from rich.table import Table

from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.load import load_partition
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.publish import publish
from offload_platform.warehouse.sql import fetched

DELIVERY_COLUMNS = "feed, app_id, known_from, object_key, line"
SHOWN_WEEKS = (1, 2, 9, 18, 26, 39, 52, 78, 104)
_WIDTH, _HEIGHT, _MARGIN = 640, 240, 40
_PEAK = re.compile(r"VmHWM:\s*(\d+) kB")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Week:
    """What one more snapshot took; rows are delivered ones, sizes and peaks of memory in bytes, times CPU seconds.

    Only the weeks that are shown are published.
    """

    week: int
    rows: int
    new_rows: int
    load_s: float
    merge_s: float
    build_bytes: int
    load_peak: int
    merge_peak: int
    publish_s: float | None = None
    published_bytes: int | None = None
    publish_peak: int | None = None


@dataclass(frozen=True)
class _Step:
    """What a step took in a process of its own: CPU in seconds, peak memory in bytes."""

    cpu: float
    peak: int


def measure_weeks(simulation: Simulation, folder: Path) -> Iterator[Week]:
    """Load and merge one snapshot after the other, and publish those that are shown."""
    files = WarehouseFiles(folder / "warehouse")
    for number, stamp in enumerate(simulation.stamps, start=1):
        week = _measure(number, replace(simulation, first_stamp=stamp, snapshots=1), files, folder / "delivered")
        if number in SHOWN_WEEKS or number == simulation.snapshots:
            size, step = _apart(_publish, files)
            week = replace(week, publish_s=round(step.cpu, 2), published_bytes=size, publish_peak=step.peak)
        yield week


def _apart(work: Callable[..., Result], *arguments: object) -> tuple[Result, _Step]:
    """Do something in a new process; returns what came of it, and what it took after the imports."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as alone:
        return alone.submit(_measured, work, *arguments).result()


def _measured(work: Callable[..., Result], *arguments: object) -> tuple[Result, _Step]:
    before = time.process_time()
    result = work(*arguments)
    # Of this program alone: what the system says of a process's peak includes that of the one that started it.
    [peak] = _PEAK.findall(Path("/proc/self/status").read_text(encoding="ascii"))
    return result, _Step(time.process_time() - before, int(peak) * 1024)


def _publish(files: WarehouseFiles) -> int:
    """Publish; returns the bytes of the published file."""
    with _open(files) as connection:
        return publish(connection, files).size_bytes


def _measure(number: int, snapshot: Simulation, files: WarehouseFiles, delivered: Path) -> Week:
    """Write one snapshot, load and merge it, and remove it."""
    write_deliveries(snapshot, delivered)
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url=delivered.as_uri(),
        app_id=snapshot.app_id,
        cadence={"lifestyle": "weekly"},
        settle_hours=0,
        start=date(2000, 1, 1),
        types=snapshot.types,
    )
    files.build.parent.mkdir(parents=True, exist_ok=True)
    rows, loading = _apart(_load, feed, snapshot, files)
    new, merging = _apart(_merge, feed, files)
    shutil.rmtree(delivered)
    took = round(loading.cpu, 2), round(merging.cpu, 2)
    return Week(number, rows, new, *took, _used_bytes(files), loading.peak, merging.peak)


def _load(feed: Feed, snapshot: Simulation, files: WarehouseFiles) -> int:
    """Load a snapshot; returns the rows of it."""
    [stamp] = snapshot.stamps
    rows = 0
    for offload_type in snapshot.types:
        contract = vendor_named(feed.vendor).contracts[offload_type]
        partition = Partition(feed.name, contract, f"{stamp:%Y-%m-%d}", stamp, stamp + timedelta(seconds=1))
        rows += load_partition(DeliveryStore(feed), partition, files, lambda: _open(files), "a run").staged.loaded
    return rows


def _merge(feed: Feed, files: WarehouseFiles) -> int:
    """Merge what is not merged yet; returns the versions that are new or changed."""
    with _open(files) as connection:
        said = merge(connection, [feed])
    return sum(count for m in said for kind, count in m.versions.items() if kind in ("new", "changed"))


def differing_types(simulation: Simulation, folder: Path) -> Iterator[str]:
    """Load what one snapshot of all the time would tell, and say which types the weekly snapshots told otherwise."""
    last = simulation.stamps[-1]
    days = simulation.window_days + simulation.cadence_days * simulation.snapshots
    told_at_last = replace(simulation, first_stamp=last, snapshots=1, window_days=days)
    truth = WarehouseFiles(folder / "truth")
    _measure(1, told_at_last, truth, folder / "delivered")
    _publish(truth)
    since = simulation.stamps[0] - timedelta(days=simulation.window_days - 1)
    for offload_type in simulation.types:
        contract = vendor_named("sentiance").contracts[offload_type]
        told = f"WHERE {contract.event_time} >= '{since}'" if contract.event_time else ""
        rows = f"SELECT * EXCLUDE ({DELIVERY_COLUMNS}) FROM sentiance.{contract.table} {told}"
        counted = []
        for files in (truth, WarehouseFiles(folder / "warehouse")):
            with duckdb.connect(files.published, read_only=True) as connection:
                prepare(connection)
                counted += fetched(connection, f"SELECT count(*), sum(hash(t)::HUGEINT) FROM ({rows}) AS t")
        if counted[0] != counted[1]:
            yield f"{offload_type}: {counted[1][0]:,} rows, and {counted[0][0]:,} in the truth, differ"


def _open(files: WarehouseFiles) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(files.build, config=dict(CONNECTION_CONFIG))
    prepare(connection)
    return connection


def _used_bytes(files: WarehouseFiles) -> int:
    with _open(files) as connection:
        connection.execute("CHECKPOINT")
        [(size,)] = fetched(
            connection,
            "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = current_database()",
        )
    return int(size)


def plot(weeks: Sequence[Week]) -> str:
    """An SVG with two lines over the weeks: CPU seconds to merge one, and MB of the build file."""
    lines = [
        ("merge, CPU s for each week", "#2563eb", [week.merge_s for week in weeks]),
        ("build file, MB", "#d97706", [week.build_bytes / 1e6 for week in weeks]),
    ]
    drawn = []
    for row, (label, colour, values) in enumerate(lines):
        most = max(values)
        step = (_WIDTH - 2 * _MARGIN) / max(len(values) - 1, 1)
        points = " ".join(
            f"{_MARGIN + step * place:.1f},{_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * value / most:.1f}"
            for place, value in enumerate(values)
        )
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        drawn.append(
            f'<text x="{_MARGIN}" y="{18 + 16 * row}" fill="{colour}" font-size="13">{label} (top: {most:,.1f})</text>'
        )
    axis = f"M{_MARGIN} {_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}"
    drawn.append(f'<path d="{axis}" fill="none" stroke="#888"/>')
    drawn.append(
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 12}" text-anchor="end" font-size="13">week {len(weeks)}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
        f"{''.join(drawn)}</svg>\n"
    )


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--types", nargs="+", default=["stationaries", "segments"])
    parser.add_argument("--json", type=Path, help="write all weeks to a file")
    parser.add_argument("--without-truth", action="store_true", help="do not compare the tables at the end")
    parser.add_argument("--plot", type=Path, help="draw them into an SVG file")
    asked = parser.parse_args()
    # Everybody is in every snapshot: what is told of somebody who was absent at last cannot be the last word.
    simulation = Simulation(users=asked.users, snapshots=asked.weeks, types=tuple(asked.types), inactive_share=0.0)
    with tempfile.TemporaryDirectory() as folder:
        weeks = list(
            track(measure_weeks(simulation, Path(folder)), "weeks", simulation.snapshots, console=Console(stderr=True))
        )
        # Before the comparison, so that nothing which happens there takes a year of figures with it.
        if asked.json:
            asked.json.write_text(json.dumps([asdict(week) for week in weeks], indent=1), encoding="utf-8")
        if asked.plot:
            asked.plot.write_text(plot(weeks), encoding="utf-8")
        differences = [] if asked.without_truth else list(differing_types(simulation, Path(folder)))
    table = Table(box=None, header_style="dim")
    for header in (
        *("week", "rows", "new or changed", "load s", "merge s", "merge MB", "publish s", "build MB", "published MB"),
    ):
        table.add_column(header, justify="right")
    for week in weeks:
        if week.publish_s is not None and week.published_bytes is not None:
            table.add_row(
                *(f"{week.week}", f"{week.rows:,}", f"{week.new_rows:,}"),
                *(f"{week.load_s:.2f}", f"{week.merge_s:.2f}", f"{week.merge_peak / 1e6:,.0f}"),
                f"{week.publish_s:.2f}",
                *(f"{size / 1e6:,.1f}" for size in (week.build_bytes, week.published_bytes)),
            )
    console = Console(width=120)
    console.print(table)
    if not asked.without_truth:
        console.print(*differences or ["The tables are those of one snapshot of all that time."], sep="\n")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
