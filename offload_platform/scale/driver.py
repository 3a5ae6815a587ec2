"""Speaks with a Ray cluster, in a process of its own.

Ray ends the process that speaks with it when the head of the cluster is gone, and has no switch for what it writes to
the standard output when a node is. Neither may happen to a load, so another process does it, and a load sees no more
than a connection that has ended.

Ray is an extra: it is imported by that process, and by nodes.
"""

import atexit
import os
import pickle
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_LOST_AT_MOST = 5
"""So many nodes may be lost under one task."""
_AT_ONCE = 512
_SETTINGS = {
    # The head is gone when it has not answered for so long; Ray's own value is a minute.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
    # A network that is cut without a word is noticed within seconds, and not minutes.
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_OF_RAY = 1


class NotJoined(Exception):
    """Ray has not let the process in; the message is Ray's."""


class LostTask(Exception):
    """Ray has given a task up; the message is Ray's."""


class DriverEnded(Exception):
    """The process that speaks with the cluster is over, as it is when the head is gone."""


class Driver:
    """The process that speaks with one cluster, begun here. It ends with this process."""

    def __init__(self, address: str) -> None:
        """Join a cluster.

        Raises:
            NotJoined: Ray refuses.
        """
        self._folder = TemporaryDirectory(prefix="offload-")
        self._socket = str(Path(self._folder.name) / "driver")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "offload_platform.scale.driver", address, self._socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_SETTINGS | os.environ,
            # An interrupt is for this process, which ends that one.
            start_new_session=True,
        )
        atexit.register(self.end)
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode(errors="replace").strip()
        if said != "joined":
            self.end()
            raise NotJoined(said or f"exit code {self._process.returncode}")

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._process.poll() is not None

    def run(self, function: Callable[[Any], Any], task: Any, on_wait: Callable[[], None], seconds: float) -> Any:
        """Have a node call a function; returns what it returns, or raises what it raises.

        `on_wait` is called whenever another `seconds` have gone by.

        Raises:
            LostTask: Ray has given up.
            DriverEnded: the process is over.
        """
        with self._asked((function.__name__, pickle.dumps((function, task)))) as connection:
            while not connection.poll(seconds):
                on_wait()
            has_returned, said = connection.recv()
        if not has_returned:
            raise LostTask(said)
        result, error = pickle.loads(said)
        if error is not None:
            raise error
        return result

    def slots(self) -> int:
        """How many tasks the nodes of the cluster can do at the same time now.

        Raises:
            DriverEnded: the process is over.
        """
        with self._asked(None) as connection:
            return int(connection.recv())

    @contextmanager
    def _asked(self, question: tuple[str, bytes] | None) -> Iterator[Connection]:
        try:
            with Client(self._socket, "AF_UNIX") as connection:
                connection.send(question)
                yield connection
        except (EOFError, OSError) as error:
            raise DriverEnded(str(error) or type(error).__name__) from error

    def end(self) -> None:
        """End the process, and what it has asked for."""
        atexit.unregister(self.end)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def call(sent: bytes) -> bytes:
    """On a node: call a function with a task; returns what comes of it, a result or an error."""
    function, task = pickle.loads(sent)
    try:
        return pickle.dumps((function(task), None))
    except Exception as error:  # noqa: BLE001 (it is raised where it was asked for)
        error.add_note(f"On a node:\n{traceback.format_exc()}")
        return pickle.dumps((None, error))


def _serve(listener: Listener) -> None:
    try:
        while True:
            threading.Thread(target=_answer, args=(listener.accept(),), daemon=True).start()
    finally:
        # Whoever asks is told so, and does not wait for ever.
        os._exit(1)


def _answer(connection: Connection) -> None:
    """Do what one connection asks for: slots, or a call."""
    import ray

    with connection:
        asked = connection.recv()
        if asked is None:
            connection.send(int(ray.cluster_resources().get("CPU", 0)))
            return
        name, sent = asked
        remote = ray.remote(num_cpus=1, max_retries=_LOST_AT_MOST, scheduling_strategy="SPREAD")(call)
        try:
            connection.send((True, ray.get(remote.options(name=name).remote(sent))))
        except ray.exceptions.RayError as error:
            connection.send((False, _first_line(error)))


def _cause_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def main() -> None:
    """Join the cluster, say `joined` or what is wrong, and answer until whoever has begun this process is gone."""
    address, socket = sys.argv[1:]
    said = os.fdopen(os.dup(_OF_RAY), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), _OF_RAY)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
        print(" ".join(str(_cause_of(error)).split()), file=said, flush=True)
        os._exit(1)
    threading.Thread(target=_serve, args=(Listener(socket, "AF_UNIX", _AT_ONCE),), daemon=True).start()
    print("joined", file=said, flush=True)
    sys.stdin.read()
    shutil.rmtree(Path(socket).parent, ignore_errors=True)
    # Not by way of Ray, which would wait for a head that is gone.
    os._exit(0)


if __name__ == "__main__":
    main()
