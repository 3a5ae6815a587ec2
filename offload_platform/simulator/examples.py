"""Small deliveries of every vendor, and what a feed says to read them: for examples in documentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from offload_platform.simulator.affise import AffiseSimulation, DataFusion
from offload_platform.simulator.aura import AssistantLogs, LogSimulation
from offload_platform.simulator.deliveries import Snapshots
from offload_platform.simulator.driving import DrivingDays
from offload_platform.simulator.driving_settings import DrivingSimulation, Vintage
from offload_platform.simulator.mapping import Links, MappingSimulation
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.writing import Source
from offload_platform.vendors.affise.layout import TYPES

_USERS = 60


@dataclass(frozen=True)
class Example:
    """Deliveries that can be written, and the settings of a feed beside those that every feed has."""

    sources: Sequence[Source]
    feed: Mapping[str, Any] = field(default_factory=dict)


def example_of(vendor: str) -> Example:
    """The example of a vendor; it has a value for nearly every column."""
    return _EXAMPLES[vendor]()


def _of_snapshots() -> Example:
    # Of all vintages this one has most columns.
    driving = DrivingSimulation(users=_USERS, vintage=Vintage.SAMPLE_JUNE_2022, first_day=date(2018, 12, 7))
    people: list[Source] = [Snapshots(Simulation(users=_USERS)), Links(MappingSimulation(users=_USERS))]
    return Example([*people, DrivingDays(driving)], {"app_id": Simulation().app_id})


def _of_exports() -> Example:
    simulation = AffiseSimulation(slots=1, frequency_minutes=1440, clicks_per_slot=500, empty_share=0)
    return Example(
        [DataFusion(simulation)],
        {"directories": dict(zip(TYPES, simulation.directories, strict=True)), "pseudonyms": "dropped"},
    )


def _of_logs() -> Example:
    return Example([AssistantLogs(LogSimulation(users=_USERS, files_per_day=1))])


_EXAMPLES: Mapping[str, Callable[[], Example]] = {
    "affise": _of_exports,
    "aura": _of_logs,
    "sentiance": _of_snapshots,
}
