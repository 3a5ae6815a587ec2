"""Free text without what says whose it is: addresses, numbers of cards, accounts, telephones and papers.

This is what the privacy tiers ask for: each kind of fragment leaves its own tag, and numbers are recognised by their
check digits, so that an order number is no card. What loads take out at once is in `protect.py`, with the patterns that
both use. Names of people are found by neither.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from ipaddress import ip_address
from typing import Any

import phonenumbers
import polars as pl
import stdnum
import stdnum.iban
import stdnum.luhn

from offload_platform.quality.protect import MAIL, TELEPHONE, each_once

_ADDRESS = re.compile(
    r"(?<![0-9A-Za-z:.])(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:])"
)
_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z])(?:[A-Z]{1,3}\d{6,8}|(?=(?:[A-Z]*\d){2})[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8})(?![0-9A-Za-z])"
)
_BESIDE_PASSPORT = re.compile(
    r"((?:passport|pasaporte|passeport|passaporte|passaporto|reisepass|paspoort)\W+(?:[^\W\d]+\W+){0,3})"
    r"((?=[A-Z]*\d)[A-Z0-9]{6,9})(?![0-9A-Za-z])",
    re.IGNORECASE,
)
_CARD_FROM, _IBAN_FROM, _PAPER_FROM = (
    re.compile(r"(?<![0-9A-Za-z])\d"),
    re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}\d{2}"),
    re.compile(r"(?<![0-9A-Za-z])(?=[A-Za-z]*\d|[A-Za-z][ .\-/]\d)[0-9A-Za-z]"),
)
_MAY_HOLD_ANYTHING = re.compile(r"\d.*\d|@|%40|:", re.DOTALL)
_PAPERS: Mapping[str, tuple[str, ...]] = {
    "AR": ("dni",),
    "BE": ("nn",),
    "BR": ("cpf",),
    "CL": ("rut",),
    "CO": ("nit",),
    "DE": ("idnr",),
    "DK": ("cpr",),
    "EC": ("ci",),
    "ES": ("dni", "nie"),
    "FI": ("hetu",),
    "FR": ("nir",),
    "GB": ("nhs",),
    "IT": ("codicefiscale",),
    "MX": ("curp",),
    "NL": ("bsn",),
    "NO": ("fodselsnummer",),
    "PE": ("cui",),
    "PL": ("pesel",),
    "PT": ("cc",),
    "SE": ("personnummer",),
    "US": ("ssn",),
}
"""Numbers of persons' papers by country, as python-stdnum names them."""

PAPER_REGIONS = frozenset(_PAPERS)
"""Countries of whose papers the numbers are known."""


class Fragment(StrEnum):
    """What is looked for in free text, by the name in rule files."""

    EMAIL = "email"
    IP = "ip"
    IBAN = "iban"
    CARD = "card"
    PASSPORT = "passport"
    NATIONAL_ID = "national_id"
    PHONE = "phone"

    @property
    def tag(self) -> str:
        """What stands in its place."""
        return f"id{self.value.removesuffix('_id')}"


def tagged(texts: pl.Series, fragments: Collection[Fragment], regions: Sequence[str] = ()) -> pl.Series:
    """Texts with a tag (`idemail`, `idcard` …) in the place of each fragment of some kinds.

    `regions` are ISO 3166 codes of the countries whose telephone numbers without a country code, and whose papers, are
    looked for.
    """
    # In the order of the kinds: what is surer, or longer, goes before what could be taken for a part of it.
    tagging = [_TAGGING[fragment] for fragment in Fragment if fragment in fragments]

    def without(text: str) -> str:
        if _MAY_HOLD_ANYTHING.search(text):
            for tag_each in tagging:
                text = tag_each(text, regions)
        return text

    return each_once(texts, without)


def _emails(text: str, _: Sequence[str]) -> str:
    return re.sub(MAIL, Fragment.EMAIL.tag, text)


