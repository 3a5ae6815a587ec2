"""What people see of the rows of a contract: as delivered, their history, and the truth now.

`delivered.<type>` has one row for each delivered row, `history.<type>` one for each version of what rows are about, and
`<vendor>.<type>` the versions that hold now. All are views over the private schema `store`, except that the published
file holds the history itself, and nothing as delivered. Comments come from the contract.
"""

from collections.abc import Mapping

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.warehouse.ops import insert_ops
from offload_platform.warehouse.sql import column_comment, column_type, comment_on, fetched, quoted
from offload_platform.warehouse.storage import ensure_storage, rows_table, sightings_table, versions_table

_FEED: Mapping[str, tuple[str, str]] = {
    "feed": ("VARCHAR", "Feed that delivered the row, as named in the configuration."),
    "app_id": ("VARCHAR", "App id of the delivery at the vendor; null where there are none."),
}
_PLACE: Mapping[str, tuple[str, str]] = {
    "object_key": ("VARCHAR", "Object that held the row, relative to the feed's root."),
    "line": ("BIGINT", "Physical line of the row in the decompressed object; the header is line 1."),
}
_STAMP: Mapping[str, tuple[str, str]] = {
    "delivery_stamp": (
        "TIMESTAMPTZ",
        "Time in the name of the delivery's folder (UTC): the start of the vendor's job.",
    ),
}
_KNOWN_FROM: Mapping[str, tuple[str, str]] = {
    "known_from": ("TIMESTAMPTZ", "Stamp of the delivery that brought this version (UTC)."),
}
_UNTIL: Mapping[str, tuple[str, str]] = {
    "known_to": (
        "TIMESTAMPTZ",
        "Stamp of the delivery that brought the next version (UTC); null while it holds.",
    ),
    "change_kind": (
        "VARCHAR",
        "What the version is to the one before: new, changed, deleted (its row is the last one before), or restored.",
    ),
}
_HOLDS = "known_to IS NULL AND change_kind <> 'deleted'"


def delivered_view(contract: Contract) -> str:
    """Qualified name of a contract's rows as delivered."""
    return f"delivered.{quoted(contract.table)}"


def history_view(contract: Contract) -> str:
    """Qualified name of a contract's versions."""
    return f"history.{quoted(contract.table)}"


def current_view(contract: Contract) -> str:
    """Qualified name of a contract's truth now."""
    return f"{quoted(contract.vendor)}.{quoted(contract.table)}"


def delivered_rows(contract: Contract) -> str:
    """SQL of the kept rows as often as they were delivered: all that is kept of them, and where each was."""
    return f"""
        SELECT r.*, s.line, part_no, p.delivery_stamp, p.object_key
        FROM store.parts AS p
        JOIN {sightings_table(contract)} AS s USING (part_no)
        JOIN {rows_table(contract)} AS r USING (row_no)
    """


def delivered_columns(contract: Contract) -> dict[str, tuple[str, str]]:
    """Type and comment of each column of the rows as delivered."""
    return {**_FEED, **_STAMP, **_stamp_columns(contract), **_PLACE, **_contract_columns(contract)}


def history_columns(contract: Contract) -> dict[str, tuple[str, str]]:
    """Type and comment of each column of the versions."""
    return {**_FEED, **_KNOWN_FROM, **_UNTIL, **_stamp_columns(contract), **_PLACE, **_contract_columns(contract)}


def current_columns(contract: Contract) -> dict[str, tuple[str, str]]:
    """Type and comment of each column of the truth now."""
    return {name: said for name, said in history_columns(contract).items() if name not in _UNTIL}


def history_comment(contract: Contract) -> str:
    """What a row of the history is."""
    return f"Every version, and when it held: {_description(contract)}"


