"""Tables, views and comments come from contracts, and follow them when they change."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import duckdb
import pandera.polars as pa
import polars as pl
import pytest

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Contract, View
from offload_platform.contracts.readers import NumberCell, TextCell, UnknownColumns
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import CONNECTION_CONFIG
from offload_platform.warehouse.ops import OPS_TABLES, ensure_ops
from offload_platform.warehouse.sql import TableDiffers, column_comment, literal, quoted, sql_type
from offload_platform.warehouse.storage import rows_table
from offload_platform.warehouse.views import (
    current_columns,
    current_view,
    delivered_columns,
    ensure_tables,
    history_columns,
)

CONTRACTS = vendor_named("sentiance").contracts
COMMENT = "SELECT comment FROM duckdb_views() WHERE schema_name = 'odd vendor'"
ORIGIN = current_columns(CONTRACTS["segments"])
Said = Callable[[Contract], dict[str, tuple[str, str]]]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        ensure_ops(connection)
        yield connection


def said(text: str) -> dict[str, object]:
    return {"description": text, "source": "a test", "privacy": Privacy.NONE, "nullable": True}


def contract(**columns: tuple[type, object]) -> Contract:
    """A contract of these columns, in a schema and a table whose names need quotes."""
    rows = type(
        "Rows",
        (pa.DataFrameModel,),
        {
            "__doc__": 'It\'s a row; say "hello".',
            "__module__": __name__,
            "__annotations__": {name: kind for name, (kind, _) in columns.items()},
            **{name: field for name, (_, field) in columns.items()},
        },
    )
    return Contract("odd vendor", 'a "type"', "lifestyle", rows, key=("a b",), source="o'source")


FIRST = {"a b": (types.Text, column(TextCell("a"), **said("It's the first.")))}
SECOND = {"number": (types.Number, column(NumberCell("n"), unit="m", **said("The second.")))}


def columns_in(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, tuple[str, str]]:
    found = connection.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
        "ORDER BY column_index",
        [schema, table],
    ).fetchall()
    return {name: (kind, comment) for name, kind, comment in found}


@pytest.mark.parametrize("offload_type", CONTRACTS)
@pytest.mark.parametrize(
    ("schema", "said_of"),
    [("delivered", delivered_columns), ("history", history_columns), ("sentiance", current_columns)],
)
def test_what_is_seen_is_what_the_contract_says(
    connection: duckdb.DuckDBPyConnection, offload_type: str, schema: str, said_of: Said
) -> None:
    contract = CONTRACTS[offload_type]
    ensure_tables(connection, contract)
    made = columns_in(connection, schema, offload_type.replace(".", "_"))
    origin = {name: comment for name, (_, comment) in said_of(contract).items() if name not in contract.columns}
    assert list(made) == [*origin, *contract.columns]
    for name, (kind, comment) in made.items():
        if name in origin:
            assert comment == origin[name]
        else:
            facts = contract.columns[name].facts
            assert comment == column_comment(contract.columns[name])
            assert comment.startswith(contract.columns[name].description)
            assert (f"Unit: {facts.unit}." in comment) == (facts.unit is not None)
            assert (f"Privacy: {facts.privacy.value}" in comment) == (
                facts.privacy is not Privacy.NONE or facts.sensitive
            )
            assert kind == ("JSON" if name in ("extra", "meta") else kind)
    [(registered,)] = connection.execute("SELECT contract_version FROM ops.contracts").fetchall()
    assert registered == contract.version


def test_the_types_of_a_table(connection: duckdb.DuckDBPyConnection) -> None:
    ensure_tables(connection, CONTRACTS["transports"])
    kinds = {name: kind for name, (kind, _) in columns_in(connection, "delivered", "transports").items()}
    assert kinds == {
        "feed": "VARCHAR",
        "app_id": "VARCHAR",
        "delivery_stamp": "TIMESTAMP WITH TIME ZONE",
        "object_key": "VARCHAR",
        "line": "BIGINT",
        "user_id": "VARCHAR",
        "metadata_user_id": "VARCHAR",
        "start_at": "TIMESTAMP WITH TIME ZONE",
        "start_local": "TIMESTAMP",
        "utc_offset_min": "SMALLINT",
        "end_at": "TIMESTAMP WITH TIME ZONE",
        "end_local": "TIMESTAMP",
        "end_utc_offset_min": "SMALLINT",
        "is_open": "BOOLEAN",
        "mode": "VARCHAR",
        "distance_m": "DOUBLE",
        "waypoint_count": "INTEGER",
        "waypoints": "STRUCT(latitude DOUBLE, longitude DOUBLE, fix_at TIMESTAMP WITH TIME ZONE, "
        "fix_local TIMESTAMP, utc_offset_min SMALLINT)[]",
        "duration_s": "INTEGER",
        "extra": "JSON",
    }


def test_every_table_view_and_column_carries_a_comment(connection: duckdb.DuckDBPyConnection) -> None:
    for one in CONTRACTS.values():
        ensure_tables(connection, one)
    tables = connection.execute(
        "SELECT schema_name || '.' || table_name, comment FROM duckdb_tables() WHERE schema_name <> 'store' "
        "UNION ALL SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal"
    ).fetchall()
    views = {f"sentiance.{view.name}" for one in CONTRACTS.values() for view in one.views}
    seen = {f"{schema}.{c.table}" for schema in ("delivered", "history", "sentiance") for c in CONTRACTS.values()}
    assert {name for name, _ in tables} == {f"ops.{name}" for name in OPS_TABLES} | seen | views
    assert [name for name, comment in tables if not comment] == []
    bare = connection.execute(
        "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
        "WHERE NOT internal AND schema_name <> 'store' AND coalesce(comment, '') = ''"
    ).fetchall()
    assert bare == []


def test_making_a_table_again_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    def everything() -> list[tuple[object, ...]]:
        return connection.execute(
            "SELECT schema_name, table_name, column_name, data_type, comment, column_index FROM duckdb_columns() "
            "WHERE NOT internal ORDER BY ALL"
        ).fetchall()

    for one in CONTRACTS.values():
        ensure_tables(connection, one)
    before = everything()
    connection.execute("UPDATE ops.contracts SET contract_version = 'of yesterday'")
    for one in CONTRACTS.values():
        ensure_ops(connection)
        ensure_tables(connection, one)
    assert everything() == before


def test_identifiers_and_texts_are_quoted(connection: duckdb.DuckDBPyConnection) -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    odd = contract(**FIRST)
    ensure_tables(connection, odd)
    assert current_view(odd) == '"odd vendor"."a ""type"""'
    assert connection.execute(f'SELECT "a b" FROM {current_view(odd)}').fetchall() == []
    assert connection.execute(COMMENT).fetchall() == [("It's a row; say \"hello\". Source: o'source.",)]