def _addresses(text: str, _: Sequence[str]) -> str:
    def tag_of(found: re.Match[str]) -> str:
        try:
            ip_address(found[0])
        except ValueError:
            return found[0]
        return Fragment.IP.tag

    return _ADDRESS.sub(tag_of, text)


def _ibans(text: str, _: Sequence[str]) -> str:
    def is_iban(number: str) -> bool:
        # Whether the bank is known is another question: lists of banks age.
        return bool(stdnum.iban.is_valid(number, check_country=False))

    return _replaced(text, Fragment.IBAN, _IBAN_FROM, " -", range(15, 35), is_iban)


def _cards(text: str, _: Sequence[str]) -> str:
    def is_card(number: str) -> bool:
        return number.isdecimal() and len(set(number)) > 1 and bool(stdnum.luhn.is_valid(number))

    return _replaced(text, Fragment.CARD, _CARD_FROM, " -", range(13, 20), is_card)


def _papers(text: str, regions: Sequence[str]) -> str:
    kinds = [kind for region in regions for kind in _papers_of(region)]

    def is_paper(number: str) -> bool:
        return any(kind.is_valid(number) for kind in kinds)

    return _replaced(text, Fragment.NATIONAL_ID, _PAPER_FROM, " .-/", range(7, 19), is_paper) if kinds else text


def _telephones(text: str, regions: Sequence[str]) -> str:
    text = re.sub(TELEPHONE, Fragment.PHONE.tag, text)
    for region in regions:
        found = [(match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(text, region)]
        text = _with_tag(text, Fragment.PHONE, found)
    return text


def _passports(text: str, _: Sequence[str]) -> str:
    return _BESIDE_PASSPORT.sub(rf"\1{Fragment.PASSPORT.tag}", _PASSPORT.sub(Fragment.PASSPORT.tag, text))


_TAGGING: Mapping[Fragment, Callable[[str, Sequence[str]], str]] = {
    Fragment.EMAIL: _emails,
    Fragment.IP: _addresses,
    Fragment.IBAN: _ibans,
    Fragment.CARD: _cards,
    Fragment.NATIONAL_ID: _papers,
    Fragment.PHONE: _telephones,
    Fragment.PASSPORT: _passports,
}


@cache
def _papers_of(region: str) -> tuple[Any, ...]:
    return tuple(stdnum.get_cc_module(region.lower(), name) for name in _PAPERS.get(region, ()))


def _replaced(
    text: str,
    fragment: Fragment,
    starts: re.Pattern[str],
    separators: str,
    lengths: range,
    is_one: Callable[[str], bool],
) -> str:
    """Put the tag in the place of each number that begins where `starts` is found: the longest one that `is_one`.

    People write numbers in groups, and go on writing: so each end of a group is tried, the furthest one first.
    """
    found: list[tuple[int, int]] = []
    for start in starts.finditer(text):
        if not found or start.start() >= found[-1][1]:
            ends = [(end, number) for end, number in _ends(text, start.start(), separators, lengths.stop)]
            for end, number in reversed(ends):
                if len(number) in lengths and is_one(number):
                    found.append((start.start(), end))
                    break
    return _with_tag(text, fragment, found)


def _ends(text: str, start: int, separators: str, longest: int) -> Iterator[tuple[int, str]]:
    """Ends of groups behind a start, with the letters and digits up to there."""
    number = ""
    for at in range(start, len(text)):
        if text[at].isascii() and text[at].isalnum():
            number += text[at]
            if len(number) >= longest:
                return
            if at + 1 == len(text) or not text[at + 1].isalnum():
                yield at + 1, number
        elif text[at] not in separators or text[at - 1] in separators:
            return


def _with_tag(text: str, fragment: Fragment, found: Sequence[tuple[int, int]]) -> str:
    for start, end in reversed(found):
        text = text[:start] + fragment.tag + text[end:]
    return text
