"""From a vendor's folder to a client's bucket: real loads, a real S3 server, and a real Dagster instance."""

import csv
import gzip
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import duckdb
import pytest
import yaml
from botocore.config import Config
from dagster._core.definitions.repository_definition.repository_definition import RepositoryDefinition

from offload_platform.exports import managing
from offload_platform.exports.registry import Registry
from offload_platform.exports.sending import send_due
from offload_platform.exports.slots import name_of
from offload_platform.landing.pseudonyms import KEY_VARIABLE
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.exporting import (
    OBJECT_CHECK,
    OF_EXPORTS,
    ROWS_CHECK,
    export_key,
    export_tags,
)
from offload_platform.orchestration.housekeeping import tidy
from offload_platform.orchestration.instance import open_instance
from offload_platform.settings import Settings, read_settings
from offload_platform.simulator.affise import (
    CLICKS,
    CONVERSIONS,
    AffiseSimulation,
    content_of,
    exports,
    key_of,
)
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles

from ..conftest import contract_of

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date()
FUSION = AffiseSimulation(first_day=YESTERDAY, slots=6, clicks_per_slot=8, conversion_share=0.6, rewritten_share=0.0)
AFFISE = {
    "vendor": "affise",
    "app_id": None,
    "cadence": {"data_fusion": "intraday"},
    "directories": {CLICKS: "affise/clicks", CONVERSIONS: "affise/conversions"},
    "start": YESTERDAY - timedelta(days=1),
}
ANN, BEN, CAT = (letter * 24 for letter in "abc")
Make = Callable[..., Any]
QUARTER = timedelta(minutes=15)


class Journey:
    """A vendor's folder, a configuration, a client's bucket, and the commands between them."""

    def __init__(self, folder: Path, vendor: Any, feeds: Path, server: ObjectStoreServer, offload: Make) -> None:
        self.folder, self.vendor, self.feeds, self.server, self._offload = folder, vendor, feeds, server, offload
        self.directory = f"out/{folder.name}"
        self.s3 = boto3.client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id=server.admin.access_key,
            aws_secret_access_key=server.admin.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    @property
    def settings(self) -> Settings:
        return read_settings(self.feeds)

    @property
    def registry(self) -> Registry:
        return Registry(WarehouseFiles(self.settings.warehouse).exports)

    def offload(self, *arguments: str | Path) -> Any:
        return self._offload(*arguments, "--feeds", self.feeds)

    def form(self, **said: Any) -> Path:
        file = self.folder / "form.yaml"
        usual: dict[str, Any] = {
            "name": "labels",
            "source": {"table": "sentiance.segments", "key": ["user_id", "segment_id"], "change_time": "known_from"},
            "columns": ["user_id", "segment_id", "known_from"],
            "bucket": "clients",
            "directory": self.directory,
            "region": "us-east-1",
            "endpoint_url": self.server.url,
            "access_key": "env:ACME_KEY",
            "secret_key": "env:ACME_SECRET",
            "settle_seconds": 0,
        }
        file.write_text(yaml.safe_dump(usual | said), encoding="utf-8")
        return file

    def objects(self) -> dict[str, list[dict[str, str]]]:
        """Rows by key, in the order of the keys."""
        listed = self.s3.list_objects_v2(Bucket="clients", Prefix=f"{self.directory}/").get("Contents", ())
        found = {}
        for key in sorted(item["Key"] for item in listed):
            text = gzip.decompress(self.s3.get_object(Bucket="clients", Key=key)["Body"].read()).decode()
            found[key] = list(csv.DictReader(io.StringIO(text, newline="")))
        return found

    def repository(self) -> RepositoryDefinition:
        return build_definitions(self.settings).get_repository_def()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    with ObjectStoreServer(tmp_path_factory.mktemp("clients") / "data", "clients", "readable") as server:
        yield server


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory,
    vendor_and_warehouse: Make,
    feed_of: Make,
    feeds_yaml: Make,
    offload: Make,
) -> Path:
    """A folder with a vendor's first delivery, loaded and published."""
    folder = tmp_path_factory.mktemp("loaded")
    vendor, _ = vendor_and_warehouse(folder)
    vendor.part("2018-12-15", [f"{ANN},,behavior.early_bird"])
    feeds = feeds_yaml(folder, feed_of(vendor.url, types=("segments",)))
    assert offload("run", "--feeds", feeds).code == 0
    return folder


