"""Erases persons from all that the warehouse keeps of deliveries, in one transaction, and keeps tombstones of them.

Rows, sightings, versions and quarantined rows go; the ledger counts them as erased, so that it still balances. Not
here: giving their bytes back to the disk (`compact.py`), and later loads (`strike.py`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.quality.hashes import content_hash
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.ops import ensure_ops, insert_ops
from offload_platform.warehouse.pseudonyms import key_of
from offload_platform.warehouse.receipts import Receipt
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.storage import rows_table, sightings_table, versions_table
from offload_platform.warehouse.tombstones import ErasureKey, Plain, check_key, names_erased, without_erased
from offload_platform.warehouse.transactions import transaction
from offload_platform.warehouse.views import has_views

_READ_AT_ONCE = 1_000


@dataclass(frozen=True)
class Request:
    """Whom to erase: users by the vendor's ids, and persons by the client's."""

    users: tuple[str, ...]
    external_ids: tuple[str, ...] = ()


@dataclass
class Removed:
    """What was removed of one offload type; `masked` are rows of others that named somebody beside their contract."""

    rows: int = 0
    sightings: int = 0
    versions: int = 0
    quarantined: int = 0
    masked: int = 0


@dataclass
class Erasure:
    """What an erasure has removed, by offload type, or would remove.

    `ids` are all that it was about: those of the request, users who were ever linked to its external ids, and the
    pseudonyms of all these.
    `linked` are external ids of the users that the request does not name; they are not erased by themselves.
    `elsewhere` is what goes from files that are made of the warehouse, by their tables.
    """

    ids: set[str] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    removed: dict[str, Removed] = field(default_factory=dict)
    elsewhere: dict[str, Removed] = field(default_factory=dict)

    def total(self) -> Removed:
        """The sums over all offload types."""
        everything = self.removed.values()
        return Removed(
            sum(r.rows for r in everything),
            sum(r.sightings for r in everything),
            sum(r.versions for r in everything),
            sum(r.quarantined for r in everything),
            sum(r.masked for r in everything),
        )


class _OnlyLooking(Exception):
    """Takes back what a dry run has done."""


def erase(
    connection: duckdb.DuckDBPyConnection,
    request: Request,
    key: ErasureKey,
    elsewhere: Callable[[Collection[str]], Mapping[str, Removed]] = lambda _: {},
) -> Erasure:
    """Erase persons; all of it or nothing. Those of whom nothing is known are erased from what is to come.

    `elsewhere` is given the ids, and says what files that are made of this one will lose of them when they are made
    anew; the receipt tells it as well.

    Raises:
        ErasureKeyError: earlier erasures were made with another key.
        PseudonymKeyError: there are pseudonyms, and the key that they were made with is missing.
    """
    with transaction(connection):
        ensure_ops(connection)
        check_key(connection, key)
        erasure = _remove(connection, request)
        erasure.elsewhere |= elsewhere(erasure.ids)
        _bury(connection, erasure, key)
    return erasure


def what_would_go(connection: duckdb.DuckDBPyConnection, request: Request) -> Erasure:
    """What `erase` would remove; nothing is changed, and no key is needed."""
    found: list[Erasure] = []
    try:
        with transaction(connection):
            ensure_ops(connection)
            found.append(_remove(connection, request))
            raise _OnlyLooking
    except _OnlyLooking:
        return found[0]


def _remove(connection: duckdb.DuckDBPyConnection, request: Request) -> Erasure:
    erasure = Erasure(ids={*request.users, *request.external_ids})
    key = key_of(connection)
    for vendor in vendor_names():
        contracts = [c for c in vendor_named(vendor).contracts.values() if has_views(connection, c)]
        users = {*request.users, *_users_of(connection, contracts, request.external_ids)}
        erasure.ids |= users
        erasure.linked |= _external_ids_of(connection, contracts, users) - {*request.external_ids}
        ids = {*users, *request.external_ids}
        if key is not None:
            kinds = {kind for contract in contracts for kind in contract.pseudonyms_of_persons.values()}
            ids |= {key.pseudonym(kind, value) for kind in kinds for value in ids}
            erasure.ids |= ids
        for contract in contracts:
            removed = Removed()
            if contract.person_columns:
                removed = _remove_rows(connection, contract, ids)
            removed.quarantined = _remove_quarantined(connection, contract, Plain(ids))
            removed.masked = _mask(connection, contract, Plain(ids))
            if removed != Removed():
                erasure.removed[f"{vendor}.{contract.table}"] = removed
        connection.execute(
            "DELETE FROM ops.drift WHERE vendor = ? AND kind = 'new value' AND detail IN (SELECT unnest(?))",
            [vendor, sorted(ids)],
        )
    return erasure


def _users_of(
    connection: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], external_ids: Collection[str]
) -> set[str]:
    """Users who were ever linked to some of the client's ids."""
    return {
        user
        for contract, column in _links(contracts)
        for (user,) in fetched(
            connection,
            f"SELECT DISTINCT {quoted(contract.subject or '')} FROM {rows_table(contract)} "
            f"WHERE {quoted(column)} IN (SELECT unnest(?::VARCHAR[]))",
            [sorted(external_ids)],
        )
    }


