"""Where listening keeps what it makes: a Parquet file for each tier, country, table and day.

A folder for each tier, so that who may see what is granted by folder. Files are replaced as a whole; beside its rows,
each says what it was made of. They are sorted and written alike, so that the same rows are the same bytes.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

import polars as pl
from filelock import FileLock

from offload_platform.warehouse.files import WarehouseFiles

MADE_OF = "offload:made_of"
KEY_ID = "offload:key_id"
_OURS = "offload:"
_FOLDER = "listening"


class Tier(StrEnum):
    """Who may see what: the fewer people, the earlier it stands."""

    RAW = "ppd_raw"
    """Pseudonyms and texts with tags: still personal data."""
    CLEAN = "ppd_clean"
    AGGREGATE = "aggregate"
    """Figures of groups, none of them small."""


@dataclass(frozen=True)
class Days:
    """What is kept of a country's logs."""

    root: Path
    country: str

    def file(self, tier: Tier, table: str, day: date, suffix: str = ".parquet") -> Path:
        """Where the file of a day is, or would be."""
        return self.root / tier / self.country / table / f"{day}{suffix}"

    def pattern(self, tier: Tier, table: str) -> str:
        """What the names of the files of all days are like."""
        return str(self.root / tier / self.country / table / "*.parquet")

    def of(self, tier: Tier, table: str) -> list[date]:
        """Days that there are files of, in order."""
        folder = self.file(tier, table, date.min).parent
        return sorted(date.fromisoformat(file.stem) for file in folder.glob("*.parquet"))

    def has(self, tier: Tier, table: str, day: date) -> bool:
        """Whether there is a file of a day."""
        return self.file(tier, table, day).exists()

    def read(self, tier: Tier, table: str, day: date) -> pl.DataFrame:
        """The rows of a day."""
        return pl.read_parquet(self.file(tier, table, day))

    def facts(self, tier: Tier, table: str, day: date) -> Mapping[str, str]:
        """What the file of a day says beside its rows; nothing where there is no file."""
        file = self.file(tier, table, day)
        said = pl.read_parquet_metadata(file) if file.exists() else {}
        return {name: value for name, value in said.items() if name.startswith(_OURS)}

    def digest(self, tier: Tier, table: str, day: date) -> str:
        """A hash of the file of a day, and of none where there is no file."""
        file = self.file(tier, table, day)
        return digest_of(file.read_bytes()) if file.exists() else "none"

    def write(self, tier: Tier, table: str, day: date, rows: pl.DataFrame, facts: Mapping[str, str]) -> bool:
        """Put the rows of a day in the place of those that are there; whether that has changed anything."""
        file = self.file(tier, table, day)
        before = self.digest(tier, table, day)
        with replacing(file) as aside:
            rows.write_parquet(aside, compression="zstd", metadata=dict(facts))
        return self.digest(tier, table, day) != before

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait to be the one who makes files of the country: days share sessions."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{self.country}.lock"):
            yield


def days_of(files: WarehouseFiles, country: str) -> Days:
    """Where a warehouse keeps what is made of a country's logs."""
    return Days(files.root / _FOLDER, country.lower())


def countries_in(files: WarehouseFiles) -> list[Path]:
    """Folders of RAW and CLEAN of a country that a warehouse has, in order."""
    return sorted(
        folder
        for tier in (Tier.RAW, Tier.CLEAN)
        for folder in (files.root / _FOLDER / tier).glob("*")
        if any(folder.rglob("*.parquet"))
    )


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A file to write to, which takes the place of another one when it is written and on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.new")
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def digest_of(*said: str | bytes) -> str:
    """A short hash of some texts or bytes."""
    whole = hashlib.sha256()
    for one in said:
        content = one if isinstance(one, bytes) else one.encode()
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()[:16]
