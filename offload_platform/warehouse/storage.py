"""How rows are kept: each distinct row once, and beside it where it was delivered and when it held.

The schema `store` has, for each contract, three tables: the rows, their sightings (one for each delivered row) and
their versions (what the merge makes of the sightings). A row that is delivered nine times is one row and nine
sightings. Nobody but the writer reads it: `views.py` makes of it what people see.
"""

from datetime import datetime

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.quality.hashes import content_hash, key_hashes
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.sql import column_type, fetched, quoted, sync_table

SCHEMA = "store"
_ROW = {"row_no": "BIGINT", "key_id": "UHUGEINT", "content_hash": "UBIGINT", "feed": "VARCHAR", "app_id": "VARCHAR"}
_KEY_STAMP = {"key_stamp": "TIMESTAMPTZ"}
_SIGHTING = {"part_no": "INTEGER", "line": "BIGINT", "row_no": "BIGINT"}
_VERSION = {
    "row_no": "BIGINT",
    "change_kind": "VARCHAR",
    "known_from": "TIMESTAMPTZ",
    "known_to": "TIMESTAMPTZ",
    "part_no": "INTEGER",
    "line": "BIGINT",
}
_SHARED = {
    "parts": {
        "part_no": "INTEGER",
        "feed": "VARCHAR",
        "vendor": "VARCHAR",
        "offload_type": "VARCHAR",
        "app_id": "VARCHAR",
        "delivery_stamp": "TIMESTAMPTZ",
        "object_key": "VARCHAR",
        "first_event_at": "TIMESTAMPTZ",
        "last_event_at": "TIMESTAMPTZ",
    },
    "subjects": {
        "feed": "VARCHAR",
        "vendor": "VARCHAR",
        "offload_type": "VARCHAR",
        "delivery_stamp": "TIMESTAMPTZ",
        "subject": "VARCHAR",
    },
    "unmerged": {
        "feed": "VARCHAR",
        "vendor": "VARCHAR",
        "offload_type": "VARCHAR",
        "delivery_stamp": "TIMESTAMPTZ",
        "has_lost_rows": "BOOLEAN",
    },
    "hashing": {"probe": "UBIGINT"},
}
# Another text where hashes are made in another way.
_PROBE = "hash('two hashes', 1, 2.5::DOUBLE, true, TIMESTAMP '2018-12-08', [{'a': 1}], NULL)"


def rows_table(contract: Contract) -> str:
    """Qualified name of the table of distinct rows."""
    return f"{SCHEMA}.{quoted(contract.table)}"


def sightings_table(contract: Contract) -> str:
    """Qualified name of the table that says where each row was delivered: part, line, row."""
    return f"{SCHEMA}.{quoted(contract.table + '_sightings')}"


def versions_table(contract: Contract) -> str:
    """Qualified name of the table that says when each row held."""
    return f"{SCHEMA}.{quoted(contract.table + '_versions')}"


def ensure_storage(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Create or extend the tables that keep a contract's rows.

    Raises:
        TableDiffers: a column has another type by now.
    """
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    for name, columns in _SHARED.items():
        sync_table(connection, SCHEMA, name, columns)
    wanted = _ROW | (_KEY_STAMP if contract.is_told_apart_by_delivery else {})
    sync_table(connection, SCHEMA, contract.table, wanted | {c.name: column_type(c) for c in contract.columns.values()})
    sync_table(connection, SCHEMA, f"{contract.table}_sightings", _SIGHTING)
    sync_table(connection, SCHEMA, f"{contract.table}_versions", _VERSION)


def key_id(contract: Contract) -> str:
    """SQL of the 128 bits that identify, within a feed, what a row is about; they may differ between engines."""
    high, low = key_hashes(contract)
    return f"({high}::UHUGEINT << 64 | {low})"


def note_unmerged(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    stamp: datetime,
    *,
    has_lost_rows: bool = False,
) -> None:
    """Note that the history does not know yet what a delivery holds now.

    That concerns its own type alone; `note_changed` notes more.
    """
    connection.execute(
        f"INSERT INTO {SCHEMA}.unmerged VALUES (?, ?, ?, ?, ?)",
        [feed, contract.vendor, contract.offload_type, stamp, has_lost_rows],
    )


def note_changed(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    contract: Contract,
    stamp: datetime,
    *,
    has_lost_rows: bool = False,
) -> None:
    """Note that a delivery is not merged, nor are the types for which it tells who is present."""
    note_unmerged(connection, feed, contract, stamp, has_lost_rows=has_lost_rows)
    for other in vendor_named(contract.vendor).contracts.values():
        if other != contract and other.window and contract.offload_type in other.window.witnesses:
            note_unmerged(connection, feed, other, stamp)


def forget_rows(connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract) -> None:
    """Delete the rows of a feed that no delivery holds any more, and no version."""
    sightings, versions = sightings_table(contract), versions_table(contract)
    connection.execute(
        f"DELETE FROM {rows_table(contract)} WHERE feed = ? "
        f"AND row_no NOT IN (SELECT row_no FROM {sightings}) AND row_no NOT IN (SELECT row_no FROM {versions})",
        [feed],
    )


def keep_hashes(connection: duckdb.DuckDBPyConnection) -> None:
    """Work out the hashes of all rows anew where the engine hashes in another way than the one that wrote them."""
    [(probe,)] = fetched(connection, f"SELECT {_PROBE}")
    if fetched(connection, f"SELECT probe FROM {SCHEMA}.hashing") == [(probe,)]:
        return
    for vendor in vendor_names():
        for contract in vendor_named(vendor).contracts.values():
            present = "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?"
            if fetched(connection, present, [SCHEMA, contract.table]):
                connection.execute(
                    f"UPDATE {rows_table(contract)} SET key_id = {key_id(contract)}, "
                    f"content_hash = {content_hash(contract)}"
                )
    connection.execute(f"DELETE FROM {SCHEMA}.hashing")
    connection.execute(f"INSERT INTO {SCHEMA}.hashing VALUES (?)", [probe])
