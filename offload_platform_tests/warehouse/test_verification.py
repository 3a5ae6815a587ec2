"""Whatever differs between store, accounts, tables and published file is named; what is sound is not."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.landing.store import DeliveryStore
from offload_platform.orchestration.partitions import partition_of
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.orchestration.run import plan
from offload_platform.settings import Feed, Settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse import verification
from offload_platform.warehouse.erasure import Request, erase
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.load import load_partition
from offload_platform.warehouse.publish import publish
from offload_platform.warehouse.tombstones import KEY_VARIABLE, ErasureKey
from offload_platform.warehouse.verification import Verified, Weight, verify

from ..conftest import Warehouse

ANN, BEN = "a" * 24, "b" * 24
TYPES = ("segments", "scores_realtime", "mapping")
Make = Callable[..., Any]


@dataclass(frozen=True)
class Place:
    """A vendor's folder, and a warehouse that holds and has published all of it."""

    folder: Path
    feed: Feed

    @property
    def files(self) -> WarehouseFiles:
        return WarehouseFiles(self.folder / "warehouse")

    def verify(self, *, full: bool = False) -> Verified:
        return verify(Warehouse(self.files.root).writing, self.files, [self.feed], DeliveryStore, full=full)

    def change(self, sql: str) -> None:
        """Change the build file behind the platform's back."""
        with duckdb.connect(self.files.build) as connection:
            connection.execute(sql)
        os.utime(self.files.published)

    def change_published(self, sql: str) -> None:
        self.files.published.chmod(0o644)
        with duckdb.connect(self.files.published) as connection:
            connection.execute(sql)

    def part(self, day: str, number: int = 0) -> Path:
        [found] = (self.folder / "delivered").glob(f"{day}*/*/segments*/part-{number:05d}*")
        return found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, vendor_and_warehouse: Make, feed_of: Make) -> Place:
    folder = tmp_path_factory.mktemp("sound")
    vendor, _ = vendor_and_warehouse(folder)
    for day in ("2018-12-08", "2018-12-15"):
        vendor.part(day, [f"{ANN},,behavior.early_bird", f"{BEN},,week.{day}", "broken"])
        vendor.part(day, [f"{BEN},,behavior.early_bird"], number=1)
    vendor.driving_day("2018-12-20", [], "scores_realtime")
    (vendor.root / "_mapping").mkdir()
    (vendor.root / "_mapping" / "user_external.csv").write_text(f"user_id,external_id\n{ANN},ann\n")
    cadence = {"lifestyle": "weekly", "driving": "daily", "mapping": "daily"}
    made = Place(folder, feed_of(vendor.url, types=TYPES, cadence=cadence))
    warehouse = warehouse_in(made.files.root)
    for load in plan(Settings(warehouse=made.files.root, feeds=(made.feed,)), [made.feed]).loads:
        contract = vendor_named("sentiance").contracts[load.offload_type]
        partition = partition_of(made.feed, contract, load.partition)
        load_partition(DeliveryStore(made.feed), partition, warehouse.files, warehouse.writing, "a run")
    with warehouse.writing() as connection:
        publish(connection, warehouse.files)
    return made


@pytest.fixture
def place(sound: Place, tmp_path: Path) -> Place:
    """A copy, to be damaged."""
    shutil.copytree(sound.folder, tmp_path / "place")
    os.utime(tmp_path / "place" / "warehouse" / "published" / "offloads.duckdb")
    url = (tmp_path / "place" / "delivered").as_uri()
    return replace(sound, folder=tmp_path / "place", feed=sound.feed.model_copy(update={"url": url}))


def test_what_is_sound_is_found_to_be_so(sound: Place, tmp_path: Path, feeds_yaml: Make, offload: Make) -> None:
    before = sound.files.build.read_bytes()
    for full in (False, True):
        verified = sound.verify(full=full)
        assert verified.differences == []
        assert (verified.parts, verified.rows, verified.parts_in_store) == (5, 9, 6)
        assert verified.parts_read_again == (5 if full else 0)
        assert verified.tables_published > 15
    assert sound.files.build.read_bytes() == before, "nothing is changed"
    feeds = feeds_yaml(tmp_path, sound.feed, warehouse=str(sound.files.root))
    said = offload("verify", "--feeds", feeds, "--full")
    assert (said.code, said.err) == (0, "")
    assert "Compared: 5 loaded parts with 9 rows; 6 of them are in the store as they were, 5 of them read" in said.out
    assert "No problem was found." in said.out