@pytest.fixture
def journey(
    tmp_path: Path,
    loaded: Path,
    vendor_and_warehouse: Make,
    feed_of: Make,
    feeds_yaml: Make,
    clients: ObjectStoreServer,
    offload: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> Journey:
    monkeypatch.setenv("ACME_KEY", clients.admin.access_key)
    monkeypatch.setenv("ACME_SECRET", clients.admin.secret_key)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(loaded, tmp_path, dirs_exist_ok=True)
    vendor, _ = vendor_and_warehouse(tmp_path)
    return Journey(tmp_path, vendor, feeds_yaml(tmp_path, feed_of(vendor.url, types=("segments",))), clients, offload)


@pytest.fixture
def instance(journey: Journey) -> Iterator[dg.DagsterInstance]:
    with open_instance(WarehouseFiles(journey.settings.warehouse)) as instance:
        yield instance


def tick(journey: Journey, instance: dg.DagsterInstance, repository: Any = None) -> Any:
    """What the schedule asks for now."""
    repository = repository or journey.repository()
    context = dg.build_schedule_context(
        instance=instance, repository_def=repository, scheduled_execution_time=datetime.now(UTC)
    )
    return repository.get_schedule_def("send_labels").evaluate_tick(context)


def rewind(journey: Journey, slots: int, name: str = "labels") -> None:
    """Let an export count from some slots earlier than it does, so that slots are due."""
    registry = journey.registry
    export = registry.get(name)
    earlier = timedelta(minutes=slots * export.form.frequency_minutes)
    with registry._writing() as connection:
        for table, column in (("slots", "slot"), ("cadences", "after")):
            [(text,)] = connection.execute(f"SELECT {column} FROM {table} WHERE export = ?", [export.id])
            moved = (datetime.fromisoformat(text) - earlier).isoformat(timespec="microseconds")
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE export = ?", [moved, export.id])


def test_from_a_delivery_to_a_client(journey: Journey) -> None:
    """What is there is not sent; what comes is, also when its delivery is older than all that was sent."""
    said = journey.offload("export", "add", journey.form(on_empty="skip"))
    assert (said.code, "labels is active: user_id, segment_id, known_from to s3://clients/out" in said.out) == (0, True)
    assert journey.offload("export", "test", "labels").code == 0
    rewind(journey, 4)

    journey.vendor.part("2018-12-22", [f"{ANN},,behavior.early_bird", f"{BEN},,behavior.early_bird"])
    assert journey.offload("run").code == 0
    sent = journey.offload("export", "run", "labels")
    assert sent.code == 0, sent.out
    journey.vendor.part("2018-12-08", [f"{CAT},,behavior.early_bird"])
    assert journey.offload("run").code == 0
    newest = journey.registry.newest(journey.registry.get("labels"))
    list(send_due(WarehouseFiles(journey.settings.warehouse), journey.registry, "labels", None, newest.slot + QUARTER))
    assert [[row["user_id"] for row in rows] for rows in journey.objects().values()] == [[BEN], [CAT]]
    assert [row["known_from"] for rows in journey.objects().values() for row in rows] == [
        "2018-12-22T15:05:54.499Z",
        "2018-12-08T15:05:54.499Z",
    ]


def test_a_history_tells_what_was_taken_back(journey: Journey) -> None:
    key = ["feed", "user_id", "segment_id", "known_from"]
    form = journey.form(
        source={"table": "history.segments", "key": key}, columns=[*key, "known_to", "change_kind"], on_empty="skip"
    )
    assert journey.offload("export", "add", form).code == 0
    rewind(journey, 1)
    journey.vendor.part("2018-12-22", [f"{ANN},,behavior.night_owl"])
    assert journey.offload("run").code == 0
    assert journey.offload("export", "run", "labels").code == 0
    [rows] = journey.objects().values()
    assert [(r["segment_id"], r["known_from"][:10], r["known_to"][:10], r["change_kind"]) for r in rows] == [
        ("behavior.early_bird", "2018-12-15", "2018-12-22", "new"),
        ("behavior.early_bird", "2018-12-22", "", "deleted"),
        ("behavior.night_owl", "2018-12-22", "", "new"),
    ]


@pytest.fixture
def sender(
    tmp_path: Path,
    feed_of: Make,
    feeds_yaml: Make,
    clients: ObjectStoreServer,
    offload: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> Journey:
    """A warehouse of Affise's clicks and conversions, which knows no row yet, and a simulated vendor."""
    for name, value in (
        ("ACME_KEY", clients.admin.access_key),
        ("ACME_SECRET", clients.admin.secret_key),
        ("AWS_ACCESS_KEY_ID", clients.admin.access_key),
        ("AWS_SECRET_ACCESS_KEY", clients.admin.secret_key),
        (KEY_VARIABLE, "k" * 32),
    ):
        monkeypatch.setenv(name, value)
    feed = feed_of((tmp_path / "delivered").as_uri(), **AFFISE)
    journey = Journey(tmp_path, None, feeds_yaml(tmp_path, feed), clients, offload)
    for stream in (CLICKS, CONVERSIONS):
        deliver(journey, stream, FUSION.stamps[0], [])
    assert journey.offload("run").code == 0
    return journey


def deliver(journey: Journey, stream: str, stamp: datetime, rows: list[dict[str, str]]) -> None:
    file = journey.folder / "delivered" / key_of(FUSION, stream, stamp)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content_of(FUSION, stream, rows))


def table(journey: Journey, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(WarehouseFiles(journey.settings.warehouse).published, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def test_another_warehouse_rebuilds_what_is_sent_and_what_changes_later(
    sender: Journey, tmp_path: Path, feed_of: Make, feeds_yaml: Make, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {stream: list(contract_of(stream).columns) for stream in (CLICKS, CONVERSIONS)}
    for stream, names in columns.items():
        form = sender.form(
            name=stream,
            source={"table": f"affise.{stream}", "key": names[:1]},
            columns=names,
            directory=f"{sender.directory}/affise/{stream}",
        )
        said = sender.offload("export", "add", form)
        assert said.code == 0, said.err
        rewind(sender, 2, stream)

    def send() -> None:
        """The next slot of both streams."""
        assert sender.offload("run").code == 0
        for stream in columns:
            export = sender.registry.get(stream)
            slot = name_of(sender.registry.newest(export).slot + QUARTER, export.form.zone)
            assert sender.offload("export", "run", stream, "--slot", slot).code == 0

    told = [(stream, stamp, rows) for stream, stamp, rows in exports(FUSION) if rows]
    for stream, stamp, rows in told:
        deliver(sender, stream, stamp, rows)
    send()
    row = next(rows[0] for stream, _, rows in told if stream == CONVERSIONS)
    later = {"status": "declined", "updated_at": f"{YESTERDAY} 23:00:00", "payouts": "0.0001"}
    deliver(sender, CONVERSIONS, FUSION.stamps[-1] + timedelta(hours=12), [row | later])
    send()

    monkeypatch.delenv(KEY_VARIABLE)
    feed = feed_of(
        f"s3://clients/{sender.directory}",
        **AFFISE | {"files": "table", "endpoint_url": sender.server.url, "region": "us-east-1"},
    )
    reader = Journey(tmp_path, None, feeds_yaml(tmp_path / "reader", feed), sender.server, offload)
    ran = reader.offload("run")
    assert ran.code == 0, ran.out
    for stream, names in columns.items():
        rows = f"SELECT {', '.join(names)} FROM affise.{stream} ORDER BY ALL"
        assert table(reader, rows) == table(sender, rows) != []
    attribution = "SELECT * EXCLUDE (known_from, click_known_from) FROM mart.attribution ORDER BY ALL"
    assert table(reader, attribution) == table(sender, attribution)
    versions = (
        "SELECT status, payout::VARCHAR, known_to IS NULL FROM history.conversions "
        f"WHERE conversion_id = '{row['id']}' ORDER BY known_from"
    )
    before, after = table(reader, versions)
    assert (before[2], after) == (False, ("declined", "0.0001", True))
    assert reader.offload("run", "--json").json["loads"] == []


def test_personal_columns_are_sent_only_when_they_are_named(journey: Journey) -> None:
    form = journey.form(columns=None)
    said = journey.offload("export", "add", form)
    assert said.code == 1
    assert "user_id, segment_id of the key is about persons" in said.err
    assert "About nobody are feed, app_id, known_from" in said.err


def test_dagster_sends_a_slot_and_those_that_were_missed(journey: Journey, instance: dg.DagsterInstance) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 3)
    journey.vendor.part("2018-12-22", [f"{BEN},,behavior.early_bird"])
    assert journey.offload("run").code == 0

    key = export_key("labels")
    [request] = tick(journey, instance).run_requests
    assert request.tags.items() >= export_tags("labels").items()
    job = build_definitions(journey.settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[key], partition_key=request.partition_key, tags=dict(request.tags), instance=instance
    )
    assert result.success
    names = [name.rpartition("/")[2].removesuffix(".csv.gz") for name in journey.objects()]
    assert sorted(instance.get_materialized_partitions(key)) == names
    assert len(names) == 3
    assert names[-1] == request.partition_key
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()} == {
        ROWS_CHECK: True,
        OBJECT_CHECK: True,
    }
    # The change is as old as its delivery, so the first slot that was missed has it.
    records = instance.fetch_materializations(key, limit=10).records
    rows = {r.partition_key: r.asset_materialization.metadata["rows"].value for r in records}
    assert [rows[name] for name in names] == [1, 0, 0]

    assert tick(journey, instance).skip_message == "no slot is due"


def test_a_slot_that_was_sent_is_not_sent_again_and_its_object_is_looked_at(
    journey: Journey, instance: dg.DagsterInstance
) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 1)
    assert journey.offload("export", "run", "labels").code == 0
    [key] = journey.objects()
    partition = key.rpartition("/")[2].removesuffix(".csv.gz")
    journey.s3.delete_object(Bucket="clients", Key=key)
    job = build_definitions(journey.settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[export_key("labels")], partition_key=partition, instance=instance)
    [check] = [e for e in result.get_asset_check_evaluations() if e.check_name == OBJECT_CHECK]
    assert (check.passed, check.description) == (False, f"{key} is not there any more: ask the client.")
    assert journey.objects() == {}


def test_a_failure_is_told_in_a_sentence_without_a_secret(journey: Journey, clients: ObjectStoreServer) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_SECRET", "a-wrong-secret-that-nobody-may-see")
        said = journey.offload("export", "run", "labels")
    assert said.code == 1
    assert "the secret key does not belong to the access key: check secret_key (env:ACME_SECRET)" in said.out
    stuck = journey.offload("export", "status")
    assert "stuck: labels" in stuck.out
    assert journey.offload("export", "run", "labels").code == 0
    secrets = [clients.admin.access_key, clients.admin.secret_key, "a-wrong-secret-that-nobody-may-see"]
    for file in journey.settings.warehouse.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], file


