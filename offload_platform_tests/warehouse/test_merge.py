"""The merge rule: worked examples, and random histories beside a replay in the order of stamps, in plain Python."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.warehouse import versions as rule
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.versions import Versions

from .by_hand import ByHand, at

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
S1, S2, S3 = at("03-07T15:00"), at("03-14T15:00"), at("03-21T15:00")
Row = dict[str, Any]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(tmp_path / "build.duckdb", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def hand(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> ByHand:
    return ByHand(connection, tmp_path)


def trip(user: str, start: str | datetime, mode: str = "car", km: float = 1.0) -> Row:
    begin = at(start) if isinstance(start, str) else start
    return {"user_id": user, "start_at": begin, "mode": mode, "distance_m": km * 1000}


def stay(user: str, start: str, end: str | None = None) -> Row:
    return {"user_id": user, "start_at": at(start), "end_at": at(end) if end else None, "is_open": end is None}


def current(hand: ByHand, table: str, columns: str) -> list[tuple[Any, ...]]:
    merge(hand.connection)
    return hand.connection.execute(f"SELECT {columns} FROM sentiance.{table} ORDER BY ALL").fetchall()


def versions(hand: ByHand, table: str, columns: str) -> list[tuple[Any, ...]]:
    merge(hand.connection)
    return hand.connection.execute(
        f"SELECT {columns}, change_kind, strftime(known_from, '%m-%d'), strftime(known_to, '%m-%d') "
        f"FROM history.{table} ORDER BY ALL"
    ).fetchall()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_slide_out_correction_withdrawal(hand: ByHand, order: Sequence[int]) -> None:
    """Example A: silence about what left the window says nothing; the newest row wins; what is gone is retired."""
    old, bus, lost = (
        trip(ANN, "01-04T08:00", km=5),
        trip(ANN, "03-01T08:00", "bus", 3),
        trip(ANN, "03-05T18:00", km=9.9),
    )
    tram, walk = trip(ANN, "03-01T08:00", "tram", 3.1), trip(ANN, "03-20T07:00", "walking")
    snapshots = ((S1, [old, bus, lost]), (S2, [tram]), (S3, [tram, walk]))
    for number in (*order, order[-1]):
        hand.deliver("transports", *snapshots[number])
        merge(hand.connection)
    assert current(hand, "transports", "mode, distance_m, strftime(known_from, '%m-%d')") == [
        ("car", 5000.0, "03-07"),
        ("tram", 3100.0, "03-14"),
        ("walking", 1000.0, "03-21"),
    ]
    assert versions(hand, "transports", "strftime(start_at, '%m-%d'), mode") == [
        ("01-04", "car", "new", "03-07", None),
        ("03-01", "bus", "new", "03-07", "03-14"),
        ("03-01", "tram", "changed", "03-14", None),
        ("03-05", "car", "deleted", "03-14", None),
        ("03-05", "car", "new", "03-07", "03-14"),
        ("03-20", "walking", "new", "03-21", None),
    ]
    as_of = "SELECT mode FROM history.transports_as_of(TIMESTAMPTZ '2026-03-10 00:00:00+00') ORDER BY ALL"
    assert hand.connection.execute(as_of).fetchall() == [("bus",), ("car",), ("car",)]
    [(rows, delivered)] = hand.connection.execute(
        "SELECT (SELECT count(*) FROM store.transports), (SELECT count(*) FROM delivered.transports)"
    ).fetchall()
    assert (rows, delivered) == (5, 6), "a row that is delivered twice is kept once"


def test_an_absent_user_retires_nothing_until_it_is_back(hand: ByHand) -> None:
    """Example B."""
    first, second = trip(BEN, "03-01T08:00"), trip(BEN, "03-02T08:00")
    hand.deliver("transports", S1, [first, second])
    hand.deliver("transports", S2, [trip(ANN, "03-10T08:00")])
    assert current(hand, "transports", "user_id[1], strftime(start_at, '%d')") == [
        ("a", "10"),
        ("b", "01"),
        ("b", "02"),
    ]
    hand.deliver("transports", S3, [first])
    assert current(hand, "transports", "user_id[1], strftime(start_at, '%d')") == [("a", "10"), ("b", "01")]
    assert versions(hand, "transports", "user_id[1], strftime(start_at, '%d')")[-2:] == [
        ("b", "02", "deleted", "03-21", None),
        ("b", "02", "new", "03-07", "03-21"),
    ]


def test_a_trip_that_is_cut_anew_is_not_counted_twice(hand: ByHand) -> None:
    """Example C."""
    hand.deliver("transports", S1, [trip(CID, "03-06T08:00")])
    hand.deliver("transports", S2, [trip(CID, "03-06T08:03", "walking"), trip(CID, "03-06T08:09")])
    assert current(hand, "transports", "strftime(start_at, '%H:%M'), mode") == [("08:03", "walking"), ("08:09", "car")]


def test_an_open_stay_is_closed_by_the_next_snapshot(hand: ByHand) -> None:
    """Example D."""
    hand.deliver("stationaries", S1, [stay(ANN, "03-06T20:00"), stay(BEN, "03-06T21:00")])
    hand.deliver("stationaries", S2, [stay(ANN, "03-06T20:00", "03-07T07:40")])
    assert current(hand, "stationaries", "user_id[1], is_open, strftime(end_at, '%H:%M')") == [
        ("a", False, "07:40"),
        ("b", True, None),
    ]


def test_the_edge_of_the_window_is_not_judged(hand: ByHand) -> None:
    """Example F: the window of the third snapshot begins on 01-17 at 15:00; a day from there is left to the vendor."""
    starts = ("01-17T14:00", "01-18T10:00", "01-18T16:00")
    hand.deliver("transports", S1, [trip(ANN, start) for start in starts])
    hand.deliver("transports", S3, [trip(ANN, "03-20T07:00")])
    assert current(hand, "transports", "strftime(start_at, '%m-%d %H')") == [
        ("01-17 14",),
        ("01-18 10",),
        ("03-20 07",),
    ]


def test_who_has_no_trip_is_present_by_a_stay(hand: ByHand) -> None:
    """The witness may be loaded after what it bears witness against; a label or a moment is no witness of trips."""
    hand.deliver("transports", S1, [trip(ANN, "03-05T08:00"), trip(BEN, "03-05T08:00")])
    hand.deliver("transports", S2, [])
    hand.deliver("segments", S2, [{"user_id": BEN, "segment_id": "x"}])
    assert current(hand, "transports", "user_id[1]") == [("a",), ("b",)]
    hand.deliver("stationaries", S2, [stay(ANN, "03-10T20:00")])
    assert current(hand, "transports", "user_id[1]") == [("b",)]
    hand.deliver("stationaries", S2, [stay(CID, "03-10T20:00")])
    assert current(hand, "transports", "user_id[1]") == [("a",), ("b",)], "the witness was withdrawn"


def test_what_may_lie_in_quarantine_is_not_retired(hand: ByHand) -> None:
    hand.deliver("transports", S1, [trip(ANN, "03-05T08:00"), trip(BEN, "03-05T08:00")])
    raw = f"{ANN},,2026-03-05T08:00:00+00:00,far"
    hand.deliver("transports", S2, [trip(ANN, "03-10T08:00"), trip(BEN, "03-10T08:00")], quarantined=[raw])
    assert current(hand, "transports", "user_id[1], strftime(start_at, '%m-%d')") == [
        ("a", "03-05"),
        ("a", "03-10"),
        ("b", "03-10"),
    ]


def test_a_label_ends_with_the_first_snapshot_that_knows_the_user_without_it(hand: ByHand) -> None:
    """Any file of a snapshot shows that a user is known to it; exact repetitions are one label."""
    hand.deliver("segments", S1, [{"user_id": user, "segment_id": name} for user in (ANN, BEN) for name in "xyx"])
    hand.deliver("segments", S2, [{"user_id": ANN, "segment_id": "y"}])
    hand.deliver("moments", S3, [{"user_id": BEN, "moment_id": "m", "start_at": at("03-20T08:00")}])
    hand.deliver("segments", S3, [{"user_id": ANN, "segment_id": name} for name in "xy"])
    assert current(hand, "segments", "user_id[1], segment_id") == [("a", "x"), ("a", "y")]
    assert versions(hand, "segments", "user_id[1], segment_id") == [
        ("a", "x", "deleted", "03-14", "03-21"),
        ("a", "x", "new", "03-07", "03-14"),
        ("a", "x", "restored", "03-21", None),
        ("a", "y", "new", "03-07", None),
        ("b", "x", "deleted", "03-21", None),
        ("b", "x", "new", "03-07", "03-21"),
        ("b", "y", "deleted", "03-21", None),
        ("b", "y", "new", "03-07", "03-21"),
    ]


def test_an_attribute_without_a_value_overwrites_and_one_that_is_dropped_goes(hand: ByHand) -> None:
    def attribute(name: str, value: str | None) -> Row:
        return {"user_id": ANN, "attribute": name, "value_raw": value, "value_text": value}

    hand.deliver("attributes.long", S1, [attribute("home", "Ghent"), attribute("work", "Lier"), attribute("old", "1")])
    hand.deliver("attributes.long", S2, [attribute("home", None), attribute("work", "Lier")])
    hand.deliver("stationaries", S3, [stay(ANN, "03-20T20:00")])
    hand.deliver("attributes.long", S3, [])
    assert current(hand, "attributes_long", "attribute, value_text") == [("home", None), ("work", "Lier")]


def test_a_drive_that_comes_back_is_one_drive_and_none_is_retired_by_absence(hand: ByHand) -> None:
    """Example H, and reprocessing: the newest data day wins, by the vendor's id or else by user and start."""
    day = [datetime(2026, 12, number, tzinfo=UTC) for number in range(8)[1:]]

    def drive(event_id: str | None, start: str, score: float) -> Row:
        key = event_id or f"{ANN}@{start}"
        return {
            "user_id": ANN,
            "event_id": event_id,
            "drive_key": key,
            "start_at": at(start),
            "mode": "car",
            "score_legal": score,
        }

    hand.deliver("transports_realtime", day[6], [drive("1", "12-05T08:00", 0.5), drive(None, "12-05T09:00", 0.6)])
    hand.deliver("transports_realtime", day[4], [drive("1", "12-05T08:01", 0.4), drive(None, "12-05T09:00", 0.3)])
    hand.deliver("transports_realtime", day[5], [])
    assert current(hand, "transports_realtime", "event_id, score_legal, data_day::VARCHAR") == [
        ("1", 0.5, "2026-12-07"),
        (None, 0.6, "2026-12-07"),
    ]
    again = [drive("1", "12-05T08:00", 0.5)]
    hand.deliver("transports_realtime", day[6], again)
    assert current(hand, "transports_realtime", "event_id, score_legal, data_day::VARCHAR") == [
        ("1", 0.5, "2026-12-07"),
        (None, 0.3, "2026-12-05"),
    ], "a run that is done again is a statement about its whole day (example I)"


