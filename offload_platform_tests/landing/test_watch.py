"""Watching a root: as few requests as possible, and nothing missed for long."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offload_platform.landing import watch
from offload_platform.landing.store import DeliveryStore
from offload_platform.landing.watch import Memory, look
from offload_platform.settings import Feed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=60)
LIFESTYLE = [f"{month:02d}_07_2026_15_00_00_000" for month in range(1, 9)]


class Root:
    """A feed's root on disk whose files have the times that they are given."""

    def __init__(self, folder: Path, make_feed: Callable[..., Feed], **said: object) -> None:
        self.folder = folder
        folder.mkdir()
        self.store = DeliveryStore(make_feed(folder.as_uri(), **said))

    def put(self, key: str, changed: datetime, content: str = "x") -> None:
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        os.utime(file, (changed.timestamp(), changed.timestamp()))

    def look(self, memory: Memory, now: datetime = NOW) -> tuple[bool, set[str], Memory]:
        found = look(self.store, memory, now, lambda _, stamp: stamp.date())
        return found.whole, {stored.key for stored in found.listing}, found.memory


@pytest.fixture
def archive(tmp_path: Path, feed_of: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch) -> Root:
    """Eight folders of three objects that have not changed for long; a request lists three keys."""
    monkeypatch.setattr(watch, "KEYS_PER_REQUEST", 3)
    root = Root(tmp_path / "archive", feed_of)
    for folder in LIFESTYLE:
        for part in range(3):
            root.put(f"{folder}/{part}", OLD)
    return root


def test_a_small_root_is_always_listed_as_a_whole(tmp_path: Path, feed_of: Callable[..., Feed]) -> None:
    root = Root(tmp_path / "small", feed_of)
    root.put("a/1", OLD)
    whole, keys, memory = root.look(Memory())
    assert (whole, keys, memory.objects) == (True, {"a/1"}, 1)
    root.put("a/2", OLD)
    assert root.look(memory)[:2] == (True, {"a/1", "a/2"})


def test_of_a_large_root_only_what_is_new_or_changed_of_late_is_listed(archive: Root) -> None:
    whole, keys, memory = archive.look(Memory())
    assert (whole, len(keys), memory.objects) == (True, 24, 24)
    assert archive.look(memory)[:2] == (False, set())
    late = "01_01_2025_15_00_00_000"
    archive.put(f"{late}/0", OLD)
    whole, keys, memory = archive.look(memory)
    assert (whole, keys) == (False, {f"{late}/0"})
    archive.put(f"{late}/1", NOW)
    assert archive.look(memory)[1] == set()
    assert archive.look(memory.model_copy(update={"changed": memory.changed | {late: NOW - timedelta(days=13)}}))[
        1
    ] == {
        f"{late}/0",
        f"{late}/1",
    }


def test_what_competes_with_a_new_folder_is_listed_with_it(archive: Root) -> None:
    memory = archive.look(Memory())[2]
    rival = LIFESTYLE[2].replace("15_00_00_000", "16_00_00_000")
    archive.put(f"{rival}/0", NOW)
    assert archive.look(memory)[1] == {f"{rival}/0", *(f"{LIFESTYLE[2]}/{part}" for part in range(3))}


def test_a_folder_whose_name_tells_no_stamp_is_always_listed(archive: Root) -> None:
    archive.put("_mapping/user_external.csv", OLD)
    memory = archive.look(Memory())[2]
    assert archive.look(memory)[1] == {"_mapping/user_external.csv"}


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(hours=-1)], ids=["an hour later", "clock set back"])
def test_the_whole_is_listed_again_once_an_hour(archive: Root, later: timedelta) -> None:
    memory = archive.look(Memory())[2]
    archive.put(f"{LIFESTYLE[0]}/0", NOW, "changed")
    assert archive.look(memory, NOW + timedelta(minutes=59))[:2] == (False, set())
    whole, keys, memory = archive.look(memory, NOW + later)
    assert (whole, len(keys)) == (True, 24)
    assert archive.look(memory, NOW + later)[1] == {f"{LIFESTYLE[0]}/{part}" for part in range(3)}


def test_a_folder_is_watched_until_it_has_settled(archive: Root, feed_of: Callable[..., Feed]) -> None:
    slow = DeliveryStore(feed_of(archive.folder.as_uri(), settle_hours=24 * 70))
    memory = look(archive.store, Memory(), NOW, lambda _, stamp: stamp).memory
    assert look(archive.store, memory, NOW, lambda _, stamp: stamp).listing == []
    memory.changed = dict(list(memory.changed.items())[:1]) | dict.fromkeys(
        LIFESTYLE[1:], datetime.min.replace(tzinfo=UTC)
    )
    assert len(look(slow, memory, NOW, lambda _, stamp: stamp).listing) == 3


def test_the_whole_is_listed_where_its_parts_would_cost_more(archive: Root) -> None:
    memory = archive.look(Memory())[2]
    memory.changed = dict.fromkeys(LIFESTYLE, NOW)
    assert archive.look(memory)[0]
