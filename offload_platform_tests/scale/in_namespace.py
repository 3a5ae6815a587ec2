"""Loads the same deliveries by one process and by a cluster that loses a node, and compares all that comes of it.

Run by `test_cluster.py` in a network namespace that has the loopback alone: Ray listens on every address. Every vendor
delivers, into eight partitions. What was found is written to a file, as JSON.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from offload_platform import cli
from offload_platform.orchestration.sharing import is_behind
from offload_platform.scale.lake import Lake
from offload_platform.scale.place import Place
from offload_platform.settings import read_settings
from offload_platform.simulator.affise import AffiseSimulation, DataFusion
from offload_platform.simulator.aura import AssistantLogs, LogSimulation
from offload_platform.simulator.deliveries import Snapshots
from offload_platform.simulator.object_store import REGION, ObjectStoreServer
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.writing import Source, write

from ..journeys.postgres_server import postgres_server
from .comparing import content_of, names_in
from .everything import SECRETS
from .machines import cluster

ADMIN = "lake-admin"
PARTITIONS = 8
DAY = date(2026, 9, 7)
FIRST = datetime(2026, 8, 29, 15, 5, 54, 499_000, UTC)
VENDORS: Mapping[str, tuple[Source, dict[str, Any]]] = {
    "sentiance": (
        Snapshots(
            Simulation(
                users=6,
                users_per_part=1,
                first_stamp=FIRST,
                snapshots=2,
                window_days=14,
                types=("stationaries", "segments"),
                faults=0.03,
                withdrawal_share=0.1,
            )
        ),
        {"app_id": Simulation().app_id, "cadence": {"lifestyle": "weekly"}, "types": ["stationaries", "segments"]},
    ),
    "affise": (
        DataFusion(AffiseSimulation(first_day=DAY, slots=3, frequency_minutes=480, hold_hours=4, empty_share=0)),
        {
            "cadence": {"data_fusion": "daily"},
            "directories": {"clicks": "affise/clicks", "conversions": "affise/conversions"},
        },
    ),
    "aura": (
        AssistantLogs(LogSimulation(users=8, first_day=DAY, days=1, files_per_day=1), ("message", "recognizer")),
        {"cadence": {"logs": "daily"}, "types": ["message", "recognizer"]},
    ),
}


def main(folder: Path, said: Path) -> None:
    """Load, lose a node, compare, erase and compare again, all in a folder."""
    os.environ |= SECRETS | {"AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")}
    found: dict[str, Any] = {"seconds": {}}
    with ObjectStoreServer(folder / "s3", "lake", "delivered") as store, postgres_server() as server:
        store.write_profiles(folder / "credentials", admin_profile=ADMIN)
        os.environ["PGPASSWORD"] = server.environment["PGPASSWORD"]
        for vendor, (source, _) in VENDORS.items():
            write([source], folder / "delivered" / vendor)
            store.upload_folder(folder / "delivered" / vendor, f"delivered/{vendor}")
        one = configured(folder, "one", store, None)
        loaded = offload("run", "--feeds", one, "--json")
        assert len(loaded["loads"]) == PARTITIONS, loaded
        catalog = "host={PGHOST} port={PGPORT} user={PGUSER} dbname={PGDATABASE}".format(**server.environment)
        with cluster() as machines:
            scale = {
                "fan_out": "ray",
                "ray_address": machines.address,
                "staging": "s3://lake/staging",
                "merge_from_rows": 1,
                "warehouse": "ducklake",
                "catalog": catalog,
                "data": "s3://lake/data",
                "endpoint_url": store.url,
                "region": REGION,
                "aws_profile": ADMIN,
            }
            many = configured(folder, "many", store, scale)
            staging = Place("s3://lake/staging", store.url, REGION, ADMIN)
            said_by_doctor = offload("doctor", "--feeds", many, "--json")["findings"]
            found["doctor"] = {f["subject"]: f["grade"] for f in said_by_doctor if f["subject"] in ("cluster", "lake")}
            began = time.monotonic()
            killing = threading.Thread(target=kill_when_parts_are_staged, args=(staging, machines, found))
            killing.start()
            loaded = offload("run", "--feeds", many, "--json")
            found["loaded"] = time.monotonic()
            killing.join()
            found["seconds"]["on the cluster"] = round(time.monotonic() - began, 1)
            found["loads"] = [(load["succeeded"], load["error"]) for load in loaded["loads"]]
            found["publishing_error"] = loaded["publishing_error"]
            found["behind"] = is_behind(read_settings(many))
            lake = Lake(catalog, Place("s3://lake/data", store.url, REGION, ADMIN))
            found["different"], found["compared"] = different(folder, lake)
            [user] = rows(folder / "one", "SELECT min(user_id) FROM sentiance.stationaries")[0]
            of_user = f"SELECT count(*) FROM history.stationaries WHERE user_id = '{user}'"
            found["before"] = rows(folder / "one", of_user)
            for file in (one, many):
                offload("erase", "--feeds", file, "--user", user)
            found["after"] = rows(folder / "one", of_user)
            found["different after an erasure"], _ = different(folder, lake)
            found["left in staging"] = staging.names()
            logs = [machines.temp_dir, folder / "many" / "dagster"]
            kept = [*SECRETS.values(), os.environ["PGPASSWORD"], store.admin.secret_key]
            found["secrets in logs"] = [
                str(file)
                for log in logs
                for file in log.rglob("*")
                if file.is_file() and any(secret.encode() in file.read_bytes() for secret in kept)
            ]
            found["log files"] = sum(1 for log in logs for file in log.rglob("*") if file.is_file())
    said.write_text(json.dumps(found))


def kill_when_parts_are_staged(staging: Place, machines: Any, found: dict[str, Any]) -> None:
    """End a node while parts of a delivery are staged; writes down when that was."""
    while not staging.names():
        time.sleep(0.02)
    machines.remove_node(next(iter(machines.worker_nodes)), allow_graceful=False)
    found["killed"] = time.monotonic()


def configured(folder: Path, name: str, store: ObjectStoreServer, scale: dict[str, Any] | None) -> Path:
    """A configuration of all vendors, with a warehouse of its own."""
    common = {"endpoint_url": store.url, "region": REGION, "aws_profile": ADMIN, "settle_hours": 0}
    feeds = [
        {"name": f"acme_{vendor}", "vendor": vendor, "url": f"s3://lake/delivered/{vendor}", "start": FIRST.date()}
        | common
        | said
        for vendor, (_, said) in VENDORS.items()
    ]
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"warehouse": f"./{name}", "feeds": feeds} | ({"scale": scale} if scale else {})))
    return file


def offload(*arguments: str | Path) -> Any:
    """Run a command in this process; returns what it says as JSON, if it does."""
    out = io.StringIO()
    sys.argv = ["offload", *map(str, arguments)]
    with contextlib.redirect_stdout(out):
        try:
            cli.main()
        except SystemExit as ended:
            if ended.code:
                print(out.getvalue(), file=sys.stderr)  # noqa: T201
                raise
    return json.loads(out.getvalue()) if "--json" in arguments else out.getvalue()


def rows(warehouse: Path, sql: str) -> Any:
    with duckdb.connect(warehouse / "published" / "offloads.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


def different(folder: Path, lake: Lake) -> tuple[list[str], int]:
    """Tables and views that are not equal in build, published file and lake; and how many were compared."""
    with tempfile.TemporaryDirectory() as spill, lake.connected(Path(spill), read_only=True) as connection:
        for warehouse in ("one", "many"):
            for file in ("build", "published"):
                path = folder / warehouse / file / "offloads.duckdb"
                connection.execute(f"ATTACH '{path}' AS {warehouse}_{file} (READ_ONLY)")
        # To plan a query of a table with a thousand columns takes seconds in a lake; to do without a plan, no time.
        connection.execute("PRAGMA disable_optimizer")
        # In one transaction, the catalog is read once.
        connection.execute("BEGIN")
        pairs = [("one_build", ("many_build",)), ("one_published", ("many_published", "lake"))]
        wrong, compared = [], 0
        for one, others in pairs:
            for name in names_in(connection, one):
                expected = content_of(connection, one, name)
                wrong += [f"{other}.{name}" for other in others if content_of(connection, other, name) != expected]
                compared += len(others)
        return wrong, compared


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
