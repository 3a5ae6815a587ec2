"""The warehouse remembers which key its pseudonyms are made with, so that no load makes others of the same ids."""

from datetime import UTC, datetime

import duckdb

from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError, key_from_environment
from offload_platform.quality.protect import PseudonymKey
from offload_platform.warehouse.ops import ensure_ops
from offload_platform.warehouse.sql import fetched


def key_of(connection: duckdb.DuckDBPyConnection) -> PseudonymKey | None:
    """The key that all pseudonyms so far were made with, from the environment; None where none were made.

    Raises:
        PseudonymKeyError: it is missing, or another one.
    """
    if not fetched(connection, "SELECT 1 FROM ops.pseudonym_key"):
        return None
    key = key_from_environment("", "Set it to the key that this warehouse's pseudonyms were made with.")
    check_key(connection, key)
    return key


def check_key(connection: duckdb.DuckDBPyConnection, key: PseudonymKey | None) -> None:
    """Raise PseudonymKeyError unless the key is the one of all pseudonyms so far; the first one is remembered."""
    if key is None:
        return
    ensure_ops(connection)
    known = fetched(connection, "SELECT key_check FROM ops.pseudonym_key")
    if not known:
        connection.execute("INSERT INTO ops.pseudonym_key VALUES (?, ?)", [key.check, datetime.now(UTC)])
    elif known != [(key.check,)]:
        raise PseudonymKeyError(
            f"{KEY_VARIABLE} is another key than the one that this warehouse's pseudonyms were made with, so that the "
            "same id would get another pseudonym. Set the variable to that key."
        )
