"""The tables of the `ops` schema: what became of deliveries, parts and rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from offload_platform.warehouse.sql import comment_on, fetched, quoted, sync_table

_PARTITION: Mapping[str, tuple[str, str]] = {
    "feed": ("VARCHAR", "Feed, as named in the configuration."),
    "vendor": ("VARCHAR", "Vendor of the feed."),
    "offload_type": ("VARCHAR", "Offload type."),
    "partition": ("VARCHAR", "Dagster partition key that the delivery falls into."),
}
_DELIVERY: Mapping[str, tuple[str, str]] = {
    **_PARTITION,
    "app_id": ("VARCHAR", "App id of the delivery; null at a vendor that has none."),
    "delivery_stamp": ("TIMESTAMPTZ", "Time in the name of the delivery's folder (UTC)."),
}

OPS_TABLES: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]] = {
    "ledger": (
        "Every part of every delivery that a load has considered: what became of it, and the rows in it.",
        {
            **_DELIVERY,
            "delivery_folder": ("VARCHAR", "Folder of the delivery below the feed's root."),
            "delivery_fingerprint": (
                "VARCHAR",
                "Identity of the delivery: a hash of its stamp and its set of (key, size, ETag).",
            ),
            "object_key": ("VARCHAR", "Key of the part, relative to the feed's root."),
            "etag": ("VARCHAR", "ETag of the part; for folders on disk the MD5 of its content."),
            "size_bytes": ("BIGINT", "Size of the part as stored. Unit: bytes."),
            "status": (
                "VARCHAR",
                "loaded, expired (loaded once, and deleted by retention), superseded (a newer complete delivery "
                "counts) or incomplete.",
            ),
            "status_reason": ("VARCHAR", "Why the part is not loaded, or not any more; null when it is."),
            "checksum": (
                "VARCHAR",
                "How the bytes were verified: md5, the crc of gzip or zip, or size only; null for the marker of an "
                "empty delivery.",
            ),
            "compression": ("VARCHAR", "gzip, zip or none, by magic bytes."),
            "delimiter": ("VARCHAR", "Delimiter of the part; empty for JSON lines."),
            "line_end": ("VARCHAR", "Line end of the part's header: CRLF, LF, or none."),
            "lines": ("BIGINT", "Physical lines, without the header."),
            "rows_in": ("BIGINT", "Rows in the part; rows_in = rows_loaded + rows_quarantined + rows_erased."),
            "rows_loaded": ("BIGINT", "Rows of the part in the table."),
            "rows_quarantined": ("BIGINT", "Rows of the part in ops.quarantine."),
            "quarantined_by_reason": (
                "MAP(VARCHAR, BIGINT)",
                "Quarantined rows by reason; a row with two reasons counts under both.",
            ),
            "contract_version": (
                "VARCHAR",
                "Version of the contract, and of what the feed adds to it, that the part was read with.",
            ),
            "loaded_at": ("TIMESTAMPTZ", "When this version of the part was first loaded with this contract (UTC)."),
            "last_modified": ("TIMESTAMPTZ", "When the store last saw the part change (UTC); no part of any identity."),
            "rows_erased": ("BIGINT", "Rows of erased persons, which are kept nowhere."),
        },
    ),
    "quarantine": (
        "Rows that could not be loaded, with where they stand, why, and their text.",
        {
            **_DELIVERY,
            "object_key": ("VARCHAR", "Object that holds the row, relative to the feed's root."),
            "line": ("BIGINT", "Physical line of the row in the decompressed object; the header is line 1."),
            "reasons": ("VARCHAR[]", "Every reason why the row was set aside, as column: rule."),
            "raw": ("VARCHAR", "The row as delivered; bytes that are no text are escaped. Privacy: location."),
        },
    ),
    "drift": (
        "What a delivery showed beside its contract: headers, new values, remarkable rows. Such rows are loaded.",
        {
            **_DELIVERY,
            "object_key": ("VARCHAR", "Object that showed it, relative to the feed's root."),
            "kind": ("VARCHAR", "Kind of drift, such as unknown column, missing column, new value, remark."),
            "column_name": ("VARCHAR", "Column that it is about; null when it is about the whole part."),
            "detail": ("VARCHAR", "What was found."),
            "row_count": ("BIGINT", "Rows that show it; null when it is about the header."),
        },
    ),
    "receipts": (
        "One row for each load, in the order of commits: what came in and what became of it.",
        {
            **_PARTITION,
            "run_id": ("VARCHAR", "Dagster run that loaded it."),
            "committed_at": ("TIMESTAMPTZ", "When the load was committed (UTC)."),
            "delivery_folder": ("VARCHAR", "Folder of the delivery below the feed's root."),
            "delivery_fingerprint": ("VARCHAR", "Identity of the delivery."),
            "rows_in": ("BIGINT", "Rows in all parts; rows_in = rows_loaded + rows_quarantined + rows_erased."),
            "rows_loaded": ("BIGINT", "Rows in the table."),
            "rows_quarantined": ("BIGINT", "Rows in ops.quarantine."),
            "parts": (
                "STRUCT(object_key VARCHAR, etag VARCHAR, size_bytes BIGINT, checksum VARCHAR, rows_in BIGINT, "
                "rows_loaded BIGINT, rows_quarantined BIGINT, quarantined_by_reason MAP(VARCHAR, BIGINT))[]",
                "The parts of the delivery; what is neither loaded nor in quarantine was erased.",
            ),
            "delivery_stamp": ("TIMESTAMPTZ", "Time in the name of the delivery's folder (UTC)."),
            "arrived_at": ("TIMESTAMPTZ", "When the store last saw this version of the delivery change (UTC)."),
            "rows_erased": ("BIGINT", "Rows of persons who were erased before this load."),
        },
    ),
    "withdrawals": (
        "For each merged delivery that says what is gone: what it could have repeated, and what it has taken back.",
        {
            "feed": ("VARCHAR", "Feed, as named in the configuration."),
            "vendor": ("VARCHAR", "Vendor of the feed."),
            "offload_type": ("VARCHAR", "Offload type."),
            "delivery_stamp": ("TIMESTAMPTZ", "Time in the name of the delivery's folder (UTC)."),
            "compared": (
                "BIGINT",
                "What was known just before it, of users who are present in it, as far as its window reaches back.",
            ),
            "withdrawn": ("BIGINT", "What of that it lacks: the versions that it has made deleted."),
        },
    ),
    "holds": (
        "Deliveries that take back suspiciously much. Nothing of one that is held or rejected is merged.",
        {
            "feed": ("VARCHAR", "Feed, as named in the configuration."),
            "vendor": ("VARCHAR", "Vendor of the feed."),
            "offload_type": ("VARCHAR", "Offload type."),
            "delivery_stamp": ("TIMESTAMPTZ", "Time in the name of the delivery's folder (UTC)."),
            "delivery_fingerprint": ("VARCHAR", "Identity of the delivery; another version is judged anew."),
            "status": (
                "VARCHAR",
                "held; confirmed by the next delivery; or released or rejected, by somebody's decision.",
            ),
            "compared": ("BIGINT", "What was known just before it and could have been repeated."),
            "withdrawn": ("BIGINT", "What of that it lacks."),
            "decided_at": ("TIMESTAMPTZ", "When somebody decided (UTC); null while it is held."),
        },
    ),
    "erased": (
        "Who is erased, without saying who: ids are kept as keyed hashes.",
        {
            "vendor": ("VARCHAR", "Vendor."),
            "tombstone": ("VARCHAR", "HMAC-SHA256 of vendor and id with the key of the erasures."),
            "erased_at": ("TIMESTAMPTZ", "When the person was erased (UTC)."),
            "characters": ("INTEGER", "Length of the id, by which it is found in broken rows."),
            "key_check": ("VARCHAR", "HMAC-SHA256 of a constant: tells whether a key is the one of the erasures."),
        },
    ),
    "erasures": (
        "What each erasure has removed.",
        {
            "erased_at": ("TIMESTAMPTZ", "When it was committed (UTC)."),
            "tombstones": ("VARCHAR[]", "Tombstones of the ids that it was about."),
            "rows": ("BIGINT", "Distinct rows that were removed."),
            "sightings": ("BIGINT", "Delivered rows that were removed."),
            "versions": ("BIGINT", "Versions that were removed from the history."),
            "quarantined": ("BIGINT", "Rows that were removed from ops.quarantine."),
            "receipt": ("VARCHAR", "The signed receipt, as JSON."),
        },
    ),
    "pseudonym_key": (
        "Which key the pseudonyms of this warehouse are made with, without saying the key: one row.",
        {
            "key_check": ("VARCHAR", "HMAC-SHA256 of a constant: tells whether a key is the one."),
            "since": ("TIMESTAMPTZ", "When the first pseudonyms were made (UTC)."),
        },
    ),
    "contracts": (
        "The contract that each table was last made from.",
        {
            "vendor": ("VARCHAR", "Vendor."),
            "offload_type": ("VARCHAR", "Offload type."),
            "table_name": ("VARCHAR", "Table, with its schema."),
            "contract_version": ("VARCHAR", "Version of the contract."),
            "natural_key": ("VARCHAR[]", "Columns that identify a row inside one delivery."),
            "source": ("VARCHAR", "Document and section that the contract follows."),
        },
    ),
}


OF_TYPE = "feed = ? AND vendor = ? AND offload_type = ?"
"""Condition on accounts: that they are of one feed's offload type."""


