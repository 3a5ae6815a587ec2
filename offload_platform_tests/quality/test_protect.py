"""What is kept of personal data."""

import polars as pl
import pytest

from offload_platform.quality.decimals import decimals, is_rounded
from offload_platform.quality.protect import PseudonymKey, family, networks, pseudonyms, scrubbed, scrubbed_url

KEY, OTHER = PseudonymKey(b"k" * 32), PseudonymKey(b"o" * 32)
MONEY = pl.Decimal(18, 4)


def worked_out(expression: pl.Expr, *texts: str | None) -> list[str | None]:
    return pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(expression).to_series().to_list()


def test_a_pseudonym_is_the_same_for_the_same_id_of_a_kind_and_key_alone() -> None:
    ids = pl.Series(["AB-12", " ab-12 ", "ab-13", None])
    [one, same, other, none] = pseudonyms(ids, "device", KEY)
    assert one == same != other
    assert none is None
    assert len(one) == 64
    assert pseudonyms(ids, "user", KEY)[0] != one
    assert pseudonyms(ids, "device", KEY, absent=("ab-13",)).to_list() == [one, one, None, None]
    assert pseudonyms(ids, "device", OTHER)[0] != one


def test_the_key_is_not_shown() -> None:
    assert "kkkk" not in repr(KEY)
    assert KEY.check != OTHER.check


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        (" 192.0.2.77 ", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("192.0.2.777", None),
        ("unknown", None),
        (None, None),
    ],
)
def test_an_address_becomes_its_network(address: str | None, network: str | None) -> None:
    assert networks(pl.Series([address], dtype=pl.String)).to_list() == [network]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("spring sale", "spring sale"),
        ("1234567890123", "1234567890123"),
        ("jan.peeters+x@mail.example.co.uk", "(removed)"),
        ("mail=jan%40example.com&a=1", "mail=(removed)&a=1"),
        ("from jan@example.com, to an@example.com.", "from (removed), to (removed)."),
        ("call +32 470 12 34 56 now", "call (removed) now"),
        ("5a689ab0e97b960500002109", "5a689ab0e97b960500002109"),
        (None, None),
    ],
)
def test_free_text_is_scrubbed(text: str | None, kept: str | None) -> None:
    assert worked_out(scrubbed(pl.col("text")), text) == [kept]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://news.example.org/a?reader=7#top", "https://news.example.org/a"),
        ("https://jan:secret@example.org/a", "https://example.org/a"),
        ("//jan@example.org/a", "//example.org/a"),
        ("https://example.org/of/jan@example.com/x", "https://example.org/of/(removed)/x"),
        ("android-app://com.example", "android-app://com.example"),
    ],
)
def test_a_url_loses_query_fragment_and_user(url: str, kept: str) -> None:
    assert worked_out(scrubbed_url(pl.col("text")), url) == [kept]


def test_a_text_becomes_the_first_family_that_is_found_in_it() -> None:
    families = (("edge", "Edg/"), ("chrome", "Chrome/"))
    found = worked_out(family(pl.col("text"), families, "other"), "Chrome/1 Edg/2", "Chrome/1", "Lynx", None)
    assert found == ["edge", "chrome", "other", None]


@pytest.mark.parametrize(
    ("text", "amount", "rounded"),
    [
        ("12.5", "12.5000", False),
        ("0.1", "0.1000", False),
        ("-3", "-3.0000", False),
        ("1e-3", "0.0010", False),
        ("0.12345", "0.1234", True),
        ("0.12355", "0.1236", True),
        ("99999999999999.9999", "99999999999999.9999", False),
        ("100000000000000", None, False),
        ("1,5", None, False),
        ("NaN", None, False),
        ("", None, False),
    ],
)
def test_an_amount_is_exact(text: str, amount: str | None, rounded: bool) -> None:
    texts = pl.Series([text, None])
    found = decimals(texts, MONEY)
    assert found.dtype == MONEY
    assert [None if value is None else str(value) for value in found] == [amount, None]
    assert is_rounded(texts, found).to_list() == [rounded, False]
