"""The machines of a cluster: a head and nodes on the loopback, and a node behind a cable of its own that can be cut.

To be used in a network namespace that nobody else is in: Ray listens on every address.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Postgres refuses to run as root: whoever is root stays root outside, and starts it as somebody else.
NAMESPACE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-current-user", "--keep-caps", "--net"]
ALONE = 'ip link set lo up && exec "$0" "$@"'
HEAD, BEHIND_A_CABLE = "10.77.0.1", "10.77.1.2"
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_raylet_start_wait_time_s": "120",
}
SMALL: dict[str, Any] = {"object_store_memory": 80_000_000}
_CABLE = "cable"
_SECONDS = 90


@contextmanager
def cluster(nodes: int = 2, address: str = "127.0.0.1", port: int = 0) -> Iterator[Any]:
    """A head, and nodes with one slot each; `temp_dir` has what Ray writes down. Port 0 is any that is free."""
    from ray.cluster_utils import Cluster

    os.environ |= RAY
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        started = Cluster()
        started.temp_dir = Path(folder)
        try:
            add_head(started, address, port)
            for _ in range(nodes):
                add_node(started, address)
            yield started
        finally:
            started.shutdown()


def add_head(started: Any, address: str, port: int) -> None:
    """A head without slots, where there is none."""
    more: dict[str, Any] = {"gcs_server_port": port} if port else {}
    folder = str(started.temp_dir)
    started.add_node(num_cpus=0, include_dashboard=False, temp_dir=folder, node_ip_address=address, **SMALL, **more)


def add_node(started: Any, address: str = "127.0.0.1") -> Any:
    """One more node with one slot, on this machine."""
    return started.add_node(num_cpus=1, node_ip_address=address, **SMALL)


class NodeBehindCable:
    """A node in a network namespace of its own, started as the documentation says; one cable leads to the head."""

    def __init__(self, head: str) -> None:
        waits = (
            f"until ip link set eth0 up; do sleep 0.05; done; ip link set lo up; ip addr add {BEHIND_A_CABLE} dev eth0"
        )
        routes = f"ip route add {HEAD} dev eth0"
        ray = f"{Path(sys.executable).with_name('ray')} start --address {head} --node-ip-address {BEHIND_A_CABLE}"
        self._process = subprocess.Popen(
            [
                *("unshare", "--net", "bash", "-ec"),
                f"({waits}; {routes}) 2>/dev/null; exec {ray} --num-cpus 1 --object-store-memory 80000000",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        own = _network_of("self")
        until(lambda: _network_of(self._process.pid) not in (own, None), "a network namespace")
        self._network = _network_of(self._process.pid)
        for words in (
            f"link add {_CABLE} type veth peer name eth0 netns {self._process.pid}",
            f"link set {_CABLE} up",
            f"route add {BEHIND_A_CABLE} dev {_CABLE} src {HEAD}",
        ):
            ip(words)

    def said(self) -> tuple[int, str]:
        """How starting it has ended: the exit code, and what was said."""
        said, _ = self._process.communicate(timeout=_SECONDS)
        return self._process.returncode, said

    def is_busy(self, with_what: str) -> bool:
        """Whether a task goes on there."""
        return any(
            _network_of(pid) == self._network and _title_of(pid).startswith(f"ray::{with_what}") for pid in _processes()
        )

    def cut(self) -> None:
        """Pull the cable out; the node goes on, and hears and says nothing more."""
        ip(f"link set {_CABLE} down")

    def end(self) -> None:
        """End all of its processes, and take the cable away."""
        for pid in _processes():
            if _network_of(pid) == self._network:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "link", "del", _CABLE], check=False, capture_output=True)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something; fails when it takes a minute and a half."""
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, f"still no {what}"
        time.sleep(0.02)


def is_busy(with_what: str) -> bool:
    """Whether a task goes on anywhere in this network namespace."""
    own = _network_of("self")
    return any(_network_of(pid) == own and _title_of(pid).startswith(f"ray::{with_what}") for pid in _processes())


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _network_of(pid: int | str) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


def _title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
