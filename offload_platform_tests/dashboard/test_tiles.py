"""Every tile: over documented tables alone, with parameters that there are, and with the figures of the marts."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import polars as pl
import pytest

from offload_platform.dashboard.cells import h3_cell
from offload_platform.dashboard.launch import Shown
from offload_platform.dashboard.published import NotPublished, Published, version_beside
from offload_platform.dashboard.tile import Source, Value, tile_named, tile_names
from offload_platform.listening.raw import listening_of
from offload_platform.warehouse.files import prepare

from .made import DAYS, FEED, LAST_DAY, REPORT, SECRET, SHOP, settings_in, write_beside, write_published

PEOPLE = 48
FIRST_DAY = date(2026, 11, 1)
MODES = ["biking", "car"]
VALUES: dict[str, Value] = {
    "feeds": [FEED, SHOP],
    "first": FIRST_DAY,
    "last": LAST_DAY,
    "modes": MODES,
    "now": LAST_DAY,
    "resolution": 7,
    "significances": ["home", "work", "poi"],
    "text": "score",
    "smallest": 5,
    "channels": ["whatsapp", "web", "television"],
    "kinds": ["real"],
    "threshold": 0.5,
}
TRIPS = "mart.transport WHERE mode IN ('biking', 'car') AND start_local::DATE >= DATE '2026-11-01'"
DRIVES = "mart.drive WHERE mode IN ('biking', 'car') AND start_local::DATE >= DATE '2026-11-01'"
STAYS = "mart.stationary WHERE start_local::DATE >= DATE '2026-11-01'"
LOADED = "ops.ledger WHERE status = 'loaded' AND delivery_stamp >= TIMESTAMPTZ '2026-11-01 00:00:00Z'"
# Asked of the files of CLEAN by the names that these have: groups of real users of five logins and more, by something.
SAID = (
    "(SELECT count(*) AS n, count(DISTINCT \"AURA_ID\") AS logins FROM '{messages}' "
    "WHERE \"MSG_DT\" >= TIMESTAMPTZ '2026-11-01' AND \"userType\" = 'real' GROUP BY %s) WHERE logins >= 5"
)
ALL_SAID = "SELECT sum(n) FROM " + SAID % "ALL"
MEASURES = "(SELECT unnest(measures, max_depth := 2) FROM '{report}')"
SAME = {
    # A figure of a tile, and the same asked of the mart.
    "overview/figures": ("sum(rows_loaded)", f"SELECT sum(rows_loaded) FROM {LOADED}"),
    "overview/rows": ("sum(row_count)", f"SELECT sum(rows_in) FROM {LOADED}"),
    "overview/standing": ("count(*)", "SELECT count(DISTINCT offload_type) FROM ops.ledger"),
    "overview/drift": ("sum(deliveries)", "SELECT count(*) FROM ops.drift"),
    "trips/figures": ("sum(km)", f"SELECT sum(distance_m) / 1000 FROM {TRIPS}"),
    "trips/modes": ("sum(km)", f"SELECT sum(distance_m) / 1000 FROM {TRIPS}"),
    "trips/distances": ("sum(trips)", f"SELECT count(*) FROM {TRIPS}"),
    "trips/hours": ("sum(trips)", f"SELECT count(*) FROM {TRIPS}"),
    "places/figures": ("sum(stays)", f"SELECT count(*) FROM {STAYS}"),
    "places/cells": ("sum(stays)", f"SELECT count(*) FROM {STAYS}"),
    "places/significance": ("sum(hours)", f"SELECT sum(duration_s) / 3600 FROM {STAYS}"),
    "places/dwell": ("sum(stays)", f"SELECT count(*) FROM {STAYS} AND NOT is_open"),
    "places/venues": ("sum(visits)", f"SELECT count(*) FROM {STAYS} AND place_name IS NOT NULL"),
    "driving/figures": ("sum(km)", f"SELECT sum(distance_m) / 1000 FROM {DRIVES}"),
    "driving/scores": ("sum(drives)", f"SELECT 4 * count(*) FROM {DRIVES}"),
    "driving/events": (
        "sum(events)",
        f"SELECT count(*) FROM mart.drive_event SEMI JOIN (FROM {DRIVES}) USING (feed, drive_key)",
    ),
    "driving/weeks": ("sum(km)", f"SELECT sum(distance_m) / 1000 FROM {DRIVES}"),
    "moments/kinds": ("sum(moments)", "SELECT count(*) FROM mart.moment WHERE start_local::DATE >= DATE '2026-11-01'"),
    "moments/days": ("sum(moments)", "SELECT count(*) FROM mart.moment WHERE start_local::DATE >= DATE '2026-11-01'"),
    "moments/segments": (
        "sum(members)",
        "SELECT count(*) FROM mart.segment WHERE valid_from <= TIMESTAMPTZ '2026-11-21'",
    ),
    "moments/changes": (
        "sum(labels) FILTER (change = 'entered')",
        "SELECT count(*) FROM mart.segment_history WHERE valid_from >= TIMESTAMPTZ '2026-11-01'",
    ),
    "clicks/figures": ("sum(clicks)", "SELECT sum(clicks) FROM mart.partner_day WHERE day >= DATE '2026-11-01'"),
    "clicks/funnel": (
        "sum(counted) FILTER (step = 'confirmed')",
        "SELECT sum(confirmed) FROM mart.partner_day WHERE day >= DATE '2026-11-01'",
    ),
    "clicks/days": (
        "sum(conversions)",
        "SELECT count(*) FROM mart.attribution WHERE created_at >= TIMESTAMPTZ '2026-11-01'",
    ),
    "clicks/flow": (
        "sum(changes)",
        "SELECT count(*) FROM mart.conversion_change "
        "WHERE changed_at >= TIMESTAMPTZ '2026-11-01' AND changed_at < TIMESTAMPTZ '2026-11-22'",
    ),
    "clicks/late": (
        "sum(changes)",
        "SELECT count(*) FROM mart.conversion_change WHERE status_before IS NOT NULL "
        "AND changed_at >= TIMESTAMPTZ '2026-11-01' AND changed_at < TIMESTAMPTZ '2026-11-22'",
    ),
    "clicks/partners": (
        "sum(conversions)",
        "SELECT sum(conversions) FROM mart.partner_day WHERE day >= DATE '2026-11-01'",
    ),
    "quality/figures": ("sum(rows_quarantined)", f"SELECT sum(rows_quarantined) FROM {LOADED}"),
    "quality/parts": ("sum(rows_in)", f"SELECT sum(rows_in) FROM {LOADED}"),
    "quality/reasons": ("sum(row_count)", "SELECT count(*) FROM ops.quarantine"),
    "quality/sample": ("count(*)", "SELECT count(*) FROM ops.quarantine"),
    "assistant/figures": ("sum(messages)", ALL_SAID),
    "assistant/days": ("sum(messages)", "SELECT sum(n) FROM " + SAID % '"MSG_DT"::DATE, "CHANNEL_CD"'),
    "assistant/sessions": ("sum(sessions)", "SELECT sum(n) / 4 FROM " + SAID % '"MSG_DT"::DATE'),
    "assistant/hours": ("sum(messages)", "SELECT sum(n) FROM " + SAID % 'dayofweek("MSG_DT"), hour("MSG_DT")'),
    "assistant/channels": ("sum(messages)", "SELECT sum(n) FROM " + SAID % '"CHANNEL_CD"'),
    "assistant/intents": ("sum(messages)", "SELECT sum(n) FROM " + SAID % "intent"),
    "assistant/scores": ("sum(messages)", "SELECT sum(n) FROM " + SAID % "score"),
    "assistant/versions": ("sum(messages)", "SELECT sum(n) FROM " + SAID % '"VERSION_ID"'),
    "assistant/failures": (
        "sum(messages)",
        "SELECT count(*) FROM '{messages}' WHERE \"STATUS_CD\" = '500' AND \"userType\" = 'real' "
        "AND \"MSG_DT\" >= TIMESTAMPTZ '2026-11-01'",
    ),
    "assistant/languages": ("sum(messages)", ALL_SAID),
    "assistant/kinds": (
        "sum(messages)",
        "SELECT count(*) FROM '{messages}' WHERE \"MSG_DT\" >= TIMESTAMPTZ '2026-11-01'",
    ),
    "privacy/figures": ("sum(met)", f"SELECT count(*) FROM {MEASURES} WHERE is_met"),
    "privacy/missed": ("count(*)", f"SELECT count(*) FROM {MEASURES} WHERE NOT is_met"),
    "privacy/targets": ("count(*)", f"SELECT count(*) FROM {MEASURES} WHERE is_met IS NOT NULL"),
    "privacy/kept": ("sum(kept_share)", f"SELECT sum(value) FROM {MEASURES} WHERE head = 'utility'"),
    "privacy/attacks": (
        "sum(found_share)",
        f"SELECT sum(value) FROM {MEASURES} WHERE head IN ('control', 'linkability', 'inference') AND unit = 'share'",
    ),
    "dictionary/columns": (
        "count(*)",
        "SELECT count(*) FROM duckdb_columns() WHERE database_name = 'published' AND schema_name <> 'main' AND "
        "(schema_name || '.' || table_name || ' ' || column_name || ' ' || coalesce(comment, '')) ILIKE '%score%'",
    ),
}
EMPTY_HERE = {"overview/held", "overview/incomplete", "quality/corrections"}
OF_GROUPS = {"weekday", "hour", "at_least"}
BY_HAND = {"trips/flows", "driving/movers", "assistant/texts"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    shown = write_beside(tmp_path_factory.mktemp("acme"), PEOPLE)
    write_published(shown.file, PEOPLE)
    return shown


@pytest.fixture(scope="module")
def published(shown: Shown) -> Published:
    return Published(shown.file, {"h3_cell": h3_cell}, [p for one in shown.beside.values() for p in one.patterns])


@pytest.fixture(scope="module")
def values(shown: Shown) -> dict[str, Value]:
    beside = {n: Source(one.sql, one.patterns, str(version_beside(one.patterns))) for n, one in shown.beside.items()}
    return {**VALUES, **beside}


def asked(published: Published, sql: str, values: Mapping[str, Value] = VALUES) -> list[tuple[Any, ...]]:
    """Asked as an analyst does, of the files themselves."""
    for name, value in values.items():
        if isinstance(value, Source):
            sql = sql.replace(f"{{{name}}}", value.files[0])
    with duckdb.connect(":memory:") as connection:
        prepare(connection)
        connection.execute(f"ATTACH '{published.file}' AS published (READ_ONLY)")
        connection.execute("USE published")
        return connection.execute(sql).fetchall()


def test_every_tile_is_compared() -> None:
    assert set(tile_names()) == SAME.keys() | EMPTY_HERE | BY_HAND


@pytest.mark.parametrize("name", SAME)
def test_a_tile_shows_the_figure_of_its_mart(published: Published, values: Mapping[str, Value], name: str) -> None:
    figure, sql = SAME[name]
    rows = published.answer(tile_named(name).statement(values))
    [(shown,)] = duckdb.sql(f"SELECT {figure} FROM rows").fetchall() if rows.height else [(0,)]
    [(expected,)] = asked(published, sql, values)
    assert expected
    assert float(shown) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", sorted(EMPTY_HERE))
def test_a_tile_without_rows_is_empty(published: Published, name: str) -> None:
    assert published.answer(tile_named(name).statement(VALUES)).is_empty()


@pytest.mark.parametrize("name", tile_names())
def test_a_tile_reads_documented_tables_of_no_vendor(
    published: Published, values: Mapping[str, Value], name: str
) -> None:
    tile = tile_named(name)
    reads = published.reads(tile.statement(values))
    assert {schema for schema, _ in reads} <= {"mart", "ops"}
    assert set(reads) <= published.tables
    assert tile.parameters <= values.keys()
    assert tile.said.endswith("."), "what a tile says are sentences"


def test_flows_are_between_the_stays_around_each_trip(published: Published) -> None:
    """Asked in another way, of all flows: the last stay that began no later, and the first one that began later."""
    stays: dict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
    for feed, user, at, *place in asked(
        published,
        "SELECT feed, user_id, start_at, round(latitude, 3), round(longitude, 3) FROM mart.stationary ORDER BY 3",
    ):
        stays[feed, user].append((at, h3_cell(*place, 7)))
    expected: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for feed, user, at, metres in asked(published, f"SELECT feed, user_id, start_at, distance_m FROM {TRIPS}"):
        line = stays[feed, user]
        after = bisect_right(line, at, key=itemgetter(0))
        if 0 < after < len(line):
            expected[line[after - 1][1], line[after][1]].append((user, metres))
    rows = published.answer(tile_named("trips/flows").statement(VALUES)).to_dicts()
    assert {(row["origin_cell"], row["destination_cell"]): (row["trips"], row["users"]) for row in rows} == {
        way: (len(trips), len({user for user, _ in trips})) for way, trips in expected.items()
    }
    for row in rows:
        trips = expected[row["origin_cell"], row["destination_cell"]]
        assert row["median_km"] == pytest.approx(median(metres for _, metres in trips) / 1000, abs=0.051)


def test_messages_have_the_columns_of_their_contract(tmp_path: Path, shown: Shown) -> None:
    rows = pl.read_parquet(shown.beside["messages"].patterns[0])
    listening_of(settings_in(tmp_path).feeds[0]).schema.validate(rows)


@pytest.mark.parametrize("name", [name for name in tile_names() if name.startswith("assistant/")])
def test_groups_of_few_logins_are_not_told(published: Published, values: Mapping[str, Value], name: str) -> None:
    statement = tile_named(name).statement
    told = published.answer(statement({**values, "text": ""}))
    assert told["logins"].drop_nulls().min() >= 5
    figures = [column for column, kind in told.schema.items() if kind.is_numeric() and column not in OF_GROUPS]
    none = published.answer(statement({**values, "text": "", "smallest": 100_000}))
    assert none.height
    assert all(none[figure].is_null().all() for figure in figures)


def test_texts_of_few_logins_are_counted_together(published: Published, values: Mapping[str, Value]) -> None:
    def found(text: str) -> pl.DataFrame:
        return published.answer(tile_named("assistant/texts").statement({**values, "text": text}))

    assert found("").rows_by_key("text").keys() == {"hello", "how much is my bill", "(texts of few logins)"}
    [(text, messages, logins, intent)] = found(SECRET[:6].upper()).rows()
    assert (text, intent) == ("(texts of few logins)", None)
    [(expected,)] = asked(published, "SELECT sum(n) FROM " + SAID % "ALL", values)
    assert messages == logins == expected // 4
    [(text, messages, *_)] = found(f"{SECRET} 3 19").rows()
    assert (text, messages) == ("(texts of few logins)", None), "few have written that"


def test_small_groups_of_the_report_are_not_told(published: Published, values: Mapping[str, Value]) -> None:
    missed = published.answer(tile_named("privacy/missed").statement(values))
    assert dict(missed.select("what", "measured").rows()) == {
        "fewest persons who tell the same": "<5",
        "next trips of the same person": "31.00 %",
    }
    figures = published.answer(tile_named("privacy/figures").statement({**values, "smallest": 1 + REPORT.persons}))
    assert figures["persons"].item() == f"<{1 + REPORT.persons}"


def test_targets_that_are_missed_are_those_of_which_more_than_all_is_used(
    published: Published, values: Mapping[str, Value]
) -> None:
    rows = published.answer(tile_named("privacy/targets").statement(values))
    assert set(rows.filter(pl.col("used") > 1)["state"]) == {"missed"}
    assert set(rows.filter(pl.col("used") <= 1)["state"]) == {"met"}


def test_what_stands_beside_is_read_when_it_is_made_anew(tmp_path: Path) -> None:
    shown = write_beside(tmp_path, 8, 2)
    write_published(shown.file, 4)
    one = shown.beside["messages"]
    published = Published(shown.file, {}, one.patterns)
    assert version_beside([str(tmp_path / "none" / "*.parquet")]) is None

    def counted() -> int:
        sql = f"SELECT count(*) FROM ({one.sql})"
        return int(published.answer(sql, str(version_beside(one.patterns))).item())

    assert counted() == 8 * 2 * 4
    file = Path(one.patterns[0]).with_name(f"{LAST_DAY}.parquet")
    aside = file.with_suffix(".new")
    pl.read_parquet(file).head(5).write_parquet(aside)
    aside.replace(file)
    assert counted() == 5


def test_movers_are_those_whose_score_differs_most(published: Published) -> None:
    rows = published.answer(tile_named("driving/movers").statement(VALUES))
    assert rows["change"].is_sorted()
    assert rows["change"].to_list() == pytest.approx((rows["legal_after"] - rows["legal_before"]).to_list())
    assert 0 < rows.height <= 10


def test_values_cannot_leave_their_places() -> None:
    said = tile_named("dictionary/columns").statement(VALUES | {"text": "x') OR ('1' = '1"})
    assert "'x'') OR (''1'' = ''1'" in said


def test_a_file_can_read_nothing_but_itself(published: Published) -> None:
    with pytest.raises(duckdb.PermissionException):
        published.answer("SELECT * FROM read_csv('/etc/passwd')")


def test_the_new_file_is_read_when_another_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "offloads.duckdb"
    counted = "SELECT count(*) AS trips FROM mart.transport"
    opened = []
    for people in (4, 8):
        write_published(file, people)
        opened.append(Published(file, {}))
    assert [one.answer(counted).item() for one in opened] == [4 * DAYS * 2, 8 * DAYS * 2]


def test_what_is_no_published_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "offloads.duckdb"
    with pytest.raises(NotPublished, match="offload run"):
        Published(file, {})
    file.write_text("no database")
    with pytest.raises(NotPublished, match="cannot be opened"):
        Published(file, {})
