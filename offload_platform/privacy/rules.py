"""Rules of what passes from one tier to the next, column by column; whatever has no rule does not pass.

A rule file is `vendors/<vendor>/privacy/<table>.yaml`:

    description: What the file is about.
    regions: [ES, BR]                  # whose telephone numbers and papers are looked for in text; may be left out
    columns:
      user_id: drop                    # not passed on
      sent_at: keep                    # passed on as it is
      device_id: {hash: device}        # HMAC-SHA-256 in a domain; the same id in two domains has two hashes
      message: {scrub: [email, card]}  # fragments of text leave a tag: idemail, idcard

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

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, said: Any) -> Any:
        if isinstance(said, str):
            if said not in _WORDS:
                raise ValueError(f"unknown treatment {said!r}; known: drop, keep, {{hash: domain}}, {{scrub: [email]}}")
            return {said: True}
        return said

    @model_validator(mode="after")
    def _is_one(self) -> "Treatment":
        if sum((self.drop, self.keep, self.hash is not None, bool(self.scrub))) != 1:
            raise ValueError("must be one of drop, keep, {hash: domain}, {scrub: [email, card, …]}")
        return self


class Rules(Strict):
    """The rules of one table."""

    description: str
    regions: tuple[str, ...] = ()
    columns: dict[str, Treatment]

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

    @property
    def needs_key(self) -> bool:
        """Whether a column is hashed."""
        return any(treatment.hash for treatment in self.columns.values())

    @property
    def passed(self) -> tuple[str, ...]:
        """Columns that pass, in order."""
        return tuple(name for name, treatment in self.columns.items() if not treatment.drop)


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
    return pl.DataFrame([_treated(frame[name], rules.columns[name], rules, key) for name in rules.passed])


def hashed_series(values: pl.Series, domain: str, key: PseudonymKey) -> pl.Series:
    """The keyed hash of each value in a domain; null for null."""
    return each_once(values.cast(pl.String), lambda value: key.hashed(domain, value))


def _treated(values: pl.Series, treatment: Treatment, rules: Rules, key: PseudonymKey | None) -> pl.Series:
    if treatment.hash is not None:
        if key is None:
            raise RulesError(f"{values.name} is to be hashed, and there is no key.")
        return hashed_series(values, treatment.hash, key)
    if treatment.scrub is not None:
        return tagged(values.cast(pl.String), treatment.scrub, rules.regions)
    return values
