"""What docs/production.md promises: services that start and stop, runs in Postgres, logs in S3, and no crash that needs
a hand.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import duckdb
import pytest
from botocore.exceptions import ClientError

from offload_platform.orchestration.instance import dagster_home, open_instance
from offload_platform.orchestration.tables import LOADS_POOL
from offload_platform.settings import read_settings
from offload_platform.simulator.object_store import Credentials, ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles, prepare

from ..orchestration.blocks import turned_on
from .postgres_server import PostgresServer, postgres_server
from .services import Services, documented, wait_until

WEEKS = ("2018-12-08", "2018-12-15")
SEGMENTS = ["acme", "segments"]
LOGS_PREFIX = "dagster-logs"
OF_A_RUN = {"ops.ledger": "loaded_at", "ops.receipts": "run_id, committed_at"}
Make = Callable[..., Any]


def rows_of(week: str) -> list[str]:
    return [f"{number:024x},,behavior.early_bird" for number in range(int(week[-2:]))]


@pytest.fixture
def feeds(tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make) -> Path:
    for week in WEEKS:
        vendor_folder.part(week, rows_of(week))
    return Path(feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",))))


@pytest.fixture
def files(feeds: Path, monkeypatch: pytest.MonkeyPatch) -> WarehouseFiles:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return WarehouseFiles(read_settings(feeds).warehouse)


def change_settings(files: WarehouseFiles, change: Callable[[str], str]) -> Path:
    """Change `dagster.yaml` as an operator does; returns Dagster's folder."""
    settings = dagster_home(files) / "dagster.yaml"
    said = settings.read_text(encoding="utf-8")
    changed = change(said)
    assert changed != said
    settings.write_text(changed, encoding="utf-8")
    return settings.parent


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@dataclass(frozen=True)
class Database:
    """A database that was made as docs/production.md says, and the environment to use it."""

    server: PostgresServer
    environment: dict[str, str]

    def query(self, sql: str) -> list[str]:
        return self.server.query(sql, self.environment)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    password = secrets.token_hex(8)
    server.query(documented("postgres.sql", {"a-password": password}))
    yield Database(server, server.environment | {"PGUSER": "offload", "PGPASSWORD": password, "PGDATABASE": "dagster"})
    server.query("DROP DATABASE dagster WITH (FORCE);\nDROP ROLE offload;")


def test_runs_are_kept_in_postgres_and_nowhere_else(
    feeds: Path, files: WarehouseFiles, database: Database, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = change_settings(files, lambda said: turned_on(said, "storage"))
    set_environment(monkeypatch, database.environment)
    said = offload("run", "--feeds", feeds, "--json", "--to", WEEKS[0])
    assert said.code == 0, said.out + said.err
    assert [load["partition"] for load in said.json["loads"]] == [WEEKS[0]]
    assert database.query("SELECT status, count(*) FROM runs GROUP BY status") == ["SUCCESS|2"]
    materialised = "SELECT partition FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id"
    assert database.query(materialised) == [WEEKS[0], ""]
    assert not [*home.rglob("*.db"), *home.rglob("*.sqlite*")]
    with open_instance(files) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey(SEGMENTS)) == {WEEKS[0]}


