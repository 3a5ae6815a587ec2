"""Runs a command as a process of its own and says what it took: CPU, wall time, peak memory.

Nothing heavy is to be imported where this is used: a process inherits the peak of the one that starts it, so the peak
of the starter is the least that can be measured.
"""

import json
import os
import re
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

NO_TIME = "not run: the time was up"
"""The error of what was never begun."""
_SECONDS_BETWEEN_LOOKS = 0.02
_LINES_OF_A_REASON = 3
_CHARACTERS_OF_A_REASON = 240
_NAMES_AN_ERROR = re.compile(r"(?:[A-Z]\w+ )?\w*(?:Error|Exception|Failed)\b")


@dataclass(frozen=True)
class Cost:
    """What a process and its children took: wall and CPU in seconds, peak resident memory in bytes.

    `said` is the JSON object on the last line that it wrote; `error` is why it failed.
    """

    wall: float
    cpu: float
    peak: int
    said: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, cpu_limit: int = 600) -> Cost:
    """Run a command to its end; it is killed when it has taken `cpu_limit` CPU seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        )
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_limit, cpu_limit))
        tree = _Tree(process.pid)
        with tree:
            _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        # Told to the object too, or it would wait for the process at its own end.
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime
        peak = max(used.ru_maxrss * 1024, tree.peak)
        error = None
        if process.returncode:
            is_over = cpu >= cpu_limit - 1
            error = f"stopped after {cpu_limit} CPU seconds" if is_over else _reason(_text(err) or _text(out))
        return Cost(wall, cpu, peak, {} if error else _last_object(_text(out)), error)


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The median of the ratios of pairs; a pair is of one round."""
    return median(our / their for our, their in zip(ours, theirs, strict=False))


class _Tree:
    """Looks at a process and its children again and again, and keeps the most memory that they held together."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._root = psutil.Process(pid)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                processes = [self._root, *self._root.children(recursive=True)]
                self.peak = max(self.peak, sum(_resident(process) for process in processes))
            except psutil.NoSuchProcess:
                return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def _reason(said: str) -> str:
    """Of what a process wrote before it failed: from the last error that it names on, or else the last lines."""
    named = [found.start() for found in _NAMES_AN_ERROR.finditer(said)]
    lines = (said[named[-1] :] if named else said).split("\n")
    told = [line.strip() for line in lines if line.strip()]
    chosen = told[:_LINES_OF_A_REASON] if named else told[-_LINES_OF_A_REASON:]
    return " ".join(chosen)[:_CHARACTERS_OF_A_REASON] or "failed without a word"


def _last_object(said: str) -> dict[str, Any]:
    lines = said.strip().splitlines()
    return dict(json.loads(lines[-1])) if lines and lines[-1].startswith("{") else {}


def write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
