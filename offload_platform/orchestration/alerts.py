"""Alerts: what the event log of Dagster holds since the last message that is worth telling people about.

A sensor looks every minute, and `offload run` looks when it has ended. Both go through here and share one memory, so
that only one of them tells: how far the log has been read, and which facts have been told. The memory moves on when
the webhook has taken the message, and not before, so that a webhook that fails delays alerts and loses none.

Never told: rows, and texts that an exception made of them; whoever may read the message may not see those.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from filelock import FileLock
from pydantic import BaseModel

from offload_platform.orchestration.alert_message import Alert, message_of
from offload_platform.orchestration.arrivals import arrivals_name
from offload_platform.orchestration.checks import DRIFT_CHECK, QUARANTINE_CHECK
from offload_platform.orchestration.punctuality import ON_TIME_CHECK
from offload_platform.orchestration.webhook import post
from offload_platform.settings import AlertKind, Alerts, Settings
from offload_platform.warehouse.commit import Unbalanced
from offload_platform.warehouse.publish import PublishFailed
from offload_platform.warehouse.sql import TableDiffers

MEMORY_KEY = "offload/alerts"
"""Where the memory stands among the instance's cursors, beside those of Dagster's own daemons."""

_SECONDS_BETWEEN_LOOKS = 60
_DAY = timedelta(days=1).total_seconds()
_MONTH = timedelta(days=30).total_seconds()
_EVENTS = (
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.FRESHNESS_STATE_CHANGE,
)
_EVENTS_AT_ONCE = 5000
_READ_AGAIN = 1000
"""Events before the last one that are looked at once more: in Postgres an event may become visible after a later one.
What has been told of is remembered, so this tells nothing twice."""

_PARTITION_TAG = "dagster/partition"
_KINDS_OF_CHECKS: Mapping[str, AlertKind] = {QUARANTINE_CHECK: AlertKind.QUARANTINE, DRIFT_CHECK: AlertKind.DRIFT}
_FRESHNESS_SEVERITIES = {"WARN": dg.AssetCheckSeverity.WARN, "FAIL": dg.AssetCheckSeverity.ERROR}
_IN_OUR_WORDS = {error.__name__ for error in (dg.Failure, Unbalanced, TableDiffers, PublishFailed)}


@dataclass(frozen=True)
class Listing:
    """How listing a feed's root ended, and when (UTC): with an error in words, or with None."""

    error: str | None
    at: datetime


@dataclass(frozen=True)
class Sent:
    """How many alerts a message told of (none: no message), and whether there is more of the log to look at."""

    alerts: int
    more: bool


class Fact(BaseModel):
    """What is known of one thing that can be wrong: the event that said so last, what it said, when that was told.

    `says` is None where nothing is wrong any more. Times are seconds since 1970.
    """

    event: int
    says: str | None
    told: float


class Memory(BaseModel):
    """What has been read and told. Events from before `since` are never told of: nobody had asked for alerts."""

    read_until: int = -1
    since: float
    facts: dict[str, Fact] = {}

    def is_news(self, name: str, event: int, at: float, says: str | None) -> bool:
        """Take note of a fact; whether it is wrong in a new way, still wrong after a day, or not wrong any more."""
        before = self.facts.get(name)
        if before is None and says is None:
            return False
        if before is not None and event <= before.event:
            return False
        was_wrong = before is not None and before.says is not None
        told_lately = before is not None and before.says == says and at - before.told < _DAY
        news = was_wrong if says is None else not told_lately
        self.facts[name] = Fact(event=event, says=says, told=at if before is None or news else before.told)
        return news

    def forget(self, now: float) -> None:
        """Drop facts that can change nothing: of events that are not read again, told of long enough ago."""
        self.facts = {
            name: fact
            for name, fact in self.facts.items()
            if fact.event > self.read_until - _READ_AGAIN
            or now - fact.told < (_MONTH if name.startswith(AlertKind.LATE) and fact.says else _DAY)
        }


