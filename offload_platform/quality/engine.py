"""DuckDB for what polars does not do, or not as fast: one engine in memory for each process."""

from functools import cache

import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """A connection of its own, with temporary tables of its own; one is needed for each thread."""
    connection = _engine().cursor()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    # To open one takes longer than to read a small part.
    return duckdb.connect(config={"threads": 1, "memory_limit": "512MB"})
