"""Deliveries that are held because they would take back too much, and what somebody has decided about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.ops import OF_TYPE, ensure_ops, ops_rows
from offload_platform.warehouse.sql import fetched
from offload_platform.warehouse.storage import note_unmerged
from offload_platform.warehouse.transactions import transaction


@dataclass(frozen=True)
class Withdrawals:
    """What a delivery could have repeated of what was known before it, and what of that it has taken back."""

    compared: int
    withdrawn: int


class Decision(StrEnum):
    """What somebody says of a delivery that is held."""

    RELEASED = "released"
    """It is right: merge it."""
    REJECTED = "rejected"
    """It is wrong: never merge this version of it."""


@dataclass(frozen=True)
class Held:
    """A delivery that would take back `withdrawn` of `compared`, and is not merged."""

    feed: str
    vendor: str
    offload_type: str
    stamp: datetime
    compared: int
    withdrawn: int


class NotHeld(Exception):
    """There is no such delivery among those that are held; the message says which are."""


def held_deliveries(connection: duckdb.DuckDBPyConnection) -> list[Held]:
    """The deliveries that wait for a decision or for the next delivery, oldest first."""
    found = fetched(
        connection,
        "SELECT feed, vendor, offload_type, delivery_stamp, compared, withdrawn "
        f"FROM ({ops_rows(connection, 'holds')}) WHERE status = 'held' ORDER BY delivery_stamp, feed, offload_type",
    )
    return [Held(*row) for row in found]


def decide(connection: duckdb.DuckDBPyConnection, feed: str, offload_type: str, day: date, decision: Decision) -> None:
    """Decide about the delivery of a day (UTC); what that means for the history is worked out when it is merged next.

    A decision can be changed. It is about the version of the delivery that is loaded now.

    Raises:
        NotHeld: nothing was ever held of this feed, offload type and day.
    """
    with transaction(connection):
        ensure_ops(connection)
        known = fetched(
            connection,
            "SELECT vendor, delivery_stamp FROM ops.holds "
            "WHERE feed = ? AND offload_type = ? AND delivery_stamp::DATE = ?",
            [feed, offload_type, day],
        )
        if not known:
            held = ", ".join(f"{h.feed} {h.offload_type} {h.stamp:%Y-%m-%d}" for h in held_deliveries(connection))
            raise NotHeld(f"{feed} {offload_type} {day} is not held. Held are: {held or 'none'}.")
        for vendor, stamp in known:
            connection.execute(
                "UPDATE ops.holds SET status = ?, decided_at = ? "
                "WHERE feed = ? AND offload_type = ? AND delivery_stamp = ?",
                [decision.value, datetime.now(UTC), feed, offload_type, stamp],
            )
            note_unmerged(connection, feed, vendor_named(vendor).contracts[offload_type], stamp)


def decisions(
    connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract, first: datetime
) -> dict[datetime, Decision]:
    """What was decided about the versions that are loaded now, by stamp, from a stamp on."""
    found = fetched(
        connection,
        f"SELECT delivery_stamp, status FROM ops.holds WHERE {OF_TYPE} AND delivery_stamp >= ? "
        "AND status IN ('released', 'rejected') AND delivery_fingerprint IN ("
        f"SELECT delivery_fingerprint FROM ops.ledger WHERE {OF_TYPE} AND status = 'loaded')",
        [*_account(feed, contract), first, *_account(feed, contract)],
    )
    return {stamp: Decision(status) for stamp, status in found}


def judged_from(
    connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract, first: datetime
) -> list[datetime]:
    """Stamps of the deliveries that are held, or were confirmed, from a stamp on; and of the one before it.

    The delivery that comes next to that one may confirm it, or no longer do so.
    """
    found = fetched(
        connection,
        f"""
        WITH before AS (
            SELECT max(delivery_stamp) AS stamp FROM ops.ledger
            WHERE {OF_TYPE} AND status = 'loaded' AND delivery_stamp < ?
        )
        SELECT delivery_stamp FROM ops.holds, before
        WHERE {OF_TYPE} AND status IN ('held', 'confirmed') AND (delivery_stamp >= ? OR delivery_stamp = before.stamp)
        """,
        [*_account(feed, contract), first, *_account(feed, contract), first],
    )
    return [stamp for (stamp,) in found]


def write_down(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    first: datetime,
    held: Mapping[datetime, Withdrawals],
    confirmed: Mapping[datetime, Withdrawals],
) -> None:
    """Write down which deliveries are held from a stamp on, and which the next has confirmed; decisions stay."""
    connection.execute(
        f"DELETE FROM ops.holds WHERE {OF_TYPE} AND status IN ('held', 'confirmed') AND delivery_stamp >= ?",
        [*_account(feed, contract), first],
    )
    judged = [("held", *item) for item in held.items()] + [("confirmed", *item) for item in confirmed.items()]
    for status, stamp, withdrawals in judged:
        connection.execute(
            f"DELETE FROM ops.holds WHERE {OF_TYPE} AND delivery_stamp = ?", [*_account(feed, contract), stamp]
        )
        connection.execute(
            "INSERT INTO ops.holds BY NAME SELECT feed, vendor, offload_type, delivery_stamp, "
            "any_value(delivery_fingerprint) AS delivery_fingerprint, ? AS status, ? AS compared, ? AS withdrawn "
            f"FROM ops.ledger WHERE {OF_TYPE} AND delivery_stamp = ? AND status = 'loaded' GROUP BY ALL",
            [status, withdrawals.compared, withdrawals.withdrawn, *_account(feed, contract), stamp],
        )


def _account(feed: str, contract: Contract) -> list[str]:
    return [feed, contract.vendor, contract.offload_type]
