"""The form of an export: what is sent, to where, how often. Each fault is told when the form is saved.

Secrets are never in it: it names environment variables or an AWS profile.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationInfo, field_validator, model_validator

from offload_platform.settings import SettingsError, Strict, read_yaml

EXAMPLE = "export.example.yaml"
FREQUENCIES = (5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440)
"""Minutes between two files: those that fall on the same minutes of each hour, or on the same hours of each day."""

LONGEST_BACKFILL = timedelta(days=92)
SAVED: Mapping[str, str] = MappingProxyType({"form": "saved"})
"""Context of forms that were saved: what was judged by the date of then is not judged again."""

_FROM_ENVIRONMENT = "env:"
_FIXED_OFFSET = re.compile(r"([+-])(\d{2}):00")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=-]+")
_DAYS_LOOKED_AT = 3653


class OnEmpty(StrEnum):
    """What is sent in a slot in which nothing has changed."""

    HEADER_ONLY = "header_only"
    SKIP = "skip"


class Source(Strict):
    """Where rows come from: a table or view of the published file, or a query on it in a file beside the form.

    `key` tells one row from all others. `change_time` is the column that says when a row last changed.
    """

    table: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$")
    sql_file: str | None = None
    key: tuple[str, ...] = Field(min_length=1)
    change_time: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.table is None) == (self.sql_file is None):
            raise ValueError("name either a table (schema.name) or a sql_file")
        return self


class ExportForm(Strict):
    """One stream to one client. Adding an export touches no code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name in asset keys and commands.")
    source: Source
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns to send; by default those that are about no person."
    )
    filters: dict[str, tuple[str | int | bool, ...]] = Field(default={}, description="Allowed values by column.")
    bucket: str
    directory: str = Field(description="Path inside the bucket, below which the folders of the years stand.")
    region: str = "eu-west-1"
    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    access_key: str | None = Field(default=None, description="env:NAME of the variable that holds it.")
    secret_key: str | None = Field(default=None, description="env:NAME of the variable that holds it.")
    aws_profile: str | None = Field(default=None, description="Profile of the AWS credentials file.")
    frequency_minutes: int = 15
    timezone: str = Field(default="UTC", description="Of folders and file names.")
    on_empty: OnEmpty = OnEmpty.HEADER_ONLY
    settle_seconds: int = Field(
        default=60, ge=0, le=3540, description="How long after its end a slot waits for loads that are under way."
    )
    backfill_from: datetime | None = Field(default=None, description="Rows changed since then are sent as well.")

    @field_validator("columns")
    @classmethod
    def _are_distinct(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if doubled := {name for name in columns or () if (columns or ()).count(name) > 1}:
            raise ValueError(f"names {', '.join(sorted(doubled))} twice")
        return columns

    @field_validator("bucket")
    @classmethod
    def _is_a_bucket(cls, bucket: str) -> str:
        if not _BUCKET.fullmatch(bucket):
            raise ValueError("must be the bare name of a bucket, without s3:// and folder")
        return bucket

    @field_validator("directory")
    @classmethod
    def _is_a_path(cls, directory: str) -> str:
        parts = directory.strip("/").split("/")
        if not all(_SEGMENT.fullmatch(part) and part not in (".", "..") for part in parts):
            raise ValueError("must be a path inside the bucket, such as acme/conversions")
        return "/".join(parts)

    @field_validator("endpoint_url")
    @classmethod
    def _holds_no_credentials(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError("must be http://host:port or https://host:port")
            if parts.username or parts.password or parts.query:
                raise ValueError("must hold no credentials; name variables in access_key and secret_key")
        return url

    @field_validator("access_key", "secret_key")
    @classmethod
    def _is_a_reference(cls, reference: str | None) -> str | None:
        if reference is not None and not (
            reference.startswith(_FROM_ENVIRONMENT) and reference.removeprefix(_FROM_ENVIRONMENT).isidentifier()
        ):
            # What stands there may be the secret itself, so it is not repeated.
            raise ValueError("holds a secret; put it into an environment variable and write env:NAME")
        return reference

    @field_validator("frequency_minutes")
    @classmethod
    def _divides_hour_or_day(cls, minutes: int) -> int:
        if minutes not in FREQUENCIES:
            raise ValueError(f"must be one of {', '.join(map(str, FREQUENCIES))}")
        return minutes

    @field_validator("timezone")
    @classmethod
    def _has_one_offset(cls, name: str, info: ValidationInfo) -> str:
        if info.context is SAVED:
            return name
        if offset := _FIXED_OFFSET.fullmatch(name):
            sign, hours = offset.groups()
            # In the names of these zones the sign is the other way round.
            name = f"Etc/GMT{'-' if sign == '+' else '+'}{int(hours)}" if int(hours) else "UTC"
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be UTC, an offset of whole hours such as +03:00, or a zone's name") from None
        if not _is_fixed(zone):
            raise ValueError(
                "has summer time, so that one hour a year comes twice and two files would have one name; "
                "take UTC, or an offset such as +01:00"
            )
        return name

    @field_validator("backfill_from")
    @classmethod
    def _has_a_zone(cls, moment: datetime | None) -> datetime | None:
        # YAML reads a time with an offset as UTC without one.
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together; name both or none")
        if self.access_key is not None and self.aws_profile is not None:
            raise ValueError("name either access_key and secret_key or aws_profile")
        if self.backfill_from is not None and self.source.change_time is None:
            raise ValueError("backfill_from needs source.change_time: else nobody knows what has changed since")
        if self.settle_minutes >= self.frequency_minutes:
            raise ValueError("settle_seconds must be less than the time between two files")
        if self.columns is not None and (missing := set(self.source.key) - set(self.columns)):
            raise ValueError(f"columns lacks {', '.join(sorted(missing))} of the key")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of folders and names; its offset never changes."""
        return ZoneInfo(self.timezone)

    @property
    def settle_minutes(self) -> int:
        """The whole minutes after its end in which a slot is not sent yet."""
        return -(-self.settle_seconds // 60)

    @property
    def address(self) -> str:
        """Where files go, in words."""
        return f"s3://{self.bucket}/{self.directory}"

    def credentials(self) -> tuple[str, str] | None:
        """Access key and secret, out of the environment; None where a profile or the environment's own are used.

        Raises:
            SettingsError: a variable is not set.
        """
        if self.access_key is None or self.secret_key is None:
            return None
        return _from_environment("access_key", self.access_key), _from_environment("secret_key", self.secret_key)


def read_form(path: Path) -> tuple[ExportForm, str | None]:
    """Read a form, and the query in its `sql_file` where it names one.

    Raises:
        SettingsError: with one line for each fault, as `file:line: field: fault`.
    """
    form, _ = read_yaml(path, ExportForm, EXAMPLE)
    if form.source.sql_file is None:
        return form, None
    file = path.parent / form.source.sql_file
    try:
        return form, file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: source.sql_file: {file} cannot be read: {error}") from error


def _from_environment(field: str, reference: str) -> str:
    variable = reference.removeprefix(_FROM_ENVIRONMENT)
    if not (value := os.environ.get(variable, "").strip()):
        raise SettingsError(f"{field}: the environment variable {variable} is not set")
    return value


def _is_fixed(zone: ZoneInfo) -> bool:
    first = datetime.now(UTC) - timedelta(days=366)
    days = range(0, _DAYS_LOOKED_AT, 7)
    return len({zone.utcoffset((first + timedelta(days=day)).astimezone(zone)) for day in days}) == 1
