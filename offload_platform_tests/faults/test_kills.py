"""Killed anywhere, started again: nothing is lost, nothing is doubled, and a published file is always whole."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offload_platform.orchestration.resources import warehouse_in
from offload_platform.settings import read_settings
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.tombstones import KEY_VARIABLE

from ..conftest import content_of
from .conftest import Striker

ANN, BEN = "a1" * 12, "b2" * 12
FIRST, SECOND = "2018-12-08", "2018-12-15"
Make = Callable[..., Any]


@dataclass(frozen=True)
class Boundary:
    """A step, what is asked for, and the function before or after which its process is killed."""

    name: str
    act: str
    when: str
    place: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return self.name


def load(name: str, when: str, place: str) -> Boundary:
    return Boundary(name, "load", when, place, ("segments", SECOND))


LANDING, WAREHOUSE = "offload_platform.landing", "offload_platform.warehouse"
ERASING = "offload_platform.orchestration.erasing"
BOUNDARIES = [
    load("fetched", "after", f"{LANDING}.store:DeliveryStore.fetch"),
    load("while it parses", "before", f"{LANDING}.staging:validate"),
    load("staged", "after", f"{WAREHOUSE}.load:stage"),
    load("before the commit", "before", f"{WAREHOUSE}.load:replace_partition"),
    load("inside: all but COMMIT", "after", f"{WAREHOUSE}.commit:_prove"),
    load("after the commit", "before", f"{WAREHOUSE}.load:measure"),
    Boundary("inside the merge", "publish", "after", f"{WAREHOUSE}.merge:_merge_all_but_suspects"),
    Boundary("merged", "publish", "before", f"{WAREHOUSE}.publish:loaded_vendors"),
    Boundary("half published", "publish", "before", f"{WAREHOUSE}.publish:_fill_history"),
    Boundary("verified, not swapped", "publish", "after", f"{WAREHOUSE}.publish:flush"),
    Boundary("swapped", "publish", "after", "pathlib:Path.replace"),
    Boundary("erased, no receipt", "erase", "before", f"{ERASING}:write_receipts", (ANN,)),
    Boundary("copied, not whole", "backup", "after", "shutil:copyfile"),
    Boundary("copied, no manifest", "backup", "after", f"{WAREHOUSE}.backup:back_up"),
    Boundary("fetched, not restored", "restore", "before", f"{WAREHOUSE}.backup:_prove"),
    Boundary("restored, no receipts", "restore", "before", f"{WAREHOUSE}.backup:_bring_back_receipts"),
]


@dataclass(frozen=True)
class Place:
    """A folder with a vendor's deliveries, a warehouse, and a backup of it."""

    folder: Path

    @property
    def feeds(self) -> Path:
        return self.folder / "feeds.yaml"

    @property
    def files(self) -> WarehouseFiles:
        return WarehouseFiles(read_settings(self.feeds).warehouse)

    def arguments(self, boundary: Boundary) -> tuple[Any, ...]:
        return (self.folder / "safe" / "b.duckdb",) if boundary.act in ("backup", "restore") else boundary.arguments


@pytest.fixture(scope="module")
def striker(strikers: Make) -> Striker:
    started: Striker = strikers()
    return started


@pytest.fixture(scope="module", autouse=True)
def secret() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, "k" * 32)
        yield


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    striker: Striker,
    vendor_and_warehouse: Make,
    feed_of: Make,
    feeds_yaml: Make,
) -> Place:
    """A week that is loaded and published, one that is loaded in an older version, and a backup of the first."""
    folder = tmp_path_factory.mktemp("prepared")
    vendor, _ = vendor_and_warehouse(folder)
    feeds_yaml(folder, feed_of(vendor.url, types=("segments",)))
    place = Place(folder)
    vendor.part(FIRST, [f"{ANN},,behavior.early_bird", f"{BEN},,behavior.early_bird", "broken"])
    striker.well(place.feeds, "load", "segments", FIRST)
    striker.well(place.feeds, "publish")
    striker.well(place.feeds, "backup", folder / "safe" / "b.duckdb")
    vendor.part(SECOND, [f"{ANN},,week.one"])
    striker.well(place.feeds, "load", "segments", SECOND)
    vendor.part(SECOND, [f"{ANN},,week.two", f"{BEN},,behavior.early_bird", f"{ANN},too many,fields,of Ann"])
    return place


def copied(place: Place, to: Path) -> Place:
    """A copy of everything, whose feed still reads the deliveries of the original."""
    shutil.copytree(place.folder, to)
    return Place(to)


