"""The privacy tiers of a warehouse that `offload run` has filled: made, shown, and left by who is erased."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from offload_platform.landing.pseudonyms import KEY_VARIABLE
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.tiers import REPORT_KEY, TARGETS_CHECK, tier_key, tier_keys
from offload_platform.privacy.tiers import Tier
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Settings, read_settings
from offload_platform.warehouse.files import WarehouseFiles

from ..conftest import Said

SECRET = "s" * 32
USERS = [f"{number:024x}" for number in range(7, 17)]
ANN = USERS[0]
RAW_SEGMENTS = "ppd_raw.sentiance.segments"
Make = Callable[..., Any]


class Place:
    """A configured feed with privacy tiers."""

    def __init__(self, feeds: Path, offload: Callable[..., Said]) -> None:
        self.feeds = feeds
        self.settings: Settings = read_settings(feeds)
        self.files = WarehouseFiles(self.settings.warehouse)
        self._offload = offload

    def call(self, *arguments: str) -> Said:
        return self._offload(*arguments, "--feeds", self.feeds)

    def leak(self) -> Path:
        """A log that names users."""
        log = self.files.dagster_home / "leak.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(" ".join(USERS), encoding="utf-8")
        return log

    def persons(self, tier: Tier, column: str, table: str) -> set[str]:
        with duckdb.connect(tier.file(self.files), read_only=True) as connection:
            return {p for (p,) in connection.execute(f"SELECT {column} FROM sentiance.{table}").fetchall()}


@pytest.fixture
def place(
    tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make, offload: Make, monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setenv("OFFLOAD_ERASURE_KEY", "k" * 32)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    with feeds.open("a", encoding="utf-8") as file:
        file.write("privacy: {k: 2, k_home: 2, report_weeks: 1}\n")
    labels = ("behavior.city_home", "driver_behavior.heavy_driver")
    vendor_folder.part("2018-12-08", [f"{user},,{label}" for user in USERS for label in labels])
    return Place(feeds, offload)


def test_tiers_are_made_shown_and_left_by_who_is_erased(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    said = place.call("doctor")
    assert said.code == 1
    assert "OFFLOAD_PSEUDONYM_KEY is not set" in said.out
    said = place.call("run")
    assert said.code == 1, "what is loaded is published; the tiers are not made without the key"
    assert "OFFLOAD_PSEUDONYM_KEY is not set" in said.out
    assert place.files.published.exists()
    assert not Tier.PPD_RAW.file(place.files).exists()
    assert "offload privacy build" in place.call("status").out

    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    said = place.call("run")
    assert said.code == 0, said.out + said.err
    assert "rules of 6 tables" in place.call("doctor").out.replace("\n", " ")
    status = place.call("status").out
    assert "Privacy tier ppd_raw, made" in status
    assert "missed" not in status
    said = place.call("privacy", "report", "--json")
    assert said.code == 0
    assert said.json["persons"] == len(USERS)
    leak = place.leak()
    said = place.call("privacy", "build")
    assert said.code == 1
    assert "missed" in said.out
    assert "1 targets of the privacy report are missed" in place.call("status").out
    leak.unlink()
    key = PseudonymKey(SECRET.encode())
    ann = key.hashed("user", ANN)
    ann_now = key.of_epoch("2018Q4").hashed("user", ANN)
    assert place.persons(Tier.PPD_RAW, "user_id", "segments") == {key.hashed("user", user) for user in USERS}
    assert ann_now in place.persons(Tier.PPD_CLEAN, "person", "person_segments")

    monkeypatch.delenv(KEY_VARIABLE)
    assert place.call("erase", "--user", ANN).code == 1
    assert ann in place.persons(Tier.PPD_RAW, "user_id", "segments"), "without the key, nothing is erased"
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    left_behind = Tier.PPD_RAW.file(place.files).parent / "report.killed"
    left_behind.mkdir()
    (left_behind / "truth.duckdb").write_bytes(ann.encode())
    said = place.call("erase", "--user", ANN)
    assert said.code == 0, said.out + said.err
    assert RAW_SEGMENTS in said.out
    assert not left_behind.exists()
    [receipt] = place.files.erasures.iterdir()
    removed = json.loads(receipt.read_text(encoding="utf-8"))["removed"]
    assert removed[RAW_SEGMENTS]["rows"] == 2
    assert removed["ppd_clean.sentiance.person_segments"]["rows"] == 1
    assert not {ann, ann_now} & place.persons(Tier.PPD_RAW, "user_id", "segments")
    assert ann_now not in place.persons(Tier.PPD_CLEAN, "person", "person_segments")
    files = [file for file in place.files.root.rglob("*") if file.is_file()]
    assert not [file for file in files if any(i.encode() in file.read_bytes() for i in (ANN, ann, ann_now))]


def test_dagster_makes_the_tiers_after_publishing_and_without_the_section_they_go(place: Place) -> None:
    leak = place.leak()
    assert place.call("run").code == 0
    defs = build_definitions(place.settings)
    with open_instance(place.files, capture_output=False) as instance:
        records = instance.event_log_storage.get_latest_materialization_events(tier_keys())
        assert set(records) == set(tier_keys())
        said = records[REPORT_KEY].asset_materialization.metadata  # type: ignore[union-attr]
        assert "rows that are counted" not in said["plot"].value, "of nothing, nothing can be kept"
        assert said["measures"].value.records
        assert said["targets missed"].value == 1
        check = dg.AssetCheckKey(REPORT_KEY, TARGETS_CHECK)
        [found] = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        assert found.event is not None
        assert not found.event.dagster_event.asset_check_evaluation_data.passed  # type: ignore[union-attr]
        selection = dg.AssetSelection.assets(*tier_keys())
        first = dg.evaluate_automation_conditions(defs, instance, selection)
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(asset_selection=[PUBLISHED_KEY], instance=instance).success
        after = dg.evaluate_automation_conditions(defs, instance, selection, cursor=first.cursor)
        assert [after.get_num_requested(key) for key in tier_keys()] == [1, 1, 1, 1]
    assert "protect_after_publishing" in {sensor.name for sensor in defs.sensors or ()}

    text = place.feeds.read_text(encoding="utf-8")
    place.feeds.write_text(text[: text.index("privacy:")], encoding="utf-8")
    specs = build_definitions(read_settings(place.feeds)).resolve_all_asset_specs()
    assert tier_key(Tier.PPD_RAW) not in {spec.key for spec in specs}
    assert "there are no privacy tiers" in place.call("privacy", "build").err
    assert "Privacy tier" not in place.call("status").out
    leak.unlink()
    assert place.call("erase", "--user", ANN).code == 0
    assert not [tier for tier in Tier if tier.file(place.files).exists()]