def test_a_database_that_cannot_be_used_is_said_without_its_password(
    feeds: Path, files: WarehouseFiles, database: Database, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = change_settings(files, lambda said: turned_on(said, "storage"))
    set_environment(monkeypatch, database.environment | {"PGPASSWORD": "not-the-password"})
    said = offload("run", "--feeds", feeds)
    assert said.code == 2
    assert f"error: {home / 'dagster.yaml'}: Dagster cannot use the storage that it names: " in said.err
    assert 'password authentication failed for user "offload"' in said.err
    assert "Next: " in said.err
    assert "not-the-password" not in said.out + said.err
    assert "Traceback" not in said.out + said.err
    monkeypatch.delenv("PGPASSWORD")
    said = offload("run", "--feeds", feeds)
    assert said.code == 2
    assert "PGPASSWORD" in said.err


@pytest.fixture
def logs(object_store: ObjectStoreServer) -> Iterator[dict[str, str]]:
    """The environment of a key that has the rights of docs/production.md, and no other, in a bucket of logs."""
    policy = documented("logs-policy.json", {"your-logs": object_store.bucket})
    key = Credentials("logs-key", "logs-secret")
    config = object_store.data / "s3.json"
    before = config.read_text(encoding="utf-8")
    said = json.loads(before)
    said["policies"].append({"name": "logs", "document": json.loads(policy)})
    said["identities"].append(
        {
            "name": "logs",
            "credentials": [{"accessKey": key.access_key, "secretKey": key.secret_key}],
            "policyNames": ["logs"],
        }
    )
    environment = {
        "OFFLOAD_LOGS_BUCKET": object_store.bucket,
        "OFFLOAD_LOGS_ENDPOINT": object_store.url,
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    config.write_text(json.dumps(said), encoding="utf-8")
    assert object_store.pid is not None
    os.kill(object_store.pid, signal.SIGHUP)
    client = s3(object_store.url, key)

    def is_known() -> bool:
        try:
            client.put_object(Bucket=object_store.bucket, Key=f"{LOGS_PREFIX}/.ready", Body=b"")
        except ClientError:
            return False
        return True

    wait_until(is_known, lambda: "the server does not know the key of the logs")
    yield environment
    config.write_text(before, encoding="utf-8")
    os.kill(object_store.pid, signal.SIGHUP)


def s3(url: str, key: Credentials) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
        region_name="us-east-1",
    )


def logs_of(store: ObjectStoreServer, run_id: str) -> dict[str, str]:
    """What a run printed, by the ending of the key ("out", "err")."""
    client = s3(store.url, store.admin)
    found = client.list_objects_v2(Bucket=store.bucket, Prefix=f"{LOGS_PREFIX}/storage/{run_id}/compute_logs/")
    keys = [item["Key"] for item in found.get("Contents", [])]
    return {
        key.rsplit(".", 1)[1]: client.get_object(Bucket=store.bucket, Key=key)["Body"].read().decode()
        for key in keys
        if not key.endswith(".partial")
    }


def test_what_a_run_prints_is_kept_in_s3(
    feeds: Path,
    files: WarehouseFiles,
    object_store: ObjectStoreServer,
    logs: dict[str, str],
    offload: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = change_settings(files, lambda said: turned_on(said, "compute_logs"))
    set_environment(monkeypatch, logs)
    limited = s3(object_store.url, Credentials(logs["AWS_ACCESS_KEY_ID"], logs["AWS_SECRET_ACCESS_KEY"]))
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.put_object(Bucket=object_store.bucket, Key="acme/forged", Body=b"")
    said = offload("run", "--feeds", feeds, "--json", "--to", WEEKS[0])
    assert said.code == 0, said.out + said.err
    with open_instance(files) as instance:
        [publish, load] = instance.get_runs()
        for run in (publish, load):
            assert set(logs_of(object_store, run.run_id)) == {"out", "err"}
        assert not [*home.rglob("compute_logs")]
        [captured] = instance.get_records_for_run(load.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED).records
        key = captured.event_log_entry.get_dagster_event().logs_captured_data.file_key
        manager: Any = instance.compute_log_manager
        manager.delete_logs(log_key=[load.run_id, "compute_logs", key])
    assert logs_of(object_store, load.run_id) == {}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Services]]:
    """Makes the services of an environment; what still runs of them after the test is killed."""
    with contextlib.ExitStack() as stack:

        def make(environment: dict[str, str]) -> Services:
            folder = tmp_path / "services"
            folder.mkdir()
            made = Services(folder, environment)
            stack.callback(made.close)
            return made

        yield make


def loaded_rows(files: WarehouseFiles) -> dict[str, int]:
    with duckdb.connect(files.build, read_only=True) as connection:
        return dict(connection.execute("SELECT partition, rows_loaded FROM ops.ledger").fetchall())


