import csv
import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offload_platform.contracts.deliveries import Role
from offload_platform.simulator.behaviour import KINDS, events_of
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.drives import drives_processed
from offload_platform.simulator.driving import write_driving_days
from offload_platform.simulator.driving_settings import DRIVING_TYPES, DrivingSimulation, Vintage
from offload_platform.simulator.json_faults import JSON_FAULTS
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.writing import Summary
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.merge import merge

from ..conftest import Warehouse

SENTIANCE = vendor_named("sentiance")
FIRST = date(2018, 12, 7)
JSON_TYPES = ("driving_events_realtime", "mapped_waypoints_realtime")
HEADER_WIDTHS = {
    Vintage.SAMPLE_2017: (13, 7),
    Vintage.SAMPLE_2019: (18, 14),
    Vintage.SAMPLE_JUNE_2022: (42, 14),
    Vintage.SAMPLE_JULY_2022: (24, 14),
}
KNOWN_EVENTS = {
    *(("acceleration", manoeuvre) for manoeuvre in ("accelerate", "brake", "coast")),
    *(("turn", manoeuvre) for manoeuvre in ("left_turn", "right_turn", "roundabout", "lane_switch")),
    ("anomalies", "phone_usage"),
    ("boundaries", None),
    *((category, category) for category in ("mounted", "idle", "traffic")),
}
LISTS = ["acceleration", "idle", "breakdown", "boundaries", "turn", "anomalies", "mounted", "crash", "traffic"]
ALWAYS = {"start", "end", "category"}
MEMBERS = {
    "acceleration": ALWAYS | {"type", "duration", "features", "mean", "magnitude", "peaks"},
    "turn": ALWAYS | {"type", "duration", "features", "mean", "magnitude", "peaks"},
    "anomalies": ALWAYS | {"type", "duration"},
    "mounted": ALWAYS | {"type", "duration"},
    "boundaries": ALWAYS | {"features"},
    "idle": ALWAYS | {"type", "features"},
    "traffic": ALWAYS | {"type", "intensity", "probs", "duration_in_min"},
}
PEAK_MEMBERS = {
    "acceleration": {"duration", "max", "integral", "mean", "start", "end", "is_positive"},
    "turn": {"duration", "mean", "start", "angle", "magnitude", "end", "is_positive"},
}
PEAKS = {"left_turn": 1, "right_turn": 1, "lane_switch": 2, "roundabout": 3, "accelerate": 1, "brake": 1, "coast": 1}
"""As the vendor's samples have them."""

Row = dict[str, Any]
Make = Callable[..., Any]
csv.field_size_limit(1 << 24)


class World:
    """Driving days that were written, read back with nothing but the standard library."""

    def __init__(self, simulation: DrivingSimulation, root: Path) -> None:
        self.simulation = simulation
        self.root = root / "bucket"
        self.manifest_dir = root / "record"
        self.summary: Summary = write_driving_days(simulation, self.root, self.manifest_dir)

    def part_keys(self, offload_type: str = "*") -> list[str]:
        parts = self.root.glob(f"*/*/{offload_type}.{self.simulation.app_id}.*/part-*")
        return sorted(str(part.relative_to(self.root)) for part in parts)

    def lines(self, key: str) -> list[bytes]:
        content = gzip.decompress((self.root / key).read_bytes())
        assert content.endswith(b"\n")
        assert b"\r" not in content
        return content.split(b"\n")[:-1]

    def rows(self, offload_type: str, day: date | None = None) -> list[Row]:
        """Rows of all folders, or of those of one day."""
        keys = [key for key in self.part_keys(offload_type) if day is None or key.startswith(f"{day:%Y_%m_%d}_")]
        if offload_type in JSON_TYPES:
            return [json.loads(line) for key in keys for line in self.lines(key)]
        return [row for key in keys for row in csv.DictReader(line.decode() for line in self.lines(key))]

    def record(self, name: str) -> list[Row]:
        return [json.loads(line) for line in (self.manifest_dir / name).read_text(encoding="utf-8").splitlines()]


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def keys_of(rows: list[Row]) -> set[tuple[str, str]]:
    return {(row["user_id"], row["start"]) for row in rows}


