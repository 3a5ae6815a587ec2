"""Who is erased: the warehouse keeps tombstones instead of ids, and the secret that makes them is nowhere in it.

A tombstone is the HMAC-SHA256 of vendor and id. Whoever has the key can tell whether an id is among those that are
erased; nobody can tell the ids.
"""

import csv
import hmac
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import duckdb

from offload_platform.landing.errors import LandingError
from offload_platform.landing.fingerprint import DELIMITERS
from offload_platform.warehouse.sql import fetched

KEY_VARIABLE = "OFFLOAD_ERASURE_KEY"
SHORTEST_KEY = 32
LONG_FROM = 20
"""Ids of so many characters are found anywhere in a text: they stand in no other word by chance."""

ERASED = "(erased)"
"""Stands in the place of an id in what a row says beside its contract."""

_REMEMBERED = 1 << 18
_CHECKED = b"the key of the erasures of this warehouse"
_NO_WORD = re.compile(r"(?:\\x[0-9a-f]{2}|[^0-9A-Za-z_-])+")


class ErasureKeyError(LandingError):
    """The key of the erasures is missing, too short, or another one; nothing is loaded without it."""


@dataclass(frozen=True)
class ErasureKey:
    """The secret that makes tombstones and signs receipts."""

    secret: bytes = field(repr=False)

    def tombstone(self, vendor: str, value: str) -> str:
        """What is kept of an erased id: 64 hexadecimal digits."""
        return self.sign(f"{vendor}\t{value}".encode())

    def sign(self, said: bytes) -> str:
        """HMAC-SHA256 in hexadecimal digits."""
        return hmac.digest(self.secret, said, "sha256").hex()

    @property
    def check(self) -> str:
        """What tells this key from others and nothing else of it."""
        return self.sign(_CHECKED)


class Erased(Protocol):
    """Ids that are to go. `lengths` are those of the long ones, in characters."""

    @property
    def lengths(self) -> Collection[int]:
        """Lengths of the ids that have `LONG_FROM` characters or more."""

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of them."""


class Plain(frozenset[str]):
    """Ids as they were given."""

    @property
    def lengths(self) -> Collection[int]:
        """Lengths of the long ones."""
        return {len(value) for value in self if len(value) >= LONG_FROM}


class Tombstones:
    """Ids of which only the tombstones are known."""

    def __init__(self, key: ErasureKey, vendor: str, tombstones: Collection[str], lengths: Collection[int]) -> None:
        self.lengths = frozenset(length for length in lengths if length >= LONG_FROM)
        kept = frozenset(tombstones)
        # The same users stand in every block of a part.
        self._is_erased = lru_cache(_REMEMBERED)(lambda value: key.tombstone(vendor, value) in kept)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self._is_erased(value)


def key_from_environment() -> ErasureKey:
    """The key in `OFFLOAD_ERASURE_KEY`.

    Raises:
        ErasureKeyError: there is none, or it is shorter than 32 characters.
    """
    secret = os.environ.get(KEY_VARIABLE, "")
    if len(secret) < SHORTEST_KEY:
        found = f"has {len(secret)} characters" if secret else "is not set"
        raise ErasureKeyError(
            f"{KEY_VARIABLE} {found}; the key of the erasures has at least {SHORTEST_KEY} characters. Set it to the "
            "key that the first erasure was made with; before the first one, make a key (openssl rand -hex 32) and "
            "keep it safe."
        )
    return ErasureKey(secret.encode())


def check_key(connection: duckdb.DuckDBPyConnection, key: ErasureKey) -> None:
    """Raise ErasureKeyError unless the key is the one of all tombstones."""
    if fetched(connection, "SELECT 1 FROM ops.erased WHERE key_check <> ? LIMIT 1", [key.check]):
        raise ErasureKeyError(
            f"{KEY_VARIABLE} is another key than the one that this warehouse's erasures were made with, so that erased "
            "persons cannot be told from others. Set the variable to that key."
        )


def erased_of(connection: duckdb.DuckDBPyConnection, vendor: str) -> Tombstones | None:
    """Who of a vendor's users is erased; None where nobody is, and no key is needed.

    Raises:
        ErasureKeyError: somebody is, and the key is missing or another one.
    """
    if not fetched(
        connection,
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ops' AND table_name = 'erased' "
        "AND database_name = current_database()",
    ):
        return None
    found = fetched(connection, "SELECT tombstone, characters FROM ops.erased WHERE vendor = ?", [vendor])
    if not found:
        return None
    key = key_from_environment()
    check_key(connection, key)
    return Tombstones(key, vendor, [tombstone for tombstone, _ in found], {length for _, length in found})


def names_erased(text: str, erased: Erased) -> bool:
    """Whether an erased id stands in a text: a long one anywhere, a short one as a word or as a field of its own."""
    return any(candidate in erased for candidate in set(_candidates(text, erased.lengths)))


def without_erased(said: str, erased: Erased) -> str:
    """JSON text with a mark in the place of each erased id; where that leaves no JSON, an empty object."""
    found = {candidate for candidate in _candidates(said, erased.lengths) if candidate in erased}
    for value in sorted(found, key=len, reverse=True):
        said = re.sub(re.escape(value), ERASED, said, flags=re.IGNORECASE)
    try:
        json.loads(said)
    except ValueError:
        return "{}"
    return said


def _candidates(text: str, lengths: Collection[int]) -> Iterator[str]:
    # What is broken about a row may be the case of its id.
    for cased in {text, text.lower()}:
        for word in _NO_WORD.split(cased):
            yield word
            for length in lengths:
                yield from (word[start : start + length] for start in range(len(word) - length + 1))
        for delimiter in (*DELIMITERS, '"'):
            yield from (part.strip(' "\r\n') for part in cased.split(delimiter))
        for delimiter in DELIMITERS:
            try:
                yield from next(csv.reader([cased], delimiter=delimiter), [])
            except csv.Error:
                # No CSV with this delimiter; its words and parts are candidates for all that.
                continue