def ensure_ops(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the `ops` schema and its documented tables, and add columns that a table of an older version lacks."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS ops")
    present = {
        table: set(columns)
        for table, columns in fetched(
            connection,
            "SELECT table_name, list(column_name) FROM duckdb_columns() WHERE schema_name = 'ops' "
            "AND database_name = current_database() GROUP BY table_name",
        )
    }
    for name, (description, columns) in OPS_TABLES.items():
        if columns.keys() - present.get(name, set()):
            sync_table(connection, "ops", name, {column: kind for column, (kind, _) in columns.items()})
            comments = {column: comment for column, (_, comment) in columns.items()}
            comment_on(connection, "TABLE", f"ops.{quoted(name)}", description, comments)


def insert_ops(connection: duckdb.DuckDBPyConnection, table: str, values: Sequence[Any]) -> None:
    """Insert one row into a table of `ops`: values in the order of `OPS_TABLES`; the columns left over are null."""
    names = ", ".join(quoted(name) for name in list(OPS_TABLES[table][1])[: len(values)])
    connection.execute(f"INSERT INTO ops.{quoted(table)} ({names}) VALUES ({', '.join('?' * len(values))})", values)


def ops_rows(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """SQL of all rows of a table of `ops`; a column that a file of an older version lacks is null."""
    present = {
        column
        for (column,) in fetched(
            connection,
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'ops' AND table_name = ?",
            [table],
        )
    }
    columns = [
        quoted(name) if name in present else f"CAST(NULL AS {kind}) AS {quoted(name)}"
        for name, (kind, _) in OPS_TABLES[table][1].items()
    ]
    return f"SELECT {', '.join(columns)} FROM ops.{quoted(table)}"
