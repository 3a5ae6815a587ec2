"""A copy of all that is known, and the way back."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offload_platform.warehouse import backup as backing_up
from offload_platform.warehouse.backup import BackupFailed, back_up
from offload_platform.warehouse.merge import merge

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