def test_a_new_column_is_added_and_old_rows_keep_theirs(connection: duckdb.DuckDBPyConnection) -> None:
    old, new = contract(**FIRST), contract(**FIRST, **SECOND)
    ensure_tables(connection, old)
    connection.execute(f"INSERT INTO {rows_table(old)} BY NAME SELECT 1 AS row_no, 'kept' AS \"a b\"")
    ensure_tables(connection, new)
    made = columns_in(connection, "odd vendor", 'a "type"')
    assert list(made) == [*current_columns(new)]
    assert list(made)[-2:] == ["a b", "number"]
    assert made["number"] == ("DOUBLE", "The second. Unit: m. Source: a test.")
    assert connection.execute(f'SELECT "a b", number FROM {rows_table(new)}').fetchall() == [("kept", None)]
    assert connection.execute("SELECT contract_version FROM ops.contracts").fetchall() == [(new.version,)]


def test_a_column_that_the_contract_no_longer_has_stays_and_is_not_shown(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    ensure_tables(connection, contract(**FIRST, **SECOND))
    ensure_tables(connection, contract(**FIRST))
    assert "number" in columns_in(connection, "store", 'a "type"')
    assert "number" not in columns_in(connection, "odd vendor", 'a "type"')


def test_another_type_is_refused_with_the_next_step(connection: duckdb.DuckDBPyConnection) -> None:
    text = {"number": (types.Text, column(TextCell("n"), **said("The second.")))}
    ensure_tables(connection, contract(**FIRST, **text))
    with pytest.raises(
        TableDiffers, match=re.escape("column number is VARCHAR in the warehouse and DOUBLE in the con")
    ):
        ensure_tables(connection, contract(**FIRST, **SECOND))


def test_a_view_that_was_dropped_is_made_again(connection: duckdb.DuckDBPyConnection) -> None:
    ensure_tables(connection, contract(**FIRST))
    connection.execute(f"DROP VIEW {current_view(contract(**FIRST))}")
    ensure_tables(connection, contract(**FIRST))
    assert "a b" in columns_in(connection, "odd vendor", 'a "type"')


def test_changed_words_reach_the_warehouse(connection: duckdb.DuckDBPyConnection) -> None:
    before = contract(**FIRST)
    after = contract(**{"a b": (types.Text, column(TextCell("a"), **said("Said better.")))})
    after = replace(after, source="another source")
    ensure_tables(connection, before)
    ensure_tables(connection, after)
    assert columns_in(connection, "odd vendor", 'a "type"')["a b"][1] == "Said better. Source: a test."
    assert connection.execute(COMMENT).fetchall() == [('It\'s a row; say "hello". Source: another source.',)]
    assert connection.execute("SELECT source FROM ops.contracts").fetchall() == [("another source",)]


def test_a_view_follows_its_contract(connection: duckdb.DuckDBPyConnection) -> None:
    first = View("odd view", "It's a view.", "SELECT feed, 1 AS one FROM {table}", {"one": "It's one."})
    second = replace(first, sql="SELECT feed, line, 2 AS two FROM {table}", columns={"two": "Two."})
    ensure_tables(connection, replace(contract(**FIRST), views=(first,)))
    assert columns_in(connection, "odd vendor", "odd view") == {
        "feed": ("VARCHAR", ORIGIN["feed"][1]),
        "one": ("INTEGER", "It's one."),
    }
    ensure_tables(connection, replace(contract(**FIRST, **SECOND), views=(second,)))
    assert columns_in(connection, "odd vendor", "odd view") == {
        "feed": ("VARCHAR", ORIGIN["feed"][1]),
        "line": ("BIGINT", ORIGIN["line"][1]),
        "two": ("INTEGER", "Two."),
    }
    third = replace(second, sql="SELECT feed, 3 AS two FROM {table}")
    ensure_tables(connection, replace(contract(**FIRST, **SECOND), views=(third,)))
    assert list(columns_in(connection, "odd vendor", "odd view")) == ["feed", "two"]


def test_a_table_of_ops_that_lacks_a_column_gets_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE ops.contracts DROP COLUMN source")
    ensure_ops(connection)
    assert list(columns_in(connection, "ops", "contracts")) == list(OPS_TABLES["contracts"][1])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (pl.String, "VARCHAR"),
        (pl.Datetime("us"), "TIMESTAMP"),
        (pl.Datetime("us", "UTC"), "TIMESTAMPTZ"),
        (pl.List(pl.Int16), "SMALLINT[]"),
        (pl.Struct({'a "b': pl.Float64, "c": pl.List(pl.Boolean)}), 'STRUCT("a ""b" DOUBLE, "c" BOOLEAN[])'),
    ],
)
def test_types_of_duckdb(dtype: pl.DataType, expected: str) -> None:
    assert sql_type(dtype) == expected


def test_the_last_column_of_a_contract_may_hold_what_is_unknown(connection: duckdb.DuckDBPyConnection) -> None:
    ensure_tables(connection, contract(**FIRST, extra=(types.Json, column(UnknownColumns(), **said("The rest.")))))
    assert columns_in(connection, "odd vendor", 'a "type"')["extra"][0] == "JSON"
