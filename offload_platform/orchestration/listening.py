"""Listening as assets: RAW, CLEAN with its sessions and figures, and the hand-off, each with a partition for each day.

A day is one of UTC, by when things were said and not by when they were delivered. A sensor asks for the steps of a day
that are due when what they are made of has changed; `offload listening run` asks the same.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from offload_platform.handoff.bulk import HandedOff, drop_days, folder_of, is_due, make_handoff
from offload_platform.handoff.errors import HandoffError
from offload_platform.landing.errors import LandingError
from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError
from offload_platform.listening.clean import SESSIONS, CleanDay, made_of_raw, make_clean, unsettled_sessions
from offload_platform.listening.clean import forget_logins as forget_clean
from offload_platform.listening.days import KEY_ID, MADE_OF, Days, Tier, countries_in, days_of
from offload_platform.listening.errors import ListeningError
from offload_platform.listening.figures import FIGURES
from offload_platform.listening.raw import (
    NO_ROW,
    RawDay,
    domain_of_logins,
    key_of_raw,
    listening_of,
    logs_of,
    made_of_logs,
    make_raw,
)
from offload_platform.listening.raw import forget_logins as forget_raw
from offload_platform.listening.retention import expired_days, expired_files
from offload_platform.orchestration.partitions import partitions_of
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.resources import WarehouseResource
from offload_platform.orchestration.tables import table_key
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Feed, Settings
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.pseudonyms import check_key

COUNTRY_CHECK = "logs_are_of_the_country"
SESSIONS_CHECK = "sessions_add_up"
GROUPS_CHECK = "no_small_group_is_told"
_SECONDS_BETWEEN_LOOKS = 60
_DAYS_PER_TICK = 10


class Step(StrEnum):
    """What is made of a day, in order."""

    RAW = "raw"
    CLEAN = "clean"
    HANDOFF = "handoff"


@dataclass(frozen=True)
class Due:
    """A day of which some steps are due; `made_of` tells what they would be made of from any other time."""

    day: date
    steps: tuple[Step, ...]
    made_of: str


class Cursor(BaseModel):
    """Which published file the sensor has looked at, and whether that left anything to ask for."""

    published_ns: int = 0
    is_done: bool = False


def listening_feeds(settings: Settings) -> list[Feed]:
    """Feeds of whose logs something is made."""
    return [feed for feed in settings.feeds if feed.listening is not None]


def step_keys(feed: Feed, step: Step) -> list[dg.AssetKey]:
    """Keys of the assets that a step makes."""
    listening = listening_of(feed)
    match step:
        case Step.RAW:
            names = [f"{Tier.RAW}_{contract.table}" for contract in logs_of(feed)]
        case Step.CLEAN:
            names = [f"{Tier.CLEAN}_{listening.dataset}", SESSIONS, FIGURES]
        case Step.HANDOFF:
            names = [f"es_handoff_{listening.dataset}"]
    return [dg.AssetKey([feed.name, name]) for name in names]


def due_days(settings: Settings, feed: Feed, first: date | None = None, last: date | None = None) -> list[Due]:
    """Days of which something is due: first those of which RAW is, each in the order of days.

    Days whose RAW was deleted because it had been kept long enough stay as they are.

    Raises:
        ListeningError: what would be made cannot be told.
    """
    files = WarehouseFiles(settings.warehouse)
    assert feed.listening is not None
    days, dataset = days_of(files, feed.listening.country), listening_of(feed).dataset
    of_logs = made_of_logs(files, feed)
    told = of_logs or {}
    today = datetime.now(UTC).date()
    kept = feed.listening.clean_days
    found = []
    for day in sorted(told.keys() | set(days.of(Tier.RAW, dataset)) | set(days.of(Tier.CLEAN, dataset))):
        is_outside = (first is not None and day < first) or (last is not None and day > last) or day < feed.start
        if is_outside or (kept is not None and day < today - timedelta(days=kept)):
            continue
        due = _due(files, feed, days, day, None if of_logs is None else of_logs.get(day, NO_ROW))
        if due is not None:
            found.append(due)
    return sorted(found, key=lambda due: (Step.RAW not in due.steps, due.day))


def _due(files: WarehouseFiles, feed: Feed, days: Days, day: date, of_logs: str | None) -> Due | None:
    dataset = listening_of(feed).dataset
    has_clean = days.has(Tier.CLEAN, dataset, day)
    if days.has(Tier.RAW, dataset, day):
        known = days.facts(Tier.RAW, dataset, day).get(MADE_OF)
        is_raw_due = of_logs is not None and known != of_logs
        is_clean_due = days.facts(Tier.CLEAN, dataset, day).get(MADE_OF) != made_of_raw(feed, days, day)
    else:
        # Where CLEAN is there, RAW has been kept long enough.
        is_raw_due, is_clean_due = not has_clean, False
    if is_raw_due:
        # And nothing else yet: what is clean of a day takes RAW of those beside it.
        return Due(day, (Step.RAW,), f"{of_logs} {days.digest(Tier.RAW, dataset, day)}")
    if is_clean_due:
        return Due(day, (Step.CLEAN, Step.HANDOFF), made_of_raw(feed, days, day))
    if is_due(files, feed, days, day):
        return Due(day, (Step.HANDOFF,), days.digest(Tier.CLEAN, dataset, day))
    return None


def key_of_days(settings: Settings) -> PseudonymKey | None:
    """The key that the hashes in all that was made of logs are made with; None where nothing was made.

    Raises:
        PseudonymKeyError: it is missing, or another one.
        ListeningError: there are files of a country that no feed names, so nobody could be taken out of them.
    """
    files = WarehouseFiles(settings.warehouse)
    named = {feed.listening.country.lower() for feed in listening_feeds(settings) if feed.listening}
    for folder in countries_in(files):
        if folder.name not in named:
            raise ListeningError(
                f"{folder} is of no feed, so nobody can be erased from it. Say whose it is under `listening` of a "
                "feed, or delete it."
            )
    key: PseudonymKey | None = None
    for feed in listening_feeds(settings):
        days, dataset = _days(feed, files), listening_of(feed).dataset
        facts = [days.facts(tier, dataset, day) for tier in (Tier.RAW, Tier.CLEAN) for day in days.of(tier, dataset)]
        if facts:
            key = key_of_raw(feed)
        if key and any(said[KEY_ID] != key.key_id for said in facts):
            raise PseudonymKeyError(
                f"{feed.name}: {KEY_VARIABLE} is another key than the one that its hashes are made with. "
                "Set it to that one."
            )
    return key


def forget_persons(settings: Settings, key: PseudonymKey, ids: Collection[str]) -> list[str]:
    """Take what is of some persons, by any of their ids, out of all that was made of logs; returns what has changed.

    To be called when the logs have been published without them: what has no login is only found as what is gone from
    there. Days whose logs are gone by now lose the rows with the hash of a login.
    """
    changed = []
    files = WarehouseFiles(settings.warehouse)
    for feed in listening_feeds(settings):
        days = _days(feed, files)

        def hashes_of(domain: str) -> frozenset[str]:
            return frozenset(key.hashed(domain, value) for value in ids)

        found = set(forget_raw(feed, days, hashes_of))
        if domain := domain_of_logins(feed):
            found |= set(forget_clean(feed, days, hashes_of(domain)))
        seen: set[Due] = set()
        while due := [one for one in due_days(settings, feed) if one not in seen]:
            for one in due:
                seen.add(one)
                found.add(one.day)
                if Step.RAW in one.steps:
                    make_raw(files, feed, days, one.day, key)
                if Step.CLEAN in one.steps:
                    make_clean(feed, days, one.day)
                if Step.HANDOFF in one.steps:
                    make_handoff(files, feed, days, one.day)
        changed += [f"{feed.name} {day}" for day in sorted(found)]
    return changed


def tidy_days(settings: Settings, today: date, dry_run: bool) -> tuple[int, int]:
    """Remove the files of days that have been kept long enough: how many, and their bytes. `dry_run` only counts."""
    files = WarehouseFiles(settings.warehouse)
    number = size = 0
    for feed in listening_feeds(settings):
        days = _days(feed, files)
        handed_off = [
            file
            for day in expired_days(feed, days, today)
            for file in folder_of(files, feed).glob(f"bulk-{day}-*.ndjson.gz")
        ]
        expired = expired_files(feed, days, today)
        number += len(expired) + len(handed_off)
        size += sum(file.stat().st_size for file in (*expired, *handed_off))
        if not dry_run:
            drop_days(files, feed, days, expired_days(feed, days, today))
            with days.lock():
                for file in expired:
                    file.unlink()
    return number, size


def listening_assets(feed: Feed) -> list[dg.AssetsDefinition]:
    """The assets of a feed of whose logs something is made."""
    return [_raw(feed), _clean(feed), _handoff(feed)]


def _partitions(feed: Feed) -> dg.TimeWindowPartitionsDefinition:
    [first, *_] = logs_of(feed)
    return partitions_of(feed, first.family)


def _raw(feed: Feed) -> dg.AssetsDefinition:
    contracts = logs_of(feed)
    keys = step_keys(feed, Step.RAW)

    @dg.multi_asset(
        name=f"{feed.name}_{Tier.RAW}",
        partitions_def=_partitions(feed),
        specs=[
            dg.AssetSpec(
                key,
                deps=[table_key(feed, contract.offload_type), PUBLISHED_KEY],
                group_name=feed.name,
                owners=list(feed.owners),
                kinds={"polars", "parquet"},
                tags={"vendor": feed.vendor, "tier": Tier.RAW.value},
                description=f"What passes of `{contract.table}` by the vendor's rules: ids are keyed hashes, texts "
                "have tags. Still personal data. The only step that takes the key.",
            )
            for key, contract in zip(keys, contracts, strict=True)
        ],
        check_specs=[
            dg.AssetCheckSpec(
                COUNTRY_CHECK, asset=key, description="No row names another country; such rows do not pass."
            )
            for key in keys
        ],
    )
    def make(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        day = date.fromisoformat(context.partition_key)
        try:
            key = key_of_raw(feed)
            with warehouse.writing() as connection:
                check_key(connection, key)
            made = make_raw(warehouse.files, feed, _days(feed, warehouse.files), day, key)
        except (LandingError, ListeningError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for asset, report in zip(keys, made, strict=True):
            yield dg.MaterializeResult(
                asset_key=asset,
                metadata={
                    "dagster/partition_row_count": report.rows,
                    "rows in the log": report.rows_in,
                    "key id": key.key_id,
                },
            )
            yield _country_result(asset, report)

    return make


def _clean(feed: Feed) -> dg.AssetsDefinition:
    messages, sessions, figures = step_keys(feed, Step.CLEAN)
    assert feed.listening is not None
    smallest, raw = feed.listening.smallest_group, step_keys(feed, Step.RAW)
    told = f"What was counted on a day; groups of fewer than {smallest} are not told."
    said: list[tuple[dg.AssetKey, str, Tier, Sequence[dg.AssetKey]]] = [
        (
            messages,
            "One row for each message, with its session and kind of user.",
            Tier.CLEAN,
            raw,
        ),
        (sessions, "One row for each session, in the day of its first message.", Tier.CLEAN, [messages]),
        (
            figures,
            told,
            Tier.AGGREGATE,
            [messages],
        ),
    ]

    @dg.multi_asset(
        name=f"{feed.name}_{Tier.CLEAN}",
        partitions_def=_partitions(feed),
        specs=[
            dg.AssetSpec(
                key,
                deps=deps,
                group_name=feed.name,
                owners=list(feed.owners),
                kinds={"polars", "parquet"},
                tags={"vendor": feed.vendor, "tier": tier.value},
                description=description,
                metadata={"dagster/column_schema": _column_schema(feed)} if key == messages else {},
            )
            for key, description, tier, deps in said
        ],
        check_specs=[
            dg.AssetCheckSpec(SESSIONS_CHECK, asset=sessions, description="Messages of a session have its size."),
            dg.AssetCheckSpec(
                GROUPS_CHECK, asset=figures, description=f"Each figure is of {smallest} persons or more."
            ),
        ],
    )
    def make(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        day = date.fromisoformat(context.partition_key)
        days = _days(feed, warehouse.files)
        try:
            own, *others = make_clean(feed, days, day)
        except ListeningError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for other in others:
            # A session crosses midnight: the day beside this one was made anew.
            for key, metadata in _clean_metadata(feed, other).items():
                context.log_event(dg.AssetMaterialization(key, partition=str(other.day), metadata=metadata))
        for key, metadata in _clean_metadata(feed, own).items():
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        yield _sessions_result(sessions, feed, days, day)
        yield _groups_result(figures, days, day, smallest)

    return make


def _handoff(feed: Feed) -> dg.AssetsDefinition:
    [key] = step_keys(feed, Step.HANDOFF)
    [messages, *_] = step_keys(feed, Step.CLEAN)

    @dg.asset(
        key=key,
        partitions_def=_partitions(feed),
        deps=[messages],
        group_name=feed.name,
        owners=list(feed.owners),
        kinds={"elasticsearch"},
        tags={"vendor": feed.vendor, "tier": Tier.CLEAN.value},
        description="Files for Elasticsearch and Kibana: documents, index template, saved objects. "
        "`offload es push` sends them.",
    )
    def make(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        day = date.fromisoformat(context.partition_key)
        try:
            made = make_handoff(warehouse.files, feed, _days(feed, warehouse.files), day)
        except HandoffError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata=_handoff_metadata(made))

    return make


def listening_sensor(settings: Settings, feed: Feed) -> dg.SensorDefinition:
    """The sensor that asks for what is due of a feed's logs whenever a file was published; running from the start."""
    targets = [key for step in Step for key in step_keys(feed, step)]

    @dg.sensor(
        name=f"{feed.name}_listening",
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        asset_selection=dg.AssetSelection.assets(*targets),
        description="Asks for the steps of each day whose logs, rules or list of test users have changed.",
    )
    def listen(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        published = WarehouseFiles(settings.warehouse).published
        if not published.exists():
            return dg.SensorResult(skip_reason="nothing is published yet")
        try:
            before = Cursor.model_validate_json(context.cursor or "{}")
        except ValidationError:
            before = Cursor()
        stamp = published.stat().st_mtime_ns
        if before.is_done and before.published_ns == stamp:
            return dg.SensorResult(skip_reason="nothing was published since")
        try:
            due = due_days(settings, feed)
        except ListeningError as error:
            raise dg.Failure(str(error)) from error
        requests = [
            dg.RunRequest(
                run_key=f"{feed.name}/{one.day}/{'+'.join(one.steps)}/{one.made_of}",
                partition_key=str(one.day),
                asset_selection=[key for step in one.steps for key in step_keys(feed, step)],
            )
            for one in due[:_DAYS_PER_TICK]
        ]
        # A day changes those beside it, so it is looked at again until nothing is due.
        cursor = Cursor(published_ns=stamp, is_done=not due)
        return dg.SensorResult(
            run_requests=requests,
            cursor=cursor.model_dump_json(),
            skip_reason=None if requests else "nothing is due",
        )

    return listen


def _days(feed: Feed, files: WarehouseFiles) -> Days:
    assert feed.listening is not None
    return days_of(files, feed.listening.country)


def _column_schema(feed: Feed) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(name, str(c.dtype), description=c.description, tags={"privacy": c.facts.privacy.value})
            for name, c in listening_of(feed).columns.items()
        ]
    )


