"""Where backups are kept: a folder, or a bucket. What is put there is read back and compared."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import obstore
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, S3Store

from offload_platform.warehouse.publish import flush

_CHUNK_BYTES = 8 << 20


class SafeUnusable(Exception):
    """Backups cannot be kept there, or not be read from there; the message says what to do."""


class Safe:
    """A place of backups; files in it are known by their names."""

    folder: Path | None = None
    """The folder that it is, where it is one."""

    def names(self) -> list[str]:
        """Names of the files."""
        raise NotImplementedError

    def put(self, file: Path, name: str, sha256: str) -> None:
        """Keep a file, whole or not at all; raises SafeUnusable."""
        raise NotImplementedError

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file that is kept; raises SafeUnusable."""
        raise NotImplementedError


class FolderSafe(Safe):
    """A folder, which is made when something is put there."""

    def __init__(self, folder: Path) -> None:
        """In a folder."""
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def names(self) -> list[str]:
        """Names of the files."""
        return sorted(file.name for file in self._in.iterdir() if file.is_file()) if self._in.is_dir() else []

    def put(self, file: Path, name: str, sha256: str) -> None:
        """Keep a file, unless it is in the folder already."""
        target = self._in / name
        if file != target:
            self._in.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f"{name}.new")
            shutil.copyfile(file, aside)
            flush(aside)
            aside.replace(target)
        flush(self._in)
        if sha256_of(target) != sha256:
            raise SafeUnusable(
                f"{target} is not what was written to it. Back up again; if it stays so, check the disk."
            )

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file that is kept."""
        try:
            shutil.copyfile(self._in / name, target)
        except FileNotFoundError as error:
            raise SafeUnusable(f"{self._in / name} is not there. Name another backup.") from error

    @property
    def _in(self) -> Path:
        assert self.folder is not None
        return self.folder


class BucketSafe(Safe):
    """Objects below a prefix of an S3 bucket."""

    def __init__(self, url: str, profile: str | None, endpoint_url: str | None, region: str | None) -> None:
        """At `s3://bucket/prefix`, with the credentials of a profile, or of the environment."""
        self.url = url.rstrip("/")
        said = urlsplit(self.url)
        self._prefix = f"{said.path.strip('/')}/" if said.path.strip("/") else ""
        try:
            session = boto3.Session(profile_name=profile, region_name=region)
            endpoint: dict[str, str] = {} if endpoint_url is None else {"endpoint": endpoint_url}
            self._store: ObjectStore = S3Store(
                said.netloc,
                **endpoint,  # type: ignore[arg-type]
                region=session.region_name or "us-east-1",
                credential_provider=Boto3CredentialProvider(session),
                virtual_hosted_style_request=endpoint_url is None,
                client_options={"allow_http": (endpoint_url or "").startswith("http://"), "timeout": "1d"},
            )
        except (BaseError, BotoCoreError, ValueError) as error:
            raise self._unusable("open", "", error) from error

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        """Names of the objects."""
        try:
            found = obstore.list_with_delimiter(self._store, prefix=self._prefix or None)["objects"]
        except (BaseError, BotoCoreError, OSError) as error:
            raise self._unusable("list", "", error) from error
        return sorted(item["path"].removeprefix(self._prefix) for item in found)

    def put(self, file: Path, name: str, sha256: str) -> None:
        """Keep a file as an object, and read it back."""
        try:
            obstore.put(self._store, self._prefix + name, file)
        except (BaseError, BotoCoreError, OSError) as error:
            raise self._unusable("write", name, error) from error
        digest = hashlib.sha256()
        self._read(name, digest.update)
        if digest.hexdigest() != sha256:
            raise SafeUnusable(f"{self.url}/{name} is not what was sent to it. Back up again.")

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object."""
        with target.open("wb") as copy:
            self._read(name, copy.write)

    def _read(self, name: str, take: Callable[[bytes], object]) -> None:
        try:
            for chunk in obstore.get(self._store, self._prefix + name).stream(min_chunk_size=_CHUNK_BYTES):
                take(bytes(chunk))
        except (BaseError, BotoCoreError, FileNotFoundError) as error:
            raise self._unusable("read", name, error) from error

    def _unusable(self, action: str, name: str, error: Exception) -> SafeUnusable:
        said = " ".join(str(error).split())[:300]
        what = f"cannot {action} {self.url}/{name}".rstrip("/")
        return SafeUnusable(
            f"{what}: check bucket, --profile, --region and --endpoint-url, and that the key may list, read and write "
            f"there. ({said})"
        )


def safe_at(
    place: str, profile: str | None = None, endpoint_url: str | None = None, region: str | None = None
) -> tuple[Safe, str | None]:
    """The safe that a folder or an `s3://` URL names, and the name of a backup in it: `None` where only it is named.

    What ends in `.duckdb` names a backup.
    """
    parent, _, last = place.rstrip("/").rpartition("/")
    name = last if last.endswith(".duckdb") else None
    where = parent if name else place
    if place.startswith("s3://"):
        return BucketSafe(where, profile, endpoint_url, region), name
    return FolderSafe(Path(where or ("/" if name and place.startswith("/") else "."))), name


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
