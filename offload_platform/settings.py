"""`feeds.yaml`: the one configuration file, validated; errors name file, line and field.

Secrets are never in it: a feed names an AWS profile or leaves the credentials to the environment.
"""

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from offload_platform.contracts.contract import Cadence
from offload_platform.vendors import vendor_named, vendor_names

FEEDS_VARIABLE = "OFFLOAD_FEEDS"


class SettingsError(Exception):
    """The configuration cannot be used; the message names file, line, field and what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feed(_Strict):
    """One vendor account as configured. Adding a feed touches no code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name in asset keys and in the feed column.")
    vendor: str
    url: str = Field(description="s3://bucket/root or file:///folder")
    app_id: str
    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    region: str = "eu-west-1"
    aws_profile: str | None = Field(default=None, description="Profile of the AWS credentials file.")
    cadence: dict[str, Cadence] = Field(description="Rhythm of each delivery family.")
    types: tuple[str, ...] | None = Field(default=None, description="Offload types to expect; all by default.")
    settle_hours: float = Field(default=24, ge=0, description="Hours without a change before a delivery is complete.")
    owners: tuple[str, ...] = Field(default=("team:data-platform",), description="Owners shown in Dagster.")
    start: date = Field(description="Date of the first delivery to load.")
    quarantine_limit: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of bad rows above which a part of 1,000 bad rows or more is refused.",
    )

    @field_validator("vendor")
    @classmethod
    def _known_vendor(cls, name: str) -> str:
        if name not in vendor_names():
            raise ValueError(f"unknown vendor; known: {', '.join(vendor_names())}")
        return name

    @field_validator("url")
    @classmethod
    def _readable_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no credentials; use aws_profile or the environment")
        if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
            return url.rstrip("/")
        if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
            return url.rstrip("/")
        raise ValueError("must be s3://bucket/root or file:///absolute/folder")

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_without_credentials(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError("must be http://host:port or https://host:port")
            if parts.username or parts.password:
                raise ValueError("must hold no credentials; use aws_profile or the environment")
        return url

    @model_validator(mode="after")
    def _fits_its_vendor(self) -> Self:
        vendor = vendor_named(self.vendor)
        known_families = vendor.layout.families
        for family in self.cadence:
            if family not in known_families:
                raise ValueError(f"cadence: unknown family {family!r}; {self.vendor} has {', '.join(known_families)}")
        delivered = [t for family in self.cadence for t in known_families[family]]
        for offload_type in self.types or ():
            if offload_type not in delivered:
                raise ValueError(f"types: unknown offload type {offload_type!r}; known: {', '.join(delivered)}")
        if wrong := vendor.layout.check_app_id(self.app_id):
            raise ValueError(f"app_id: {wrong}")
        return self

    def expected_types(self, family: str) -> tuple[str, ...]:
        """Offload types that a complete delivery of a family must hold."""
        types = vendor_named(self.vendor).layout.families[family]
        return types if self.types is None else tuple(t for t in types if t in self.types)


class Settings(_Strict):
    """The whole configuration."""

    warehouse: Path
    feeds: tuple[Feed, ...] = Field(min_length=1)
    _file: Path = PrivateAttr(default=Path("feeds.yaml"))

    @field_validator("feeds")
    @classmethod
    def _distinct_names(cls, feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
        names = [feed.name for feed in feeds]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two feeds are named {', '.join(sorted(doubled))}")
        return feeds

    @property
    def file(self) -> Path:
        """The file that these settings were read from."""
        return self._file

    def feed(self, name: str) -> Feed:
        """The feed of a name; raises `SettingsError` when there is none."""
        for feed in self.feeds:
            if feed.name == name:
                return feed
        raise SettingsError(f"{self.file}: no feed {name!r}; configured: {', '.join(f.name for f in self.feeds)}")


def feeds_file() -> Path:
    """The configuration file in force: the `OFFLOAD_FEEDS` variable, or `feeds.yaml` in the working folder."""
    return Path(os.environ.get(FEEDS_VARIABLE, "feeds.yaml"))


def read_settings(path: Path) -> Settings:
    """Read and validate a configuration file. A relative warehouse is relative to the file's folder.

    Raises:
        SettingsError: with one line for each fault, as `file:line: field: fault`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such file. Copy feeds.example.yaml to {path} and fill it in, or name another with --feeds."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise SettingsError(f"{path}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if doubled := _doubled_key(tree):
        raise SettingsError(f"{path}:{doubled.start_mark.line + 1}: {doubled.value}: stands twice; remove one")
    if not isinstance(said, dict):
        raise SettingsError(f"{path}:1: must be a mapping with `warehouse` and `feeds`; see feeds.example.yaml")
    try:
        settings = Settings.model_validate(said)
    except ValidationError as error:
        raise SettingsError("\n".join(_faults(path, tree, error))) from error
    warehouse = (path.resolve().parent / settings.warehouse.expanduser()).resolve()
    settings = settings.model_copy(update={"warehouse": warehouse})
    settings._file = path
    return settings


def _faults(path: Path, tree: yaml.Node | None, error: ValidationError) -> Iterable[str]:
    for fault in error.errors():
        where = fault["loc"]
        field = ".".join(str(step) for step in where) or "(whole file)"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown field; check its spelling against feeds.example.yaml"
        elif fault["type"] == "missing":
            message = "is missing; see feeds.example.yaml"
        yield f"{path}:{_line(tree, where)}: {field}: {message}"


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    line = 1
    for step in where:
        found: Any = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is not None:
                line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
            line, node = found.start_mark.line + 1, found
        if found is None:
            break
    return line


def _doubled_key(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                return key
            seen.add(key.value)
            if found := _doubled_key(value):
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if found := _doubled_key(item):
                return found
    return None