def events_in(drive: Row) -> Iterator[Row]:
    for listed in drive["behavior_events"].values():
        yield from listed


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two days of two parts each, without a fault."""
    simulation = DrivingSimulation(users=60, days=2, users_per_part=35, late_share=0.2, unscored_share=0.1)
    return World(simulation, tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three days with many faults; the second day is run twice, and the third is empty."""
    simulation = DrivingSimulation(
        users=90,
        days=3,
        users_per_part=40,
        faults=0.15,
        events_per_drive=12,
        fixes_per_drive=9,
        rerun_days=(FIRST + timedelta(days=1),),
        empty_days=(FIRST + timedelta(days=2),),
    )
    return World(simulation, tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def vintages(tmp_path_factory: pytest.TempPathFactory) -> dict[Vintage, World]:
    """One day of each vintage, in one root."""
    root = tmp_path_factory.mktemp("vintages")
    worlds = {}
    for nth, vintage in enumerate(Vintage):
        simulation = DrivingSimulation(users=12, first_day=FIRST + timedelta(days=nth), vintage=vintage)
        worlds[vintage] = World(replace(simulation, events_per_drive=5, fixes_per_drive=5), root)
    return worlds


@pytest.fixture(scope="module")
def query(
    sound: World,
    faulty: World,
    vintages: dict[Vintage, World],
    tmp_path_factory: pytest.TempPathFactory,
    feed_of: Make,
    partition: Make,
) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks a warehouse into which all worlds were loaded, as a feed each, and merged."""
    warehouse = Warehouse(tmp_path_factory.mktemp("loaded"))
    for name, worlds in (("sound", [sound]), ("faulty", [faulty]), ("vintages", list(vintages.values()))):
        feed = feed_of(worlds[0].root.as_uri(), name=name, cadence={"driving": "daily"}, start=FIRST)
        for world in worlds:
            for day in world.simulation.data_days:
                for offload_type in DRIVING_TYPES:
                    warehouse.load(feed, partition(day.isoformat(), offload_type, name, days=1))
    with warehouse.writing() as connection:
        merge(connection)
    return warehouse.query


def test_every_row_is_loaded_or_in_quarantine_as_the_manifest_says(query: Make, faulty: World) -> None:
    """Of the day that was run twice, the folder with the newer marker counts."""
    counting = counting_folders(faulty)
    planted = [
        (said["object_key"], said["line"], said["raw"], said["reasons"])
        for said in faulty.record("manifest.jsonl")
        if said["folder"] in counting
    ]
    assert sorted(query("SELECT object_key, line, raw, reasons FROM ops.quarantine")) == sorted(planted)
    assert len(planted) > 100
    broken = Counter(key for key, *_ in planted)
    expected = {
        key: (rows_in(faulty, key), broken[key]) for key in faulty.part_keys() if key.partition("/")[0] in counting
    }
    found = query(
        """SELECT object_key, rows_in, rows_quarantined, rows_loaded FROM ops.ledger
           WHERE feed = 'faulty' AND status = 'loaded' AND rows_in > 0"""
    )
    assert {key: (rows, bad) for key, rows, bad, _ in found} == expected
    for offload_type in DRIVING_TYPES:
        rows, bad = (
            sum(counts[nth] for key, counts in expected.items() if f"/{offload_type}." in key) for nth in (0, 1)
        )
        assert query(f"SELECT count(*) FROM delivered.{offload_type} WHERE feed = 'faulty'") == [(rows - bad,)]


def test_every_row_without_a_fault_is_loaded(query: Make, sound: World, vintages: dict[Vintage, World]) -> None:
    for feed, worlds in (("sound", [sound]), ("vintages", list(vintages.values()))):
        for offload_type in DRIVING_TYPES:
            written = sum(world.summary.rows[offload_type] for world in worlds)
            assert written > 0
            for schema in ("delivered", "history", "sentiance"):
                counted = query(f"SELECT count(*) FROM {schema}.{offload_type} WHERE feed = '{feed}'")
                assert counted == [(written,)], "no drive comes back, so each is one row everywhere"


def test_summary_and_parts_say_what_was_written(sound: World, faulty: World) -> None:
    for world, folders in ((sound, 2), (faulty, 4)):
        counted: Counter[str] = Counter()
        parts = world.record("parts.jsonl")
        assert sorted(part["object_key"] for part in parts) == world.part_keys()
        for part in parts:
            assert part["rows"] == rows_in(world, part["object_key"])
            assert part["stamp"] == f"{part['object_key'][:10].replace('_', '-')}T00:00:00+00:00"
            counted[part["offload_type"]] += part["rows"]
        assert world.summary.rows == counted
        assert world.summary.parts == len(parts)
        assert world.summary.deliveries == folders * len(DRIVING_TYPES)
        assert world.summary.size == sum((world.root / key).stat().st_size for key in world.part_keys())
        assert world.summary.planted == len(world.record("manifest.jsonl")) == sum(part["faulty"] for part in parts)


def test_events_are_those_of_the_simulators_own_count(query: Make, sound: World) -> None:
    own: Counter[tuple[str, str | None]] = Counter()
    for day in sound.simulation.data_days:
        drives = drives_processed(sound.simulation, day, np.arange(sound.simulation.users))
        kinds = events_of(sound.simulation, drives).kind
        own.update({(kind.category, kind.type): int((kinds == nth).sum()) for nth, kind in enumerate(KINDS)})
    assert len(own) == len(KINDS)
    assert min(own.values()) > 0
    found = query("SELECT category, event_type, count(*) FROM sentiance.drive_events WHERE feed = 'sound' GROUP BY ALL")
    assert {(category, event_type): count for category, event_type, count in found} == own
    assert query("SELECT count(*) FROM sentiance.drive_event_peaks WHERE feed = 'sound'") == [
        (sum(count * PEAKS.get(event_type or "", 0) for (_, event_type), count in own.items()),)
    ]
    mean = sum(own.values()) / sound.summary.rows["driving_events_realtime"]
    assert 0.75 < mean / sound.simulation.events_per_drive < 1.25


def test_no_value_is_lost_on_the_way(query: Make) -> None:
    """What is written without a fault gives no drift, and no null where the vendor's samples have a value."""
    assert query("SELECT DISTINCT kind FROM ops.drift WHERE feed = 'sound'") == []
    assert query(
        """SELECT count(*) FROM sentiance.drive_events WHERE feed = 'sound' AND (
            start_at IS NULL OR end_at IS NULL OR duration_s IS NULL OR duration_s <= 0
            OR category IN ('acceleration', 'turn') AND (mean_mps2 IS NULL OR magnitude_norm IS NULL OR peak_count = 0)
            OR category = 'traffic' AND (traffic_intensity IS NULL OR traffic_probability IS NULL)
            OR category <> 'boundaries' AND event_type IS NULL)"""
    ) == [(0,)]
    assert query(
        """SELECT count(*) FROM sentiance.mapped_waypoints WHERE feed = 'sound' AND (
            fix_at IS NULL OR latitude IS NULL OR speed_kmh < 0 OR speed_limit_kmh IS NULL)"""
    ) == [(0,)]
    assert query(
        "SELECT count(*) FILTER (fix_count < 2), avg(fix_count) > 50 FROM sentiance.mapped_waypoints_realtime"
        " WHERE feed = 'sound'"
    ) == [(0, True)]


def test_vintages_have_the_columns_of_the_samples(query: Make, vintages: dict[Vintage, World]) -> None:
    for vintage, world in vintages.items():
        day = world.simulation.first_day
        [drives], [scores] = ([k for k in world.part_keys(t) if f"{day:%Y_%m_%d}" in k] for t in DRIVING_TYPES[:2])
        widths = tuple(len(world.lines(key)[0].split(b",")) for key in (drives, scores))
        assert widths == HEADER_WIDTHS[vintage]
        has_event_id = {"event_id" in drive for drive in world.rows("driving_events_realtime", day)}
        assert has_event_id == {vintage in (Vintage.SAMPLE_JUNE_2022, Vintage.SAMPLE_JULY_2022)}
    assert query("SELECT count(*) FROM ops.drift WHERE feed = 'vintages' AND kind <> 'missing column'") == [(0,)]
    first, second, third, fourth = (
        query(
            f"""SELECT bool_and(session_id IS NOT NULL), count(weather_start_temperature) > 0,
                bool_and(event_id IS NOT NULL AND occupant_role IS NOT NULL AND score_attention IS NOT NULL)
                FROM sentiance.transports_realtime
                WHERE feed = 'vintages' AND data_day = '{world.simulation.first_day}'"""
        )
        for world in vintages.values()
    )
    assert first == [(False, False, False)]
    assert second == [(True, False, False)]
    assert third == [(True, True, False)]
    assert fourth == [(True, False, True)]


def test_same_simulation_gives_same_bytes(tmp_path: Path) -> None:
    simulation = DrivingSimulation(users=12, users_per_part=7, days=2, faults=0.05, events_per_drive=9)
    first, second = World(simulation, tmp_path / "first"), World(simulation, tmp_path / "second")
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    assert first.summary == second.summary
    other = World(replace(simulation, seed=2), tmp_path / "other")
    assert not {row["user_id"] for row in first.rows("scores_realtime")} & {
        row["user_id"] for row in other.rows("scores_realtime")
    }


def test_day_alone_equals_the_same_one_of_a_longer_run(sound: World, tmp_path: Path) -> None:
    day = sound.simulation.data_days[1]
    alone = World(replace(sound.simulation, first_day=day, days=1), tmp_path)
    longer = {key: content for key, content in files_of(sound.root).items() if key.startswith(f"{day:%Y_%m_%d}")}
    assert longer
    assert files_of(alone.root) == longer


@pytest.mark.parametrize("offload_type", DRIVING_TYPES)
def test_rows_do_not_depend_on_the_parts(sound: World, tmp_path: Path, offload_type: str) -> None:
    whole = World(replace(sound.simulation, users_per_part=100, types=(offload_type,)), tmp_path)
    assert len(whole.part_keys()) == 2
    assert len(sound.part_keys(offload_type)) == 4

    def said(rows: list[Row]) -> list[str]:
        return sorted(json.dumps(row) for row in rows)

    assert said(whole.rows(offload_type)) == said(sound.rows(offload_type))


def test_layout_knows_every_object(faulty: World) -> None:
    jobs: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for key, content in files_of(faulty.root).items():
        placement = SENTIANCE.layout.place(key)
        assert placement is not None, key
        assert placement.stamp.date() in faulty.simulation.data_days
        if placement.role is Role.MARKER:
            assert content == b""
            assert (faulty.root / key).stat().st_mtime > placement.stamp.timestamp() + 86_400
            jobs[placement.folder, placement.offload_type] |= set()
        else:
            assert content[:4] == b"\x1f\x8b\x08\x00"
            assert content[4:8] == bytes(4)
            jobs[placement.folder, placement.offload_type].add(placement.writer)
            assert (placement.writer is None) == (placement.offload_type in JSON_TYPES)
    assert len(jobs) == 4 * len(DRIVING_TYPES)
    assert {len(found) for found in jobs.values()} == {0, 1}
    numbered = [int(re.findall(r"part-(\d{5})", key)[0]) for key in faulty.part_keys("scores_realtime")]
    assert numbered == [0, 1, 2] * 3


def test_a_re_run_says_something_else_of_the_same_day(faulty: World, tmp_path: Path) -> None:
    again = World(replace(faulty.simulation, faults=0), tmp_path)
    [day] = again.simulation.rerun_days
    newer = counting_folders(again)
    first, second = (
        {
            key: row
            for folder in sorted(again.root.glob(f"{day:%Y_%m_%d}_*"))
            if (folder.name in newer) is counts
            for part in sorted(folder.glob("*/transports_realtime.*/part-*"))
            for row in csv.DictReader(gzip.decompress(part.read_bytes()).decode().splitlines())
            for key in [(row["user_id"], row["start"])]
        }
        for counts in (False, True)
    )
    assert len(newer) == 3
    assert second.keys() < first.keys()
    assert len(second) > 0.9 * len(first)
    assert all(second[key]["smooth"] != first[key]["smooth"] or first[key]["smooth"] == "-1" for key in second)
    assert all(second[key]["waypoints"] == first[key]["waypoints"] for key in second)


def test_an_empty_day_has_markers_alone(query: Make, faulty: World) -> None:
    [day] = faulty.simulation.empty_days
    files = [key for key in files_of(faulty.root) if key.startswith(f"{day:%Y_%m_%d}")]
    assert sorted(key.split("/")[2].partition(".")[0] for key in files) == sorted(DRIVING_TYPES)
    assert {Path(key).name for key in files} == {"_SUCCESS"}
    assert query(
        f"""SELECT DISTINCT offload_type, rows_in FROM ops.ledger
            WHERE feed = 'faulty' AND delivery_stamp::DATE = '{day}' ORDER BY ALL"""
    ) == [(offload_type, 0) for offload_type in sorted(DRIVING_TYPES)]


def test_types_of_a_day_tell_of_the_same_drives(sound: World) -> None:
    for day in sound.simulation.data_days:
        drives = sound.rows("transports_realtime", day)
        assert len(keys_of(drives)) == len(drives) > 50
        identity = {(row["user_id"], row["metadata_user_id"]) for row in drives}
        for offload_type, name in (
            ("driving_events_realtime", "event_id"),
            ("mapped_waypoints_realtime", "session_id"),
        ):
            others = sound.rows(offload_type, day)
            assert len(others) == len(drives)
            assert {(o["user_id"], o["start"], o["end"], o[name]) for o in others} == {
                (row["user_id"], row["start"], row["end"], row[name]) for row in drives
            }
        assert {(o["user_id"], o["metadata_user_id"]) for o in sound.rows("driving_events_realtime", day)} == identity
        assert len({row["event_id"] for row in drives}) == len(drives)
        assert all(re.fullmatch("[0-9a-f]{64}", row["event_id"]) for row in drives)
        sessions = Counter(row["session_id"] for row in drives)
        assert max(sessions.values()) > 1
        assert len({row["user_id"] for row in drives}) < len(sessions) < len(drives)
        assert {row["mode"] for row in drives} == {"car"}
        assert {row["occupant_role"] for row in drives} == {"driver", "passenger"}
        last: dict[str, float] = {}
        for row in drives:
            last[row["user_id"]] = max(last.get(row["user_id"], 0), time(row["start"]).timestamp() * 1000)
        assert {row["user_id"]: float(row["timestamp"]) for row in sound.rows("scores_realtime", day)} == last


def test_scores_are_shares_or_minus_one(sound: World) -> None:
    events = {
        (drive["user_id"], drive["start"]): sum(1 for _ in events_in(drive))
        for drive in sound.rows("driving_events_realtime")
    }
    unscored = 0
    for row in sound.rows("transports_realtime"):
        scores = {name: float(row[name]) for name in ("smooth", "anticipative", "hard_accel", "legal_v2", "aggr_v2")}
        given = {name: float(row[name]) for name in ("legal", "focus", "mounted", "attention")}
        assert all(0 <= score <= 1 for score in given.values())
        if events[row["user_id"], row["start"]]:
            assert all(0 <= score <= 1 for score in scores.values())
        else:
            unscored += 1
            assert set(scores.values()) == {-1}
    assert 0.05 < unscored / len(events) < 0.2
    many = World(DrivingSimulation(users=400, types=("scores_realtime",)), sound.root.parent / "many").rows(
        "scores_realtime"
    )
    assert 0 < sum(row["smooth"] == "-1" for row in many) < len(many) / 20
    assert all(float(row[name]) == -1 or 0 <= float(row[name]) <= 1 for row in many for name in list(row)[2:])


def test_each_drive_is_delivered_once_and_some_are_late(tmp_path: Path) -> None:
    """Whether drives are late or not, all of an inner day arrive, in that day's folder or a later one."""
    days = 9
    settings = DrivingSimulation(users=40, days=days, types=("transports_realtime",), late_share=0.3)
    late, punctual = World(settings, tmp_path / "late"), World(replace(settings, late_share=0), tmp_path / "punctual")
    inner = FIRST + timedelta(days=3)

    def ended_on(world: World, day: date) -> list[tuple[str, str]]:
        return sorted(
            (row["user_id"], row["start"])
            for row in world.rows("transports_realtime")
            if time(row["end"]).astimezone(UTC).date() == day
        )

    assert ended_on(late, inner) == ended_on(punctual, inner)
    assert len(set(ended_on(late, inner))) == len(ended_on(late, inner)) > 20
    behind: Counter[int] = Counter()
    for day in settings.data_days:
        for row in late.rows("transports_realtime", day):
            behind[(day - time(row["end"]).astimezone(UTC).date()).days] += 1
    assert set(range(5)) <= set(behind) <= set(range(6)), "processing may go on past midnight"
    assert 0.2 < sum(count for lag, count in behind.items() if lag) / behind.total() < 0.4


def test_drives_are_the_car_trips_of_the_same_people(sound: World, tmp_path: Path) -> None:
    lifestyle = Simulation(
        users=60,
        first_stamp=datetime(2018, 12, 11, 15, tzinfo=UTC),
        window_days=12,
        types=("transports",),
        correction_share=0,
        withdrawal_share=0,
        inactive_share=0,
    )
    write_deliveries(lifestyle, tmp_path / "lifestyle")
    [part] = (tmp_path / "lifestyle").rglob("part-*")
    trips = {
        (row["user_id"], row["start"]): row
        for row in csv.DictReader(gzip.decompress(part.read_bytes()).decode().splitlines())
    }
    for row in sound.rows("transports_realtime"):
        trip = trips[row["user_id"], row["start"]]
        assert trip == {name: row[name] for name in trip}


def test_events_are_shaped_as_in_the_samples(sound: World) -> None:
    seen = set()
    for drive in sound.rows("driving_events_realtime"):
        assert list(drive["behavior_events"]) == LISTS
        for category, listed in drive["behavior_events"].items():
            starts = [time(event["start"]) for event in listed]
            assert category == "traffic" or starts == sorted(starts)
            for event in listed:
                assert event["category"] == category
                assert event.keys() == MEMBERS[category] or category == "boundaries"
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)", event["start"])
                assert time(drive["start"]) <= time(event["start"]) < time(event["end"]) <= time(drive["end"])
                check_event(event)
                seen.add((category, event.get("type")))
    assert seen == KNOWN_EVENTS


