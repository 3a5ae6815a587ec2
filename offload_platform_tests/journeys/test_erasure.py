"""A person is erased from a warehouse that Dagster has filled: no file holds the id, whatever is loaded afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from offload_platform.landing import staging
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.tables import table_key
from offload_platform.settings import Settings, read_settings
from offload_platform.warehouse import compact as compacting
from offload_platform.warehouse.compact import CompactFailed
from offload_platform.warehouse.files import WarehouseFiles

from ..conftest import Said

ANN, BEN = "a1" * 12, "b2" * 12
ANN_AT_THE_CLIENT = "ann.with.a.long.name@example.com"
DAYS = ("2018-12-08", "2018-12-15", "2018-12-22")
Make = Callable[..., Any]


class Place:
    """A configured feed and its warehouse."""

    def __init__(self, feeds: Path, offload: Callable[..., Said], folder: Any) -> None:
        self.feeds = feeds
        self.folder = folder
        self.settings: Settings = read_settings(feeds)
        self.files = WarehouseFiles(self.settings.warehouse)
        self._offload = offload

    def call(self, *arguments: str | Path) -> Said:
        return self._offload(*arguments, "--feeds", self.feeds)

    def done(self, *arguments: str | Path) -> str:
        said = self.call(*arguments)
        assert said.code == 0, said.out + said.err
        return said.out

    def deliver(self, day: str, *more: str, with_ann: bool = True) -> None:
        anns = [
            f"{ANN},{ANN_AT_THE_CLIENT},week.of.{day}",
            f"{ANN},,behavior.early_bird",
            f"{ANN},too,many,fields",
            f"x{ANN},{ANN_AT_THE_CLIENT},broken",
            f'"{ANN},,never closed',
        ]
        bens = [f"{BEN},,behavior.early_bird", f"{BEN},,week.of.{day}", f"{BEN},too,many,fields", *more]
        self.folder.part(day, (anns if with_ann else []) + bens)

    def holding(self, *ids: str) -> list[str]:
        """Files of the warehouse in which an id stands, found in the plainest way."""
        files = [file for file in self.files.root.rglob("*") if file.is_file()]
        return [str(file) for file in files if any(i.encode() in file.read_bytes() for i in ids)]

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.files.published, read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def place(
    tmp_path: Path,
    vendor_folder: Any,
    feed_of: Make,
    feeds_yaml: Make,
    offload: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """Three weeks are loaded, and a fourth has failed: its staged files are kept."""
    monkeypatch.setenv("OFFLOAD_ERASURE_KEY", "k" * 32)
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    with feeds.open("a", encoding="utf-8") as file:
        file.write("retention:\n  failed_staging_hours: 24\n")
    place = Place(feeds, offload, vendor_folder)
    for day in DAYS:
        place.deliver(day)
    place.done("run")
    assert place.ask("SELECT count(*) FROM ops.quarantine") == [(12,)]
    place.deliver("2018-12-29")
    bad = vendor_folder.part("2018-12-29", [f"{BEN},,damaged"], number=1)
    bad.write_bytes(bad.read_bytes()[:-3])
    assert place.call("run").code == 1
    bad.unlink()
    return place


def materialise(place: Place, day: str) -> dg.ExecuteInProcessResult:
    job = build_definitions(place.settings).resolve_implicit_global_asset_job_def()
    with open_instance(place.files, capture_output=False) as instance:
        return job.execute_in_process(
            partition_key=day,
            asset_selection=[table_key(place.settings.feeds[0], "segments")],
            instance=instance,
            raise_on_error=False,
        )


def test_no_file_holds_an_erased_person_whatever_is_loaded_afterwards(place: Place) -> None:
    dagster = str(place.files.dagster_home)
    before = place.holding(ANN, ANN_AT_THE_CLIENT)
    assert any(str(place.files.build) == file for file in before)
    assert any(str(place.files.staging) in file for file in before)
    assert not [file for file in before if file.startswith(dagster)], "Dagster never holds an id"
    others = place.ask(f"SELECT * FROM history.segments WHERE user_id <> '{ANN}' ORDER BY ALL")

    would = place.done("erase", "--user", ANN, "--dry-run")
    assert place.holding(ANN, ANN_AT_THE_CLIENT) == before
    said = place.done("erase", "--user", ANN)
    assert "No file of the warehouse holds the ids any more." in said
    assert ANN_AT_THE_CLIENT in said, "the client's id that she is linked to is told"
    assert [line.split() for line in would.splitlines() if line.startswith("all")] == [["all", "4", "6", "4", "9", "0"]]
    assert "Nothing is kept of these ids" not in said
    assert "Nothing is kept of these ids" in place.done("erase", "--user", ANN.upper(), "--dry-run")
    assert place.holding(ANN, ANN_AT_THE_CLIENT) == []
    assert place.ask("SELECT * FROM history.segments ORDER BY ALL") == others
    [receipt] = place.files.erasures.iterdir()
    assert "is as it was signed" in place.done("erase", "--verify", receipt)

    place.deliver(DAYS[1], f"{BEN},,delivered.again")
    place.deliver("2019-01-05")
    place.done("run")
    result = materialise(place, DAYS[0])
    assert result.success
    checks = {c.check_name: c for c in result.get_asset_check_evaluations()}
    assert checks["rows_are_accounted_for"].passed
    assert checks["rows_are_accounted_for"].metadata["rows of erased persons"].value == 5
    place.done("decide", "--help")
    place.done("run")
    assert place.holding(ANN, ANN_AT_THE_CLIENT) == []
    assert set(place.ask("SELECT DISTINCT user_id FROM history.segments")) == {(BEN,)}
    assert place.ask("SELECT bool_and(rows_in = rows_loaded + rows_quarantined + rows_erased) FROM ops.ledger") == [
        (True,)
    ]
    receipt.write_text(receipt.read_text(encoding="utf-8").replace('"rows": 4', '"rows": 5'), encoding="utf-8")
    assert place.call("erase", "--verify", receipt).code == 1


def test_the_history_is_that_of_a_warehouse_that_never_knew_the_person(
    place: Place,
    tmp_path: Path,
    feed_of: Make,
    feeds_yaml: Make,
    offload: Callable[..., Said],
    vendor_and_warehouse: Make,
) -> None:
    folder, _ = vendor_and_warehouse(tmp_path / "without")
    other = Place(feeds_yaml(tmp_path / "without", feed_of(folder.url, types=("segments",))), offload, folder)
    for day in DAYS:
        other.deliver(day, with_ann=False)
    other.done("run")
    place.done("erase", "--external-id", ANN_AT_THE_CLIENT)
    seen = "SELECT * EXCLUDE (line, object_key) FROM {} ORDER BY ALL"
    for table in ("history.segments", "sentiance.segments"):
        assert place.ask(seen.format(table)) == other.ask(seen.format(table)) != []


def test_a_failed_load_keeps_no_rows_where_somebody_is_erased(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.done("erase", "--user", ANN)
    place.deliver("2019-01-05")
    stage_part = staging._stage_part

    def fail_late(*arguments: Any) -> Any:
        stage_part(*arguments)
        raise staging.DamagedBody("on purpose")

    monkeypatch.setattr(staging, "_stage_part", fail_late)
    assert place.call("run", "--from", "2019-01-01").code == 1
    assert [file.name for file in place.files.staging.rglob("*") if file.is_file()] == ["error.txt"]
    assert place.holding(ANN) == []


@pytest.mark.parametrize("secret", ["", "o" * 32])
def test_nothing_is_loaded_without_the_key(place: Place, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    place.done("erase", "--user", ANN)
    place.deliver("2019-01-05")
    rows = place.ask("FROM history.segments ORDER BY ALL")
    monkeypatch.setenv("OFFLOAD_ERASURE_KEY", secret)
    said = place.call("run")
    assert said.code == 1
    assert "OFFLOAD_ERASURE_KEY" in said.out
    assert place.ask("FROM history.segments ORDER BY ALL") == rows
    refused = place.call("erase", "--user", BEN)
    assert refused.code == 1
    assert "OFFLOAD_ERASURE_KEY" in refused.err
    assert place.holding(BEN)


def test_an_id_that_still_stands_somewhere_is_told(place: Place) -> None:
    left = place.files.root / "dagster" / "an old log.txt"
    left.write_text(f"somebody has written {ANN} here", encoding="utf-8")
    said = place.call("erase", "--user", ANN)
    assert said.code == 1
    assert str(left) in said.out
    left.unlink()
    build, published = place.files.build.parent, place.files.published.parent
    killed = [
        build / "offloads.duckdb.new",
        build / "offloads.duckdb.new.wal",
        build / "offloads.duckdb.tmp" / "spilled",
    ]
    killed.append(published / "offloads.duckdb.new")
    for file in killed:
        file.parent.mkdir(exist_ok=True)
        file.write_text(ANN, encoding="utf-8")
    with place.files.staging_folder() as under_way:
        (under_way / "part.rows").write_text(ANN, encoding="utf-8")
        assert "No file" in place.done("erase", "--user", ANN)
        assert place.holding(ANN) == [str(under_way / "part.rows")], "it is struck before it commits"
    assert place.holding(ANN) == []


def test_an_interrupted_call_is_finished_by_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise CompactFailed("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(compacting, "_verify", fail)
        said = place.call("erase", "--user", ANN)
    assert said.code == 1
    assert "the rows are erased, but not all of their bytes are gone: on purpose" in said.out
    assert list(place.files.erasures.iterdir()) == []
    assert place.holding(ANN)
    said_next = place.done("erase", "--user", ANN)
    assert len([line for line in said_next.splitlines() if line.startswith("Receipt: ")]) == 2
    assert place.holding(ANN) == []


@pytest.mark.parametrize("arguments", [[], ["--user", " "], ["--verify", "nowhere.json"]])
def test_wrong_words_change_nothing(place: Place, arguments: list[str]) -> None:
    assert place.call("erase", *arguments).code == 2
    assert place.holding(ANN)
