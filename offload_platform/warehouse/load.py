"""Loads one partition: list, choose the delivery that counts, stage it, strike who is erased, replace the partition."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import duckdb

from offload_platform.contracts.contract import Content
from offload_platform.contracts.deliveries import Delivery, combined
from offload_platform.landing.deliveries import Choice, choose, discover
from offload_platform.landing.errors import LandingError, SourceUnavailable
from offload_platform.landing.pseudonyms import reading_of
from offload_platform.landing.staging import OWN_BENCH, Bench, StagedDelivery, stage, stage_each
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.reading import Reading
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition, add_deliveries, replace_partition
from offload_platform.warehouse.files import WarehouseFiles, Writing, troubles_explained
from offload_platform.warehouse.ledger import not_loaded
from offload_platform.warehouse.measures import Measures, PartAccount, measure
from offload_platform.warehouse.pseudonyms import check_key
from offload_platform.warehouse.strike import strike

_LISTINGS_AT_MOST = 4


class NothingToLoad(LandingError):
    """The partition has no complete delivery; what it holds stays as it is."""


@dataclass(frozen=True)
class Loaded:
    """A finished load, and the figures of what it has left in the warehouse.

    Where deliveries add up, `delivery` stands for all of the partition and `staged` for those that were new or changed;
    `refused` says what was wrong with others, which are not loaded.
    """

    partition: Partition
    delivery: Delivery
    staged: StagedDelivery
    measures: Measures
    refused: tuple[LandingError, ...] = ()

    @property
    def rows_in(self) -> int:
        """Rows in all that the partition holds."""
        return self.staged.rows_in + sum(part.rows_in for part in self._before)

    @property
    def quarantined(self) -> int:
        """Rows of the partition that are set aside."""
        return self.staged.quarantined + sum(part.rows_quarantined for part in self._before)

    @property
    def erased(self) -> int:
        """Rows of the partition that are of erased persons."""
        return self.staged.erased + sum(part.rows_erased for part in self._before)

    @property
    def _before(self) -> list[PartAccount]:
        """The parts that were loaded before, and stand."""
        staged = {part.part.key for part in self.staged.parts}
        return [part for part in self.measures.parts if part.object_key not in staged] if self.partition.adds_up else []


def load_partition(
    store: DeliveryStore,
    partition: Partition,
    files: WarehouseFiles,
    writing: Writing,
    run_id: str,
    on_progress: Callable[[int], None] = lambda _: None,
    on_staged: Callable[[StagedDelivery], None] = lambda _: None,
    bench: Bench = OWN_BENCH,
) -> Loaded:
    """Load the newest complete delivery of a partition; where deliveries add up, all that are new or changed.

    The writer lock is held for the commit and its measures alone, and for a look at what is loaded.

    `on_progress` is told the stored bytes of each finished part; `on_staged` sees the staged files before they go.
    Parts are staged at the `bench`.

    Raises:
        NothingToLoad: there is no complete delivery; the message says why.
        LandingError: a part cannot be fetched or trusted, it cannot be told who is erased, or the disk takes no more;
            the partition keeps its old rows.
    """
    reading = reading_of(store.feed, partition.contract)
    choice = find_deliveries(store, partition)
    if choice.chosen is None:
        raise NothingToLoad(_why_nothing(partition, choice))
    with troubles_explained(files.root):
        if partition.adds_up:
            return _add(store, partition, choice, reading, files, writing, run_id, on_progress, on_staged, bench)
        return _replace(store, partition, choice, reading, files, writing, run_id, on_progress, on_staged, bench)


def _replace(
    store: DeliveryStore,
    partition: Partition,
    choice: Choice,
    reading: Reading,
    files: WarehouseFiles,
    writing: Writing,
    run_id: str,
    on_progress: Callable[[int], None],
    on_staged: Callable[[StagedDelivery], None],
    bench: Bench,
) -> Loaded:
    """Load the delivery that counts in the place of whatever the partition holds."""
    assert choice.chosen is not None
    with files.staging_folder() as folder:
        staged = stage(store, choice.chosen, partition.contract, folder, on_progress, bench)
        on_staged(staged)
        replaced = partition.replaced_by(choice.chosen)
        with _loading(writing) as connection:
            # Under the lock, so that nobody is erased between this and the commit.
            staged = strike(connection, staged)
            check_key(connection, reading.key)
            replace_partition(connection, replaced, choice, staged, run_id)
            # Before the lock is given back, so that the figures are of this load and no other.
            measures = measure(connection, store.feed, replaced, choice.chosen)
    return Loaded(partition, choice.chosen, staged, measures)


def _add(
    store: DeliveryStore,
    partition: Partition,
    choice: Choice,
    reading: Reading,
    files: WarehouseFiles,
    writing: Writing,
    run_id: str,
    on_progress: Callable[[int], None],
    on_staged: Callable[[StagedDelivery], None],
    bench: Bench,
) -> Loaded:
    """Load what is new or changed of deliveries that add up; one that cannot be read does not keep out the others."""
    contract, whole = partition.contract, combined(choice.counting)
    with writing() as connection:
        check_key(connection, reading.key)
        new = not_loaded(connection, partition.feed, contract, choice.counting, reading.version(contract))
    with files.staging_folder() as folder:
        staged, refused = stage_each(store, new, contract, folder, on_progress, bench)
        for one in staged:
            on_staged(one)
        if refused and not staged:
            raise refused[0]
        with _loading(writing) as connection:
            staged = [strike(connection, one) for one in staged]
            add_deliveries(connection, partition, choice, staged, run_id)
            measures = measure(connection, store.feed, partition, whole)
    together = StagedDelivery(whole, contract, tuple(part for one in staged for part in one.parts), reading)
    return Loaded(partition, whole, together, measures, tuple(refused))


@contextmanager
def _loading(writing: Writing) -> Iterator[duckdb.DuckDBPyConnection]:
    """The build file, to be written by one thread: two fill row groups unevenly, and a checkpoint writes them anew.

    What is committed goes to its place at once, as it does when the file is closed, and not to the log before.
    """
    with writing() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SET checkpoint_threshold = '1MB'")
        yield connection


def listings_of(partition: Partition) -> int:
    """How often a root is listed for a load of a partition, where nothing changes meanwhile.

    A listing that lacks a page looks like a delivery of fewer parts. Where that would take rows back, two listings
    have to agree. What is added to what is there is never too little, and a file is there or is not.
    """
    return 1 if partition.adds_up or partition.contract.content is Content.REGISTER else 2


def find_deliveries(store: DeliveryStore, partition: Partition) -> Choice:
    """What the feed's root holds for a partition now.

    Raises:
        SourceUnavailable: the root cannot be listed, or each listing differs from the one before.
    """
    found = _listed_once(store, partition)
    if listings_of(partition) == 1:
        return found
    for _ in range(_LISTINGS_AT_MOST - 1):
        again = _listed_once(store, partition)
        if again == found:
            return found
        found = again
    raise SourceUnavailable(
        f"{partition.feed} {partition.contract.offload_type} {partition.key}: {_LISTINGS_AT_MOST} listings of "
        f"{store.feed.url} differ from each other: the vendor is writing, or the store loses a part of its answers. "
        "Run the partition again."
    )


def _listed_once(store: DeliveryStore, partition: Partition) -> Choice:
    layout = store.feed.layout
    offload_type = partition.contract.offload_type

    def belongs(key: str) -> bool:
        placement = layout.place(key)
        return (
            placement is not None
            and placement.offload_type == offload_type
            and (placement.stamp is None or partition.start <= placement.stamp < partition.end)
        )

    folders = folders_by_name(store.feed, partition)
    if folders is None:
        folders = folders_of(partition, store.list_folders())
    discovery = discover(store.feed, store.list_objects(folders, identify=belongs))
    found = [d for d in discovery.of_type(offload_type) if partition.start <= d.stamp < partition.end]
    return choose(found, add_up=partition.adds_up)


def folders_by_name(feed: Feed, partition: Partition) -> list[str] | None:
    """The folders of a partition's deliveries where their names follow from its days; None where they are listed."""
    last = partition.end - timedelta(microseconds=1)
    first_day, last_day = (moment.astimezone(feed.zone).date() for moment in (partition.start, last))
    return feed.layout.folders_between(first_day, last_day)


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
