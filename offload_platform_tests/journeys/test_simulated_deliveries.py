"""Three weekly deliveries with planted faults, through the whole platform and again in any order."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.settings import Feed, read_settings
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import OFFLOAD_TYPES, Drift, DriftKind, Simulation
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.publish import publish

from ..conftest import contract_of

FIRST = datetime(2026, 9, 5, 15, 5, 54, 499_000, UTC)
WEEKS = ("2026-09-05", "2026-09-12", "2026-09-19")
SIMULATION = Simulation(
    users=9,
    users_per_part=5,
    first_stamp=FIRST,
    snapshots=len(WEEKS),
    window_days=14,
    faults=0.03,
    drifts=(Drift(DriftKind.NEW_COLUMN, "moments"), Drift(DriftKind.SEMICOLON, "segments")),
)
Make = Callable[..., Any]


class Journey:
    """A feed's root, what was planted below it, and a warehouse."""

    def __init__(self, folder: Path, write_feeds: Make, feed_of: Make) -> None:
        self.folder = folder
        self.root = folder / "delivered"
        self.feed: Feed = feed_of(self.root.as_uri(), start=date(2026, 9, 5))
        self.feeds_file: Path = write_feeds(folder, self.feed)

    def record(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / "delivered.manifest" / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def query(self, sql: str, file: str = "published") -> list[tuple[Any, ...]]:
        with duckdb.connect(self.folder / "warehouse" / file / "offloads.duckdb", read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def content(self, file: str = "published") -> dict[str, list[str]]:
        """Every row that can be seen but the receipts, without the time of the load."""
        tables = self.query(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema <> 'store'",
            file,
        )
        return {table: self._rows(table, "true", file) for (table,) in tables if table != "ops.receipts"}

    def as_delivered(self, condition: str) -> dict[str, list[str]]:
        """What the build file holds of deliveries, where a condition holds."""
        tables = [f"delivered.{name.replace('.', '_')}" for name in OFFLOAD_TYPES]
        tables += ["ops.ledger", "ops.quarantine", "ops.drift"]
        return {table: self._rows(table, condition, "build") for table in tables}

    def _rows(self, table: str, condition: str, file: str) -> list[str]:
        columns = "* EXCLUDE (loaded_at)" if table == "ops.ledger" else "*"
        return sorted(repr(row) for row in self.query(f"SELECT {columns} FROM {table} WHERE {condition}", file))


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory, feeds_yaml: Make, feed_of: Make, offload: Make) -> Journey:
    folder = tmp_path_factory.mktemp("journey")
    write_deliveries(SIMULATION, folder / "delivered")
    journey = Journey(folder, feeds_yaml, feed_of)
    said = offload("run", "--feeds", journey.feeds_file, "--json")
    assert said.code == 0, said.out + said.err
    assert {(o["offload_type"], o["partition"]) for o in said.json["loads"]} == {
        (name, week) for name in OFFLOAD_TYPES for week in WEEKS
    }
    return journey


@pytest.fixture
def copy(journey: Journey, tmp_path: Path, feeds_yaml: Make, feed_of: Make) -> Journey:
    """The same deliveries and the same warehouse, to be changed."""
    shutil.copytree(journey.folder, tmp_path / "copy")
    return Journey(tmp_path / "copy", feeds_yaml, feed_of)


def test_what_was_planted_is_what_is_in_quarantine(journey: Journey) -> None:
    planted = [
        (said["object_key"], said["line"], said["raw"], said["reasons"])
        for said in journey.record("manifest.jsonl")
        if said["kind"] != "drift"
    ]
    assert len(planted) > 100
    assert len({said["kind"] for said in journey.record("manifest.jsonl")}) > 20
    found = journey.query("SELECT object_key, line, raw, reasons FROM ops.quarantine")
    assert sorted(found) == sorted(planted)


def test_every_other_row_is_loaded(journey: Journey) -> None:
    expected = {said["object_key"]: (said["rows"], said["faulty"]) for said in journey.record("parts.jsonl")}
    assert len(expected) == len(WEEKS) * len(OFFLOAD_TYPES) * 2
    found = {
        key: counts
        for key, *counts in journey.query("SELECT object_key, rows_in, rows_quarantined, rows_loaded FROM ops.ledger")
    }
    assert found == {key: [rows, faulty, rows - faulty] for key, (rows, faulty) in expected.items()}
    for name in OFFLOAD_TYPES:
        table = f"delivered.{name.replace('.', '_')}"
        counted = dict(journey.query(f"SELECT object_key, count(*) FROM {table} GROUP BY ALL", "build"))
        assert counted == {
            key: rows - faulty for key, (rows, faulty) in expected.items() if f"/{name}." in key and rows > faulty
        }
    receipts = journey.query("SELECT rows_in, rows_loaded, rows_quarantined, len(parts) FROM ops.receipts")
    assert len(receipts) == len(WEEKS) * len(OFFLOAD_TYPES)
    assert all(rows_in == loaded + bad and parts == 2 for rows_in, loaded, bad, parts in receipts)


WITNESSES = dict.fromkeys(("stationaries", "transports", "moments"), ("stationaries", "transports")) | {
    "segments": OFFLOAD_TYPES,
    "attributes.wide": ("attributes.wide", "attributes.long"),
    "attributes.long": ("attributes.wide", "attributes.long"),
}
"""Types whose rows show that a user is present in a snapshot, so that what it lacks of the user is gone."""


@pytest.mark.parametrize("name", OFFLOAD_TYPES)
def test_the_truth_is_what_the_snapshots_say_one_after_the_other(journey: Journey, name: str) -> None:
    """The window of each snapshot holds all events of all three, so a snapshot is about all of them."""
    contract = contract_of(name)
    names = list(contract.columns)
    columns, subject = ", ".join(names), names.index("user_id")
    truth: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for week in WEEKS:
        of_week = f"WHERE delivery_stamp::DATE = '{week}'"
        present = {
            user
            for witness in WITNESSES[name]
            for (user,) in journey.query(
                f"SELECT DISTINCT user_id FROM delivered.{witness.replace('.', '_')} {of_week}", "build"
            )
        }
        broken = journey.query(f"SELECT raw FROM ops.quarantine {of_week} AND offload_type = '{name}'")
        seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for row in journey.query(f"SELECT {columns} FROM delivered.{contract.table} {of_week}", "build"):
            key = tuple(row[names.index(name)] for name in contract.identity)
            assert seen.setdefault(key, row) == row
        gone = [
            key
            for key, row in truth.items()
            if key not in seen and row[subject] in present and not any(row[subject] in raw for (raw,) in broken)
        ]
        for key in gone:
            del truth[key]
        truth |= seen
    found = journey.query(f"SELECT {columns} FROM sentiance.{contract.table}")
    assert sorted(map(repr, found)) == sorted(map(repr, truth.values()))
    kinds = {kind for (kind,) in journey.query(f"SELECT DISTINCT change_kind FROM history.{contract.table}")}
    assert kinds >= {"new", "changed" if name.startswith("attributes") else "deleted"}


def test_drift_is_told_and_costs_no_row(journey: Journey) -> None:
    found = journey.query(
        "SELECT offload_type, kind, count(*) FROM ops.drift WHERE kind IN ('unknown column', 'delimiter') GROUP BY ALL"
    )
    assert set(found) == {("moments", "unknown column", 6), ("segments", "delimiter", 6)}


def test_a_second_run_finds_nothing_new(journey: Journey, offload: Make) -> None:
    before, receipts = journey.content(), journey.query("SELECT count(*) FROM ops.receipts")
    said = offload("run", "--feeds", journey.feeds_file, "--json")
    assert said.code == 0
    assert said.json["loads"] == []
    assert said.json["up_to_date"] == len(WEEKS) * len(OFFLOAD_TYPES)
    assert journey.content() == before
    assert journey.query("SELECT count(*) FROM ops.receipts") == receipts


def test_neither_order_nor_repetition_of_loads_matters(
    journey: Journey, tmp_path: Path, feeds_yaml: Make, feed_of: Make, warehouse: Any, partition: Make
) -> None:
    partitions = [partition(week, name) for name in OFFLOAD_TYPES for week in WEEKS]
    chance = random.Random(20_261_121)
    order = chance.sample(partitions, len(partitions)) + chance.sample(partitions, 5)
    assert order[: len(partitions)] != partitions
    for one in order:
        warehouse.load(journey.feed, one)
        if chance.random() < 0.2:
            with warehouse.writing() as connection:
                merge(connection)
    with warehouse.writing() as connection:
        publish(connection, warehouse.files)
    other = Journey(tmp_path, feeds_yaml, feed_of)
    for file in ("build", "published"):
        assert other.content(file) == journey.content(file)
    assert warehouse.query("SELECT count(*) FROM ops.receipts") == [(len(order),)]


def test_a_part_delivered_again_reloads_its_partition_and_no_other(copy: Journey, offload: Make) -> None:
    week, name = WEEKS[1], "stationaries"
    part = min(copy.root.glob(f"09_12_2026*/*/{name}.*/part-*"))
    key = str(part.relative_to(copy.root))
    header, *lines = gzip.decompress(part.read_bytes()).splitlines(keepends=True)
    sound = [line for line in lines if line.startswith(b"0123456789abcdef") or line.count(b",") >= 13]
    part.write_bytes(gzip.compress(header + sound[-1]))
    others = f"NOT (delivery_stamp::DATE = '{week}' AND object_key LIKE '%/{name}.%')"
    mine = f"delivery_stamp::DATE = '{week}' AND object_key LIKE '%/{name}.%'"
    before, before_mine = copy.as_delivered(others), copy.as_delivered(mine)
    receipts = copy.query("SELECT count(*) FROM ops.receipts")[0][0]
    said = offload("run", "--feeds", copy.feeds_file, "--json")
    assert said.code == 0, said.out
    assert [(o["offload_type"], o["partition"]) for o in said.json["loads"]] == [(name, week)]
    assert copy.as_delivered(others) == before
    after_mine = copy.as_delivered(mine)
    assert after_mine["delivered.stationaries"] != before_mine["delivered.stationaries"]
    assert copy.query(f"SELECT rows_in FROM ops.ledger WHERE object_key = '{key}'") == [(1,)]
    assert copy.query("SELECT count(*) FROM ops.receipts") == [(receipts + 1,)]
    again = offload("run", "--feeds", copy.feeds_file, "--json")
    assert again.json["loads"] == []
    merged = copy.content()
    shutil.rmtree(copy.folder / "warehouse")
    assert offload("run", "--feeds", copy.feeds_file).code == 0
    assert copy.content() == merged, "as if the part had always been what it is now"


def test_only_the_weeks_and_types_that_are_asked_for(copy: Journey, offload: Make) -> None:
    shutil.rmtree(copy.folder / "warehouse")
    said = offload(
        "run", "--feeds", copy.feeds_file, "--json", "--type", "segments", "--from", WEEKS[1], "--to", WEEKS[1]
    )
    assert [(o["offload_type"], o["partition"]) for o in said.json["loads"]] == [("segments", WEEKS[1])]
    assert copy.query("SELECT DISTINCT offload_type, partition FROM ops.ledger") == [("segments", WEEKS[1])]


def test_the_configuration_that_was_used_is_valid(journey: Journey) -> None:
    assert read_settings(journey.feeds_file).feeds == (journey.feed,)
