"""The vendor's real driving days, from folder to published file."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from offload_platform.cli import app

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "samples" / "sentiance-2019-01-14"
pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the vendor's sample is not beside the repository")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driving")
    (folder / "feeds.yaml").write_text(
        f"""
warehouse: ./warehouse
feeds:
  - name: acme
    vendor: sentiance
    url: {SAMPLE.as_uri()}
    app_id: 5a689ab0e97b960500002109
    cadence: {{driving: daily}}
    settle_hours: 0
    start: 2018-12-01
"""
    )
    result = CliRunner().invoke(app, ["run", "--feeds", str(folder / "feeds.yaml"), "--json"])
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(app, ["run", "--feeds", str(folder / "feeds.yaml"), "--json"])
    assert json.loads(again.stdout)["loads"] == []
    return folder / "warehouse"


@pytest.fixture(scope="module")
def published(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connected(warehouse / "published") as connection:
        yield connection


@pytest.fixture(scope="module")
def build(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connected(warehouse / "build") as connection:
        yield connection


def connected(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(folder / "offloads.duckdb", read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return connection.sql(sql).fetchall()


def test_every_row_of_the_three_days_is_accounted_for(published: duckdb.DuckDBPyConnection) -> None:
    assert rows(
        published,
        """SELECT offload_type, partition, sum(rows_in), sum(rows_loaded), sum(rows_quarantined)
           FROM ops.ledger GROUP BY ALL ORDER BY ALL""",
    ) == [
        (offload_type, f"2018-12-0{day}", count if day == 7 else 0, count if day == 7 else 0, 0)
        for offload_type, count in (
            ("driving_events_realtime", 28),
            ("scores_realtime", 13),
            ("transports_realtime", 5),
        )
        for day in (7, 8, 9)
    ]


def drives_in_the_file() -> list[dict[str, Any]]:
    [part] = SAMPLE.glob("2018_12_07*/*/driving_events_realtime*/part-*")
    return [json.loads(line) for line in gzip.decompress(part.read_bytes()).splitlines()]


def events_of(drives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for drive in drives for listed in drive["behavior_events"].values() for event in listed]


def kinds_of(events: list[dict[str, Any]]) -> Counter[tuple[str, str | None]]:
    return Counter((event["category"], event.get("type")) for event in events)


def test_events_and_peaks_are_those_of_an_independent_count(
    published: duckdb.DuckDBPyConnection, build: duckdb.DuckDBPyConnection
) -> None:
    """As delivered, all of them; and for analysts those of each drive once."""
    drives = drives_in_the_file()
    assert len(events_of(drives)) == 2475
    delivered = """SELECT e.category, e.event_type, count(*)
        FROM (SELECT unnest(events) AS e FROM delivered.driving_events_realtime) GROUP BY ALL"""
    assert {(category, kind): count for category, kind, count in rows(build, delivered)} == kinds_of(events_of(drives))
    assert drives[12] == drives[13], "one drive stands twice"
    events = events_of(drives[:13] + drives[14:])
    found = rows(published, "SELECT category, event_type, count(*) FROM sentiance.drive_events GROUP BY ALL")
    assert {(category, event_type): count for category, event_type, count in found} == kinds_of(events)
    assert rows(published, "SELECT count(*) FROM sentiance.drive_event_peaks") == [
        (sum(len(event.get("peaks") or ()) for event in events),)
    ]
    assert rows(
        published, "SELECT count(*) FROM sentiance.drive_events WHERE start_at IS NULL OR duration_s IS NULL"
    ) == [(0,)]


def test_a_drive_that_stands_twice_in_a_file_is_seen_once(
    published: duckdb.DuckDBPyConnection, build: duckdb.DuckDBPyConnection
) -> None:
    twice = "SELECT list(line ORDER BY line) FROM {} GROUP BY user_id, start_at HAVING count(*) > 1"
    assert rows(build, twice.format("delivered.driving_events_realtime")) == [([13, 14],)]
    for schema in ("sentiance", "history"):
        assert rows(published, twice.format(f"{schema}.driving_events_realtime")) == []
        assert rows(published, f"SELECT count(*) FROM {schema}.driving_events_realtime") == [(27,)]
        assert rows(published, f"SELECT count(*) FROM {schema}.transports_realtime") == [(5,)]
    assert rows(
        published,
        """SELECT bool_and(event_id IS NULL), count(DISTINCT drive_key),
            count(*) FILTER (drive_key = user_id || '@' || strftime(start_at, '%Y-%m-%dT%H:%M:%S.%fZ'))
        FROM sentiance.driving_events_realtime""",
    ) == [(True, 27, 27)]


def test_times_without_a_t_are_read(published: duckdb.DuckDBPyConnection) -> None:
    [(at, local, offset)] = rows(
        published,
        """SELECT strftime(start_at, '%c'), strftime(start_local, '%c'), utc_offset_min
           FROM sentiance.driving_events_realtime WHERE line = 1""",
    )
    assert (at, local, offset) == ("2018-10-17 16:48:49", "2018-10-17 17:48:49", 60)


def test_minus_one_is_null_and_values_out_of_range_are_kept_and_reported(
    published: duckdb.DuckDBPyConnection,
) -> None:
    assert rows(
        published,
        """SELECT score_smooth, score_legal, score_focus, score_mounted
           FROM sentiance.transports_realtime WHERE line = 6""",
    ) == [(None, 1.0, 1.0, 0.0)]
    assert rows(published, "SELECT min(score_mounted) FROM sentiance.scores_realtime") == [(-0.045288,)]
    assert rows(published, "SELECT kind, column_name, row_count FROM ops.drift") == [("remark", "score_mounted", 1)]


def test_a_rounded_epoch_says_so(published: duckdb.DuckDBPyConnection) -> None:
    assert rows(
        published,
        "SELECT bool_and(is_as_of_coarse), strftime(min(as_of_at), '%c') FROM sentiance.scores_realtime",
    ) == [(True, "2018-12-07 16:26:40")]


def test_the_data_day_is_the_folders_and_publication_the_day_after(published: duckdb.DuckDBPyConnection) -> None:
    assert rows(
        published,
        "SELECT DISTINCT data_day::VARCHAR, published_on::VARCHAR FROM sentiance.transports_realtime",
    ) == [("2018-12-07", "2018-12-08")]