def test_scores_of_each_day_are_kept(hand: ByHand) -> None:
    for number in (2, 1):
        hand.deliver("scores_realtime", datetime(2026, 12, number, tzinfo=UTC), [{"user_id": ANN, "score_legal": 0.5}])
    assert current(hand, "scores_realtime", "data_day::VARCHAR, score_legal") == [
        ("2026-12-01", 0.5),
        ("2026-12-02", 0.5),
    ]


def test_contents_of_one_key_in_one_snapshot_are_one_row_whatever_their_order(hand: ByHand) -> None:
    rows = [trip(ANN, "03-05T08:00", mode) for mode in ("car", "bus", "tram")]
    hand.deliver("transports", S1, rows, parts=3)
    [(mode,)] = current(hand, "transports", "mode")
    hand.deliver("transports", S2, rows[::-1])
    assert current(hand, "transports", "mode") == [(mode,)]
    assert versions(hand, "transports", "mode") == [(mode, "new", "03-07", None)]


def test_nothing_is_left_of_a_delivery_that_was_replaced(hand: ByHand) -> None:
    hand.deliver("transports", S1, [trip(ANN, "03-05T08:00"), trip(BEN, "01-01T08:00")])
    merge(hand.connection)
    hand.deliver("transports", S1, [trip(ANN, "03-06T08:00")])
    assert current(hand, "transports", "user_id[1], strftime(start_at, '%m-%d')") == [("a", "03-06")]
    assert len(versions(hand, "transports", "user_id[1]")) == 1
    assert hand.connection.execute("SELECT count(*) FROM store.transports").fetchall() == [(1,)]


