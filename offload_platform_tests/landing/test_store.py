"""What is fetched is what was listed, or an error that says what to do; never other bytes."""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from obstore.store import S3Store

from offload_platform.contracts.deliveries import StoredObject
from offload_platform.landing import store as store_module
from offload_platform.landing.errors import DamagedBody, LandingError, PartChanged, SourceUnavailable
from offload_platform.landing.store import DeliveryStore, etag_is_md5
from offload_platform.settings import Feed
from offload_platform.simulator.object_store import REGION, ObjectStoreServer

from .fault_proxy import FaultProxy, Kind, fault_proxy

PROFILE = "tests-client"
BODY = b"".join(b"%07d\n" % i for i in range(400_000))
ONE_MEMBER = gzip.compress(b"1,2\n" * 1000, mtime=0)
TWO_MEMBERS = ONE_MEMBER + gzip.compress(b"3,4\n" * 1000, mtime=0)
OBJECTS = {
    "store/a part.csv": b"a blank",
    "store/50%.csv": b"a per cent sign",
    "store/a%20b+c.csv": b"what looks encoded",
    "store/é \N{CJK UNIFIED IDEOGRAPH-65E5}.csv": b"letters",
    "store/a#b?c=d&e.csv": b"signs of a URL",
    "store/empty.csv": b"",
    "store/large.csv": BODY,
    "store/members.csv.gz": TWO_MEMBERS,
}
MakeFeed = Callable[..., Feed]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(server: ObjectStoreServer, folder: Path, objects: dict[str, bytes], root: str = "acme") -> None:
    for key, content in objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
    server.upload_folder(folder, root)


def fetched(store: DeliveryStore, wanted: StoredObject, tmp_path: Path) -> bytes:
    store.fetch(wanted, tmp_path / "spool")
    return (tmp_path / "spool").read_bytes()


def listed(store: DeliveryStore, key: str) -> StoredObject:
    return next(o for o in store.list_objects() if o.key == key)


# A folder on disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "delivered by ünit %41"
    for key, content in OBJECTS.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)
    return root


def test_folder_is_listed_with_md5_and_fetched(folder: Path, feed_of: MakeFeed, tmp_path: Path) -> None:
    store = DeliveryStore(feed_of(folder.as_uri()))
    listing = store.list_objects()
    assert [(o.key, o.size, o.etag) for o in listing] == [
        (k, len(OBJECTS[k]), md5(OBJECTS[k])) for k in sorted(OBJECTS)
    ]
    assert {o.key: fetched(store, o, tmp_path) for o in listing} == OBJECTS


def test_only_wanted_files_are_hashed(folder: Path, feed_of: MakeFeed) -> None:
    listing = DeliveryStore(feed_of(folder.as_uri())).list_objects(identify=lambda key: key.endswith(".gz"))
    assert {o.key: o.etag for o in listing if o.etag} == {"store/members.csv.gz": md5(TWO_MEMBERS)}


def test_identity_of_a_file_is_its_content_and_not_its_time(folder: Path, feed_of: MakeFeed, tmp_path: Path) -> None:
    store = DeliveryStore(feed_of(folder.as_uri()))
    before = listed(store, "store/50%.csv")
    os.utime(folder / before.key, (0, 0))
    after = listed(store, "store/50%.csv")
    assert after.last_modified == datetime.fromtimestamp(0, UTC) != before.last_modified
    assert replace(after, last_modified=before.last_modified) == before
    assert fetched(store, before, tmp_path) == OBJECTS[before.key]


@pytest.mark.parametrize("content", [b"other by one sign", b"shorter", None])
def test_file_that_was_replaced_or_removed_since_the_listing(
    folder: Path, feed_of: MakeFeed, tmp_path: Path, content: bytes | None
) -> None:
    store = DeliveryStore(feed_of(folder.as_uri()))
    part = listed(store, "store/a%20b+c.csv")
    (folder / part.key).unlink()
    if content is not None:
        (folder / part.key).write_bytes(content)
    with pytest.raises(PartChanged, match=r"^store/a%20b\+c.csv: replaced or removed .* Run the partition again"):
        fetched(store, part, tmp_path)


