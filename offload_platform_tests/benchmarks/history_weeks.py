"""What a week adds: loads weekly snapshots one after the other, merges and publishes each, and says what that took.

    python offload_platform_tests/benchmarks/history_weeks.py --users 2000 --weeks 52 --plot docs/history_weeks.svg

The figures are CPU seconds of this process and its staging workers, and sizes of files. A merge that got slower with
the number of weeks before it would show as a line that climbs.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
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

SHOWN_WEEKS = (1, 2, 9, 18, 26, 39, 52, 78, 104)
_WIDTH, _HEIGHT, _MARGIN = 640, 240, 40


@dataclass(frozen=True)
class Week:
    """What one more snapshot took; rows are delivered ones, sizes in bytes, times CPU seconds."""

    week: int
    rows: int
    new_rows: int
    load_s: float
    merge_s: float
    publish_s: float
    build_bytes: int
    published_bytes: int


def measure_weeks(users: int, weeks: int, types: Sequence[str], folder: Path) -> list[Week]:
    """Load, merge and publish one snapshot after the other."""
    simulation = Simulation(users=users, snapshots=weeks, types=tuple(types))
    files = WarehouseFiles(folder / "warehouse")
    feed = Feed(
        name="acme",
        vendor="sentiance",
        url=(folder / "delivered").as_uri(),
        app_id=simulation.app_id,
        cadence={"lifestyle": "weekly"},
        settle_hours=0,
        start=date(2000, 1, 1),
        types=tuple(types),
    )
    return [_measure(number, simulation, feed, files, folder) for number in range(weeks)]


def _measure(number: int, simulation: Simulation, feed: Feed, files: WarehouseFiles, folder: Path) -> Week:
    stamp = simulation.stamps[number]
    write_deliveries(replace(simulation, first_stamp=stamp, snapshots=1), folder / "delivered")
    store = DeliveryStore(feed)
    files.build.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    before = _cpu_s()
    for offload_type in feed.types or ():
        contract = vendor_named(feed.vendor).contracts[offload_type]
        partition = Partition(feed.name, contract, f"{stamp:%Y-%m-%d}", stamp, stamp + timedelta(seconds=1))
        rows += load_partition(store, partition, files, lambda: _open(files), "a run").staged.loaded
    loaded = _cpu_s()
    with _open(files) as connection:
        said = merge(connection, [feed])
    merged = _cpu_s()
    with _open(files) as connection:
        published = publish(connection, files, [feed])
    done = _cpu_s()
    shutil.rmtree(folder / "delivered")
    new = sum(count for m in said for kind, count in m.versions.items() if kind in ("new", "changed"))
    return Week(
        week=number + 1,
        rows=rows,
        new_rows=new,
        load_s=round(loaded - before, 2),
        merge_s=round(merged - loaded, 2),
        publish_s=round(done - merged, 2),
        build_bytes=_used_bytes(files),
        published_bytes=published.size_bytes,
    )


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


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


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
    parser.add_argument("--plot", type=Path, help="draw them into an SVG file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weeks = measure_weeks(asked.users, asked.weeks, asked.types, Path(folder))
    table = Table(box=None, header_style="dim")
    for header in ("week", "rows", "new or changed", "load s", "merge s", "publish s", "build MB", "published MB"):
        table.add_column(header, justify="right")
    for week in weeks:
        if week.week in SHOWN_WEEKS or week.week == len(weeks):
            table.add_row(
                *(f"{week.week}", f"{week.rows:,}", f"{week.new_rows:,}"),
                *(f"{seconds:.2f}" for seconds in (week.load_s, week.merge_s, week.publish_s)),
                *(f"{size / 1e6:,.1f}" for size in (week.build_bytes, week.published_bytes)),
            )
    Console(width=120).print(table)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(week) for week in weeks], indent=1), encoding="utf-8")
    if asked.plot:
        asked.plot.write_text(plot(weeks), encoding="utf-8")


if __name__ == "__main__":
    main()
