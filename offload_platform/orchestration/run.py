"""Finds what is complete and new, and materialises it through Dagster: what `offload run` does."""

import signal
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial

import dagster as dg
import polars as pl
from dagster._core.instance import InstanceRef

from offload_platform.contracts.deliveries import Delivery, combined
from offload_platform.landing.deliveries import Discovery, discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.watch import requests_for, top_folders
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.exporting import export_key, export_tags
from offload_platform.orchestration.listening import Due, step_keys
from offload_platform.orchestration.partitions import partition_key_of, partition_of
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.resources import source_of, warehouse_in
from offload_platform.orchestration.sharing import SHARED_KEY, is_behind
from offload_platform.orchestration.slots import slots_of
from offload_platform.orchestration.tables import table_key
from offload_platform.orchestration.tiers import tier_keys
from offload_platform.orchestration.workers import Died, Workers
from offload_platform.settings import Feed, Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.load import folders_by_name, folders_of, listings_of

_MOST_BY_DEFAULT = 4
# Less than this is loaded in the time that processes take to start.
_LOADS_WORTH_PROCESSES = 12
_BYTES_WORTH_PROCESSES = 8_000_000
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
            listing = source_of(feed).store(feed).list_objects(feed.layout.roots)
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
            versions = slot.to_load(feed, loaded)
            if versions:
                competing = (*versions, *slot.choice.superseded, *slot.choice.incomplete)
                replaces = any(loaded.fingerprint_of(feed.name, d) for d in competing)
                contract = vendor_named(feed.vendor).contracts[slot.offload_type]
                partition = partition_of(feed, contract, slot.partition)
                named = folders_by_name(feed, partition)
                listings = (
                    requests_for(len(folders)) + len(folders_of(partition, folders)) if named is None else len(named)
                )
                delivery, requests = combined(versions), listings * listings_of(partition)
                loads.append(PlannedLoad(feed, slot.offload_type, slot.partition, delivery, replaces, requests))
            elif slot.choice.chosen is not None:
                up_to_date += 1
    return Plan(tuple(loads), up_to_date, tuple(incomplete), tuple(outside), discoveries, unlisted)


def execute(
    settings: Settings,
    loads: Sequence[PlannedLoad],
    instance: dg.DagsterInstance,
    parallel: int = 1,
    on_change: Callable[[Sequence[PlannedLoad]], None] = lambda _: None,
) -> Generator[LoadOutcome, None, None]:
    """Materialise the planned partitions, `parallel` of them at once, and yield each outcome when it is there.

    They begin in the order of the plan: one at once in this process, more in processes of their own. A failure does not
    stop the others. `on_change` is told which loads are under way, whenever that changes.

    Whoever does not exhaust the iterator closes it. That ends the loads under way, and their partitions stay as they
    were.

    Raises:
        KeyboardInterrupt: a load in this process was interrupted; its partition stays as it was.
    """
    loading = partial(_loading, settings, instance.get_ref())
    tasks = [_Task(load, str(uuid.uuid4())) for load in loads]
    at_once = min(parallel, len(tasks))
    if at_once < 2:
        with loading() as load_one:
            for task in tasks:
                on_change([task.load])
                yield load_one(task)
        return
    with Workers(at_once, loading) as workers:
        try:
            for task, said in workers.run(tasks, lambda under_way: on_change([task.load for task in under_way])):
                yield said if isinstance(said, LoadOutcome) else _lost(instance, task, said)
        finally:
            _cancel(instance, workers)


def default_parallel(loads: Sequence[PlannedLoad]) -> int:
    """Partitions to load at once where nobody says how many: one for each core that this process may use, at most 4."""
    if len(loads) < _LOADS_WORTH_PROCESSES and sum(load.delivery.size for load in loads) < _BYTES_WORTH_PROCESSES:
        return 1
    return min(pl.thread_pool_size(), _MOST_BY_DEFAULT)


