"""Figures that checks are judged by, beside the same figures counted in plain Python."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.deliveries import Delivery
from offload_platform.settings import Feed
from offload_platform.warehouse import measures
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.measures import Coverage, Lags, Measures, links_of, measure
from offload_platform.warehouse.ops import ensure_ops
from offload_platform.warehouse.views import ensure_tables

from ..conftest import APP_ID, contract_of
from .by_hand import ByHand

Make = Callable[..., Any]
DAY = datetime(2018, 12, 7, tzinfo=UTC)
PART = "20181207T000000/{}/part-0"
TYPES = ("moments", "transports_realtime", "driving_events_realtime", "scores_realtime", "mapping")
ON_ONE_BUILD = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


class Build:
    """A warehouse in memory."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, feed: Feed, folder: Path) -> None:
        self.connection = connection
        self.feed = feed
        self._hand = ByHand(connection, folder, feed.name)

    def clear(self) -> None:
        """Forget every delivery."""
        kept = "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE schema_name IN ('store', 'ops')"
        for (table,) in self.connection.execute(f"{kept} AND table_name NOT IN ('contracts', 'hashing')").fetchall():
            self.connection.execute(f"DELETE FROM {table}")

    def deliver(
        self, offload_type: str, rows: Sequence[dict[str, Any]], stamp: datetime = DAY, feed: str | None = None
    ) -> None:
        """Rows by column; their lines count from 2."""
        self._hand.deliver(offload_type, stamp, rows, feed=feed)

    def measure(self, offload_type: str, stamp: datetime = DAY) -> Measures:
        contract = contract_of(offload_type)
        replaced = Partition(self.feed.name, contract, "a partition", stamp, stamp + timedelta(days=1))
        delivery = Delivery("folder", stamp, contract.family, APP_ID, offload_type, ())
        return measure(self.connection, self.feed, replaced, delivery)


@pytest.fixture
def build(feed_of: Make, tmp_path: Path) -> Iterator[Build]:
    feed = feed_of("file:///srv", cadence={"lifestyle": "daily", "driving": "daily"})
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        ensure_ops(connection)
        for offload_type in TYPES:
            ensure_tables(connection, contract_of(offload_type))
        yield Build(connection, feed, tmp_path)


def seen_before(rows: Sequence[tuple[Any, Any]]) -> tuple[int, int]:
    """Copies and contradictions among rows of a key and a content, in plain Python."""
    copies = contradictions = 0
    contents: dict[Any, set[Any]] = {}
    for key, content in rows:
        if key in contents:
            copies += content in contents[key]
            contradictions += content not in contents[key]
        contents.setdefault(key, set()).add(content)
    return copies, contradictions


MOMENTS = st.lists(
    st.tuples(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 1), st.sampled_from([None, "", "home"])),
        st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([None, "{}", '{"a":1}'])),
    ),
    max_size=25,
)


@given(rows=MOMENTS)
@ON_ONE_BUILD
def test_rows_whose_key_stands_before_are_told_apart(build: Build, rows: list[tuple[Any, Any]]) -> None:
    build.clear()
    columns = ("user_id", "moment_id", "start_at", "meta_name", "duration_s", "extra")
    said = [(user, moment, DAY + timedelta(hours=hour), name, *content) for (user, moment, hour, name), content in rows]
    build.deliver("moments", [dict(zip(columns, row, strict=True)) for row in said])
    repeats = build.measure("moments").repeats
    assert (repeats.copies, repeats.contradictions) == seen_before(rows)
    lines: dict[Any, list[int]] = {}
    for line, (key, _) in enumerate(rows, start=2):
        lines.setdefault(key, []).append(line)
    contents = {key: {content for other, content in rows if other == key} for key in lines}
    repeated = [
        (
            len(contents[key]) == 1,
            where[0],
            len(where),
            len(contents[key]),
            [(PART.format("moments"), line) for line in where[:10]],
        )
        for key, where in lines.items()
        if len(where) > 1
    ]
    assert [(e.rows, e.contents, list(e.places)) for e in repeats.examples] == [
        (n, different, places) for _, _, n, different, places in sorted(repeated)[:5]
    ], "contradictory keys first, then by their first line"


def test_one_key_may_stand_for_things_that_are_told_apart(build: Build) -> None:
    """Rows of a register are about a user and an external id; its natural key is the user alone."""
    build.deliver("mapping", [{"user_id": "a", "external_id": external} for external in ("x", "y", "y")])
    repeats = build.measure("mapping").repeats
    assert (repeats.copies, repeats.contradictions) == (1, 1)


