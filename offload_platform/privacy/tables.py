"""What the shared tiers hold: tables of persons, tables of events, and aggregates, each a file beside its vendor.

`vendors/<vendor>/privacy/ppd_clean/<table>.yaml` is a table of persons or of events, `…/aggregate/<table>.yaml` one of
counts. Each has a query over the tables of `ppd_raw` with a column `person`, and says how rows that are too rare are
told less exactly. Queries may use the macros of `MACROS`.

    description: A trip of somebody.
    kind: event                        # no person, but a random row id; or person: the pseudonym of a quarter
    query: SELECT person, iso_week(begun_at) AS iso_week, place AS origin, mode FROM acme.trips
    columns: {iso_week: ISO week., origin: Cell where it began., mode: Mode of transport.}
    levels:                            # the first at which a row shares all that is told with k persons; else it goes
      - [iso_week, origin@7, mode]     # @7: cells of resolution 7 at most
      - [iso_week, origin@6]           # what a level does not name is null

    description: Trips by week and mode.
    query: SELECT person, …, FROM acme.trips
    columns: {iso_week: ISO week., mode: Mode of transport.}
    sums: {distance_km: Distance of all of them.}
    day: day                           # a person counts at most so many rows of a day in a cell
    total: mode                        # rows in which it is null are the totals over it
"""

from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import as_file, files
from typing import TypeVar

from pydantic import Field, model_validator

from offload_platform import vendors
from offload_platform.privacy.rules import RulesError, files_of
from offload_platform.settings import Privacy, SettingsError, Strict, read_yaml

PERSON, ROW_ID, ROWS, PERSONS = "person", "row_id", "rows", "persons"
WEEK = "iso_week"
MACROS = (
    "CREATE TEMP MACRO iso_week(t) AS strftime(t, '%G-W%V')",
    "CREATE TEMP MACRO is_weekend(t) AS isodow(t) >= 6",
    "CREATE TEMP MACRO daypart(t) AS CASE WHEN hour(t) < 6 THEN 'night' WHEN hour(t) < 10 THEN 'morning' "
    "WHEN hour(t) < 15 THEN 'midday' WHEN hour(t) < 19 THEN 'afternoon' ELSE 'evening' END",
    # The lower bound of a bin twice as wide as the one before.
    "CREATE TEMP MACRO log_bin(x) AS CASE WHEN x < 1 THEN 0 ELSE pow(2, floor(log2(x)))::BIGINT END",
    "CREATE TEMP MACRO step_bin(x, width) AS (floor(x / width) * width)::BIGINT",
    # Whether one of some places (structures of latitude and longitude) is within some metres, north and east.
    "CREATE TEMP MACRO is_near(places, lat, lon, metres) AS coalesce(len(list_filter(places, lambda p: "
    "abs(p.latitude - lat) * 111195 < metres AND abs(p.longitude - lon) * 111195 * cos(radians(lat)) < metres)) > 0, "
    "false)",
)
"""What queries may say, as statements that define it."""

_EXAMPLE = "docs/privacy.md"


class Kind(StrEnum):
    """Whose rows a table has."""

    PERSON = "person"
    """Of persons, by the pseudonym of a quarter: neither places nor times finer than a week."""
    EVENT = "event"
    """Of nobody: a row cannot be linked to another."""


class Audience(StrEnum):
    """Who an aggregate is for, which decides how many persons are behind each row."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    HOMES = "homes"
    """Counts of homes."""

    def k(self, privacy: Privacy) -> int:
        """The least number of distinct persons."""
        return {self.INSIDE: privacy.k, self.OUTSIDE: privacy.k_outside, self.HOMES: privacy.k_home}[self]


class Chain(Strict):
    """Columns of a trip by which somebody could try to string trips together."""

    arrival: str
    departure: str


class CleanTable(Strict):
    """A table of the tier `ppd_clean`."""

    description: str
    kind: Kind
    query: str
    columns: dict[str, str]
    levels: tuple[tuple[str, ...], ...] = Field(min_length=1)
    sensitive: tuple[str, ...] = ()
    chain: Chain | None = None
    place: str | None = Field(default=None, description="Column of the one place that an event is at.")
    kept: tuple[str, ...] = Field(default=(), description="A row is of use where one of these is told.")
    kept_share: float = Field(default=0.95, ge=0, le=1, description="Of the rows of the query, so many are of use.")

    @model_validator(mode="after")
    def _names_its_columns(self) -> "CleanTable":
        for level in self.levels:
            for name, _ in parsed(level):
                if name not in self.columns or name in self.sensitive:
                    raise ValueError(f"levels: {name} is no column of the table that persons may be told by")
        if missing := set(self.columns) - {name for name, _ in parsed(self.levels[0])} - set(self.sensitive):
            raise ValueError(f"levels: the first one must name {', '.join(sorted(missing))}")
        return self


class Aggregate(Strict):
    """A table of the tier `aggregate`."""

    description: str
    query: str
    columns: dict[str, str]
    sums: dict[str, str] = Field(default={})
    resolution: dict[str, int] = Field(default={}, description="The finest one of columns that are cells.")
    day: str | None = Field(default=None, description="Column by whose days contributions are capped.")
    total: str | None = None
    audience: Audience = Audience.INSIDE
    kept_share: float = Field(default=0.0, ge=0, le=1, description="Of the rows of the query, so many are counted.")
    profile: tuple[str, ...] = Field(default=(), description="Columns whose distribution must stay as it was.")

    @model_validator(mode="after")
    def _names_its_columns(self) -> "Aggregate":
        for name in (*self.profile, *self.resolution, *([self.total] if self.total else [])):
            if name not in self.columns:
                raise ValueError(f"{name} is no column of the table")
        return self


def parsed(level: tuple[str, ...]) -> Iterator[tuple[str, int | None]]:
    """Columns of a level, each with the finest resolution of its cells."""
    for said in level:
        name, _, resolution = said.partition("@")
        yield name, int(resolution) if resolution else None


Model = TypeVar("Model", CleanTable, Aggregate)


def clean_tables_of(vendor: str) -> dict[str, CleanTable]:
    """The tables of a vendor in the tier `ppd_clean`, by name; raises RulesError for a fault in a file."""
    return {name: _read(vendor, "ppd_clean", name, CleanTable) for name in files_of(vendor, "ppd_clean")}


def aggregates_of(vendor: str) -> dict[str, Aggregate]:
    """The tables of a vendor in the tier `aggregate`, by name; raises RulesError for a fault in a file."""
    return {name: _read(vendor, "aggregate", name, Aggregate) for name in files_of(vendor, "aggregate")}


def _read(vendor: str, tier: str, name: str, model: type[Model]) -> Model:
    with as_file(files(vendors).joinpath(vendor, "privacy", tier, f"{name}.yaml")) as path:
        try:
            table, _ = read_yaml(path, model, _EXAMPLE)
        except SettingsError as error:
            raise RulesError(str(error)) from error
    return table
