"""Lets machines of a cluster die, be cut off, come twice and come without a token, and says what came of it.

Run by `test_faults.py` in a network namespace that nobody else is in. The whole cluster asks for a token. What was
found is written to a file, as JSON.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from offload_platform.scale import cluster as clusters
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.place import Place
from offload_platform.scale.upkeep import tidy_shared
from offload_platform.settings import read_settings
from offload_platform.warehouse.tombstones import KEY_VARIABLE

from ..conftest import APP_ID, VendorFolder
from ..faults.conftest import Ended, Striker
from .machines import HEAD, NodeBehindCable, add_head, add_node, cluster, ip, is_busy, until

PORT = 6379
ADDRESS = f"{HEAD}:{PORT}"
WEEK = "2018-12-08"
PARTS = 8
PRODUCT = "offload_platform"
NO_TOKEN = {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": ""}
WRONG_TOKEN = {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "f" * 64}


class Faults:
    """Two programs that load, and the places where they load from and into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.strikers = Striker(), Striker()
        self.vendor = VendorFolder(folder / "delivered")
        for number in range(PARTS):
            rows = [f"{number:012x}{user:012x},,behavior.early_bird" for user in range(20)]
            self.vendor.part(WEEK, ["no user,,behavior.early_bird", *rows], number=number)

    @property
    def staging(self) -> Place:
        return Place((self.folder / "staging").as_uri())

    def feeds(self, name: str, *, is_alone: bool = False) -> Path:
        """The configuration of a warehouse of its own."""
        file = self.folder / name / "feeds.yaml"
        if not file.exists():
            file.parent.mkdir()
            feed = {"name": "acme", "vendor": "sentiance", "app_id": APP_ID, "cadence": {"lifestyle": "weekly"}}
            feed |= {"url": self.vendor.url, "settle_hours": 0, "start": "2018-12-01", "types": ["segments"]}
            said: dict[str, Any] = {"warehouse": "./warehouse", "feeds": [feed]}
            if not is_alone:
                said["scale"] = {"fan_out": "ray", "ray_address": ADDRESS, "staging": self.staging.url}
            file.write_text(yaml.safe_dump(said))
        return file

    def load(self, feeds: Path, by: int = 0, **more: Any) -> Ended:
        return self.strikers[by].do(feeds, "load", "segments", WEEK, **more)

    def look(self, feeds: Path) -> Any:
        """Digests of all tables, without what tells of a single run."""
        return self.strikers[0].look(feeds)["content"]

    def tidy(self, feeds: Path) -> list[str]:
        """Tidy as it is done two days later; returns what is left in the shared place."""
        tidy_shared(read_settings(feeds).scale, self.folder, datetime.now(UTC) + timedelta(days=2))
        return self.staging.names()

    def close(self) -> None:
        for striker in self.strikers:
            striker.close()


def main(folder: Path, said: Path) -> None:
    """Start the machines, and let one disaster after the other strike."""
    token = folder / "token"
    token.write_text("0" * 63 + "1")
    os.environ |= {KEY_VARIABLE: "k" * 32, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    # Not twenty seconds, which nobody wants to wait for in a test.
    os.environ |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    ip(f"addr add {HEAD}/32 dev lo")
    faults, found = Faults(folder), {"seconds": {}}
    with cluster(0, HEAD, PORT) as machines, ThreadPoolExecutor(4) as threads, ExitStack() as stack:
        refused = threads.submit(without_token, faults)
        cabled = NodeBehindCable(ADDRESS)
        stack.callback(cabled.end)
        near = add_node(machines, HEAD)
        alone = faults.feeds("alone", is_alone=True)
        found["alone"] = [faults.load(alone).code]
        found["once"] = faults.look(alone)
        found["alone"].append(faults.load(alone).code)
        found["twice"] = faults.look(alone)
        assert cabled.said()[0] == 0
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("race", lambda: race(faults)),
            ("killed", lambda: killed(faults)),
            ("cut", lambda: cut(faults, cabled, threads)),
            ("no nodes", lambda: no_nodes(machines, near, threads)),
            ("no head", lambda: no_head(faults, machines, threads)),
            ("no token", refused.result),
        ]
        for name, step in steps:
            began = time.monotonic()
            found[name] = step()
            found["seconds"][name] = round(time.monotonic() - began, 1)
    faults.close()
    said.write_text(json.dumps(found))


