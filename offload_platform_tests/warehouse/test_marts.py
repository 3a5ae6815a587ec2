"""The analyst layer: what each mart makes of hand-made deliveries, and the questions of docs/questions.md.

The people: Ann, Ben and Cid are in snapshots (Ben in the first one only, Cid long ago and again), Eve, Fay, Gus and Hal
in driving files alone, and Zoe is only linked. All clocks are two hours ahead of UTC.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.marts import Mart, MartUndocumented, _comments, marts_of, parse_mart
from offload_platform.warehouse.publish import publish

from .by_hand import ByHand, at

ANN, BEN, CID, EVE, FAY, GUS, HAL, ZOE = (digit * 24 for digit in "abcef123")
LONG_AGO = datetime(2025, 11, 1, 15, tzinfo=UTC)
S1, S2, S3 = at("03-07T15:00"), at("03-14T15:00"), at("03-21T15:00")
QUESTIONS = Path(__file__).parents[2] / "docs" / "questions.md"
Row = dict[str, Any]
Ask = Callable[[str], list[tuple[Any, ...]]]


def timed(user: str, start: str | datetime, end: str | datetime | None = None, **said: Any) -> Row:
    """A row with a start and an end on both clocks; half an hour long where no end is given."""
    begin = at(start) if isinstance(start, str) else start
    finish = at(end) if isinstance(end, str) else end or begin + timedelta(minutes=30)
    local = {"start_local": on_their_clock(begin), "end_local": on_their_clock(finish)}
    offset = {"utc_offset_min": 120, "end_utc_offset_min": 120}
    lasts = {"duration_s": int((finish - begin).total_seconds())}
    return {"user_id": user, "start_at": begin, "end_at": finish, "is_open": False} | local | offset | lasts | said


def on_their_clock(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None) + timedelta(hours=2)


def trip(user: str, start: str, mode: str, km: float) -> Row:
    return timed(user, start, mode=mode, distance_m=1000 * km, metadata_user_id="app-a" if user == ANN else None)


def stay(user: str, start: str, end: str | None, city: str, significance: str = "home", venue: str = "") -> Row:
    kinds = {"zoo": ["leisure", "zoo"], "chip shop": ["restaurant", "snack"]}.get(venue)
    place = {"place_name": venue or None, "place_types": kinds, "place_category": kinds and kinds[0]}
    row = timed(user, start, end, city=city, significance=significance, latitude=51.0, longitude=3.7, **place)
    still = {"end_at": None, "end_local": None, "end_utc_offset_min": None, "duration_s": None, "is_open": True}
    return row | (still if end is None else {})


def drive(user: str, start: str, km: float, end: str | None = None, **said: Any) -> Row:
    row = timed(user, start, end, mode="car", distance_m=1000 * km)
    row.pop("is_open")
    return row | said


def event(kind: str, seconds: float = 5.0, *peaks: float) -> Row:
    return {"event_type": kind, "duration_s": seconds, "peaks": [{"max_mps2": peak} for peak in peaks]}


def on_drive(row: Row, *events: Row) -> Row:
    return {name: row[name] for name in ("user_id", "start_at", "start_local", "mode")} | {"events": list(events)}


def label(user: str, segment: str) -> Row:
    return {"user_id": user, "segment_id": segment}


def attribute(user: str, name: str, number: float | None = None, text: str | None = None) -> Row:
    return {"user_id": user, "attribute": name, "value_num": number, "value_text": text, "is_masked": False}


def deliver_timeline(hand: ByHand) -> None:
    stays = [
        stay(ANN, "02-26T20:00", "02-27T07:55", "Ghent"),
        stay(ANN, "02-27T08:30", "02-27T10:30", "Bruges", "poi", "chip shop"),
        stay(ANN, "02-28T20:00", "03-01T07:55", "Ghent"),
        stay(ANN, "03-01T08:30", "03-01T22:20", "Antwerp", "poi", "zoo"),
        stay(ANN, "03-01T22:50", "03-06T08:50", "Ghent"),
        stay(ANN, "03-06T09:30", "03-06T11:50", "Bruges", "poi", "chip shop"),
        stay(ANN, "03-06T12:20", "03-06T19:50", "Ghent"),
        stay(ANN, "03-06T20:30", None, "Ghent", "regular", "zoo"),
    ]
    of_ben = [
        stay(BEN, "03-02T07:00", "03-02T07:55", "Ghent"),
        stay(BEN, "03-02T08:30", "03-02T09:30", "Ghent", "non-regular", "chip shop"),
    ]
    of_cid = [timed(CID, LONG_AGO - timedelta(days=9), city="Ghent", significance="home", latitude=51.0, longitude=3.7)]
    hand.deliver("stationaries", LONG_AGO, of_cid)
    hand.deliver("stationaries", S1, stays + of_ben)
    hand.deliver("stationaries", S2, stays)
    hand.deliver("stationaries", S3, [*stays, stay(CID, "03-20T20:00", "03-21T07:00", "Ghent")])
    trips = [
        trip(ANN, "02-27T08:00", "car", 6),
        trip(ANN, "03-01T22:30", "bicycle", 2),
        trip(ANN, "03-06T09:00", "car", 6),
        trip(ANN, "03-06T12:00", "hovercraft", 1),
        trip(ANN, "03-06T20:00", "insufficient_data", 50),
    ]
    bus, tram = trip(ANN, "03-01T08:00", "bus", 3), trip(ANN, "03-01T08:00", "tram", 3.1)
    withdrawn, of_ben = trip(ANN, "03-05T18:00", "car", 9.9), [trip(BEN, "03-02T08:00", "walking", 2)]
    hand.deliver("transports", LONG_AGO, [])
    hand.deliver("transports", S1, [*trips, bus, withdrawn, *of_ben])
    hand.deliver("transports", S2, [*trips, tram])
    hand.deliver("transports", S3, [*trips, tram])
    moment = timed(ANN, "03-01T20:00", moment_id="at_home")
    hand.deliver("moments", S1, [moment])
    hand.deliver("moments", S2, [])
    hand.deliver("moments", S3, [moment])


def deliver_labels(hand: ByHand) -> None:
    old, new = "behavior.city_home", "work_life.home.city_home"
    hand.deliver("segments", S1, [label(ANN, old), label(ANN, new), label(BEN, "mobility.easy_commuter")])
    hand.deliver("segments", S2, [label(ANN, new), label(ANN, "lifestyle.sportive")])
    hand.deliver("segments", S3, [label(ANN, "lifestyle.sportive"), label(CID, "leisure.wellbeing.sportive")])
    duration, distance, region = (
        "transport.commute.duration",
        "transport.commute.distance",
        "stationary.home.region.mostcommon",
    )
    hand.deliver(
        "attributes.long",
        S1,
        [
            *(attribute(ANN, duration, 1800), attribute(ANN, distance, 12000), attribute(ANN, region, text="East")),
            *(attribute(BEN, duration, 3600), attribute(BEN, distance, 30000)),
            *(attribute(CID, duration, 0), attribute(CID, distance, 0), attribute(CID, region)),
        ],
    )
    hand.deliver(
        "attributes.wide",
        S1,
        [
            {"user_id": BEN, "transport_commute_duration": 999.0, "stationary_home_region_mostcommon": "East"},
            {"user_id": CID, "stationary_home_region_mostcommon": "West"},
        ],
    )


def deliver_drives(hand: ByHand) -> None:
    old = drive(EVE, "02-20T10:00", 500, score_legal_v2=0.1)
    night = drive(EVE, "02-21T21:30", 30, score_smooth_v2=0.8, score_legal_v2=0.6, score_focus=1.0)
    late = drive(EVE, "03-18T08:00", 10, score_smooth_v2=0.4, score_focus=0.5)
    early = drive(FAY, "03-20T02:30", 25, occupant_role="driver", score_legal_v2=0.5, score_smooth_v2=0.5)
    passenger = drive(FAY, "03-20T06:00", 100, occupant_role="passenger", score_legal_v2=0.9)
    short = drive(GUS, "03-19T12:00", 19, score_legal_v2=0.2)
    rode = drive(HAL, "03-20T12:00", 50, mode="motorbike")
    same = drive(ANN, "03-06T09:00", 6.1, score_legal_v2=0.7)
    same |= {"start_at": same["start_at"] + timedelta(seconds=60)}
    other = drive(ANN, "03-06T12:00", 1)
    other |= {"start_at": other["start_at"] + timedelta(seconds=61)}
    before = drive(ANN, "02-27T08:00", 6.2)
    before |= {"start_at": before["start_at"] - timedelta(seconds=7)}
    # Two drives begin at the same movement: the nearer one is the same.
    again = drive(ANN, "02-27T08:00", 0.1)
    again |= {"start_at": again["start_at"] + timedelta(seconds=50)}
    days = {
        "02-27": [before, again],
        "02-20": [old],
        "02-21": [night],
        "03-06": [same, other],
        "03-20": [late, early, passenger, short, rode],
    }
    for day, drives in days.items():
        hand.deliver("transports_realtime", at(f"{day}T00:00"), drives)
    brakes = [event("brake", 5, 3.5), event("brake", 5, 2.9)]
    accelerations = [event("accelerate", 5, 2.25), event("accelerate", 5, 1.0, 2.5), event("accelerate", 5, 2.2)]
    calls = [event("phone_usage", 120), event("phone_usage", 60)]
    hand.deliver("driving_events_realtime", at("02-21T00:00"), [on_drive(night, *brakes, *accelerations, *calls)])
    hand.deliver(
        "driving_events_realtime",
        at("03-20T00:00"),
        [
            on_drive(early, event("brake", 5, 3.0), event("phone_usage", 30)),
            on_drive(passenger, event("brake", 5, 9.0), event("phone_usage", 900)),
        ],
    )
    passed = [(0, 60, 50), (10, 50, 50), (30, 54, 50), (340, 80, 80), (330, 90, 80), (350, 99, -1), (360, 99, 50)]
    fixes = [
        {"fix_at": night["start_at"] + timedelta(seconds=s), "speed_kmh": speed, "speed_limit_kmh": limit}
        for s, speed, limit in passed
    ]
    of_road = {name: night[name] for name in ("user_id", "start_at", "start_local")} | {
        "session_id": "S",
        "fixes": fixes,
    }
    hand.deliver("mapped_waypoints_realtime", at("02-21T00:00"), [of_road])
    score = {"user_id": EVE, "as_of_at": at("02-21T22:00"), "score_legal": 0.5}
    hand.deliver("scores_realtime", at("02-21T00:00"), [score])
    links = {ANN: ["client-a"], BEN: ["client-b"], CID: ["client-d", "client-c"], ZOE: ["client-z"]}
    linked = [{"user_id": user, "external_id": link} for user, those in links.items() for link in those]
    hand.deliver("mapping", at("03-20T05:00"), linked)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks the published file."""
    folder = tmp_path_factory.mktemp("marts")
    files = WarehouseFiles(folder)
    files.build.parent.mkdir()
    with duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as build:
        prepare(build)
        hand = ByHand(build, folder)
        deliver_timeline(hand)
        deliver_labels(hand)
        deliver_drives(hand)
        publish(build, files)
    with duckdb.connect(files.published, read_only=True) as connection:
        prepare(connection)
        yield lambda sql: connection.execute(sql).fetchall()


