"""Merges what is loaded into the one truth of all deliveries, but for those that are held.

How versions follow from deliveries is in `versions.py`; here is which deliveries count.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import duckdb

from offload_platform.settings import Feed
from offload_platform.thresholds import CheckThresholds, WithdrawalThreshold
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.holds import Decision, Withdrawals, decisions, judged_from, write_down
from offload_platform.warehouse.ops import OF_TYPE
from offload_platform.warehouse.sql import fetched
from offload_platform.warehouse.storage import note_unmerged
from offload_platform.warehouse.transactions import transaction
from offload_platform.warehouse.versions import OWN_BUCKETS, Buckets, Versions
from offload_platform.warehouse.views import has_views

_HAS_UNMERGED = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'store' AND table_name = 'unmerged'"


@dataclass(frozen=True)
class Merged:
    """What merging changed in the history of one offload type of a feed.

    `first` and `last` are the stamps of the deliveries that were merged, `versions` the new versions by change kind.
    """

    feed: str
    offload_type: str
    first: datetime
    last: datetime
    deliveries: int
    versions: dict[str, int]


def merge(
    connection: duckdb.DuckDBPyConnection, feeds: Iterable[Feed] = (), buckets: Buckets = OWN_BUCKETS
) -> list[Merged]:
    """Bring the history of every offload type to what is loaded.

    What is worked out is kept bucket by bucket: in one transaction, nothing that the work leaves behind would go before
    its end. What an interrupted merge has left half done, the next works out again: deliveries stay unmerged until all
    is done, and the versions follow from the deliveries alone.

    `feeds` say from when on a delivery takes back so much that it is held; the usual limits hold for others. Versions
    are worked out by `buckets`; what is decided over all users is decided here.
    """
    limits = {feed.name: feed.thresholds for feed in feeds}
    if not fetched(connection, _HAS_UNMERGED):
        return []
    # What is older than rows that have expired cannot be put in its place: what came after it is not known any more.
    waiting = fetched(
        connection,
        """
        WITH expired AS (
            SELECT feed, vendor, offload_type, max(delivery_stamp) AS newest FROM ops.ledger
            WHERE status = 'expired' GROUP BY ALL
        )
        SELECT feed, vendor, offload_type, min(delivery_stamp), max(delivery_stamp), count(DISTINCT delivery_stamp),
            bool_or(has_lost_rows)
        FROM store.unmerged LEFT JOIN expired USING (feed, vendor, offload_type)
        WHERE newest IS NULL OR delivery_stamp > newest
        GROUP BY feed, vendor, offload_type ORDER BY ALL
        """,
    )
    merged = []
    for feed, vendor, offload_type, first, last, deliveries, has_lost_rows in waiting:
        contract = vendor_named(vendor).contracts[offload_type]
        held: list[datetime] = []
        if has_views(connection, contract):
            thresholds = limits[feed](offload_type) if feed in limits else CheckThresholds()
            held = judged_from(connection, feed, contract, first)
            for stamp in held:
                note_unmerged(connection, feed, contract, stamp)
            one = Versions(connection, feed, contract, min([first, *held]), has_lost_rows, buckets)
            _merge_all_but_suspects(one, thresholds.withdrawals)
            merged.append(Merged(feed, offload_type, first, last, deliveries, one.begun()))
        connection.execute(
            "DELETE FROM store.unmerged WHERE feed = ? AND vendor = ? AND offload_type = ? AND delivery_stamp >= ?",
            [feed, vendor, offload_type, min([first, *held])],
        )
    return merged


def too_old_to_merge(connection: duckdb.DuckDBPyConnection) -> int:
    """How many deliveries are loaded that are older than rows which have expired: they cannot be put in their place."""
    if not fetched(connection, _HAS_UNMERGED):
        return 0
    [(count,)] = fetched(
        connection, "SELECT count(DISTINCT (feed, vendor, offload_type, delivery_stamp)) FROM store.unmerged"
    )
    return int(count)


def _merge_all_but_suspects(one: Versions, limit: WithdrawalThreshold) -> None:
    """Merge, and hold the deliveries that would take back too much.

    The first of them is held, unless the delivery after it would without it take back too much as well, and so confirms
    what it says. That depends on what is loaded alone, and not on when.
    """
    decided = decisions(one.connection, one.feed, one.contract, one.first)
    trusted = {stamp for stamp, decision in decided.items() if decision is Decision.RELEASED}
    rejected = {stamp for stamp, decision in decided.items() if decision is Decision.REJECTED}
    held: dict[datetime, Withdrawals] = {}
    confirmed: dict[datetime, Withdrawals] = {}
    one.work_out(rejected)
    while suspect := _first_suspect(one, limit, trusted):
        stamp, withdrawals = suspect
        # Whatever it touches is to be worked out anew, without it and perhaps with it again.
        note_unmerged(one.connection, one.feed, one.contract, stamp)
        one.work_out(rejected | held.keys() | {stamp})
        after = _first_suspect(one, limit, (), after=stamp)
        if after and after[0] == _next_delivery(one, stamp, rejected):
            trusted.add(stamp)
            confirmed[stamp] = withdrawals
            one.work_out(rejected | held.keys())
        else:
            held[stamp] = withdrawals
    with transaction(one.connection):
        write_down(one.connection, one.feed, one.contract, one.first, held, confirmed)


def _first_suspect(
    one: Versions, limit: WithdrawalThreshold, trusted: Collection[datetime], after: datetime | None = None
) -> tuple[datetime, Withdrawals] | None:
    """The first delivery that takes back more than it may, of those that are merged and not trusted."""
    counted = fetched(
        one.connection,
        f"SELECT delivery_stamp, compared, withdrawn FROM ops.withdrawals WHERE {OF_TYPE} "
        "AND delivery_stamp >= ? AND withdrawn >= ? AND withdrawn > ? * compared ORDER BY delivery_stamp",
        [*one.account, one.first, limit.hold_from, limit.hold_above],
    )
    for stamp, compared, withdrawn in counted:
        if stamp not in trusted and (after is None or stamp > after):
            return stamp, Withdrawals(compared, withdrawn)
    return None


def _next_delivery(one: Versions, stamp: datetime, left_out: Collection[datetime]) -> datetime | None:
    """The stamp of the loaded delivery after one, apart from some."""
    loaded = fetched(
        one.connection,
        f"SELECT DISTINCT delivery_stamp FROM ops.ledger WHERE {OF_TYPE} AND status = 'loaded' "
        "AND delivery_stamp > ? ORDER BY delivery_stamp",
        [*one.account, stamp],
    )
    return next((following for (following,) in loaded if following not in left_out), None)