def check_event(event: Row) -> None:
    seconds = (time(event["end"]) - time(event["start"])).total_seconds()
    if "duration" in event:
        assert event["duration"] == pytest.approx(seconds)
    if event["category"] in ("anomalies", "mounted"):
        assert event["duration"] == int(event["duration"])
    if event["category"] == "traffic":
        assert event["duration_in_min"] * 60 == seconds
        assert event["intensity"] in ("low", "medium", "high")
    if event["category"] not in PEAK_MEMBERS:
        return
    assert [peak.keys() for peak in event["peaks"]] == [PEAK_MEMBERS[event["category"]]] * PEAKS[event["type"]]
    for one, other in pairwise(event["peaks"]):
        assert time(one["end"]) <= time(other["start"])
    [peak, *others] = event["peaks"]
    if event["category"] == "acceleration":
        assert not others
        assert event["features"]["magnitude"] == pytest.approx(peak["max"] / 5, abs=0.0006)
        assert abs(peak["integral"]) == pytest.approx(3.6 * peak["mean"] * seconds, rel=0.02, abs=0.05)
        assert peak["is_positive"] == (event["type"] == "accelerate") == (peak["integral"] > 0)
        assert (peak["max"] <= 1) or event["type"] != "coast"
        assert (peak["max"] > 1) or event["type"] != "brake"
    else:
        assert all(peak["is_positive"] == (peak["angle"] > 0) for peak in event["peaks"])
        assert (peak["angle"] > 0) == (event["type"] == "left_turn")


