"""The check of whether a vendor is on time: it stands on what the vendor owes, and tells nothing of what is loaded.

The arrivals sensor reports it; executed by hand, it lists the feed's root and judges anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from offload_platform.contracts.contract import Cadence
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.punctuality import Punctuality, punctuality_of
from offload_platform.orchestration.deliveries import delivery_key
from offload_platform.orchestration.resources import FeedSource, source_key
from offload_platform.orchestration.tables import subscribed_contracts
from offload_platform.settings import Feed

ON_TIME_CHECK = "vendor_is_on_time"
_SHOWN = 10


def on_time_checks(feed: Feed) -> dg.AssetChecksDefinition:
    """The checks of all offload types of a feed; a type that is late warns, one that is overdue is an error."""
    contracts = subscribed_contracts(feed)

    @dg.multi_asset_check(
        name=f"{feed.name}_{ON_TIME_CHECK}",
        specs=[
            dg.AssetCheckSpec(
                ON_TIME_CHECK,
                asset=delivery_key(feed.name, contract.offload_type),
                description="The vendor has delivered what was due; whether that is loaded is told by the table.",
            )
            for contract in contracts
        ],
        can_subset=True,
        required_resource_keys={source_key(feed)},
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        source: FeedSource = getattr(context.resources, source_key(feed))
        now = datetime.now(UTC)
        try:
            listing = source.store(feed).list_objects(feed.layout.roots, identify=lambda _: False)
            deliveries = discover(feed, listing, now).deliveries
        except LandingError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for contract in contracts:
            said = on_time_evaluation(punctuality_of(feed, contract, deliveries, now))
            if said.asset_check_key in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=said.asset_key,
                    check_name=said.check_name,
                    passed=said.passed,
                    severity=said.severity,
                    description=said.description,
                    metadata=said.metadata,
                )

    return check


def changed_evaluations(
    feed: Feed, deliveries: Sequence[Delivery], told: Mapping[str, str], now: datetime, *, is_all: bool = True
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, str]]:
    """Results that differ from those told before, by offload type, and what has been told then.

    A sensor that keeps `told` in its cursor reports a change once, and not the same standing every minute. Where the
    deliveries are not all that there are, a type without any stays as it was told.
    """
    judged = [punctuality_of(feed, contract, deliveries, now) for contract in subscribed_contracts(feed)]
    judged = [p for p in judged if is_all or p.newest is not None]
    # What is due every few minutes is told of when it does not come.
    intraday = Cadence.INTRADAY in feed.cadence.values()
    due = {p.offload_type: "in turn" if intraday else f"{p.due:%Y-%m-%d %H:%M}" for p in judged}
    saying = {p.offload_type: f"{_grade(p)}, due {due[p.offload_type]}, {len(p.missing)} missing" for p in judged}
    changed = [on_time_evaluation(p) for p in judged if told.get(p.offload_type) != saying[p.offload_type]]
    return changed, dict(told) | saying


def on_time_evaluation(punctuality: Punctuality) -> dg.AssetCheckEvaluation:
    """The result of the check, as a sensor reports it among its `asset_events`."""
    p = punctuality
    newest = f"{p.newest:%Y-%m-%d %H:%M} UTC" if p.newest else "none yet"
    metadata: dict[str, Any] = {
        "vendor": p.in_words,
        "hours late": round(p.hours_late, 2),
        "newest complete delivery": newest,
        "next due": f"{p.due:%Y-%m-%d %H:%M} UTC",
        "missing deliveries": len(p.missing),
    }
    if p.missing:
        days = list(dict.fromkeys(map(str, p.missing)))
        shown = ", ".join(days[-_SHOWN:])
        metadata["missing"] = shown if len(days) <= _SHOWN else f"… {shown}"
    return dg.AssetCheckEvaluation(
        asset_key=delivery_key(p.feed, p.offload_type),
        check_name=ON_TIME_CHECK,
        passed=not p.is_late,
        severity=dg.AssetCheckSeverity.ERROR if p.is_overdue else dg.AssetCheckSeverity.WARN,
        description=_description(p),
        metadata=metadata,
    )


def _grade(p: Punctuality) -> str:
    return "overdue" if p.is_overdue else "late" if p.is_late else "on time"


def _description(p: Punctuality) -> str:
    due = f"{p.due:%Y-%m-%d %H:%M} UTC"
    if not p.is_late:
        return f"The next delivery is due by {due}." if p.newest else f"The first delivery is due by {due}."
    what = "No complete delivery was ever found" if p.newest is None else "The next delivery is not there"
    return f"{what}; it was due by {due}, {p.delay_in_words} ago. Ask the vendor; `offload doctor` shows what waits."
