"""Reads the ledger: what is loaded, and what the published file holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.warehouse.ops import OF_TYPE
from offload_platform.warehouse.sql import quoted
from offload_platform.warehouse.views import current_view, has_views


@dataclass(frozen=True)
class TableStatus:
    """What the warehouse holds of one feed's offload type; counts are of the current partitions.

    `last_load_at` is when the last load was committed.
    """

    feed: str
    offload_type: str
    partitions: int
    newest_partition: str
    newest_stamp: datetime
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    drift: int
    last_load_at: datetime


class LoadedDeliveries:
    """Which version of which delivery is loaded."""

    def __init__(self, fingerprints: Mapping[tuple[str, str, str, datetime], str]) -> None:
        """Of fingerprints by feed, offload type, delivery folder and stamp."""
        self._fingerprints = fingerprints

    def state_of(self, feed: str, deliveries: Sequence[Delivery]) -> str:
        """Tells what is loaded of some deliveries from any other state of them; `nothing` where nothing is."""
        known = [fingerprint for d in deliveries if (fingerprint := self.fingerprint_of(feed, d))]
        return (
            known[0] if len(known) == 1 else sha256(" ".join(known).encode()).hexdigest()[:16] if known else "nothing"
        )

    def fingerprint_of(self, feed: str, delivery: Delivery) -> str | None:
        """Fingerprint of the version that is loaded; None when none is."""
        return self._fingerprints.get((feed, delivery.offload_type, delivery.folder, delivery.stamp))


def loaded_deliveries(
    connection: duckdb.DuckDBPyConnection, deliveries: Iterable[Delivery] | None = None
) -> LoadedDeliveries:
    """Which deliveries the ledger says are loaded, or were until retention deleted them; none before the first load.

    Of feeds that deliver every few minutes there are many; it is enough to ask for the stamps of some `deliveries`.
    """
    if not has_ledger(connection):
        return LoadedDeliveries({})
    among, stamps = "", list[list[datetime]]()
    if deliveries is not None:
        among, stamps = "AND list_contains(?, delivery_stamp)", [list({d.stamp for d in deliveries})]
    found = connection.execute(
        "SELECT DISTINCT feed, offload_type, delivery_folder, delivery_stamp, delivery_fingerprint FROM ops.ledger "
        f"WHERE status IN ('loaded', 'expired') {among}",
        stamps,
    ).fetchall()
    return LoadedDeliveries({tuple(identity): fingerprint for *identity, fingerprint in found})


def not_loaded(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    deliveries: Sequence[Delivery],
    contract_version: str,
) -> list[Delivery]:
    """Those deliveries of which the ledger does not have this very version, read in this very way."""
    if not has_ledger(connection):
        return list(deliveries)
    found = connection.execute(
        "SELECT DISTINCT delivery_stamp, delivery_fingerprint FROM ops.ledger "
        f"WHERE {OF_TYPE} AND list_contains(?, delivery_stamp) "
        "AND status = 'loaded' AND contract_version = ?",
        [feed, contract.vendor, contract.offload_type, [d.stamp for d in deliveries], contract_version],
    ).fetchall()
    return [d for d in deliveries if (d.stamp, d.fingerprint) not in set(found)]


def table_status(connection: duckdb.DuckDBPyConnection) -> list[TableStatus]:
    """Status of every feed and offload type that has been loaded."""
    if not has_ledger(connection):
        return []
    found = connection.execute(
        """
        SELECT feed, offload_type, count(DISTINCT partition), max(partition), max(delivery_stamp),
            sum(rows_in)::BIGINT, sum(rows_loaded)::BIGINT, sum(rows_quarantined)::BIGINT,
            (SELECT count(*) FROM ops.drift AS d WHERE d.feed = l.feed AND d.offload_type = l.offload_type),
            (SELECT max(committed_at) FROM ops.receipts AS r WHERE r.feed = l.feed AND r.offload_type = l.offload_type)
        FROM ops.ledger AS l WHERE status = 'loaded' GROUP BY feed, offload_type ORDER BY feed, offload_type
        """
    ).fetchall()
    return [TableStatus(*row) for row in found]


def newest_events(
    connection: duckdb.DuckDBPyConnection, contracts: Iterable[Contract]
) -> dict[tuple[str, str], datetime]:
    """When the newest loaded event happened, by feed and offload type, for the types that tell of events."""
    found = {}
    for contract in contracts:
        if contract.event_time is not None and has_views(connection, contract):
            newest = connection.execute(
                f"SELECT feed, max({quoted(contract.event_time)}) FROM {current_view(contract)} GROUP BY feed"
            ).fetchall()
            found.update({(feed, contract.offload_type): at for feed, at in newest if at is not None})
    return found


def has_ledger(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything was ever loaded."""
    return bool(
        connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ops' AND table_name = 'ledger'"
        ).fetchall()
    )
