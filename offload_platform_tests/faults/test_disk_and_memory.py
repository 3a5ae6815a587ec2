"""A disk that is full or read-only, and memory that has run out: told in a sentence, and nothing is half done."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offload_platform.warehouse.files import WarehouseUnusable

from ..conftest import VendorFolder
from .conftest import Ended, Striker

DAY = "2018-12-08"
Make = Callable[..., Any]
LANDING, WAREHOUSE = "offload_platform.landing", "offload_platform.warehouse"


@dataclass(frozen=True)
class Step:
    """Where a disaster strikes."""

    name: str
    act: str
    place: str

    def __str__(self) -> str:
        return self.name

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("segments", DAY) if self.act == "load" else ()


STEPS = [
    Step("fetch", "load", f"{LANDING}.store:DeliveryStore.fetch"),
    Step("stage", "load", f"{LANDING}.staging:_stage_block"),
    Step("commit", "load", f"{WAREHOUSE}.load:replace_partition"),
    Step("publish", "publish", f"{WAREHOUSE}.publish:write_blank"),
]
FILLING = Step("fill what is published", "publish", f"{WAREHOUSE}.publish:_fill_history")
"""Where few rows are new, they have room in the file without rows, however full the disk is."""


@dataclass(frozen=True)
class SmallDisk:
    """A warehouse on a disk of 64 MB, with a program that sees that disk; and what was there before."""

    folder: Path
    striker: Striker
    before: Any

    @property
    def feeds(self) -> Path:
        return self.folder / "feeds.yaml"

    def do(self, step: Step, **more: Any) -> Ended:
        return self.striker.do(self.feeds, step.act, *step.arguments, **more)


def prepare(folder: Path, striker: Striker, feed_of: Make, feeds_yaml: Make) -> SmallDisk:
    """A partition that is loaded and published in an older version than the vendor's folder holds now."""
    vendor = VendorFolder(folder.parent / f"{folder.name} delivered")
    made = SmallDisk(folder, striker, None)
    feeds_yaml(folder.parent, feed_of(vendor.url, types=("segments",)), warehouse=str(folder / "warehouse"))
    striker.order(write=made.feeds, text=(folder.parent / "feeds.yaml").read_text(encoding="utf-8"))
    vendor.part(DAY, [f"{'a' * 24},,behavior.early_bird"])
    striker.well(made.feeds, "load", "segments", DAY)
    striker.well(made.feeds, "publish")
    vendor.part(DAY, [f"{user:024x},,behavior.early_bird" for user in range(5000)])
    return SmallDisk(folder, striker, striker.look(made.feeds))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, strikers: Make, feed_of: Make, feeds_yaml: Make) -> SmallDisk:
    """The program has a view of the file system of its own: nobody need be root, and nothing is left mounted."""
    folder = tmp_path_factory.mktemp("small") / "disk"
    folder.mkdir()
    try:
        striker = strikers("unshare", "--user", "--map-root-user", "--mount")
        mounted = striker.order(mount=folder, size="64m")
    except (AssertionError, FileNotFoundError, BrokenPipeError):
        pytest.skip("no disk may be mounted here; the limit of file sizes stands for it")
    assert mounted.code == 0
    return prepare(folder, striker, feed_of, feeds_yaml)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, strikers: Make, feed_of: Make, feeds_yaml: Make) -> SmallDisk:
    folder = tmp_path_factory.mktemp("usual") / "disk"
    folder.mkdir()
    return prepare(folder, strikers(), feed_of, feeds_yaml)


def stands(disk: SmallDisk) -> None:
    found = disk.striker.look(disk.feeds)
    assert (found["content"], found["published"]) == (disk.before["content"], disk.before["published"])


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_full_disk_is_told_and_what_was_there_stands(small: SmallDisk, step: Step) -> None:
    full = small.do(step, at=step.place, when="before", disaster="fill")
    small.striker.order(feeds=small.feeds, make_room=True, act="look")
    assert full.code == 3, full.said
    told = (
        r"told: .*/disk/warehouse: the disk is full \(0\.\d MB are free, or a limit is reached\): make room, then run "
    )
    assert re.match(told + r"again\. What was there stands\.\n$", full.said), full.said
    stands(small)


@pytest.mark.parametrize("step", [*STEPS, FILLING], ids=str)
def test_a_limit_that_is_reached_is_told_too(usual: SmallDisk, step: Step) -> None:
    limited = usual.do(step, at=step.place, when="before", disaster="file limit")
    assert limited.code == 3, limited.said
    assert "or a limit is reached): make room, then run again" in limited.said
    stands(usual)


def test_a_read_only_disk_is_told(small: SmallDisk) -> None:
    small.striker.order(remount=small.folder, how="ro")
    try:
        for step in (STEPS[0], STEPS[-1]):
            refused = small.do(step)
            assert refused.code == 3, refused.said
            assert "the disk is read-only: see why, and mount it for writing, then run again." in refused.said
    finally:
        small.striker.order(remount=small.folder, how="rw")
    stands(small)


HOLDS = "import sys, duckdb; c = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); sys.stdin.read()"


def test_a_build_file_that_somebody_has_open_is_told(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    vendor_folder.part(DAY, [f"{'a' * 24},,behavior.early_bird"])
    feed = feed_of(vendor_folder.url, types=("segments",))
    warehouse.load(feed, partition(DAY))
    before = warehouse.content()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(warehouse.files.build)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "1\n"
        told = rf"another program has the build file open \(.*PID {holder.pid}\).*: close it there, then run again"
        with pytest.raises(WarehouseUnusable, match=told):
            warehouse.load(feed, partition(DAY))
    finally:
        holder.communicate()
    assert warehouse.content() == before


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_reader_without_memory_leaves_the_old_rows(usual: SmallDisk, step: Step) -> None:
    """It ends with an error or is ended by the system, whichever library asks for what is not there."""
    starved = usual.do(step, at=step.place, when="before", disaster="memory")
    assert starved.code != 0, starved.said
    stands(usual)


def test_after_all_that_the_load_is_done(small: SmallDisk, usual: SmallDisk) -> None:
    for disk in (small, usual):
        for step in (STEPS[0], STEPS[-1]):
            assert disk.do(step).code == 0
        found = disk.striker.look(disk.feeds)
        assert found["content"] != disk.before["content"]
        assert found["left"] == []