def test_what_is_paused_or_deleted_is_not_asked_for(journey: Journey, instance: dg.DagsterInstance) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 1)
    before = journey.repository()

    def skipped() -> str:
        return str(tick(journey, instance, before).skip_message)

    assert journey.offload("export", "pause", "labels").code == 0
    assert skipped() == "labels is paused"
    assert journey.offload("export", "run", "labels").code == 1
    assert journey.offload("export", "resume", "labels", "--from-now").code == 0
    assert skipped() == "no slot is due"
    unsure = journey.offload("export", "delete", "labels")
    assert (unsure.code, "say --yes" in unsure.err) == (2, True)
    assert journey.offload("export", "delete", "labels", "--yes").code == 0
    assert skipped() == "labels is deleted"
    assert "labels: deleted; 0 files stay in the bucket" in journey.offload("export", "list", "--log").out
    assert journey.objects() == {}
    assert not journey.repository().has_schedule_def("send_labels")


def test_the_commands_show_what_is_saved_and_sent(journey: Journey) -> None:
    nothing = journey.offload("export", "list")
    assert "Next: offload export add FORM.yaml" in nothing.out
    journey.offload("export", "add", journey.form())
    assert journey.offload("export", "run", "labels").out == "labels: no slot is due.\n"
    rewind(journey, 2)
    waiting = journey.offload("export", "status", "--json").json["exports"][0]
    assert (waiting["waiting"], waiting["newest"], waiting["files"]) == (2, None, 0)
    journey.offload("export", "run", "labels")
    done = journey.offload("export", "status", "--json").json["exports"][0]
    assert (done["waiting"], done["files"], done["rows_in_all"]) == (0, 2, 0)
    listed = journey.offload("export", "list", "--json")
    assert listed.json["exports"][0]["secret_key"] == "env:ACME_SECRET"
    assert "sentiance.segments" in journey.offload("export", "list").out
    assert "saved" in [line["said"] for line in listed.json["log"]]
    assert journey.offload("export", "run", "labels", "--slot", "yesterday").code == 2
    late = journey.offload("export", "run", "labels", "--slot", "2018-01-01-00-00")
    assert (late.code, "2018-01-01-00-00" in late.out + late.err) == (1, True)
    unknown = journey.offload("export", "pause", "none")
    assert (unknown.code, "there is no export 'none'; saved: labels" in unknown.err) == (1, True)


