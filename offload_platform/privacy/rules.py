"""Rules of what passes from one tier to the next, column by column; whatever has no rule does not pass.

A rule file is `vendors/<vendor>/privacy/<table>.yaml`:

    description: What the file is about.
    regions: [ES, BR]                  # whose telephone numbers and papers are looked for in text; may be left out
    columns:
      user_id: drop                    # not passed on
      sent_at: keep                    # passed on as it is
      device_id: {hash: device}        # HMAC-SHA-256 in a domain; the same id in two domains has two hashes
      message: {scrub: [email, card]}  # fragments of text leave a tag: idemail, idcard
      begun_at: {minutes: 15}          # a time, cut to so many minutes

Where the tables of the warehouse are the source, the file says how a table of the tier `ppd_raw` is made of them:

    source: SELECT … FROM mart.…       # columns that columns and cells speak of; {lists} of words are put in
    lists: {sensitive: [health]}       # becomes ['health'] in the source
    time: begun_at                     # when what a row tells happened; rows older than the tier reaches are left out
    cells:                             # columns that are worked out of two others
      place: {latitude: latitude, longitude: longitude, resolution: place_resolution}
    epochs: {person_of_quarter: user_id}   # a hash that holds for a quarter of a year, beside the one in columns
    homes: significance = 'home'       # which rows tell where people live: the privacy report tries to find that out

The resolution of a cell is a column of the source: H3's, at most 9; where it is null, there is no cell.

How to use it, from outside of this room:

    rules = read_rules("acme", "message")            # RulesError: no such file, or a fault in it, with its line
    key = key_for(rules)                             # PseudonymKeyError where it hashes and there is no key
    passed = treated(frame, rules, key, known=CONTRACT.columns)

`known` are the columns that the data are known to have: each of them needs a rule, and `treated` fails where one is
missing. A column of the frame that is neither known nor named in the file is left behind. What was hashed is traced to
its key by `key.key_id`; the key itself is written nowhere. `hashed_series` hashes values that no frame holds, such as a
list of test users.
"""

from collections.abc import Collection
from importlib.resources import as_file, files
from typing import Any

import polars as pl
from pydantic import Field, field_validator, model_validator

from offload_platform import vendors
from offload_platform.landing.pseudonyms import key_from_environment
from offload_platform.privacy.cells import cells_of
from offload_platform.quality.protect import PseudonymKey, each_once
from offload_platform.quality.scrub import PAPER_REGIONS, Fragment, tagged
from offload_platform.settings import SettingsError, Strict, read_yaml

DOMAIN = r"^[a-z][a-z0-9_]*$"
_WORDS = ("drop", "keep")
_EXAMPLE = "docs/privacy.md"
_NO_KEY = "Make one (openssl rand -hex 32) and keep it safe; docs/privacy.md says where."


class RulesError(Exception):
    """There are no rules for some data, or they cannot be used; nothing passes."""


class Treatment(Strict):
    """What becomes of a column: exactly one of its fields is set."""

    drop: bool = False
    keep: bool = False
    hash: str | None = Field(default=None, pattern=DOMAIN, description="Domain of the keyed hash.")
    scrub: tuple[Fragment, ...] | None = Field(default=None, description="Fragments of text that leave a tag.")
    minutes: int | None = Field(default=None, ge=1, le=1440, description="A time is cut to so many minutes.")

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, said: Any) -> Any:
        if isinstance(said, str):
            if said not in _WORDS:
                raise ValueError(
                    f"unknown treatment {said!r}; known: drop, keep, {{hash: domain}}, {{scrub: [email]}}, …"
                )
            return {said: True}
        return said

    @model_validator(mode="after")
    def _is_one(self) -> "Treatment":
        if sum((self.drop, self.keep, self.hash is not None, bool(self.scrub), self.minutes is not None)) != 1:
            raise ValueError("must be one of drop, keep, {hash: domain}, {scrub: [email, card, …]}, {minutes: 15}")
        return self


class Cell(Strict):
    """A cell that is worked out of two coordinates, in degrees; the column of its resolution may be null: no cell."""

    latitude: str
    longitude: str
    resolution: str


class Rules(Strict):
    """The rules of one table."""

    description: str
    regions: tuple[str, ...] = ()
    source: str | None = None
    lists: dict[str, tuple[str, ...]] = Field(default={})
    time: str | None = None
    columns: dict[str, Treatment]
    cells: dict[str, Cell] = Field(default={})
    epochs: dict[str, str] = Field(default={})
    homes: str | None = Field(default=None, description="Condition on rows of the source that tell where homes are.")

    @field_validator("regions")
    @classmethod
    def _known_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(regions) - PAPER_REGIONS):
            raise ValueError(f"unknown region {unknown[0]!r}; known: {', '.join(sorted(PAPER_REGIONS))}")
        return regions

    @model_validator(mode="after")
    def _regions_of_papers(self) -> "Rules":
        for name, treatment in self.columns.items():
            if Fragment.NATIONAL_ID in (treatment.scrub or ()) and not self.regions:
                raise ValueError(f"column {name} is scrubbed of national_id; say in regions of which countries")
        return self

    @model_validator(mode="after")
    def _epochs_of_hashes(self) -> "Rules":
        for name, of in self.epochs.items():
            if of not in self.columns or self.columns[of].hash is None:
                raise ValueError(f"epochs.{name} is of {of}, which is not hashed")
            if self.time is None:
                raise ValueError(f"epochs.{name} needs a time, which tells the quarter")
        return self

    @property
    def needs_key(self) -> bool:
        """Whether a column is hashed."""
        return any(treatment.hash for treatment in self.columns.values())

    @property
    def read(self) -> tuple[str, ...]:
        """Columns of the source that are needed to make what passes."""
        of_cells = [name for cell in self.cells.values() for name in (cell.latitude, cell.longitude, cell.resolution)]
        of_time = [self.time] if self.time else []
        return tuple(dict.fromkeys((*self.passed, *of_time, *self.epochs.values(), *of_cells)))

    @property
    def passed(self) -> tuple[str, ...]:
        """Columns that pass, in order."""
        return tuple(name for name, treatment in self.columns.items() if not treatment.drop)


