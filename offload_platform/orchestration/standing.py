"""How each offload type of a feed stands: whether the vendor has delivered, and, apart from that, what is loaded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_platform.landing.punctuality import Punctuality, punctuality_of
from offload_platform.orchestration.run import Plan
from offload_platform.orchestration.tables import subscribed_contracts
from offload_platform.settings import Feed
from offload_platform.warehouse.ledger import TableStatus


@dataclass(frozen=True)
class Standing:
    """One offload type of a feed.

    `table` is what is published of it; None before the first load. `newest_event_at` is the newest event in it, where
    the type tells of events. `vendor` and the counts of partitions `to_load` and of `incomplete` deliveries are None
    where the feed's root could not be listed.
    """

    feed: str
    offload_type: str
    table: TableStatus | None
    newest_event_at: datetime | None
    vendor: Punctuality | None
    to_load: int | None
    incomplete: int | None

    @property
    def load_in_words(self) -> str:
        """What there is to load, as `up to date`, `2 to load` or `1 incomplete`."""
        if self.to_load is None or self.incomplete is None:
            return "not known"
        waiting = [f"{self.to_load:,} to load"] if self.to_load else []
        waiting += [f"{self.incomplete:,} incomplete"] if self.incomplete else []
        return ", ".join(waiting) or ("up to date" if self.table else "nothing there")

    @property
    def said(self) -> dict[str, Any]:
        """All of it, for JSON: the three clocks are `newest_event_at`, `newest_delivery_at` and `last_load_at`."""
        table, vendor = self.table, self.vendor
        return {
            "feed": self.feed,
            "offload_type": self.offload_type,
            "partitions": table.partitions if table else 0,
            "newest_partition": table.newest_partition if table else None,
            "newest_stamp": table.newest_stamp if table else None,
            "rows_in": table.rows_in if table else 0,
            "rows_loaded": table.rows_loaded if table else 0,
            "rows_quarantined": table.rows_quarantined if table else 0,
            "drift": table.drift if table else 0,
            "to_load": self.to_load,
            "incomplete": self.incomplete,
            "vendor": vendor
            and {
                "state": vendor.state,
                "hours_late": round(vendor.hours_late, 2),
                "next_due": vendor.due,
                "missing": vendor.missing,
            },
            "newest_event_at": self.newest_event_at,
            "newest_delivery_at": vendor.newest if vendor else None,
            "last_load_at": table.last_load_at if table else None,
        }


def standings(
    feeds: Sequence[Feed],
    plan: Plan,
    tables: Sequence[TableStatus],
    newest_events: Mapping[tuple[str, str], datetime],
    now: datetime,
) -> list[Standing]:
    """How every subscribed offload type stands, by what was listed for a plan and what is published.

    `newest_events` are by feed and offload type.
    """
    loaded = {(t.feed, t.offload_type): t for t in tables}
    to_load = Counter((load.feed.name, load.offload_type) for load in plan.loads)
    found = []
    for feed in feeds:
        discovery = plan.discoveries.get(feed.name)
        for contract in subscribed_contracts(feed):
            name = (feed.name, contract.offload_type)
            deliveries = discovery.of_type(contract.offload_type) if discovery else ()
            found.append(
                Standing(
                    *name,
                    table=loaded.get(name),
                    newest_event_at=newest_events.get(name),
                    vendor=punctuality_of(feed, contract, deliveries, now) if discovery else None,
                    to_load=to_load[name] if discovery else None,
                    incomplete=sum(not d.is_complete for d in deliveries) if discovery else None,
                )
            )
    return found
