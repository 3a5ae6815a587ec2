"""The attributes that Sentiance is known to deliver, and how their values are read.

Both renderings, wide and long, read a value by the same rules, so that their values agree. The catalogue itself is
`attribute_catalogue.csv`; types and units in it were worked out from the samples of 2017 and 2019.
"""

import csv
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from offload_platform.contracts.columns import Privacy

SUFFIX = ".value"
MASKED = r"(?i)^h+idden$"
_PRIVACY = {"ID": Privacy.IDENTIFIER, "LOC": Privacy.LOCATION, "BEH": Privacy.BEHAVIOUR, "NONE": Privacy.NONE}


class Kind(StrEnum):
    """What the values of an attribute are."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    LIST = "list"


@dataclass(frozen=True)
class Attribute:
    """One attribute; `name` is as delivered, without the `.value` suffix, `last_seen` the year of the sample."""

    name: str
    kind: Kind
    unit: str | None
    description: str
    privacy: Privacy
    sensitive: bool
    last_seen: int

    @property
    def column(self) -> str:
        """Name of the attribute's column in the wide table."""
        return re.sub(r"[^0-9a-z]+", "_", self.name.lower()).strip("_")

    @property
    def none_number(self) -> float | None:
        """The number that means "no value": -1 in driving behaviour attributes."""
        return -1.0 if self.name.startswith("tr.car.bhvr.") else None

    @property
    def none_text(self) -> str | None:
        """The text that means "no value": 0 where the most common of several names is delivered."""
        return "0" if self.name.endswith(".mostcommon") else None


@cache
def attributes() -> tuple[Attribute, ...]:
    """All known attributes, by name."""
    text = files(__package__).joinpath("attribute_catalogue.csv").read_text(encoding="utf-8")
    return tuple(
        Attribute(
            name=row["attribute"],
            kind=Kind(row["type"]),
            unit=row["unit"] or None,
            description=row["description"],
            privacy=_PRIVACY[row["privacy"]],
            sensitive=row["sensitive"] == "true",
            last_seen=int(row["last_seen"]),
        )
        for row in csv.DictReader(text.splitlines())
    )