def test_only_the_delivery_itself_is_looked_at(build: Build) -> None:
    row = {"user_id": "a", "moment_id": "x", "start_at": DAY}
    for stamp in (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)):
        build.deliver("moments", [row], stamp)
    build.deliver("moments", [row], feed="sister")
    assert build.measure("moments").repeats.rows == 0
    build.deliver("moments", [row, row])
    assert build.measure("moments").repeats.rows == 1


@pytest.mark.parametrize("other", [[], [None], None], ids=repr)
def test_nothing_and_an_empty_list_are_not_the_same_content(build: Build, other: list[None] | None) -> None:
    row = {"user_id": "a", "start_at": DAY, "events": None}
    build.deliver("driving_events_realtime", [row, row | {"events": other}])
    repeats = build.measure("driving_events_realtime").repeats
    assert (repeats.copies, repeats.contradictions) == ((1, 0) if other is None else (0, 1))


@pytest.mark.parametrize("rows_at_once", [1, 5, 1_000_000])
def test_five_keys_are_shown_and_contradictions_before_copies(
    build: Build, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(measures, "_ROWS_PER_BUCKET", rows_at_once)
    drives = [{"user_id": user, "start_at": DAY, "mode": "car"} for user in "abcdefg" for _ in range(2)]
    drives[-1]["mode"] = "bus"
    build.deliver("driving_events_realtime", drives)
    repeats = build.measure("driving_events_realtime").repeats
    assert (repeats.copies, repeats.contradictions) == (6, 1)
    assert [(e.contents, e.places[0][1]) for e in repeats.examples] == [(2, 14), (1, 2), (1, 4), (1, 6), (1, 8)]


def test_many_rows_of_one_key_are_counted_and_ten_are_shown(build: Build) -> None:
    build.deliver("driving_events_realtime", [{"user_id": "a", "start_at": DAY}] * 400)
    repeats = build.measure("driving_events_realtime").repeats
    assert (repeats.copies, repeats.contradictions) == (399, 0)
    [example] = repeats.examples
    assert (example.rows, example.contents) == (400, 1)
    assert example.places == tuple((PART.format("driving_events_realtime"), line) for line in range(2, 12))


@given(
    users=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3)), max_size=12),
    drives=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3), st.sampled_from([-64, -63, -1, 0, 1]))),
)
@ON_ONE_BUILD
def test_references_are_looked_for_in_the_days_that_they_may_lie_in(
    build: Build, users: list[tuple[str, int]], drives: list[tuple[str, int, int]]
) -> None:
    build.clear()
    days = (-64, -63, -1, 0, 1)
    for day in days:
        rows = [{"user_id": u, "start_at": DAY + timedelta(hours=h)} for u, h, on in drives if on == day]
        build.deliver("transports_realtime", rows, DAY + timedelta(days=day))
    build.deliver("transports_realtime", [{"user_id": "a", "start_at": DAY}], feed="sister")
    build.deliver("driving_events_realtime", [{"user_id": u, "start_at": DAY + timedelta(hours=h)} for u, h in users])
    build.deliver("scores_realtime", [{"user_id": u} for u, _ in users])
    today = {(u, h) for u, h, on in drives if on == 0}
    nine_weeks = {u for u, _, on in drives if -63 <= on <= 0}
    expected = {
        "driving_events_realtime": (len(users), sum(row not in today for row in users), None),
        "scores_realtime": (len(users), sum(user not in nine_weeks for user, _ in users), None),
    }

    def told(offload_type: str) -> dict[str, tuple[int, int, str | None]]:
        found: tuple[Coverage, ...] = build.measure(offload_type).coverages
        return {c.link.referring.offload_type: (c.rows, c.uncovered, c.unjudged) for c in found}

    for name, figures in expected.items():
        assert told(name) == {name: figures}
    assert {name: said for name, said in told("transports_realtime").items() if name in expected} == expected


def test_a_reference_is_not_judged_before_both_types_are_there(build: Build) -> None:
    def told(offload_type: str) -> dict[str, str | None]:
        coverages = build.measure(offload_type).coverages
        assert {(c.rows, c.uncovered) for c in coverages if c.unjudged} <= {(0, 0)}
        return {c.link.referring.offload_type: c.unjudged for c in coverages}

    drive = {"user_id": "a", "start_at": DAY}
    build.deliver("driving_events_realtime", [drive])
    build.deliver("transports_realtime", [drive], DAY - timedelta(days=1))
    nothing = "nothing of transports_realtime is loaded from 2018-12-07 to 2018-12-07"
    assert told("driving_events_realtime") == {"driving_events_realtime": nothing}
    build.deliver("transports_realtime", [drive])
    assert told("driving_events_realtime") == {"driving_events_realtime": None}
    build.deliver("scores_realtime", [{"user_id": "a"}])
    assert told("transports_realtime") == {
        "driving_events_realtime": None,
        "scores_realtime": "transports_realtime is loaded from 2018-12-06 on, and needed from 2018-10-05 on",
        "mapped_waypoints_realtime": "mapped_waypoints_realtime of 2018-12-07 is not loaded",
    }
    build.deliver("transports_realtime", [], DAY - timedelta(days=63))
    assert told("scores_realtime") == {"scores_realtime": None}, "a day without drives counts as loaded"


