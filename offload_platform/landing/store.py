"""One client for `s3://` and `file://` roots. It lists and gets below the root, and does nothing else.

A vendor's read-only policy allows a listing of `<root>/` and reads below it: no listing without a prefix, no call on
the bucket, no write (offloads document, example of IAM user permissions).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, PreconditionError
from obstore.store import LocalStore, ObjectStore, S3Store

from offload_platform.contracts.deliveries import StoredObject, is_plain
from offload_platform.landing.errors import DamagedBody, PartChanged, SourceUnavailable
from offload_platform.settings import Feed

Listed = TypeVar("Listed")

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 3
_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")
_STORE_ERRORS = (BaseError, BotoCoreError, ClientError, OSError)
_ODD_KEY = "invalid path"
_BROKEN_LISTING, _BROKEN_BODY = "list response body", "request or response body error"
_STATUS_OF_ITS_OWN_ERRORS = re.compile(r"status code: 5\d\d|\b5\d\d [A-Z]\w+ ")
_CONNECT_TIMEOUT = timedelta(seconds=10)
_READ_TIMEOUT = timedelta(seconds=30)
"""Without a byte for so long, a request is made again from where it stopped."""
_NO_TIMEOUT = timedelta(days=1)
"""The store's client wants a limit for a whole download, and for its retries; parts may be large and lines slow."""


class _BrokenOff(SourceUnavailable):
    """A body that broke off, and could not be gone on with from there."""


