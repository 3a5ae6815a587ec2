"""Tables, plot and document of a run of `compare.py`, all from its JSON.

    python -m offload_platform_tests.benchmarks.report .bench/results docs

writes the results into `docs/performance.md`, between its marks, and copies the JSON and the plot beside it.
"""

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from .contenders import DLT, DLT_FASTEST, FLOOR, PLATFORM, SNIFFED, UNVALIDATED
from .limits import TARGETS
from .measuring import NO_TIME, ratio

Results = Mapping[str, Any]
_MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WIDTH, _LABEL, _BAR, _GAP = 760, 210, 15, 34
_COLOURS = {PLATFORM: "#2563eb", FLOOR: "#d97706"}
_CHARACTERS_OF_A_REASON = 160
_OTHER_COLOUR = "#94a3b8"


@dataclass(frozen=True)
class Grid:
    """A table: a header that ends in `>` is of a column of numbers."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """As it is shown on a terminal."""
        table = Table(title=self.title, title_justify="left", title_style="bold", header_style="dim", box=None)
        for header in self.headers:
            table.add_column(header.removesuffix(">"), justify="right" if header.endswith(">") else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """As it stands in a document."""
        lines = [
            [header.removesuffix(">") for header in self.headers],
            ["---:" if header.endswith(">") else "---" for header in self.headers],
            *[[cell.replace("|", "\\|") for cell in row] for row in self.rows],
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


class Runs:
    """The runs of one delivery, by contender."""

    def __init__(self, results: Results, file: Mapping[str, Any]) -> None:
        self.file = file
        keys = ("offload_type", "size", "bad_share")
        self._runs = [run for run in results["runs"] if all(run[key] == file[key] for key in keys)]

    @property
    def names(self) -> list[str]:
        """Who has loaded it or failed to."""
        return list(dict.fromkeys(run["contender"] for run in sorted(self._runs, key=lambda run: run["round"])))

    def succeeded(self, name: str) -> list[Mapping[str, Any]]:
        """The runs of a contender that came to their end, by round."""
        done = [run for run in self._runs if run["contender"] == name and not run["error"]]
        return sorted(done, key=lambda run: int(run["round"]))

    def outcome(self, name: str) -> str:
        """What became of one that has nothing to show."""
        errors = {run["error"] for run in self._runs if run["contender"] == name}
        return "not run" if errors == {NO_TIME} else "failed"

    def median(self, name: str, figure: str) -> float | None:
        """The median of a figure of one contender."""
        done = self.succeeded(name)
        return median(run[figure] for run in done) if done else None

    def ratio(self, figure: str, theirs: str, ours: str = PLATFORM) -> float | None:
        """The median of ours ÷ theirs in rounds that both were in."""
        found = {run["round"]: run[figure] for run in self.succeeded(theirs)}
        pairs = [(run[figure], found[run["round"]]) for run in self.succeeded(ours) if run["round"] in found]
        return ratio(*zip(*pairs, strict=True)) if pairs else None


def _deliveries(results: Results) -> dict[tuple[str, str, float], Runs]:
    found = {(file["offload_type"], file["size"], file["bad_share"]): Runs(results, file) for file in results["files"]}
    order = ("large", "middle", "small")
    return dict(sorted(found.items(), key=lambda item: (item[0][0], order.index(item[0][1]), item[0][2])))


def _largest(results: Results) -> list[tuple[str, Runs]]:
    return [(key[0], runs) for key, runs in _deliveries(results).items() if key[1] == "large"]


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def loads(results: Results) -> Grid:
    """The largest delivery of each type."""
    rows = []
    for offload_type, runs in _largest(results):
        file = runs.file
        what = f"{offload_type}: {file['rows']:,} rows, {file['size_bytes'] / 1e6:,.0f} MB"
        for number, name in enumerate(runs.names):
            done = runs.succeeded(name)
            wall = runs.median(name, "wall")
            arrived = done[0]["said"].get("rows") if done else None
            peak = runs.median(name, "peak")
            rows.append(
                [
                    what if number == 0 else "",
                    name,
                    _number(runs.median(name, "cpu")),
                    "" if name == PLATFORM else _number(runs.ratio("cpu", name)),
                    _number(wall),
                    "" if name == PLATFORM else _number(runs.ratio("wall", name)),
                    _number(file["size_bytes"] / 1e6 / wall if wall else None, 0),
                    _number(peak / 1e6 if peak else None, 0),
                    _number(arrived, 0) if done else runs.outcome(name),
                ]
            )
    headers = ("delivery", "", "CPU s>", "CPU, ours ÷ theirs>", "wall s>", "wall, ours ÷ theirs>", "MB/s>")
    return Grid("The largest deliveries, 0.1 % of the rows broken", (*headers, "peak MB>", "rows that arrived>"), rows)


def sizes(results: Results) -> Grid:
    """Every delivery: this platform, and its ratios."""
    rows = []
    for (offload_type, size, bad_share), runs in _deliveries(results).items():
        peak = runs.median(PLATFORM, "peak")
        rows.append(
            [
                f"{offload_type}, {size}",
                f"{runs.file['rows']:,}",
                f"{bad_share:.1%}",
                _number(runs.median(PLATFORM, "cpu")),
                *(_number(runs.ratio("cpu", theirs)) for theirs in (FLOOR, SNIFFED, UNVALIDATED, DLT_FASTEST, DLT)),
                _number(runs.ratio("wall", FLOOR)),
                _number(peak / 1e6 if peak else None, 0),
            ]
        )
    ratios = ("÷ declared>", "÷ inferred>", "÷ not validated>", "÷ dlt, fastest>", "÷ dlt>", "wall ÷ declared>")
    return Grid(
        "This platform, and the ratios of its CPU to that of others",
        ("delivery", "rows>", "broken>", "CPU s>", *ratios, "peak MB>"),
        rows,
    )


def failures(results: Results) -> Grid:
    """Who could not load what, and why."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for run in results["runs"]:
        if run["error"] and run["error"] != NO_TIME:
            delivery = f"{run['offload_type']}, {run['size']}, {run['bad_share']:.1%} broken"
            found.setdefault((run["contender"], _shortened(run["error"])), {})[delivery] = None
    rows = [[name, "; ".join(deliveries), reason] for (name, reason), deliveries in sorted(found.items())]
    return Grid("What was not loaded", ("", "delivery", "reason"), rows)