def history_sql(contract: Contract, database: str | None = None, rows: tuple[int, int] | None = None) -> str:
    """SQL of the versions, over the private tables; of a database that is not the current one, or of some rows alone.

    `rows` are the first and the last number of the rows whose versions are wanted.
    """
    of = f"{quoted(database)}." if database else ""
    some = f" WHERE row_no BETWEEN {rows[0]} AND {rows[1]}" if rows else ""
    return f"""
        SELECT {_list(history_columns(contract))} FROM (
            SELECT *{_derived(contract)} FROM (
                SELECT r.*, v.known_from, v.known_to, v.change_kind, v.line, p.object_key,
                    v.known_from AS delivery_stamp
                FROM (FROM {of}{versions_table(contract)}{some}) AS v
                JOIN (FROM {of}{rows_table(contract)}{some}) AS r USING (row_no)
                LEFT JOIN {of}store.parts AS p USING (part_no)
            )
        )
    """


def ensure_tables(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Bring a contract's tables, views and comments in the build file to the contract's version.

    Raises:
        TableDiffers: a column has another type by now.
    """
    is_current = fetched(
        connection,
        "SELECT 1 FROM ops.contracts WHERE vendor = ? AND offload_type = ? AND contract_version = ?",
        [contract.vendor, contract.offload_type, contract.version],
    )
    if is_current and has_views(connection, contract):
        return
    ensure_storage(connection, contract)
    for schema in ("delivered", "history"):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    columns = delivered_columns(contract)
    _create_view(
        connection,
        delivered_view(contract),
        f"SELECT {_list(columns)} FROM (SELECT *{_derived(contract)} FROM ({delivered_rows(contract)}))",
        f"As delivered, in every delivery: {_description(contract)}",
        columns,
    )
    columns = history_columns(contract)
    _create_view(connection, history_view(contract), history_sql(contract), history_comment(contract), columns)
    ensure_current(connection, contract)
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


def ensure_current(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Create what is seen of a contract's history, wherever that is kept: the truth now and then, and views on it."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(contract.vendor)}")
    columns = current_columns(contract)
    name, history = current_view(contract), history_view(contract)
    _create_view(
        connection, name, f"SELECT {_list(columns)} FROM {history} WHERE {_HOLDS}", _description(contract), columns
    )
    as_of = f"history.{quoted(contract.table + '_as_of')}"
    connection.execute(
        f"CREATE OR REPLACE MACRO {as_of}(moment) AS TABLE SELECT {_list(columns)} FROM {history} "
        "WHERE known_from <= moment AND (known_to IS NULL OR known_to > moment) AND change_kind <> 'deleted'"
    )
    for view in contract.views:
        view_name = f"{quoted(contract.vendor)}.{quoted(view.name)}"
        connection.execute(f"CREATE OR REPLACE VIEW {view_name} AS {view.sql.format(table=name)}")
        shown = fetched(
            connection,
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
            "AND database_name = current_database()",
            [contract.vendor, view.name],
        )
        comments = {column: view.columns.get(column) or columns[column][1] for (column,) in shown}
        comment_on(connection, "VIEW", view_name, view.description, comments)


def has_views(connection: duckdb.DuckDBPyConnection, contract: Contract) -> bool:
    """Whether anything of a contract was ever loaded."""
    return bool(
        fetched(
            connection,
            "SELECT 1 FROM duckdb_views() WHERE schema_name = ? AND view_name = ? "
            "AND database_name = current_database()",
            [contract.vendor, contract.table],
        )
    )


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    sql: str,
    description: str,
    columns: Mapping[str, tuple[str, str]],
) -> None:
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")
    comment_on(connection, "VIEW", name, description, {column: comment for column, (_, comment) in columns.items()})


def _description(contract: Contract) -> str:
    return f"{contract.description} Source: {contract.source}."


def _contract_columns(contract: Contract) -> dict[str, tuple[str, str]]:
    return {c.name: (column_type(c), column_comment(c)) for c in contract.columns.values()}


def _stamp_columns(contract: Contract) -> dict[str, tuple[str, str]]:
    return {c.name: (c.sql_type, c.description) for c in contract.stamp_columns}


def _derived(contract: Contract) -> str:
    return "".join(f", {c.sql} AS {quoted(c.name)}" for c in contract.stamp_columns)


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(quoted(name) for name in names)
