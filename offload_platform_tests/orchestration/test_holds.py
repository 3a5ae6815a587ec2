"""Who operates the platform sees a delivery that is held, and decides about it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.publishing import HELD_CHECK, PUBLISHED_KEY
from offload_platform.settings import read_settings
from offload_platform.warehouse.files import WarehouseFiles

USERS = [f"{number:024x}" for number in range(10)]
Make = Callable[..., Any]


@pytest.fixture
def feeds(tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make) -> Path:
    """Two weeks of labels; the second lacks half of them, and that is more than the feed allows."""
    for day, kept in (("2018-12-08", ("x", "y")), ("2018-12-15", ("x",))):
        vendor_folder.part(day, [f"{user},,{label}" for user in USERS for label in kept])
    limit = {"withdrawals": {"hold_above": 0.25, "hold_from": 5}}
    return Path(feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",), checks=limit)))


def labels(feeds: Path) -> int:
    with duckdb.connect(WarehouseFiles(read_settings(feeds).warehouse).published, read_only=True) as connection:
        [(found,)] = connection.execute("SELECT count(*) FROM sentiance.segments").fetchall()
    return int(found)


def check(feeds: Path) -> tuple[bool, str]:
    files = WarehouseFiles(read_settings(feeds).warehouse)
    with open_instance(files) as instance:
        key = dg.AssetCheckKey(PUBLISHED_KEY, HELD_CHECK)
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    event = record.event.asset_check_evaluation
    assert event is not None
    return event.passed, str(event.description)


def test_a_delivery_is_held_until_somebody_decides(feeds: Path, offload: Make) -> None:
    assert offload("run", "--feeds", feeds).code == 0
    assert labels(feeds) == 20
    passed, said = check(feeds)
    assert not passed
    assert said == "1 deliveries are held. Decide: offload decide FEED TYPE DAY --release or --reject"
    shown = offload("status", "--feeds", feeds).out
    assert (
        "held: acme segments 2018-12-15 would take back 10 of 20. Next: offload decide acme segments 2018-12-15"
        in shown
    )
    [held] = offload("status", "--feeds", feeds, "--json").json["held"]
    assert (held["offload_type"], held["withdrawn"], held["compared"]) == ("segments", 10, 20)

    assert offload("decide", "acme", "segments", "2018-12-15", "--feeds", feeds).code == 2
    unknown = offload("decide", "acme", "segments", "2018-12-08", "--release", "--feeds", feeds)
    assert unknown.code == 2
    assert "acme segments 2018-12-08 is not held. Held are: acme segments 2018-12-15." in unknown.err

    said = offload("decide", "acme", "segments", "2018-12-15", "--release", "--feeds", feeds)
    assert said.code == 0, said.err
    assert labels(feeds) == 10
    assert check(feeds) == (True, "No delivery is held.")
    assert offload("decide", "acme", "segments", "2018-12-15", "--reject", "--feeds", feeds).code == 0
    assert labels(feeds) == 20
