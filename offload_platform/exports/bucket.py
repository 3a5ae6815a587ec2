"""The client's bucket: puts an object unless its key is taken, and says in one sentence why the store refuses.

boto3 and not obstore, which reads deliveries: it tells the store's error code and the bucket's region. It tries again
by itself, after waits that grow and differ.
"""

import base64
import uuid
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from offload_platform.exports.errors import BucketRefused, ObjectDiffers
from offload_platform.exports.form import ExportForm

ATTEMPTS = 6
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_PROBE = ".offload-probe-"
_TAKEN = ("PreconditionFailed", "412")
_MISSING = ("404", "NoSuchKey", "NotFound")
_NOT_CONDITIONAL = ("NotImplemented", "501")
_WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301")
_RIGHTS = {"put": "s3:PutObject", "look at": "s3:GetObject", "delete": "s3:DeleteObject"}
_REGION_HEADER = "x-amz-bucket-region"


class Bucket:
    """Where an export puts its files. It reads nothing but the heads of its own objects."""

    def __init__(self, form: ExportForm) -> None:
        """Open the bucket of a form.

        Raises:
            SettingsError: a variable that holds a key is not set.
            BucketRefused: the profile is not there.
        """
        self.form = form
        keys = form.credentials()
        try:
            session = boto3.Session(
                aws_access_key_id=keys[0] if keys else None,
                aws_secret_access_key=keys[1] if keys else None,
                profile_name=form.aws_profile,
                region_name=form.region,
            )
            self._client = session.client(
                "s3",
                endpoint_url=form.endpoint_url,
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    s3={"addressing_style": "path" if form.endpoint_url else "virtual"},
                    request_checksum_calculation="when_required",
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise self._refused("open", error) from error

    def put(self, key: str, file: Path, sha256: str, is_conditional: bool) -> str:
        """Put a file unless it is there already; returns the object's ETag.

        An object that is there with the same bytes is what an interrupted call has put: that is done. Stores that
        cannot refuse by themselves are asked before.

        Raises:
            ObjectDiffers: the key is taken by other bytes.
            BucketRefused: the store does not take it.
        """
        if not is_conditional and (etag := self.etag_of(key, sha256)) is not None:
            return etag
        try:
            with file.open("rb") as body:
                return self._put(key, body, sha256, is_conditional)
        except ClientError as error:
            if _code(error) not in _TAKEN:
                raise self._refused("put", error, key) from error
        except BotoCoreError as error:
            raise self._refused("put", error, key) from error
        if (etag := self.etag_of(key, sha256)) is not None:
            return etag
        raise BucketRefused(f"{self._of(key)}: it was there and is gone again. Run the slot again.")

    def etag_of(self, key: str, sha256: str) -> str | None:
        """The ETag of an object that has these bytes; None where there is no object.

        Raises:
            ObjectDiffers: an object is there with other bytes, or of unknown ones.
            BucketRefused: the store does not tell.
        """
        try:
            found = self._client.head_object(Bucket=self.form.bucket, Key=key)
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise self._refused("look at", error, key) from error
        except BotoCoreError as error:
            raise self._refused("look at", error, key) from error
        if found["Metadata"].get("sha256") != sha256:
            raise ObjectDiffers(
                f"{self._of(key)}: another object is there, and is never overwritten. Move it away and run the slot "
                f"again, or leave the slot out: offload export resume {self.form.name} --from-now"
            )
        return _etag(found)

    def probe(self) -> bool:
        """Put, look at and delete an object; returns whether the store can refuse to replace one.

        Raises:
            BucketRefused: something is wrong; the message names region, bucket, key or right.
        """
        self._check_region()
        key = f"{self.form.directory}/{_PROBE}{uuid.uuid4().hex}"
        action = "put"
        try:
            is_conditional = self._refuses_to_replace(key)
            action = "look at"
            self._client.head_object(Bucket=self.form.bucket, Key=key)
            action = "delete"
            self._client.delete_object(Bucket=self.form.bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise self._refused(action, error, key) from error
        return is_conditional

    def _refuses_to_replace(self, key: str) -> bool:
        """Put an object twice, on the condition that there is none: a store that knows the condition refuses once."""
        try:
            self._client.put_object(Bucket=self.form.bucket, Key=key, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if _code(error) not in _NOT_CONDITIONAL:
                raise
            self._client.put_object(Bucket=self.form.bucket, Key=key, Body=b"")
            return False
        try:
            self._client.put_object(Bucket=self.form.bucket, Key=key, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if _code(error) not in _TAKEN:
                raise
            return True
        return False

    def _put(self, key: str, body: Any, sha256: str, is_conditional: bool) -> str:
        condition = {"IfNoneMatch": "*"} if is_conditional else {}
        answer = self._client.put_object(
            Bucket=self.form.bucket,
            Key=key,
            Body=body,
            ContentType="application/gzip",
            Metadata={"sha256": sha256},
            # The store compares it with the bytes that have arrived.
            ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            **condition,
        )
        return _etag(answer)

    def _check_region(self) -> None:
        """Ask where the bucket is. A store tells that even to those who may not look at it, and may tell nothing."""
        try:
            answer: Any = self._client.head_bucket(Bucket=self.form.bucket)
        except ClientError as error:
            if _code(error) in _MISSING:
                raise self._refused("find", error) from error
            answer = error.response
        except BotoCoreError as error:
            raise self._refused("find", error) from error
        region = answer["ResponseMetadata"]["HTTPHeaders"].get(_REGION_HEADER)
        if region not in (None, self.form.region):
            raise BucketRefused(self._wrong_region(region))

    def _wrong_region(self, region: str | None) -> str:
        where = f"in {region}" if region else "in another region"
        step = f"set region: {region}" if region else "ask the client for its region"
        return f"{self.form.name}: the bucket {self.form.bucket} is {where}, not in {self.form.region}: {step}"

    def _of(self, key: str = "") -> str:
        return f"{self.form.name}: s3://{self.form.bucket}/{key}".rstrip("/")

    def _refused(self, action: str, error: Exception, key: str = "") -> BucketRefused:
        """What is wrong and the next step. What the store says itself is left out: it may repeat keys."""
        code = _code(error)
        said = f"{self._of(key)}: cannot {action} it"
        if code in _WRONG_REGION:
            region = error.response["Error"].get("Region") if isinstance(error, ClientError) else None
            return BucketRefused(f"{self._wrong_region(region)} ({code})")
        if code in ("NoSuchBucket", "404") or isinstance(error, ParamValidationError):
            step = f"there is no bucket {self.form.bucket}: check bucket and endpoint_url"
        elif code == "InvalidAccessKeyId":
            step = f"the store does not know the access key: check {self._where('access_key')}"
        elif code == "SignatureDoesNotMatch":
            step = f"the secret key does not belong to the access key: check {self._where('secret_key')}"
        elif code in ("ExpiredToken", "InvalidToken"):
            step = f"the credentials have expired: renew {self._where('access_key')}"
        elif code == "RequestTimeTooSkewed":
            step = "the clock of this machine is wrong: set it"
        elif code in ("AccessDenied", "403", "AllAccessDisabled"):
            right = _RIGHTS.get(action, "access")
            step = f"the right {right} on {self.form.bucket}/{self.form.directory}/* is missing: ask for it"
        elif code == "ProfileNotFound":
            step = f"there is no profile {self.form.aws_profile!r}: check aws_profile and AWS_SHARED_CREDENTIALS_FILE"
        elif "Credentials" in code:
            step = "no usable credentials: name access_key and secret_key, or aws_profile"
        elif isinstance(error, ClientError):
            step = "the store did not do it; run again, and ask its operator if it stays so"
        else:
            step = "the store does not answer: check endpoint_url, region and the network"
        return BucketRefused(f"{said}: {step}. ({code})")

    def _where(self, field: str) -> str:
        """Where a key comes from."""
        reference = getattr(self.form, field)
        if reference is not None:
            return f"{field} ({reference})"
        return f"aws_profile ({self.form.aws_profile})" if self.form.aws_profile else "the environment's credentials"


def _etag(answer: Any) -> str:
    return str(answer["ETag"]).strip('"')


def _code(error: Exception) -> str:
    """The store's code for an error, or boto3's name of it."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__