def test_fixes_run_along_the_drive_with_fractions_of_six_digits_or_none(sound: World) -> None:
    places = Counter()
    for drive in sound.rows("mapped_waypoints_realtime"):
        fixes = drive["mapped_waypoints"]
        times = [time(fix["waypoint_timestamp"]).replace(microsecond=0) for fix in fixes]
        assert times == sorted(times)
        assert times[0] == time(drive["start"])
        assert times[-1] == time(drive["end"])
        for fix in fixes:
            assert list(fix) == ["latitude", "longitude", "speed_v2", "speedlimit", "waypoint_timestamp"]
            places[len(re.sub(r"(Z|[+-]\d\d:\d\d)$", "", fix["waypoint_timestamp"]).partition(".")[2])] += 1
    assert places.keys() == {0, 6}
    assert 0.05 < places[0] / places.total() < 0.25


def test_manifest_shows_every_broken_line_as_it_stands(faulty: World) -> None:
    planted = faulty.record("manifest.jsonl")
    seen = set()
    for row in planted:
        line = faulty.lines(row["object_key"])[row["line"] - 1]
        assert row["raw"] == line.decode(errors="backslashreplace").replace("\0", "\\x00")
        seen.add((row["object_key"], row["line"]))
    assert len(seen) == len(planted)
    in_json = {row["kind"] for row in planted if row["offload_type"] in JSON_TYPES}
    assert in_json == {fault.kind for fault in JSON_FAULTS}
    assert sum(row["reasons"] == ["not a JSON object"] for row in planted) > 10
    in_csv = {row["kind"] for row in planted if row["offload_type"] not in JSON_TYPES}
    assert {"as_of_at: not milliseconds since 1970", "score_smooth: not a number", "too few fields"} < in_csv


