"""The benchmark measures what it says, and its document holds what was measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..conftest import contract_of
from . import report, scaling
from .loads.duckdb_engine import DECLARED
from .measuring import ratio, run

DOCS = Path(__file__).parents[2] / "docs"
HELD = 200_000_000
BUSY_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", "x = bytearray(b'1') * {HELD}; sum(range(10**7)); import time; time.sleep(0.3)"])
"""
MEASURING = f"""
import json, sys
from dataclasses import asdict
from offload_platform_tests.benchmarks.measuring import run
for program in ("pass", {BUSY_CHILD!r}):
    print(json.dumps(asdict(run([sys.executable, "-c", program]))))
"""


def a_run(contender: str, number: int, cpu: float | None) -> dict[str, Any]:
    where = {"offload_type": "stationaries", "size": "large", "bad_share": 0.001, "round": number}
    error = None if cpu else "no memory left"
    return where | {"contender": contender, "cpu": cpu, "wall": cpu, "peak": 1e6, "said": {"rows": 10}, "error": error}


def results(*runs: dict[str, Any]) -> dict[str, Any]:
    file = {"offload_type": "stationaries", "size": "large", "bad_share": 0.001, "rows": 10, "size_bytes": 1000}
    return {"files": [file], "runs": runs}


def test_children_count() -> None:
    # From a process that holds little, as its peak counts as that of whatever it starts.
    said = subprocess.run(
        [sys.executable, "-c", MEASURING], check=True, capture_output=True, text=True, cwd=DOCS.parent
    ).stdout
    alone, with_child = (json.loads(line) for line in said.splitlines())
    assert with_child["error"] is None
    assert with_child["cpu"] > alone["cpu"] + 0.1
    assert HELD < with_child["peak"] < 2 * HELD


def test_a_failure_has_its_reason() -> None:
    cost = run([sys.executable, "-c", "raise SystemExit('the disk is full')"])
    assert cost.error == "the disk is full"
    assert cost.said == {}


def test_what_takes_too_long_is_stopped() -> None:
    cost = run([sys.executable, "-c", "while True: pass"], cpu_limit=1)
    assert cost.error == "stopped after 1 CPU seconds"


def test_a_ratio_is_the_median_of_pairs() -> None:
    # The machine was busy in the second round, for both.
    assert ratio([1.0, 10.0, 1.1], [2.0, 20.0, 2.0]) == pytest.approx(0.5)


def test_rounds_are_compared_with_themselves() -> None:
    said = results(a_run("ours", 0, 1.0), a_run("ours", 1, 9.0), a_run("theirs", 0, None), a_run("theirs", 1, 3.0))
    assert report.Runs(said, said["files"][0]).ratio("cpu", "theirs", "ours") == pytest.approx(3.0)


def test_one_that_failed_is_in_the_table_and_the_plot() -> None:
    said = results(a_run("offload_platform", 0, 1.0), a_run("theirs", 0, None))
    assert [row[1:] for row in report.loads(said).rows][1] == ["theirs", "–", "–", "–", "–", "–", "–", "failed"]
    assert [row[2] for row in report.failures(said).rows] == ["no memory left"]
    assert report.plot(said).count("failed") == 1


@pytest.mark.parametrize("offload_type", DECLARED)
def test_duckdb_is_told_of_every_delivered_column(offload_type: str) -> None:
    assert set(contract_of(offload_type).expected_wire_columns) <= DECLARED[offload_type].keys()


def test_the_document_holds_what_was_measured() -> None:
    document = (DOCS / "performance.md").read_text(encoding="utf-8")
    measured = report.read_json(DOCS / "performance.json")
    assert report.filled_in(document, measured) == document
    assert report.plot(measured) == (DOCS / "performance.svg").read_text(encoding="utf-8")


def test_the_document_of_the_cluster_holds_what_was_measured() -> None:
    document = (DOCS / "scale.md").read_text(encoding="utf-8")
    measured = report.read_json(DOCS / "scaling.json")
    assert "| 4 |" in scaling.curve(measured).markdown()
    assert scaling.filled_in(document, measured) == document
    assert scaling.plot(measured) == (DOCS / "scaling.svg").read_text(encoding="utf-8")


def test_what_the_commit_takes_bounds_what_nodes_bring() -> None:
    figures = {"kind": "fixed", "cpu_nodes": 0.0, "cpu_fetching": 0.0, "cpu_commit": 0.0, "commit": 2.0}
    runs = [figures | {"workers": workers, "staging": 8.0 / workers} for workers in scaling.WORKERS]
    slower = figures | {"workers": 4, "staging": 90.0}
    [_, _, (_, staging, load, by_amdahl)] = scaling.speed_ups({"runs": [slower, *runs]}, "fixed")
    assert (staging, load, by_amdahl) == (4.0, 2.5, 2.5), "the fastest round counts"
