"""Which rows a file holds: those that are not as the client has them, by what the published file says now.

Every row is turned into the line that would be sent, and lines are compared, by hash, with those that were sent before.
So a row is sent when it is new or has changed, whatever its own times say: a delivery that is loaded late, a correction
and a change of a mart's query are all found. A row that is gone cannot be told in such a file; it is counted, and sent
again should it come back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from offload_platform.contracts.columns import Privacy
from offload_platform.contracts.contract import Contract
from offload_platform.exports.errors import ExportError
from offload_platform.exports.form import ExportForm
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.sql import fetched, literal, quoted

_LINES_AT_ONCE = 20_000
_PLAIN = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DATE", "TIME", "UUID")
_PLAIN_KINDS = ("DECIMAL", "TIMESTAMP")
"""Types whose text never needs quotes."""

_TIMES = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP")
_VIEW = "asked"
_LOWER_HALF = f"{2**64 - 1}::UHUGEINT"
_HASHES = "key_upper, key_lower"
_NOTHING = "SELECT 0::UBIGINT AS key_upper, 0::UBIGINT AS key_lower, 0::UBIGINT AS line_hash WHERE false"


@dataclass(frozen=True)
class Question:
    """What an export asks of the published file: a relation, the columns to send, and the rows that are wanted."""

    form: ExportForm
    sql: str | None

    @property
    def relation(self) -> str:
        """What rows are selected from; a query has become a view (`columns_of`)."""
        if self.sql is not None:
            return _VIEW
        schema, _, table = str(self.form.source.table).partition(".")
        return f"{quoted(schema)}.{quoted(table)}"

    @property
    def name(self) -> str:
        """The source in words."""
        return self.form.source.table or str(self.form.source.sql_file)


@dataclass(frozen=True)
class Selected:
    """What has changed. `rows` are those selected, `gone` those that the client has and the source has no more.

    `next_change_at` is the earliest change that is left to a later slot; None where none is.
    """

    rows: int
    gone: int
    next_change_at: datetime | None


@contextmanager
def reading(published: Path, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file, open for reading; what does not fit into memory is spilled below a folder.

    Raises:
        ExportError: nothing is published yet.
    """
    if not published.exists():
        raise ExportError(f"{published} is not there yet. Next: offload run")
    with duckdb.connect(published, read_only=True) as connection:
        prepare(connection)
        connection.execute(f"SET memory_limit = {literal(str(CONNECTION_CONFIG['memory_limit']))}")
        connection.execute(f"SET temp_directory = {literal(str(spill))}")
        yield connection


def identity_of(published: Path) -> str:
    """What tells a published file from those before and after it; each is a file of its own."""
    stat = published.stat()
    return f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"


def resolved(connection: duckdb.DuckDBPyConnection, question: Question) -> ExportForm:
    """The form with the columns to send, all of it compared with what the source has.

    By default these are the columns of the source that are about no person. What a column is about is known of the
    tables of contracts; of marts and queries, columns are named.

    Raises:
        ExportError: source, columns, filters or key do not fit; the message names which.
    """
    form, types = question.form, columns_of(connection, question)
    named = {"source.key": form.source.key, "columns": form.columns or (), "filters": tuple(form.filters)}
    if form.source.change_time is not None:
        named["source.change_time"] = (form.source.change_time,)
    for field, names in named.items():
        for name in names:
            if name not in types:
                raise ExportError(f"{field}: {question.name} has no column {name}; it has {', '.join(types)}")
    if form.source.change_time is not None and types[form.source.change_time] not in _TIMES:
        raise ExportError(f"source.change_time: {form.source.change_time} is {types[form.source.change_time]}, no time")
    for name, values in form.filters.items():
        for value in values:
            try:
                connection.execute(f"SELECT CAST({literal(str(value))} AS {types[name]})")
            except duckdb.Error:
                raise ExportError(f"filters.{name}: {value!r} is no {types[name]}") from None
    columns = form.columns or _about_nobody(question, types)
    for name in columns:
        if types[name] == "BLOB":
            raise ExportError(f"columns: {name} holds bytes, which have no text; leave it out")
    form = form.model_copy(update={"columns": tuple(columns)})
    with _telling(question):
        _read_keys(connection, Question(form, question.sql))
    return form


def columns_of(connection: duckdb.DuckDBPyConnection, question: Question) -> dict[str, str]:
    """The columns of a source, with their types.

    Raises:
        ExportError: the published file has no such source, or the query is none.
    """
    with _telling(question):
        if question.sql is not None:
            kinds = [statement.type for statement in connection.extract_statements(question.sql)]
            if kinds != [duckdb.StatementType.SELECT]:
                raise ExportError(f"{question.name}: must hold one SELECT and nothing else")
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {_VIEW} AS {question.sql}")
        return {name: kind for name, kind, *_ in fetched(connection, f"DESCRIBE SELECT * FROM {question.relation}")}


