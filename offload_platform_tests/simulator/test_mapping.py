import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.mapping import MAPPING_KEY, MappingSimulation, write_mapping
from offload_platform.simulator.simulation import Simulation

Make = Callable[..., Any]
SIMULATION = MappingSimulation(users=600)


def links(simulation: MappingSimulation, root: Path) -> list[tuple[str, str]]:
    summary = write_mapping(simulation, root)
    content = (root / MAPPING_KEY).read_bytes()
    assert content.startswith(b"user_id,external_id\n")
    assert b"\r" not in content
    rows = [(user, external) for user, external in csv.reader(content.decode().splitlines()[1:])]
    assert summary.rows == {"mapping": len(rows)}
    assert summary.size == len(content)
    assert summary.deliveries == summary.parts == 1
    return rows


def test_one_file_is_replaced_by_each_version(tmp_path: Path) -> None:
    """Each version adds links, lacks a few of those before, and changes none."""
    versions = [links(replace(SIMULATION, version=version), tmp_path / "feed") for version in range(8)]
    for before, after in pairwise(versions):
        assert set(after) - set(before)
        assert len(set(before) - set(after)) < len(before) / 30
    assert set(versions[0]) - set(versions[-1]), "no link was ever removed"
    for version in versions:
        assert max(Counter(user for user, _ in version).values()) == 1
    assert len({link for version in versions for link in version}) == len({u for v in versions for u, _ in v})
    assert [path.name for path in (tmp_path / "feed").rglob("*") if path.is_file()] == ["user_external.csv"]
    assert links(SIMULATION, tmp_path / "feed") == versions[0]


def test_some_external_ids_have_several_users(tmp_path: Path) -> None:
    found = Counter(Counter(external for _, external in links(SIMULATION, tmp_path / "feed")).values())
    assert found[1] > found[2] > 10
    assert {len(user) for user, _ in links(SIMULATION, tmp_path / "feed")} == {24}


def test_a_contradiction_is_one_user_with_two_external_ids(tmp_path: Path) -> None:
    sound = links(SIMULATION, tmp_path / "feed")
    contradictory = links(replace(SIMULATION, is_contradictory=True), tmp_path / "feed")
    [more] = set(contradictory) - set(sound)
    assert contradictory == [more, *sound]
    assert more[0] == sound[0][0]


def test_links_agree_with_the_ids_in_other_files(tmp_path: Path) -> None:
    write_deliveries(Simulation(users=600, types=("segments",), inactive_share=0), tmp_path / "feed")
    [part] = (tmp_path / "feed").rglob("part-*")
    rows = csv.DictReader(gzip.decompress(part.read_bytes()).decode().splitlines())
    carried = {row["user_id"]: row["metadata_user_id"] for row in rows}
    mapped = dict(links(SIMULATION, tmp_path / "feed"))
    assert mapped.keys() < carried.keys()
    both = [user for user in mapped if carried[user]]
    assert len(both) > 100
    assert all(mapped[user] == carried[user] for user in both)


def test_versions_are_loaded_as_a_history(tmp_path: Path, feed_of: Make, feeds_yaml: Make, offload: Make) -> None:
    root = tmp_path / "feed"
    feeds = feeds_yaml(tmp_path, feed_of(root.as_uri(), cadence={"mapping": "daily"}))
    versions = []
    for version in range(3):
        versions.append(links(replace(SIMULATION, version=version, is_contradictory=version == 2), root))
        said = offload("run", "--feeds", feeds, "--json")
        assert said.code == 0, said.err
        assert [(load["partition"], load["rows_in"], load["rows_quarantined"]) for load in said.json["loads"]] == [
            (f"2018-12-{8 + version:02d}", len(versions[-1]), 0)
        ]
    with duckdb.connect(tmp_path / "warehouse" / "published" / "offloads.duckdb", read_only=True) as connection:
        current = connection.execute("SELECT user_id, external_id FROM sentiance.mapping").fetchall()
        conflicts = connection.execute("SELECT user_id FROM sentiance.user_link_conflicts").fetchall()
        held = connection.execute(
            "SELECT user_id, external_id FROM history.mapping WHERE change_kind = 'new'"
        ).fetchall()
        gone = connection.execute(
            "SELECT user_id, external_id FROM history.mapping WHERE change_kind = 'deleted' AND known_to IS NULL"
        ).fetchall()
    assert sorted(current) == sorted(versions[-1])
    assert conflicts == [(versions[-1][0][0],)]
    assert set(held) == {link for version in versions for link in version}
    assert len(set(held)) == len(held), "a link is new once"
    assert set(gone) == set(held) - set(versions[-1])


def test_record_names_the_file(tmp_path: Path) -> None:
    rows = links(SIMULATION, tmp_path / "feed")
    [record] = (tmp_path / "feed.manifest" / "parts.jsonl").read_text().splitlines()
    assert json.loads(record) == {
        "object_key": MAPPING_KEY,
        "offload_type": "mapping",
        "stamp": "2018-12-08T04:00:00+00:00",
        "rows": len(rows),
        "faulty": 0,
    }


@pytest.mark.parametrize("settings", [{"users": 0}, {"version": -1}])
def test_impossible_mapping_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        MappingSimulation(**settings)
