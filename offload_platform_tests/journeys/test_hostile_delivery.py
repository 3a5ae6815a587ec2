"""A whole run under the vendor's policy, over values that attack whoever looks at them, and secrets that must not show.

The client's key may list and read below its root and do nothing else. Beside the root lies another client's prefix that
begins with the same letters. The shell is careless: what it makes, everybody may read.
"""

import csv
import gzip
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import duckdb
import psutil
import pytest
import yaml
from botocore.config import Config

from offload_platform.landing.inspection import Grade, inspect
from offload_platform.landing.rights import rights_beyond_reading
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.simulator.object_store import REGION, ObjectStoreServer, client_policy
from offload_platform.warehouse.files import WarehouseFiles

from ..conftest import CLIENT_PROFILE, Said, VendorFolder
from .dagster_ui import DagsterUi, dagster_ui

Make = Callable[..., Any]
ROOT = "acme/hostile"
SIBLING = "acme/hostile-of-another-client"
ANN = "a" * 24
WORST = [
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(1)",
    "[red]x[/red]",
    "[/]",
    "`a|b` **c**",
    "\x1b[31mred\x1b[2J",
    "\x9b2J\u202eevil",
    "{{ 7 * 7 }}",
    "'; DROP TABLE ops.ledger; --",
]
FOLDERS = ("12_08_2018", "12_15_2018")
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
SECRETS = {
    "OFFLOAD_PSEUDONYM_KEY": "canary-of-the-pseudonyms-0f3a",
    "OFFLOAD_ERASURE_KEY": "canary-of-the-erasures-77b1",
    "OFFLOAD_HOOK": "http://127.0.0.1:9/canary-of-the-webhook-91cd",
}


@dataclass
class World:
    """A warehouse after a run, and what every command has said of it."""

    server: ObjectStoreServer
    feeds: Path
    feed: Feed
    files: WarehouseFiles
    secrets: tuple[str, ...]
    said: dict[str, Said] = field(default_factory=dict)


@pytest.fixture(scope="module")
def world(
    object_store: ObjectStoreServer,
    tmp_path_factory: pytest.TempPathFactory,
    feed_of: Make,
    feeds_yaml: Make,
    offload: Make,
) -> World:
    folder = tmp_path_factory.mktemp("hostile")
    vendor = VendorFolder(folder / "delivered")
    quoted = ['"' + value.replace('"', '""') + '"' for value in WORST]
    header = f"user_id,metadata_user_id,segment_id,{','.join(quoted)}"
    rows = [f"{ANN},,{value}{',' * len(WORST)}" for value in quoted]
    broken = [f"no id,,{value}{',' * len(WORST)}" for value in quoted]
    vendor.part("2018-12-08", [*rows, *broken], header=header)
    vendor.part("2018-12-15", [f"{ANN},,a"]).write_bytes(gzip.compress(b"user_id\n")[:-4])
    mapping = vendor.root / "=cmd[/red]" / "_mapping"
    mapping.mkdir(parents=True)
    (mapping / "user_external.csv").write_text(f"user_id,external_id\n{ANN},ann\n")
    object_store.upload_folder(vendor.root, ROOT)
    object_store.upload_folder(vendor.root, SIBLING)
    feed = feed_of(
        f"s3://offloads/{ROOT}",
        types=("segments", "mapping"),
        endpoint_url=object_store.url,
        region=REGION,
        aws_profile=CLIENT_PROFILE,
        cadence={"lifestyle": "weekly", "mapping": "daily"},
    )
    feeds = feeds_yaml(folder / "configuration", feed)
    told = yaml.safe_load(feeds.read_text()) | {"alerts": {"webhook_url": "env:OFFLOAD_HOOK"}}
    feeds.write_text(yaml.safe_dump(told))
    secrets = (object_store.client.secret_key, object_store.admin.secret_key, *(s[-20:] for s in SECRETS.values()))
    made = World(object_store, feeds, feed, WarehouseFiles(feeds.parent / "warehouse"), secrets)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        made.said["run"] = careless(feeds)
        for command in ("status", "status --json", "plan", "scorecard", "run --json", "doctor", "doctor --json"):
            made.said[command] = offload(*command.split(), "--feeds", feeds)
        for name in ("card.html", "card.csv"):
            made.said[name] = offload("scorecard", "--feeds", feeds, "--out", folder / name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(wrong_credentials(folder, object_store)))
        made.said["wrong"] = offload("status", "--feeds", feeds)
    return made


