"""A sensor for each feed: it reports what has arrived and asks for each version of a delivery to be loaded once.

The run key is made of the delivery's content and of what is loaded, so a wiped cursor, a restart or a moved clock never
loads it twice, and a re-delivery, whatever its date, is a new version. A load that failed is not asked for again: an
engineer looks at it.
"""

import json

import dagster as dg

from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import LandingError
from offload_platform.orchestration.deliveries import arrival
from offload_platform.orchestration.resources import FeedSource, WarehouseResource, source_key
from offload_platform.orchestration.slots import slots_of
from offload_platform.orchestration.tables import table_key
from offload_platform.settings import Feed

_SECONDS_BETWEEN_LISTINGS = 60


def arrivals_of(feed: Feed) -> dg.SensorDefinition:
    """The arrivals sensor of a feed; running from the start."""

    @dg.sensor(
        name=f"{feed.name}_arrivals",
        minimum_interval_seconds=_SECONDS_BETWEEN_LISTINGS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        # Weekly and daily assets together resolve only as a selection; a job has one partitioning.
        asset_selection=dg.AssetSelection.groups(feed.name).materializable(),
        required_resource_keys={"warehouse", source_key(feed)},
        description=f"Lists `{feed.url}` and asks for each complete, new or changed delivery to be loaded once.",
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        source: FeedSource = getattr(context.resources, source_key(feed))
        warehouse: WarehouseResource = context.resources.warehouse
        try:
            discovery = discover(feed, source.store(feed).list_objects())
        except LandingError as error:
            raise dg.Failure(str(error)) from error
        loaded = warehouse.loaded()
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        now: dict[str, str] = {}
        facts, requests = [], []
        for slot in slots_of(feed, discovery.deliveries):
            delivery = slot.choice.chosen
            if delivery is None:
                continue
            name = f"{slot.offload_type}/{slot.partition}"
            now[name] = delivery.fingerprint
            if seen.get(name) == delivery.fingerprint:
                continue
            facts.append(arrival(feed.name, delivery, slot.partition))
            if slot.version_to_load(feed, loaded) is not None:
                # With what is loaded in the key, a vendor may go back to bytes that were loaded before.
                before = loaded.fingerprint_of(feed.name, delivery) or "nothing"
                requests.append(
                    dg.RunRequest(
                        run_key=f"{feed.name}/{name}/{delivery.fingerprint} after {before}",
                        partition_key=slot.partition,
                        asset_selection=[table_key(feed, slot.offload_type)],
                    )
                )
        waiting = {d.folder: d.incomplete_because for d in discovery.deliveries if not d.is_complete}
        waits = "; ".join(f"waiting for {folder}: {because}" for folder, because in sorted(waiting.items()))
        return dg.SensorResult(
            run_requests=requests,
            asset_events=facts,
            cursor=json.dumps(now),
            skip_reason=None if requests else waits or "nothing new",
        )

    return arrivals