def take_stock(connection: duckdb.DuckDBPyConnection, question: Question, until: datetime | None, target: Path) -> None:
    """Write the hashes of all rows that the client need not be sent: those that changed before a moment, or all."""
    with _telling(question):
        before = "changed_at < $until" if until is not None else "true"
        values = {"until": until} if until is not None else {}
        _read_keys(connection, question)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE stock AS SELECT {_HASHES}, line_hash FROM ({_lines(connection, question)}) "
            f"WHERE {before}",
            values,
        )
        _write_hashes(connection, "FROM stock", target)


def select(
    connection: duckdb.DuckDBPyConnection, question: Question, known: Path | None, until: datetime | None, target: Path
) -> Selected:
    """Find out what has changed since the client was sent the lines whose hashes stand in a file; `lines` reads them.

    Changes after `until` are left to a later slot. What the client knows then is written to `target`.

    Raises:
        ExportError: the source cannot be read, or its key does not tell rows apart.
    """
    sent = f"FROM read_parquet({literal(str(known))})" if known is not None else _NOTHING
    with _telling(question):
        _read_keys(connection, question)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE unsent AS FROM ({_lines(connection, question)}) AS now "
            f"ANTI JOIN ({sent}) AS sent USING ({_HASHES}, line_hash)"
        )
        left: datetime | None = None
        if until is not None:
            [(left,)] = fetched(connection, "SELECT min(changed_at) FROM unsent WHERE changed_at > ?", [until])
            connection.execute("DELETE FROM unsent WHERE changed_at > ?", [until])
        [(rows,)] = fetched(connection, "SELECT count(*) FROM unsent")
        [(gone,)] = fetched(connection, f"SELECT count(*) FROM ({sent}) ANTI JOIN keys USING ({_HASHES})")
        _write_hashes(
            connection,
            f"SELECT {_HASHES}, line_hash FROM ({sent}) SEMI JOIN keys USING ({_HASHES}) "
            f"ANTI JOIN unsent USING ({_HASHES}) UNION ALL BY NAME SELECT {_HASHES}, line_hash FROM unsent",
            target,
        )
    return Selected(rows, gone, left)


def lines(connection: duckdb.DuckDBPyConnection, question: Question) -> Iterator[list[str]]:
    """The lines that were selected, in the order of their keys, without line ends; many at once."""
    order = ", ".join(_order(number) for number, _ in enumerate(question.form.source.key))
    found = connection.execute(f"SELECT line FROM unsent ORDER BY {order}")
    while rows := found.fetchmany(_LINES_AT_ONCE):
        yield [line for (line,) in rows]


def header_line(columns: Sequence[str]) -> str:
    """The first line of a file."""
    return ",".join(
        f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set('",\r\n') else name for name in columns
    )


def _about_nobody(question: Question, types: Mapping[str, str]) -> list[str]:
    contract = _contract_of(question)
    if contract is None:
        raise ExportError(
            f"columns: name them: what the columns of {question.name} are about is not known, as it is for the tables "
            "of a vendor"
        )
    facts = {name: column.facts for name, column in contract.columns.items()}
    allowed = [
        name
        for name in types
        if name not in facts or (facts[name].privacy is Privacy.NONE and not facts[name].sensitive)
    ]
    if personal := [name for name in question.form.source.key if name not in allowed]:
        raise ExportError(
            f"columns: name them: {', '.join(personal)} of the key is about persons, and such columns are sent only "
            f"when they are named. About nobody are {', '.join(allowed)}"
        )
    return allowed


def _contract_of(question: Question) -> Contract | None:
    if question.form.source.table is None:
        return None
    schema, _, table = question.form.source.table.partition(".")
    for vendor in vendor_names():
        for contract in vendor_named(vendor).contracts.values():
            if table == contract.table and schema in (vendor, "history"):
                return contract
    return None


