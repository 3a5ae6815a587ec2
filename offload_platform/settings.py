"""`feeds.yaml`: the one configuration file, validated; errors name file, line and field.

Secrets are never in it: a feed names an AWS profile or leaves the credentials to the environment.
"""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from offload_platform.contracts.contract import Cadence
from offload_platform.contracts.deliveries import Layout, Places
from offload_platform.contracts.table_form import in_table_form
from offload_platform.thresholds import CheckThresholds, Deadline
from offload_platform.vendors import vendor_named, vendor_names

FEEDS_VARIABLE = "OFFLOAD_FEEDS"
EXPORTS = "exports"
"""First part of the asset keys of exports, where those of a table have the name of its feed."""

_DEADLINES: Mapping[Cadence, Deadline] = {
    Cadence.WEEKLY: Deadline(late_hours=6, overdue_hours=36),
    Cadence.DAILY: Deadline(late_hours=5, overdue_hours=24),
}
_PERIODS_LATE, _PERIODS_OVERDUE = 2, 8
_FROM_ENVIRONMENT = "env:"
_OWNER = re.compile(r"team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
_CATALOG = re.compile(r"[a-z_]+=[^\s'\"]+( [a-z_]+=[^\s'\"]+)*")
_FEEDS_EXAMPLE = "feeds.example.yaml"
_IN_OTHER_WORDS = {
    "extra_forbidden": "unknown field; check its spelling against {example}",
    "missing": "is missing; see {example}",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "path_type": "must be the path of a folder",
}


class SettingsError(Exception):
    """The configuration cannot be used; the message names file, line, field and what to do."""


class Strict(BaseModel):
    """A part of a configuration: a field that it does not know is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Pseudonyms(StrEnum):
    """What is kept in place of an identifier that a contract protects."""

    KEYED = "keyed"
    """A hash, keyed with the secret of the environment."""
    DROPPED = "dropped"
    """Nothing; no secret is needed."""


class Files(StrEnum):
    """Who has made the files of a feed."""

    VENDOR = "vendor"
    TABLE = "table"
    """An export of the vendor's table, by this platform elsewhere: with its columns, and ids that are pseudonyms."""


class Listening(Strict):
    """What is made of the logs of an assistant, beside what its vendor says."""

    country: str = Field(pattern=r"^[A-Z]{2,3}$", description="Whose logs they are, as they name it (ISO 3166).")
    session_gap_minutes: float = Field(default=30, ge=5, le=120, description="Silence that ends a session.")
    test_users: Path | None = Field(default=None, description="File of keyed hashes of the ids of test users.")
    smallest_group: int = Field(default=5, ge=2, description="Persons below whom a group has no figures.")
    raw_days: int | None = Field(default=63, ge=1, description="Days for which what is pseudonymised is kept.")
    clean_days: int | None = Field(default=None, ge=1, description="Days for which what names nobody is kept.")


def _without_credentials(url: str | None) -> str | None:
    """An address of a store, as it is."""
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("must be http://host:port or https://host:port")
        if parts.username or parts.password:
            raise ValueError("must hold no credentials; use aws_profile or the environment")
    return url


class Feed(Strict):
    """One vendor account as configured. Adding a feed touches no code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name in asset keys and in the feed column.")
    vendor: str
    url: str = Field(description="s3://bucket/root or file:///folder")
    app_id: str | None = Field(default=None, validate_default=True, description="For vendors that have app ids.")
    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    region: str = "eu-west-1"
    aws_profile: str | None = Field(default=None, description="Profile of the AWS credentials file.")
    cadence: dict[str, Cadence] = Field(description="Rhythm of each delivery family.")
    frequency_minutes: int = Field(default=15, ge=1, le=1440, description="Minutes between intraday deliveries.")
    types: tuple[str, ...] | None = Field(default=None, description="Offload types to expect; all by default.")
    directories: dict[str, str] = Field(
        default={}, validate_default=True, description="Below the url, by offload type, where the client chooses them."
    )
    source_timezone: str = Field(default="UTC", description="Of folders, names and times that tell no offset.")
    files: Files = Field(default=Files.VENDOR, description="Files of the vendor, or of an export of its table.")
    columns: dict[str, tuple[str, ...]] = Field(
        default={}, description="Delivered columns in order, by offload type, of parts without a header."
    )
    pseudonyms: Pseudonyms = Field(default=Pseudonyms.KEYED, description="What is kept of ids that are never kept.")
    listening: Listening | None = Field(default=None, description="Of logs: what is made of them.")
    settle_hours: float = Field(
        default=24, ge=0, le=8760, description="Hours without a change before a delivery is complete."
    )
    owners: tuple[str, ...] = Field(default=("team:data-platform",), description="Owners shown in Dagster.")
    start: date = Field(description="Date of the first delivery to load.")
    deadlines: dict[str, Deadline] = Field(default={}, description="By family; by cadence where left out.")
    checks: CheckThresholds = Field(default=CheckThresholds(), description="Thresholds of all offload types.")
    checks_by_type: dict[str, CheckThresholds] = Field(default={}, description="Thresholds of single offload types.")

    @field_validator("name")
    @classmethod
    def _beside_exports(cls, name: str) -> str:
        if name == EXPORTS:
            raise ValueError(f"{EXPORTS!r} is what Dagster's assets of exports begin with; choose another name")
        return name

    @field_validator("vendor")
    @classmethod
    def _known_vendor(cls, name: str) -> str:
        if name not in vendor_names():
            raise ValueError(f"unknown vendor; known: {', '.join(vendor_names())}")
        return name

    @field_validator("url")
    @classmethod
    def _readable_url(cls, url: str, info: ValidationInfo) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no credentials; use aws_profile or the environment")
        is_bucket = parts.scheme == "s3" and parts.netloc
        is_folder = parts.scheme == "file" and not parts.netloc
        # A vendor whose directories the client chooses may have been given some at the top of a bucket.
        may_be_bucket = is_bucket and "vendor" in info.data and vendor_named(info.data["vendor"]).layout.is_placed
        if (is_bucket or is_folder) and (parts.path.strip("/") or may_be_bucket) and not parts.fragment:
            return url.rstrip("/")
        raise ValueError("must be s3://bucket/root or file:///absolute/folder")

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_without_credentials(cls, url: str | None) -> str | None:
        return _without_credentials(url)

    @field_validator("app_id")
    @classmethod
    def _readable_app_id(cls, app_id: str | None, info: ValidationInfo) -> str | None:
        if "vendor" in info.data and (wrong := vendor_named(info.data["vendor"]).layout.check_app_id(app_id)):
            raise ValueError(wrong)
        return app_id

    @field_validator("cadence")
    @classmethod
    def _known_families(cls, cadence: dict[str, Cadence], info: ValidationInfo) -> dict[str, Cadence]:
        if "vendor" in info.data:
            known = vendor_named(info.data["vendor"]).layout.families
            if not cadence:
                raise ValueError(f"name at least one family; known: {', '.join(known)}")
            for family in cadence:
                if family not in known:
                    raise ValueError(f"unknown family {family!r}; known: {', '.join(known)}")
                if cadence[family] is Cadence.INTRADAY and not known[family].add_up:
                    raise ValueError(f"{family!r} cannot be intraday; its deliveries replace each other")
        return cadence

    @field_validator("frequency_minutes")
    @classmethod
    def _divides_a_day(cls, minutes: int) -> int:
        if 1440 % minutes:
            raise ValueError("must divide the 1440 minutes of a day")
        return minutes

    @field_validator("source_timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError("unknown time zone; write UTC, Europe/Brussels or alike") from error
        return name

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if types is not None and "vendor" in info.data and "cadence" in info.data:
            families = vendor_named(info.data["vendor"]).layout.families
            known = [offload_type for family in info.data["cadence"] for offload_type in families[family].types]
            if not types:
                raise ValueError(f"name at least one offload type, or leave it out for all: {', '.join(known)}")
            for offload_type in types:
                if offload_type not in known:
                    raise ValueError(f"unknown offload type {offload_type!r}; known: {', '.join(known)}")
        return types

    @field_validator("directories")
    @classmethod
    def _where_the_vendor_delivers(cls, directories: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if {"vendor", "cadence", "types"} <= info.data.keys():
            layout = vendor_named(info.data["vendor"]).layout
            known = [offload_type for family in info.data["cadence"] for offload_type in layout.families[family].types]
            if wrong := layout.check_directories(directories, info.data["types"] or known):
                raise ValueError(wrong)
        return directories

    @field_validator("files")
    @classmethod
    def _in_a_tree_of_exports(cls, files: Files, info: ValidationInfo) -> Files:
        if files is Files.TABLE and "vendor" in info.data and not vendor_named(info.data["vendor"]).layout.is_placed:
            raise ValueError("exports do not write the folders of this vendor")
        return files

    @field_validator("columns")
    @classmethod
    def _columns_of_contracts(
        cls, columns: dict[str, tuple[str, ...]], info: ValidationInfo
    ) -> dict[str, tuple[str, ...]]:
        if "vendor" in info.data:
            contracts = vendor_named(info.data["vendor"]).contracts
            for offload_type, names in columns.items():
                if offload_type not in contracts:
                    raise ValueError(f"unknown offload type {offload_type!r}; known: {', '.join(contracts)}")
                if doubled := sorted({name for name in names if names.count(name) > 1}):
                    raise ValueError(f"{offload_type}: column {doubled[0]!r} stands twice")
                contract = contracts[offload_type]
                if info.data.get("files") is Files.TABLE:
                    contract = in_table_form(contract)
                if missing := contract.missing_wire_columns(names):
                    raise ValueError(f"{offload_type}: column {missing[0]!r} is missing; no row can be read without it")
        return columns

    @field_validator("listening")
    @classmethod
    def _of_logs(cls, listening: Listening | None, info: ValidationInfo) -> Listening | None:
        if listening is not None and "vendor" in info.data:
            said = vendor_named(info.data["vendor"]).listening
            if said is None:
                raise ValueError("this vendor delivers no logs of an assistant; leave it out")
            if info.data.get("source_timezone") != "UTC":
                raise ValueError("days of logs are those of UTC; leave source_timezone out")
            if said.dataset not in (info.data.get("types") or (said.dataset,)):
                raise ValueError(f"nothing can be made without {said.dataset}; add it to types")
        return listening

    @field_validator("deadlines")
    @classmethod
    def _of_own_families(cls, deadlines: dict[str, Deadline], info: ValidationInfo) -> dict[str, Deadline]:
        for family in deadlines:
            if family not in info.data.get("cadence", deadlines):
                raise ValueError(f"{family!r} has no cadence; known: {', '.join(info.data['cadence'])}")
        return deadlines

    @field_validator("checks_by_type")
    @classmethod
    def _of_own_types(cls, checks: dict[str, CheckThresholds], info: ValidationInfo) -> dict[str, CheckThresholds]:
        if "vendor" in info.data and "cadence" in info.data:
            families = vendor_named(info.data["vendor"]).layout.families
            known = [offload_type for family in info.data["cadence"] for offload_type in families[family].types]
            for offload_type in checks:
                if offload_type not in known:
                    raise ValueError(f"unknown offload type {offload_type!r}; known: {', '.join(known)}")
        return checks

    @field_validator("owners")
    @classmethod
    def _owners_of_dagster(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            if not _OWNER.fullmatch(owner):
                raise ValueError(f"{owner!r} must be team:name or a mail address")
        return owners

    @property
    def layout(self) -> Layout:
        """How the vendor names things below this feed's root."""
        return vendor_named(self.vendor).layout.at(Places(self.directories, self.zone))

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of folders, names and times that tell no offset."""
        return ZoneInfo(self.source_timezone)

    def period(self, family: str) -> timedelta:
        """Time from one delivery of a family to the next."""
        match self.cadence[family]:
            case Cadence.WEEKLY:
                return timedelta(weeks=1)
            case Cadence.DAILY:
                return timedelta(days=1)
            case Cadence.INTRADAY:
                return timedelta(minutes=self.frequency_minutes)

    def adds_up(self, family: str) -> bool:
        """Whether each delivery in a partition counts, and not the newest alone."""
        return self.layout.families[family].add_up

    def deadline(self, family: str) -> Deadline:
        """From when on a delivery of a family is late."""
        if family in self.deadlines:
            return self.deadlines[family]
        if self.cadence[family] is Cadence.INTRADAY:
            hours = self.frequency_minutes / 60
            return Deadline(late_hours=_PERIODS_LATE * hours, overdue_hours=_PERIODS_OVERDUE * hours)
        return _DEADLINES[self.cadence[family]]

    def thresholds(self, offload_type: str) -> CheckThresholds:
        """Thresholds of the checks of one offload type."""
        return self.checks.overridden_by(self.checks_by_type.get(offload_type, CheckThresholds()))

    def expected_types(self, family: str) -> tuple[str, ...]:
        """Offload types that a complete delivery of a family must hold."""
        types = vendor_named(self.vendor).layout.families[family].types
        return types if self.types is None else tuple(t for t in types if t in self.types)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return has_address and url.isascii() and url.isprintable() and " " not in url


class AlertKind(StrEnum):
    """What an alert can be about."""

    LATE = "late"
    FAILED = "failed"
    QUARANTINE = "quarantine"
    DRIFT = "drift"
    CHECK = "check"


class Dashboard(Strict):
    """How the dashboard looks."""

    basemap_style_url: str | None = Field(
        default=None, description="A MapLibre style, for maps over streets; browsers ask its server for each picture."
    )

    @field_validator("basemap_style_url")
    @classmethod
    def _is_where_browsers_ask(cls, url: str | None) -> str | None:
        if url is not None and not _is_web_address(url):
            raise ValueError("must be http://… or https://…")
        return url


class Alerts(Strict):
    """Where alerts are sent to, and about what."""

    webhook_url: str = Field(description="A URL, or env:NAME for one that holds a secret, as Slack's do.")
    about: tuple[AlertKind, ...] = tuple(AlertKind)
    ui_url: str | None = Field(default=None, description="Where people open the Dagster UI; alerts link to it.")

    @field_validator("webhook_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if url.startswith(_FROM_ENVIRONMENT):
            if not url.removeprefix(_FROM_ENVIRONMENT).isidentifier():
                raise ValueError("after env: comes the name of an environment variable")
            return url
        if not _is_web_address(url):
            raise ValueError("must be http://…, https://…, or env:NAME")
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query or (parts.hostname or "").endswith("slack.com"):
            raise ValueError("holds a secret; put the URL into an environment variable and write env:NAME")
        return url

    @field_validator("ui_url")
    @classmethod
    def _is_where_people_go(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not _is_web_address(url):
            raise ValueError("must be http://… or https://…")
        if urlsplit(url).username or urlsplit(url).password:
            raise ValueError("must hold no credentials; people log in by themselves")
        return url.rstrip("/")

    def url(self) -> str:
        """The URL itself, which is a secret.

        Raises:
            SettingsError: the environment variable is not set or holds no URL; its content is not repeated.
        """
        if not self.webhook_url.startswith(_FROM_ENVIRONMENT):
            return self.webhook_url
        variable = self.webhook_url.removeprefix(_FROM_ENVIRONMENT)
        if not (url := os.environ.get(variable, "").strip()):
            raise SettingsError(f"alerts.webhook_url: the environment variable {variable} is not set")
        if not _is_web_address(url):
            raise SettingsError(f"alerts.webhook_url: the environment variable {variable} holds no http or https URL")
        return url


class Retention(Strict):
    """For how long what is no longer needed is kept; None is for ever."""

    delivered_days: float | None = Field(
        default=None, gt=0, description="Rows as delivered and their quarantine, by stamp; the newest partition stays."
    )
    failed_staging_hours: float = Field(default=0, ge=0, description="Staged files of loads that failed.")
    log_days: float | None = Field(default=30, gt=0, description="Logs of runs, and runs that have loaded nothing.")


class Privacy(Strict):
    """The privacy tiers, which are made where this stands in the configuration, and how many persons hide each other.

    `k` is the least number of distinct persons behind whatever is published inside, `k_outside` behind what may leave
    the house, and `k_home` behind a count of homes. Of a sensitive column, a group has at least `sensitive_values` that
    differ.
    """

    k: int = Field(default=5, ge=2)
    k_outside: int = Field(default=10, ge=2)
    k_home: int = Field(default=20, ge=2)
    sensitive_values: int = Field(default=2, ge=1)
    rows_per_person: int = Field(default=10, ge=1, description="Of one person that count in a cell of a day.")
    days: int = Field(default=63, ge=7, description="How far the tiers reach back from the newest event.")
    report_weeks: int = Field(default=4, ge=1, description="Newest ISO weeks that the privacy report attacks.")


class FanOut(StrEnum):
    """Who stages parts and merges histories."""

    INLINE = "inline"
    """The process that loads or publishes."""
    RAY = "ray"
    """The nodes of a Ray cluster."""


class SharedWarehouse(StrEnum):
    """Where analysts find the published tables."""

    DUCKDB = "duckdb"
    """In the published file alone."""
    DUCKLAKE = "ducklake"
    """In a DuckLake as well, which many machines read."""
    DELTA = "delta"
    """In Delta tables as well, which Spark, Trino and Databricks read."""


def _place(url: str | None) -> str | None:
    """A place of files, without a slash at its end."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError("must hold no credentials; use aws_profile or the environment")
    is_bucket = parts.scheme == "s3" and parts.netloc
    is_folder = parts.scheme == "file" and not parts.netloc
    if not (is_bucket or is_folder) or not parts.path.strip("/") or parts.fragment:
        raise ValueError("must be s3://bucket/prefix or file:///absolute/folder")
    return url.rstrip("/")


class Scale(Strict):
    """Beyond one machine: which cluster stages and merges, and the shared warehouse. All of it is an extra.

    Each machine has credentials of its own for the store, by `aws_profile` or its environment; the password of the
    catalog is where libpq looks for it.
    """

    fan_out: FanOut = Field(default=FanOut.INLINE, description="Who stages parts and merges histories.")
    ray_address: str | None = Field(
        default=None, validate_default=True, pattern=r"^[A-Za-z0-9._-]+:\d+$", description="host:port of Ray's head."
    )
    staging: str | None = Field(
        default=None, validate_default=True, description="s3://bucket/prefix or file:///folder that all nodes reach."
    )
    parts_at_once: int = Field(default=32, ge=1, le=256, description="Parts, or buckets of users, handed out at once.")
    merge_from_rows: int | None = Field(
        default=None, ge=0, description="Rows from which nodes merge; never by default."
    )
    warehouse: SharedWarehouse = Field(default=SharedWarehouse.DUCKDB, description="Where analysts find the tables.")
    catalog: str | None = Field(
        default=None,
        validate_default=True,
        description="PostgreSQL, for ducklake: host=… dbname=… user=…, no password.",
    )
    data: str | None = Field(
        default=None, validate_default=True, description="s3://bucket/prefix or file:///folder of its files."
    )
    keep_days: float = Field(default=7, ge=0, description="Days for which old states of it can be read.")
    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    region: str = "eu-west-1"
    aws_profile: str | None = Field(default=None, description="Profile of the AWS credentials file.")

    @field_validator("ray_address", "staging")
    @classmethod
    def _of_a_cluster(cls, said: str | None, info: ValidationInfo) -> str | None:
        if said is None and info.data.get("fan_out") is FanOut.RAY:
            raise ValueError("is missing; fan_out: ray needs it")
        return _place(said) if info.field_name == "staging" else said

    @field_validator("catalog", "data")
    @classmethod
    def _of_a_lake(cls, said: str | None, info: ValidationInfo) -> str | None:
        form = info.data.get("warehouse", SharedWarehouse.DUCKDB)
        needed_by = {"catalog": (SharedWarehouse.DUCKLAKE,), "data": (SharedWarehouse.DUCKLAKE, SharedWarehouse.DELTA)}
        if said is None and form in needed_by[str(info.field_name)]:
            raise ValueError(f"is missing; warehouse: {form} needs it")
        if info.field_name == "data":
            return _place(said)
        if said is not None and ("password" in said.lower() or "://" in said):
            raise ValueError("must be host=… dbname=… user=…; the password is in PGPASSWORD or ~/.pgpass")
        if said is not None and not _CATALOG.fullmatch(said):
            raise ValueError("must be words like host=… dbname=… user=…, without quotes")
        return said

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_without_credentials(cls, url: str | None) -> str | None:
        return _without_credentials(url)


class Settings(Strict):
    """The whole configuration."""

    warehouse: Path
    scale: Scale | None = None
    alerts: Alerts | None = None
    privacy: Privacy | None = None
    retention: Retention = Retention()
    dashboard: Dashboard = Dashboard()
    feeds: tuple[Feed, ...]
    _file: Path = PrivateAttr(default=Path("feeds.yaml"))

    @field_validator("feeds")
    @classmethod
    def _distinct_names(cls, feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
        if not feeds:
            raise ValueError("name at least one feed; see feeds.example.yaml")
        names = [feed.name for feed in feeds]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two feeds are named {', '.join(sorted(doubled))}")
        countries = [feed.listening.country for feed in feeds if feed.listening]
        if doubled := {country for country in countries if countries.count(country) > 1}:
            raise ValueError(f"two feeds are listened to for {', '.join(sorted(doubled))}; days are kept by country")
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
    settings, tree = read_yaml(path, Settings, _FEEDS_EXAMPLE, ", or name another with --feeds")
    try:
        warehouse = (path.resolve().parent / settings.warehouse.expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(f"{path}:{_line(tree, ('warehouse',))}: warehouse: no usable folder: {error}") from error
    feeds = tuple(_beside(path, feed) for feed in settings.feeds)
    settings = settings.model_copy(update={"warehouse": warehouse, "feeds": feeds})
    settings._file = path
    return settings


def _beside(path: Path, feed: Feed) -> Feed:
    """The feed, whose files are relative to the configuration's folder."""
    if feed.listening is None or feed.listening.test_users is None:
        return feed
    file = path.resolve().parent / feed.listening.test_users.expanduser()
    return feed.model_copy(update={"listening": feed.listening.model_copy(update={"test_users": file})})


Model = TypeVar("Model", bound=Strict)


def read_yaml(path: Path, model: type[Model], example: str, otherwise: str = "") -> tuple[Model, yaml.Node | None]:
    """Read and validate a YAML file; returns the model, and the tree in which lines are found.

    `example` is the file that people are sent to, and `otherwise` what they may do instead of copying it.

    Raises:
        SettingsError: with one line for each fault, as `file:line: field: fault`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file. Copy {example} to {path} and fill it in{otherwise}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        tree = yaml.compose(text, Loader=_Loader)
        said = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SettingsError(f"{path}:{line}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}:1: nested too deeply; see {example}") from error
    if doubled := _doubled_key(tree):
        raise SettingsError(f"{path}:{doubled.start_mark.line + 1}: {doubled.value}: stands twice; remove one")
    if not isinstance(said, dict):
        needed = " and ".join(f"`{name}`" for name, field in model.model_fields.items() if field.is_required())
        raise SettingsError(f"{path}:1: must be a mapping with {needed}; see {example}")
    try:
        return model.model_validate(said), tree
    except ValidationError as error:
        raise SettingsError("\n".join(_faults(path, tree, error, example))) from error


class _Loader(yaml.SafeLoader):
    """Leaves text that only looks like a date or a number (2018-02-30) as text, so that its field is found faulty."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            if not isinstance(node, yaml.ScalarNode):
                raise
            self.recursive_objects.pop(node, None)
            return node.value


def _faults(path: Path, tree: yaml.Node | None, error: ValidationError, example: str) -> Iterable[str]:
    for fault in error.errors():
        where = fault["loc"]
        field = ".".join(str(step) for step in where) or "(whole file)"
        known = _IN_OTHER_WORDS.get(fault["type"])
        message = known.format(example=example) if known else fault["msg"].removeprefix("Value error, ")
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


def _doubled_key(tree: yaml.Node | None) -> Any:
    """A key that stands twice in its mapping. Aliases may make the tree a circle, so each node is visited once."""
    waiting, visited = [tree], set()
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    return key
                seen.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None
