"""The crosswalks of names: what is listed is known to the contracts, and nothing is counted under two names."""

import csv
import tomllib
from collections import Counter
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

from offload_platform.vendors import sentiance
from offload_platform.vendors.sentiance.vocabulary import MOMENT_DEFINITIONS, SEGMENTS, TRANSPORT_MODES

PROJECT = Path(__file__).parents[2]


def rows_of(name: str) -> list[dict[str, str]]:
    text = files(sentiance).joinpath("marts", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_every_segment_has_one_key_and_a_key_is_a_name_of_its_own() -> None:
    twins = {row["segment_id"]: row["segment_key"] for row in rows_of("segment_twin")}
    assert len(rows_of("segment_twin")) == len(twins) == len(set(twins.values())) == 58
    assert twins.keys() | set(twins.values()) <= SEGMENTS
    assert not twins.keys() & set(twins.values()), "one look-up leads to the key"
    assert len({twins.get(segment, segment) for segment in SEGMENTS}) == len(SEGMENTS) - 58


def test_twins_end_alike_unless_the_vendor_has_renamed_them() -> None:
    renamed = [r for r in rows_of("segment_twin") if not r["segment_key"].endswith(r["segment_id"].split(".", 1)[1])]
    assert {(row["segment_id"], row["segment_key"]) for row in renamed} == {
        ("geography.home.antwerpen", "other.geography.home.antwerp"),
        ("lifestyle.couch_potato", "work_life.home.homebody"),
        ("mobility.public_transport_commuter", "mobility.transport.public_transports_commuter"),
    }


def test_the_sample_confirms_most_twins() -> None:
    counted = Counter(row["evidence"] for row in rows_of("segment_twin"))
    assert counted == {"same count": 48, "same name": 9, "same display name": 1}


def test_every_mode_has_one_name_that_the_vendor_documents() -> None:
    modes = {row["mode_raw"]: row["mode"] for row in rows_of("mode_alias")}
    assert len(modes) == len(rows_of("mode_alias"))
    assert set(modes.values()) == TRANSPORT_MODES | {"unknown"}
    assert all(modes[mode] == mode for mode in modes.values())
    assert modes["bicycle"] == "biking"


def test_every_moment_that_has_another_name_is_known() -> None:
    keys = {row["moment_id"]: row["moment_key"] for row in rows_of("moment_alias")}
    assert keys == {"at_home": "home", "city": "city_name", "sporting": "sport_routine"}
    assert keys.keys() | set(keys.values()) <= MOMENT_DEFINITIONS


def test_everything_that_is_no_code_is_shipped() -> None:
    said = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = said["tool"]["setuptools"]["package-data"]["offload_platform"]
    package = PROJECT / "offload_platform"
    data = [file for file in package.rglob("*.*") if file.suffix not in (".py", ".pyc")]
    assert [
        f for f in data if not any(fnmatch(f"/{f.relative_to(package)}", f"/{p}".replace("**/", "*")) for p in patterns)
    ] == []
    assert any(file.suffix == ".sql" for file in data)
