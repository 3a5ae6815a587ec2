"""Random histories, loaded in several orders, beside a replay in the order of stamps in plain Python."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.warehouse import recognition, versions
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.merge import merge

from .by_hand import ByHand, at

USERS, ORDERS = 200, 3
"""People in a history, each with a random life of its own, and the orders that each history is loaded in."""
FIRST = at("03-07T15:00")
REACH, GUARD = timedelta(days=63), timedelta(days=1)
WITNESSES = {
    "stationaries": ("stationaries", "transports"),
    "transports": ("stationaries", "transports"),
    "moments": ("stationaries", "transports"),
    "segments": ("stationaries", "transports", "moments", "segments"),
    "transports_realtime": (),
}
COMPARED = {
    "stationaries": "user_id, epoch_us(start_at), significance",
    "transports": "user_id, epoch_us(start_at), mode",
    "moments": "user_id, moment_id || epoch_us(start_at), metadata_user_id",
    "segments": "user_id, segment_id, NULL",
    "transports_realtime": "user_id, drive_key[26:], mode",
}
Key = tuple[str, Any]
Version = tuple[str, Any, str | None, str, datetime, datetime | None]


@dataclass
class Snapshot:
    """What each type of one stamp holds: content by user and key. A type that is missing was never delivered."""

    stamp: datetime
    held: dict[str, dict[Key, str | None]] = field(default_factory=dict)


def invent(chance: random.Random) -> list[Snapshot]:
    """Snapshots of people who come and go, and whose past is corrected, withdrawn, and restored."""
    stamps = [FIRST]
    for _ in range(chance.randint(3, 6)):
        stamps.append(stamps[-1] + timedelta(days=chance.choice([7, 7, 7, 8, 14, 70]), hours=chance.randint(0, 3)))
    snapshots = [Snapshot(stamp) for stamp in stamps]
    users = [f"{number:024x}" for number in range(USERS)]
    for offload_type in WITNESSES:
        events = {
            user: [
                FIRST + timedelta(days=chance.randint(-80, (stamps[-1] - FIRST).days), hours=chance.randint(0, 23))
                for _ in range(chance.randint(0, 6))
            ]
            for user in users
        }
        activity = {user: chance.random() for user in users}
        for snapshot in snapshots:
            if chance.random() < 0.1:
                continue
            held: dict[Key, str | None] = {}
            for user in users:
                if chance.random() > activity[user]:
                    continue
                for start in events[user]:
                    age = snapshot.stamp - start
                    in_window = timedelta(0) <= age <= REACH + GUARD * chance.choice([0, 1])
                    if offload_type in ("segments", "transports_realtime"):
                        in_window = chance.random() < 0.5
                    if in_window and chance.random() < 0.85:
                        content = None if offload_type == "segments" else chance.choice(["x", "x", "x", "y"])
                        held[user, key_of(offload_type, start)] = content
            snapshot.held[offload_type] = held
    return snapshots


def key_of(offload_type: str, start: datetime) -> Any:
    micros = round(start.timestamp() * 1_000_000)
    return {"moments": f"m{micros}", "segments": f"s{start.day % 5}", "transports_realtime": f"k{start.day % 9}"}.get(
        offload_type, micros
    )


def row_of(offload_type: str, key: Key, content: str | None) -> dict[str, Any]:
    user, what = key
    if offload_type == "segments":
        return {"user_id": user, "segment_id": what}
    if offload_type == "transports_realtime":
        return {"user_id": user, "drive_key": f"{user} {what}", "start_at": FIRST, "mode": content}
    micros = int(what.removeprefix("m")) if isinstance(what, str) else what
    start = datetime.fromtimestamp(micros / 1_000_000, FIRST.tzinfo)
    named = {"stationaries": "significance", "transports": "mode", "moments": "metadata_user_id"}[offload_type]
    more = {"moment_id": "m", "meta_name": None} if offload_type == "moments" else {}
    return {"user_id": user, "start_at": start, named: content, **more}


def replay(snapshots: list[Snapshot], offload_type: str) -> set[Version]:
    """Walk through the snapshots in the order of their stamps; what each says of its window is the truth from then."""
    chain: dict[Key, list[list[Any]]] = {}
    for snapshot in sorted(snapshots, key=lambda s: s.stamp):
        if offload_type not in snapshot.held:
            continue
        held = snapshot.held[offload_type]
        present = {user for witness in WITNESSES[offload_type] for user, _ in snapshot.held.get(witness, {})}
        for key, said in chain.items():
            if (
                said[-1][1] != "deleted"
                and key not in held
                and key[0] in present
                and reached(offload_type, key, snapshot)
            ):
                said.append([said[-1][0], "deleted", snapshot.stamp])
        for key, content in held.items():
            said = chain.setdefault(key, [])
            if not said:
                said.append([content, "new", snapshot.stamp])
            elif said[-1][1] == "deleted":
                said.append([content, "restored", snapshot.stamp])
            elif said[-1][0] != content:
                said.append([content, "changed", snapshot.stamp])
    return {
        (*key, content, kind, since, said[place + 1][2] if place + 1 < len(said) else None)
        for key, said in chain.items()
        for place, (content, kind, since) in enumerate(said)
    }


def reached(offload_type: str, key: Key, snapshot: Snapshot) -> bool:
    if offload_type == "segments":
        return True
    micros = int(str(key[1]).removeprefix("m"))
    start = datetime.fromtimestamp(micros / 1_000_000, FIRST.tzinfo)
    return start >= snapshot.stamp - REACH + GUARD


def load(hand: ByHand, snapshots: list[Snapshot], chance: random.Random) -> None:
    """Every type of every snapshot in a random order; some first in a version that is replaced later, some twice."""
    loads = [(snapshot, offload_type, True) for snapshot in snapshots for offload_type in snapshot.held]
    chance.shuffle(loads)
    for place, (snapshot, offload_type, _) in enumerate(list(loads)):
        if chance.random() < 0.15:
            loads.insert(chance.randint(0, place), (snapshot, offload_type, chance.random() < 0.3))
    for snapshot, offload_type, is_whole in loads:
        items = list(snapshot.held[offload_type].items())
        if not is_whole:
            items = [(key, content and chance.choice([content, "z"])) for key, content in items[::2]]
        rows = [row_of(offload_type, key, content) for key, content in items]
        chance.shuffle(rows)
        hand.deliver(offload_type, snapshot.stamp, rows, parts=chance.choice([1, 1, 2]))
        if chance.random() < 0.3:
            merge(hand.connection)
    merge(hand.connection)


def history(connection: duckdb.DuckDBPyConnection, feed: str) -> Mapping[str, set[Version]]:
    return {
        offload_type: set(
            connection.execute(
                f"SELECT {columns}, change_kind, known_from, known_to FROM history.{offload_type} WHERE feed = ?",
                [feed],
            ).fetchall()
        )
        for offload_type, columns in COMPARED.items()
    }


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


@pytest.mark.parametrize("seed", range(5))
def test_every_order_of_loads_gives_what_the_order_of_stamps_gives(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five times 200 lives, each with five types, in three orders side by side as three feeds."""
    if seed == 1:
        # Large deliveries are compared and merged in buckets.
        monkeypatch.setattr(recognition, "_ROWS_PER_BUCKET", 40)
        monkeypatch.setattr(versions, "_ROWS_PER_BUCKET", 60)
    snapshots = invent(random.Random(seed))
    for order in range(ORDERS):
        load(ByHand(connection, tmp_path, f"feed {order}"), snapshots, random.Random(1000 * seed + order))
    kinds = set()
    for order in range(ORDERS):
        for offload_type, found in history(connection, f"feed {order}").items():
            expected = replay(snapshots, offload_type)
            assert found == expected, f"{offload_type}, order {order}"
            kinds |= {version[3] for version in found}
    assert kinds == {"new", "changed", "deleted", "restored"}
    for offload_type in COMPARED:
        [(rows, seen)] = connection.execute(
            f"SELECT (SELECT count(*) FROM store.{offload_type}), "
            f"(SELECT count(DISTINCT row_no) FROM store.{offload_type}_sightings)"
        ).fetchall()
        assert rows == seen, "a row is kept as long as it was delivered"
