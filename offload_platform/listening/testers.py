"""Test users: known by a list of keyed hashes, so that no id of a person stands in a file of the configuration.

A login has a new id each time, and users and telephones never leave the operating business: so who is a test user is
told where the ids are, by any of them, and passed on as a flag.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from offload_platform.listening.errors import ListeningError
from offload_platform.privacy.rules import hashed_series
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Feed

TESTER = "is_tester"
_HASH = re.compile(r"[0-9a-f]{64}")
_COMMENT = "#"


def listed(feed: Feed) -> frozenset[str] | None:
    """The hashes on a feed's list of test users; None where it has no list.

    Raises:
        ListeningError: the list cannot be read, or a line of it is no hash; the line is not repeated.
    """
    file = feed.listening.test_users if feed.listening else None
    if file is None:
        return None
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ListeningError(f"{feed.name}: the list of test users cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith(_COMMENT) and not _HASH.fullmatch(line):
            raise ListeningError(
                f"{file}:{number}: no hash of 64 hexadecimal digits. Make the list with: offload listening testers"
            )
    return frozenset(line for line in lines if line and not line.startswith(_COMMENT))


def hashes_of(ids: Iterable[str], domain: str, key: PseudonymKey) -> list[str]:
    """What a list of test users has in the place of some ids, in alphabetical order."""
    return sorted({key.hashed(domain, value) for value in ids})


def is_tester(
    rows: pl.DataFrame, columns: Mapping[str, str], testers: Collection[str] | None, key: PseudonymKey
) -> pl.Series:
    """Whether one of the ids in some columns (with the domains of their hashes) is on the list; null without a list."""
    if testers is None:
        return pl.Series([None], dtype=pl.Boolean).new_from_index(0, rows.height)
    found = [hashed_series(rows[name], domain, key).is_in(list(testers)) for name, domain in columns.items()]
    flags = pl.DataFrame([one.alias(str(number)).fill_null(False) for number, one in enumerate(found)])
    return flags.select(pl.any_horizontal(pl.all())).to_series()
