"""A copy of all that is known, and the way back."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offload_platform.exports.registry import Registry
from offload_platform.landing.store import DeliveryStore
from offload_platform.orchestration.partitions import partition_of
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.orchestration.run import plan
from offload_platform.settings import read_settings
from offload_platform.simulator.object_store import REGION, ObjectStoreServer
from offload_platform.warehouse import backup as backing_up
from offload_platform.warehouse.backup import BackupFailed, back_up
from offload_platform.warehouse.erasure import Request, erase
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.load import load_partition
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.receipts import is_genuine, write_receipts
from offload_platform.warehouse.tombstones import KEY_VARIABLE, ErasureKey

from ..conftest import content_of, contract_of

Make = Callable[..., Any]


@pytest.fixture
def loaded(warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make) -> Any:
    vendor_folder.part("2018-12-08", [f"{'a' * 24},,behavior.early_bird", "broken"])
    warehouse.load(feed_of(vendor_folder.url, types=("segments",)), partition("2018-12-08"))
    with warehouse.writing() as connection:
        merge(connection)
    return warehouse


def test_what_was_copied_can_be_put_back(loaded: Any, tmp_path: Path) -> None:
    before = loaded.content()
    target = tmp_path / "safe" / "offloads.duckdb"
    for _ in range(2):
        with loaded.writing() as connection:
            assert back_up(connection, loaded.files, target) == loaded.files.build.stat().st_size
    loaded.files.build.write_bytes(b"lost")
    shutil.copyfile(target, loaded.files.build)
    assert loaded.content() == before
    assert [file.name for file in target.parent.iterdir()] == ["offloads.duckdb"]


def test_a_copy_that_differs_does_not_take_the_place_of_the_one_before(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "offloads.duckdb"
    target.write_bytes(b"the one before")
    with monkeypatch.context() as patch:
        patch.setattr(backing_up.shutil, "copyfile", lambda _, file: file.write_bytes(b"half"))
        with loaded.writing() as connection, pytest.raises(BackupFailed, match=r"differs from it\. Back up again"):
            back_up(connection, loaded.files, target)
    assert target.read_bytes() == b"the one before"
    assert not (tmp_path / "offloads.duckdb.new").exists()


def test_the_command_says_what_it_wrote(
    tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make, offload: Make
) -> None:
    vendor_folder.part("2018-12-08", [f"{'a' * 24},,behavior.early_bird"])
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    out = tmp_path / "backup.duckdb"
    nothing = offload("backup", out, "--feeds", feeds)
    assert (nothing.code, "is not there yet. Next: offload run" in nothing.err) == (2, True)
    assert offload("run", "--feeds", feeds).code == 0
    said = offload("backup", out, "--feeds", feeds)
    assert said.code == 0
    assert f"Written: {out}, {out.stat().st_size / 1e6:,.1f} MB" in said.out


DAYS = ("2018-12-08", "2018-12-15", "2018-12-22")


@dataclass
class Kept:
    """A warehouse of two weeks, its backups, and what it held when they were made."""

    feeds: Path
    files: WarehouseFiles
    vendor: Any
    before: dict[str, list[str]]

    def content(self) -> dict[str, list[str]]:
        with warehouse_in(self.files.root).writing() as connection:
            return content_of(connection)

    def load(self, day: str) -> None:
        settings = read_settings(self.feeds)
        [feed] = settings.feeds
        contract = contract_of("segments")
        load_partition(
            DeliveryStore(feed),
            partition_of(feed, contract, day),
            self.files,
            warehouse_in(self.files.root).writing,
            "a run",
        )

    def destroy(self) -> None:
        """Lose the disk of the warehouse."""
        shutil.rmtree(self.files.root)


@pytest.fixture
def kept(tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make) -> Kept:
    for day in DAYS[:2]:
        vendor_folder.part(day, [f"{'a' * 24},,behavior.early_bird", "broken"])
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    made = Kept(feeds, WarehouseFiles(read_settings(feeds).warehouse), vendor_folder, {})
    for day in DAYS[:2]:
        made.load(day)
    made.before = made.content()
    return made


def test_what_was_destroyed_comes_back_from_a_folder_and_goes_on(kept: Kept, tmp_path: Path, offload: Make) -> None:
    safe = tmp_path / "safe"
    assert offload("backup", safe, "--feeds", kept.feeds).code == 0
    kept.vendor.part(DAYS[2], [f"{'b' * 24},,behavior.early_bird"])
    kept.load(DAYS[2])
    after = kept.content()
    assert after != kept.before
    kept.destroy()
    said = offload("restore", safe, "--feeds", kept.feeds)
    assert (said.code, said.err) == (0, "")
    assert "Next: offload run loads what has arrived since" in said.out
    assert kept.content() == kept.before
    # What was loaded after the backup is loaded again, and only that.
    settings = read_settings(kept.feeds)
    assert [load.partition for load in plan(settings, settings.feeds).loads] == [DAYS[2]]
    kept.load(DAYS[2])
    assert [len(rows) for rows in kept.content().values()] == [len(rows) for rows in after.values()]
    assert list(kept.files.staging.iterdir()) == []


def test_a_bucket_keeps_backups_too(
    kept: Kept, object_store: ObjectStoreServer, tmp_path: Path, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    object_store.write_profiles(credentials, "admin", "client")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    place = ("s3://offloads/backups", "--endpoint-url", object_store.url, "--region", REGION, "--feeds", kept.feeds)
    for _ in range(2):
        said = offload("backup", *place, "--profile", "admin")
        assert said.code == 0, said.err
        time.sleep(1.1)  # names of backups have whole seconds
    kept.destroy()
    denied = offload("restore", *place, "--profile", "client")
    assert denied.code == 1
    assert "cannot list s3://offloads/backups: check bucket, --profile" in denied.err
    said = offload("restore", *place, "--profile", "admin")
    assert said.code == 0, said.err
    assert kept.content() == kept.before
    nobody = offload("backup", *place, "--profile", "nobody")
    assert (nobody.code, "check bucket, --profile" in nobody.err) == (1, True)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (lambda safe: flip(safe / "b.duckdb"), "b.duckdb is not as its manifest says"),
    "cut short": (lambda safe: os.truncate(safe / "b.duckdb", 4096), "b.duckdb is not as its manifest says"),
    "a lost file": (lambda safe: (safe / "b.duckdb").unlink(), "b.duckdb is not there. Name another backup."),
    "no manifest": (
        lambda safe: (safe / "b.duckdb.manifest.json").unlink(),
        "no backup b.duckdb with a manifest, which is written when all else is. Others that are whole: none.",
    ),
    "a damaged manifest": (
        lambda safe: (safe / "b.duckdb.manifest.json").write_text("{}"),
        "b.duckdb.manifest.json is damaged. Name another backup.",
    ),
    "an old copy under a new manifest": (
        lambda safe: (safe / "b.duckdb.manifest.json").write_text(
            (safe / "b.duckdb.manifest.json").read_text().replace('"ops.ledger": 2', '"ops.ledger": 3')
        ),
        "b.duckdb holds other rows than its manifest says",
    ),
}


def test_what_is_not_whole_is_not_restored(kept: Kept, tmp_path: Path, offload: Make) -> None:
    safe = tmp_path / "safe"
    assert offload("backup", safe / "b.duckdb", "--feeds", kept.feeds).code == 0
    for name, (damage, message) in DAMAGES.items():
        damaged = tmp_path / name
        shutil.copytree(safe, damaged)
        damage(damaged)
        said = offload("restore", damaged / "b.duckdb", "--replace", "--feeds", kept.feeds)
        assert (said.code, message in said.err) == (1, True), (name, said.err)
        assert kept.content() == kept.before, name
    there = offload("restore", safe, "--feeds", kept.feeds)
    assert (there.code, "To lose it and what was loaded since the backup" in there.err) == (1, True)


def test_what_was_there_leaves_nothing_in_what_is_restored(kept: Kept, tmp_path: Path, offload: Make) -> None:
    """A log of the file that is replaced would be read into the one that takes its place."""
    safe = tmp_path / "safe"
    assert offload("backup", safe, "--feeds", kept.feeds).code == 0
    log = kept.files.build.with_name("offloads.duckdb.wal")
    left = subprocess.run([sys.executable, "-c", DIES_WITH_A_LOG, kept.files.build], check=False)
    assert (left.returncode, log.exists()) == (-9, True)
    shutil.copyfile(log, tmp_path / "log")
    assert "left in the log" in str(kept.content())
    shutil.copyfile(tmp_path / "log", log)
    kept.files.build.write_bytes(b"lost")
    said = offload("restore", safe, "--replace", "--feeds", kept.feeds)
    assert said.code == 0, said.err
    assert kept.content() == kept.before


DIES_WITH_A_LOG = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("UPDATE ops.receipts SET run_id = 'left in the log'")
os.kill(os.getpid(), 9)
"""


def test_receipts_of_erasures_and_exports_come_back_with_it(
    kept: Kept, tmp_path: Path, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    key = ErasureKey(b"k" * 32)
    with warehouse_in(kept.files.root).writing() as connection:
        erase(connection, Request(("a" * 24,)), key)
        kept.files.erasures.mkdir()
        [receipt] = write_receipts(connection, kept.files)
    said_before = receipt.read_text()
    registry = Registry(kept.files.exports)
    kept.files.exports.mkdir()
    (kept.files.exports / "exports.sqlite").touch()
    with registry._writing():
        pass
    safe = tmp_path / "safe"
    backup = offload("backup", safe, "--feeds", kept.feeds)
    assert (backup.code, backup.out.count("Written: ")) == (0, 2)
    kept.destroy()
    said = offload("restore", safe, "--feeds", kept.feeds)
    assert said.code == 0, said.err
    assert is_genuine(receipt.read_text(), key)
    assert receipt.read_text() == said_before
    assert registry.exists()
    assert registry.all() == []
    assert "repeat the erasures that are newer than the backup" in said.out
    assert "Exports are those of the backup. Next: offload export resume NAME --from-now for each." in said.out
