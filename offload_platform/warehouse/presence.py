"""Who was present in which snapshot of events, and how far back it looked: tells "nothing" from "nobody looked"."""

from collections.abc import Iterable, Mapping

from offload_platform.vendors import Vendor
from offload_platform.warehouse.sql import literal

PRESENCE = "history.presence"
PRESENCE_COMMENT = (
    "Users present in a snapshot of events: with a row of a type that shows that somebody was active, such as a stay "
    "or a movement. One row for each user and snapshot, of the deliveries that are kept."
)
PRESENCE_COLUMNS: Mapping[str, tuple[str, str]] = {
    "feed": ("VARCHAR", "Feed that delivered the row, as named in the configuration."),
    "user_id": ("VARCHAR", "The user, as the vendor names people. Privacy: identifier."),
    "delivery_stamp": (
        "TIMESTAMPTZ",
        "Time in the name of the delivery's folder (UTC): the start of the vendor's job.",
    ),
    "window_from": ("TIMESTAMPTZ", "Begin of what the snapshot tells of (UTC): its stamp less the vendor's window."),
}


def presence_sql(vendors: Iterable[Vendor], subjects: str) -> str:
    """SQL of the rows, over the table that says which delivery has rows of whom."""
    witnesses = {
        (vendor.name, witness, contract.window.reach)
        for vendor in vendors
        for contract in vendor.contracts.values()
        if contract.window and contract.window.reach
        for witness in contract.window.witnesses
    }
    # The condition on nothing is for vendors without such types.
    rows = "".join(
        f", ({literal(vendor)}, {literal(offload_type)}, INTERVAL {reach.total_seconds():.0f} SECOND)"
        for vendor, offload_type, reach in sorted(witnesses)
    )
    return f"""
        SELECT feed, subject AS user_id, delivery_stamp, min(delivery_stamp - reach) AS window_from
        FROM {subjects} JOIN (VALUES (NULL, NULL, NULL::INTERVAL){rows}) AS witness(vendor, offload_type, reach)
            USING (vendor, offload_type)
        GROUP BY feed, subject, delivery_stamp
    """