def contents(files: WarehouseFiles) -> dict[str, str]:
    """A hash of the rows of all that can be seen; the times of loads and the ids of runs are left out.

    How the build file keeps the rows is left out too: their numbers follow the order of the loads.
    """
    with duckdb.connect(files.build, read_only=True) as connection:
        prepare(connection)
        found = {}
        for (table,) in connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema <> 'store'"
        ).fetchall():
            columns = f"* EXCLUDE ({OF_A_RUN[table]})" if table in OF_A_RUN else "*"
            rows = sorted(repr(row) for row in connection.execute(f"SELECT {columns} FROM {table}").fetchall())
            found[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return found


def test_the_services_start_load_and_stop_as_documented(
    feeds: Path,
    files: WarehouseFiles,
    database: Database,
    object_store: ObjectStoreServer,
    logs: dict[str, str],
    services: Callable[[dict[str, str]], Services],
) -> None:
    home = change_settings(files, lambda said: turned_on(turned_on(said, "storage"), "compute_logs"))
    environment = {"OFFLOAD_FEEDS": str(feeds), "DAGSTER_HOME": str(home)} | database.environment | logs
    names = {line.partition("=")[0] for line in documented("environment").splitlines()}
    assert names == set(environment), "what is documented is all that is needed"
    running = services(environment)
    running.start("code", "webserver")
    running.stop_sensors()
    running.start("daemon")
    run = running.launch(SEGMENTS, WEEKS[1])
    wait_until(lambda: running.status(run) in ("SUCCESS", "FAILURE"), running.logs)
    assert running.status(run) == "SUCCESS", running.logs()
    assert running.stop() == {"daemon": 0, "webserver": 0, "code": 0}
    assert database.query(f"SELECT status FROM runs WHERE run_id = '{run}'") == ["SUCCESS"]
    assert "ASSET_MATERIALIZATION" in logs_of(object_store, run)["err"]
    assert not [*home.rglob("*.db"), *home.rglob("compute_logs")]
    assert loaded_rows(files) == {WEEKS[1]: len(rows_of(WEEKS[1]))}


def test_what_a_crash_interrupts_is_done_again_by_itself(
    feeds: Path,
    files: WarehouseFiles,
    tmp_path: Path,
    offload: Make,
    feeds_yaml: Make,
    services: Callable[[dict[str, str]], Services],
) -> None:
    """A load dies under way and another waits in the queue; the backfill ends as if nothing had happened."""
    home = change_settings(files, lambda said: re.sub("(?<=poll_interval_seconds: ).+", "3", said))
    with open_instance(files) as instance:
        # Dagster knows a pool's default limit only from its second look at the queue on.
        instance.event_log_storage.set_concurrency_slots(LOADS_POOL, 1)
    running = services({"OFFLOAD_FEEDS": str(feeds), "DAGSTER_HOME": str(home)})
    running.start("code", "webserver")
    running.stop_sensors()
    backfill = running.backfill(SEGMENTS, list(WEEKS))
    with files.writer_lock():
        running.start("daemon")
        wait_until(lambda: running.statuses() == ["QUEUED", "STARTED"], running.logs)
        [killed] = [run["runId"] for run in running.runs() if run["status"] == "STARTED"]
        running.kill("code", "daemon")
    assert not files.build.exists()
    running.start("code", "daemon")
    wait_until(lambda: running.backfill_status(backfill) not in ("REQUESTED", "FAILING"), running.logs, seconds=600)
    assert running.backfill_status(backfill) == "COMPLETED_SUCCESS", running.logs()
    assert running.status(killed) == "FAILURE"
    assert [run["parentRunId"] for run in running.runs() if run["status"] == "SUCCESS"].count(killed) == 1
    assert running.statuses() == ["FAILURE", "SUCCESS", "SUCCESS"]
    running.kill()
    assert loaded_rows(files) == {week: len(rows_of(week)) for week in WEEKS}
    undisturbed = feeds_yaml(tmp_path / "undisturbed", *read_settings(feeds).feeds)
    # What the services have loaded is merged when it is published.
    for configured in (feeds, undisturbed):
        assert offload("run", "--feeds", configured).code == 0
    assert contents(files) == contents(WarehouseFiles(read_settings(undisturbed).warehouse))