def without_token(faults: Faults) -> dict[str, Any]:
    """Doctors and a node that have no token, or another one."""
    doctor = [sys.executable, "-m", "offload_platform.cli", "doctor", "--feeds", faults.feeds("doctor"), "--json"]
    node = [Path(sys.executable).with_name("ray"), "start", "--address", ADDRESS, "--node-ip-address", HEAD]
    asked = {"none": (doctor, NO_TOKEN), "wrong": (doctor, WRONG_TOKEN), "a node": (node, WRONG_TOKEN)}
    begun = {
        name: subprocess.Popen(
            command, env=os.environ | change, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, (command, change) in asked.items()
    }
    ended = {name: (process.communicate()[0], process.returncode) for name, process in begun.items()}
    return {
        "a node": ended["a node"][1],
        **{
            name: [
                f"{finding['grade']}: {finding['found']}"
                for finding in json.loads(ended[name][0])["findings"]
                if finding["subject"] == "cluster"
            ]
            for name in ("none", "wrong")
        },
    }


def race(faults: Faults) -> dict[str, Any]:
    """Two loads of a partition at the same time: both have staged it, and then ask for the lock together."""
    feeds = faults.feeds("race")
    strike = {"at": f"{PRODUCT}.warehouse.files:WarehouseFiles.writer_lock", "when": "before", "disaster": "meet"}
    with ThreadPoolExecutor(2) as both:
        ended = list(both.map(lambda by: faults.load(feeds, by, **strike), range(2)))
    return {"ended": [(one.code, one.said) for one in ended], "content": faults.look(feeds)}


def killed(faults: Faults) -> dict[str, Any]:
    """The control process dies while nodes stage, and when all is staged; then it is done again."""
    feeds = faults.feeds("killed")
    found: dict[str, Any] = {"content": []}
    for name, place in (("staging", "scale.place:Place.fetch"), ("staged", "warehouse.load:replace_partition")):
        strike = {"at": f"{PRODUCT}.{place}", "when": "before", "disaster": "kill"}
        found[name] = faults.load(feeds, **strike).code
        found["content"].append(faults.look(feeds))
        until(lambda: not is_busy("stage_part"), "end of what was asked for")
        found[f"left by {name}"] = len(faults.staging.names())
        found[f"tidied after {name}"] = faults.tidy(feeds)
    found["again"] = faults.load(feeds).code
    found["content"].append(faults.look(feeds))
    return found


def cut(faults: Faults, cabled: NodeBehindCable, threads: ThreadPoolExecutor) -> dict[str, Any]:
    """The network of a node is cut while it stages a part; the node goes on with it, and nobody hears of that."""
    feeds = faults.feeds("cut")
    loading = threads.submit(faults.load, feeds)
    until(lambda: cabled.is_busy("stage_part"), "part on the node behind the cable")
    cabled.cut()
    was_loading = not loading.done()
    ended = loading.result()
    content = faults.look(feeds)
    cabled.end()
    return {
        "was loading": was_loading,
        "ended": (ended.code, ended.said),
        "content": content,
        "tidied": faults.tidy(feeds),
    }


def no_nodes(machines: Any, last: Any, threads: ThreadPoolExecutor) -> dict[str, Any]:
    """All nodes die; work waits, says so, and goes on when there is one."""
    said: list[str] = []
    heard = logging.Handler()
    heard.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(clusters.__name__).addHandler(heard)
    clusters._SECONDS_BETWEEN_LOOKS = 0.3
    asked = clusters.Cluster(ADDRESS)
    machines.remove_node(last, allow_graceful=False)
    until(lambda: "no node" in str(outcome_of(asked.slots)), "cluster without nodes")
    found: dict[str, Any] = {"doctor": outcome_of(asked.slots)}
    waiting: Future[int] = threads.submit(asked.run, len, "four")
    until(lambda: bool(said), "word of waiting")
    time.sleep(1)
    found["was waiting"] = not waiting.done()
    add_node(machines, HEAD)
    return found | {"said": said, "result": waiting.result()}


def no_head(faults: Faults, machines: Any, threads: ThreadPoolExecutor) -> dict[str, Any]:
    """The head dies while parts are staged; it is started again, and so is the load."""
    feeds = faults.feeds("no-head")
    loading = threads.submit(faults.load, feeds)
    until(lambda: is_busy("stage_part"), "part")
    for machine in (machines.head_node, *list(machines.worker_nodes)):
        machines.remove_node(machine, allow_graceful=False)
    ended = loading.result()
    found: dict[str, Any] = {"ended": (ended.code, ended.said), "content": [faults.look(feeds)]}
    # This process was joined to it as well, and its own connection may take a moment longer to end.
    until(lambda: "no cluster" in str(outcome_of(clusters.Cluster(ADDRESS).slots)), "end of the connection")
    found["without it"] = outcome_of(clusters.Cluster(ADDRESS).slots)
    add_head(machines, HEAD, PORT)
    add_node(machines, HEAD)
    found["this process again"] = outcome_of(lambda: clusters.Cluster(ADDRESS).run(len, "again"))
    found["again"] = faults.load(feeds).code
    found["content"].append(faults.look(feeds))
    return found


def outcome_of(work: Callable[[], Any]) -> Any:
    """What something returns, or what it says that is wrong."""
    try:
        return work()
    except ScaleUnusable as error:
        return str(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