def careless(feeds: Path) -> Said:
    """A first run, in a shell that makes everything for everybody."""
    done = subprocess.run(
        [sys.executable, "-m", "offload_platform.cli", "run", "--feeds", feeds],
        capture_output=True,
        text=True,
        cwd=feeds.parent,
        env={n: v for n, v in os.environ.items() if n != "DAGSTER_HOME"},
        umask=0,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def wrong_credentials(folder: Path, server: ObjectStoreServer) -> Path:
    file = folder / "wrong"
    lines = (
        "aws_access_key_id = " + server.client.access_key,
        "aws_secret_access_key = wrong" + SECRETS["OFFLOAD_HOOK"],
    )
    file.write_text("\n".join([f"[{CLIENT_PROFILE}]", *lines]))
    return file


@pytest.fixture(scope="module")
def ui(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    before = os.umask(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in SECRETS.items():
                patch.setenv(name, value)
            with dagster_ui(world.feeds, tmp_path_factory.mktemp("ui")) as running:
                yield running
    finally:
        os.umask(before)


# What it does


def test_all_runs_with_the_key_that_may_only_read(world: World) -> None:
    assert "failed: acme segments 2018-12-15" in world.said["run"].out
    with duckdb.connect(world.files.published, read_only=True) as published:
        loaded = published.execute("SELECT segment_id FROM history.segments").fetchall()
        quarantined = published.execute("SELECT reasons[1], raw FROM ops.quarantine").fetchall()
    assert {value for (value,) in loaded} == set(WORST)
    assert len(quarantined) == len(WORST)
    assert {reason for reason, _ in quarantined} == {"user_id: str_matches('^[0-9a-f]{24}$')"}


def test_the_policy_of_the_docs_is_the_one_that_is_in_force_here() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    said = json.loads(page.partition("```json\n")[2].partition("```")[0])
    enforced = client_policy("bucket", "client-root")
    for statement in enforced["Statement"]:
        del statement["Sid"]
    assert said == enforced


def test_doctor_says_that_the_key_may_do_nothing_else(world: World) -> None:
    [rights] = [f for f in json.loads(world.said["doctor --json"].out)["findings"] if f["subject"] == "rights"]
    assert (rights["grade"], rights["found"]) == (
        "ok",
        "the key may list and read below the root; it may not write, delete or list the whole bucket",
    )


def test_doctor_warns_of_a_key_that_may_do_more_and_changes_nothing(
    world: World, object_store: ObjectStoreServer
) -> None:
    admin = boto3.Session(object_store.admin.access_key, object_store.admin.secret_key, region_name=REGION)
    client = admin.client("s3", endpoint_url=object_store.url, config=Config(s3={"addressing_style": "path"}))

    def content() -> dict[str, str]:
        return {o["Key"]: o["ETag"] for o in client.list_objects_v2(Bucket="offloads")["Contents"]}

    before = content()
    store = DeliveryStore(world.feed, admin)
    rights = rights_beyond_reading(store)
    assert rights.held == ("write", "delete", "list the whole bucket", "read outside the root")
    assert rights.unknown == ()
    [finding] = [f for f in inspect(world.feed, store) if f.subject == "rights"]
    assert finding.grade is Grade.NOTE
    assert finding.found.startswith("the key may also write, delete, list the whole bucket, read outside the root;")
    assert "another-client" not in f"{finding}"
    assert content() == before


# What it shows


@pytest.mark.parametrize("command", ["doctor", "run", "status", "plan", "scorecard"])
def test_a_terminal_is_commanded_by_nobody_but_us(world: World, command: str) -> None:
    said = world.said[command]
    assert not UNSEEN.search(said.out + said.err)
    assert "Traceback" not in said.err


def test_a_folder_may_be_named_like_markup(
    vendor_folder: VendorFolder, feed_of: Make, feeds_yaml: Make, offload: Make, tmp_path: Path
) -> None:
    file = vendor_folder.root / "[/red]" / "_mapping" / "user_external.csv"
    file.parent.mkdir(parents=True)
    file.write_text("user_id,external_id\n")
    os.utime(file, (0, 0))
    feed = feed_of(vendor_folder.url, cadence={"mapping": "daily"})
    said = offload("plan", "--feeds", feeds_yaml(tmp_path, feed))
    assert (said.code, "left out: [/red]/_mapping/user_external.csv: from before" in said.out) == (0, True)


@pytest.mark.parametrize("command", ["run --json", "status --json", "doctor --json"])
def test_json_is_json_and_has_no_signs_that_are_not_seen(world: World, command: str) -> None:
    assert json.loads(world.said[command].out)
    assert not UNSEEN.search(world.said[command].out)


def test_a_scorecard_holds_neither_script_nor_formula(world: World) -> None:
    folder = world.feeds.parents[1]
    assert "<script" not in (folder / "card.html").read_text()
    cells = [cell for row in csv.reader((folder / "card.csv").read_text().splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert "'=cmd[/red]/_mapping/user_external.csv" in cells


# What it keeps to itself


def everything(world: World) -> Iterator[tuple[str, str]]:
    """All that a run leaves behind, unpacked: names and content of files, rows of databases, what commands said."""
    for command, done in world.said.items():
        yield command, done.out + done.err
    for file in sorted(world.files.root.rglob("*")):
        yield str(file), file.name
        if not file.is_file():
            continue
        yield str(file), file.read_bytes().decode("latin-1")
        if file.suffix == ".duckdb":
            with duckdb.connect(file, read_only=True) as connection:
                for schema, table in connection.execute(
                    "SELECT table_schema, table_name FROM information_schema.tables"
                ).fetchall():
                    yield f"{file}: {table}", str(connection.execute(f'FROM "{schema}"."{table}"').fetchall())
        elif file.suffix == ".db":
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
                for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    for row in connection.execute(f'SELECT * FROM "{table}"'):
                        yield f"{file}: {table}", " ".join(map(unpacked, row))


def unpacked(value: object) -> str:
    if isinstance(value, bytes):
        try:
            return zlib.decompress(value).decode("latin-1")
        except zlib.error:
            return value.decode("latin-1")
    return str(value)


def pages(ui: DagsterUi) -> Iterator[tuple[str, str]]:
    """What the UI is told of runs, their logs and configuration, of resources, sensors and assets."""
    runs = ui.ask("{ runsOrError { ... on Runs { results { runId runConfigYaml tags { key value } } } } }")
    yield "runs", json.dumps(runs)
    for one in runs["runsOrError"]["results"]:
        query = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
            ... on MessageEvent { message }
            ... on ExecutionStepFailureEvent { error { message stack } }
            ... on MaterializationEvent { metadataEntries { label description } } } } } }"""
        yield one["runId"], json.dumps(ui.ask(query, id=one["runId"]))
    configured = ui.ask(
        """{ repositoriesOrError { ... on RepositoryConnection { nodes {
            sensors { name description } schedules { name }
            allTopLevelResourceDetails { name description resourceType configuredValues { key value type } }
            assetNodes { description metadataEntries { label description } } } } } }"""
    )
    assert "acme_arrivals" in json.dumps(configured)
    yield "configured", json.dumps(configured)


def test_secrets_are_neither_stored_nor_said_nor_shown(world: World, ui: DagsterUi) -> None:
    looked_at = 0
    for where, text in (*everything(world), *pages(ui)):
        looked_at += 1
        for secret in world.secrets:
            assert secret not in text, where
    assert looked_at > 100


def test_what_is_looked_through_for_secrets_would_show_them(world: World, ui: DagsterUi) -> None:
    """The search finds what is there: the folder that failed, in storage and on the pages."""
    found = {folder: [where for where, text in everything(world) if folder in text] for folder in FOLDERS}
    assert any("/runs/" in where for where in found["12_15_2018"]), "the failed run, in Dagster's storage"
    assert any(where.endswith("offloads.duckdb: ledger") for where in found["12_08_2018"]), "rows of the warehouse"
    assert any("12_15_2018" in text for _, text in pages(ui))


def test_another_clients_prefix_is_neither_listed_nor_shown(world: World, ui: DagsterUi) -> None:
    for where, text in (*everything(world), *pages(ui)):
        assert "another-client" not in text, where


def test_everything_listens_on_this_machine_alone(object_store: ObjectStoreServer, ui: DagsterUi) -> None:
    processes = [*tree_of(ui.pid), *tree_of(object_store.pid)]
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def tree_of(pid: int | None) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def test_files_are_for_nobody_else_whatever_the_shell_has_set(world: World, ui: DagsterUi) -> None:
    assert ui.url  # what the daemon and the web server make is looked at as well
    open_to_others = {
        str(file.relative_to(world.files.root)): oct(stat.S_IMODE(file.stat().st_mode))
        for file in (world.files.root, *world.files.root.rglob("*"))
        if not file.is_socket() and file.stat().st_mode & 0o077
    }
    # Read-only for whoever may enter its folder, which is for its owner alone until he opens it to analysts.
    assert open_to_others == {"published/offloads.duckdb": "0o444"}
    assert world.files.open_to_others() == []


def test_doctor_names_folders_that_others_can_enter(world: World, offload: Make) -> None:
    assert "can enter" not in world.said["doctor"].out
    world.files.root.chmod(0o711)
    assert "can enter" not in offload("doctor", "--feeds", world.feeds).out
    world.files.build.parent.chmod(0o755)
    try:
        said = offload("doctor", "--feeds", world.feeds, "--json").json["findings"]
        [finding] = [f for f in said if "can enter" in f["found"]]
        assert (finding["grade"], finding["next_step"]) == ("note", f"chmod go= {world.files.build.parent}")
        subprocess.run(finding["next_step"].split(), check=True)
        assert world.files.open_to_others() == []
    finally:
        world.files.build.parent.chmod(0o700)
        world.files.root.chmod(0o700)
