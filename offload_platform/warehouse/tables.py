"""Tables, comments and views of the warehouse, made from contracts; and the tables of the `ops` schema."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import polars as pl

from offload_platform.contracts.columns import Column, Privacy
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import JsonObjectCell, UnknownColumns

PROVENANCE: Mapping[str, tuple[str, str]] = {
    "feed": ("VARCHAR", "Feed that delivered the row, as named in the configuration."),
    "app_id": ("VARCHAR", "App id of the delivery at the vendor."),
    "delivery_stamp": (
        "TIMESTAMPTZ",
        "Time in the name of the delivery's folder (UTC): the start of the vendor's job.",
    ),
    "object_key": ("VARCHAR", "Object that held the row, relative to the feed's root."),
    "line": ("BIGINT", "Physical line of the row in the decompressed object; the header is line 1."),
}

_PARTITION: Mapping[str, tuple[str, str]] = {
    "feed": ("VARCHAR", "Feed, as named in the configuration."),
    "vendor": ("VARCHAR", "Vendor of the feed."),
    "offload_type": ("VARCHAR", "Offload type."),
    "partition": ("VARCHAR", "Dagster partition key that the delivery falls into."),
}
_DELIVERY: Mapping[str, tuple[str, str]] = {
    **_PARTITION,
    "app_id": ("VARCHAR", "App id of the delivery."),
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
                "How the bytes were verified: md5, gzip crc, or size only; null for the marker of an empty delivery.",
            ),
            "compression": ("VARCHAR", "gzip or none, by magic bytes."),
            "delimiter": ("VARCHAR", "Delimiter of the part; empty for JSON lines."),
            "line_end": ("VARCHAR", "Line end of the part's header: CRLF, LF, or none."),
            "lines": ("BIGINT", "Physical lines, without the header."),
            "rows_in": ("BIGINT", "Rows in the part; rows_in = rows_loaded + rows_quarantined."),
            "rows_loaded": ("BIGINT", "Rows of the part in the table."),
            "rows_quarantined": ("BIGINT", "Rows of the part in ops.quarantine."),
            "quarantined_by_reason": (
                "MAP(VARCHAR, BIGINT)",
                "Quarantined rows by reason; a row with two reasons counts under both.",
            ),
            "contract_version": ("VARCHAR", "Version of the contract that the part was read with."),
            "loaded_at": ("TIMESTAMPTZ", "When this version of the part was first loaded with this contract (UTC)."),
            "last_modified": ("TIMESTAMPTZ", "When the store last saw the part change (UTC); no part of any identity."),
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
            "rows_in": ("BIGINT", "Rows in all parts; rows_in = rows_loaded + rows_quarantined."),
            "rows_loaded": ("BIGINT", "Rows in the table."),
            "rows_quarantined": ("BIGINT", "Rows in ops.quarantine."),
            "parts": (
                "STRUCT(object_key VARCHAR, etag VARCHAR, size_bytes BIGINT, checksum VARCHAR, rows_in BIGINT, "
                "rows_loaded BIGINT, rows_quarantined BIGINT, quarantined_by_reason MAP(VARCHAR, BIGINT))[]",
                "The parts of the delivery, each balanced.",
            ),
            "delivery_stamp": ("TIMESTAMPTZ", "Time in the name of the delivery's folder (UTC)."),
            "arrived_at": ("TIMESTAMPTZ", "When the store last saw this version of the delivery change (UTC)."),
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


def provenance(contract: Contract) -> dict[str, tuple[str, str]]:
    """Type and description of the columns that say where a row came from."""
    return dict(PROVENANCE) | {c.name: (c.sql_type, c.description) for c in contract.stamp_columns}


class TableDiffers(Exception):
    """A table of the warehouse cannot take the rows of its contract any more."""


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL text literal."""
    return "'" + text.replace("'", "''") + "'"


def table_name(contract: Contract) -> str:
    """Qualified, quoted name of a contract's table."""
    return f"{quoted(contract.vendor)}.{quoted(contract.table)}"


def sql_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    """The DuckDB type of a polars type that contracts use."""
    match dtype:
        case pl.List():
            return f"{sql_type(dtype.inner)}[]"  # type: ignore[arg-type]
        case pl.Struct():
            return "STRUCT(" + ", ".join(f"{quoted(f.name)} {sql_type(f.dtype)}" for f in dtype.fields) + ")"  # type: ignore[arg-type]
        case pl.Datetime():
            return "TIMESTAMPTZ" if dtype.time_zone else "TIMESTAMP"
    return {
        pl.String: "VARCHAR",
        pl.Boolean: "BOOLEAN",
        pl.Float64: "DOUBLE",
        pl.Int16: "SMALLINT",
        pl.Int32: "INTEGER",
        pl.Int64: "BIGINT",
    }[dtype if isinstance(dtype, type) else type(dtype)]


def column_type(column: Column) -> str:
    """The DuckDB type of a contract's column; JSON text gets DuckDB's own JSON type."""
    holds_json = isinstance(column.facts.reader, JsonObjectCell | UnknownColumns)
    return "JSON" if holds_json else sql_type(column.dtype)


