"""Staging a delivery: every row is loaded or quarantined, and what was planted is found again."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing import decompress, records, staging
from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import DamagedBody, LandingError, MostlyBad, UntrustedPart
from offload_platform.landing.masking import NOT_SHOWN
from offload_platform.landing.staging import StagedDelivery, stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.drift import Drift, DriftKind
from offload_platform.quality.hashes import HASHES
from offload_platform.settings import Feed
from offload_platform.simulator import simulation as simulated
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation

from .conftest import Stage, contract_of, loaded_rows, quarantined_rows

USER = "5a689ab0e97b960500002109"
HEADER = "user_id,metadata_user_id,segment_id"
MakeFeed = Callable[..., Feed]


def lines(*rows: str, header: str = HEADER, end: str = "\r\n") -> bytes:
    return "".join(row + end for row in (header, *rows)).encode()


def segments(count: int) -> list[str]:
    return [f"{USER},,segment.{i}" for i in range(count)]


class World:
    """One delivery of each type with planted faults, staged in small blocks."""

    def __init__(self, folder: Path, feed_of: MakeFeed) -> None:
        self.simulation = Simulation(users=40, users_per_part=25, window_days=28, faults=0.03)
        write_deliveries(self.simulation, folder / "bucket", folder / "record")
        self.record = folder / "record"
        self.feed = feed_of((folder / "bucket").as_uri())
        self.store = DeliveryStore(self.feed)
        self.staged: dict[str, StagedDelivery] = {}
        for delivery in discover(self.feed, self.store.list_objects()).deliveries:
            spool = folder / delivery.offload_type
            spool.mkdir()
            self.staged[delivery.offload_type] = stage(self.store, delivery, contract_of(delivery.offload_type), spool)

    def said(self, name: str, offload_type: str) -> list[dict[str, object]]:
        rows = (json.loads(line) for line in (self.record / name).read_text(encoding="utf-8").splitlines())
        return [row for row in rows if row["offload_type"] == offload_type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, feed_of: MakeFeed) -> World:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", 1 << 18)
        patch.setattr(decompress, "_LARGEST_OUTPUT", 1 << 17)
        return World(tmp_path_factory.mktemp("world"), feed_of)


@pytest.mark.parametrize("offload_type", OFFLOAD_TYPES)
def test_what_was_planted_is_quarantined_row_by_row_and_nothing_else(world: World, offload_type: str) -> None:
    planted = [
        (row["object_key"], row["line"], row["reasons"], row["raw"])
        for row in world.said("manifest.jsonl", offload_type)
    ]
    assert planted
    assert quarantined_rows(world.staged[offload_type]) == planted


@pytest.mark.parametrize("offload_type", OFFLOAD_TYPES)
def test_every_row_is_accounted_for(world: World, offload_type: str) -> None:
    staged = world.staged[offload_type]
    written = {row["object_key"]: (row["rows"], row["faulty"]) for row in world.said("parts.jsonl", offload_type)}
    assert {part.part.key: (part.rows_in, part.quarantined) for part in staged.parts} == written
    for part in staged.parts:
        assert part.rows_in == part.loaded + part.quarantined == part.lines
        assert sum(part.reasons.values()) == part.quarantined
        assert part.checksum == "md5"
    rows = loaded_rows(staged)
    assert rows.height == staged.loaded
    assert rows.columns == [*contract_of(offload_type).columns, records.LINE, *HASHES]
    assert not staged.drift


def test_small_blocks_were_read(world: World) -> None:
    assert max(len(part.row_files) for staged in world.staged.values() for part in staged.parts) > 3


def test_drift_of_the_simulator_is_reported_and_costs_no_row(tmp_path: Path, feed_of: MakeFeed) -> None:
    kinds = {
        simulated.DriftKind.NEW_COLUMN: DriftKind.UNKNOWN_COLUMN,
        simulated.DriftKind.MISSING_COLUMN: DriftKind.MISSING_COLUMN,
        simulated.DriftKind.COLUMN_ORDER: DriftKind.COLUMN_ORDER,
        simulated.DriftKind.UNKNOWN_VALUE: DriftKind.NEW_VALUE,
        simulated.DriftKind.SEMICOLON: DriftKind.DELIMITER,
        simulated.DriftKind.BYTE_ORDER_MARK: DriftKind.BYTE_ORDER_MARK,
    }
    drifts = tuple(simulated.Drift(kind, "moments") for kind in simulated.DriftKind)
    simulation = Simulation(users=5, window_days=10, types=("moments",), drifts=drifts)
    write_deliveries(simulation, tmp_path / "bucket")
    feed = feed_of((tmp_path / "bucket").as_uri(), types=("moments",))
    (delivery,) = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    staged = stage(DeliveryStore(feed), delivery, contract_of("moments"), tmp_path)
    assert (staged.quarantined, {d.kind for d in staged.drift}) == (0, set(kinds.values()))
    assert loaded_rows(staged)["extra"].unique().to_list() == ['{"confidence":"0.87"}']


def test_rows_are_told_apart_by_part_and_line(stage_part: Stage) -> None:
    staged = stage_part(lines(f"{USER},,a", "", f'{USER},"x\r\ny",b', "short", f"{USER},,c"))
    assert loaded_rows(staged).select("line", "metadata_user_id", "segment_id").rows() == [
        (2, None, "a"),
        (4, "x\r\ny", "b"),
        (7, None, "c"),
    ]
    (part,) = staged.parts
    assert quarantined_rows(staged) == [(part.part.key, 6, ["too few fields: 1 of 3"], "short")]
    assert (part.lines, part.rows_in, part.loaded, part.quarantined) == (6, 4, 3, 1)


def test_raw_text_of_a_row_that_breaks_a_rule_has_all_its_lines(stage_part: Stage) -> None:
    staged = stage_part(lines('not a user,"x\ny",b', f"{USER},,"))
    assert [(line, reasons, raw) for _, line, reasons, raw in quarantined_rows(staged)] == [
        (2, ["user_id: str_matches('^[0-9a-f]{24}$')"], 'not a user,"x\ny",b'),
        (4, ["segment_id: not_nullable"], f"{USER},,"),
    ]


def test_header_alone_is_a_part_of_no_rows(stage_part: Stage) -> None:
    for content in (lines(), HEADER.encode()):
        staged = stage_part(content)
        assert (staged.rows_in, staged.parts[0].lines, staged.parts[0].row_files) == (0, 0, ())


@pytest.mark.parametrize(
    ("content", "mixed"),
    [
        (lines(*segments(3)), False),
        (lines(*segments(3))[:-2], False),
        (lines(*segments(3), end="\n"), False),
        (lines(*segments(3), end="\n")[:-1], False),
        (lines(*segments(3), end="\n") + lines(header=segments(1)[0]), True),
        (lines(*segments(3)) + lines(header=segments(1)[0], end="\n"), True),
        # A line end inside a cell is part of its text.
        (lines(*segments(2), f'{"a" * 24},"one\r\ntwo",segment.c', end="\n"), False),
        (lines(*segments(2), f'{"a" * 24},"one\ntwo",segment.c'), False),
    ],
)
def test_mixed_line_ends_are_reported_and_lose_no_row(stage_part: Stage, content: bytes, mixed: bool) -> None:
    staged = stage_part(gzip.compress(content))
    assert staged.loaded == content.count(b"segment.")
    expected = [Drift(DriftKind.LINE_END, None, "line ends are mixed: CRLF and LF in one part")]
    assert [d for d in staged.drift if d.kind is DriftKind.LINE_END] == (expected if mixed else [])


def test_values_seen_for_the_first_time_are_kept_and_counted(stage_part: Stage) -> None:
    staged = stage_part(gzip.compress(lines(*segments(2), *segments(1))))
    assert staged.loaded == 3
    assert staged.drift == [
        Drift(DriftKind.NEW_VALUE, "segment_id", "segment.0", 2),
        Drift(DriftKind.NEW_VALUE, "segment_id", "segment.1", 1),
    ]


def test_unknown_columns_are_kept_as_delivered(stage_part: Stage) -> None:
    header = f'{HEADER},"odd ""name"", é",other'
    staged = stage_part(lines(f'{USER},,a,"say ""hi""\n",', f"{USER},,b,,", f"{USER},,c,\\,\u2028", header=header))
    extra = [text and json.loads(text) for text in loaded_rows(staged)["extra"]]
    assert extra == [{'odd "name", é': 'say "hi"\n'}, None, {'odd "name", é': "\\", "other": "\u2028"}]


def test_a_wide_value_that_does_not_fit_stays_in_extra(stage_part: Stage) -> None:
    header = "user_id,metadata_user_id,activity.first.time.value,semantic.time.working_days.value,new.value"
    staged = stage_part(
        gzip.compress(lines(f'{USER},,half past,"[0, 1",x', f'{USER},,7.5,"[0, 1]",', header=header)),
        "attributes.wide",
    )
    rows = loaded_rows(staged)
    assert rows["activity_first_time"].to_list() == [None, 7.5]
    assert rows["semantic_time_working_days"].to_list() == [None, ["0", "1"]]
    assert [text and json.loads(text) for text in rows["extra"]] == [
        {"activity.first.time.value": "half past", "semantic.time.working_days.value": "[0, 1", "new.value": "x"},
        None,
    ]
    assert staged.quarantined == 0
    misfits = {d.column: d.rows for d in staged.drift if d.kind is DriftKind.MISFIT}
    assert misfits == {"activity_first_time": 1, "semantic_time_working_days": 1}


def test_a_part_that_is_mostly_bad_is_refused(stage_part: Stage) -> None:
    few = [*segments(10), *["x,,a"] * 999]
    assert stage_part(lines(*few)).quarantined == 999
    many = [*segments(999), *["x,,a"] * 1000]
    with pytest.raises(MostlyBad) as refused:
        stage_part(lines(*many))
    assert "1,000 of the first 1,999 rows break the contract, more than the limit of 50%" in str(refused.value)
    assert "(1,000 rows), first at line 1,001" in str(refused.value)
    assert stage_part(lines(*many), checks={"quarantine": {"refuse_above": 0.6}}).quarantined == 1000
    with pytest.raises(UntrustedPart, match="more than the limit of 10%"):
        stage_part(lines(*segments(8), "x,,a"), checks={"quarantine": {"refuse_above": 0.1, "refuse_from_rows": 1}})


def test_a_refusal_shows_what_it_is_about(stage_part: Stage) -> None:
    broken = ["x,,a", f"{USER},,a,more", "x,,", "x,," + "a " * 1500, *["x,,a"] * 20]
    with pytest.raises(MostlyBad) as refused:
        stage_part(lines(*segments(2), *broken), checks={"quarantine": {"refuse_from_rows": 20}})
    error = refused.value
    assert (error.rows, error.broken) == (26, 24)
    no_id, no_segment = "user_id: str_matches('^[0-9a-f]{24}$')", "segment_id: not_nullable"
    assert error.reasons == {no_id: 23, "too many fields: 4 of 3": 1, no_segment: 1}
    assert [line for line, _, _ in error.sample] == list(range(4, 14))
    assert [row for _, *row in error.sample[:3]] == [
        [[no_id], "•••,,a"],
        [["too many fields: 4 of 3"], NOT_SHOWN],
        [[no_segment, no_id], "•••,,"],
    ]
    assert error.sample[3][2] == ("•••,," + "a " * 1000)[:1000], "a long row does not fill the memory"


def test_a_sample_is_of_the_first_rows_of_all_blocks(stage_part: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 100)
    monkeypatch.setattr(decompress, "_CHUNK_BYTES", 20)
    (part,) = stage_part(lines(*[row for n in range(30) for row in (*segments(1), f"{n},,a.{n}")])).parts
    assert len(part.row_files) > 5
    assert [(line, raw) for line, _, raw in part.sample] == [(3 + 2 * n, f"•••,,a.{n}") for n in range(10)]


def test_a_part_that_is_mostly_bad_is_refused_at_its_first_blocks(
    stage_part: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(decompress, "_CHUNK_BYTES", 1_000)
    with pytest.raises(UntrustedPart, match=r"of the first [12],\d{3} rows"):
        stage_part(lines(*["x,,a"] * 30_000))


def test_damage_fails_the_delivery_and_leaves_no_spool(stage_part: Stage, tmp_path: Path) -> None:
    packed = gzip.compress(lines(*segments(500)), mtime=0)
    for damaged in (packed[:-3], packed[:-6] + b"\0" * 6, packed + b"junk"):
        with pytest.raises(DamagedBody):
            stage_part(damaged)
        assert not list((tmp_path / "staged").glob("*.spool"))


def test_any_flipped_byte_of_a_packed_part_is_found_or_changes_nothing(stage_part: Stage) -> None:
    packed = gzip.compress(lines(*segments(30)), mtime=0)
    sound = loaded_rows(stage_part(packed))
    found = 0
    for position in [*range(24), *range(24, len(packed), 11)]:
        damaged = packed[:position] + bytes([packed[position] ^ 0x55]) + packed[position + 1 :]
        try:
            staged = stage_part(damaged)
        except LandingError:
            found += 1
        else:
            assert loaded_rows(staged).equals(sound)
            assert staged.quarantined == 0
    assert found > 10


def test_a_damaged_part_without_md5_is_fetched_once_more(stage_part: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no checksum tells, the gzip stream does; the second fetch brings it whole."""
    packed = gzip.compress(lines(*segments(5)), mtime=0)
    fetches = 0
    fetch = DeliveryStore.fetch

    def damaging(self: DeliveryStore, wanted: object, target: Path) -> None:
        nonlocal fetches
        fetches += 1
        fetch(self, wanted, target)  # type: ignore[arg-type]
        if fetches == 1:
            target.write_bytes(packed[:-3])

    monkeypatch.setattr(DeliveryStore, "fetch", damaging)
    monkeypatch.setattr(staging, "etag_is_md5", lambda _: False)
    staged = stage_part(packed)
    assert (staged.loaded, fetches, staged.parts[0].checksum) == (5, 2, "gzip crc")