def asked() -> dict[str, str]:
    """The statements of the document, by the number of their question."""
    text = QUESTIONS.read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\d+[ab]?)\. .*?^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    # Eve's 500 km were processed 28 days before the newest day; two of her scores are weighted 30 to 10.
    "1": [("acme", FAY, 25, 0.5, 0.5, None), ("acme", EVE, 40, 0.7, 0.6, 0.875)],
    "2": [("acme", FAY, 1), ("acme", EVE, 30 / 540), ("acme", GUS, 0), ("acme", ANN, 0)],
    "3": [("acme", FAY, 120), ("acme", EVE, 180 / 5.4), ("acme", GUS, 0), ("acme", ANN, 0)],
    "4": [("acme", FAY, 4, 0), ("acme", EVE, 1 / 5.4, 2 / 5.4), ("acme", GUS, 0, 0), ("acme", ANN, 0, 0)],
    # At 50 km/h for 10 s, 20 s, and a gap that counts a minute; at 80 km/h for 10 s and 10 s.
    "5": [(50, 10 / 90), (80, 10 / 20)],
    "6": [
        (date(2026, 2, 23), "car", 6, 6 / 9.1),
        (date(2026, 2, 23), "tram", 3.1, 3.1 / 9.1),
        (date(2026, 3, 2), "car", 6, 6 / 11),
        (date(2026, 3, 2), "biking", 2, 2 / 11),
        (date(2026, 3, 2), "walking", 2, 2 / 11),
        (date(2026, 3, 2), "other", 1, 1 / 11),
    ],
    "7": [("East", 2, 45, 21)],
    "8": [
        ("Ghent", "Bruges", "car", 2),
        ("Antwerp", "Ghent", "biking", 1),
        ("Bruges", "Ghent", "other", 1),
        ("Ghent", "Antwerp", "tram", 1),
        ("Ghent", "Ghent", "insufficient_data", 1),
        ("Ghent", "Ghent", "walking", 1),
    ],
    "9": [("restaurant", "chip shop", 3, 2, 120), ("leisure", "zoo", 1, 1, 830)],
    "10": [
        ("leisure.wellbeing.sportive", 2, 0, 2),
        ("mobility.commute.easy_commuter", 0, 0, 1),
        ("work_life.home.city_home", 0, 1, 0),
    ],
    "11": [("acme", BEN, "client-b", S1, 14)],
    "12a": [
        (date(2026, 2, 20), 1, 0),
        (date(2026, 2, 21), 1, 0),
        (date(2026, 2, 27), 2, 0),
        (date(2026, 3, 6), 2, 0),
        (date(2026, 3, 20), 5, 1.8),
    ],
    "12b": [
        ("moment", at("03-02T00:00"), 0, 0),
        ("moment", at("03-09T00:00"), 0, 1),
        ("moment", at("03-16T00:00"), 0, 0),
        ("stationary", datetime(2025, 10, 27, tzinfo=UTC), 0, 0),
        ("stationary", at("03-02T00:00"), 0, 0),
        ("stationary", at("03-16T00:00"), 0, 0),
        ("transport", at("03-02T00:00"), 0, 0),
        ("transport", at("03-09T00:00"), 1, 1),
    ],
}


