"""Runs tasks in processes of their own, several at once: what kills a process fails one task and no other.

Processes and not threads: Dagster sets up logging anew for each run, where two threads wait for each other for ever,
and it heeds an interrupt in the main thread alone. Not here: what a task is.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Workshop = Callable[[], AbstractContextManager[Callable[[Task], Result]]]
"""Opens what the tasks of one process have in common, and gives the function that does a task. It must be picklable."""

_SECONDS_TO_END = 20.0
# polars and others have threads as soon as they are imported; a forked process would inherit their locks without them.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Died:
    """In the place of a result: the process ended in the middle of the task, and how."""

    how: str


class Workers(Generic[Task, Result]):
    """Up to `number` processes, each started when there is a task for it. As a context manager it ends them all."""

    def __init__(self, number: int, workshop: Workshop[Task, Result]) -> None:
        self._number = number
        self._workshop = workshop
        self._idle: list[_Worker] = []
        self._busy: dict[Any, tuple[_Worker, Task]] = {}

    def __enter__(self) -> "Workers[Task, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def under_way(self) -> list[Task]:
        """Tasks that have begun and not ended, oldest first."""
        return [task for _, task in self._busy.values()]

    def run(
        self, tasks: Sequence[Task], on_change: Callable[[Sequence[Task]], None] = lambda _: None
    ) -> Iterator[tuple[Task, Result | Died]]:
        """Begin tasks in their order and yield each when it ends; a process that died is replaced.

        `on_change` is told which tasks are under way, whenever they change.
        """
        waiting = deque(tasks)
        while waiting or self._busy:
            while waiting and len(self._busy) < self._number:
                worker = self._idle.pop() if self._idle else _Worker(self._workshop)
                if worker.take(waiting[0]):
                    self._busy[worker.connection] = worker, waiting.popleft()
            on_change(self.under_way)
            for connection in wait(list(self._busy)):
                worker, task = self._busy[connection]
                result = worker.result()
                del self._busy[connection]
                if not isinstance(result, Died):
                    self._idle.append(worker)
                yield task, result
        on_change([])

    def end(self) -> None:
        """End all processes: in order, but within a time that people wait for."""
        busy, idle = [worker for worker, _ in self._busy.values()], self._idle
        self._busy, self._idle = {}, []
        try:
            for worker in busy:
                worker.process.terminate()
            for worker in (*busy, *idle):
                worker.connection.close()
            deadline = time.monotonic() + _SECONDS_TO_END
            for worker in (*busy, *idle):
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in (*busy, *idle):
                worker.process.kill()
                worker.process.join()


class _Worker:
    """The parent's side of one process."""

    def __init__(self, workshop: Workshop[Any, Any]) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(theirs, workshop), daemon=True)
        self.process.start()
        # Were their end open here too, the connection would outlive the process, and its death go unseen.
        theirs.close()

    def take(self, task: Any) -> bool:
        """Give the process a task; False if it died while it had none."""
        try:
            self.connection.send(task)
        except BrokenPipeError:
            return False
        return True

    def result(self) -> Any:
        """What the process says of its task, or how it died."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode or 0
            return Died(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")


def _work(connection: Connection, workshop: Workshop[Any, Any]) -> None:
    """The whole life of a process: tasks, until the parent closes the connection, interrupts or dies."""
    # Ctrl-C reaches all processes of a terminal's group: in a group of its own, this one hears of it from the parent.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt), workshop() as work:
        while True:
            connection.send(work(connection.recv()))
    # Everything is closed. To take the interpreter apart as well would take time, and DuckDB's bindings complain of it.
    os._exit(0)


def _end_with_parent() -> None:
    """A parent that was killed ends nobody. What this process does can be left anywhere: it is committed or undone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
