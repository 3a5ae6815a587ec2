"""Random changes of conversions, loaded in several orders, beside a replay in the order of stamps in plain Python."""

import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.merge import merge

from .by_hand import ByHand, at

CONVERSIONS, ORDERS, SLOTS = 120, 3, 30
FIRST = at("03-07T00:00")
STATUSES = ("hold", "pending", "confirmed", "declined")
Row = dict[str, Any]
Version = tuple[str, str, Decimal, datetime, str, datetime, datetime | None]


def invent(chance: random.Random) -> dict[datetime, list[Row]]:
    """What each slot holds. Some changes are told again later, some before an earlier one, some at the same time."""
    slots: dict[datetime, list[Row]] = {FIRST + timedelta(minutes=15 * number): [] for number in range(SLOTS)}
    stamps = list(slots)
    for number in range(CONVERSIONS):
        changed_at = FIRST - timedelta(minutes=chance.randint(0, 600))
        for _ in range(chance.randint(1, 6)):
            row = {
                "conversion_id": f"c{number}",
                "status": chance.choice(STATUSES),
                "payout": Decimal(chance.randint(1, 3)),
                "created_at": FIRST,
                "changed_at": changed_at,
            }
            for stamp in chance.sample(stamps, chance.choice([1, 1, 1, 2, 3])):
                slots[stamp].append(row)
            if chance.random() < 0.8:
                changed_at += timedelta(minutes=chance.randint(1, 300))
    for rows in slots.values():
        chance.shuffle(rows)
    return slots


def replay(slots: Mapping[datetime, list[Row]]) -> set[Version]:
    """Walk through the slots in the order of their stamps, and through the lines of each; the latest change counts."""
    told: dict[str, list[tuple[Row, datetime]]] = {}
    newest: dict[str, datetime] = {}
    for stamp in sorted(slots):
        said: dict[str, Row] = {}
        for row in slots[stamp]:
            before = said.get(row["conversion_id"])
            if before is None or row["changed_at"] >= before["changed_at"]:
                said[row["conversion_id"]] = row
        for conversion, row in said.items():
            if conversion in newest and row["changed_at"] < newest[conversion]:
                continue
            newest[conversion] = row["changed_at"]
            chain = told.setdefault(conversion, [])
            if not chain or chain[-1][0] != row:
                chain.append((row, stamp))
    return {
        (
            *(conversion, row["status"], row["payout"], row["changed_at"], "changed" if place else "new", since),
            chain[place + 1][1] if place + 1 < len(chain) else None,
        )
        for conversion, chain in told.items()
        for place, (row, since) in enumerate(chain)
    }


def load(hand: ByHand, slots: Mapping[datetime, list[Row]], chance: random.Random) -> None:
    """Every slot in a random order; some first with fewer rows or other ones, and rewritten later; some twice."""
    loads = [(stamp, "as it is") for stamp in slots]
    chance.shuffle(loads)
    for place, (stamp, _) in enumerate(list(loads)):
        if chance.random() < 0.3:
            loads.insert(chance.randint(0, place), (stamp, chance.choice(["as it is", "short", "other"])))
    for stamp, how in loads:
        rows = list(slots[stamp])
        if how == "short":
            rows = rows[::2]
        elif how == "other":
            later = FIRST + timedelta(days=9)
            rows = [row | {"status": "declined", "changed_at": later} for row in rows] + [
                {"conversion_id": "never again", "status": "hold", "created_at": FIRST, "changed_at": later}
            ]
        hand.deliver("conversions", stamp, rows)
        if chance.random() < 0.2:
            merge(hand.connection)
    for stamp in slots:
        if chance.random() < 0.1:
            hand.deliver("conversions", stamp, slots[stamp])
    merge(hand.connection)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


@pytest.mark.parametrize("seed", range(3))
def test_every_order_of_loads_gives_the_latest_change(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, seed: int
) -> None:
    slots = invent(random.Random(seed))
    expected = replay(slots)
    assert {version[4] for version in expected} == {"new", "changed"}
    for order in range(ORDERS):
        load(ByHand(connection, tmp_path, f"feed {order}"), slots, random.Random(1000 * seed + order))
    for order in range(ORDERS):
        found = connection.execute(
            "SELECT conversion_id, status, payout, changed_at, change_kind, known_from, known_to "
            "FROM history.conversions WHERE feed = ?",
            [f"feed {order}"],
        ).fetchall()
        assert set(found) == expected, f"order {order}"
        assert len(found) == len(expected)
    [(now, newest)] = connection.execute(
        "SELECT count(*), count(*) FILTER (changed_at = (SELECT max(d.changed_at) FROM delivered.conversions AS d "
        "WHERE d.feed = c.feed AND d.conversion_id = c.conversion_id)) FROM affise.conversions AS c"
    ).fetchall()
    assert now == newest == ORDERS * CONVERSIONS


def test_an_outdated_row_counts_once_the_later_change_is_rewritten(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    hand = ByHand(connection, tmp_path)
    row = {"conversion_id": "c", "status": "hold", "created_at": FIRST, "changed_at": at("03-07T08:00")}
    later = row | {"status": "confirmed", "changed_at": at("03-07T09:00")}
    hand.deliver("conversions", at("03-07T10:00"), [later])
    hand.deliver("conversions", at("03-07T10:15"), [row])
    merge(connection)
    status = "SELECT status, strftime(known_from, '%H:%M') FROM affise.conversions"
    assert connection.execute(status).fetchall() == [("confirmed", "10:00")]
    hand.deliver("conversions", at("03-07T10:00"), [])
    merge(connection)
    assert connection.execute(status).fetchall() == [("hold", "10:15")]
