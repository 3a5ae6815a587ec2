"""Loads one partition: list, choose the delivery that counts, stage it, strike who is erased, replace the partition."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import duckdb

from offload_platform.contracts.contract import Content
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import Choice, choose, discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.staging import StagedDelivery, stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition, replace_partition
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.measures import Measures, measure
from offload_platform.warehouse.strike import strike

Writing = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


class NothingToLoad(LandingError):
    """The partition has no complete delivery; what it holds stays as it is."""


@dataclass(frozen=True)
class Loaded:
    """A finished load, and the figures of what it has left in the warehouse."""

    partition: Partition
    delivery: Delivery
    staged: StagedDelivery
    measures: Measures


def load_partition(
    store: DeliveryStore,
    partition: Partition,
    files: WarehouseFiles,
    writing: Writing,
    run_id: str,
    on_progress: Callable[[int], None] = lambda _: None,
    on_staged: Callable[[StagedDelivery], None] = lambda _: None,
) -> Loaded:
    """Load the newest complete delivery of a partition. The writer lock is held for the commit and its measures alone.

    `on_progress` is told the stored bytes of each finished part; `on_staged` sees the staged files before they go.

    Raises:
        NothingToLoad: there is no complete delivery; the message says why.
        LandingError: a part cannot be fetched or trusted, or it cannot be told who is erased; the partition keeps its
            old rows.
    """
    choice = find_deliveries(store, partition)
    if choice.chosen is None:
        raise NothingToLoad(_why_nothing(partition, choice))
    with files.staging_folder() as folder:
        staged = stage(store, choice.chosen, partition.contract, folder, on_progress)
        on_staged(staged)
        replaced = partition.replaced_by(choice.chosen)
        with writing() as connection:
            # Under the lock, so that nobody is erased between this and the commit.
            staged = strike(connection, staged)
            replace_partition(connection, replaced, choice, staged, run_id)
            # Before the lock is given back, so that the figures are of this load and no other.
            measures = measure(connection, store.feed, replaced, choice.chosen)
    return Loaded(partition, choice.chosen, staged, measures)


def find_deliveries(store: DeliveryStore, partition: Partition) -> Choice:
    """What the feed's root holds for a partition now."""
    layout = vendor_named(store.feed.vendor).layout
    offload_type = partition.contract.offload_type

    def belongs(key: str) -> bool:
        placement = layout.place(key)
        return (
            placement is not None
            and placement.offload_type == offload_type
            and (placement.stamp is None or partition.start <= placement.stamp < partition.end)
        )

    folders = folders_of(partition, store.list_folders())
    discovery = discover(store.feed, store.list_objects(folders, identify=belongs))
    return choose([d for d in discovery.of_type(offload_type) if partition.start <= d.stamp < partition.end])


def folders_of(partition: Partition, folders: Iterable[str]) -> list[str]:
    """Those of the folders at the top of a root that may hold deliveries of a partition."""
    layout = vendor_named(partition.contract.vendor).layout
    named = ((name, *layout.folder(name)) for name in folders)
    return [
        name
        for name, family, stamp in named
        if family == partition.contract.family and (stamp is None or partition.start <= stamp < partition.end)
    ]


def _why_nothing(partition: Partition, choice: Choice) -> str:
    what = f"{partition.feed} {partition.contract.offload_type} {partition.key}"
    window = f"{partition.start:%Y-%m-%d} to {partition.end:%Y-%m-%d} (UTC, end excluded)"
    if partition.contract.content is Content.REGISTER:
        return f"{what}: the file has been replaced since {window}; what is loaded of that day stands."
    if not choice.incomplete:
        return f"{what}: no delivery with a stamp of {window}. Run `offload doctor` to see what the feed's root holds."
    waiting = "; ".join(f"{d.folder}: {d.incomplete_because}" for d in choice.incomplete)
    return f"{what}: no complete delivery with a stamp of {window}. {waiting}. It is loaded once it is complete."
