"""Deletes rows as delivered that have been kept long enough, with their quarantine and drift, and versions that ended.

What holds now stays, however old it is.

The ledger keeps its lines, as expired, so that an old delivery that still lies in the root is not taken for a new one.
Not here: giving the space back (`compact.py`), and what is not the warehouse's (`orchestration/housekeeping.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from offload_platform.contracts.contract import Content, Contract
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.ledger import has_ledger
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.storage import forget_rows, rows_table, sightings_table, versions_table
from offload_platform.warehouse.transactions import transaction

_REASON = "rows were deleted by retention: stamped before {:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class ExpiredDelivery:
    """A delivery whose rows have been kept long enough, and how many there are: loaded, and in quarantine."""

    feed: str
    vendor: str
    offload_type: str
    partition: str
    stamp: datetime
    rows: int
    quarantined: int


def find_expired(connection: duckdb.DuckDBPyConnection, before: datetime) -> list[ExpiredDelivery]:
    """Loaded deliveries stamped before a moment, oldest first.

    Left out are the newest partition of each feed and offload type, whatever its age, and registers, whose history
    needs every version.
    """
    if not has_ledger(connection):
        return []
    found = connection.execute(
        """
        WITH deliveries AS (
            SELECT feed, vendor, offload_type, "partition", delivery_stamp,
                coalesce(sum(rows_loaded), 0)::BIGINT AS rows, coalesce(sum(rows_quarantined), 0)::BIGINT AS quarantined
            FROM ops.ledger WHERE status = 'loaded' GROUP BY ALL
        )
        SELECT feed, vendor, offload_type, "partition", delivery_stamp, rows, quarantined FROM deliveries
        QUALIFY delivery_stamp < ?
            AND "partition" <> arg_max("partition", delivery_stamp) OVER (PARTITION BY feed, vendor, offload_type)
        ORDER BY delivery_stamp, feed, offload_type
        """,
        [before],
    ).fetchall()
    contracts = _deletable()
    return [d for row in found if ((d := ExpiredDelivery(*row)).vendor, d.offload_type) in contracts]


def delete_expired(
    connection: duckdb.DuckDBPyConnection, before: datetime, feeds: Iterable[Feed] = ()
) -> list[ExpiredDelivery]:
    """Delete what `find_expired` finds; all of it or nothing. What was deleted is returned.

    Everything is merged before, so that what the rows say is known when they are gone; `feeds` say from when on a
    delivery is held.
    """
    merge(connection, feeds)
    contracts = _deletable()
    with transaction(connection):
        expired = find_expired(connection, before)
        for delivery in expired:
            _delete(connection, contracts[delivery.vendor, delivery.offload_type], delivery)
        for feed, vendor, offload_type in dict.fromkeys((d.feed, d.vendor, d.offload_type) for d in expired):
            contract = contracts[vendor, offload_type]
            connection.execute(
                f"DELETE FROM {versions_table(contract)} "
                "WHERE (known_to <= ? OR (change_kind = 'deleted' AND known_from <= ?)) "
                f"AND row_no IN (SELECT row_no FROM {rows_table(contract)} WHERE feed = ?)",
                [before, before, feed],
            )
            forget_rows(connection, feed, contract)
        _mark(connection, expired, _REASON.format(before))
    return expired


def _delete(connection: duckdb.DuckDBPyConnection, contract: Contract, delivery: ExpiredDelivery) -> None:
    of_delivery = "WHERE feed = ? AND delivery_stamp = ? AND vendor = ? AND offload_type = ?"
    account = [delivery.feed, delivery.stamp, delivery.vendor, delivery.offload_type]
    connection.execute(
        f"DELETE FROM {sightings_table(contract)} WHERE part_no IN (SELECT part_no FROM store.parts {of_delivery})",
        account,
    )
    for table in ("store.subjects", "ops.quarantine", "ops.drift"):
        connection.execute(f"DELETE FROM {table} {of_delivery}", account)


def _mark(connection: duckdb.DuckDBPyConnection, expired: Sequence[ExpiredDelivery], reason: str) -> None:
    for delivery in expired:
        connection.execute(
            "UPDATE ops.ledger SET status = 'expired', status_reason = ? WHERE status = 'loaded' AND feed = ? "
            "AND delivery_stamp = ? AND vendor = ? AND offload_type = ?",
            [reason, delivery.feed, delivery.stamp, delivery.vendor, delivery.offload_type],
        )


def _deletable() -> dict[tuple[str, str], Contract]:
    """Contracts whose rows may be deleted, by vendor and offload type."""
    return {
        (vendor, offload_type): contract
        for vendor in vendor_names()
        for offload_type, contract in vendor_named(vendor).contracts.items()
        if contract.content is not Content.REGISTER
    }
