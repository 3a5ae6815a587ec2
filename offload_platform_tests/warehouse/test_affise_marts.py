"""The marts of clicks and conversions: a small history whose answers are worked out by hand."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.marts import ensure_marts
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.views import ensure_tables

from .by_hand import ByHand, at

Row = dict[str, Any]
NOON = at("03-07T12:00")


def click(number: int, minutes: int = 0, **said: Any) -> Row:
    usual = {"offer_id": "7", "partner_id": "p", "country": "BE", "sub1": "campaign"}
    return {"click_id": f"k{number}", "created_at": NOON + timedelta(minutes=minutes), **usual} | said


def conversion(number: int, status: str, changed: int = 0, **said: Any) -> Row:
    money = {"payout": Decimal("1.10"), "revenue": Decimal("2.20"), "currency": "EUR"}
    usual = {"offer_id": "7", "partner_id": "p", "click_id": f"k{number}", "created_at": NOON + timedelta(minutes=30)}
    when = {"changed_at": NOON + timedelta(minutes=30 + changed)}
    return {"conversion_id": f"c{number}", "status": status, "status_raw": status, **usual, **money, **when} | said


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[ByHand]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield ByHand(connection, tmp_path)


def asked(hand: ByHand, sql: str) -> list[tuple[Any, ...]]:
    for contract in vendor_named("affise").contracts.values():
        ensure_tables(hand.connection, contract)
    merge(hand.connection)
    ensure_marts(hand.connection, "affise")
    return hand.connection.execute(sql).fetchall()


def test_attribution_keeps_orphans_and_fills_them(hand: ByHand) -> None:
    hand.deliver(
        "conversions",
        at("03-07T13:00"),
        [conversion(1, "hold", sub1=None), conversion(2, "hold"), conversion(3, "hold", click_id=None)],
    )
    hand.deliver("clicks", at("03-07T12:15"), [click(1)])
    hand.deliver("clicks", at("03-07T12:15"), [click(2)], feed="another")
    sql = (
        "SELECT conversion_id, is_orphan, click_known_from IS NOT NULL, seconds_to_convert, sub1, click_country "
        "FROM mart.attribution ORDER BY ALL"
    )
    assert asked(hand, sql) == [
        ("c1", False, True, 1800, "campaign", "BE"),
        ("c2", True, False, None, None, None),
        ("c3", False, False, None, None, None),
    ]
    hand.deliver("clicks", at("03-07T16:00"), [click(2, 40, partner_id="q")])
    assert asked(hand, sql)[1] == ("c2", False, True, -600, "campaign", "BE")
    assert asked(hand, "SELECT partner_id, click_partner_id FROM mart.attribution WHERE conversion_id = 'c2'") == [
        ("p", "q")
    ]


def test_changes_of_status_and_money_are_told_and_steps_back_are_marked(hand: ByHand) -> None:
    hand.deliver("conversions", at("03-07T13:00"), [conversion(1, "hold"), conversion(2, "declined")])
    hand.deliver("conversions", at("03-07T14:00"), [conversion(1, "confirmed", 60)])
    hand.deliver("conversions", at("03-07T15:00"), [conversion(1, "confirmed", 120, comment="seen")])
    hand.deliver("conversions", at("03-08T15:00"), [conversion(1, "confirmed", 1440, payout=Decimal("9.99"))])
    hand.deliver("conversions", at("03-09T15:00"), [conversion(1, "pending", 2880, payout=Decimal("9.99"))])
    sql = (
        "SELECT conversion_id, status_before, status, payout_before, payout, is_backwards, change_age_days "
        "FROM mart.conversion_change ORDER BY conversion_id, known_from"
    )
    low, high = Decimal("1.10"), Decimal("9.99")
    assert asked(hand, sql) == [
        ("c1", None, "hold", None, low, False, 0.0),
        ("c1", "hold", "confirmed", low, low, False, 60 / 1440),
        ("c1", "confirmed", "confirmed", low, high, False, 1.0),
        ("c1", "confirmed", "pending", high, high, True, 2.0),
        ("c2", None, "declined", None, low, False, 0.0),
    ]


def test_a_day_of_a_partner_adds_up_to_the_cent(hand: ByHand) -> None:
    hand.deliver("clicks", at("03-07T12:15"), [click(1), click(2), click(3), click(4, 720)])
    hand.deliver(
        "conversions",
        at("03-07T13:00"),
        [
            *(conversion(number, "confirmed", payout=Decimal("0.10"), revenue=Decimal("0.30")) for number in range(30)),
            *(conversion(number, "hold") for number in range(30, 33)),
            conversion(40, "declined"),
            conversion(41, "confirmed", currency="USD"),
        ],
    )
    sql = (
        "SELECT day::VARCHAR, currency, clicks, conversions, confirmed, waiting, declined, payout_confirmed, "
        "revenue_confirmed FROM mart.partner_day ORDER BY day, currency NULLS FIRST"
    )
    assert asked(hand, sql) == [
        ("2026-03-07", None, 3, 0, 0, 0, 0, None, None),
        ("2026-03-07", "EUR", 0, 34, 30, 3, 1, Decimal("3.00"), Decimal("9.00")),
        ("2026-03-07", "USD", 0, 1, 1, 0, 0, Decimal("1.10"), Decimal("2.20")),
        ("2026-03-08", None, 1, 0, 0, 0, 0, None, None),
    ]