def test_rows_beside_the_faults_are_untouched(faulty: World, tmp_path: Path) -> None:
    sound = World(replace(faulty.simulation, faults=0), tmp_path)
    broken = {(row["object_key"], row["line"]) for row in faulty.record("manifest.jsonl")}
    for key in faulty.part_keys():
        pairs = zip(faulty.lines(key), sound.lines(key), strict=True)
        differing = {(key, line) for line, (one, other) in enumerate(pairs, 1) if one != other}
        assert differing == {place for place in broken if place[0] == key}


def test_users_who_did_not_drive_leave_no_hole_in_the_part_numbers(tmp_path: Path) -> None:
    """A part without a row is not written: JSON lines have no header, and an empty file would be refused."""
    world = World(DrivingSimulation(users=12, users_per_part=1, events_per_drive=3, fixes_per_drive=3), tmp_path)
    for offload_type in DRIVING_TYPES:
        keys = world.part_keys(offload_type)
        assert 0 < len(keys) < 12
        assert [int(re.findall(r"part-(\d{5})", key)[0]) for key in keys] == list(range(len(keys)))
        assert all(rows_in(world, key) > 0 for key in keys)


@pytest.mark.parametrize(
    "settings",
    [
        {"users": 0},
        {"days": 0},
        {"events_per_drive": 0},
        {"late_share": 1.5},
        {"app_id": "not an app id"},
        {"types": ("stationaries",)},
        {"empty_days": (FIRST - timedelta(days=1),)},
        {"rerun_days": (FIRST + timedelta(days=1),)},
    ],
)
def test_impossible_simulation_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        DrivingSimulation(**settings)