def _external_ids_of(
    connection: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], users: Collection[str]
) -> set[str]:
    """The client's ids that some users were ever linked to."""
    return {
        external_id
        for contract, column in _links(contracts)
        for (external_id,) in fetched(
            connection,
            f"SELECT DISTINCT {quoted(column)} FROM {rows_table(contract)} "
            f"WHERE {quoted(contract.subject or '')} IN (SELECT unnest(?::VARCHAR[])) AND {quoted(column)} IS NOT NULL",
            [sorted(users)],
        )
    }


def _links(contracts: Sequence[Contract]) -> Iterator[tuple[Contract, str]]:
    """Columns in which rows about a user hold an id of the client."""
    for contract in contracts:
        if contract.subject:
            yield from ((contract, name) for name in contract.person_columns if name != contract.subject)


def _remove_rows(connection: duckdb.DuckDBPyConnection, contract: Contract, ids: Collection[str]) -> Removed:
    of_person = " OR ".join(f"{quoted(name)} IN (SELECT unnest($ids::VARCHAR[]))" for name in contract.person_columns)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE gone AS SELECT row_no FROM {rows_table(contract)} WHERE {of_person}",
        {"ids": sorted(ids)},
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE lost AS
        SELECT feed, vendor, offload_type, delivery_stamp, object_key, count(*) AS n
        FROM {sightings_table(contract)} SEMI JOIN gone USING (row_no) JOIN store.parts USING (part_no) GROUP BY ALL
        """
    )
    connection.execute(
        f"""
        UPDATE ops.ledger AS l SET rows_loaded = rows_loaded - n, rows_erased = coalesce(rows_erased, 0) + n
        FROM lost WHERE {_SAME_PART}
        """
    )
    removed = Removed()
    for what, table in (
        ("sightings", sightings_table(contract)),
        ("versions", versions_table(contract)),
        ("rows", rows_table(contract)),
    ):
        [(count,)] = fetched(connection, f"DELETE FROM {table} WHERE row_no IN (SELECT row_no FROM gone)")
        setattr(removed, what, count)
    connection.execute(
        "DELETE FROM store.subjects WHERE vendor = ? AND offload_type = ? AND subject IN (SELECT unnest(?::VARCHAR[]))",
        [contract.vendor, contract.offload_type, sorted(ids)],
    )
    connection.execute("DROP TABLE gone; DROP TABLE lost")
    return removed


_SAME_PART = (
    "l.status = 'loaded' AND l.feed = lost.feed AND l.vendor = lost.vendor AND l.offload_type = lost.offload_type "
    "AND l.delivery_stamp = lost.delivery_stamp AND l.object_key = lost.object_key"
)


def _remove_quarantined(connection: duckdb.DuckDBPyConnection, contract: Contract, ids: Plain) -> int:
    of_type = [contract.vendor, contract.offload_type]
    gone: list[int] = []
    found = connection.execute("SELECT rowid, raw FROM ops.quarantine WHERE vendor = ? AND offload_type = ?", of_type)
    while rows := found.fetchmany(_READ_AT_ONCE):
        gone += [number for number, raw in rows if names_erased(raw, ids)]
    if not gone:
        return 0
    place = "feed, vendor, offload_type, delivery_stamp, object_key"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE lost AS SELECT {place}, count(*) AS n FROM ops.quarantine "
        "WHERE rowid IN (SELECT unnest(?::BIGINT[])) GROUP BY ALL",
        [gone],
    )
    connection.execute("DELETE FROM ops.quarantine WHERE rowid IN (SELECT unnest(?::BIGINT[]))", [gone])
    connection.execute(
        f"""
        WITH counted AS (
            SELECT {place}, reason, count(*) AS rows
            FROM (SELECT *, unnest(reasons) AS reason FROM ops.quarantine WHERE vendor = ? AND offload_type = ?)
            GROUP BY ALL
        ),
        by_reason AS (
            SELECT {place}, map_from_entries(list((reason, rows) ORDER BY reason)) AS reasons FROM counted GROUP BY ALL
        ),
        left_over AS (FROM lost LEFT JOIN by_reason USING ({place}))
        UPDATE ops.ledger AS l SET rows_quarantined = rows_quarantined - n,
            rows_erased = coalesce(rows_erased, 0) + n,
            quarantined_by_reason = coalesce(lost.reasons, MAP {{}}::MAP(VARCHAR, BIGINT))
        FROM left_over AS lost WHERE {_SAME_PART}
        """,
        of_type,
    )
    connection.execute("DROP TABLE lost")
    return len(gone)


def _mask(connection: duckdb.DuckDBPyConnection, contract: Contract, ids: Plain) -> int:
    """Put a mark in the place of erased ids in what rows of others say beside their contract; returns the rows."""
    if contract.unknown_column is None:
        return 0
    unknown, rows = quoted(contract.unknown_column), rows_table(contract)
    said = fetched(
        connection,
        f"SELECT DISTINCT {unknown}::VARCHAR FROM {rows} "
        f"WHERE len(list_filter(?::VARCHAR[], lambda id: contains(lower({unknown}::VARCHAR), id))) > 0",
        [[value.lower() for value in ids]],
    )
    changed = [(text, masked) for (text,) in said if (masked := without_erased(text, ids)) != text]
    count = 0
    for text, masked in changed:
        [(updated,)] = fetched(
            connection, f"UPDATE {rows} SET {unknown} = ? WHERE {unknown}::VARCHAR = ?", [masked, text]
        )
        connection.execute(
            f"UPDATE {rows} SET content_hash = {content_hash(contract)} WHERE {unknown}::VARCHAR = ?", [masked]
        )
        count += updated
    return count


def _bury(connection: duckdb.DuckDBPyConnection, erasure: Erasure, key: ErasureKey) -> None:
    """Keep a tombstone of each id, and the signed receipt of what was removed."""
    now = datetime.now(UTC)
    buried: list[str] = []
    for vendor in vendor_names():
        for value in sorted(erasure.ids):
            tombstone = key.tombstone(vendor, value)
            buried.append(tombstone)
            known = "SELECT 1 FROM ops.erased WHERE vendor = ? AND tombstone = ?"
            if not fetched(connection, known, [vendor, tombstone]):
                insert_ops(connection, "erased", [vendor, tombstone, now, len(value), key.check])
    total = erasure.total()
    receipt = Receipt(
        erased_at=now,
        # In the order of the hashes, which tells nothing of the ids.
        tombstones=tuple(sorted(buried)),
        removed={name: vars(removed) for name, removed in sorted((erasure.removed | erasure.elsewhere).items())},
    )
    insert_ops(
        connection,
        "erasures",
        [
            now,
            list(receipt.tombstones),
            total.rows,
            total.sightings,
            total.versions,
            total.quarantined,
            receipt.signed(key),
        ],
    )
