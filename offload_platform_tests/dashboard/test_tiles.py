"""Every tile: over documented tables alone, with parameters that there are, and with the figures of the marts."""

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.dashboard.cells import h3_cell
from offload_platform.dashboard.published import NotPublished, Published
from offload_platform.dashboard.tile import Value, tile_named, tile_names
from offload_platform.warehouse.files import prepare

from .made import DAYS, FEED, LAST_DAY, SHOP, write_published

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
}
TRIPS = "mart.transport WHERE mode IN ('biking', 'car') AND start_local::DATE >= DATE '2026-11-01'"
DRIVES = "mart.drive WHERE mode IN ('biking', 'car') AND start_local::DATE >= DATE '2026-11-01'"
STAYS = "mart.stationary WHERE start_local::DATE >= DATE '2026-11-01'"
LOADED = "ops.ledger WHERE status = 'loaded' AND delivery_stamp >= TIMESTAMPTZ '2026-11-01 00:00:00Z'"
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
    "dictionary/columns": (
        "count(*)",
        "SELECT count(*) FROM duckdb_columns() WHERE database_name = 'published' AND schema_name <> 'main' AND "
        "(schema_name || '.' || table_name || ' ' || column_name || ' ' || coalesce(comment, '')) ILIKE '%score%'",
    ),
}
EMPTY_HERE = {"overview/held", "overview/incomplete", "quality/corrections"}
BY_HAND = {"trips/flows", "driving/movers"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    file = tmp_path_factory.mktemp("published") / "offloads.duckdb"
    write_published(file, PEOPLE)
    return Published(file, {"h3_cell": h3_cell})


def asked(published: Published, sql: str) -> list[tuple[Any, ...]]:
    """Asked as an analyst does, of the file itself."""
    with duckdb.connect(":memory:") as connection:
        prepare(connection)
        connection.execute(f"ATTACH '{published.file}' AS published (READ_ONLY)")
        connection.execute("USE published")
        return connection.execute(sql).fetchall()


def test_every_tile_is_compared() -> None:
    assert set(tile_names()) == SAME.keys() | EMPTY_HERE | BY_HAND


@pytest.mark.parametrize("name", SAME)
def test_a_tile_shows_the_figure_of_its_mart(published: Published, name: str) -> None:
    figure, sql = SAME[name]
    rows = published.answer(tile_named(name).statement(VALUES))
    [(shown,)] = duckdb.sql(f"SELECT {figure} FROM rows").fetchall() if rows.height else [(0,)]
    [(expected,)] = asked(published, sql)
    assert expected
    assert float(shown) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", sorted(EMPTY_HERE))
def test_a_tile_without_rows_is_empty(published: Published, name: str) -> None:
    assert published.answer(tile_named(name).statement(VALUES)).is_empty()


@pytest.mark.parametrize("name", tile_names())
def test_a_tile_reads_documented_tables_of_no_vendor(published: Published, name: str) -> None:
    tile = tile_named(name)
    reads = published.reads(tile.statement(VALUES))
    assert {schema for schema, _ in reads} <= {"mart", "ops"}
    assert set(reads) <= published.tables
    assert tile.parameters <= VALUES.keys()
    assert tile.said.endswith("."), "what a tile says are sentences"


def test_flows_join_the_cells_of_the_stays_around_trips(published: Published) -> None:
    rows = published.answer(tile_named("trips/flows").statement(VALUES))
    assert 0 < rows["trips"].sum() <= asked(published, f"SELECT count(*) FROM {TRIPS}")[0][0]
    homes = asked(published, "SELECT DISTINCT latitude, longitude FROM mart.stationary")
    cells = {h3_cell(round(latitude, 3), round(longitude, 3), 7) for latitude, longitude in homes}
    assert set(rows["origin_cell"]) | set(rows["destination_cell"]) <= cells


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
