"""Writes the mapping of users: one full file of links, replaced in place by each version."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.parts import Written
from offload_platform.simulator.population import external_ids, users_numbered
from offload_platform.simulator.randomness import Integers, Purpose, choice, draw, fraction
from offload_platform.simulator.simulation import check_counts
from offload_platform.simulator.writing import Summary, write
from offload_platform.vendors.sentiance.layout import LAYOUT, MAPPING

MAPPING_KEY = "_mapping/user_external.csv"
MAPPING_TYPES: tuple[str, ...] = LAYOUT.families[MAPPING].types

_USERS_AT_ONCE = 65_536
_LINKED_AT_FIRST = 0.8
_LINKED_WITHIN_VERSIONS = 20
_REMOVED = 0.1
_REMOVED_WITHIN_VERSIONS = 20
_INSTALLED_AGAIN = 0.3
_WRITTEN_AT = time(4, tzinfo=UTC)


@dataclass(frozen=True)
class MappingSimulation:
    """Which version of the mapping to write; there is one for each day.

    Attributes:
        seed: The same seed gives the same people as in a lifestyle simulation.
        users: Size of the population.
        first_day: The day (UTC) on which version 0 was written.
        version: Number of the version, from 0. Each one adds links to those of the version before, and lacks a few.
        is_contradictory: Whether the first user of the file is linked to two external ids.
    """

    seed: int = 1
    users: int = 1_000
    first_day: date = date(2018, 12, 8)
    version: int = 0
    is_contradictory: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        check_counts(self, "users")
        if self.version < 0:
            raise ValueError("version must be at least 0")

    @property
    def written_at(self) -> datetime:
        """When the version was written: the file's time of modification, which alone tells versions apart."""
        return datetime.combine(self.first_day + timedelta(days=self.version), _WRITTEN_AT)


def write_mapping(
    simulation: MappingSimulation,
    out: Path,
    manifest_dir: Path | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Write one version of the mapping below `out`, in place of another one; see `write`."""
    return write([Links(simulation)], out, manifest_dir, on_progress)


@dataclass(frozen=True)
class Links:
    """The mapping of a simulation."""

    simulation: MappingSimulation

    @property
    def types(self) -> tuple[str, ...]:
        """The one type."""
        return MAPPING_TYPES

    @property
    def deliveries(self) -> int:
        """One."""
        return 1

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:  # noqa: ARG002 (nothing is planted)
        """Write the file."""
        path = out / MAPPING_KEY
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = 0
        with path.open("wb") as file:
            file.write(b"user_id,external_id\n")
            for first in range(0, self.simulation.users, _USERS_AT_ONCE):
                number = np.arange(first, min(first + _USERS_AT_ONCE, self.simulation.users))
                links = links_of(self.simulation, number)
                if self.simulation.is_contradictory and not rows:
                    links = pl.concat([links.head(1).with_columns(external_id=pl.lit("0" * 16)), links])
                links.write_csv(file, include_header=False)
                rows += len(links)
        written_at = self.simulation.written_at
        os.utime(path, (written_at.timestamp(), written_at.timestamp()))
        yield Written(MAPPING_KEY, MAPPING_TYPES[0], written_at, rows, 0, path.stat().st_size)


def links_of(simulation: MappingSimulation, number: Integers) -> pl.DataFrame:
    """The links of the users of these numbers: `user_id` and `external_id`.

    Who has installed the app again is two users with one external id. A user whose rows carry the client's own id is
    linked to that one.
    """
    drawn = draw(simulation.seed, Purpose.LINK, number)
    since = np.where(fraction(drawn) < _LINKED_AT_FIRST, 0, 1 + choice(drawn, _LINKED_WITHIN_VERSIONS, 1))
    until = since + 1 + choice(drawn, _REMOVED_WITHIN_VERSIONS, 2)
    is_removed = (fraction(drawn, 3) < _REMOVED) & (until <= simulation.version)
    linked = (since <= simulation.version) & ~is_removed
    users = users_numbered(simulation.seed, number[linked])
    is_again = (fraction(drawn, 4)[linked] < _INSTALLED_AGAIN) & (users.client_id == "").to_numpy() & (users.number > 0)
    external = external_ids(simulation.seed, users.number - is_again)
    return pl.DataFrame({"user_id": users.user_id, "external_id": external})
