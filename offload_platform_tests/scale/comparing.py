"""What two warehouses hold, without what tells of a single run."""

from collections.abc import Sequence

import duckdb

_VARIES = {
    "ops.ledger": "loaded_at",
    "ops.receipts": "run_id, committed_at",
    "ops.erased": "erased_at",
    "ops.erasures": "erased_at, receipt",
    "ops.pseudonym_key": "since",
}


def names_in(connection: duckdb.DuckDBPyConnection, database: str) -> Sequence[str]:
    """Tables and views of an attached database that people see."""
    found = connection.execute(
        "SELECT DISTINCT schema_name || '.' || table_name FROM duckdb_columns() WHERE database_name = ? "
        "AND NOT internal AND schema_name <> 'store' ORDER BY 1",
        [database],
    ).fetchall()
    return [name for (name,) in found]


def content_of(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> list[str]:
    """Every row of a table or view, as sorted texts."""
    left_out = f" EXCLUDE ({_VARIES[name]})" if name in _VARIES else ""
    return sorted(map(repr, connection.execute(f"SELECT *{left_out} FROM {database}.{name}").fetchall()))
