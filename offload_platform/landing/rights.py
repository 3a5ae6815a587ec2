"""Which rights a key has that it should not have: asked of the store in ways that write, delete and show nothing.

A part of an upload that nobody has begun is refused to whoever may write, for want of the upload; a deletion of an
object that is not there, and only if it is what nobody has written, deletes nothing. Of a listing outside the root only
the answer counts, and not what is listed: that is none of our business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from offload_platform.landing.errors import SourceUnavailable
from offload_platform.landing.store import DeliveryStore

_DENIED = (401, 403)
_ALLOWED = (200, 204, 404, 409, 412)


@dataclass(frozen=True)
class Rights:
    """Rights beyond those that are needed: what is `held`, and what the store gave no clear answer on."""

    held: tuple[str, ...]
    unknown: tuple[str, ...]


def rights_beyond_reading(store: DeliveryStore) -> Rights:
    """What the key of an S3 feed may do besides listing and reading below the root.

    Raises:
        SourceUnavailable: the store cannot be reached.
    """
    client = store.boto3_client(retries=2)
    url = urlsplit(store.feed.url)
    bucket, root = url.netloc, url.path.strip("/")
    nobodys = f".offload-doctor-{uuid4().hex}"
    inside = {"Bucket": bucket, "Key": f"{root}/{nobodys}".lstrip("/")}
    trials: dict[str, Callable[[], Any]] = {
        "write": lambda: client.upload_part(**inside, UploadId=uuid4().hex, PartNumber=1, Body=b""),
        "delete": lambda: client.delete_object(**inside, IfMatch=f'"{uuid4().hex}"'),
    }
    if root:
        trials["list the whole bucket"] = lambda: client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        trials["read outside the root"] = lambda: client.head_object(Bucket=bucket, Key=nobodys)
    answers = {right: _may(store, trial) for right, trial in trials.items()}
    return Rights(
        tuple(right for right, may in answers.items() if may),
        tuple(right for right, may in answers.items() if may is None),
    )


def _may(store: DeliveryStore, trial: Callable[[], Any]) -> bool | None:
    try:
        trial()
    except ClientError as error:
        status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return False if status in _DENIED else True if status in _ALLOWED else None
    except BotoCoreError as error:
        raise SourceUnavailable(f"{store.feed.name}: {store.feed.url} cannot be reached ({error})") from error
    return True