def rules_of(vendor: str) -> dict[str, Rules]:
    """All rules of a vendor, by table.

    Raises:
        RulesError: a file is faulty; one line for each fault.
    """
    return {name: read_rules(vendor, name) for name in files_of(vendor)}


def files_of(vendor: str, *folders: str) -> list[str]:
    """Names of the YAML files in the privacy folder of a vendor, or in one below it; none where there is no such."""
    folder = files(vendors).joinpath(vendor, "privacy", *folders)
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read_rules(vendor: str, table: str) -> Rules:
    """The rules of a table of a vendor.

    Raises:
        RulesError: there is no rule file, or it is faulty; one line for each fault.
    """
    with as_file(files(vendors).joinpath(vendor, "privacy", f"{table}.yaml")) as path:
        if not path.exists():
            raise RulesError(f"{path}: there is no such rule file, so nothing of {vendor}.{table} passes.")
        try:
            rules, _ = read_yaml(path, Rules, _EXAMPLE)
        except SettingsError as error:
            raise RulesError(str(error)) from error
    return rules


def key_for(rules: Rules) -> PseudonymKey | None:
    """The key in `OFFLOAD_PSEUDONYM_KEY`; None where no column is hashed.

    Raises:
        PseudonymKeyError: a column is hashed, and there is no usable key.
    """
    return key_from_environment(f"{rules.description} ", _NO_KEY) if rules.needs_key else None


def treated(frame: pl.DataFrame, rules: Rules, key: PseudonymKey | None, known: Collection[str] = ()) -> pl.DataFrame:
    """The columns of a frame that pass, in the order of the rules, each as its rule says.

    Raises:
        RulesError: one of the `known` columns has no rule, a rule is about a column that the frame lacks, or a column
            is to be hashed without a key.
    """
    if unruled := sorted(set(known) - rules.columns.keys()):
        raise RulesError(f"no rule for {', '.join(unruled)}, so nothing passes. Say drop, keep, hash or scrub of each.")
    if absent := sorted(set(rules.passed) - set(frame.columns)):
        raise RulesError(f"there are rules for {', '.join(absent)}, and no such column.")
    passed = [_treated(frame[name], rules.columns[name], rules, key) for name in rules.passed]
    passed += [
        cells_of(frame[cell.latitude], frame[cell.longitude], frame[cell.resolution]).alias(name)
        for name, cell in rules.cells.items()
    ]
    passed += [_of_epoch(frame, name, of, rules, key) for name, of in rules.epochs.items()]
    return pl.DataFrame(passed)


def hashed_series(values: pl.Series, domain: str, key: PseudonymKey) -> pl.Series:
    """The keyed hash of each value in a domain; null for null."""
    return each_once(values.cast(pl.String), lambda value: key.hashed(domain, value))


def _of_epoch(frame: pl.DataFrame, name: str, of: str, rules: Rules, key: PseudonymKey | None) -> pl.Series:
    """The hash of an id in the quarter of each row, which no hash of another quarter can be joined with."""
    domain = rules.columns[of].hash
    if key is None or domain is None or rules.time is None:
        raise RulesError(f"{of} is to be hashed, and there is no key.")
    # The quarter of a week's Thursday, as in ISO 8601: no week has two quarters, and nobody two pseudonyms in a week.
    times = frame[rules.time].dt.truncate("1w").dt.offset_by("3d")
    quarters = times.dt.year().cast(pl.String) + "Q" + times.dt.quarter().cast(pl.String)
    ids = pl.DataFrame({"epoch": quarters, "id": frame[of].cast(pl.String)})
    hashes = [
        some.with_columns(hashed_series(some["id"], domain, key.of_epoch(str(epoch))).alias(name))
        for (epoch,), some in ids.unique().drop_nulls().group_by("epoch")
    ]
    if not hashes:
        return pl.Series(name, [None] * frame.height, dtype=pl.String)
    return ids.join(pl.concat(hashes), on=["epoch", "id"], how="left", maintain_order="left")[name]


def _treated(values: pl.Series, treatment: Treatment, rules: Rules, key: PseudonymKey | None) -> pl.Series:
    if treatment.hash is not None:
        if key is None:
            raise RulesError(f"{values.name} is to be hashed, and there is no key.")
        return hashed_series(values, treatment.hash, key)
    if treatment.minutes is not None:
        return values.dt.truncate(f"{treatment.minutes}m")
    if treatment.scrub is not None:
        return tagged(values.cast(pl.String), treatment.scrub, rules.regions)
    return values