def _clean_metadata(feed: Feed, made: CleanDay) -> dict[dg.AssetKey, dict[str, Any]]:
    messages, sessions, figures = step_keys(feed, Step.CLEAN)
    return {
        messages: {"dagster/partition_row_count": made.rows, "rows in sessions": made.rows_in_sessions},
        sessions: {"dagster/partition_row_count": made.sessions},
        figures: {"dagster/partition_row_count": made.figures, "groups not told": made.suppressed},
    }


def _handoff_metadata(made: HandedOff) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": made.documents,
        "deletions": made.deletions,
        "files": ", ".join(made.files),
    }


def _country_result(asset: dg.AssetKey, report: RawDay) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=COUNTRY_CHECK,
        passed=not report.of_other_countries,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{report.of_other_countries:,} of {report.rows_in:,} rows name another country or none.",
    )


def _sessions_result(asset: dg.AssetKey, feed: Feed, days: Days, day: date) -> dg.AssetCheckResult:
    sessions, wrong = unsettled_sessions(feed, days, day)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=SESSIONS_CHECK,
        passed=not wrong,
        description=f"Of {sessions:,} sessions, {wrong:,} have another size than messages.",
    )


def _groups_result(asset: dg.AssetKey, days: Days, day: date, smallest: int) -> dg.AssetCheckResult:
    told = days.read(Tier.AGGREGATE, FIGURES, day)["persons"].drop_nulls().to_list()
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=GROUPS_CHECK,
        passed=min(told, default=smallest) >= smallest,
        description=f"{len(told):,} groups are told; the smallest has {min(told, default=0):,} persons.",
    )