@pytest.fixture(scope="module")
def undisturbed(prepared: Place, striker: Striker, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """What an act leaves where nothing disturbs it, each done once; and what there was before."""
    known: dict[str, Any] = {}
    before = striker.look(prepared.feeds)

    def after(boundary: Boundary | None) -> Any:
        if boundary is None:
            return before
        if boundary.act not in known:
            place = copied(prepared, tmp_path_factory.mktemp("undisturbed") / boundary.act)
            striker.well(place.feeds, boundary.act, *place.arguments(boundary))
            known[boundary.act] = striker.look(place.feeds)
            assert known[boundary.act]["left"] == []
        return known[boundary.act]

    return after


def apart_from(content: dict[str, str], *tables: str) -> dict[str, str]:
    return {table: digest for table, digest in content.items() if table not in tables}


def left_in(files: WarehouseFiles) -> list[str]:
    folders = [folder for folder in (files.build.parent, files.published.parent, files.staging) if folder.exists()]
    usual = {"offloads.duckdb", "offloads.lock"}
    found = [file for folder in folders for file in folder.iterdir() if file.name not in usual]
    return [file.name for file in found if not (file.name.startswith("blank-") and file.suffix == ".duckdb")]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_a_kill_leaves_the_old_or_the_new_and_the_next_call_does_the_rest(
    prepared: Place, undisturbed: Callable[..., Any], striker: Striker, tmp_path: Path, boundary: Boundary
) -> None:
    place = copied(prepared, tmp_path / "place")
    before, after = undisturbed(None), undisturbed(boundary)
    arguments = place.arguments(boundary)
    killed = striker.do(place.feeds, boundary.act, *arguments, at=boundary.place, when=boundary.when, disaster="kill")
    assert killed.code == -signal.SIGKILL, killed.said
    found = striker.look(place.feeds)
    assert found["published"] in (before["published"], after["published"]), "whole, whichever it is"
    if boundary.act == "load":
        is_done = boundary.name == "after the commit"
        assert found["content"] == (after if is_done else before)["content"]
        assert is_done or found["exact"] == before["exact"]
    elif boundary.act != "erase":
        assert found["content"] in (before["content"], after["content"])
    striker.well(place.feeds, boundary.act, *arguments)
    ended = striker.look(place.feeds)
    # What was done and could not be told is done twice: a second load has a receipt of its own.
    accounts = ("ops.receipts", "ops.erasures")
    assert apart_from(ended["content"], *accounts) == apart_from(after["content"], *accounts)
    assert apart_from(ended["published"], *accounts) == apart_from(after["published"], *accounts)
    # What else a kill leaves beside the files goes with the next tidying up.
    assert ended["left"] == [] or boundary.act != "load"
    place.files.clear_leftovers()
    assert left_in(place.files) == []
    if boundary.act == "erase":
        assert len(list(place.files.erasures.glob("*.json"))) == 2, "also the one that the killed call has owed"


def test_a_log_that_a_power_loss_has_cut_is_all_or_nothing(
    prepared: Place, undisturbed: Callable[..., Any], striker: Striker, tmp_path: Path
) -> None:
    """DuckDB writes a commit to its log; what of that reached the disk may end anywhere, or go on as zeros."""
    boundary = next(one for one in BOUNDARIES if one.name == "after the commit")
    place = copied(prepared, tmp_path / "place")
    killed = striker.do(
        place.feeds, "load", *boundary.arguments, at=boundary.place, when=boundary.when, disaster="kill"
    )
    assert killed.code == -signal.SIGKILL
    build, log = place.files.build, place.files.build.with_name("offloads.duckdb.wal")
    kept_build, kept_log = build.read_bytes(), log.read_bytes()

    def content(size: int, tail: bytes) -> dict[str, list[str]]:
        build.write_bytes(kept_build)
        log.write_bytes(kept_log[:size] + tail)
        with warehouse_in(place.files.root).writing() as connection:
            return content_of(connection)

    whole = len(kept_log)
    before, after = content(0, b""), content(whole, b"")
    assert before != after
    for size in (0, 1, 50, *range(100, whole, whole // 4), whole - 1):
        for tail in (b"", bytes(whole - size), os.urandom(whole - size) if size >= 100 else b""):
            assert content(size, tail) == before, (size, tail[:1])
    for tail in (bytes(1), bytes(4096), os.urandom(100)):
        assert content(whole, tail) == after, "what was committed before the damage stands"
    striker.well(place.feeds, "load", *boundary.arguments)
    ended, expected = striker.look(place.feeds)["content"], undisturbed(boundary)["content"]
    assert apart_from(ended, "ops.receipts") == apart_from(expected, "ops.receipts")