def column_comment(column: Column) -> str:
    """Description, unit, privacy class and source of a column, in one line."""
    facts = column.facts
    privacy = facts.privacy.value + (", sensitive" if facts.sensitive else "")
    parts = [
        column.description,
        f"Unit: {facts.unit}." if facts.unit else "",
        f"Privacy: {privacy}." if facts.privacy is not Privacy.NONE or facts.sensitive else "",
        f"Source: {facts.source}.",
    ]
    return " ".join(part for part in parts if part)


def ensure_ops(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the `ops` schema and its documented tables, and add columns that a table of an older version lacks."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS ops")
    present: dict[str, dict[str, str]] = {}
    for table, column, kind in _rows(
        connection, "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'ops'"
    ):
        present.setdefault(table, {})[column] = kind
    for name, (description, columns) in OPS_TABLES.items():
        if name not in present:
            _create(connection, f"ops.{quoted(name)}", description, columns)
        elif columns.keys() - present[name].keys():
            _evolve(connection, f"ops.{quoted(name)}", description, present[name], columns)


def insert_ops(connection: duckdb.DuckDBPyConnection, table: str, values: Sequence[Any]) -> None:
    """Insert one row into a table of `ops`: values in the order of `OPS_TABLES`; the columns left over are null."""
    names = ", ".join(quoted(name) for name in list(OPS_TABLES[table][1])[: len(values)])
    connection.execute(f"INSERT INTO ops.{quoted(table)} ({names}) VALUES ({', '.join('?' * len(values))})", values)


def ops_rows(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """SQL of all rows of a table of `ops`; a column that a file of an older version lacks is null."""
    present = {
        column
        for (column,) in _rows(
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


def has_table(connection: duckdb.DuckDBPyConnection, contract: Contract) -> bool:
    """Whether the table of a contract is there."""
    return bool(
        _rows(
            connection,
            "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?",
            [contract.vendor, contract.table],
        )
    )


def ensure_table(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Bring a contract's table, its comments and its views to the contract's version.

    New columns are added. Raises `TableDiffers` when a column has another type by now.
    """
    version = _rows(
        connection,
        "SELECT contract_version FROM ops.contracts AS c WHERE vendor = ? AND offload_type = ? AND EXISTS ("
        "SELECT 1 FROM duckdb_tables() AS t WHERE t.schema_name = c.vendor AND t.table_name = ?)",
        [contract.vendor, contract.offload_type, contract.table],
    )
    if version == [(contract.version,)]:
        return
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(contract.vendor)}")
    wanted = provenance(contract) | {c.name: (column_type(c), column_comment(c)) for c in contract.columns.values()}
    name = table_name(contract)
    present = dict(
        _rows(
            connection,
            "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?",
            [contract.vendor, contract.table],
        )
    )
    description = f"{contract.description} Source: {contract.source}."
    if not present:
        _create(connection, name, description, wanted)
    else:
        _evolve(connection, name, description, present, wanted)
    for view in contract.views:
        view_name = f"{quoted(contract.vendor)}.{quoted(view.name)}"
        connection.execute(f"CREATE OR REPLACE VIEW {view_name} AS {view.sql.format(table=name)}")
        connection.execute(f"COMMENT ON VIEW {view_name} IS {literal(view.description)}")
        inherited = {column: comment for column, (_, comment) in wanted.items()}
        for (column,) in _rows(
            connection,
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?",
            [contract.vendor, view.name],
        ):
            comment = view.columns.get(column) or inherited[column]
            connection.execute(f"COMMENT ON COLUMN {view_name}.{quoted(column)} IS {literal(comment)}")
    connection.execute(
        "DELETE FROM ops.contracts WHERE vendor = ? AND offload_type = ?", [contract.vendor, contract.offload_type]
    )
    insert_ops(
        connection,
        "contracts",
        [
            contract.vendor,
            contract.offload_type,
            f"{contract.vendor}.{contract.table}",
            contract.version,
            list(contract.key),
            contract.source,
        ],
    )


def _create(
    connection: duckdb.DuckDBPyConnection, name: str, description: str, columns: Mapping[str, tuple[str, str]]
) -> None:
    spelled = ", ".join(f"{quoted(column)} {kind}" for column, (kind, _) in columns.items())
    connection.execute(f"CREATE TABLE {name} ({spelled})")
    connection.execute(f"COMMENT ON TABLE {name} IS {literal(description)}")
    for column, (_, comment) in columns.items():
        connection.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(comment)}")


def _evolve(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    description: str,
    present: Mapping[str, str],
    wanted: Mapping[str, tuple[str, str]],
) -> None:
    connection.execute(f"COMMENT ON TABLE {name} IS {literal(description)}")
    for column, (kind, comment) in wanted.items():
        if column not in present:
            connection.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {kind}")
        elif _canonical(connection, kind) != present[column]:
            raise TableDiffers(
                f"{name}: column {column} is {present[column]} in the warehouse and {kind} in the contract. "
                f"Drop the table in the build file and load its partitions again."
            )
        connection.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(comment)}")


def _canonical(connection: duckdb.DuckDBPyConnection, kind: str) -> str:
    return str(_rows(connection, f"SELECT typeof(CAST(NULL AS {kind}))")[0][0])


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, values: list[object] | None = None) -> list[tuple]:  # type: ignore[type-arg]
    return connection.execute(sql, values or []).fetchall()
