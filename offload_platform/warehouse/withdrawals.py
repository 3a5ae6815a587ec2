"""Counts what a vendor has taken back: events that a snapshot no longer holds, and entries gone from a register.

An event is withdrawn by the first snapshot after it in which its subject is present, if that snapshot reaches back to
the event and lacks it. Absence of the subject says nothing, and neither does the edge of the window. Only loaded
snapshots are compared. What is missing may lie in quarantine, so a subject with a row there counts as absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from offload_platform.contracts.contract import Content, Contract, Window
from offload_platform.contracts.readers import UnknownColumns
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.tables import has_table, ops_rows, quoted, table_name


@dataclass(frozen=True)
class Withdrawals:
    """Events (or entries) that a delivery could have repeated, and those of them that it lacks."""

    compared: int
    withdrawn: int


def withdrawals(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    first: datetime | None = None,
    last: datetime | None = None,
) -> dict[datetime, Withdrawals]:
    """What each loaded delivery of a type has taken back, by stamp; none where there is nothing to compare with.

    `first` and `last` (excluded) bound the stamps.
    """
    if not has_table(connection, contract):
        return {}
    if contract.content is Content.REGISTER:
        delivered = [c.name for c in contract.columns.values() if not isinstance(c.facts.reader, UnknownColumns)]
        identity = list(dict.fromkeys((*contract.key, *delivered)))
        before = _entries_before(contract, identity)
    elif contract.window and contract.event_time and (present := _present(connection, contract, contract.window)):
        identity = list(contract.key)
        before = _events_before(contract, contract.window, contract.event_time, present, first)
    else:
        return {}
    found = connection.execute(
        f"""
        WITH kept AS (
            -- A delivery whose rows are no longer kept would seem to withdraw everything.
            SELECT delivery_stamp FROM ({ops_rows(connection, "ledger")})
            WHERE feed = $feed AND offload_type = $offload_type AND status = 'loaded'
            GROUP BY delivery_stamp
            HAVING sum(rows_loaded) = 0
                OR delivery_stamp IN (SELECT delivery_stamp FROM {table_name(contract)} WHERE feed = $feed)
        ),
        compared AS (
            SELECT DISTINCT * FROM ({before})
            WHERE coalesce(delivery_stamp >= $first::TIMESTAMPTZ, true)
                AND coalesce(delivery_stamp < $last::TIMESTAMPTZ, true)
        ),
        withdrawn AS (
            FROM compared
            EXCEPT SELECT delivery_stamp, {_list(identity)} FROM {table_name(contract)} WHERE feed = $feed
        )
        SELECT delivery_stamp, count(*), (SELECT count(*) FROM withdrawn AS w WHERE w.delivery_stamp = c.delivery_stamp)
        FROM compared AS c GROUP BY delivery_stamp
        """,
        {"feed": feed, "offload_type": contract.offload_type, "first": first, "last": last},
    ).fetchall()
    return {stamp: Withdrawals(compared, withdrawn) for stamp, compared, withdrawn in found}


def _entries_before(contract: Contract, identity: Sequence[str]) -> str:
    """SQL of the entries of each version, with the stamp of the version after it."""
    return f"""
        SELECT next_stamp AS delivery_stamp, {_list(identity)}
        FROM {table_name(contract)} JOIN (
            SELECT delivery_stamp, lead(delivery_stamp) OVER (ORDER BY delivery_stamp) AS next_stamp FROM kept
        ) USING (delivery_stamp)
        WHERE feed = $feed AND next_stamp IS NOT NULL
    """


def _events_before(contract: Contract, window: Window, event_time: str, present: str, first: datetime | None) -> str:
    """SQL of the events of each snapshot, with the stamp of the snapshot that could have repeated them."""
    same_subject = " AND ".join(f"e.{quoted(name)} = p.{quoted(name)}" for name in window.subject)
    # No snapshot can repeat an event of one that is older than its own window.
    since = f"AND delivery_stamp >= $first - {_interval(window.reach)}" if first else ""
    return f"""
        SELECT p.delivery_stamp, {_list(contract.key, "e.")}
        FROM (FROM {table_name(contract)} WHERE feed = $feed {since}) AS e
        ASOF JOIN (SELECT DISTINCT * FROM ({present}) SEMI JOIN kept USING (delivery_stamp)) AS p
            ON {same_subject} AND e.delivery_stamp < p.delivery_stamp
        WHERE e.{quoted(event_time)} >= p.delivery_stamp - {_interval(window.reach - window.guard)}
    """


def _present(connection: duckdb.DuckDBPyConnection, contract: Contract, window: Window) -> str:
    """SQL of the subjects of each snapshot; empty where no witness of them has a table."""
    contracts = vendor_named(contract.vendor).contracts
    witnesses = [contracts[t] for t in window.witnesses if has_table(connection, contracts[t])]
    seen = " UNION ALL ".join(
        f"SELECT delivery_stamp, {_list(window.subject)} FROM {table_name(witness)} WHERE feed = $feed"
        for witness in witnesses
    )
    delivered = " OR ".join(f"word = {quoted(name)}" for name in window.subject if name in contract.columns)
    return (
        seen
        and f"""
        FROM ({seen}) AS seen ANTI JOIN (
            SELECT delivery_stamp AS stamp, unnest(regexp_split_to_array(raw, '[^0-9A-Za-z_-]+')) AS word
            FROM ops.quarantine WHERE feed = $feed AND offload_type = $offload_type
        ) ON stamp = delivery_stamp AND ({delivered})
    """
    )


def _interval(span: timedelta) -> str:
    return f"INTERVAL {span.total_seconds():.0f} SECOND"


def _list(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(prefix + quoted(name) for name in names)
