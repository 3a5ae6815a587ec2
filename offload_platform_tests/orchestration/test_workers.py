"""Worker processes: tasks at once, and no process that outlives its task's death, its parent or its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offload_platform.orchestration import workers
from offload_platform.orchestration.workers import Died, Workers

EVALUATE = partial(nullcontext, eval)
"""A workshop whose tasks are expressions."""
PID = "__import__('os').getpid()"


def asleep(seconds: float) -> str:
    return f"__import__('time').sleep({seconds}) or {PID}"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(met: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_tasks_begin_in_their_order_and_no_more_at_once_than_asked_for() -> None:
    tasks = [f"({number}, {PID})" for number in range(9)]
    seen: list[list[str]] = []
    with Workers[str, Any](2, EVALUATE) as some:
        results = dict(some.run(tasks, lambda under_way: seen.append(list(under_way))))
    assert [results[task][0] for task in tasks] == list(range(9))
    assert len({pid for _, pid in results.values()}) == 2
    assert {len(under_way) for under_way in seen} == {0, 1, 2}
    assert list(dict.fromkeys(task for under_way in seen for task in under_way)) == tasks
    assert seen[-1] == []
    assert not any(is_alive(pid) for _, pid in results.values())


def test_no_more_processes_than_tasks() -> None:
    with Workers[str, Any](4, EVALUATE) as some:
        assert len(list(some.run([PID]))) == 1
        assert len(some._idle) == 1


@pytest.mark.parametrize(
    ("death", "how"),
    [
        (f"__import__('os').kill({PID}, 9)", "killed by SIGKILL"),
        ("__import__('os')._exit(3)", "exit code 3"),
    ],
)
def test_a_process_that_dies_fails_its_task_alone_and_is_replaced(death: str, how: str) -> None:
    tasks = ["0", death, "2", "3", "4"]
    with Workers[str, Any](1, EVALUATE) as some:
        assert [result for _, result in some.run(tasks)] == [0, Died(how), 2, 3, 4]


def test_a_process_that_died_while_it_was_idle_costs_no_task() -> None:
    with Workers[str, Any](1, EVALUATE) as some:
        [(_, pid)] = some.run([PID])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not some._idle[0].process.is_alive())
        [(_, other)] = some.run([PID])
        assert isinstance(other, int)
        assert other != pid


def pids_of(some: "Workers[str, Any]", number: int) -> list[int]:
    return [worker.process.pid or 0 for worker, _ in some._busy.values()][:number]


def test_the_end_ends_idle_processes_and_busy_ones() -> None:
    tasks = [PID, asleep(600), asleep(600)]
    with Workers[str, Any](2, EVALUATE) as some, closing(some.run(tasks)) as running:
        _, idle = next(running)
        assert some.under_way == [tasks[1]]
        pids = [idle, *pids_of(some, 1)]
        begun = time.monotonic()
        some.end()
        assert time.monotonic() - begun < workers._SECONDS_TO_END / 2
    assert not any(is_alive(pid) for pid in pids)


def test_a_process_that_heeds_no_signal_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "_SECONDS_TO_END", 0.5)
    deaf, here = tmp_path / "deaf", tmp_path / "here"
    ignore = f"(__import__('signal').signal(15, __import__('signal').SIG_IGN), open({str(deaf)!r}, 'w').close())"
    with Workers[str, Any](2, EVALUATE) as some:
        running = some.run([f"open({str(here)!r}, 'w').close()", f"({ignore}, {asleep(600)})"])
        next(running)
        wait_until(deaf.exists)
        [pid] = pids_of(some, 1)
    assert not is_alive(pid)


PARENT = f"""
import os, sys
from contextlib import nullcontext
from functools import partial
from offload_platform.orchestration.workers import Workers

if __name__ == "__main__":
    with Workers(2, partial(nullcontext, eval)) as some:
        for _, said in some.run([{PID!r}, f"(open({{sys.argv[1]!r}}, 'w').close(), {asleep(600)})"]):
            print(said, *(worker.process.pid for worker, _ in some._busy.values()), flush=True)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, -signal.SIGINT), (signal.SIGHUP, -1)]
)
def test_processes_end_with_their_parent(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """As does a terminal, the signal goes to the whole group of the parent."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "begun")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    wait_until((tmp_path / "begun").exists)
    os.killpg(parent.pid, number)
    _, error = parent.communicate(timeout=60)
    assert parent.returncode == code
    assert error.count("Traceback") == (number is signal.SIGINT), "the parent's own"
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