def alerts_sensor(settings: Settings, alerts: Alerts) -> dg.SensorDefinition:
    """The sensor that sends alerts; running from the start."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Sends one message about what is new of: {', '.join(alerts.about)}. A tick that fails has sent "
        "nothing and lost nothing.",
    )
    def alert_people(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        sent = send_news(settings, alerts, context.instance, _listings_of(settings, context.instance))
        return dg.SkipReason(f"alerts sent: {sent.alerts:,}, in one message" if sent.alerts else "nothing new")

    return alert_people


def send_news(
    settings: Settings, alerts: Alerts, instance: dg.DagsterInstance, listings: Mapping[str, Listing] | None = None
) -> Sent:
    """Look at the log from where the last look ended, and send one message where there is anything to tell.

    `listings` says of feeds how their roots were last listed; a root that cannot be listed makes no run that fails.

    Raises:
        AlertNotSent: the webhook did not take the message; the next look finds the same again.
        SettingsError: the webhook's URL is not in the environment.
    """
    settings.warehouse.mkdir(parents=True, exist_ok=True)
    # A sensor and a command that look at the same moment would both tell.
    with FileLock(settings.warehouse / "alerts.lock"):
        now = datetime.now(UTC).timestamp()
        memory = _memory_of(instance, now)
        before = memory.model_dump_json()
        events, read_until, more = _events_after(instance, memory.read_until)
        news = _News(instance, alerts, memory)
        told = [news.of(number, event) for number, event in sorted(events.items())]
        told += [news.of_listing(feed, listing) for feed, listing in (listings or {}).items()]
        found = [alert for alert in told if alert is not None and alert.kind in alerts.about]
        memory.read_until = read_until
        memory.forget(now)
        if found:
            post(alerts.url(), message_of(found))
        if (after := memory.model_dump_json()) != before:
            instance.daemon_cursor_storage.set_cursor_values({MEMORY_KEY: after})
        return Sent(len(found), more)


def _listings_of(settings: Settings, instance: dg.DagsterInstance) -> dict[str, Listing]:
    """How the arrivals sensors of the feeds fared when they looked last."""
    feeds = {arrivals_name(feed): feed.name for feed in settings.feeds}
    listings: dict[str, Listing] = {}
    for state in instance.all_instigator_state():
        if state.name in feeds:
            # The newest tick may be one that has only begun.
            for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2):
                if tick.is_completed:
                    error = _in_words(tick.error) if tick.is_failure and tick.error is not None else None
                    listings[feeds[state.name]] = Listing(error, datetime.fromtimestamp(tick.timestamp, UTC))
                    break
    return listings


def _memory_of(instance: dg.DagsterInstance, now: float) -> Memory:
    kept = instance.daemon_cursor_storage.get_cursor_values({MEMORY_KEY}).get(MEMORY_KEY)
    return Memory.model_validate_json(kept) if kept else Memory(since=now - _DAY)


def _events_after(instance: dg.DagsterInstance, read_until: int) -> tuple[dict[int, dg.EventLogEntry], int, bool]:
    """Events by their number in the log, up to which number they are all there, and whether more follow."""
    log = instance.event_log_storage
    newest = log.get_maximum_record_id() or -1
    # Numbers are given out again where the newest events have been deleted.
    start = max(min(read_until, newest) - _READ_AGAIN, -1)
    events: dict[int, dg.EventLogEntry] = {}
    complete_until = newest
    for kind in _EVENTS:
        page = log.get_logs_for_all_runs_by_log_id(start, kind, limit=_EVENTS_AT_ONCE)
        if len(page) == _EVENTS_AT_ONCE:
            complete_until = min(complete_until, max(page))
        events |= page
    return {n: e for n, e in events.items() if n <= complete_until}, complete_until, complete_until < newest


class _News:
    """Finds out which events are news, and puts them into words."""

    def __init__(self, instance: dg.DagsterInstance, alerts: Alerts, memory: Memory) -> None:
        self._instance = instance
        self._alerts = alerts
        self._memory = memory

    def of(self, number: int, entry: dg.EventLogEntry) -> Alert | None:
        """The alert that an event is worth, if any."""
        event = entry.dagster_event
        if event is None or entry.timestamp < self._memory.since:
            return None
        match event.event_type:
            case dg.DagsterEventType.RUN_FAILURE:
                return self._of_failure(number, entry, event)
            case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                return self._of_check(number, entry, event.asset_check_evaluation_data)
        return self._of_freshness(number, entry, event.asset_freshness_state_change_data)

    def of_listing(self, feed: str, listing: Listing) -> Alert | None:
        """The alert that a feed is worth whose root cannot be listed, or can be again."""
        at = listing.at.timestamp()
        says = None if listing.error is None else "unlisted"
        if not self._memory.is_news(f"{AlertKind.FAILED} listing {feed}", round(at * 1000), at, says):
            return None
        if listing.error is None:
            return Alert(AlertKind.FAILED, feed, "its root can be listed again.", None)
        return Alert(AlertKind.FAILED, feed, listing.error, dg.AssetCheckSeverity.ERROR)

    def _of_failure(self, number: int, entry: dg.EventLogEntry, event: dg.DagsterEvent) -> Alert | None:
        run = self._instance.get_run_by_id(entry.run_id)
        keys = sorted(run.asset_selection or ()) if run else []
        subject = ", ".join(_subject(key) for key in keys) or event.job_name
        partition = run.tags.get(_PARTITION_TAG) if run else None
        why = self._why_failed(entry.run_id, event)
        name = f"{AlertKind.FAILED} {subject} {partition}"
        told = self._memory.facts.get(name)
        if run is not None and told is not None and self._has_succeeded(run, since=told.told):
            self._memory.facts[name] = told.model_copy(update={"says": None})
        if not self._memory.is_news(name, number, entry.timestamp, _digest(why)):
            return None
        link = self._link(f"runs/{entry.run_id}")
        return Alert(AlertKind.FAILED, subject, why, dg.AssetCheckSeverity.ERROR, partition, link)

    def _has_succeeded(self, failed: dg.DagsterRun, since: float) -> bool:
        """Whether the same was run with success in between, so that it fails anew."""
        partition = failed.tags.get(_PARTITION_TAG)
        succeeded = dg.RunsFilter(
            job_name=failed.job_name,
            statuses=[dg.DagsterRunStatus.SUCCESS],
            tags={_PARTITION_TAG: partition} if partition else {},
            updated_after=datetime.fromtimestamp(since, UTC),
        )
        return any(run.asset_selection == failed.asset_selection for run in self._instance.get_runs(succeeded))

    def _why_failed(self, run_id: str, event: dg.DagsterEvent) -> str:
        for entry in self._instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            assert entry.dagster_event is not None
            data = entry.dagster_event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error is not None:
                return _in_words(data.error)
        return event.message or "The log of the run says why."

    def _of_check(self, number: int, entry: dg.EventLogEntry, check: dg.AssetCheckEvaluation) -> Alert | None:
        severity = None if check.passed else check.severity
        said = (check.description or "").rstrip()
        link = self._link(f"runs/{entry.run_id}") if not _is_runless(entry) else self._asset_link(check.asset_key)
        if check.check_name == ON_TIME_CHECK and _is_delivery(check.asset_key):
            source = f"{check.check_name} {check.partition}"
            return self._of_lateness(
                number, entry, check.asset_key, source, severity, said or "late", check.partition, link
            )
        name = f"{AlertKind.CHECK} {check.asset_key.to_user_string()} {check.check_name} {check.partition}"
        says = None if check.passed else _digest(check.severity.value, check.description, _sorted(check.metadata))
        if not self._memory.is_news(name, number, entry.timestamp, says) or severity is None:
            return None
        kind = _KINDS_OF_CHECKS.get(check.check_name, AlertKind.CHECK)
        if kind is AlertKind.CHECK:
            said = " ".join(filter(None, (f"{check.check_name} failed.", said, _figures(check))))
        return Alert(kind, _subject(check.asset_key), said, severity, check.partition, link)

    def _of_freshness(self, number: int, entry: dg.EventLogEntry, change: Any) -> Alert | None:
        state = change.new_state.value
        if not _is_delivery(change.key) or state not in ("PASS", "WARN", "FAIL"):
            return None
        newest = self._instance.get_latest_materialization_event(change.key)
        arrived = (
            f"the newest delivery ({newest.asset_materialization.partition}) arrived on "
            f"{datetime.fromtimestamp(newest.timestamp, UTC):%Y-%m-%d %H:%M} UTC."
            if newest is not None and newest.asset_materialization is not None
            else "no delivery has arrived."
        )
        said = {"PASS": "on time again", "WARN": "late", "FAIL": "overdue"}[state]
        return self._of_lateness(
            number,
            entry,
            change.key,
            "freshness",
            _FRESHNESS_SEVERITIES.get(state),
            f"{said}: {arrived}",
            None,
            self._asset_link(change.key),
        )

    def _of_lateness(
        self,
        number: int,
        entry: dg.EventLogEntry,
        key: dg.AssetKey,
        source: str,
        severity: dg.AssetCheckSeverity | None,
        says: str,
        partition: str | None,
        link: str | None,
    ) -> Alert | None:
        """Freshness and check watch the same feed; what the one has told, the other does not tell again."""
        name = f"{AlertKind.LATE} {key.to_user_string()} "
        # A check says other figures each time it looks; what is told again is that it has become worse.
        if not self._memory.is_news(name + source, number, entry.timestamp, severity and severity.value):
            return None
        others = [f for n, f in self._memory.facts.items() if n.startswith(name) and n != name + source and f.says]
        if severity is None:
            told_already = bool(others)
        else:
            as_bad = {severity.value, dg.AssetCheckSeverity.ERROR.value}
            told_already = any(o.says in as_bad and entry.timestamp - o.told < _DAY for o in others)
        if told_already:
            return None
        return Alert(AlertKind.LATE, _subject(key), says, severity, partition, link)

    def _asset_link(self, key: dg.AssetKey) -> str | None:
        return self._link("assets/" + "/".join(key.path))

    def _link(self, path: str) -> str | None:
        return f"{self._alerts.ui_url}/{path}" if self._alerts.ui_url else None


def _subject(key: dg.AssetKey) -> str:
    return " ".join(key.path[:-1] if _is_delivery(key) else key.path)


def _is_delivery(key: dg.AssetKey) -> bool:
    return len(key.path) == 3 and key.path[-1] == "delivery"


def _is_runless(entry: dg.EventLogEntry) -> bool:
    return not entry.run_id


def _in_words(error: Any) -> str:
    """What a recorded exception says, where it is one of ours; else its name alone, for its words may hold a row."""
    while error.cls_name not in _IN_OUR_WORDS and error.cause is not None:
        error = error.cause
    if error.cls_name in _IN_OUR_WORDS:
        return str(error.message).partition(": ")[2].strip()
    return f"{error.cls_name}; the log says more."


def _figures(check: dg.AssetCheckEvaluation) -> str:
    """Numbers that a check gives as metadata; its texts and tables may hold rows."""
    numbers = {
        name: value.value
        for name, value in check.metadata.items()
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue) and value.value is not None
    }
    said = [f"{name} {n:,}" if isinstance(n, int) else f"{name} {n:.4g}" for name, n in numbers.items()]
    return f"({', '.join(said)})" if said else ""


def _digest(*said: object) -> str:
    """Changes when anything changes that was said."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _sorted(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in metadata.items())
