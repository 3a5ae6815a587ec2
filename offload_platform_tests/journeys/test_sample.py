"""The vendor's published sample, from a folder and from S3 with the client's key: every cell, told independently.

What is expected is read from the raw files with Python's own csv, datetime and json.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.orchestration import run as runs
from offload_platform.orchestration.instance import open_instance
from offload_platform.settings import Settings
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles

ROWS = {
    "stationaries": 14,
    "transports": 22,
    "moments": 20,
    "segments": 712,
    "attributes.wide": 4,
    "attributes.long": 1022,
}
DELIVERY = "12_08_2018_15_05_54_499"
PARTITION = "2018-12-08"
STAMP = datetime(2018, 12, 8, 15, 5, 54, 499_000, UTC)
Row = dict[str, str]
csv.field_size_limit(1 << 24)


class Loaded:
    """The sample after `offload run`: outcomes, and what the two files hold."""

    def __init__(self, outcomes: list[runs.LoadOutcome], settings: Settings) -> None:
        self.outcomes = outcomes
        self.settings = settings
        self.files = WarehouseFiles(settings.warehouse)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the published file; the build file where rows as delivered are asked for."""
        file = self.files.build if "delivered." in sql else self.files.published
        with duckdb.connect(file, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module", params=["file", "s3"])
def loaded(
    request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory, feed_of: Callable[..., Any]
) -> Loaded:
    if request.param == "file":
        feed = feed_of(sample.as_uri())
    else:
        server: ObjectStoreServer = request.getfixturevalue("object_store")
        server.upload_folder(sample, "acme/sample")
        feed = feed_of("s3://offloads/acme/sample", endpoint_url=server.url, aws_profile="tests-client")
    settings = Settings(warehouse=tmp_path_factory.mktemp(request.param), feeds=(feed,))
    with pytest.MonkeyPatch.context() as patch, open_instance(WarehouseFiles(settings.warehouse)) as instance:
        patch.delenv("DAGSTER_HOME", raising=False)
        plan = runs.plan(settings, settings.feeds)
        outcomes = list(runs.execute(settings, plan.loads, instance))
        assert runs.publish_now(settings, instance) is None
    return Loaded(outcomes, settings)


def delivered(sample: Path, offload_type: str) -> list[Row]:
    [part] = sample.glob(f"{DELIVERY}/*/{offload_type}.*/part-*")
    text = gzip.decompress(part.read_bytes()).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def when(text: str) -> tuple[datetime, datetime, int]:
    """Instant, wall clock and offset in minutes."""
    time = datetime.fromisoformat(text)
    offset = time.utcoffset()
    assert offset is not None
    return time.astimezone(UTC), time.replace(tzinfo=None), int(offset / timedelta(minutes=1))


def lasting(row: Row) -> dict[str, Any]:
    """What all rows with a start and an end have in common."""
    start_at, start_local, offset = when(row["start"])
    is_open = row["end"] in ("", "-", "-1")
    end_at, end_local, end_offset = (None, None, None) if is_open else when(row["end"])
    duration = int(row["duration"]) if row["duration"] not in ("", "-1") else None
    return {
        "user_id": row["user_id"],
        "metadata_user_id": row["metadata_user_id"] or None,
        "start_at": start_at,
        "start_local": start_local,
        "utc_offset_min": offset,
        "end_at": end_at,
        "end_local": end_local,
        "end_utc_offset_min": end_offset,
        "is_open": is_open,
        "duration_s": duration,
        "extra": None,
    }


def stay(row: Row) -> dict[str, Any]:
    street = row["address.streetname"]
    is_masked = street.lower().lstrip("h") == "idden"
    kinds = row["location.place.type"]
    listed = (json.loads(kinds) if kinds.startswith("[") else [kinds]) if kinds else None
    return lasting(row) | {
        "significance": row["location.significance"],
        "latitude": float(row["latitude"]),
        "longitude": float(row["longitude"]),
        "country": row["address.country"] or None,
        "city": row["address.city"] or None,
        "city_type": row["address.city_type"].lower() or None,
        "street_name": None if is_masked else street or None,
        "is_street_masked": is_masked,
        "place_name": row["location.place.name"] or None,
        "place_types": listed,
        "place_category": listed[0] if listed else None,
    }


def movement(row: Row) -> dict[str, Any]:
    fixes = []
    for fix in json.loads(row["waypoints"])["waypoints"]:
        fix_at, fix_local, offset = when(fix["timestamp"])
        fixes.append(
            {
                "latitude": fix["latitude"],
                "longitude": fix["longitude"],
                "fix_at": fix_at,
                "fix_local": fix_local,
                "utc_offset_min": offset,
            }
        )
    return lasting(row) | {
        "mode": row["mode"],
        "distance_m": float(row["distance"]),
        "waypoints": fixes,
        "waypoint_count": len(fixes),
    }


def moment(row: Row) -> dict[str, Any]:
    meta = json.loads(row["meta"]) if row["meta"] else None
    return lasting(row) | {
        "moment_id": row["moment_definition_id"],
        "meta": meta,
        "meta_name": meta.get("name") if meta else None,
    }


def test_every_row_is_accounted_for(loaded: Loaded) -> None:
    assert {o.offload_type: (o.rows_in, o.rows_loaded, o.rows_quarantined) for o in loaded.outcomes} == {
        name: (rows, rows, 0) for name, rows in ROWS.items()
    }, [asdict(o) for o in loaded.outcomes]
    assert {o.partition for o in loaded.outcomes} == {PARTITION}
    for name, rows in ROWS.items():
        table = f"delivered.{name.replace('.', '_')}"
        assert loaded.query(f"SELECT count(*), count(DISTINCT (object_key, line)) FROM {table}") == [(rows, rows)]
    assert loaded.query("SELECT offload_type, rows_in, rows_loaded + rows_quarantined FROM ops.ledger ORDER BY 1") == [
        (name, rows, rows) for name, rows in sorted(ROWS.items())
    ]
    assert loaded.query("SELECT count(*) FROM ops.quarantine") == [(0,)]


@pytest.mark.parametrize("schema", ["delivered", "sentiance"])
@pytest.mark.parametrize(
    ("offload_type", "expected_of"), [("stationaries", stay), ("transports", movement), ("moments", moment)]
)
def test_every_cell_is_what_the_file_says(
    loaded: Loaded, sample: Path, offload_type: str, expected_of: Callable[[Row], dict[str, Any]], schema: str
) -> None:
    expected = [expected_of(row) for row in delivered(sample, offload_type)]
    names = list(expected[0])
    assert len(expected) == ROWS[offload_type]
    columns = loaded.query(
        "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'sentiance' "
        f"AND table_name = '{offload_type}' AND column_name NOT IN "
        "('feed', 'app_id', 'known_from', 'object_key', 'line') ORDER BY column_index"
    )
    assert sorted(name for (name,) in columns) == sorted(names), "every column is compared"
    found = [
        dict(zip(names, row, strict=True))
        for row in loaded.query(f"SELECT {', '.join(names)} FROM {schema}.{offload_type} ORDER BY line")
    ]
    for row in found:
        if row.get("meta") is not None:
            row["meta"] = json.loads(row["meta"])
    for line, (row, wanted) in enumerate(zip(found, expected, strict=True), start=2):
        assert row == wanted, f"line {line}"


def test_every_row_of_the_other_types_is_what_the_file_says(loaded: Loaded, sample: Path) -> None:
    expected = [
        (row["user_id"], row["metadata_user_id"] or None, row["segment_id"]) for row in delivered(sample, "segments")
    ]
    found = "SELECT user_id, metadata_user_id, segment_id FROM delivered.segments ORDER BY line"
    assert loaded.query(found) == expected
    long = [
        (row["user_id"], row["attribute_name"].removesuffix(".value"), row["attribute_value"] or None)
        for row in delivered(sample, "attributes.long")
    ]
    found = "SELECT user_id, attribute, value_raw FROM delivered.attributes_long ORDER BY line"
    assert loaded.query(found) == long
    assert loaded.query("SELECT user_id FROM delivered.attributes_wide ORDER BY line") == [
        (row["user_id"],) for row in delivered(sample, "attributes.wide")
    ]


def test_the_truth_is_what_the_file_says_each_thing_once(loaded: Loaded, sample: Path) -> None:
    labels = {(row["user_id"], row["segment_id"]) for row in delivered(sample, "segments")}
    assert len(labels) < ROWS["segments"], "some labels are repeated"
    assert sorted(loaded.query("SELECT user_id, segment_id FROM sentiance.segments")) == sorted(labels)
    values = {
        (row["user_id"], row["attribute_name"].removesuffix(".value"), row["attribute_value"] or None)
        for row in delivered(sample, "attributes.long")
    }
    found = loaded.query("SELECT user_id, attribute, value_raw FROM sentiance.attributes_long")
    assert sorted(found, key=repr) == sorted(values, key=repr)
    for name in ROWS:
        table = name.replace(".", "_")
        [(versions, new, held)] = loaded.query(
            f"""SELECT count(*), count(*) FILTER (change_kind = 'new' AND known_to IS NULL),
                (SELECT count(*) FROM sentiance.{table}) FROM history.{table}"""
        )
        assert versions == new == held > 0, name
        assert loaded.query(f"SELECT DISTINCT known_from FROM sentiance.{table}") == [(STAMP,)]


def test_the_open_stay_stays_open(loaded: Loaded) -> None:
    assert loaded.query(
        "SELECT is_open, end_at, end_local, end_utc_offset_min, duration_s FROM sentiance.stationaries "
        "WHERE is_open OR end_at IS NULL OR duration_s IS NULL"
    ) == [(True, None, None, None, None)]


def test_text_of_all_scripts_is_intact(loaded: Loaded) -> None:
    countries = {country for (country,) in loaded.query("SELECT country FROM sentiance.stationaries")}
    assert "België  Belgique  Belgien" in countries, "with its two pairs of blanks"
    [(streets,)] = loaded.query(
        "SELECT string_agg(concat_ws(' ', country, city, street_name)) FROM sentiance.stationaries"
    )
    assert "Strøget" in streets
    assert any("\u0590" <= sign <= "\u05ff" for sign in streets), "Hebrew"


def test_offsets_of_many_zones_are_right_to_the_second(loaded: Loaded) -> None:
    [(starts_at, local, offset)] = loaded.query(
        "SELECT start_at, start_local, utc_offset_min FROM sentiance.moments WHERE meta_name = 'Culver City'"
    )
    assert starts_at == datetime(2018, 12, 3, 1, 10, 12, tzinfo=UTC)
    assert local == datetime(2018, 12, 2, 17, 10, 12)
    assert offset == -480
    offsets = {
        o
        for table in ("stationaries", "transports", "moments")
        for (o,) in loaded.query(f"SELECT DISTINCT utc_offset_min FROM sentiance.{table}")
    }
    assert offsets >= {-480, 0, 180, 330}


def test_there_is_nothing_left_to_do(loaded: Loaded, sample: Path) -> None:
    again = runs.plan(loaded.settings, loaded.settings.feeds)
    assert (again.loads, again.up_to_date, again.incomplete) == ((), len(ROWS), ())
    [discovery] = again.discoveries.values()
    assert discovery.unrecognised == ()
    assert len([folder for folder in sample.iterdir() if folder.name.startswith("2018_")]) == 3
    assert set(discovery.other_types) == {
        "transports_realtime",
        "scores_realtime",
        "driving_events_realtime",
    }, "driving is seen, and not subscribed to"
    assert loaded.query("SELECT DISTINCT partition, status, delivery_folder FROM ops.ledger") == [
        (PARTITION, "loaded", DELIVERY)
    ]