def test_a_row_that_names_nothing_does_not_refer(build: Build) -> None:
    build.deliver("transports_realtime", [])
    build.deliver("driving_events_realtime", [{"user_id": "a", "start_at": DAY}, {"user_id": "a", "start_at": None}])
    [coverage] = build.measure("driving_events_realtime").coverages
    assert (coverage.rows, coverage.uncovered) == (1, 1)


def test_links_are_between_types_that_the_feed_delivers(feed_of: Make) -> None:
    def linked(offload_type: str, **said: Any) -> list[tuple[str, str]]:
        feed = feed_of("file:///srv", **said)
        links = links_of(feed, contract_of(offload_type))
        return [(link.referring.offload_type, link.referred.offload_type) for link in links]

    driving: dict[str, Any] = {"cadence": {"driving": "daily"}}
    drives = "transports_realtime"
    assert linked("scores_realtime", **driving) == [("scores_realtime", drives)]
    assert set(linked(drives, **driving)) == {
        (name, drives) for name in ("scores_realtime", "driving_events_realtime", "mapped_waypoints_realtime")
    }
    assert linked(drives, **driving, types=(drives, "scores_realtime")) == [("scores_realtime", drives)]
    assert linked("scores_realtime", **driving, types=("scores_realtime",)) == []
    assert linked("scores_realtime") == []
    assert linked("stationaries") == []