class DeliveryStore:
    """Reads the objects below one feed's root; keys are relative to the root."""

    def __init__(self, feed: Feed, session: boto3.Session | None = None) -> None:
        """Open a root; `session` brings AWS credentials, else the feed's profile or the environment does."""
        self.feed = feed
        self._session = session
        url = urlsplit(feed.url)
        self._folder = Path(unquote(url.path)) if url.scheme == "file" else None
        self._root = "" if self._folder or not url.path.strip("/") else url.path.strip("/") + "/"
        self._store: ObjectStore = (
            _open_folder(feed, self._folder) if self._folder else _open_bucket(feed, url.netloc, session)
        )

    def list_folders(self) -> list[str]:
        """Names of the folders at the top of the root, sorted; objects that lie beside them are not named, nor folders
        with names that no vendor gives: empty ones, or with control characters.

        Raises:
            SourceUnavailable: when the root cannot be listed.
        """

        def ask() -> list[str]:
            return list(obstore.list_with_delimiter(self._store, prefix=self._root or None)["common_prefixes"])

        names = self._listed("", ask, lambda: list(self._folders_with_odd_names()))
        return sorted(name for prefix in names if is_plain(name := prefix.removeprefix(self._root).strip("/")))

    def list_objects(
        self, folders: Iterable[str] = ("",), identify: Callable[[str], bool] = lambda _: True
    ) -> list[StoredObject]:
        """All objects below the root, or below some of its folders, sorted by key; folder placeholders are left out.

        A folder on disk has no ETags; there the content of the objects that `identify` picks by key is hashed, and
        the others have an empty one.

        Raises:
            SourceUnavailable: when the root cannot be listed.
        """
        return sorted((o for folder in folders for o in self._list_below(folder, identify)), key=lambda o: o.key)

    def _list_below(self, folder: str, identify: Callable[[str], bool]) -> list[StoredObject]:
        def ask() -> list[StoredObject]:
            return [
                StoredObject(
                    key=(key := item["path"].removeprefix(self._root)),
                    size=item["size"],
                    etag=self._etag(key, item["e_tag"], identify),
                    last_modified=item["last_modified"],
                )
                for batch in obstore.list(self._store, prefix=f"{self._root}{folder}" or None)
                for item in batch
                if not item["path"].endswith("/")
            ]

        return self._listed(folder, ask, lambda: list(self._with_odd_keys(folder, identify)))

    def _listed(self, folder: str, ask: Callable[[], Listed], ask_for_any: Callable[[], Listed]) -> Listed:
        """What is listed; `ask_for_any` lists by means that take any key.

        It is asked for again where an answer breaks off: that is the one thing the client does not do.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = _unless_odd(ask)
                return ask_for_any() if found is None else found
            except _STORE_ERRORS as error:
                if _BROKEN_LISTING not in str(error) or attempt == _ATTEMPTS:
                    raise SourceUnavailable(self._explain("list", folder, error)) from error
        raise AssertionError("unreachable")

    def _with_odd_keys(self, folder: str, identify: Callable[[str], bool]) -> Iterator[StoredObject]:
        """The objects below a folder, by means that take any key."""
        if self._folder is None:
            pages = self._pages(f"{self._root}{folder}".rstrip("/") + "/")
            for item in (item for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")):
                key = item["Key"].removeprefix(self._root)
                yield StoredObject(key, item["Size"], item["ETag"].strip('"'), item["LastModified"])
            return
        for path in (self._folder / folder).rglob("*"):
            key = path.relative_to(self._folder).as_posix()
            if path.is_file():
                stat = path.stat()
                etag = self._etag(key, None, identify) if is_plain(key) else ""
                yield StoredObject(key, stat.st_size, etag, datetime.fromtimestamp(stat.st_mtime, UTC))

    def _folders_with_odd_names(self) -> Iterator[str]:
        if self._folder is not None:
            return (path.name for path in self._folder.iterdir() if path.is_dir())
        pages = self._pages(self._root, Delimiter="/")
        return (item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ()))

    def _pages(self, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
        """Pages of a listing by boto3, for keys that obstore has no path for."""
        paginator = self.boto3_client(retries=8).get_paginator("list_objects_v2")
        bucket = urlsplit(self.feed.url).netloc
        pages: Iterator[dict[str, Any]] = iter(paginator.paginate(Bucket=bucket, Prefix=prefix, **more))
        return pages

    def boto3_client(self, retries: int) -> Any:
        """A client of boto3 with the credentials of an S3 feed, for what obstore cannot do."""
        feed = self.feed
        config = Config(
            s3={"addressing_style": "auto" if feed.endpoint_url is None else "path"},
            retries={"mode": "standard", "max_attempts": retries},
        )
        session = self._session or _session_of(feed)
        return session.client("s3", region_name=feed.region, endpoint_url=feed.endpoint_url, config=config)

    def fetch(self, wanted: StoredObject, target: Path) -> None:
        """Copy one object to a local file and prove that it is the object that was listed.

        Size is always compared; the MD5 is, wherever the ETag is one (objects of a single upload part). A body whose
        bytes are wrong, or that breaks off, is fetched again, up to three times in all; a folder on disk has no way on
        which bytes could break, so a file that differs there was replaced.

        Raises:
            PartChanged: the object was replaced or removed since the listing.
            DamagedBody: the bytes stay wrong.
            SourceUnavailable: the store cannot be read.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                digest = hashlib.md5(usedforsecurity=False)
                size = 0
                with target.open("wb") as copy:
                    for chunk in self._body(wanted):
                        digest.update(chunk)
                        size += len(chunk)
                        copy.write(chunk)
                self._verify(wanted, size, digest.hexdigest())
                return
            except (DamagedBody, _BrokenOff) as error:
                if self._folder:
                    raise _replaced(wanted) from error
                if attempt == _ATTEMPTS:
                    raise

    def read_first_bytes(self, wanted: StoredObject) -> None:
        """Prove that an object can be read, at the price of one small request."""
        for _ in self._body(wanted):
            return

    def _body(self, wanted: StoredObject) -> Iterator[bytes]:
        try:
            result = obstore.get(
                self._store,
                self._root + wanted.key,
                options={} if self._folder else {"if_match": f'"{wanted.etag}"'},
            )
            for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)
        except (PreconditionError, NotFoundError, FileNotFoundError) as error:
            if _code_of(error) == "NoSuchBucket":
                raise SourceUnavailable(self._explain("read", wanted.key, error)) from error
            raise _replaced(wanted) from error
        except (BaseError, BotoCoreError, OSError) as error:
            kind = _BrokenOff if _BROKEN_BODY in str(error) else SourceUnavailable
            raise kind(self._explain("read", wanted.key, error)) from error

    def _verify(self, wanted: StoredObject, size: int, md5: str) -> None:
        if size != wanted.size:
            raise DamagedBody(
                f"{wanted.key}: {size:,} bytes arrived, the listing says {wanted.size:,}. Run the partition again; "
                "if it stays so, ask the vendor to deliver the part anew."
            )
        if etag_is_md5(wanted.etag) and md5 != wanted.etag:
            raise DamagedBody(
                f"{wanted.key}: the checksum of the bytes is {md5}, the store says {wanted.etag}. Run the partition "
                "again; if it stays so, ask the vendor to deliver the part anew."
            )

    def _etag(self, key: str, etag: str | None, identify: Callable[[str], bool]) -> str:
        if self._folder is None:
            return (etag or "").strip('"')
        if not identify(key):
            return ""
        path = self._folder / key
        stat = path.stat()
        return _md5_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def _explain(self, action: str, key: str, error: Exception) -> str:
        what = f"{self.feed.name}: cannot {action} {self.feed.url}/{key}".rstrip("/")
        said = str(error)
        code = _code_of(error)
        if code in ("ExpiredToken", "InvalidToken"):
            step = "the credentials have expired: renew them and run again"
        elif code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            step = "the store does not know the key: check aws_profile of the feed, or the environment's credentials"
        elif code == "RequestTimeTooSkewed":
            step = "the clock of this machine is wrong: set it (such as by NTP) and run again"
        elif code == "NoSuchBucket":
            step = "the bucket is not there: check url and endpoint_url of the feed; if it was there, ask the vendor"
        elif code in ("SlowDown", "InternalError", "ServiceUnavailable") or _STATUS_OF_ITS_OWN_ERRORS.search(said):
            step = "the store is busy or out of order, and stayed so through all retries: run again later"
        elif isinstance(error, PermissionDeniedError) or "403 Forbidden" in said:
            step = (
                "access denied: check the key, and that its policy allows s3:ListBucket with prefix "
                f"{self._root}* and s3:GetObject below it"
            )
        elif isinstance(error, BotoCoreError) or "credential" in said.lower():
            step = "no usable credentials: set aws_profile in the feed, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif isinstance(error, FileNotFoundError | NotFoundError):
            step = "it does not exist: check the url of the feed"
        else:
            step = "check url, endpoint_url and region of the feed, and the network"
        return f"{what}: {step}. ({code or _first_line(said)})"


