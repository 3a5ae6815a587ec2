"""What is kept of personal data: keyed hashes, networks, families, and text without addresses and numbers.

Not here: which columns are protected (contracts), where the secret comes from (`landing/pseudonyms.py`), and the kinds
of numbers that the privacy tiers take out of text beside (`scrub.py`).
"""

import hmac
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import polars as pl

REMOVED = "(removed)"
_V4_BITS, _V6_BITS = 24, 48
_REMEMBERED = 1 << 18
_MESSAGE_VERSION = "v1"
_KEY_ID_DIGITS = 16
_CHECKED = b"the key of the pseudonyms of this warehouse"
MAIL = r"[^\s@<>()\[\]\"',;:=&?/]+(?:@|%40)[^\s@<>()\[\]\"',;:=&?/]+\.[^\s@<>()\[\]\"',;:=&?/.]+"
TELEPHONE = r"(?:\+|%2[bB])\d(?:[ ().-]?\d){7,14}"
_PERSONAL = f"{MAIL}|{TELEPHONE}"
_USER_OF_URL = r"^([a-zA-Z][a-zA-Z0-9+.-]*:)?//[^/@]*@"
_AFTER_PATH = r"[?#].*$"


@dataclass(frozen=True)
class PseudonymKey:
    """The secret that makes pseudonyms."""

    secret: bytes = field(repr=False)

    def pseudonym(self, kind: str, value: str) -> str:
        """What is kept of an id of some kind: 64 hexadecimal digits. Its case, and blanks around it, play no part."""
        return hmac.digest(self.secret, f"{kind}\t{_folded(value)}".encode(), "sha256").hex()

    def hashed(self, domain: str, value: str) -> str:
        """What the privacy tiers keep of a value in a domain: 64 hexadecimal digits.

        The HMAC-SHA-256 of `v1|domain|value`, the value in Unicode's normal form C and otherwise as it is.
        """
        said = f"{_MESSAGE_VERSION}|{domain}|{unicodedata.normalize('NFC', value)}"
        return hmac.digest(self.secret, said.encode(), "sha256").hex()

    def of_epoch(self, epoch: str) -> "PseudonymKey":
        """The key of an epoch, such as `2026Q4`: what it makes cannot be joined with that of another epoch.

        No domain is empty, so no value can be hashed to the key of an epoch.
        """
        return PseudonymKey(bytes.fromhex(self.hashed("", f"epoch|{epoch}")))

    @property
    def check(self) -> str:
        """What tells this key from others and nothing else of it."""
        return hmac.digest(self.secret, _CHECKED, "sha256").hex()

    @property
    def key_id(self) -> str:
        """A short name of the key, to write down beside what was made with it: 16 hexadecimal digits of its check."""
        return self.check[:_KEY_ID_DIGITS]


def pseudonyms(ids: pl.Series, kind: str, key: PseudonymKey, absent: Sequence[str] = ()) -> pl.Series:
    """A keyed hash of each id, null for those in `absent`; the case of an id, and blanks around it, play no part."""

    def kept_of(text: str) -> str | None:
        return None if _folded(text) in absent else key.pseudonym(kind, text)

    return each_once(ids, kept_of)


def networks(addresses: pl.Series) -> pl.Series:
    """The network of each IP address, as `192.0.2.0/24` or `2001:db8:1::/48`; null for what is no address."""
    return each_once(addresses, _network)


def scrubbed(text: pl.Expr) -> pl.Expr:
    """Free text without mail addresses and telephone numbers with a country code; each leaves a mark."""
    return text.str.replace_all(_PERSONAL, REMOVED)


def scrubbed_url(url: pl.Expr) -> pl.Expr:
    """A URL without query, fragment and user, and then as free text is scrubbed."""
    return scrubbed(url.str.replace(_AFTER_PATH, "").str.replace(_USER_OF_URL, "${1}//"))


def family(text: pl.Expr, families: tuple[tuple[str, str], ...], other: str) -> pl.Expr:
    """The first family whose pattern is found in a text, or the one for all others; null for null."""
    chosen: Any = pl
    for name, pattern in families:
        chosen = chosen.when(text.str.contains(pattern)).then(pl.lit(name))
    return pl.when(text.is_not_null()).then(chosen.otherwise(pl.lit(other)) if families else pl.lit(other))


def _folded(text: str) -> str:
    return text.lower().strip()


def each_once(texts: pl.Series, kept_of: Callable[[str], str | None]) -> pl.Series:
    """Work out each distinct text once."""
    distinct = texts.drop_nulls().unique()
    if distinct.is_empty():
        return texts
    found = pl.Series([kept_of(text) for text in distinct], dtype=pl.String)
    return texts.replace_strict(distinct, found, default=None, return_dtype=pl.String)


@lru_cache(_REMEMBERED)
def _network(text: str) -> str | None:
    try:
        address = ip_address(re.sub(r"%.*$", "", text.strip()))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ip_network((address, _V4_BITS if address.version == 4 else _V6_BITS), strict=False))
