"""Deliveries of every vendor and every offload type, loaded by one process, and what is published of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import duckdb
import yaml

from offload_platform.orchestration.partitions import partition_of
from offload_platform.orchestration.run import plan
from offload_platform.settings import Settings, read_settings
from offload_platform.simulator.affise import AffiseSimulation, DataFusion
from offload_platform.simulator.aura import AssistantLogs, LogSimulation
from offload_platform.simulator.deliveries import Snapshots
from offload_platform.simulator.driving import DrivingDays
from offload_platform.simulator.driving_settings import DrivingSimulation
from offload_platform.simulator.mapping import Links, MappingSimulation
from offload_platform.simulator.simulation import Simulation
from offload_platform.simulator.writing import Source, write
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.erasure import Request, erase
from offload_platform.warehouse.publish import publish
from offload_platform.warehouse.tombstones import ErasureKey

SECRETS = {"OFFLOAD_PSEUDONYM_KEY": "5ec2e7" * 8, "OFFLOAD_ERASURE_KEY": "0fe2a5e" * 8}
DAY = date(2026, 9, 7)
FIRST = datetime(2026, 8, 29, 15, 5, 54, 499_000, UTC)
USERS = 4
SOURCES: Mapping[str, tuple[tuple[Source, ...], dict[str, Any]]] = {
    "sentiance": (
        (
            Snapshots(
                Simulation(
                    users=USERS, first_stamp=FIRST, snapshots=2, window_days=10, faults=0.03, withdrawal_share=0.1
                )
            ),
            DrivingDays(
                DrivingSimulation(
                    users=USERS, first_day=DAY - timedelta(days=1), days=1, events_per_drive=5, fixes_per_drive=5
                )
            ),
            Links(MappingSimulation(users=USERS, first_day=DAY)),
        ),
        {"app_id": Simulation().app_id, "cadence": {"lifestyle": "weekly", "driving": "daily", "mapping": "daily"}},
    ),
    "affise": (
        (DataFusion(AffiseSimulation(first_day=DAY, slots=3, frequency_minutes=480, hold_hours=4, empty_share=0)),),
        {
            "cadence": {"data_fusion": "daily"},
            "directories": {"clicks": "affise/clicks", "conversions": "affise/conversions"},
        },
    ),
    "aura": (
        (AssistantLogs(LogSimulation(users=8, first_day=DAY, files_per_day=1)),),
        {"cadence": {"logs": "daily"}},
    ),
}


@dataclass(frozen=True)
class Everything:
    """Published files of all deliveries, and of what is left of them after `erased` was erased; and the feeds."""

    whole: Path
    after: Path
    erased: str
    feeds_file: Path


def load(settings: Settings, warehouse: Any, **more: Any) -> None:
    """Load all that is delivered."""
    for one in plan(settings, settings.feeds).loads:
        contract = vendor_named(one.feed.vendor).contracts[one.offload_type]
        warehouse.load(one.feed, partition_of(one.feed, contract, one.partition), **more)


def make(folder: Path, warehouse: Any) -> Everything:
    """Simulate deliveries below a folder, load them into a warehouse, and publish."""
    feeds = []
    for vendor, (sources, said) in SOURCES.items():
        write(sources, folder / "delivered" / vendor)
        url = (folder / "delivered" / vendor).as_uri()
        feed = {"name": f"acme_{vendor}", "vendor": vendor, "url": url, "start": FIRST.date(), "settle_hours": 0}
        feeds.append(feed | said)
    file = folder / "feeds.yaml"
    file.write_text(yaml.safe_dump({"warehouse": str(warehouse.files.root), "feeds": feeds}))
    settings = read_settings(file)
    load(settings, warehouse)

    def published(name: str) -> Path:
        with warehouse.writing() as connection:
            publish(connection, warehouse.files, settings.feeds)
        return Path(copyfile(warehouse.files.published, folder / name))

    whole = published("whole.duckdb")
    with duckdb.connect(whole, read_only=True) as connection:
        types = connection.execute("SELECT DISTINCT vendor, offload_type FROM ops.ledger WHERE rows_loaded > 0")
        registry = {(vendor, kind) for vendor in vendor_names() for kind in vendor_named(vendor).contracts}
        assert set(types.fetchall()) == registry, "every offload type of every vendor is compared"
        [(user,)] = connection.execute("SELECT min(user_id) FROM sentiance.stationaries").fetchall()
    with warehouse.writing() as connection:
        erase(connection, Request(users=(user,)), ErasureKey(SECRETS["OFFLOAD_ERASURE_KEY"].encode()))
    return Everything(whole, published("after.duckdb"), user, file)
