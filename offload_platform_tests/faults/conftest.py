"""Programs in which disasters strike."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("striking.py")


@dataclass(frozen=True)
class Ended:
    """How an order ended: its exit code, below zero for a signal, and what it said."""

    code: int
    said: str


class Striker:
    """The program of `striking.py`."""

    def __init__(self, before: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def order(self, **order: Any) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order, default=str) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the program has ended"
        return Ended(**json.loads(answer))

    def do(self, feeds: Path, act: str, *with_: Any, **more: Any) -> Ended:
        return self.order(feeds=feeds, act=act, **{"with": with_}, **more)

    def well(self, feeds: Path, act: str, *with_: Any, **more: Any) -> None:
        ended = self.do(feeds, act, *with_, **more)
        assert ended.code == 0, ended.said

    def look(self, feeds: Path) -> Any:
        """What is in the warehouse; fails where a file cannot be read."""
        ended = self.do(feeds, "look")
        assert ended.code == 0, ended.said
        return json.loads(ended.said)

    def close(self) -> None:
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def strikers() -> Iterator[Callable[..., Striker]]:
    """Starts programs, and ends them after the tests."""
    with ExitStack() as stack:

        def start(*before: str) -> Striker:
            striker = Striker(before)
            stack.callback(striker.close)
            return striker

        yield start
