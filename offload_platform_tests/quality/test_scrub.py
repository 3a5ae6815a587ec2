"""Free text that leaves tags in the place of what says whose it is."""

import polars as pl
import pytest

from offload_platform.quality.scrub import Fragment, tagged

ALL = tuple(Fragment)


def without(text: str | None, *regions: str, fragments: tuple[Fragment, ...] = ALL) -> str | None:
    [kept] = tagged(pl.Series([text], dtype=pl.String), fragments, regions)
    return kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("what is on tonight", "what is on tonight"),
        ("mail ann@example.com, please", "mail idemail, please"),
        ("ann%40example.com", "idemail"),
        ("card 4111 1111 1111 1111 12/26", "card idcard 12/26"),
        ("card 4111-1111-1111-1111.", "card idcard."),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("0000 0000 0000 0000", "0000 0000 0000 0000"),
        ("to ES91 2100 0418 4502 0005 1332 gracias", "to idiban gracias"),
        ("to es9121000418450200051332", "to idiban"),
        ("to ES92 2100 0418 4502 0005 1332", "to ES92 2100 0418 4502 0005 1332"),
        ("call +34 612 345 678 now", "call idphone now"),
        ("call 612 345 678 now", "call idphone now"),
        ("call 0034 612 345 678 now", "call idphone now"),
        ("mi dni es 12345678Z", "mi dni es idnational"),
        ("mi dni es 12345678A", "mi dni es 12345678A"),
        ("nie x-1234567-l", "nie idnational"),
        ("cpf 390.533.447-05", "cpf idnational"),
        ("pasaporte AAA123456", "pasaporte idpassport"),
        ("my passport number is 925076473", "my passport number is idpassport"),
        ("from 192.168.1.100 and 2001:db8::1", "from idip and idip"),
        ("at 10:30:15, version 8.2.0", "at 10:30:15, version 8.2.0"),
        ("", ""),
        (None, None),
    ],
)
def test_each_kind_of_fragment_leaves_its_tag(text: str | None, kept: str | None) -> None:
    assert without(text, "ES", "BR") == kept


def test_a_country_that_is_not_named_has_no_papers_and_no_short_telephone_numbers() -> None:
    assert without("dni 12345678Z, tel 612 345 678") == "dni 12345678Z, tel 612 345 678"


def test_only_what_is_asked_for_is_looked_for() -> None:
    assert without("a@example.com 4111111111111111", fragments=(Fragment.CARD,)) == "a@example.com idcard"


def test_two_of_a_kind_leave_two_tags() -> None:
    assert without("4111111111111111 and 5500 0000 0000 0004") == "idcard and idcard"
