"""How Delta keeps values of DuckDB's types: as the same type, as a wider one, or as text; never as something less."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from offload_platform.scale.errors import ScaleUnusable
from offload_platform.warehouse.sql import quoted

_NAMED: Mapping[str, tuple[str, str]] = {
    "VARCHAR": ("VARCHAR", "string"),
    "BOOLEAN": ("BOOLEAN", "boolean"),
    "TINYINT": ("TINYINT", "byte"),
    "SMALLINT": ("SMALLINT", "short"),
    "INTEGER": ("INTEGER", "integer"),
    "BIGINT": ("BIGINT", "long"),
    "FLOAT": ("FLOAT", "float"),
    "DOUBLE": ("DOUBLE", "double"),
    "BLOB": ("BLOB", "binary"),
    "DATE": ("DATE", "date"),
    "TIMESTAMP": ("TIMESTAMP", "timestamp_ntz"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ", "timestamp"),
    # Wider: Delta knows no unsigned integers, and none of 128 bits. More than 38 digits are an error.
    "UTINYINT": ("SMALLINT", "short"),
    "USMALLINT": ("INTEGER", "integer"),
    "UINTEGER": ("BIGINT", "long"),
    "UBIGINT": ("DECIMAL(20,0)", "decimal(20,0)"),
    "HUGEINT": ("DECIMAL(38,0)", "decimal(38,0)"),
    # As text, as DuckDB writes it.
    "JSON": ("VARCHAR", "string"),
    "UUID": ("VARCHAR", "string"),
    "TIME": ("VARCHAR", "string"),
    "INTERVAL": ("VARCHAR", "string"),
}


class NotInDelta(ScaleUnusable):
    """A column has a type that Delta cannot keep without loss."""


@dataclass(frozen=True)
class Kept:
    """How values of a type are kept: the type of DuckDB that they are written as, and Delta's word for it."""

    sql: str
    delta: object


def kept(kind: Any) -> Kept:
    """How Delta keeps a type, which is one of `duckdb.DuckDBPyConnection.sqltype`.

    Raises:
        NotInDelta: it cannot without loss.
    """
    children = dict(kind.children) if kind.id in ("list", "struct", "map", "decimal") else {}
    match kind.id:
        case "enum":
            return Kept("VARCHAR", "string")
        case "decimal":
            said = f"DECIMAL({children['precision']},{children['scale']})"
            return Kept(said, said.lower())
        case "list":
            of = kept(children["child"])
            return Kept(f"{of.sql}[]", {"type": "array", "elementType": of.delta, "containsNull": True})
        case "map":
            key, value = kept(children["key"]), kept(children["value"])
            of_delta = {"type": "map", "keyType": key.delta, "valueType": value.delta, "valueContainsNull": True}
            return Kept(f"MAP({key.sql}, {value.sql})", of_delta)
        case "struct":
            members = {name: kept(member) for name, member in children.items()}
            spelled = ", ".join(f"{quoted(name)} {member.sql}" for name, member in members.items())
            fields = [field(name, member) for name, member in members.items()]
            return Kept(f"STRUCT({spelled})", {"type": "struct", "fields": fields})
    if str(kind) not in _NAMED:
        raise NotInDelta(f"{kind} has no form in Delta that keeps all of it")
    return Kept(*_NAMED[str(kind)])


def field(name: str, of: Kept, comment: str | None = None) -> dict[str, object]:
    """A column, or a member of a struct, as a schema of Delta has it."""
    metadata = {"comment": comment} if comment else {}
    return {"name": name, "type": of.delta, "nullable": True, "metadata": metadata}


def kept_columns(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> dict[str, Kept]:
    """How Delta keeps the columns of a table, whose types are those of the published file.

    Raises:
        NotInDelta: it cannot keep one of them without loss.
    """
    found = {}
    for name, kind in columns.items():
        try:
            found[name] = kept(connection.sqltype(kind))
        except NotInDelta as error:
            raise NotInDelta(f"{table}, column {name}: {error}. Write warehouse: ducklake, or duckdb.") from error
    return found
