import csv
import gzip
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from offload_platform.contracts.deliveries import Part, Role, StoredObject
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.faults import FAULTS
from offload_platform.simulator.simulation import (
    OFFLOAD_TYPES,
    Drift,
    DriftKind,
    Simulation,
    WaypointForm,
)
from offload_platform.simulator.writing import Summary
from offload_platform.vendors import vendor_named
from offload_platform.vendors.sentiance.attribute_catalogue import SUFFIX, attributes
from offload_platform.vendors.sentiance.vocabulary import (
    CITY_TYPES,
    MOMENT_DEFINITIONS,
    SEGMENTS,
    SIGNIFICANCES,
    TRANSPORT_MODES,
)

SENTIANCE = vendor_named("sentiance")
STAMP = datetime(2018, 12, 8, 15, 5, 54, 499_000, tzinfo=UTC)
HEADERS = {
    "stationaries": (
        "user_id,metadata_user_id,start,end,location.significance,latitude,longitude,address.country,address.city,"
        "address.city_type,address.streetname,location.place.name,location.place.type,duration"
    ),
    "transports": "user_id,metadata_user_id,start,end,mode,distance,waypoints,duration",
    "moments": "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration",
    "segments": "user_id,metadata_user_id,segment_id",
    "attributes.long": "user_id,metadata_user_id,attribute_name,attribute_value",
}
Row = dict[str, str]
csv.field_size_limit(1 << 24)


