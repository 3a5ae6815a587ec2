"""What a vendor owes, as an external asset beside each table: deliveries that have arrived, and how fresh they are.

Freshness is kept here and not on the table: Dagster looks at the newest materialisation of any partition, so that any
backfill of an old week would make a late feed look fresh.
"""

from datetime import timedelta

import dagster as dg

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import settle_period
from offload_platform.orchestration.partitions import partitions_of
from offload_platform.settings import Feed


def delivery_key(feed_name: str, offload_type: str) -> dg.AssetKey:
    """Asset key of what a feed owes of one offload type."""
    return dg.AssetKey([feed_name, offload_type, "delivery"])


def owed_delivery(feed: Feed, contract: Contract) -> dg.AssetSpec:
    """The external asset that a feed's arrivals sensor materialises, and nothing else does."""
    deadline = feed.deadline(contract.family)
    period = feed.period(contract.family) + settle_period(feed, contract.family)
    late, overdue = (period + timedelta(hours=hours) for hours in (deadline.late_hours, deadline.overdue_hours))
    return dg.AssetSpec(
        delivery_key(feed.name, contract.offload_type),
        partitions_def=partitions_of(feed, contract.family),
        group_name=feed.name,
        owners=list(feed.owners),
        kinds={"s3" if feed.url.startswith("s3://") else "file"},
        tags={"vendor": feed.vendor, "family": contract.family, "cadence": feed.cadence[contract.family].value},
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=overdue, warn_window=late),
        description=f"Complete deliveries of {contract.offload_type} that {feed.vendor} has put below `{feed.url}`. "
        "Freshness that warns or fails means that the vendor is late; whether they are loaded is told by the table.",
    )


def arrival(feed_name: str, delivery: Delivery, partition: str) -> dg.AssetMaterialization:
    """The fact that a complete delivery, or a new version of one, has arrived."""
    return dg.AssetMaterialization(
        delivery_key(feed_name, delivery.offload_type),
        partition=partition,
        metadata={
            "delivery": delivery.folder,
            "stamp": delivery.stamp.isoformat(),
            "parts": len(delivery.parts),
            "stored size (MB)": round(delivery.size / 1e6, 3),
        },
        tags={"dagster/data_version": delivery.fingerprint},
    )
