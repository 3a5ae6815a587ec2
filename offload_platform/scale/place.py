"""The place that all nodes reach: a folder that they share, or a prefix of a bucket. Files in it are never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import obstore
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from offload_platform.scale.errors import ScaleUnusable

_ERRORS = (BaseError, BotoCoreError, OSError, ValueError)
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class Place:
    """A folder or a prefix, by its URL, and how a bucket is reached; each machine brings credentials of its own."""

    url: str
    endpoint_url: str | None = None
    region: str = "eu-west-1"
    profile: str | None = None

    def below(self, name: str) -> "Place":
        """A place inside this one."""
        return Place(f"{self.url.rstrip('/')}/{name}", self.endpoint_url, self.region, self.profile)

    @property
    def path(self) -> str:
        """How DuckDB names it: a folder's path, or the URL of a prefix."""
        return unquote(urlsplit(self.url).path) if not self.is_bucket else self.url

    @property
    def is_bucket(self) -> bool:
        """Whether it is in a bucket, and not a folder."""
        return not self.url.startswith("file://")

    def put(self, file: Path, name: str) -> None:
        """Keep a file under a name, whole or not at all.

        Raises:
            ScaleUnusable: nothing can be written there.
        """
        try:
            obstore.put(self._store(), self._key(name), file)
        except _ERRORS as error:
            raise self._unusable("write", name, error) from error

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file.

        Raises:
            ScaleUnusable: it is not there, or cannot be read.
        """
        try:
            with target.open("wb") as copy:
                for chunk in obstore.get(self._store(), self._key(name)).stream(min_chunk_size=_CHUNK_BYTES):
                    copy.write(bytes(chunk))
        except _ERRORS as error:
            raise self._unusable("read", name, error) from error

    def names(self, before: datetime | None = None) -> list[str]:
        """Names of all files in it, and in places inside it; or of those that were written before a moment.

        Raises:
            ScaleUnusable: it cannot be listed.
        """
        prefix = self._key("")
        try:
            found = [item for batch in obstore.list(self._store(), prefix=prefix or None) for item in batch]
        except _ERRORS as error:
            raise self._unusable("list", "", error) from error
        return sorted(
            item["path"].removeprefix(prefix) for item in found if before is None or item["last_modified"] < before
        )

    def empty(self, before: datetime | None = None) -> int:
        """Remove all files in it, or those that were written before a moment; returns how many.

        Raises:
            ScaleUnusable: they cannot be listed or removed.
        """
        return self.remove(self.names(before))

    def remove(self, names: Sequence[str]) -> int:
        """Remove some files; returns how many.

        Raises:
            ScaleUnusable: they cannot be removed.
        """
        if names:
            try:
                obstore.delete(self._store(), [self._key(name) for name in names])
            except _ERRORS as error:
                raise self._unusable("remove files of", "", error) from error
        return len(names)

    def refuses_a_second(self, file: Path, name: str) -> bool:
        """Whether, of two who keep a file under a new name, the second is told so.

        Raises:
            ScaleUnusable: nothing can be written there.
        """
        try:
            obstore.put(self._store(), self._key(name), file, mode="create")
            obstore.put(self._store(), self._key(name), file, mode="create")
        except AlreadyExistsError:
            return True
        except _ERRORS as error:
            raise self._unusable("write", name, error) from error
        return False

    def keys(self) -> Any:
        """What a bucket is reached with: `access_key`, `secret_key` and `token`, which may be None.

        Raises:
            ScaleUnusable: there are none.
        """
        try:
            found = self.session().get_credentials()
        except _ERRORS as error:
            raise self._unusable("reach", "", error) from error
        if found is None:
            raise ScaleUnusable(
                f"no credentials for {self.url}: set scale.aws_profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return found.get_frozen_credentials()

    def session(self) -> boto3.Session:
        """The session whose credentials a bucket is reached with: of the profile, or of this machine's environment."""
        return boto3.Session(profile_name=self.profile, region_name=self.region)

    def _key(self, name: str) -> str:
        if not self.is_bucket:
            return name
        prefix = urlsplit(self.url).path.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def _store(self) -> ObjectStore:
        if not self.is_bucket:
            return LocalStore(Path(self.path), mkdir=True)
        # The store takes None for a text of a wrong type.
        endpoint: dict[str, Any] = {} if self.endpoint_url is None else {"endpoint": self.endpoint_url}
        return S3Store(
            urlsplit(self.url).netloc,
            **endpoint,
            region=self.region,
            credential_provider=Boto3CredentialProvider(self.session()),
            virtual_hosted_style_request=self.endpoint_url is None,
            client_options={"allow_http": (self.endpoint_url or "").startswith("http://"), "timeout": "1d"},
        )

    def _unusable(self, action: str, name: str, error: Exception) -> ScaleUnusable:
        said = " ".join(str(error).split())[:300]
        return ScaleUnusable(
            f"cannot {action} {self.url}/{name}".rstrip("/")
            + f": check the url and endpoint_url of scale, and that this machine's credentials may list, read, write "
            f"and delete there. ({said})"
        )
