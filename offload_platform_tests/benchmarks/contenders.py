"""Who loads the same files: this platform, the bare engines, and other tools."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .peers import Peers

_LOADS = "offload_platform_tests.benchmarks.loads"
PLATFORM, FLOOR = "offload_platform", "DuckDB, declared types"
UNVALIDATED = "offload_platform, rules left out"
SNIFFED = "DuckDB, inferred types"
DLT, DLT_FASTEST = "dlt, as documented", "dlt, fastest route"


@dataclass(frozen=True)
class Task:
    """A delivery to load: at `url` in the S3 server, and the same files in `folder`. `out` does not exist yet."""

    offload_type: str
    url: str
    folder: Path
    out: Path


Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True)
class Contender:
    """Somebody who loads files. `reads` says where from; `note` what it does not do that the platform does.

    `is_measured_often` ones are run in every round, others once. `cpu_limit` is in seconds.
    """

    name: str
    command: Callable[[Task], Command]
    note: str
    reads: str = "local files"
    is_measured_often: bool = False
    cpu_limit: int = 120
    missing: str | None = None


def contenders(peers: Peers) -> list[Contender]:
    """All of them, this platform first."""

    def own(module: str, *more: str) -> Callable[[Task], Command]:
        def command(task: Task) -> Command:
            source = task.url if module == "whole_load" else str(task.folder)
            start = [sys.executable, "-m", f"{_LOADS}.{module}"]
            return [*start, task.offload_type, source, str(task.out), *more], {}

        return command

    def peer(script: str, *more: str) -> Callable[[Task], Command]:
        return lambda task: (peers.command(script, task.offload_type, str(task.folder), str(task.out), *more), {})

    def missing(*names: str) -> str | None:
        return next((f"not installed: {peers.missing[name]}" for name in names if name in peers.missing), None)

    texts = "waypoints stay texts"
    return [
        Contender(PLATFORM, own("whole_load"), "", "S3 server", True),
        Contender(FLOOR, own("duckdb_engine", "declared"), "no rules, no lines, no reasons", is_measured_often=True),
        Contender(
            SNIFFED,
            own("duckdb_engine", "inferred"),
            f"no rules; one bad cell makes a column text; {texts}",
            is_measured_often=True,
        ),
        Contender(
            UNVALIDATED, own("whole_load", "--without-validation"), "converts, looks at no rule", "S3 server", True
        ),
        Contender("polars", own("polars_alone"), f"writes no table; what cannot be read is null; {texts}"),
        Contender("pandas, a naive script", peer("pandas_naive.py"), f"no rules; {texts}", missing=missing("pandas")),
        Contender(DLT_FASTEST, peer("dlt_pipeline.py", "fastest"), f"no rules; {texts}", missing=missing("dlt")),
        Contender(DLT, peer("dlt_pipeline.py", "default"), f"no rules; {texts}", cpu_limit=45, missing=missing("dlt")),
        Contender(
            "sling", lambda task: peers.sling(task.folder, task.out), f"no rules; {texts}", missing=missing("sling")
        ),
    ]
