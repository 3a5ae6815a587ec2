"""The embedded object store: the vendor's policy holds, objects and keys survive, no server is left behind."""

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.store import S3Store

from offload_platform.simulator import object_store
from offload_platform.simulator.object_store import HOST, REGION, Credentials, ObjectStoreError, ObjectStoreServer

BUCKET = "vendor-offloads"
ROOT = "client-a"
OBJECTS = {
    f"{ROOT}/2026-11-01/moments/part-0.csv.gz": b"first part",
    f"{ROOT}/2026-11-01/moments/part-1.csv.gz": b"second part",
    f"{ROOT}/2026-11-01/user attributes/\N{LATIN SMALL LETTER E WITH ACUTE}+%41.csv": b"odd name",
    "client-ab/2026-11-01/part-0.csv.gz": b"of the sibling",
    "client-b/2026-11-01/part-0.csv.gz": b"of another client",
}
PART = next(iter(OBJECTS))
OUTSIDE = "client-b/2026-11-01/part-0.csv.gz"

Call = Callable[[Any], Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    delivered = tmp_path_factory.mktemp("delivered")
    for key, content in OBJECTS.items():
        file = delivered / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    running = ObjectStoreServer(tmp_path_factory.mktemp("store"), BUCKET, ROOT)
    began = time.monotonic()
    with running:
        assert time.monotonic() - began < 30
        assert running.upload_folder(delivered, "") == len(OBJECTS)
        yield running
    assert running.pid is None


def client(server: ObjectStoreServer, key: Credentials | None) -> Any:
    """A boto3 client with a key, or an anonymous one."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=key.access_key if key else None,
        aws_secret_access_key=key.secret_key if key else None,
        config=Config(
            s3={"addressing_style": "path"},
            proxies={},
            retries={"total_max_attempts": 1},
            signature_version=None if key else UNSIGNED,
        ),
    )


def obstore_of(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", HOST)
    return S3Store(
        BUCKET,
        endpoint=server.url,
        region=REGION,
        access_key_id=server.client.access_key,
        secret_access_key=server.client.secret_key,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def keys_of(listing: dict[str, Any]) -> set[str]:
    return {entry["Key"] for entry in listing.get("Contents", ())}


def status_of(call: Call, with_client: Any) -> int:
    with pytest.raises(ClientError) as refused:
        call(with_client)
    return int(refused.value.response["ResponseMetadata"]["HTTPStatusCode"])


OWN_KEYS = {key for key in OBJECTS if key.startswith(f"{ROOT}/")}


def test_root_is_listed_with_a_delimiter(server: ObjectStoreServer) -> None:
    listing = client(server, server.client).list_objects_v2(Bucket=BUCKET, Prefix=ROOT, Delimiter="/")
    # The policy shows the names of sibling folders that begin alike, as the vendor's does.
    assert [folder["Prefix"] for folder in listing["CommonPrefixes"]] == [f"{ROOT}/", "client-ab/"]


@pytest.mark.parametrize("prefix", [f"{ROOT}/", f"{ROOT}/2026-11-01/", f"{ROOT}/2026-11-01/moments/part"])
def test_folders_below_the_root_are_listed(server: ObjectStoreServer, prefix: str) -> None:
    restricted = client(server, server.client)
    expected = {key for key in OWN_KEYS if key.startswith(prefix)}
    assert keys_of(restricted.list_objects_v2(Bucket=BUCKET, Prefix=prefix)) == expected
    assert keys_of(restricted.list_objects(Bucket=BUCKET, Prefix=prefix)) == expected
    pages = restricted.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix=prefix, PaginationConfig={"PageSize": 1}
    )
    assert set().union(*(keys_of(page) for page in pages)) == expected


def test_objects_below_the_root_are_read(server: ObjectStoreServer) -> None:
    restricted = client(server, server.client)
    for key in OWN_KEYS:
        assert restricted.get_object(Bucket=BUCKET, Key=key)["Body"].read() == OBJECTS[key]
    ranged = restricted.get_object(Bucket=BUCKET, Key=PART, Range="bytes=6-9")
    assert (ranged["ResponseMetadata"]["HTTPStatusCode"], ranged["Body"].read()) == (206, b"part")
    head = restricted.head_object(Bucket=BUCKET, Key=PART)
    assert head["ContentLength"] == len(OBJECTS[PART])
    assert head["ETag"] == f'"{hashlib.md5(OBJECTS[PART]).hexdigest()}"'


DENIED: dict[str, Call] = {
    "list root without delimiter": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=ROOT),
    "list root with another delimiter": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=ROOT, Delimiter="-"),
    "list without prefix": lambda s3: s3.list_objects_v2(Bucket=BUCKET),
    "list without prefix, with delimiter": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Delimiter="/"),
    "list an empty prefix": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=""),
    "list a shorter prefix": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix="client", Delimiter="/"),
    "list another client": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix="client-b/"),
    "list the sibling": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix="client-ab/"),
    "list versions": lambda s3: s3.list_object_versions(Bucket=BUCKET),
    "list uploads": lambda s3: s3.list_multipart_uploads(Bucket=BUCKET),
    "head bucket": lambda s3: s3.head_bucket(Bucket=BUCKET),
    "bucket location": lambda s3: s3.get_bucket_location(Bucket=BUCKET),
    "bucket policy": lambda s3: s3.get_bucket_policy(Bucket=BUCKET),
    "get outside": lambda s3: s3.get_object(Bucket=BUCKET, Key=OUTSIDE),
    "head outside": lambda s3: s3.head_object(Bucket=BUCKET, Key=OUTSIDE),
    "put": lambda s3: s3.put_object(Bucket=BUCKET, Key=f"{ROOT}/new", Body=b"x"),
    "overwrite": lambda s3: s3.put_object(Bucket=BUCKET, Key=PART, Body=b"x"),
    "put outside": lambda s3: s3.put_object(Bucket=BUCKET, Key="new", Body=b"x"),
    "multipart": lambda s3: s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ROOT}/new"),
    "copy": lambda s3: s3.copy_object(Bucket=BUCKET, Key=f"{ROOT}/new", CopySource={"Bucket": BUCKET, "Key": PART}),
    "tag": lambda s3: s3.put_object_tagging(Bucket=BUCKET, Key=PART, Tagging={"TagSet": []}),
    "delete": lambda s3: s3.delete_object(Bucket=BUCKET, Key=PART),
    "create bucket": lambda s3: s3.create_bucket(Bucket="another"),
}


@pytest.mark.parametrize("call", DENIED.values(), ids=DENIED.keys())
def test_everything_else_is_denied(server: ObjectStoreServer, call: Call) -> None:
    assert status_of(call, client(server, server.client)) == 403


def test_batch_delete_is_denied(server: ObjectStoreServer) -> None:
    restricted = client(server, server.client)
    with contextlib.suppress(ClientError):
        answer = restricted.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": PART}]})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert restricted.head_object(Bucket=BUCKET, Key=PART)


ALLOWED: dict[str, Call] = {
    "list root": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=ROOT, Delimiter="/"),
    "list below root": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{ROOT}/"),
    "get": lambda s3: s3.get_object(Bucket=BUCKET, Key=PART),
    "head": lambda s3: s3.head_object(Bucket=BUCKET, Key=PART),
}


@pytest.mark.parametrize("call", ALLOWED.values(), ids=ALLOWED.keys())
def test_only_the_right_secret_opens(server: ObjectStoreServer, call: Call) -> None:
    assert status_of(call, client(server, None)) == 403
    assert status_of(call, client(server, Credentials(server.client.access_key, "wrong"))) == 403
    assert status_of(call, client(server, Credentials("unknown", server.client.secret_key))) == 403
    assert status_of(call, client(server, Credentials(server.admin.access_key, server.client.secret_key))) == 403


def test_obstore_lists_below_the_root_only(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = obstore_of(server, monkeypatch)
    assert {meta["path"] for chunk in obstore.list(store, prefix=ROOT) for meta in chunk} == OWN_KEYS
    assert bytes(obstore.get(store, PART).bytes()) == OBJECTS[PART]
    with pytest.raises(obstore.exceptions.BaseError, match="403"):
        list(obstore.list(store))


def test_the_ready_probe_leaves_no_object(server: ObjectStoreServer) -> None:
    assert keys_of(client(server, server.admin).list_objects_v2(Bucket=BUCKET)) == set(OBJECTS)


def test_a_revoked_key_is_refused_until_restored(server: ObjectStoreServer) -> None:
    restricted = client(server, server.client)
    server.revoke_client()
    try:
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            restricted.get_object(Bucket=BUCKET, Key=PART)
        assert status_of(ALLOWED["list below root"], restricted) == 403
        assert keys_of(client(server, server.admin).list_objects_v2(Bucket=BUCKET)) == set(OBJECTS)
    finally:
        server.restore_client()
    assert restricted.get_object(Bucket=BUCKET, Key=PART)["Body"].read() == OBJECTS[PART]
    assert status_of(DENIED["list without prefix"], restricted) == 403


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs the process file system")
def test_it_listens_on_loopback_only(server: ObjectStoreServer) -> None:
    links = [str(fd.readlink()) for fd in Path(f"/proc/{server.pid}/fd").iterdir()]
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    addresses = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        file = Path(f"/proc/{server.pid}/net/{table}")
        rows = [line.split() for line in file.read_text().splitlines()[1:]] if file.exists() else []
        listening = "0A" if table.startswith("tcp") else "07"
        addresses |= {row[1] for row in rows if row[9] in sockets and row[3] == listening}
    loopback = f"{int.from_bytes(socket.inet_aton(HOST), sys.byteorder):08X}"
    assert f"{loopback}:{int(server.url.rsplit(':', 1)[1]):04X}" in addresses
    assert {address.split(":")[0] for address in addresses} == {loopback}


def test_secrets_are_shown_nowhere_but_in_private_files(server: ObjectStoreServer, tmp_path: Path) -> None:
    shown = f"{server.admin!r} {server.client!s} {server!r} {server.__dict__!r}"
    process = Path(f"/proc/{server.pid}")
    started_with = (process / "cmdline").read_bytes() + (process / "environ").read_bytes() if process.exists() else b""
    log = (server.data / "weed.log").read_bytes()
    for key in (server.admin, server.client):
        assert len(key.secret_key) >= 32
        assert key.secret_key not in shown
        assert key.secret_key.encode() not in started_with + log
    server.write_profiles(tmp_path / "aws" / "credentials")
    for private in (tmp_path / "aws" / "credentials", server.data / "s3.json", server.data / "weed.log"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_profiles_are_read_by_boto3(server: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    server.write_profiles(file, admin_profile="giver", client_profile="taker")
    server.write_profiles(file, admin_profile="giver", client_profile="taker")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for profile, key in (("giver", server.admin), ("taker", server.client)):
        found = boto3.Session(profile_name=profile).get_credentials()
        assert found is not None
        assert (found.access_key, found.secret_key) == (key.access_key, key.secret_key)


@pytest.mark.parametrize("content", ["[mine]\naws_access_key_id = x\n", "not a credentials file"])
def test_the_profiles_of_others_are_not_overwritten(server: ObjectStoreServer, tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(content)
    with pytest.raises(ObjectStoreError, match="name another file"):
        server.write_profiles(file)
    assert file.read_text() == content


def test_upload_reports_progress_and_splits_only_large_files(
    server: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "SINGLE_PART_BYTES", 24 * 1024 * 1024)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another account")
    monkeypatch.setenv("HTTP_PROXY", f"http://{HOST}:9")
    contents = {"a/large": os.urandom(24 * 1024 * 1024), "a/below": os.urandom(9_000_000), "b/empty": b""}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    progress: list[int] = []
    assert server.upload_folder(tmp_path, "/uploads/", progress.append) == 3
    assert progress == [1, 2, 3]
    admin = client(server, server.admin)
    for name, content in contents.items():
        answer = admin.get_object(Bucket=BUCKET, Key=f"uploads/{name}")
        assert answer["Body"].read() == content
        etag = answer["ETag"].strip('"')
        assert etag.endswith("-4") if name == "a/large" else etag == hashlib.md5(content).hexdigest()
        admin.delete_object(Bucket=BUCKET, Key=f"uploads/{name}")


def test_upload_names_what_it_cannot_upload(server: ObjectStoreServer, tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="no such folder"):
        server.upload_folder(tmp_path / "absent", "uploads")
    refused = ObjectStoreServer(tmp_path / "store", "absent-bucket", ROOT)
    refused._s3_port, refused.admin = int(server.url.rsplit(":", 1)[1]), server.admin
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    with pytest.raises(ObjectStoreError, match=r"folder/file: not uploaded: .*404"):
        refused.upload_folder(tmp_path / "folder", "uploads")


def test_a_data_folder_and_a_port_serve_one_server(server: ObjectStoreServer, tmp_path: Path) -> None:
    second = ObjectStoreServer(server.data, BUCKET, ROOT)
    assert (second.admin, second.client) == (server.admin, server.client)
    with pytest.raises(ObjectStoreError, match=f"in use by a running server \\(process {server.pid}\\)"):
        second.start()
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(ObjectStoreError, match=f"port {port} of {HOST} is in use"):
        ObjectStoreServer(tmp_path, BUCKET, ROOT, port).start()


def test_restart_keeps_url_keys_and_objects(server: ObjectStoreServer) -> None:
    pid, url = server.pid, server.url
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert server.pid is None
    assert not is_alive(pid)
    assert not left_sockets(server)
    with pytest.raises(ObjectStoreError, match="start it first"):
        server.revoke_client()
    again = ObjectStoreServer(server.data, BUCKET, ROOT, int(url.rsplit(":", 1)[1]))
    with again:
        assert (again.url, again.admin, again.client) == (url, server.admin, server.client)
        admin = client(again, again.admin)
        assert keys_of(admin.list_objects_v2(Bucket=BUCKET)) == set(OBJECTS)
        for key, content in OBJECTS.items():
            assert admin.get_object(Bucket=BUCKET, Key=key)["Body"].read() == content
        assert status_of(DENIED["list without prefix"], client(again, again.client)) == 403
    server.start()
    assert server.url == url


def test_without_seaweedfs_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ObjectStoreError, match=r"pip install 'offload-platform\[demo\]'"):
        ObjectStoreServer(tmp_path, BUCKET, ROOT).start()


@pytest.mark.parametrize(
    ("script", "message", "launches"),
    [
        ("exit 3", r"ended with status 3; see .*weed\.log", 1),
        ("echo 'Port allocation failed: port 1'; exit 1", r"ended with status 1; see .*weed\.log", 3),
        ("exec sleep 60", r"not ready in time: .*; see .*weed\.log", 1),
    ],
    ids=["dies", "never finds ports", "hangs"],
)
def test_a_failed_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str, launches: int
) -> None:
    program = tmp_path / "weed"
    program.write_text(f"#!/bin/sh\necho $$ >> '{tmp_path}/pids'\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    server = ObjectStoreServer(tmp_path / "store", BUCKET, ROOT)
    with pytest.raises(ObjectStoreError, match=message):
        server.start(timeout=0.5)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == launches
    assert not any(is_alive(pid) for pid in pids)
    assert server.pid is None
    server.stop()


def test_an_unusable_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "weed"
    program.write_text("of another system")
    program.chmod(0o700)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ObjectStoreError, match=f"{program}: cannot be run"):
        ObjectStoreServer(tmp_path / "store", BUCKET, ROOT).start()


@pytest.mark.parametrize("content", ["{", "{}", '{"identities": [{"name": "admin", "credentials": []}]}'])
def test_unreadable_keys_are_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "s3.json").write_text(content)
    with pytest.raises(ObjectStoreError, match=r"s3\.json: cannot be read; delete it"):
        ObjectStoreServer(tmp_path, BUCKET, ROOT)


def test_a_program_that_crashes_leaves_no_server(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from offload_platform.simulator.object_store import ObjectStoreServer
server = ObjectStoreServer(Path({str(tmp_path)!r}), {BUCKET!r}, {ROOT!r})
server.start()
Path({str(tmp_path / "pid")!r}).write_text(str(server.pid))
raise RuntimeError("crash")
"""
    crashed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "RuntimeError: crash" in crashed.stderr
    assert not is_alive(int((tmp_path / "pid").read_text()))


def is_alive(pid: int | None) -> bool:
    """Whether a process exists, as a zombie too."""
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def left_sockets(server: ObjectStoreServer) -> list[Path]:
    ports = set(options(server).values()) | {server.url.rsplit(":", 1)[1]}
    return [path for path in Path("/tmp").glob("seaweedfs-*.sock") if path.stem.rsplit("-", 1)[1] in ports]


def options(server: ObjectStoreServer) -> dict[str, str]:
    """The flags of the last run, as SeaweedFS notes them."""
    lines = (server.data / "mini.options").read_text().splitlines()
    return {flag: value for flag, _, value in (line.partition("=") for line in lines)}
