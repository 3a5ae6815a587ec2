"""What a store or a network does to a load: it is overcome, or told in a sentence, and never half loaded.

Each load is of a whole partition, in the place of an older version of the same delivery, through a proxy that damages
what a real S3 server answers.
"""

import gzip
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from obstore.store import S3Store

from offload_platform.landing import store as store_module
from offload_platform.landing.errors import DamagedBody, LandingError, PartChanged, SourceUnavailable
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.orchestration.run import execute, plan
from offload_platform.settings import Feed, Settings
from offload_platform.simulator.object_store import REGION, Credentials, ObjectStoreServer

from ..conftest import APP_ID, CLIENT_PROFILE, JOB, SEGMENTS_HEADER
from ..landing.fault_proxy import FaultProxy, Kind, fault_proxy

ROOT = "acme/faults"
FOLDER = "12_08_2018_15_05_54_499"
GZIP, PLAIN, THIRD = (f"part-{number:05d}-{JOB}-c000.csv.gz" for number in range(3))
OF_THE_FOLDER = "prefix=acme%2Ffaults%2F12_"
OF_THE_ROOT = "delimiter="
ROWS = 2000
Make = Callable[..., Any]


def lines(first: int) -> bytes:
    return b"".join(b"%024x,,behavior.early_bird\r\n" % user for user in range(first, first + ROWS))


HEADER = SEGMENTS_HEADER.encode() + b"\r\n"
FIRST_MEMBER = gzip.compress(HEADER + lines(0), mtime=0)
PARTS = {
    GZIP: FIRST_MEMBER + gzip.compress(lines(ROWS), mtime=0),
    # Named as gzip and stored plain, as S3 clients that decompress leave them.
    PLAIN: HEADER + lines(2 * ROWS),
    THIRD: gzip.compress(HEADER + lines(3 * ROWS), mtime=0),
}
A_LINE_END = len(HEADER) + len(lines(0)) // 2
assert PARTS[PLAIN][A_LINE_END - 1 : A_LINE_END] == b"\n"


def write_parts(folder: Path, parts: dict[str, bytes]) -> None:
    for name, content in parts.items():
        file = folder / FOLDER / APP_ID / f"segments.{APP_ID}.csv" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@dataclass
