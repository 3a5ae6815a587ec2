"""The mapping file, replaced in place: every version is kept, links have a history, conflicts are reported."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.settings import Feed, read_settings
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.load import NothingToLoad

from ..conftest import Said, Warehouse, contract_of

USERS = [f"{digit * 24}" for digit in "abcd"]


class Mapping:
    """A feed whose root holds the mapping file."""

    def __init__(
        self, folder: Path, feed_of: Callable[..., Feed], feeds_yaml: Callable[..., Path], offload: Callable[..., Said]
    ) -> None:
        self.file = folder / "root" / "_mapping" / "user_external.csv"
        self.file.parent.mkdir(parents=True)
        self.offload = offload
        feed = feed_of((folder / "root").as_uri(), cadence={"mapping": "daily"}, start=date(2026, 11, 1))
        self.feeds = feeds_yaml(folder, feed)
        self.warehouse = Warehouse(folder / "warehouse")

    def deliver(self, changed: str, *links: tuple[int, str], delimiter: str = ",") -> Said:
        """Replace the file, changed at a time of November 2026 (day and hour), and run."""
        rows = [("user_id", "external_id"), *((USERS[user], external) for user, external in links)]
        self.file.write_text("".join(f"{delimiter.join(row)}\n" for row in rows), encoding="utf-8")
        moment = datetime.fromisoformat(f"2026-11-{changed}:00+00:00").timestamp()
        os.utime(self.file, (moment, moment))
        return self.run()

    def run(self) -> Said:
        said = self.offload("run", "--feeds", self.feeds, "--json")
        assert said.code == 0, said.err
        return said

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.warehouse.files.published, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def history(self) -> list[tuple[str, str, str, str, str | None]]:
        rows = self.ask(
            "SELECT user_id[1], external_id, strftime(known_from, '%d %H'), change_kind, strftime(known_to, '%d %H') "
            "FROM history.mapping ORDER BY ALL"
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]

    def current(self, source: str = "sentiance.mapping") -> list[tuple[str, str]]:
        return self.ask(f"SELECT user_id[1], external_id FROM {source} ORDER BY ALL")  # type: ignore[return-value]

    def as_of(self, moment: str) -> list[tuple[str, str]]:
        """The links as they were known at a time of November 2026."""
        return self.current(f"history.mapping_as_of(TIMESTAMPTZ '2026-11-{moment}:00+00')")


@pytest.fixture
def mapping(
    tmp_path: Path, feed_of: Callable[..., Feed], feeds_yaml: Callable[..., Path], offload: Callable[..., Said]
) -> Mapping:
    return Mapping(tmp_path, feed_of, feeds_yaml, offload)


def test_links_are_current_and_have_a_history(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"), (1, "bert"))
    mapping.deliver("11T04", (0, "anna"), (1, "bert"), (2, "anna"))
    mapping.deliver("12T04", (0, "anna"), (2, "anna"))
    mapping.deliver("13T04", (0, "anna"), (1, "bert"), (2, "cleo"))
    assert mapping.current() == [("a", "anna"), ("b", "bert"), ("c", "cleo")]
    assert mapping.history() == [
        ("a", "anna", "10 04", "new", None),
        ("b", "bert", "10 04", "new", "12 04"),
        ("b", "bert", "12 04", "deleted", "13 04"),
        ("b", "bert", "13 04", "restored", None),
        ("c", "anna", "11 04", "new", "13 04"),
        ("c", "anna", "13 04", "deleted", None),
        ("c", "cleo", "13 04", "new", None),
    ]
    assert mapping.as_of("10 03:59") == []
    assert mapping.as_of("11 04:00") == [("a", "anna"), ("b", "bert"), ("c", "anna")]
    assert mapping.as_of("13 03:59") == [("a", "anna"), ("c", "anna")]
    assert mapping.as_of("13 04:00") == mapping.current()
    assert mapping.ask("SELECT partition, rows_in FROM ops.ledger ORDER BY ALL") == [
        (f"2026-11-{day}", rows) for day, rows in ((10, 2), (11, 3), (12, 2), (13, 3))
    ]


def test_two_versions_of_one_day_are_both_kept(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    mapping.deliver("10T16", (0, "bert"))
    mapping.deliver("10T20", (0, "anna"))
    assert mapping.current() == [("a", "anna")]
    assert mapping.history() == [
        ("a", "anna", "10 04", "new", "10 16"),
        ("a", "anna", "10 16", "deleted", "10 20"),
        ("a", "anna", "10 20", "restored", None),
        ("a", "bert", "10 16", "new", "10 20"),
        ("a", "bert", "10 20", "deleted", None),
    ]
    assert mapping.run().json["loads"] == []


def test_an_emptied_file_ends_all_links(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    mapping.deliver("11T04")
    assert mapping.current() == []
    assert mapping.history() == [("a", "anna", "10 04", "new", "11 04"), ("a", "anna", "11 04", "deleted", None)]


def test_a_user_with_two_external_ids_is_kept_and_listed(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"), (0, "bert"), (1, "anna"), delimiter=";")
    assert mapping.current() == [("a", "anna"), ("a", "bert"), ("b", "anna")]
    assert mapping.ask("SELECT user_id[1], external_ids FROM sentiance.user_link_conflicts") == [
        ("a", ["anna", "bert"])
    ]


def test_a_version_that_is_gone_cannot_be_loaded_again_and_stays(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    mapping.deliver("11T04", (0, "bert"))
    assert mapping.run().json["loads"] == []
    feed = read_settings(mapping.feeds).feeds[0]
    start = datetime(2026, 11, 10, tzinfo=UTC)
    day = Partition(feed.name, contract_of("mapping"), "2026-11-10", start, start + timedelta(days=1))
    with pytest.raises(NothingToLoad, match="the file has been replaced since"):
        mapping.warehouse.load(feed, day)
    assert mapping.warehouse.query(
        "SELECT strftime(delivery_stamp, '%d %H'), external_id FROM delivered.mapping ORDER BY ALL"
    ) == [("10 04", "anna"), ("11 04", "bert")]
    assert ("a", "anna", "10 04", "new", "11 04") in mapping.history()


def test_mapping_is_off_unless_it_has_a_cadence(
    mapping: Mapping, tmp_path: Path, feed_of: Callable[..., Feed], feeds_yaml: Callable[..., Path]
) -> None:
    mapping.deliver("10T04", (0, "anna"))
    other = feed_of((tmp_path / "root").as_uri(), start=date(2026, 11, 1))
    said = mapping.offload("plan", "--feeds", feeds_yaml(tmp_path / "other", other), "--json")
    assert said.json["loads"] == []


def test_the_documentation_says_when_a_version_was_known(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    comments = dict(
        mapping.ask(
            "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = 'history' AND table_name = 'mapping'"
        )
    )
    assert comments["known_to"].startswith("Stamp of the delivery that brought the next version")
    assert all(comments.values())
    assert mapping.ask("SELECT max(known_from) FROM sentiance.mapping") == [(datetime(2026, 11, 10, 4, tzinfo=UTC),)]
