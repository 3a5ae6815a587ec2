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
        self.published = folder / "warehouse" / "published" / "offloads.duckdb"

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
        with duckdb.connect(self.published, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def history(self) -> list[tuple[str, str, str, str | None]]:
        rows = self.ask(
            "SELECT user_id[1], external_id, strftime(known_from, '%d %H'), strftime(known_to, '%d %H') "
            "FROM sentiance.user_link_history ORDER BY ALL"
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]

    def current(self) -> list[tuple[str, str]]:
        return self.ask("SELECT user_id[1], external_id FROM sentiance.user_links ORDER BY ALL")  # type: ignore[return-value]


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
        ("a", "anna", "10 04", None),
        ("b", "bert", "10 04", "12 04"),
        ("b", "bert", "13 04", None),
        ("c", "anna", "11 04", "13 04"),
        ("c", "cleo", "13 04", None),
    ]
    assert mapping.ask("SELECT partition, rows_in FROM ops.ledger ORDER BY ALL") == [
        (f"2026-11-{day}", rows) for day, rows in ((10, 2), (11, 3), (12, 2), (13, 3))
    ]


def test_two_versions_of_one_day_are_both_kept(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    mapping.deliver("10T16", (0, "bert"))
    mapping.deliver("10T20", (0, "anna"))
    assert mapping.history() == [
        ("a", "anna", "10 04", "10 16"),
        ("a", "anna", "10 20", None),
        ("a", "bert", "10 16", "10 20"),
    ]
    assert mapping.run().json["loads"] == []


def test_an_emptied_file_ends_all_links(mapping: Mapping) -> None:
    mapping.deliver("10T04", (0, "anna"))
    mapping.deliver("11T04")
    assert mapping.current() == []
    assert mapping.history() == [("a", "anna", "10 04", "11 04")]


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
        Warehouse(mapping.feeds.parent / "warehouse").load(feed, day)
    assert mapping.ask("SELECT count(DISTINCT delivery_stamp) FROM sentiance.mapping") == [(2,)]


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
        mapping.ask("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'user_link_history'")
    )
    assert comments["known_to"].startswith("Last change of the first later version that lacks it")
    assert all(comments.values())
    assert mapping.ask("SELECT max(delivery_stamp) FROM sentiance.mapping") == [
        (datetime(2026, 11, 10, 4, tzinfo=UTC),)
    ]