def test_merging_again_changes_nothing(hand: ByHand) -> None:
    hand.deliver("transports", S1, [trip(ANN, "03-05T08:00")])
    assert [m.versions for m in merge(hand.connection)] == [{"new": 1}]
    assert merge(hand.connection) == []
    hand.deliver("transports", S1, [trip(ANN, "03-05T08:00")])
    before = hand.connection.execute("SELECT *, rowid FROM store.transports_versions").fetchall()
    merge(hand.connection)
    assert hand.connection.execute("SELECT *, rowid FROM store.transports_versions").fetchall() == before


def test_what_a_bucket_takes_is_given_back_before_the_next(hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one transaction for all of them, temporary tables would fill memory and disk to its end."""
    hand.deliver("stationaries", S1, [stay(f"{user:024x}", "03-05T18:00") for user in range(20_000)])
    monkeypatch.setattr(rule, "_ROWS_PER_BUCKET", 500)
    watching = hand.connection.cursor()
    held: list[int] = []
    execute = Versions._execute

    def watched(self: Versions, sql: str) -> duckdb.DuckDBPyConnection:
        if "TABLE candidates AS" in sql:
            [(size,)] = watching.execute(
                "SELECT sum(memory_usage_bytes + temporary_storage_bytes)::BIGINT FROM duckdb_memory() "
                "WHERE tag = 'IN_MEMORY_TABLE'"
            ).fetchall()
            held.append(size)
        return execute(self, sql)

    monkeypatch.setattr(Versions, "_execute", watched)
    merge(hand.connection)
    assert len(held) == 41
    assert held[-1] < 2 * held[1]


def test_a_merge_that_was_interrupted_is_finished_by_the_next(hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some buckets are merged, the others are not: deliveries stay unmerged, and all is worked out again."""
    users = [f"{user:024x}" for user in range(200)]
    hand.deliver("stationaries", S1, [stay(user, "03-05T18:00") for user in users])
    merge(hand.connection)
    hand.deliver("stationaries", S2, [stay(user, "03-05T18:00", "03-06T08:00") for user in users[:150]])
    hand.deliver("transports", S2, [trip(user, "03-06T08:00") for user in users])
    monkeypatch.setattr(rule, "_ROWS_PER_BUCKET", 40)
    execute, inserts = Versions._execute, iter(range(1_000))

    def interrupted(self: Versions, sql: str) -> duckdb.DuckDBPyConnection:
        if sql.startswith("INSERT INTO") and next(inserts) == 3:
            raise KeyboardInterrupt
        return execute(self, sql)

    with monkeypatch.context() as until:
        until.setattr(Versions, "_execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge(hand.connection)
    ended = "count(*) FILTER (end_at IS NOT NULL)"
    [(some,)] = hand.connection.execute(f"SELECT {ended} FROM sentiance.stationaries").fetchall()
    assert 0 < some < 150
    assert current(hand, "stationaries", f"count(*), {ended}") == [(150, 150)]
    kinds = "SELECT change_kind, count(*) FROM history.stationaries GROUP BY ALL ORDER BY ALL"
    assert hand.connection.execute(kinds).fetchall() == [("changed", 150), ("deleted", 50), ("new", 200)]
