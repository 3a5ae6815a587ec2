"""Staged files of a load that failed are kept as long as is asked for; of all others nothing stays."""

import os
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from offload_platform.warehouse.files import WarehouseFiles


def fail(files: WarehouseFiles, error: BaseException | None = None) -> None:
    with files.staging_folder() as folder:
        (folder / "rows.arrow").write_text("staged rows")
        raise error or RuntimeError("part-00000: on purpose")


def grow_older(folder: Path, hours: float) -> None:
    at = time.time() - hours * 3600
    os.utime(folder, (at, at))


def folders(files: WarehouseFiles) -> list[Path]:
    return sorted(files.staging.iterdir())


def test_a_failed_load_leaves_nothing_unless_asked_to(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path)
    with pytest.raises(RuntimeError, match="on purpose"):
        fail(files)
    assert folders(files) == []


def test_a_failed_load_is_kept_with_its_error_and_goes_with_a_later_load(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path, failed_staging_hours=24)
    with pytest.raises(RuntimeError, match="on purpose"):
        fail(files)
    [kept] = folders(files)
    assert kept.suffix == ".failed"
    assert (kept / "rows.arrow").read_text() == "staged rows"
    assert (kept / "error.txt").read_text() == "RuntimeError: part-00000: on purpose\n"
    grow_older(kept, hours=23.9)
    with files.staging_folder() as folder:
        assert folder.exists()
    assert folders(files) == [kept]
    grow_older(kept, hours=24.1)
    assert files.staging_left_behind() == [kept]
    with files.staging_folder():
        assert not kept.exists()
    assert folders(files) == []


def test_nothing_stays_of_a_thread_that_still_writes(tmp_path: Path) -> None:
    """An interrupt that falls into the start of a thread leaves it to itself: its pool does not know of it yet."""
    files = WarehouseFiles(tmp_path)
    written: list[int] = []

    def write(folder: Path) -> None:
        with suppress(FileNotFoundError):
            for number in count():
                (folder / f"{number}.rows").touch()
                written.append(number)

    def interrupted() -> None:
        with files.staging_folder() as folder:
            thread = threading.Thread(target=write, args=(folder,))
            thread.start()
            threads.append(thread)
            while len(written) < 100:
                time.sleep(0.001)
            raise KeyboardInterrupt

    threads: list[threading.Thread] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    threads[0].join(timeout=60)
    assert (folders(files), threads[0].is_alive()) == ([], False)


def test_what_was_kept_goes_when_nothing_is_to_be_kept_any_more(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        fail(WarehouseFiles(tmp_path, failed_staging_hours=24))
    files = WarehouseFiles(tmp_path)
    files.clear_staging()
    assert folders(files) == []


def test_a_load_that_is_interrupted_has_not_failed(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path, failed_staging_hours=24)
    with pytest.raises(KeyboardInterrupt):
        fail(files, KeyboardInterrupt())
    assert folders(files) == []


def test_looking_for_what_is_left_behind_leaves_loads_and_folders_alone(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path)
    assert files.staging_left_behind() == []
    with files.staging_folder() as going_on:
        abandoned = files.staging / "00000000"
        abandoned.mkdir()
        assert files.staging_left_behind() == [abandoned]
        assert abandoned.exists()
        files.clear_staging()
        assert not abandoned.exists()
        assert going_on.exists()
    assert folders(files) == []


def test_a_load_that_succeeds_leaves_nothing(tmp_path: Path) -> None:
    files = WarehouseFiles(tmp_path, failed_staging_hours=24)
    with files.staging_folder() as folder:
        (folder / "rows.arrow").write_text("staged rows")
    assert folders(files) == []