def _shortened(reason: str) -> str:
    plain = " ".join(re.sub(r"\x1b\[\d+m", "", reason).split())
    return re.sub(r"\S*/(\S+)", r"\1", plain)[:_CHARACTERS_OF_A_REASON]


def fixed(results: Results) -> Grid:
    """What is paid once."""
    rows = []
    for module, cost in results["fixed"]["imports"].items():
        weights = ", ".join(f"{name} {took:,.0f} ms ({modules})" for name, modules, took in cost["heaviest"])
        rows.append([f"import {module}", _number(cost["cpu"]), _number(cost["peak"] / 1e6, 0), weights])
    empty = results["fixed"]["empty"]
    runs = empty["runs"]
    first = f"imports {empty['imports']:.2f} s, definitions and plan {empty['definitions']:.2f} s, "
    rest = f"first run {runs[0]:.2f} s, each one more {median(runs[1:]):.2f} s"
    name = f"{len(runs)} empty partitions through Dagster"
    rows.append([name, _number(empty["cpu"]), _number(empty["peak"] / 1e6, 0), first + rest])
    return Grid("What is paid once", ("", "CPU s>", "peak MB>", "of it"), rows)


def merges(results: Results) -> Grid:
    """What a weekly snapshot costs on top of those before it."""
    rows = []
    for series in results["merges"]:
        for week in series["weeks"]:
            before = week["week"] - 1
            if before and before & (before - 1) == 0:
                published = week["publish_s"] is not None
                rows.append(
                    [
                        f"{week['rows']:,}",
                        f"{before}",
                        _number(week["merge_s"]),
                        _number(week["merge_s"] / week["rows"] * 1e6),
                        _number(week["merge_peak"] / 1e6, 0),
                        _number(week["publish_s"]) if published else "",
                        f"{week['published_bytes'] / 1e6:,.0f}" if published else "",
                        _number(week["publish_peak"] / 1e6, 0) if published else "",
                    ]
                )
    headers = ("rows of the snapshot>", "snapshots before it>", "merge, CPU s>", "for a million rows>", "peak MB>")
    return Grid(
        "A weekly snapshot, merged and published",
        (*headers, "publish, CPU s>", "published MB>", "publish, peak MB>"),
        rows,
    )


def publishing(results: Results) -> str:
    """What publishing costs for each GB more, from the last weeks of a small series and a large one."""
    if len(results["merges"]) < 2:
        return ""
    small, large = (series["weeks"][-1] for series in results["merges"])
    more_gb = (large["published_bytes"] - small["published_bytes"]) / 1e9
    per_gb = (large["publish_s"] - small["publish_s"]) / more_gb
    fixed_s = small["publish_s"] - per_gb * small["published_bytes"] / 1e9
    return f"Publishing takes {fixed_s:.1f} CPU seconds, and {per_gb:.0f} more for each GB of the published file."


def targets(results: Results) -> Grid:
    """What was aimed at, and what is."""
    rows = []
    for target in TARGETS:
        measured = _figure(results, target.of, target.figure)
        verdict = "not measured" if measured is None else "met" if measured <= target.most else "missed"
        rows.append([target.of, target.figure, f"{target.most:g}", _number(measured), verdict])
    return Grid("Targets", ("", "figure", "at most>", "measured>", ""), rows)