def test_every_question_of_the_document_is_answered_here() -> None:
    assert asked().keys() == ANSWERS.keys()


@pytest.mark.parametrize("number", ANSWERS)
def test_the_statement_of_a_question_gives_the_known_answer(ask: Ask, number: str) -> None:
    found = [tuple(map(comparable, row)) for row in ask(asked()[number])]
    assert found == [tuple(map(comparable, row)) for row in ANSWERS[number]]


def comparable(value: Any) -> Any:
    """Numbers without what rounding adds, and midnights of the wall clock as days."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.date()
    return round(float(value), 9) if isinstance(value, int | float) else value


def test_all_marts_are_there_and_described_where_one_type_was_loaded(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path)
    files.build.parent.mkdir()
    with duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as build:
        prepare(build)
        ByHand(build, tmp_path).deliver("segments", S1, [label(ANN, "behavior.shopaholic")])
        told = publish(build, files)
    assert (told.rows["history.segments"], told.rows["history.stationaries"], told.rows["history.presence"]) == (
        1,
        0,
        0,
    )
    with duckdb.connect(files.published, read_only=True) as connection:
        views = connection.execute(
            "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'mart'"
        ).fetchall()
        assert {name for name, _ in views} == {mart.name for mart in marts_of("sentiance")}
        counted = {n: connection.execute(f"SELECT count(*) FROM mart.{n}").fetchall()[0][0] for n, _ in views}
        bare = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''"
        assert connection.execute(bare).fetchall() == []
    assert all(comment for _, comment in views)
    assert {name for name, rows in counted.items() if rows and not name.endswith(("alias", "twin"))} == {
        "segment",
        "segment_history",
        "user_identity",
    }


def test_a_column_that_passes_through_says_what_the_contract_says(ask: Ask) -> None:
    comment = (
        "SELECT comment FROM duckdb_columns() WHERE schema_name = '{}' AND table_name = '{}' AND column_name = '{}'"
    )
    assert ask(comment.format("mart", "stationary", "city")) == ask(comment.format("sentiance", "stationaries", "city"))
    [(own,)] = ask(comment.format("mart", "transport", "mode"))
    assert own.startswith("Mode of transport, one name for each")


def test_who_is_who_and_when_they_were_seen(ask: Ask) -> None:
    found = ask(
        "SELECT user_id[1], external_id, external_ids, metadata_user_id, has_identity_conflict, first_seen_at, "
        "last_seen_at, last_snapshot_at = TIMESTAMPTZ '2026-03-21 15:00:00Z', in_latest_snapshot, activity_state, "
        "silent_days FROM mart.user_identity ORDER BY ALL"
    )
    drove, last = at("03-20T00:00"), at("03-20T00:00")
    assert found == [
        ("1", None, [], None, False, drove, last, True, False, "active", 1),
        ("2", None, [], None, False, drove, last, True, False, "active", 1),
        ("3", "client-z", ["client-z"], None, False, None, None, True, False, "never_seen", None),
        ("a", None, ["client-a"], "app-a", True, at("02-27T00:00"), S3, True, True, "active", 0),
        ("b", "client-b", ["client-b"], None, False, S1, S1, True, False, "silent", 14),
        ("c", None, ["client-c", "client-d"], None, True, LONG_AGO, S3, True, True, "active", 0),
        ("e", None, [], None, False, at("02-20T00:00"), last, True, False, "active", 1),
        ("f", None, [], None, False, drove, last, True, False, "active", 1),
    ]


def test_ids_that_disagree_are_listed(ask: Ask) -> None:
    assert ask("SELECT user_id[1], conflict FROM mart.user_identity_conflict ORDER BY ALL") == [
        ("a", "link and app differ"),
        ("c", "several links"),
    ]


def test_coverage_is_the_union_of_the_windows(ask: Ask) -> None:
    nine_weeks = timedelta(days=63)
    assert ask("SELECT user_id[1], observed_from, observed_to, snapshot_count FROM mart.coverage ORDER BY ALL") == [
        ("a", S1 - nine_weeks, S3, 3),
        ("b", S1 - nine_weeks, S1, 1),
        ("c", LONG_AGO - nine_weeks, LONG_AGO, 1),
        ("c", S3 - nine_weeks, S3, 1),
    ]


def test_windows_that_touch_are_one_stretch(tmp_path: Path) -> None:
    reach = timedelta(days=63)
    stamps = [S1, S1 + reach, S1 + 2 * reach + timedelta(seconds=1)]
    [(coverage,)] = [(mart.sql,) for mart in marts_of("sentiance") if mart.name == "coverage"]
    with duckdb.connect(tmp_path / "presence.duckdb") as connection:
        prepare(connection)
        connection.execute("CREATE SCHEMA history")
        connection.execute(
            "CREATE TABLE history.presence AS SELECT 'acme' AS feed, 'a' AS user_id, "
            "unnest($stamps) AS delivery_stamp, unnest($stamps) - INTERVAL 63 DAY AS window_from",
            {"stamps": stamps},
        )
        found = connection.execute(f"SELECT observed_from, observed_to FROM ({coverage}) ORDER BY ALL").fetchall()
    assert found == [(S1 - reach, S1 + reach), (stamps[2] - reach, stamps[2])]


def test_a_label_with_two_names_counts_once_and_outlives_either_name(ask: Ask) -> None:
    assert ask(
        "SELECT user_id[1], segment_key, segment_ids, valid_from, valid_to FROM mart.segment_history ORDER BY ALL"
    ) == [
        ("a", "leisure.wellbeing.sportive", ["lifestyle.sportive"], S2, None),
        ("a", "work_life.home.city_home", ["behavior.city_home", "work_life.home.city_home"], S1, S3),
        ("b", "mobility.commute.easy_commuter", ["mobility.easy_commuter"], S1, None),
        ("c", "leisure.wellbeing.sportive", ["leisure.wellbeing.sportive"], S3, None),
    ]
    assert ask("SELECT user_id[1], segment_key FROM mart.segment ORDER BY ALL") == [
        ("a", "leisure.wellbeing.sportive"),
        ("b", "mobility.commute.easy_commuter"),
        ("c", "leisure.wellbeing.sportive"),
    ]


def test_who_takes_a_label_again_has_two_stretches(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path)
    files.build.parent.mkdir()
    with duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as build:
        prepare(build)
        hand = ByHand(build, tmp_path)
        for stamp, name in ((S1, "lifestyle.student"), (S2, "mobility.passenger"), (S3, "work_life.work.student")):
            hand.deliver("segments", stamp, [label(ANN, name)])
        publish(build, files)
    with duckdb.connect(files.published, read_only=True) as connection:
        prepare(connection)
        student = "FROM mart.segment_history WHERE segment_key = 'work_life.work.student' ORDER BY ALL"
        assert connection.execute(f"SELECT valid_from, valid_to {student}").fetchall() == [(S1, S2), (S3, None)]


def test_the_long_rendering_of_an_attribute_counts_also_when_it_says_none(ask: Ask) -> None:
    assert ask(
        "SELECT user_id[1], attribute, value_num, value_text, rendering FROM mart.attribute "
        "WHERE user_id[1] IN ('b', 'c') ORDER BY ALL"
    ) == [
        ("b", "stationary.home.region.mostcommon", None, "East", "wide"),
        ("b", "transport.commute.distance", 30000, None, "long"),
        ("b", "transport.commute.duration", 3600, None, "long"),
        ("c", "stationary.home.region.mostcommon", None, None, "long"),
        ("c", "transport.commute.distance", 0, None, "long"),
        ("c", "transport.commute.duration", 0, None, "long"),
    ]


def test_names_are_one_for_each_and_the_delivered_one_is_kept(ask: Ask) -> None:
    assert ask("SELECT DISTINCT mode, mode_raw FROM mart.transport WHERE mode <> mode_raw ORDER BY ALL") == [
        ("biking", "bicycle"),
        ("other", "hovercraft"),
    ]
    assert ask("SELECT mode, mode_raw FROM mart.drive WHERE mode <> mode_raw") == [("motorcycle", "motorbike")]
    assert ask("SELECT moment_id, moment_key FROM mart.moment") == [("at_home", "home")]
    assert ask("SELECT DISTINCT significance FROM mart.stationary WHERE place_name = 'chip shop' ORDER BY ALL") == [
        ("nonregular",),
        ("poi",),
    ]


def test_a_drive_of_both_products_is_joined_within_a_minute(ask: Ask) -> None:
    assert ask(
        "SELECT user_id[1], drive_start_at, transport_start_at, start_difference_s, mode, distance_m, "
        "drive_distance_m, score_legal_v2 FROM mart.drive_and_transport ORDER BY ALL"
    ) == [
        ("a", at("02-27T08:00") - timedelta(seconds=7), at("02-27T08:00"), -7, "car", 6000, 6200, None),
        ("a", at("03-06T09:01"), at("03-06T09:00"), 60, "car", 6000, 6100, 0.7),
    ]


def test_fixes_are_linked_to_their_drive_and_to_the_next_one_in_time(ask: Ask) -> None:
    found = ask(
        "SELECT seq, date_diff('second', start_at, fix_at), date_diff('second', fix_at, next_at), speed_limit_kmh "
        f"FROM mart.drive_waypoint JOIN mart.drive USING (feed, drive_key, user_id, start_at) WHERE user_id = '{EVE}' "
        "ORDER BY seq"
    )
    assert found == [
        (1, 0, 10, 50),
        (2, 10, 20, 50),
        (3, 30, 300, 50),
        (4, 340, 10, 80),
        (5, 330, 10, 80),
        (6, 350, 10, None),
        (7, 360, None, 50),
    ]


def test_a_mart_says_what_it_is_in_its_first_lines() -> None:
    text = "-- A row\n-- of people.\n--\n-- name: What people\n--   call: it.\n-- age: How old.\nSELECT * FROM {rows}\n"
    assert parse_mart("people", text, "name,age\nO'Neill,5\n") == Mart(
        "people",
        "A row of people.",
        {"name": "What people call: it.", "age": "How old."},
        "SELECT * FROM (VALUES ('O''Neill', '5')) AS rows(\"name\", \"age\")",
    )
    assert parse_mart("bare", "-- A row.\nSELECT 1") == Mart("bare", "A row.", {}, "SELECT 1")


@pytest.mark.parametrize(
    ("columns", "read", "why"),
    [
        ({}, [{"other": "Text."}], r"inherits no comment, or several, for name \(0\)"),
        ({}, [{"name": "One."}, {"name": "Two."}], r"for name \(2\)\. Describe each column in people\.sql"),
        ({"name": "One.", "age": "Two."}, [], "describes age, which it does not have"),
    ],
)
def test_a_column_without_one_comment_is_refused(columns: dict[str, str], read: list[dict[str, str]], why: str) -> None:
    with pytest.raises(MartUndocumented, match=why):
        _comments(Mart("people", "People.", columns, ""), ["name"], read)


def test_what_is_described_alike_in_all_that_is_read_is_inherited() -> None:
    mart = Mart("people", "People.", {"age": "Own."}, "")
    read = [{"name": "One.", "age": "Other."}, {"name": "One."}]
    assert _comments(mart, ["name", "age"], read) == {"name": "One.", "age": "Own."}