class World:
    """Deliveries that were written, read back with nothing but the standard library."""

    def __init__(self, simulation: Simulation, root: Path) -> None:
        self.simulation = simulation
        self.root = root / "bucket"
        self.manifest_dir = root / "record"
        self.progress: list[tuple[str, int]] = []
        self.summary: Summary = write_deliveries(
            simulation, self.root, self.manifest_dir, lambda key, rows: self.progress.append((key, rows))
        )

    def part_keys(self, offload_type: str = "*") -> list[str]:
        parts = self.root.glob(f"*/*/{offload_type}.{self.simulation.app_id}.csv/part-*.csv.gz")
        return sorted(str(part.relative_to(self.root)) for part in parts)

    def content(self, key: str) -> bytes:
        return gzip.decompress((self.root / key).read_bytes())

    def rows(self, offload_type: str, stamp: datetime | None = None) -> list[Row]:
        folder = f"{stamp or self.simulation.first_stamp:%m_%d_%Y_}"
        return [
            row
            for key in self.part_keys(offload_type)
            if key.startswith(folder)
            for row in csv.DictReader(self.content(key).decode().splitlines())
        ]

    def record(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.manifest_dir / name).read_text(encoding="utf-8").splitlines()]

    def by_key(self, offload_type: str, stamp: datetime) -> dict[tuple[str, datetime], Row]:
        return {(row["user_id"], time(row["start"])): row for row in self.rows(offload_type, stamp)}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def in_window(start: datetime, stamp: datetime) -> bool:
    return start >= stamp.replace(microsecond=0) - timedelta(days=63)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three weekly snapshots of a small population in which much is corrected, withdrawn and away."""
    simulation = Simulation(
        users=18,
        first_stamp=STAMP,
        snapshots=3,
        users_per_part=7,
        correction_share=0.1,
        withdrawal_share=0.1,
        inactive_share=0.25,
    )
    return World(simulation, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two snapshots in which nothing is corrected or withdrawn and nobody is away."""
    simulation = Simulation(
        seed=7, users=10, snapshots=2, types=OFFLOAD_TYPES, correction_share=0, withdrawal_share=0, inactive_share=0
    )
    return World(simulation, tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> World:
    simulation = Simulation(users=30, users_per_part=16, window_days=40, faults=0.04)
    return World(simulation, tmp_path_factory.mktemp("faulty"))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_simulation_gives_same_bytes(tmp_path: Path) -> None:
    simulation = Simulation(users=3, window_days=9, faults=0.05, users_per_part=2)
    first, second = World(simulation, tmp_path / "first"), World(simulation, tmp_path / "second")
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    assert first.summary == second.summary
    other = World(replace(simulation, seed=2), tmp_path / "other")
    assert not {row["user_id"] for row in first.rows("segments")} & {row["user_id"] for row in other.rows("segments")}


def test_snapshot_alone_equals_the_same_one_of_a_longer_run(world: World, tmp_path: Path) -> None:
    last = world.simulation.stamps[-1]
    alone = World(replace(world.simulation, first_stamp=last, snapshots=1), tmp_path)
    longer = {key: content for key, content in files_of(world.root).items() if key.startswith(f"{last:%m_%d_%Y}")}
    assert longer
    assert files_of(alone.root) == longer


@pytest.mark.parametrize("offload_type", OFFLOAD_TYPES)
def test_rows_do_not_depend_on_the_parts(world: World, tmp_path: Path, offload_type: str) -> None:
    simulation = replace(world.simulation, snapshots=1, users_per_part=100, types=(offload_type,))
    whole = World(simulation, tmp_path).rows(offload_type)

    def said(rows: list[Row]) -> list[str]:
        return sorted(json.dumps(row) for row in rows)

    assert said(whole) == said(world.rows(offload_type))


def test_layout_knows_every_object_and_finds_the_deliveries_complete(world: World) -> None:
    folders: dict[str, dict[str, list[Part]]] = defaultdict(lambda: defaultdict(list))
    for key, content in files_of(world.root).items():
        placement = SENTIANCE.layout.place(key)
        assert placement is not None, key
        assert placement.role is Role.PART
        assert placement.stamp in world.simulation.stamps
        stored = StoredObject(key, len(content), "", STAMP)
        folders[placement.folder][placement.offload_type].append(Part(stored, placement))
    assert len(folders) == 3
    for folder, objects in folders.items():
        assert SENTIANCE.layout.incomplete_because("lifestyle", "segments", objects, (), OFFLOAD_TYPES) is None, folder
        assert {len(parts) for parts in objects.values()} == {3}
    assert set(folders) == {f"12_{day}_2018_15_05_54_499" for day in ("08", "15", "22")}


def test_parts_are_gzip_without_time_and_name(world: World) -> None:
    for key in world.part_keys():
        header = (world.root / key).read_bytes()[:10]
        assert header[:4] == b"\x1f\x8b\x08\x00"
        assert header[4:8] == bytes(4)


@pytest.mark.parametrize("offload_type", OFFLOAD_TYPES)
def test_headers_are_the_vendors(world: World, offload_type: str) -> None:
    for key in world.part_keys(offload_type):
        header = world.content(key).decode().partition("\r\n")[0]
        if offload_type == "attributes.wide":
            names = [attribute.name + SUFFIX for attribute in attributes()]
            assert header == ",".join(["user_id", "metadata_user_id", *names])
        else:
            assert header == HEADERS[offload_type]
        assert set(header.split(",")) <= set(SENTIANCE.contracts[offload_type].wire_columns)


def test_lines_end_with_carriage_return_and_are_whole(world: World) -> None:
    for key in world.part_keys():
        content = world.content(key)
        assert content.endswith(b"\r\n")
        assert content.count(b"\n") == content.count(b"\r\n")


def test_part_totals_are_those_of_the_csv_module(world: World) -> None:
    parts = world.record("parts.jsonl")
    assert [part["object_key"] for part in parts] == [key for key, _ in world.progress]
    assert sorted(part["object_key"] for part in parts) == world.part_keys()
    rows: Counter[str] = Counter()
    for part in parts:
        counted = len(list(csv.reader(world.content(part["object_key"]).decode().splitlines()))) - 1
        assert part["rows"] == counted
        assert part["faulty"] == 0
        assert datetime.fromisoformat(part["stamp"]) in world.simulation.stamps
        rows[part["offload_type"]] += counted
    assert world.summary.rows == rows
    assert world.summary.parts == len(parts) == 54
    assert world.summary.deliveries == 18
    assert world.summary.size == sum(len(content) for content in files_of(world.root).values())
    assert world.record("manifest.jsonl") == []


def test_values_are_known_to_the_vocabulary(world: World) -> None:
    for offload_type, column, known in (
        ("stationaries", "location.significance", SIGNIFICANCES),
        ("stationaries", "address.city_type", CITY_TYPES),
        ("transports", "mode", TRANSPORT_MODES),
        ("moments", "moment_definition_id", MOMENT_DEFINITIONS),
        ("segments", "segment_id", SEGMENTS),
    ):
        values = {row[column] for row in world.rows(offload_type)}
        assert values <= known
        assert len(values) > 1


def test_window_slides(calm: World) -> None:
    first, second = calm.simulation.stamps
    for stamp in (first, second):
        for offload_type in ("stationaries", "transports", "moments"):
            starts = [time(row["start"]) for row in calm.rows(offload_type, stamp)]
            assert all(in_window(start, stamp) and start <= stamp for start in starts)
            assert min(starts) < stamp - timedelta(days=61)
            assert max(starts) > stamp - timedelta(days=2)
        assert all(time(row["end"]) <= stamp for row in calm.rows("transports", stamp))
    gone = calm.by_key("transports", first).keys() - calm.by_key("transports", second).keys()
    assert gone
    assert all(not in_window(start, second) for _, start in gone)


def test_event_is_delivered_again_with_the_same_values(calm: World) -> None:
    first, second = calm.simulation.stamps
    for offload_type in ("stationaries", "transports"):
        earlier, later = calm.by_key(offload_type, first), calm.by_key(offload_type, second)
        again = {key for key in earlier if in_window(key[1], second) and earlier[key]["end"] != "-"}
        assert len(again) > 1000
        assert all(later[key] == earlier[key] for key in again)


def test_last_stay_is_open_and_closed_in_the_next_snapshot(calm: World) -> None:
    first, second = calm.simulation.stamps
    stays, later = calm.rows("stationaries", first), calm.by_key("stationaries", second)
    last = {row["user_id"]: row for row in sorted(stays, key=lambda row: time(row["start"]))}
    assert len(last) == calm.simulation.users
    opened = [row for row in stays if row["end"] == "-"]
    assert opened == [row for row in stays if row is last[row["user_id"]]]
    for row in opened:
        assert row["duration"] == "-1"
        closed = later[row["user_id"], time(row["start"])]
        assert time(closed["end"]) > time(closed["start"])
        assert {**closed, "end": "-", "duration": "-1"} == row


def test_trips_run_from_stay_to_stay(calm: World) -> None:
    stays_of: dict[str, list[Row]] = defaultdict(list)
    for row in calm.rows("stationaries"):
        stays_of[row["user_id"]].append(row)
    begins = {(user, stay["start"]): stay for user, stays in stays_of.items() for stay in stays}
    ends = {(user, stay["end"]): stay for user, stays in stays_of.items() for stay in stays}
    touched = 0
    for trip in calm.rows("transports"):
        arrived = begins[trip["user_id"], trip["end"]]
        left = ends.get((trip["user_id"], trip["start"]))
        fixes = json.loads(trip["waypoints"])["waypoints"]
        assert [list(fix) for fix in fixes] == [["latitude", "longitude", "timestamp"]] * len(fixes)
        times = [time(fix["timestamp"]) for fix in fixes]
        assert times == sorted(times)
        assert int(trip["duration"]) == (time(trip["end"]) - time(trip["start"])).total_seconds() > 0
        if fixes:
            assert (fixes[0]["timestamp"], fixes[-1]["timestamp"]) == (trip["start"], trip["end"])
            for stay, fix in ((left, fixes[0]), (arrived, fixes[-1])):
                if stay:
                    assert float(stay["latitude"]) == fix["latitude"]
                    assert float(stay["longitude"]) == fix["longitude"]
                    touched += 1
    assert touched > 3000
    for stays in stays_of.values():
        for stay in stays:
            if stay["end"] != "-":
                assert int(stay["duration"]) == (time(stay["end"]) - time(stay["start"])).total_seconds() > 0


def test_waypoints_are_written_as_in_the_samples(calm: World, tmp_path: Path) -> None:
    fix = r'\{ "latitude": -?\d+\.\d{5}, "longitude": -?\d+\.\d{5}, "timestamp": "[^"]+"\}'
    shape = re.compile(rf'\{{ "waypoints": \[({fix}(, {fix})+)?\] \}}')
    trips = calm.rows("transports")
    assert all(shape.fullmatch(trip["waypoints"]) for trip in trips)
    assert any(trip["waypoints"] == '{ "waypoints": [] }' for trip in trips)
    arrays = World(replace(calm.simulation, types=("transports",), waypoint_form=WaypointForm.ARRAYS), tmp_path)
    for trip, other in zip(trips, arrays.rows("transports"), strict=True):
        fixes = json.loads(trip["waypoints"])["waypoints"]
        assert json.loads(other["waypoints"]) == [list(point.values()) for point in fixes]


def test_moments_mean_the_stays_and_trips(calm: World) -> None:
    of_moment = defaultdict(set)
    for row in calm.rows("moments"):
        assert int(row["duration"]) == (time(row["end"]) - time(row["start"])).total_seconds() > 0
        of_moment[row["moment_definition_id"]].add((row["user_id"], row["start"], row["end"]))
        if row["moment_definition_id"] in ("city", "country"):
            assert list(json.loads(row["meta"])) == ["name"]
        else:
            assert row["meta"] == ""
    for significance, moment in (("home", "at_home"), ("work", "working_at_work")):
        stays = {
            (row["user_id"], row["start"], row["end"])
            for row in calm.rows("stationaries")
            if row["location.significance"] == significance and row["end"] != "-"
        }
        assert of_moment[moment] == stays
    trips = {(row["user_id"], row["start"], row["end"]) for row in calm.rows("transports")}
    assert of_moment["commute_from_home"]
    assert of_moment["commute_from_home"] | of_moment["commute_from_work"] <= trips
    for moment, days in (("weekday", range(5)), ("weekend", range(5, 7))):
        starts = [time(start) for _, start, _ in of_moment[moment]]
        assert {start.weekday() for start in starts} == set(days)
        assert {start.time().isoformat() for start in starts} == {"00:00:00"}


def test_events_are_corrected_withdrawn_and_users_away(world: World) -> None:
    stamps = world.simulation.stamps
    present = [{row["user_id"] for row in world.rows("segments", stamp)} for stamp in stamps]
    assert (present[0] & present[2]) - present[1], "nobody comes back"
    for offload_type, columns in (
        ("transports", {"mode", "distance", "end", "waypoints", "duration"}),
        ("stationaries", {"end", "duration"}),
    ):
        changed: Counter[str] = Counter()
        withdrawn = 0
        snapshots = [world.by_key(offload_type, stamp) for stamp in stamps]
        assert [{user for user, _ in keys} for keys in snapshots] == present
        for number in (1, 2):
            for key, row in snapshots[number - 1].items():
                if key[0] not in present[number] or not in_window(key[1], stamps[number]) or row["end"] == "-":
                    continue
                if later := snapshots[number].get(key):
                    changed.update(column for column in row if row[column] != later[column])
                else:
                    withdrawn += 1
        assert withdrawn > 10
        assert changed.keys() == columns
        assert all(count > 10 for count in changed.values())
        returned = snapshots[2].keys() - snapshots[1].keys()
        stayed_away = snapshots[0].keys() & returned
        assert {user for user, _ in stayed_away} <= present[0] - present[1], "a withdrawn event came back"


def test_wide_and_long_attributes_are_the_same(world: World) -> None:
    for stamp in world.simulation.stamps:
        long = {
            (row["user_id"], row["attribute_name"]): row["attribute_value"]
            for row in world.rows("attributes.long", stamp)
        }
        wide = {
            (row["user_id"], name): value
            for row in world.rows("attributes.wide", stamp)
            for name, value in row.items()
            if name.endswith(SUFFIX)
        }
        assert wide == long
    values = defaultdict(set)
    for (_, name), value in long.items():
        values[name.removesuffix(SUFFIX)].add(value)
    assert values["client_id"] == {world.simulation.app_id}
    assert values["is_stable"] == {"TRUE", "FALSE"}
    assert "[0, 1, 2, 3, 4]" in values["semantic.time.working_days"]
    assert {"0", "Hidden"} < values["stationary.work.city.mostcommon"]
    assert any("-1" in said for name, said in values.items() if name.startswith("tr.car.bhvr."))
    assert not any("-1" in said for name, said in values.items() if not name.startswith("tr.car.bhvr."))
    assert any("" in said for said in values.values())


def test_user_is_the_same_in_all_types(world: World) -> None:
    rows = {offload_type: world.rows(offload_type) for offload_type in OFFLOAD_TYPES}
    users = [{(row["user_id"], row["metadata_user_id"]) for row in said} for said in rows.values()]
    assert all(said == users[0] for said in users)
    assert all(re.fullmatch("[0-9a-f]{24}", user) for user, _ in users[0])
    offset = {
        row["user_id"]: row["attribute_value"]
        for row in rows["attributes.long"]
        if row["attribute_name"] == "timezone.value"
    }
    for offload_type in ("stationaries", "transports", "moments"):
        for row in rows[offload_type]:
            seconds = time(row["start"]).utcoffset()
            assert seconds is not None
            assert seconds.total_seconds() == float(offset[row["user_id"]])
    home = {
        row["user_id"]: row["address.city"] for row in rows["stationaries"] if row["location.significance"] == "home"
    }
    for row in rows["attributes.wide"]:
        assert row["stationary.home.city.mostcommon.value"] in ("0", "Hidden", "", home[row["user_id"]])


def test_population_is_of_many_zones_and_spellings(tmp_path: Path) -> None:
    world = World(Simulation(users=300, window_days=1, types=("stationaries", "segments")), tmp_path)
    stays = world.rows("stationaries")
    assert {"Z", "+05:30", "-08:00", "+01:00", "+02:00"} <= {row["start"][19:] for row in stays}
    countries = {row["address.country"] for row in stays}
    assert {"België  Belgique  Belgien", "België - Belgique - Belgien", "ישראל", "España", "UK"} <= countries
    labels = defaultdict(list)
    for row in world.rows("segments"):
        labels[row["user_id"]].append(row["segment_id"])
    generations = Counter(
        ("behavior.city_home" in said, "work_life.home.city_home" in said) for said in labels.values()
    )
    assert generations[True, True] > generations[False, True] > 0
    assert any(len(said) > len(set(said)) for said in labels.values())
    for levels in ("physical_activity", "social_activity", "mobility"):
        for said in labels.values():
            first = [label for label in said if re.fullmatch(rf"\w+\.{levels}\.\w+", label)]
            assert len(set(first)) <= 1


def test_manifest_shows_every_broken_line_as_it_stands(faulty: World) -> None:
    planted = faulty.record("manifest.jsonl")
    lines = {key: faulty.content(key).split(b"\r\n") for key in faulty.part_keys()}
    seen = set()
    for row in planted:
        line = lines[row["object_key"]][row["line"] - 1]
        assert row["raw"] == line.decode(errors="backslashreplace").replace("\0", "\\x00")
        assert len(row["reasons"]) == 1
        assert row["folder"] == "12_08_2018_15_05_54_499"
        assert row["line"] > 1
        seen.add((row["object_key"], row["line"]))
    assert len(seen) == len(planted) == faulty.summary.planted
    faulty_of = Counter(row["object_key"] for row in planted)
    for part in faulty.record("parts.jsonl"):
        assert part["faulty"] == faulty_of[part["object_key"]]
        assert part["rows"] == len(lines[part["object_key"]]) - 2  # header, and nothing after the last line end
    share = len(planted) / sum(faulty.summary.rows.values())
    assert 0.03 < share < 0.05
    assert {row["kind"] for row in planted} == {fault.kind for fault in FAULTS}


def test_reasons_say_what_was_done(faulty: World) -> None:
    reasons = defaultdict(set)
    for row in faulty.record("manifest.jsonl"):
        reason, raw = row["reasons"][0], row["raw"]
        reasons[row["offload_type"]].add(re.sub(r"\d+ of \d+", "n of m", reason))
        width = HEADERS.get(row["offload_type"], "," * (len(attributes()) + 1)).count(",") + 1
        if reason.startswith("too few"):
            assert reason == f"too few fields: {raw.count(',') + 1} of {width}"
            assert '"' not in raw
        elif reason.startswith("too many"):
            assert reason == f"too many fields: {width + 1} of {width}"
            assert len(next(csv.reader([raw]))) == width + 1
        elif reason == "unterminated quote":
            assert raw.count('"') == 1
            assert len(raw.split(",")) == width
        elif reason == "stray quote":
            assert re.match(r'[0-9a-f]{12}"[0-9a-f]{12},', raw)
        elif reason == "not UTF-8":
            assert "\\xff" in raw
        elif reason == "NUL byte":
            assert "\\x00" in raw
        else:
            assert len(next(csv.reader([raw], strict=True))) == width
    assert {"waypoints: not a list of fixes", "mode: not_nullable", "distance_m: not a number"} <= reasons["transports"]
    assert {"latitude: less_than_or_equal_to(90)", "place_types: not a JSON list"} <= reasons["stationaries"]
    assert {"meta: not a JSON object", "moment_id: not_nullable"} <= reasons["moments"]
    assert {"segment_id: not_nullable", "unterminated quote", "too few fields: n of m"} <= reasons["segments"]
    assert {"attribute: not_nullable", "user_id: str_matches('^[0-9a-f]{24}$')"} <= reasons["attributes.long"]


def test_rows_beside_the_faults_are_untouched(faulty: World, tmp_path: Path) -> None:
    sound = World(replace(faulty.simulation, faults=0), tmp_path)
    broken = {(row["object_key"], row["line"]) for row in faulty.record("manifest.jsonl")}
    for key in faulty.part_keys("stationaries") + faulty.part_keys("segments"):
        pairs = zip(faulty.content(key).split(b"\r\n"), sound.content(key).split(b"\r\n"), strict=True)
        differing = {(key, line) for line, (one, other) in enumerate(pairs, 1) if one != other}
        assert differing == {place for place in broken if place[0] == key}


def drifted(kind: DriftKind, offload_type: str, tmp_path: Path, **settings: Any) -> World:
    drift = Drift(kind, offload_type, settings.pop("since", None))
    simulation = Simulation(users=3, window_days=20, types=(offload_type,), drifts=(drift,), **settings)
    return World(simulation, tmp_path)


def test_drift_changes_the_file_and_is_in_the_manifest(tmp_path: Path) -> None:
    def first_line(kind: DriftKind) -> str:
        world = drifted(kind, "transports", tmp_path / kind)
        [record] = world.record("manifest.jsonl")
        assert record == {
            "folder": "12_08_2018_15_05_54_499",
            "offload_type": "transports",
            "object_key": world.part_keys()[0],
            "kind": "drift",
            "drift": kind.value,
        }
        assert world.summary.planted == 0
        return world.content(world.part_keys()[0]).decode().splitlines(keepends=True)[0]

    columns = HEADERS["transports"]
    assert first_line(DriftKind.NEW_COLUMN) == f"{columns},confidence\r\n"
    assert first_line(DriftKind.MISSING_COLUMN) == columns.removesuffix(",duration") + "\r\n"
    assert first_line(DriftKind.COLUMN_ORDER) == ",".join(reversed(columns.split(","))) + "\r\n"
    assert first_line(DriftKind.SEMICOLON) == columns.replace(",", ";") + "\r\n"
    assert first_line(DriftKind.BYTE_ORDER_MARK) == f"\ufeff{columns}\r\n"
    assert first_line(DriftKind.LINE_FEED) == f"{columns}\n"
    assert first_line(DriftKind.UNKNOWN_VALUE) == f"{columns}\r\n"


def test_unknown_value_is_in_some_rows(tmp_path: Path) -> None:
    modes = [row["mode"] for row in drifted(DriftKind.UNKNOWN_VALUE, "transports", tmp_path).rows("transports")]
    assert 0 < modes.count("hoverboard") < len(modes) / 10


def test_drift_begins_with_its_stamp(tmp_path: Path) -> None:
    since = STAMP + timedelta(days=7)
    world = drifted(DriftKind.SEMICOLON, "segments", tmp_path, snapshots=2, since=since)
    assert [";" in world.content(key).decode() for key in world.part_keys()] == [False, True]


@pytest.mark.parametrize(
    "settings",
    [
        {"users": 0},
        {"faults": 1.5},
        {"app_id": "not an app id"},
        {"types": ("scores_realtime",)},
        {"first_stamp": STAMP.replace(tzinfo=None)},
        {"correction_share": 0.6, "withdrawal_share": 0.6},
    ],
)
def test_impossible_simulation_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Simulation(**settings)


def test_impossible_drift_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown offload type"):
        Drift(DriftKind.SEMICOLON, "scores_realtime")
    with pytest.raises(ValueError, match="no enumerated column"):
        Drift(DriftKind.UNKNOWN_VALUE, "attributes.wide")


def test_record_lies_beside_the_root_by_default(tmp_path: Path) -> None:
    write_deliveries(Simulation(users=1, window_days=1, types=("segments",)), tmp_path / "feed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed", "feed.manifest"]
    assert sorted(path.name for path in (tmp_path / "feed.manifest").iterdir()) == ["manifest.jsonl", "parts.jsonl"]


def test_part_of_users_who_are_all_away_has_a_header_only(tmp_path: Path) -> None:
    world = World(Simulation(users=2, window_days=1, inactive_share=1), tmp_path)
    assert set(world.summary.rows.values()) == {0}
    for key in world.part_keys():
        assert world.content(key).count(b"\n") == 1


_PEAKS = """
import sys
from pathlib import Path
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation

for offload_type, users in (("stationaries", 140), ("stationaries", 1500), ("transports", 140), ("transports", 280)):
    write_deliveries(Simulation(users=users, types=(offload_type,)), Path(sys.argv[1]))
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_memory_does_not_grow_with_the_population(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PEAKS, str(tmp_path / "out")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    few_stays, many_stays, few_trips, many_trips = (int(peak) / 1024 for peak in said.split())
    assert many_stays < few_stays + 60
    assert many_trips < few_trips + 60