def test_progress_is_told_in_stored_bytes(world: World, tmp_path: Path) -> None:
    delivery: Delivery = world.staged["segments"].delivery
    told: list[int] = []
    stage(world.store, delivery, contract_of("segments"), tmp_path, told.append)
    assert Counter(told) == Counter(part.stored.size for part in delivery.parts)


_PEAK = """
import resource, sys, tempfile
from datetime import date
from pathlib import Path
import numpy as np, polars as pl
from offload_platform.landing import decompress, records
from offload_platform.landing.deliveries import discover
from offload_platform.landing.staging import stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

records.BLOCK_BYTES = 1 << 19
decompress._LARGEST_OUTPUT = 1 << 18
app, feed_root = "5a689ab0e97b960500002109", Path(sys.argv[1])
feed = Feed(name="x", vendor="sentiance", url=feed_root.as_uri(), app_id=app, cadence={"lifestyle": "weekly"},
            types=("segments",), settle_hours=0, start=date(2018, 12, 1))
(delivery,) = discover(feed, DeliveryStore(feed).list_objects()).deliveries

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = peak()
with tempfile.TemporaryDirectory() as folder:
    staged = stage(DeliveryStore(feed), delivery, vendor_named("sentiance").contracts["segments"], Path(folder))
print(staged.loaded, staged.quarantined, peak() - before)
"""