def test_a_backup_holds_what_was_sent_and_what_waits(journey: Journey, tmp_path: Path) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 2)
    journey.vendor.part("2018-12-22", [f"{BEN},,behavior.early_bird"])
    journey.offload("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_SECRET", "wrong")
        journey.offload("export", "run", "labels")
    out = tmp_path / "safe.duckdb"
    said = journey.offload("backup", out)
    archive = tmp_path / "safe.duckdb.exports.zip"
    assert f"Written: {archive}" in said.out
    folder = journey.registry.folder
    folder.rename(tmp_path / "lost")
    with zipfile.ZipFile(archive) as kept:
        kept.extractall(folder)
    assert journey.offload("export", "run", "labels").code == 0
    assert [len(rows) for rows in journey.objects().values()] == [1, 0]


def test_an_erasure_names_a_file_that_waits_to_be_sent(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLOAD_ERASURE_KEY", "k" * 32)
    journey.offload("export", "add", journey.form())
    rewind(journey, 1)
    journey.vendor.part("2018-12-22", [f"{BEN},,behavior.early_bird"])
    journey.offload("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_SECRET", "wrong")
        journey.offload("export", "run", "labels")
    [waits] = journey.registry.all_unsent()
    found = journey.offload("erase", "--user", BEN)
    assert (found.code, str(waits) in found.out) == (1, True)
    managing.resume(WarehouseFiles(journey.settings.warehouse), journey.registry, "labels", from_now=True)
    managing.pause(journey.registry, "labels")
    assert journey.offload("erase", "--user", BEN).code == 0


def test_old_runs_of_exports_go(journey: Journey, instance: dg.DagsterInstance) -> None:
    journey.offload("export", "add", journey.form())
    rewind(journey, 2)
    first = journey.registry.get("labels").cadences[0].after + QUARTER
    for slot in (first, first + QUARTER):
        journey.offload("export", "run", "labels", "--slot", f"{slot:%Y-%m-%d-%H-%M}")
    assert len(instance.get_runs(dg.RunsFilter(tags=OF_EXPORTS))) == 2
    tidy(journey.settings, instance, datetime.now(UTC) + timedelta(days=40))
    [left] = instance.get_runs(dg.RunsFilter(tags=OF_EXPORTS))
    assert left.tags["dagster/partition"] == f"{first + QUARTER:%Y-%m-%d-%H-%M}"
