"""Reads the ledger: what is loaded, and what the published file holds."""

from dataclasses import dataclass
from datetime import datetime

import duckdb


@dataclass(frozen=True)
class TableStatus:
    """What the warehouse holds of one feed's offload type; counts are of the current partitions."""

    feed: str
    offload_type: str
    partitions: int
    newest_partition: str
    newest_stamp: datetime
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    drift: int


def loaded_fingerprints(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str], str]:
    """Fingerprint of the loaded delivery by feed, offload type and delivery folder; empty before the first load."""
    if not _has_ledger(connection):
        return {}
    found = connection.execute(
        "SELECT DISTINCT feed, offload_type, delivery_folder, delivery_fingerprint FROM ops.ledger "
        "WHERE status = 'loaded'"
    ).fetchall()
    return {(feed, offload_type, folder): fingerprint for feed, offload_type, folder, fingerprint in found}


def table_status(connection: duckdb.DuckDBPyConnection) -> list[TableStatus]:
    """Status of every feed and offload type that has been loaded."""
    if not _has_ledger(connection):
        return []
    found = connection.execute(
        """
        SELECT feed, offload_type, count(DISTINCT partition), max(partition), max(delivery_stamp),
            sum(rows_in)::BIGINT, sum(rows_loaded)::BIGINT, sum(rows_quarantined)::BIGINT,
            (SELECT count(*) FROM ops.drift AS d WHERE d.feed = l.feed AND d.offload_type = l.offload_type)
        FROM ops.ledger AS l WHERE status = 'loaded' GROUP BY feed, offload_type ORDER BY feed, offload_type
        """
    ).fetchall()
    return [TableStatus(*row) for row in found]


def _has_ledger(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ops' AND table_name = 'ledger'"
        ).fetchall()
    )
