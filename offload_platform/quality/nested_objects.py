"""SQL that decodes lists of JSON objects into DuckDB lists of structs, by the declaration of their members."""

from collections.abc import Iterator
from typing import Any

from offload_platform.contracts.nested import Kind, Member, ObjectsCell

_SQL_TYPES = {Kind.TEXT: "VARCHAR", Kind.NUMBER: "DOUBLE", Kind.FLAG: "BOOLEAN", Kind.TIME: "VARCHAR"}
_LARGEST_OFFSET_MIN = 14 * 60


def objects_sql(reader: ObjectsCell, cell: str, kind: str) -> str:
    """An expression over a cell of valid JSON and its kind (`OBJECT`, `ARRAY` …); null where it has another shape."""
    shape = _type(_shape(reader.members)) + "[]"
    if reader.keyed_as is None:
        return f"CASE WHEN {kind} = 'ARRAY' THEN {_list(_from_json(cell, shape), reader.members)} END"
    of_key = _list("entry.value", reader.members, {reader.keyed_as: "entry.key"})
    entries = f"map_entries({_from_json(cell, f'MAP(VARCHAR, {shape})')})"
    return f"CASE WHEN {kind} = 'OBJECT' THEN flatten(list_transform({entries}, lambda entry: {of_key})) END"


def parsed_time(text: str) -> str:
    """A text as a struct of instant `i` and wall clock `w`; null where it has no time or no offset.

    DuckDB reads a time without an offset as UTC and a date as midnight; both would be wrong without a word.
    """
    whole = f"CASE WHEN {text}[11] BETWEEN '0' AND '9' THEN {text}[:10] || 'T' || {text}[11:] ELSE {text} END"
    has_offset = f"""length({text}) BETWEEN 19 AND 35
        AND ({text}[-1] = 'Z' OR {text}[-6] IN ('+', '-') OR {text}[-5] IN ('+', '-'))"""
    both = f"{{i: try_cast({whole} AS TIMESTAMPTZ), w: try_cast({whole} AS TIMESTAMP)}}"
    return f"CASE WHEN {has_offset} THEN {both} END"


def time_fields(parsed: str) -> tuple[str, str, str]:
    """Instant, wall clock and offset in minutes of a parsed time; null where the offset is not one of a time zone.

    To parse first and to look at the result afterwards costs half of doing it in one expression for each field.
    """
    offset = f"((epoch_us({parsed}.w) - epoch_us({parsed}.i)) // 60000000)"
    usual = f"abs({offset}) <= {_LARGEST_OFFSET_MIN}"
    return (
        f"CASE WHEN {usual} THEN {parsed}.i END",
        f"CASE WHEN {usual} THEN {parsed}.w END",
        f"CASE WHEN {usual} THEN {offset}::SMALLINT END",
    )


def _from_json(json: str, sql_type: str) -> str:
    structure = '"' + sql_type.replace('"', '\\"') + '"'
    return f"from_json({json}, '{structure}')"


def _list(objects: str, members: tuple[Member, ...], more: dict[str, str] | None = None, of: str = "o") -> str:
    """Two passes over a list of objects: times are parsed first, then every field is made."""
    parsed = {
        **{f"t{nth}": parsed_time(_value(of, m)) for nth, m in enumerate(members) if m.kind is Kind.TIME},
        **{f"v{nth}": _value(of, m) for nth, m in enumerate(members) if m.kind is not Kind.TIME},
    }
    first = f"list_transform({objects}, lambda {of}: {_struct(parsed)})"
    return f"list_transform({first}, lambda {of}: {_struct((more or {}) | dict(_fields(of, members)))})"


def _fields(of: str, members: tuple[Member, ...]) -> Iterator[tuple[str, str]]:
    for nth, member in enumerate(members):
        if member.kind is Kind.TIME:
            for suffix, field in zip(("_at", "_local", "_utc_offset_min"), time_fields(f"{of}.t{nth}"), strict=True):
                yield member.name + suffix, field
        elif member.kind is Kind.OBJECTS:
            yield member.name, _list(f"{of}.v{nth}", member.members, of=f"{of}i")
        elif member.kind is Kind.NUMBER:
            # Text such as "nan" and numbers such as 1e999 become a DOUBLE that no sum survives.
            yield member.name, f"CASE WHEN isfinite({of}.v{nth}) THEN {of}.v{nth} END"
        else:
            yield member.name, f"{of}.v{nth}"


def _value(of: str, member: Member) -> str:
    return of + "".join(f'."{step}"' for step in member.path.split("."))


def _struct(fields: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def _shape(members: tuple[Member, ...]) -> dict[str, Any]:
    """The members by JSON name, nested as in the JSON; a list of objects is a list with their shape in it."""
    shape: dict[str, Any] = {}
    for member in members:
        *steps, last = member.path.split(".")
        inner = shape
        for step in steps:
            inner = inner.setdefault(step, {})
        inner[last] = [_shape(member.members)] if member.kind is Kind.OBJECTS else _SQL_TYPES[member.kind]
    return shape


def _type(shape: Any) -> str:
    if isinstance(shape, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(inner)}' for name, inner in shape.items()) + ")"
    return f"{_type(shape[0])}[]" if isinstance(shape, list) else str(shape)