Damage = Callable[[Place], object]
IN_TABLES: dict[str, tuple[Damage, str, str]] = {
    "a delivered row is lost": (
        lambda place: place.change("DELETE FROM store.segments_sightings WHERE part_no = 1 AND line = 2"),
        "3 rows came in, and the ledger says that 2 are loaded, 1 in quarantine and 0 erased; the tables hold 1 and 1",
        "Materialise the partition again",
    ),
    "a kept row is lost": (
        lambda place: place.change("DELETE FROM store.segments WHERE row_no = 1"),
        "versions of the history have no row",
        "Check the disk; then restore a backup",
    ),
    "a broken row is lost": (
        lambda place: place.change("DELETE FROM ops.quarantine WHERE delivery_stamp < '2018-12-10'"),
        "the tables hold 2 and 0",
        "Materialise the partition again",
    ),
    "a line of the ledger is lost": (
        lambda place: place.change("DELETE FROM ops.ledger WHERE object_key LIKE '12_15%part-00001%'"),
        "the tables hold 1 rows of it, and the ledger does not have it as loaded",
        "Materialise the partition again",
    ),
    "a receipt is lost": (
        lambda place: place.change("DELETE FROM ops.receipts WHERE delivery_stamp::DATE = '2018-12-15'"),
        "no receipt tells of it",
        "Materialise the partition again",
    ),
    "a receipt is of another version": (
        lambda place: place.change("UPDATE ops.ledger SET etag = 'x' WHERE object_key LIKE '12_15%part-00001%'"),
        "its receipt has another version",
        "Materialise the partition again",
    ),
    "a part was replaced": (
        lambda place: shutil.copyfile(place.part("12_08"), place.part("12_15")),
        "The store has",
        "offload run loads what is there now",
    ),
    "the root is gone": (
        lambda place: (place.folder / "delivered").rename(place.folder / "elsewhere"),
        "is no folder: check the url of the feed",
        "Then verify again.",
    ),
    "a published row is lost": (
        lambda place: place.change_published("DELETE FROM history.segments WHERE user_id = repeat('a', 24)"),
        "history.segments: 4 rows are published, the build file has 5",
        "Publish again",
    ),
    "a published account is lost": (
        lambda place: place.change_published("DELETE FROM ops.receipts"),
        "ops.receipts: 0 rows are published, the build file has 4",
        "Publish again",
    ),
    "the published file is cut": (
        lambda place: (place.files.published.chmod(0o644), os.truncate(place.files.published, 8192)),
        "cannot be",
        "Publish again",
    ),
    "the build file is cut": (
        lambda place: (os.truncate(place.files.build, 8192), os.utime(place.files.published)),
        "cannot be read",
        "Check the disk; then restore a backup",
    ),
}
IN_VALUES: dict[str, tuple[Damage, str, str]] = {
    "a kept value is changed": (
        lambda place: place.change("UPDATE store.segments SET segment_id = 'x' WHERE row_no = 1"),
        "1 rows are not in the table as they were delivered",
        "Materialise the partition again",
    ),
    "two rows have changed places": (
        lambda place: place.change(
            "UPDATE store.segments_sightings SET line = 5 - line WHERE part_no = 1 AND line IN (2, 3)"
        ),
        "2 rows are not in the table as they were delivered",
        "Materialise the partition again",
    ),
    "a published value is changed": (
        lambda place: place.change_published("UPDATE history.segments SET segment_id = 'x'"),
        "history.segments: other values are published than the build file has",
        "Publish again",
    ),
}


@pytest.mark.parametrize("name", [*IN_TABLES, *IN_VALUES])
def test_each_difference_is_named_with_the_next_step(place: Place, name: str) -> None:
    damage, found, next_step = (IN_TABLES | IN_VALUES)[name]
    damage(place)
    if name in IN_VALUES:
        assert place.verify().is_sound, "counts alone do not show it"
    verified = place.verify(full=name in IN_VALUES)
    named = [d for d in verified.differences if found.lower() in d.found.lower() and next_step in d.next_step]
    assert named, verified.differences
    assert {d.weight for d in named} == {Weight.PROBLEM}
    assert not verified.is_sound


def test_a_flipped_byte_in_the_build_file_is_found(place: Place) -> None:
    """Whichever byte of it: in rows that counts do not read, too."""
    whole = place.files.build.read_bytes()
    used = [offset for offset in range(12288, len(whole), 4096) if any(whole[offset : offset + 4096])]
    found = 0
    for offset in used[:: max(1, len(used) // 4)]:
        place.files.build.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        os.utime(place.files.published)
        found += not place.verify(full=True).is_sound
    assert found, "free blocks are not read"


def test_what_the_vendor_has_removed_is_the_only_copy_and_no_problem(
    place: Place, tmp_path: Path, feeds_yaml: Make, offload: Make
) -> None:
    place.part("12_08").unlink()
    feeds = feeds_yaml(tmp_path, place.feed, warehouse=str(place.files.root))
    said = offload("verify", "--feeds", feeds, "--json")
    assert said.code == 0
    [difference] = said.json["differences"]
    assert (difference["weight"], difference["partition"]) == ("note", "2018-12-08")
    assert "1 of its parts are not in the store any more: this warehouse has the only copy" in difference["found"]
    place.change("DELETE FROM ops.receipts")
    said = offload("verify", "--feeds", feeds)
    assert (said.code, "Problems were found; see above." in said.out) == (1, True)


def test_who_was_erased_is_not_missed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    with warehouse_in(place.files.root).writing() as connection:
        erase(connection, Request((ANN,)), ErasureKey(b"k" * 32))
    verified = place.verify(full=True)
    assert [d.found for d in verified.differences if d.weight is Weight.PROBLEM] == []
    assert verified.parts_read_again == 5
    [older] = verified.differences
    assert "is older than the last load, and not compared" in older.found


def test_parts_that_were_read_in_another_way_are_not_compared(place: Place) -> None:
    place.change("UPDATE ops.ledger SET contract_version = 'another'")
    os.utime(place.files.published, (0, 0))
    verified = place.verify(full=True)
    assert verified.is_sound
    assert verified.parts_read_again == 0
    said = [d.found for d in verified.differences if "was read with another version of the contract" in d.found]
    assert len(said) == 3


def test_the_comparison_of_values_can_fail(sound: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "content_hash", lambda _: "random()::VARCHAR")
    assert not sound.verify(full=True).is_sound
