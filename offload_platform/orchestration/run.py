"""Finds what is complete and new, and materialises it through Dagster: what `offload run` does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import Discovery, discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.watch import requests_for, top_folders
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.partitions import partition_key_of, partition_of
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.resources import source_of, warehouse_in
from offload_platform.orchestration.slots import slots_of
from offload_platform.orchestration.tables import table_key
from offload_platform.settings import Feed, Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.load import folders_of

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class PlannedLoad:
    """A partition whose newest complete delivery is not the one in the warehouse.

    `replaces` says whether a delivery that is loaded now would be replaced. `listings` is the number of requests for
    listings that the load takes; each part is one request more.
    """

    feed: Feed
    offload_type: str
    partition: str
    delivery: Delivery
    replaces: bool
    listings: int

    @property
    def requests(self) -> int:
        """Requests to the store that the load takes."""
        return self.listings + len(self.delivery.parts)


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    `outside` are deliveries from before their feed's start or from the future; `unlisted` says of each feed whose root
    cannot be listed why, and what to do.
    """

    loads: tuple[PlannedLoad, ...]
    up_to_date: int
    incomplete: tuple[Delivery, ...]
    outside: tuple[Delivery, ...]
    discoveries: dict[str, Discovery]
    unlisted: dict[str, str]


@dataclass(frozen=True)
class LoadOutcome:
    """What became of a planned load. Sizes are as stored, in MB (10^6 bytes)."""

    feed: str
    offload_type: str
    partition: str
    succeeded: bool
    rows_in: int = 0
    rows_loaded: int = 0
    rows_quarantined: int = 0
    drift: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    error: str | None = None


def plan(
    settings: Settings,
    feeds: Sequence[Feed],
    offload_types: Sequence[str] = (),
    first: date | None = None,
    last: date | None = None,
) -> Plan:
    """List the feeds' roots and compare with the ledger. `first` and `last` bound the date of the delivery's stamp.

    A root that cannot be listed does not stop the other feeds.
    """
    loaded = warehouse_in(settings.warehouse).loaded()
    loads: list[PlannedLoad] = []
    incomplete: list[Delivery] = []
    outside: list[Delivery] = []
    discoveries: dict[str, Discovery] = {}
    unlisted: dict[str, str] = {}
    up_to_date = 0
    for feed in feeds:
        try:
            listing = source_of(feed).store(feed).list_objects()
        except LandingError as error:
            unlisted[feed.name] = str(error)
            continue
        discovery = discoveries[feed.name] = discover(feed, listing)
        folders = top_folders(listing)
        wanted = [d for d in discovery.deliveries if not offload_types or d.offload_type in offload_types]
        outside += [d for d in wanted if partition_key_of(feed, d.family, d.stamp) is None]
        for slot in slots_of(feed, wanted):
            # A day narrows down what is loaded, not what a delivery competes with.
            stamp = (slot.choice.chosen or slot.choice.incomplete[0]).stamp.date()
            if (first is not None and stamp < first) or (last is not None and stamp > last):
                continue
            incomplete += slot.choice.incomplete
            version = slot.version_to_load(feed, loaded)
            if version is not None:
                competing = (version, *slot.choice.superseded, *slot.choice.incomplete)
                replaces = any(loaded.fingerprint_of(feed.name, d) for d in competing)
                contract = vendor_named(feed.vendor).contracts[slot.offload_type]
                partition = partition_of(feed, contract, slot.partition)
                listings = requests_for(len(folders)) + len(folders_of(partition, folders))
                loads.append(PlannedLoad(feed, slot.offload_type, slot.partition, version, replaces, listings))
            elif slot.choice.chosen is not None:
                up_to_date += 1
    return Plan(tuple(loads), up_to_date, tuple(incomplete), tuple(outside), discoveries, unlisted)


def execute(settings: Settings, loads: Sequence[PlannedLoad], instance: dg.DagsterInstance) -> Iterator[LoadOutcome]:
    """Materialise the planned partitions one after the other; a failure does not stop the others."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    for load in loads:
        key = table_key(load.feed, load.offload_type)
        result = job.execute_in_process(
            partition_key=load.partition,
            asset_selection=[key],
            instance=instance,
            run_config=_QUIET,
            raise_on_error=False,
            tags={"offload/asked_by": "offload run"},
        )
        if not result.success:
            yield LoadOutcome(load.feed.name, load.offload_type, load.partition, False, error=_first_error(result))
            continue
        [event] = result.get_asset_materialization_events()
        said = {name: value.value for name, value in event.materialization.metadata.items()}
        yield LoadOutcome(
            load.feed.name,
            load.offload_type,
            load.partition,
            True,
            rows_in=int(said["rows in"]),  # type: ignore[arg-type]
            rows_loaded=int(said["rows loaded"]),  # type: ignore[arg-type]
            rows_quarantined=int(said["rows quarantined"]),  # type: ignore[arg-type]
            drift=int(said["drift observations"]),  # type: ignore[arg-type]
            seconds=float(said["seconds"]),  # type: ignore[arg-type]
            megabytes=load.delivery.size / 1e6,
        )


def publish_now(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    """Materialise the published file; returns what went wrong, or None."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[PUBLISHED_KEY], instance=instance, run_config=_QUIET, raise_on_error=False
    )
    return None if result.success else _first_error(result)


def known_types(feeds: Sequence[Feed]) -> list[str]:
    """Offload types that can be loaded for some feeds."""
    return sorted({t for feed in feeds for t in vendor_named(feed.vendor).contracts})


def _first_error(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_failure and event.event_specific_data is not None:
            failure = getattr(event.event_specific_data, "user_failure_data", None)
            if failure is not None and failure.description:
                return str(failure.description)
            error = getattr(event.event_specific_data, "error", None)
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return str(error.message).strip()
    return "the run failed; see its log in the Dagster UI"