_PEAKS = """
import sys
from pathlib import Path
from offload_platform.simulator.driving import write_driving_days
from offload_platform.simulator.driving_settings import DrivingSimulation

for offload_type in ("driving_events_realtime", "mapped_waypoints_realtime"):
    for users in (200, 800):
        write_driving_days(
            DrivingSimulation(users=users, types=(offload_type,), events_per_drive=300, fixes_per_drive=600),
            Path(sys.argv[1]),
        )
        print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_memory_does_not_grow_with_the_drives(tmp_path: Path) -> None:
    """The larger days are of 90 MB of text."""
    command = [sys.executable, "-c", _PEAKS, str(tmp_path / "out")]
    # What threads leave behind in arenas of their own, and what is free and not given back yet, varies from run to run
    # by more than what is measured here.
    given_back = os.environ | {"MALLOC_ARENA_MAX": "1", "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=given_back).stdout
    few_events, many_events, _, many_fixes = (int(peak) / 1024 for peak in said.split())
    assert many_events < few_events + 60
    assert many_fixes < many_events + 60


def rows_in(world: World, key: str) -> int:
    has_header = key.endswith(".csv.gz")
    return len(world.lines(key)) - has_header


def counting_folders(world: World) -> set[str]:
    """The folder of each day whose markers are the newest."""
    newest: dict[str, tuple[float, str]] = {}
    for marker in world.root.glob("*/*/*/_SUCCESS"):
        folder = marker.relative_to(world.root).parts[0]
        newest[folder[:10]] = max(newest.get(folder[:10], (0.0, "")), (marker.stat().st_mtime, folder))
    return {folder for _, folder in newest.values()}