def test_root_that_is_no_folder(feed_of: MakeFeed, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for missing in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(SourceUnavailable, match=r"^acme: .* is no folder: check the url of the feed"):
            DeliveryStore(feed_of(missing.as_uri()))


def test_folder_that_goes_away(feed_of: MakeFeed, tmp_path: Path) -> None:
    (tmp_path / "delivered").mkdir()
    store = DeliveryStore(feed_of((tmp_path / "delivered").as_uri()))
    (tmp_path / "delivered").rmdir()
    try:
        assert store.list_objects() == []
    except SourceUnavailable as error:
        assert "acme: cannot list" in str(error)  # noqa: PT017 (either is sound)


# An S3 server


@pytest.fixture(scope="module")
def server(object_store: ObjectStoreServer, tmp_path_factory: pytest.TempPathFactory) -> ObjectStoreServer:
    put(object_store, tmp_path_factory.mktemp("objects"), OBJECTS, "acme/fixed")
    return object_store


@pytest.fixture(scope="module")
def proxy(server: ObjectStoreServer) -> Iterator[FaultProxy]:
    with fault_proxy(server.url) as running:
        yield running


@pytest.fixture
def feed_on(feed_of: MakeFeed) -> MakeFeed:
    def make(url: str, root: str = "acme/fixed", **said: object) -> Feed:
        usual = {"endpoint_url": url, "region": REGION, "aws_profile": PROFILE}
        return feed_of(f"s3://offloads/{root}", **usual | said)

    return make


def test_a_bucket_of_the_usual_store_is_opened_without_an_endpoint(
    server: ObjectStoreServer, feed_on: MakeFeed
) -> None:
    feed = feed_on(server.url).model_copy(update={"endpoint_url": None})
    assert DeliveryStore(feed).feed.endpoint_url is None


def test_bucket_is_listed_and_fetched_with_the_vendors_restricted_key(
    server: ObjectStoreServer, feed_on: MakeFeed, tmp_path: Path
) -> None:
    store = DeliveryStore(feed_on(server.url))
    listing = store.list_objects()
    assert [(o.key, o.size, o.etag) for o in listing] == [
        (k, len(OBJECTS[k]), md5(OBJECTS[k])) for k in sorted(OBJECTS)
    ]
    assert {o.key: fetched(store, o, tmp_path) for o in listing} == OBJECTS
    for stored in listing:
        store.read_first_bytes(stored)


def test_folder_and_bucket_give_the_same_identities(
    server: ObjectStoreServer, folder: Path, feed_on: MakeFeed, feed_of: MakeFeed
) -> None:
    def identities(store: DeliveryStore) -> list[tuple[str, int, str]]:
        return [(o.key, o.size, o.etag) for o in store.list_objects()]

    assert identities(DeliveryStore(feed_on(server.url))) == identities(DeliveryStore(feed_of(folder.as_uri())))


def test_root_without_objects_is_an_empty_listing(server: ObjectStoreServer, feed_on: MakeFeed) -> None:
    assert DeliveryStore(feed_on(server.url, "acme/nothing")).list_objects() == []


def test_object_that_was_replaced_since_the_listing(
    server: ObjectStoreServer, feed_on: MakeFeed, tmp_path: Path
) -> None:
    put(server, tmp_path / "first", {"part.csv": b"first"}, "acme/replaced")
    store = DeliveryStore(feed_on(server.url, "acme/replaced"))
    part = listed(store, "part.csv")
    put(server, tmp_path / "second", {"part.csv": b"again"}, "acme/replaced")
    with pytest.raises(PartChanged, match=r"^part.csv: replaced or removed since the listing. Run the partition again"):
        fetched(store, part, tmp_path)
    with pytest.raises(PartChanged):
        store.read_first_bytes(part)
    with pytest.raises(PartChanged):
        fetched(store, replace(part, key="never-was.csv"), tmp_path)
    assert fetched(store, listed(store, "part.csv"), tmp_path) == b"again"


def test_what_lies_outside_the_key_is_denied(server: ObjectStoreServer, feed_on: MakeFeed) -> None:
    for root in ("other", "acm"):
        with pytest.raises(SourceUnavailable) as denied:
            DeliveryStore(feed_on(server.url, root)).list_objects()
        assert f"acme: cannot list s3://offloads/{root}: access denied" in str(denied.value)
        assert f"s3:ListBucket with prefix {root}/*" in str(denied.value)


def test_key_that_is_unknown_wrong_or_revoked(
    server: ObjectStoreServer, feed_on: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeliveryStore(feed_on(server.url))
    part = listed(store, "store/50%.csv")
    server.revoke_client()
    try:
        for action in (store.list_objects, lambda: fetched(store, part, tmp_path)):
            with pytest.raises(SourceUnavailable, match=r"does not know the key: check aws_profile"):
                action()
    finally:
        server.restore_client()
    (tmp_path / "credentials").write_text(
        f"[{PROFILE}]\naws_access_key_id = {server.client.access_key}\naws_secret_access_key = wrong\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(SourceUnavailable, match=r"does not know the key: check aws_profile.*SignatureDoesNotMatch"):
        DeliveryStore(feed_on(server.url)).list_objects()


def test_credentials_that_are_missing(
    server: ObjectStoreServer, feed_on: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceUnavailable, match=r"^acme: no usable credentials .*set aws_profile in the feed"):
        DeliveryStore(feed_on(server.url, aws_profile="nobody"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceUnavailable, match=r"^acme: no usable credentials .*AWS_ACCESS_KEY_ID"):
        DeliveryStore(feed_on(server.url, aws_profile=None)).list_objects()


def test_a_profile_is_not_disturbed_by_the_environment(
    server: ObjectStoreServer, feed_on: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "left over from another shell")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    store = DeliveryStore(feed_on(server.url))
    assert fetched(store, listed(store, "store/50%.csv"), tmp_path) == OBJECTS["store/50%.csv"]


@pytest.mark.parametrize("kind", ["refuse", "busy", "reset"])
def test_faults_that_pass_are_overcome(proxy: FaultProxy, feed_on: MakeFeed, tmp_path: Path, kind: Kind) -> None:
    store = DeliveryStore(feed_on(proxy.url))
    part = listed(store, "store/large.csv")
    proxy.done.clear()
    proxy.add(kind, "large.csv", times=2, after=1_000_000)
    assert fetched(store, part, tmp_path) == BODY
    assert proxy.done == [kind, kind]


@pytest.mark.parametrize(("kind", "after"), [("shorten", 2_000_000), ("flip", 2_000_000), ("shorten", 0), ("flip", 0)])
def test_wrong_bytes_are_fetched_again_and_then_refused(
    proxy: FaultProxy, feed_on: MakeFeed, tmp_path: Path, kind: Kind, after: int
) -> None:
    store = DeliveryStore(feed_on(proxy.url))
    part = listed(store, "store/large.csv")
    proxy.done.clear()
    proxy.add(kind, "large.csv", times=2, after=after)
    assert fetched(store, part, tmp_path) == BODY
    proxy.add(kind, "large.csv", times=3, after=after)
    with pytest.raises(DamagedBody, match=r"^store/large.csv: .* Run the partition again"):
        fetched(store, part, tmp_path)
    assert proxy.done == [kind] * 5


def test_a_cut_between_gzip_members_is_found(proxy: FaultProxy, feed_on: MakeFeed, tmp_path: Path) -> None:
    store = DeliveryStore(feed_on(proxy.url))
    part = listed(store, "store/members.csv.gz")
    proxy.add("shorten", "members.csv.gz", times=3, after=len(ONE_MEMBER))
    with pytest.raises(DamagedBody, match=rf"{len(ONE_MEMBER)} bytes arrived, the listing says {len(TWO_MEMBERS)}"):
        fetched(store, part, tmp_path)


def test_an_etag_that_is_no_md5_leaves_the_size_to_compare(tmp_path: Path, folder: Path, feed_of: MakeFeed) -> None:
    store = DeliveryStore(feed_of(folder.as_uri()))
    part = replace(listed(store, "store/50%.csv"), etag="0123456789abcdef0123456789abcdef-2")
    assert not etag_is_md5(part.etag)
    assert fetched(store, part, tmp_path) == OBJECTS["store/50%.csv"]
    with pytest.raises(LandingError):
        fetched(store, replace(part, size=part.size + 1), tmp_path)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its retries, which would take half a minute each."""
    monkeypatch.setattr(
        store_module, "S3Store", lambda *args, **said: S3Store(*args, **said | {"retry_config": {"max_retries": 0}})
    )


@pytest.mark.usefixtures("_impatient")
def test_a_server_that_is_not_there(feed_on: MakeFeed) -> None:
    store = DeliveryStore(feed_on("http://127.0.0.1:1"))
    with pytest.raises(SourceUnavailable, match=r"check url, endpoint_url and region of the feed, and the network"):
        store.list_objects()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("kind", "step"),
    [("refuse", "check url,"), ("busy", r"the store is busy .*\(SlowDown\)$"), ("reset", "check url,")],
)
def test_faults_that_stay_are_a_clear_error(
    proxy: FaultProxy, feed_on: MakeFeed, tmp_path: Path, kind: Kind, step: str
) -> None:
    proxy.forget()
    store = DeliveryStore(feed_on(proxy.url))
    part = listed(store, "store/large.csv")
    proxy.add(kind, "large.csv", times=3, after=1_000_000)
    said = rf"^acme: cannot read s3://offloads/acme/fixed/store/large.csv: {step}"
    with pytest.raises(SourceUnavailable, match=said):
        fetched(store, part, tmp_path)
