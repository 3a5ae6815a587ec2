"""Does what the platform does, until a disaster strikes at a named place. A program of its own, not a test.

It reads orders, one JSON object a line, and forks a process for each: everything is imported once, and nothing has
begun when it forks. The place is a function of the platform, before or after which the disaster strikes; the product
knows nothing of it. For each order it writes one line: the exit code (below zero for a signal) and what was said.
"""

import hashlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from offload_platform.landing.errors import LandingError
from offload_platform.orchestration import erasing
from offload_platform.orchestration.partitions import partition_of
from offload_platform.orchestration.resources import source_of, warehouse_in
from offload_platform.scale.cluster import bench_of
from offload_platform.settings import Settings, read_settings
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse import publish as publishing
from offload_platform.warehouse import views
from offload_platform.warehouse.backup import make_backup
from offload_platform.warehouse.backup import restore as bring_back
from offload_platform.warehouse.erasure import Request
from offload_platform.warehouse.files import prepare, troubles_explained
from offload_platform.warehouse.load import load_partition
from offload_platform.warehouse.safes import safe_at
from offload_platform.warehouse.tombstones import key_from_environment

_OF_A_RUN = ("run_id", "committed_at", "loaded_at", "erased_at", "receipt", "decided_at")
_TIDY = (".new", ".wal", ".tmp", ".spool")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def load(settings: Settings, offload_type: str, partition: str) -> None:
    [feed] = settings.feeds
    warehouse = warehouse_in(settings.warehouse)
    contract = vendor_named(feed.vendor).contracts[offload_type]
    store = source_of(feed).store(feed)
    where = partition_of(feed, contract, partition)
    load_partition(store, where, warehouse.files, warehouse.writing, "a run", bench=bench_of(settings.scale))


def publish(settings: Settings) -> None:
    warehouse = warehouse_in(settings.warehouse)
    with troubles_explained(settings.warehouse), warehouse.writing() as connection:
        publishing.publish(connection, warehouse.files, settings.feeds)


def erase(settings: Settings, user: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        erased = erasing.erase_persons(settings, instance, Request((user,)), key_from_environment())
    assert erased.found_in == ()


def backup(settings: Settings, place: str) -> None:
    warehouse = warehouse_in(settings.warehouse)
    safe, name = safe_at(place)
    make_backup(warehouse.writing, warehouse.files, safe, name or "offloads.duckdb", {})


def restore(settings: Settings, place: str) -> None:
    safe, name = safe_at(place)
    bring_back(warehouse_in(settings.warehouse).files, safe, name, {}, replace=True)


def look(settings: Settings) -> None:
    """Say what is there: a digest of the build file's content, with and without times of runs, and of what is shown.

    A published file of which one block cannot be read ends this with an error.
    """
    files = warehouse_in(settings.warehouse).files
    said: dict[str, Any] = {"exact": {}, "content": {}, "published": None, "left": []}
    if files.build.exists():
        with duckdb.connect(files.build) as connection:
            said["exact"] = _digests(connection, ())
            said["content"] = _digests(connection, _OF_A_RUN)
    if files.published.exists():
        with duckdb.connect(files.published, read_only=True) as connection:
            said["published"] = _digests(connection, _OF_A_RUN)
    folders = (files.build.parent, files.published.parent, files.staging)
    said["left"] = [f.name for folder in folders if folder.exists() for f in folder.iterdir() if _is_left(f)]
    say(json.dumps(said))


def _digests(connection: duckdb.DuckDBPyConnection, left_out: Collection[str]) -> dict[str, str]:
    prepare(connection)
    tables = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema IN ('ops', 'delivered', 'history')"
    ).fetchall()
    found = {}
    for (table,) in sorted(tables):
        every = connection.execute(f"FROM {table}")
        shown = [place for place, column in enumerate(every.description or ()) if column[0] not in left_out]
        rows = sorted(repr([row[place] for place in shown]) for row in every.fetchall())
        found[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]
    return found


def _is_left(file: Path) -> bool:
    return file.is_dir() or any(ending in file.name for ending in _TIDY)


ACTS: dict[str, Callable[..., None]] = {
    "load": load,
    "publish": publish,
    "erase": erase,
    "backup": backup,
    "restore": restore,
    "look": look,
}


def kill(_: Settings) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk(settings: Settings) -> None:
    """Leave not one free byte where the warehouse is."""
    with (settings.warehouse.parent / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    ballast.write(bytes(size))


def allow_no_larger_file(_: Settings) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def take_the_memory(_: Settings) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (4 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def meet(settings: Settings) -> None:
    """Wait until another process has come as far as this one; a minute, and not for one that never comes."""
    (settings.warehouse.parent / f"here-{os.getpid()}").touch()
    end = time.monotonic() + 60
    while len(list(settings.warehouse.parent.glob("here-*"))) < 2:
        assert time.monotonic() < end, "the other one has not come"
        time.sleep(0.02)


DISASTERS: dict[str, Callable[[Settings], None]] = {
    "kill": kill,
    "fill": fill_the_disk,
    "file limit": allow_no_larger_file,
    "memory": take_the_memory,
    "meet": meet,
}


def strike_at(place: str, when: str, disaster: str, settings: Settings) -> None:
    """Put a disaster before or after a function: `package.module:name`, or `package.module:Class.name`."""
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *owners, name = path.split(".")
    for one in owners:
        owner = getattr(owner, one)
    usual = getattr(owner, name)

    def struck(*arguments: Any, **said: Any) -> Any:
        if when == "before":
            DISASTERS[disaster](settings)
            return usual(*arguments, **said)
        result = usual(*arguments, **said)
        DISASTERS[disaster](settings)
        return result

    setattr(owner, name, struck)


def obey(order: dict[str, Any]) -> int:
    settings = read_settings(Path(order["feeds"]))
    if "at" in order:
        strike_at(order["at"], order["when"], order["disaster"], settings)
    try:
        ACTS[order["act"]](settings, *order.get("with", []))
    except LandingError as error:
        say(f"told: {error}")
        return 3
    except Exception:  # noqa: BLE001 (whatever it is, it is what is asked about)
        say(traceback.format_exc())
        return 1
    return 0


def mounted(folder: Path, size: str) -> bool:
    """Mount a small disk; whether that is permitted here."""
    said = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=False)
    return said.returncode == 0


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


def main() -> None:
    for vendor in vendor_names():
        for contract in vendor_named(vendor).contracts.values():
            # Worked out once, and not once in each process.
            views.history_columns(contract)
    for line in sys.stdin:
        order = json.loads(line)
        if "mount" in order:
            answer = {"code": 0 if mounted(Path(order["mount"]), order["size"]) else 1, "said": ""}
        elif "write" in order:
            Path(order["write"]).write_text(order["text"], encoding="utf-8")
            answer = {"code": 0, "said": ""}
        elif "remount" in order:
            remount(Path(order["remount"]), order["how"])
            answer = {"code": 0, "said": ""}
        else:
            if order.get("make_room"):
                (Path(order["feeds"]).parent / "ballast").unlink(missing_ok=True)
            ours, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                os.dup2(theirs, 1)
                os.dup2(theirs, 2)
                os._exit(obey(order))
            os.close(theirs)
            with os.fdopen(ours, encoding="utf-8", errors="replace") as pipe:
                said = pipe.read()
            answer = {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "said": said}
        say(json.dumps(answer))


if __name__ == "__main__":
    main()
