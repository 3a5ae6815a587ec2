"""Searches the files of a warehouse for ids, byte by byte, and its tables value by value.

Tables apart from bytes: DuckDB compresses texts, and what is compressed shows no bytes of an id.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import duckdb

from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.tombstones import LONG_FROM

SHORTEST = 8
"""Ids of fewer characters stand in every file by chance; they are not searched for."""

_READ_AT_ONCE = 4 << 20


def files_below(folders: Iterable[Path], left_out: Collection[Path] = ()) -> Iterator[Path]:
    """All files below some folders, but for those below the ones left out."""
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(out) for out in left_out):
                yield path


def _plain(file: Path) -> BinaryIO:
    return file.open("rb")


def holds(file: Path, ids: Collection[str], opened: Callable[[Path], BinaryIO] = _plain) -> bool:
    """Whether one of the ids stands in a file: a long one anywhere, whatever its case, a shorter one as a word.

    `opened` opens the file to be read as bytes.
    """
    patterns = [_pattern(spelled) for value in ids if len(value) >= SHORTEST for spelled in _spelled(value)]
    if not patterns:
        return False
    overlap = max(len(spelled) for value in ids for spelled in _spelled(value)) + 1
    pattern = re.compile(b"|".join(patterns))
    try:
        source = opened(file)
    except FileNotFoundError:
        # Another process has removed it meanwhile: it holds nothing any more.
        return False
    with source:
        held, is_first = b"", True
        while True:
            chunk = source.read(_READ_AT_ONCE)
            held += chunk.lower()
            for found in pattern.finditer(held):
                # At a seam the neighbour of a word is not known: it is judged with the chunk that holds both.
                if (is_first or found.start() > 0) and (not chunk or found.end() < len(held)):
                    return True
            if not chunk:
                return False
            is_first = is_first and len(held) <= overlap
            held = held[-overlap:]


def tables_that_hold(connection: duckdb.DuckDBPyConnection, ids: Collection[str], in_views: bool = False) -> list[str]:
    """Tables of a file, or its views, in whose texts one of the ids stands, by the same rule."""
    searched = [value.lower() for value in ids if len(value) >= SHORTEST]
    if not searched:
        return []
    pattern = "|".join(_pattern_of_texts(value) for value in searched)
    columns: dict[str, list[str]] = {}
    for schema, table, column in fetched(
        connection,
        f"SELECT schema_name, table_name, column_name FROM duckdb_columns() {'ANTI' if in_views else 'SEMI'} JOIN "
        "duckdb_tables() USING (database_name, schema_name, table_name) WHERE database_name = current_database() "
        "AND NOT internal "
        "AND (data_type LIKE '%VARCHAR%' OR data_type LIKE '%JSON%') ORDER BY ALL",
    ):
        columns.setdefault(f"{quoted(schema)}.{quoted(table)}", []).append(f"{quoted(column)}::VARCHAR")
    return [
        name
        for name, texts in columns.items()
        if fetched(
            connection,
            f"SELECT 1 FROM {name} WHERE regexp_matches(lower(concat_ws(chr(31), {', '.join(texts)})), ?) LIMIT 1",
            [pattern],
        )
    ]


def _spelled(value: str) -> set[bytes]:
    """A value as text, and as it stands in JSON."""
    return {value.encode().lower(), json.dumps(value)[1:-1].encode().lower()}


def _pattern(spelled: bytes) -> bytes:
    escaped = re.escape(spelled)
    return escaped if len(spelled) >= LONG_FROM else rb"(?<![0-9a-z_-])" + escaped + rb"(?![0-9a-z_-])"


def _pattern_of_texts(value: str) -> str:
    escaped = re.sub(r"([^0-9A-Za-z\s])", r"\\\1", value)
    return escaped if len(value) >= LONG_FROM else f"(?:^|[^0-9a-z_-]){escaped}(?:$|[^0-9a-z_-])"