def _code_of(error: Exception) -> str:
    """The store's word for what is wrong; empty where it did not answer with one."""
    answered = _ERROR_CODE.search(str(error))
    return answered[1] if answered else ""


@lru_cache(maxsize=100_000)
def _md5_of(path: Path, size: int, modified_ns: int, changed_ns: int) -> str:  # noqa: ARG001 (another file, another key)
    """MD5 of a file's content; a sensor asks every minute, and a file that has not changed is read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _replaced(wanted: StoredObject) -> PartChanged:
    return PartChanged(
        f"{wanted.key}: replaced or removed since the listing. Run the partition again to load what is there."
    )


def etag_is_md5(etag: str) -> bool:
    """Whether an ETag is the MD5 of the content, as it is for objects of a single upload part without KMS."""
    return len(etag) == 32 and all(c in "0123456789abcdef" for c in etag)


def _unless_odd(listing: Callable[[], Listed]) -> Listed | None:
    """A listing by obstore; None where a single key in it is no path to obstore, which then lists nothing at all.

    Such are keys with control characters and with the steps `.`, `..` or none: S3 takes any key.
    """
    try:
        return listing()
    except BaseError as error:
        if _ODD_KEY not in str(error):
            raise
        return None


def _session_of(feed: Feed) -> boto3.Session:
    return boto3.Session(profile_name=feed.aws_profile, region_name=feed.region)


def _open_folder(feed: Feed, folder: Path) -> LocalStore:
    if not folder.is_dir():
        raise SourceUnavailable(f"{feed.name}: {folder} is no folder: check the url of the feed")
    return LocalStore(folder)


def _open_bucket(feed: Feed, bucket: str, session: boto3.Session | None) -> S3Store:
    try:
        provider = Boto3CredentialProvider(session or _session_of(feed))
    except (BotoCoreError, ValueError) as error:
        raise SourceUnavailable(
            f"{feed.name}: no usable credentials ({_first_line(str(error))}): set aws_profile in the feed, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        ) from error
    insecure = (feed.endpoint_url or "").startswith("http://")
    # The store takes None for a text of a wrong type.
    endpoint: dict[str, str] = {} if feed.endpoint_url is None else {"endpoint": feed.endpoint_url}
    return S3Store(
        bucket,
        **endpoint,  # type: ignore[arg-type]
        region=feed.region,
        credential_provider=provider,
        skip_signature=False,
        virtual_hosted_style_request=feed.endpoint_url is None,
        client_options={
            "allow_http": insecure,
            "timeout": _NO_TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "connect_timeout": _CONNECT_TIMEOUT,
        },
        retry_config={"max_retries": 8, "retry_timeout": _NO_TIMEOUT},
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no further word"