class Platform:
    """A warehouse that holds an older version of the delivery, and how to load the one in the bucket."""

    warehouse: Any
    partition: Any
    older: Feed
    newer: Feed
    before: dict[str, list[str]]
    deliver: Callable[[dict[str, bytes]], None]

    def load(self) -> None:
        self.warehouse.load(self.newer, self.partition)

    def go_back(self) -> None:
        self.warehouse.load(self.older, self.partition)
        self.before = self.warehouse.content()

    def rows(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.warehouse.query(
            "SELECT object_key[-29:], line, user_id FROM delivered.segments ORDER BY ALL"
        )
        return found


@pytest.fixture(scope="module")
def proxy(object_store: ObjectStoreServer) -> Iterator[FaultProxy]:
    with fault_proxy(object_store.url) as running:
        yield running


@pytest.fixture(scope="module")
def platform(
    object_store: ObjectStoreServer,
    proxy: FaultProxy,
    tmp_path_factory: pytest.TempPathFactory,
    vendor_and_warehouse: Make,
    feed_of: Make,
    partition: Make,
) -> Platform:
    folder = tmp_path_factory.mktemp("faults")
    vendor, warehouse = vendor_and_warehouse(folder)
    write_parts(vendor.root, {GZIP: gzip.compress(HEADER + lines(0)[: -len(lines(0)) // 2], mtime=0)})

    def deliver(parts: dict[str, bytes]) -> None:
        write_parts(folder / "newer", parts)
        object_store.upload_folder(folder / "newer", ROOT)

    deliver(PARTS)
    newer = feed_of(
        f"s3://offloads/{ROOT}", endpoint_url=proxy.url, region=REGION, aws_profile=CLIENT_PROFILE, types=("segments",)
    )
    older = feed_of(vendor.url, types=("segments",))
    made = Platform(warehouse, partition(), older, newer, {}, deliver)
    made.go_back()
    return made


@pytest.fixture(scope="module")
def exact(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory, vendor_and_warehouse: Make
) -> list[tuple[Any, ...]]:
    """The rows of the delivery, loaded without a fault into a warehouse of its own."""
    _, elsewhere = vendor_and_warehouse(tmp_path_factory.mktemp("exact"))
    elsewhere.load(platform.newer, platform.partition)
    found: list[tuple[Any, ...]] = elsewhere.query(
        "SELECT object_key[-29:], line, user_id FROM delivered.segments ORDER BY ALL"
    )
    assert len(found) == 4 * ROWS
    return found


@pytest.fixture(autouse=True)
def clean(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Silence counts after half a second, and not after half a minute."""
    monkeypatch.setattr(store_module, "_READ_TIMEOUT", timedelta(seconds=0.5))
    proxy.forget()
    yield
    proxy.forget()


@dataclass(frozen=True)
class Case:
    """A fault, and where it strikes."""

    name: str
    kind: Kind
    target: str
    after: int = 0
    code: str = "SlowDown"


EVERYWHERE = [
    Case("503 SlowDown", "error", GZIP),
    Case("500", "error", GZIP, code="InternalError"),
    Case("refused", "refuse", GZIP),
    Case("reset mid-body", "reset", GZIP, 5000),
    Case("closed mid-body", "close", GZIP, 5000),
    Case("stall", "stall", GZIP),
    Case("shortened", "shorten", GZIP, 5000),
    Case("shortened at a gzip member", "shorten", GZIP, len(FIRST_MEMBER)),
    Case("shortened at a line end", "shorten", PLAIN, A_LINE_END),
    Case("flipped byte of gzip", "flip", THIRD, 5000),
    Case("flipped byte of text", "flip", PLAIN, 5000),
]
LISTINGS = [
    Case("503 to a listing", "error", OF_THE_FOLDER),
    Case("listing reset", "reset", OF_THE_FOLDER, 100),
    Case("listing of folders closed", "close", OF_THE_ROOT, 100),
    Case("listing stalls", "stall", OF_THE_FOLDER, 100),
]
PASSING = {
    "in the way to a part": [case for case in EVERYWHERE if case.kind not in ("shorten", "flip")],
    "in the bytes of parts": [case for case in EVERYWHERE if case.kind in ("shorten", "flip")],
    "in listings": LISTINGS,
    "listing page lost": [Case("listing page lost", "lose", OF_THE_FOLDER, 2)],
    "listing lost": [Case("listing lost", "lose", OF_THE_FOLDER, 0)],
}


@pytest.mark.parametrize("where", PASSING)
def test_faults_that_pass_change_nothing(
    platform: Platform, proxy: FaultProxy, exact: list[tuple[Any, ...]], where: str
) -> None:
    """All of them in one load, one after another."""
    for case in PASSING[where]:
        proxy.add(case.kind, case.target, 1, case.after, case.code)
    platform.load()
    assert sorted(proxy.done) == sorted(case.kind for case in PASSING[where])
    assert platform.rows() == exact
    platform.go_back()


BUSY = "the store is busy or out of order, and stayed so through all retries: run again later"
NETWORK = "check url, endpoint_url and region of the feed, and the network"
AGAIN = "Run the partition again; if it stays so, ask the vendor to deliver the part anew."
STAYING: dict[str, tuple[type[LandingError], str]] = {
    "503 SlowDown": (SourceUnavailable, BUSY),
    "500": (SourceUnavailable, BUSY),
    "refused": (SourceUnavailable, NETWORK),
    "reset mid-body": (SourceUnavailable, NETWORK),
    "closed mid-body": (SourceUnavailable, NETWORK),
    "stall": (SourceUnavailable, NETWORK),
    "shortened": (DamagedBody, AGAIN),
    "shortened at a gzip member": (DamagedBody, AGAIN),
    "shortened at a line end": (DamagedBody, AGAIN),
    "flipped byte of gzip": (DamagedBody, AGAIN),
    "flipped byte of text": (DamagedBody, AGAIN),
    "expired token": (SourceUnavailable, "the credentials have expired: renew them and run again"),
    "clock skew": (SourceUnavailable, "the clock of this machine is wrong: set it (such as by NTP) and run again"),
    "clock skew at the listing": (SourceUnavailable, "the clock of this machine is wrong: set it"),
    "bucket gone while reading": (SourceUnavailable, "the bucket is not there: check url and endpoint_url"),
    "bucket gone": (SourceUnavailable, "the bucket is not there: check url and endpoint_url of the feed"),
    "503 to a listing": (SourceUnavailable, BUSY),
    "listing reset": (SourceUnavailable, NETWORK),
}
ALWAYS = [
    *EVERYWHERE,
    Case("expired token", "error", PLAIN, code="ExpiredToken"),
    Case("clock skew", "error", GZIP, code="RequestTimeTooSkewed"),
    Case("clock skew at the listing", "error", OF_THE_FOLDER, code="RequestTimeTooSkewed"),
    Case("bucket gone while reading", "error", GZIP, code="NoSuchBucket"),
    Case("bucket gone", "error", OF_THE_ROOT, code="NoSuchBucket"),
    *LISTINGS[:2],
]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one retry, where eight would take half a minute."""
    monkeypatch.setattr(
        store_module, "S3Store", lambda *args, **said: S3Store(*args, **said | {"retry_config": {"max_retries": 1}})
    )


def refused(platform: Platform, kind: type[LandingError], message: str) -> str:
    """Load, and see that it fails in a sentence, and that nothing is changed; returns what it says."""
    with pytest.raises(kind) as told:
        platform.load()
    said = str(told.value)
    assert re.search(re.escape(message), said), said
    assert "\n" not in said
    assert platform.warehouse.content() == platform.before
    assert list((platform.warehouse.files.root / "staging").iterdir()) == []
    return said


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", ALWAYS, ids=lambda case: case.name)
def test_a_fault_that_stays_is_told_and_the_old_rows_stand(platform: Platform, proxy: FaultProxy, case: Case) -> None:
    kind, message = STAYING[case.name]
    proxy.add(case.kind, case.target, 99, case.after, case.code)
    refused(platform, kind, message)
    assert len(proxy.done) >= 1


def test_listings_that_go_on_differing_are_not_trusted(platform: Platform, proxy: FaultProxy) -> None:
    for shown in (1, 2, 1, 2):
        proxy.add("lose", OF_THE_FOLDER, after=shown)
    said = refused(platform, SourceUnavailable, "4 listings of s3://offloads/acme/faults differ from each other")
    assert said.endswith("Run the partition again.")


def test_an_object_that_is_replaced_while_it_is_read(
    platform: Platform, proxy: FaultProxy, exact: list[tuple[Any, ...]]
) -> None:
    """The answer breaks off, and what goes on from there would be of another version."""
    other = PARTS | {PLAIN: PARTS[PLAIN].replace(b"early_bird", b"night_owls")}
    proxy.add("reset", PLAIN, after=5000, meanwhile=lambda: platform.deliver(other))
    refused(platform, PartChanged, "replaced or removed since the listing. Run the partition again")
    platform.deliver(PARTS)
    platform.load()
    assert platform.rows() == exact
    platform.go_back()


def test_a_key_that_is_revoked_while_it_is_used(
    platform: Platform, proxy: FaultProxy, object_store: ObjectStoreServer
) -> None:
    proxy.add("reset", PLAIN, after=5000, meanwhile=object_store.revoke_client)
    try:
        refused(platform, SourceUnavailable, "the store does not know the key: check aws_profile of the feed")
    finally:
        object_store.restore_client()


def rotate(server: ObjectStoreServer, file: Path, key: Credentials) -> None:
    """Give the client another key at the server, and write it where the platform reads it."""
    config = server.data / "s3.json"
    said = json.loads(config.read_text(encoding="utf-8"))
    [client] = [one for one in said["identities"] if one["name"] != "admin"]
    [known] = client["credentials"]
    known |= {"accessKey": key.access_key, "secretKey": key.secret_key}
    config.write_text(json.dumps(said), encoding="utf-8")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
        region_name=REGION,
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            client.list_objects_v2(Bucket=server.bucket, Prefix=f"{ROOT}/")
            break
        except ClientError:
            assert time.monotonic() < deadline, "the server does not take up the key"
            time.sleep(0.05)
    file.write_text(
        f"[{CLIENT_PROFILE}]\naws_access_key_id = {key.access_key}\naws_secret_access_key = {key.secret_key}\n"
    )


def test_a_key_that_is_rotated_in_the_middle_of_a_run(
    proxy: FaultProxy,
    object_store: ObjectStoreServer,
    tmp_path: Path,
    feed_of: Make,
    vendor_and_warehouse: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is being read with the old key fails and says so; the next load of the same run has the new one."""
    vendor, _ = vendor_and_warehouse(tmp_path)
    days = ("2018-12-08", "2018-12-15", "2018-12-22")
    for day in days:
        vendor.part(day, [f"{'a' * 24},,behavior.early_bird"])
    root = "acme/rotated"
    object_store.upload_folder(vendor.root, root)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    file = tmp_path / "credentials"
    object_store.write_profiles(file, client_profile=CLIENT_PROFILE)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    feed = feed_of(
        f"s3://offloads/{root}", endpoint_url=proxy.url, region=REGION, aws_profile=CLIENT_PROFILE, types=("segments",)
    )
    settings = Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))
    loads = sorted(plan(settings, settings.feeds).loads, key=lambda load: load.partition)
    new = Credentials("a-rotated-key", "a-rotated-secret")
    proxy.add("refuse", "12_15_2018", 1, meanwhile=partial(rotate, object_store, file, new))
    try:
        with open_instance(warehouse_in(settings.warehouse).files, capture_output=False) as instance:
            outcomes = list(execute(settings, loads, instance))
            assert [o.succeeded for o in outcomes] == [True, False, True]
            assert "the store does not know the key: check aws_profile of the feed" in (outcomes[1].error or "")
            [left] = plan(settings, settings.feeds).loads
            assert left.partition == "2018-12-15"
            assert [o.succeeded for o in execute(settings, [left], instance)] == [True]
    finally:
        rotate(object_store, tmp_path / "not used", object_store.client)
    with warehouse_in(settings.warehouse).writing() as connection:
        loaded = connection.execute("SELECT partition, rows_loaded FROM ops.ledger ORDER BY ALL").fetchall()
    assert loaded == [(day, 1) for day in days]
