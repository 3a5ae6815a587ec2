"""Partitions: one for each delivery a feed is due, keyed by the first day of its window."""

from datetime import UTC, datetime, time

import dagster as dg

from offload_platform.contracts.contract import Cadence, Contract
from offload_platform.settings import Feed
from offload_platform.warehouse.commit import Partition


def partitions_of(feed: Feed, family: str) -> dg.TimeWindowPartitionsDefinition:
    """Weekly windows that begin on the weekday of the feed's start, or days; the one under way is included.

    They begin at midnight in the time zone of the source. Deliveries that come every few minutes share a day.
    """
    start = datetime.combine(feed.start, time(), feed.zone)
    match feed.cadence[family]:
        case Cadence.WEEKLY:
            # Without day_offset Dagster starts at the next Sunday, and the first delivery has no partition.
            return dg.WeeklyPartitionsDefinition(
                start, day_offset=feed.start.isoweekday() % 7, end_offset=1, timezone=feed.source_timezone
            )
        case Cadence.DAILY | Cadence.INTRADAY:
            return dg.DailyPartitionsDefinition(start, end_offset=1, timezone=feed.source_timezone)


def partition_key_of(feed: Feed, family: str, stamp: datetime) -> str | None:
    """The partition that a delivery's stamp falls into; None before the feed's start and in the future."""
    partitions = partitions_of(feed, family)
    newest = partitions.get_last_partition_window()
    if stamp.astimezone(feed.zone).date() < feed.start or newest is None or stamp >= newest.end:
        return None
    return partitions.get_partition_key_for_timestamp(stamp.timestamp())


def partition_of(feed: Feed, contract: Contract, key: str) -> Partition:
    """The slice of a table that a partition key stands for."""
    window = partitions_of(feed, contract.family).time_window_for_partition_key(key)
    return Partition(feed.name, contract, key, window.start.astimezone(UTC), window.end.astimezone(UTC))
