"""Two days of simulated logs, loaded and published once; tests that change something work on a copy."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from offload_platform.handoff.bulk import make_handoff
from offload_platform.landing.pseudonyms import KEY_VARIABLE
from offload_platform.listening.clean import make_clean
from offload_platform.listening.days import Days, Tier, days_of
from offload_platform.listening.raw import make_raw
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Feed, Settings, read_settings
from offload_platform.simulator.aura import AssistantLogs, LogSimulation
from offload_platform.simulator.writing import write
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.publish import publish

from ..conftest import Warehouse

KEY = "k" * 32
FIRST, SECOND, THIRD = DAYS = (date(2026, 9, 7), date(2026, 9, 8), date(2026, 9, 9))
"""Days of the simulation; of the third there is what began on the second and went on after midnight."""
SIMULATION = LogSimulation(
    seed=7, users=24, first_day=FIRST, days=2, files_per_day=1, telling_share=0.5, talks_per_day=1.5
)


@dataclass
class Place:
    """A configuration, its warehouse, and what is made of the logs."""

    folder: Path

    @property
    def yaml(self) -> Path:
        return self.folder / "feeds.yaml"

    @property
    def settings(self) -> Settings:
        return read_settings(self.yaml)

    @property
    def feed(self) -> Feed:
        return self.settings.feed("acme")

    @property
    def files(self) -> WarehouseFiles:
        return WarehouseFiles(self.settings.warehouse)

    @property
    def days(self) -> Days:
        return days_of(self.files, "BE")

    def say(self, **listening: Any) -> None:
        """Change what the feed says of listening."""
        said = yaml.safe_load(self.yaml.read_text())
        said["feeds"][0]["listening"] = {"country": "BE"} | listening
        self.yaml.write_text(yaml.safe_dump(said))

    def load(self) -> None:
        """Load all logs that are there, and publish."""
        warehouse = Warehouse(self.settings.warehouse)
        for contract in vendor_named("aura").contracts.values():
            for number in range(4):
                start = datetime.combine(FIRST + timedelta(days=number), datetime.min.time(), UTC)
                partition = Partition("acme", contract, str(start.date()), start, start + timedelta(days=1))
                if list((self.folder / "logs" / contract.table.upper()).glob(f"*/*{start:%Y%m%d}*")):
                    warehouse.load(self.feed, partition)
        with warehouse.writing() as connection:
            publish(connection, self.files, self.settings.feeds)

    def made(self) -> dict[str, bytes]:
        """Every file that was made of the logs, by name."""
        roots = (self.files.root / "listening", self.files.root / "handoff")
        return {
            str(file.relative_to(self.files.root)): file.read_bytes()
            for root in roots
            for file in sorted(root.rglob("*"))
            if file.is_file() and file.suffix != ".lock"
        }

    def clean(self, day: date) -> Any:
        return self.days.read(Tier.CLEAN, "message", day)


@pytest.fixture(scope="session")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("listening")
    write([AssistantLogs(SIMULATION)], folder / "logs")
    feed = {
        "name": "acme",
        "vendor": "aura",
        "url": (folder / "logs").as_uri(),
        "cadence": {"logs": "daily"},
        "start": FIRST,
        "listening": {"country": "BE"},
    }
    (folder / "feeds.yaml").write_text(yaml.safe_dump({"warehouse": "./warehouse", "feeds": [feed]}))
    place = Place(folder)
    place.load()
    return place


@pytest.fixture
def place(_loaded: Place, tmp_path: Path) -> Place:
    """The loaded logs, of which nothing is made yet."""
    shutil.copytree(_loaded.folder, tmp_path / "place")
    copy = Place(tmp_path / "place")
    said = yaml.safe_load(copy.yaml.read_text())
    said["feeds"][0]["url"] = (copy.folder / "logs").as_uri()
    copy.yaml.write_text(yaml.safe_dump(said))
    return copy


@pytest.fixture
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def make_all(place: Place, order: tuple[date, ...], key: str) -> None:
    """Make everything of the logs, without Dagster; only RAW is given the key."""
    for day in order:
        make_raw(place.files, place.feed, place.days, day, PseudonymKey(key.encode()))
    for day in order:
        make_clean(place.feed, place.days, day)
    for day in order:
        make_handoff(place.files, place.feed, place.days, day)


@pytest.fixture(scope="session")
def _made(_loaded: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(_loaded.folder, folder / "place")
    place = Place(folder / "place")
    make_all(place, DAYS, KEY)
    return place


@pytest.fixture
def listened(place: Place, _made: Place) -> Callable[..., Place]:
    """Makes everything of the logs, in some order and with some key, or takes what was made in the usual way."""

    def make(order: tuple[date, ...] | None = None, key: str = KEY) -> Place:
        if order is None:
            for name in ("listening", "handoff"):
                shutil.copytree(_made.files.root / name, place.files.root / name, dirs_exist_ok=True)
        else:
            make_all(place, order, key)
        return place

    return make