def ranked(lags: Sequence[timedelta], share: float) -> float:
    """The lag, in whole minutes as days, that at least a share of the rows do not exceed."""
    return sorted(lag // timedelta(minutes=1) for lag in lags)[math.ceil(round(share * len(lags), 9)) - 1] / 1440


@given(
    lags=st.lists(st.timedeltas(timedelta(0), timedelta(days=40)), min_size=1, max_size=45),
    edge=st.booleans(),
)
@example(lags=[timedelta(days=days) for days in range(1, 21)], edge=False)
@ON_ONE_BUILD
def test_lags_are_those_of_plain_python(build: Build, lags: list[timedelta], edge: bool) -> None:
    build.clear()
    lags = [*lags, timedelta(days=3)] if edge else lags
    end = DAY + timedelta(days=1)
    rows = [{"user_id": "a", "start_at": end - lag} for lag in lags]
    build.deliver("transports_realtime", [*rows, {"user_id": "a", "start_at": None}])
    measures = build.measure("transports_realtime")
    assert measures.newest_event_days is None
    assert measures.lags == Lags(
        rows=len(lags),
        late=sum(lag > timedelta(days=3) for lag in lags),
        median_days=ranked(lags, 0.5),
        percentile_95_days=ranked(lags, 0.95),
        longest_days=max(lags) / timedelta(days=1),
    )


def test_a_snapshot_is_as_old_as_its_newest_event(build: Build) -> None:
    ages = (100, 36, 400)
    rows = [{"user_id": "a", "moment_id": "x", "start_at": DAY - timedelta(hours=hours)} for hours in ages]
    build.deliver("moments", rows)
    build.deliver("moments", [{"user_id": "b", "start_at": DAY}], DAY + timedelta(days=1))
    measures = build.measure("moments")
    assert (measures.lags, measures.newest_event_days) == (None, 1.5)


@pytest.mark.parametrize("offload_type", TYPES)
def test_without_events_there_is_no_lag(build: Build, offload_type: str) -> None:
    build.deliver(offload_type, [{"user_id": "a"}])
    measures = build.measure(offload_type)
    assert (measures.lags, measures.newest_event_days) == (None, None)


def test_volume_is_beside_the_deliveries_before_and_never_those_after(build: Build, feed_of: Make) -> None:
    def deliver(day: int, rows: int, feed: str | None = None) -> None:
        build.deliver("moments", [{"user_id": "a"}] * rows, DAY + timedelta(days=day), feed)

    def volume() -> tuple[int, tuple[int, ...], float | None, float | None]:
        found = build.measure("moments").volume
        return found.rows, found.earlier, found.usual, found.change

    for day, rows in ((0, 6), (1, 50), (2, 50)):
        deliver(day, rows)
    deliver(-1, 99, feed="sister")
    build.deliver("transports_realtime", [{"user_id": "a"}] * 9, DAY - timedelta(days=1))
    assert volume() == (6, (), None, None)
    for day, rows in ((-9, 4), (-8, 1), (-3, 3), (-1, 0)):
        deliver(day, rows)
    assert volume() == (6, (0, 3, 1, 4), 2.0, 2.0)
    status = "UPDATE ops.ledger SET status = ? WHERE feed = 'acme' AND delivery_stamp::DATE = ?"
    for said in (("expired", DAY - timedelta(days=9)), ("superseded", DAY - timedelta(days=8))):
        build.connection.execute(status, said)
    assert volume() == (6, (0, 3, 4), 3, 1.0), "what retention has deleted was loaded once"
    build.connection.execute(status, ("loaded", DAY - timedelta(days=8)))
    said = {"checks": {"volume": {"trailing": 3}}, "cadence": {"lifestyle": "daily"}}
    build.feed = feed_of("file:///srv", **said)
    assert volume() == (6, (0, 3, 1), 1, 5.0)


def test_of_nothing_no_share_can_be_taken(build: Build) -> None:
    for day in (-1, 0):
        build.deliver("moments", [{"user_id": "a"}] * (day + 1), DAY + timedelta(days=day))
    volume = build.measure("moments").volume
    assert (volume.rows, volume.usual, volume.change) == (1, 0, None)


def account(measures: Measures) -> list[tuple[int, int, int, bool]]:
    return [(p.rows_in, p.in_table, p.in_quarantine, p.balances) for p in measures.parts]


SEGMENTS = [f"{digit * 24},,behavior.early_bird" for digit in "abc"]
BROKEN = "not an id,,night_owl"


def test_rows_are_counted_where_they_are(warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make) -> None:
    feed = feed_of(vendor_folder.url, types=("segments",))
    vendor_folder.part("2018-12-08", [*SEGMENTS, BROKEN])
    vendor_folder.part("2018-12-08", [*SEGMENTS[:2], BROKEN, BROKEN], number=1)
    vendor_folder.part("2018-12-08", [], number=2)
    for week in ("2018-12-15", "2018-12-08"):
        vendor_folder.part("2018-12-15", [*SEGMENTS, BROKEN])
        loaded = warehouse.load(feed, partition(week))
    assert account(loaded.measures) == [(4, 3, 1, True), (4, 2, 2, True), (0, 0, 0, True)]
    ours = "feed = 'acme' AND delivery_stamp < '2018-12-15' AND object_key LIKE '%part-00000%'"
    tampered = {
        f"UPDATE ops.ledger SET rows_in = 5 WHERE {ours}": (5, 3, 1, False),
        f"UPDATE ops.ledger SET rows_in = 4, rows_quarantined = 0 WHERE {ours}": (4, 3, 1, False),
        "DELETE FROM store.segments_sightings WHERE line = 2 AND part_no IN "
        f"(SELECT part_no FROM store.parts WHERE {ours})": (4, 2, 1, False),
        f"INSERT INTO ops.quarantine FROM ops.quarantine WHERE {ours}": (4, 2, 2, False),
        f"DELETE FROM ops.ledger WHERE {ours}": (0, 2, 2, False),
        f"DELETE FROM ops.quarantine WHERE {ours}": (0, 2, 0, False),
    }
    for sql, expected in tampered.items():
        with warehouse.writing() as connection:
            connection.execute(sql)
            measures = measure(connection, feed, loaded.partition, loaded.delivery)
        assert account(measures) == [expected, (4, 2, 2, True), (0, 0, 0, True)], sql


def test_an_empty_day_balances_and_has_no_figures(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    feed = feed_of(vendor_folder.url, cadence={"driving": "daily"})
    vendor_folder.driving_day("2018-12-07", [], "driving_events_realtime")
    measures = warehouse.load(feed, partition("2018-12-07", "driving_events_realtime", days=1)).measures
    assert account(measures) == [(0, 0, 0, True)]
    assert (measures.repeats.rows, measures.lags, measures.volume.rows) == (0, None, 0)


def test_measuring_leaves_nothing_behind(build: Build) -> None:
    build.deliver("moments", [{"user_id": "a", "start_at": DAY}] * 2)
    for _ in range(2):
        assert build.measure("moments").repeats.copies == 1
    assert build.connection.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall() == []
