"""What the published file knows of the deliveries of one offload type of a feed, by stamp."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.warehouse.holds import Withdrawals
from offload_platform.warehouse.ledger import has_ledger
from offload_platform.warehouse.ops import ops_rows


@dataclass(frozen=True)
class LoadedDelivery:
    """A loaded delivery; `changed_at` is when the store last saw a part of it change, if that is known."""

    folder: str
    partition: str
    parts: int
    bytes: int
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    changed_at: datetime | None


@dataclass(frozen=True)
class Account:
    """All that is known.

    `incomplete` are stamps of incomplete deliveries by folder. `arrivals` say when the first version that was loaded
    had arrived; `versions` count the versions of each partition that were ever loaded.
    """

    loaded: Mapping[datetime, LoadedDelivery] = field(default_factory=dict)
    superseded: frozenset[datetime] = frozenset()
    incomplete: Mapping[str, datetime] = field(default_factory=dict)
    arrivals: Mapping[datetime, datetime] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    drift: Mapping[datetime, int] = field(default_factory=dict)
    withdrawals: Mapping[datetime, Withdrawals] = field(default_factory=dict)


def account_of(connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract) -> Account:
    """Read the account of one offload type of a feed."""
    if not has_ledger(connection):
        return Account()

    def rows(table: str, columns: str, condition: str, groups: str = "") -> list[tuple]:  # type: ignore[type-arg]
        return connection.execute(
            f"SELECT {columns} FROM ({ops_rows(connection, table)}) "
            f"WHERE feed = ? AND offload_type = ? AND {condition} {groups}",
            [feed, contract.offload_type],
        ).fetchall()

    # The marker of an empty delivery is no part; it alone has no checksum.
    loaded = rows(
        "ledger",
        "delivery_stamp, delivery_folder, partition, count(checksum), sum(size_bytes)::BIGINT, sum(rows_in)::BIGINT, "
        "sum(rows_loaded)::BIGINT, sum(rows_quarantined)::BIGINT, max(last_modified)",
        "status IN ('loaded', 'expired')",
        "GROUP BY delivery_stamp, delivery_folder, partition",
    )
    withdrawals = rows("withdrawals", "delivery_stamp, compared, withdrawn", "true")
    return Account(
        loaded={stamp: LoadedDelivery(*said) for stamp, *said in loaded},
        superseded=frozenset(s for (s,) in rows("ledger", "DISTINCT delivery_stamp", "status = 'superseded'")),
        incomplete=dict(rows("ledger", "DISTINCT delivery_folder, delivery_stamp", "status = 'incomplete'")),
        arrivals=dict(
            rows("receipts", "delivery_stamp, min(arrived_at)", "arrived_at IS NOT NULL", "GROUP BY delivery_stamp")
        ),
        versions=dict(
            rows("receipts", "partition, count(DISTINCT delivery_fingerprint)", "true", "GROUP BY partition")
        ),
        drift=dict(rows("drift", "delivery_stamp, count(*)", "true", "GROUP BY delivery_stamp")),
        withdrawals={stamp: Withdrawals(*said) for stamp, *said in withdrawals},
    )