def publish_now(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    """Materialise the published file, and what is made of it: the shared warehouse and the privacy tiers.

    Returns what went wrong, or None.

    Raises:
        KeyboardInterrupt: it was interrupted; the old files stand.
    """
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    wrong = _error_of(_materialise(job, instance, [PUBLISHED_KEY]))
    if wrong:
        return f"not published: {wrong}"
    return share_now(settings, instance) or protect_now(settings, instance)


def share_now(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    """Materialise the shared warehouse, if it is behind what is published; returns what went wrong, or None.

    Raises:
        KeyboardInterrupt: it was interrupted; the next call goes on.
    """
    if not is_behind(settings):
        return None
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    wrong = _error_of(_materialise(job, instance, [SHARED_KEY]))
    return f"the shared warehouse is not what is published: {wrong}" if wrong else None


def protect_now(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    """Materialise the privacy tiers and their report, if they are configured; returns what went wrong, or None.

    A target that is missed is nothing that went wrong: it is in the report.

    Raises:
        KeyboardInterrupt: it was interrupted; the old tiers stand.
    """
    if settings.privacy is None:
        return None
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    wrong = _error_of(_materialise(job, instance, tier_keys()))
    return f"the privacy tiers are as they were: {wrong}" if wrong else None


def export_now(settings: Settings, instance: dg.DagsterInstance, name: str, partition: str) -> str | None:
    """Send a slot of an export, and those that were missed before it; returns what went wrong, or None.

    Raises:
        KeyboardInterrupt: it was interrupted; a slot that was begun is finished by the next run.
    """
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    return _error_of(_materialise(job, instance, [export_key(name)], partition, tags=export_tags(name)))


def listen_now(
    settings: Settings, instance: dg.DagsterInstance, feed: Feed, due: Sequence[Due]
) -> Iterator[tuple[Due, str | None]]:
    """Make the steps of some days that are due; yields each with what went wrong, or None.

    Raises:
        KeyboardInterrupt: it was interrupted; what was there stays as it was, or is made whole by the next call.
    """
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    for one in due:
        keys = [key for step in one.steps for key in step_keys(feed, step)]
        yield one, _error_of(_materialise(job, instance, keys, str(one.day)))


def known_types(feeds: Sequence[Feed]) -> list[str]:
    """Offload types that can be loaded for some feeds."""
    return sorted({t for feed in feeds for t in vendor_named(feed.vendor).contracts})


@dataclass(frozen=True)
class _Task:
    """A planned load, and the id that its Dagster run will have."""

    load: PlannedLoad
    run_id: str


@contextmanager
def _loading(settings: Settings, instance: InstanceRef) -> Iterator[Callable[[_Task], LoadOutcome]]:
    """What all loads of a process share: the definitions, and the instance, opened."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.from_ref(instance) as opened:
        yield partial(_load, job, opened)


def _load(job: dg.JobDefinition, instance: dg.DagsterInstance, task: _Task) -> LoadOutcome:
    load = task.load
    try:
        result = _materialise(job, instance, [table_key(load.feed, load.offload_type)], load.partition, task.run_id)
    except Exception as error:  # noqa: BLE001 (Dagster's own troubles, such as a full disk, are told like any other)
        return _failed(load, f"{type(error).__name__}: {error}")
    if (because := _error_of(result)) is not None:
        return _failed(load, because)
    [event] = result.get_asset_materialization_events()
    said = {name: value.value for name, value in event.materialization.metadata.items()}
    return LoadOutcome(
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


def _failed(load: PlannedLoad, error: str) -> LoadOutcome:
    return LoadOutcome(load.feed.name, load.offload_type, load.partition, False, error=error)


def _lost(instance: dg.DagsterInstance, task: _Task, death: Died) -> LoadOutcome:
    """The outcome of a load whose process died; its run cannot say so itself."""
    error = (
        f"the process that loaded it died ({death.how}), most often because memory had run out. "
        "Run again, with a smaller --parallel."
    )
    for run in _unfinished(instance, [task.run_id]):
        instance.report_run_failed(run, error)
    return _failed(task.load, error)


def _cancel(instance: dg.DagsterInstance, workers: Workers[_Task, LoadOutcome]) -> None:
    """End the workers, and have the runs that are under way count as cancelled instead of failed."""
    run_ids = [task.run_id for task in workers.under_way]
    for run in _unfinished(instance, run_ids):
        instance.report_run_canceling(run)
    workers.end()
    for run in _unfinished(instance, run_ids):
        instance.report_run_canceled(run)


def _unfinished(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> list[dg.DagsterRun]:
    """Those of the runs that Dagster knows and takes to be under way."""
    runs = map(instance.get_run_by_id, run_ids)
    return [run for run in runs if run is not None and not run.is_finished]


def _materialise(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    partition: str | None = None,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        return job.execute_in_process(
            partition_key=partition,
            asset_selection=keys,
            instance=instance,
            run_config=_QUIET,
            raise_on_error=False,
            tags={"offload/asked_by": "offload run", **(tags or {})},
            run_id=run_id,
        )
    finally:
        # Dagster leaves SIGTERM with the handler of Ctrl-C.
        signal.signal(signal.SIGTERM, on_sigterm)


def _error_of(result: dg.ExecuteInProcessResult) -> str | None:
    """What made a run fail, in a sentence where there is one; an interrupt goes on as what it is."""
    if result.success:
        return None
    for event in result.all_events:
        if event.is_failure and event.event_specific_data is not None:
            failure = getattr(event.event_specific_data, "user_failure_data", None)
            if failure is not None and failure.description:
                return str(failure.description)
            error = getattr(event.event_specific_data, "error", None)
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                raise KeyboardInterrupt
            if error is not None:
                return str(error.message).strip()
    return "the run failed; see its log in the Dagster UI"