def _figure(results: Results, offload_type: str, figure: str) -> float | None:
    deliveries = _deliveries(results)
    found = {key[1]: runs for key, runs in deliveries.items() if key[0] == offload_type and key[2] == 0.001}
    if "large" not in found:
        return None
    large = found["large"]
    if figure.startswith("µs for each fix"):
        return _marginal_fix_us(found)
    if figure.startswith("peak, 16"):
        peaks = [runs.median(PLATFORM, "peak") for runs in (large, found["middle"])] if "middle" in found else []
        return peaks[0] / peaks[1] if len(peaks) == 2 and peaks[0] and peaks[1] else None
    if figure == "peak, MB":
        peak = large.median(PLATFORM, "peak")
        return peak / 1e6 if peak else None
    theirs = {
        "CPU, whole load ÷ DuckDB with inferred types": ("cpu", SNIFFED, large),
        "CPU, whole load ÷ DuckDB with declared types": ("cpu", FLOOR, large),
        "wall, whole load ÷ DuckDB with declared types": ("wall", FLOOR, large),
        "CPU, validated ÷ not validated": ("cpu", UNVALIDATED, large),
        "CPU, whole load ÷ dlt, fastest route (middle, none broken)": (
            "cpu",
            DLT_FASTEST,
            deliveries.get((offload_type, "middle", 0.0)),
        ),
        "CPU, whole load ÷ dlt, as documented (small)": ("cpu", DLT, found.get("small")),
    }
    measure, name, runs = theirs[figure]
    return runs.ratio(measure, name) if runs else None


def _marginal_fix_us(found: Mapping[str, Runs]) -> float | None:
    """CPU of a fix more, from the middle delivery to the large one: what is paid once is in neither."""
    if not {"large", "middle"} <= found.keys():
        return None
    cpu = {size: found[size].median(PLATFORM, "cpu") for size in ("large", "middle")}
    fixes = {size: found[size].file["fixes"] for size in ("large", "middle")}
    if cpu["large"] is None or cpu["middle"] is None:
        return None
    more: int = fixes["large"] - fixes["middle"]
    return (cpu["large"] - cpu["middle"]) / more * 1e6


def conditions(results: Results) -> str:
    """What was measured with, in one paragraph, and what there was no time for."""
    machine = results["machine"]
    left_out = sum(run["error"] == NO_TIME for run in results["runs"])
    told = f" {left_out} of {len(results['runs'])} loads were not begun: the time was up." if left_out else ""
    versions = {**machine["versions"], **{f"{name} (beside the project)": v for name, v in results["peers"].items()}}
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    before, after = results["load"]["before"][0], results["load"]["after"][0]
    return (
        f"{machine['cores']} cores, {machine['memory'] / 1e9:.0f} GB of memory, Python {machine['python']}; load of "
        f"the machine {before:.1f} at the beginning and {after:.1f} at the end; {results['seconds']:,} seconds in all. "
        f"{listed}.{told}"
    )


def tables(results: Results) -> list[Table | str]:
    """All of it, for a terminal."""
    grids = [loads(results), sizes(results), failures(results), merges(results), fixed(results), targets(results)]
    return [*(grid.rich() for grid in grids if grid.rows), publishing(results), conditions(results)]


def plot(results: Results) -> str:
    """An SVG with bars: CPU seconds of each contender for the largest delivery of each type, to one scale by type."""
    drawn, y = [], 20
    for offload_type, runs in _largest(results):
        file = runs.file
        drawn.append(
            _text(0, y, f"{offload_type}: {file['rows']:,} rows, {file['size_bytes'] / 1e6:,.0f} MB", bold=True)
        )
        cpu = {name: runs.median(name, "cpu") for name in runs.names}
        most = max((value for value in cpu.values() if value is not None), default=1.0)
        for name, value in cpu.items():
            y += _BAR + 5
            drawn.append(_text(_LABEL - 8, y + 4, name, anchor="end"))
            if value is None:
                drawn.append(_text(_LABEL, y + 4, runs.outcome(name)))
                continue
            width = (_WIDTH - _LABEL - 120) * value / most
            colour = _COLOURS.get(name, _OTHER_COLOUR)
            drawn.append(
                f'<rect x="{_LABEL}" y="{y - _BAR / 2:.1f}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
            )
            drawn.append(_text(_LABEL + width + 6, y + 4, f"{value:,.2f} CPU s"))
        y += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(drawn)}</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight} fill="#334155">{escape(text)}</text>'


def filled_in(document: str, results: Results) -> str:
    """A document with the results between its marks."""
    sections = {
        "loads": loads(results).markdown(),
        "sizes": sizes(results).markdown(),
        "failures": failures(results).markdown(),
        "merges": f"{merges(results).markdown()}\n{publishing(results)}\n",
        "fixed": fixed(results).markdown(),
        "targets": targets(results).markdown(),
        "conditions": f"{conditions(results)}\n",
    }
    return _MARKED.sub(lambda mark: f"{mark[1]}\n{sections[mark[2]]}\n{mark[3]}", document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("docs", type=Path)
    asked = parser.parse_args()
    for name in ("performance.json", "performance.svg"):
        shutil.copyfile(asked.results / name, asked.docs / name)
    document = asked.docs / "performance.md"
    results = read_json(asked.docs / "performance.json")
    document.write_text(filled_in(document.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
