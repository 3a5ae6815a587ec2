"""Deliveries as the simulator writes them, staged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import discover
from offload_platform.landing.staging import StagedDelivery, stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

Stage = Callable[..., StagedDelivery]


def contract_of(offload_type: str) -> Contract:
    return vendor_named("sentiance").contracts[offload_type]


def delivery_of(root_url: str, feed_of: Callable[..., Feed], offload_type: str, **said: Any) -> tuple[Feed, Delivery]:
    """The one delivery of a type below a root."""
    feed = feed_of(root_url, types=(offload_type,), **said)
    (delivery,) = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    return feed, delivery


@pytest.fixture
def stage_part(tmp_path: Path, feed_of: Callable[..., Feed]) -> Stage:
    """Stages a part of the given bytes."""

    def run(content: bytes, offload_type: str = "segments", **said: Any) -> StagedDelivery:
        app_id = "5a689ab0e97b960500002109"
        folder = tmp_path / "delivered"
        file = folder / "12_08_2018_15_05_54_499" / app_id / f"{offload_type}.{app_id}.csv" / "part-00000.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        feed, delivery = delivery_of(folder.as_uri(), feed_of, offload_type, **said)
        spool = tmp_path / "staged"
        spool.mkdir(exist_ok=True)
        return stage(DeliveryStore(feed), delivery, contract_of(offload_type), spool)

    return run


def loaded_rows(staged: StagedDelivery) -> pl.DataFrame:
    files = [file for part in staged.parts for file in part.row_files]
    return pl.concat([pl.read_ipc(file) for file in files]) if files else pl.DataFrame()


def quarantined_rows(staged: StagedDelivery) -> list[tuple[str, int, list[str], str]]:
    """Object key, line, reasons and raw text of each quarantined row."""
    return [
        (part.part.key, *row)
        for part in staged.parts
        for file in part.quarantine_files
        for row in pl.read_ipc(file).iter_rows()
    ]