def test_peak_memory_does_not_grow_with_the_part(tmp_path: Path) -> None:
    some = lines(*segments(40_000))[len(lines()) :]
    growth = {}
    for times in (1, 4):
        folder = tmp_path / str(times) / "12_08_2018_15_05_54_499" / USER / f"segments.{USER}.csv"
        folder.mkdir(parents=True)
        with gzip.open(folder / "part-00000.gz", "wb", compresslevel=1) as part:
            part.write(lines())
            for _ in range(7 * times):
                part.write(some)
        said = subprocess.run(
            [sys.executable, "-c", _PEAK, str(tmp_path / str(times))], capture_output=True, text=True, check=True
        )
        loaded, quarantined, growth[times] = map(int, said.stdout.split())
        assert (loaded, quarantined) == (40_000 * 7 * times, 0)
    assert growth[4] <= 1.2 * growth[1], growth


def test_an_unaccounted_row_fails_the_part(stage_part: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = records.parse

    def losing(*args: object) -> records.Records:
        found = parse(*args)  # type: ignore[arg-type]
        return records.Records(found.rows.head(1), found.rejected, found.blank, found.continued)

    monkeypatch.setattr(records, "parse", losing)
    with pytest.raises(AssertionError, match="3 rows in, but 1 loaded, 0 quarantined and 0 erased"):
        stage_part(lines(*segments(3)))


@pytest.mark.parametrize(
    ("content", "loaded", "quarantined"),
    [
        (b"", 0, []),
        (b'oops\n{"timestamp": 1790000000000, "user_id": "5a689ab0e97b960500002109"}\n', 1, [(1, "not a JSON object")]),
        (b"timestamp,user_id\n1790000000000,5a689ab0e97b960500002109\n", 1, []),
    ],
    ids=["empty", "first line broken", "CSV for all that"],
)
def test_a_part_that_is_said_to_be_json_lines_needs_no_first_object(
    tmp_path: Path, feed_of: Callable[..., Feed], content: bytes, loaded: int, quarantined: list[tuple[int, str]]
) -> None:
    app_id = "5a689ab0e97b960500002109"
    root = tmp_path / "delivered"
    name = f"2026_03_10_0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70/{app_id}/scores_realtime.{app_id}.json"
    for file, body in (("part-00000.json.gz", gzip.compress(content)), ("_SUCCESS", b"")):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / file).write_bytes(body)
    feed = feed_of(root.as_uri(), cadence={"driving": "daily"})
    (delivery,) = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    spool = tmp_path / "staged"
    spool.mkdir()
    staged = stage(DeliveryStore(feed), delivery, contract_of("scores_realtime"), spool)
    assert staged.loaded == loaded
    assert [(line, reasons[0]) for _, line, reasons, _ in quarantined_rows(staged)] == quarantined
    assert staged.rows_in == loaded + len(quarantined)


def test_no_thread_imports_numpy_for_polars() -> None:
    """polars fails with a TypeError where a thread is still looking at its stand-in while another replaces it."""
    code = "import polars, offload_platform.landing.staging, numpy; print(polars._dependencies.numpy is numpy)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "True\n"
