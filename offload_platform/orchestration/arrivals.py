"""A sensor for each feed: it reports what has arrived and asks for each version of a delivery to be loaded once.

It lists no more of the feed's root than may have changed, and keeps what it has seen in its cursor. The run key is made
of the delivery's content and of what is loaded, so a wiped cursor, a restart or a moved clock never loads it twice, and
a re-delivery, whatever its date, is a new version. A load that failed is not asked for again: an engineer looks at it.
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg
from pydantic import BaseModel, ValidationError

from offload_platform.contracts.deliveries import combined
from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.watch import Memory, look
from offload_platform.orchestration.deliveries import arrival
from offload_platform.orchestration.partitions import partition_key_of
from offload_platform.orchestration.punctuality import changed_evaluations
from offload_platform.orchestration.resources import FeedSource, WarehouseResource, source_key
from offload_platform.orchestration.slots import slots_of
from offload_platform.orchestration.tables import table_key
from offload_platform.settings import Feed

_SECONDS_BETWEEN_LISTINGS = 60
_REQUESTS_PER_TICK = 50


class Cursor(BaseModel):
    """What the sensor has seen: the fingerprint of the delivery that counts, by `type/partition`; and the listing.

    `standing` is what it has last said of the vendor's punctuality, by offload type.
    """

    seen: dict[str, str] = {}
    standing: dict[str, str] = {}
    listing: Memory = Memory()

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor of the tick before; an empty one where there is none or it is of another version."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()


def arrivals_name(feed: Feed) -> str:
    """Name of the arrivals sensor of a feed."""
    return f"{feed.name}_arrivals"


def arrivals_of(feed: Feed) -> dg.SensorDefinition:
    """The arrivals sensor of a feed; running from the start."""

    @dg.sensor(
        name=arrivals_name(feed),
        minimum_interval_seconds=_SECONDS_BETWEEN_LISTINGS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        # Weekly and daily assets together resolve only as a selection; a job has one partitioning.
        asset_selection=dg.AssetSelection.groups(feed.name),
        required_resource_keys={"warehouse", source_key(feed)},
        description=f"Lists `{feed.url}` and asks for each complete, new or changed delivery to be loaded once.",
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        source: FeedSource = getattr(context.resources, source_key(feed))
        warehouse: WarehouseResource = context.resources.warehouse
        cursor = Cursor.read(context.cursor)
        now = datetime.now(UTC)
        try:
            found = look(source.store(feed), cursor.listing, now, partial(partition_key_of, feed))
        except LandingError as error:
            raise dg.Failure(str(error)) from error
        discovery = discover(feed, found.listing, now)
        loaded = warehouse.loaded(discovery.deliveries)
        seen = {} if found.whole else dict(cursor.seen)
        facts: list[dg.AssetMaterialization] = []
        requests: list[dg.RunRequest] = []
        left = 0
        for slot in slots_of(feed, discovery.deliveries):
            fingerprint = slot.fingerprint
            if fingerprint is None:
                continue
            name = f"{slot.offload_type}/{slot.partition}"
            if cursor.seen.get(name) == fingerprint:
                seen[name] = fingerprint
                continue
            if len(requests) == _REQUESTS_PER_TICK:
                left += 1
                continue
            seen[name] = fingerprint
            facts.append(arrival(feed.name, combined(slot.choice.counting), slot.partition))
            if slot.to_load(feed, loaded):
                # With what is loaded in the key, a vendor may go back to bytes that were loaded before.
                before = loaded.state_of(feed.name, slot.choice.counting)
                requests.append(
                    dg.RunRequest(
                        run_key=f"{feed.name}/{name}/{fingerprint} after {before}",
                        partition_key=slot.partition,
                        asset_selection=[table_key(feed, slot.offload_type)],
                    )
                )
        waiting = {d.folder: d.incomplete_because for d in discovery.deliveries if not d.is_complete}
        waits = [f"waiting for {folder}: {because}" for folder, because in sorted(waiting.items())]
        if left:
            context.log.info(f"{left:,} more deliveries are new; they are asked for at the next ticks")
        for wait in waits:
            context.log.info(wait)
        # A listing of a part does not show the newest delivery of a feed that has been silent for long.
        standing = cursor.standing
        changes: list[dg.AssetCheckEvaluation] = []
        if found.since is not None:
            of_late = [d for d in discovery.deliveries if d.stamp >= found.since]
            changes, standing = changed_evaluations(feed, of_late, cursor.standing, now, is_all=found.whole)
        elif found.whole:
            changes, standing = changed_evaluations(feed, discovery.deliveries, cursor.standing, now)
        return dg.SensorResult(
            run_requests=requests,
            asset_events=[*facts, *changes],
            cursor=Cursor(seen=seen, standing=standing, listing=found.memory).model_dump_json(),
            skip_reason=None if requests else "; ".join(waits) or "nothing new",
        )

    return arrivals
