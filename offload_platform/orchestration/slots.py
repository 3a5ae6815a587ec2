"""Deliveries sorted into the partitions they compete for."""

from collections.abc import Iterable
from dataclasses import dataclass

from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import Choice, choose
from offload_platform.orchestration.partitions import partition_key_of
from offload_platform.settings import Feed


@dataclass(frozen=True)
class Slot:
    """One partition of one offload type, and which of its deliveries counts."""

    offload_type: str
    partition: str
    choice: Choice


def slots_of(feed: Feed, deliveries: Iterable[Delivery]) -> list[Slot]:
    """Slots in the order of partitions; deliveries from before the feed's start have none."""
    found: dict[tuple[str, str], list[Delivery]] = {}
    for delivery in deliveries:
        key = partition_key_of(feed, delivery.family, delivery.stamp)
        if key is not None:
            found.setdefault((key, delivery.offload_type), []).append(delivery)
    return [Slot(t, key, choose(competing)) for (key, t), competing in sorted(found.items(), key=lambda f: f[0][0])]