def _read_keys(connection: duckdb.DuckDBPyConnection, question: Question) -> None:
    """Make the table `keys` of all keys that the source has now, each of them of one row."""
    types, key = columns_of(connection, question), question.form.source.key
    is_null = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE keys AS SELECT {_hashes_of_key(types, key)}, ({is_null}) AS is_null "
        f"FROM {question.relation}{_where(question)}"
    )
    [(rows, distinct, nulls)] = fetched(
        connection, f"SELECT count(*), count(DISTINCT ({_HASHES})), count(*) FILTER (is_null) FROM keys"
    )
    if nulls:
        raise ExportError(f"source.key: {nulls:,} rows of {question.name} have no value in {', '.join(key)}")
    if rows != distinct:
        raise ExportError(
            f"source.key: {', '.join(key)} does not tell the rows of {question.name} apart: {rows:,} rows have "
            f"{distinct:,} keys; name further columns"
        )


def _lines(connection: duckdb.DuckDBPyConnection, question: Question) -> str:
    """SQL of all rows: hashes of key and line, when they changed, the line itself, and what they are ordered by."""
    types, form = columns_of(connection, question), question.form
    columns = form.columns or ()
    if missing := [name for name in (*columns, *form.source.key, *form.filters) if name not in types]:
        raise ExportError(f"{question.name} has no column {', '.join(missing)} any more; nothing was sent")
    changed_at = f"{quoted(form.source.change_time)}::TIMESTAMPTZ" if form.source.change_time else "NULL::TIMESTAMPTZ"
    cells = ", ',', ".join(_cell(name, types[name]) for name in columns)
    order = ", ".join(f"{quoted(name)} AS {_order(number)}" for number, name in enumerate(form.source.key))
    return f"""
        SELECT * EXCLUDE (line), (md5_number(line) & {_LOWER_HALF})::UBIGINT AS line_hash, line FROM (
            SELECT {_hashes_of_key(types, form.source.key)}, {changed_at} AS changed_at, {order},
                concat({cells}) AS line
            FROM {question.relation}{_where(question)}
        )
    """


def _hashes_of_key(types: Mapping[str, str], key: Sequence[str]) -> str:
    number = f"md5_number(concat({', chr(44), '.join(_cell(name, types[name]) for name in key)}))"
    # Parquet has no integers of 128 bits. Two calls of md5_number_upper and _lower would take seven times as long.
    return f"({number} >> 64)::UBIGINT AS key_upper, ({number} & {_LOWER_HALF})::UBIGINT AS key_lower"


def _where(question: Question) -> str:
    allowed = [
        f"{quoted(name)} IN ({', '.join(literal(str(value)) for value in values)})"
        for name, values in question.form.filters.items()
    ]
    return f" WHERE {' AND '.join(allowed)}" if allowed else ""


def _cell(name: str, kind: str) -> str:
    """SQL of a value as it stands in a file: nothing for null, quotes where RFC 4180 wants them and for empty text."""
    text = _text(quoted(name), kind)
    if kind in _PLAIN or kind.startswith(_PLAIN_KINDS):
        return f"coalesce({text}, '')"
    has_signs = " OR ".join(f"contains({text}, {sign})" for sign in ("'\"'", "','", "chr(10)", "chr(13)"))
    return (
        f"CASE WHEN {quoted(name)} IS NULL THEN '' WHEN {text} = '' OR {has_signs} "
        f"THEN '\"' || replace({text}, '\"', '\"\"') || '\"' ELSE {text} END"
    )


def _text(value: str, kind: str) -> str:
    """SQL of a value as text: times as in ISO 8601, instants in UTC, numbers with all their digits, the rest JSON."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        zone = f"CASE WHEN isfinite({value}) THEN 'Z' ELSE '' END"
        return f"replace(CAST({value} AT TIME ZONE 'UTC' AS VARCHAR), ' ', 'T') || {zone}"
    if kind.startswith("TIMESTAMP"):
        return f"replace(CAST({value} AS VARCHAR), ' ', 'T')"
    if kind.startswith(("STRUCT", "MAP", "UNION")) or kind.endswith("]"):
        return f"CAST(to_json({value}) AS VARCHAR)"
    return f"CAST({value} AS VARCHAR)"


def _order(number: int) -> str:
    return f"ordered_by_{number}"


def _write_hashes(connection: duckdb.DuckDBPyConnection, rows: str, target: Path) -> None:
    connection.execute(f"COPY ({rows}) TO {literal(str(target))} (FORMAT parquet)")


@contextmanager
def _telling(question: Question) -> Iterator[None]:
    """Tell what DuckDB says of a query, and of values only that they do not do: its messages repeat them."""
    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        said = str(error).strip().splitlines()[0]
        raise ExportError(f"{question.name} cannot be read: {said}. Nothing was sent") from error
    except duckdb.Error as error:
        raise ExportError(
            f"{question.name} cannot be read ({type(error).__name__}). Run its query on the published file to see why; "
            "nothing was sent"
        ) from None
