"""A transaction that is all or nothing, whatever goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what is done inside; take it back if it raises."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A COMMIT that fails has rolled back already; what went wrong must not be hidden by that.
        with suppress(duckdb.TransactionException):
            connection.execute("ROLLBACK")
        raise
