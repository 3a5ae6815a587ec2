"""Deliveries sorted into the partitions they compete for, and what is to be done about each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from offload_platform.contracts.deliveries import Delivery, combined
from offload_platform.landing.deliveries import Choice, choose
from offload_platform.orchestration.partitions import partition_key_of
from offload_platform.settings import Feed
from offload_platform.warehouse.ledger import LoadedDeliveries


@dataclass(frozen=True)
class Slot:
    """One partition of one offload type, and which of its deliveries counts."""

    offload_type: str
    partition: str
    choice: Choice

    @property
    def fingerprint(self) -> str | None:
        """Identity of all that counts; None where nothing does."""
        return combined(self.choice.counting).fingerprint if self.choice.counting else None

    def to_load(self, feed: Feed, loaded: LoadedDeliveries) -> tuple[Delivery, ...]:
        """The deliveries that the table should hold and does not: one at most, unless deliveries add up."""
        if self.choice.earlier:
            counting = self.choice.counting
            return tuple(d for d in counting if loaded.fingerprint_of(feed.name, d) != d.fingerprint)
        version = self._version_to_load(feed, loaded)
        return (version,) if version else ()

    def _version_to_load(self, feed: Feed, loaded: LoadedDeliveries) -> Delivery | None:
        """The delivery that the table should hold and does not.

        None also where a newer delivery is loaded that does not count as complete any more, because it has just been
        touched: to load the older one would take the table back in time.
        """
        chosen = self.choice.chosen
        if chosen is None or loaded.fingerprint_of(feed.name, chosen) == chosen.fingerprint:
            return None
        newer = (d for d in self.choice.incomplete if d.stamp > chosen.stamp)
        if any(loaded.fingerprint_of(feed.name, d) for d in newer):
            return None
        return chosen


def slots_of(feed: Feed, deliveries: Iterable[Delivery]) -> list[Slot]:
    """Slots in the order of partitions; deliveries from before the feed's start or from the future have none."""
    found: dict[tuple[str, str], list[Delivery]] = {}
    # Partitions begin at midnight; to ask for each of many deliveries of a day costs more than all the rest.
    keys: dict[tuple[str, date], str | None] = {}
    for delivery in deliveries:
        day = (delivery.family, delivery.stamp.astimezone(feed.zone).date())
        if day not in keys:
            keys[day] = partition_key_of(feed, delivery.family, delivery.stamp)
        key = keys[day]
        if key is not None:
            found.setdefault((key, delivery.offload_type), []).append(delivery)
    return [
        Slot(offload_type, key, choose(competing, add_up=feed.adds_up(competing[0].family)))
        for (key, offload_type), competing in sorted(found.items(), key=lambda f: f[0][0])
    ]
