"""Twelve weekly snapshots, loaded in no order, are what one snapshot of all that time would have told in the end."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation
from offload_platform.warehouse.merge import merge

from ..conftest import contract_of

WEEKS, WINDOW_DAYS = 12, 63
TYPES = ("stationaries", "transports", "moments", "segments")
# Everybody is in every snapshot: what is told of somebody who was absent at last cannot be the last word.
SIMULATION = Simulation(users=25, snapshots=WEEKS, window_days=WINDOW_DAYS, types=TYPES, inactive_share=0.0)
LEFT_OUT = "feed, app_id, known_from, object_key, line"
Make = Callable[..., Any]


def test_snapshots_become_the_truth(tmp_path: Path, vendor_and_warehouse: Make, feed_of: Make, partition: Make) -> None:
    last = SIMULATION.stamps[-1]
    told_at_last = replace(SIMULATION, first_stamp=last, snapshots=1, window_days=WINDOW_DAYS + 7 * WEEKS)
    warehouses = {}
    for name, simulation in (("weekly", SIMULATION), ("at last", told_at_last)):
        _, warehouses[name] = vendor_and_warehouse(tmp_path / name)
        write_deliveries(simulation, tmp_path / name / "delivered")
        feed = feed_of((tmp_path / name / "delivered").as_uri(), types=TYPES, app_id=SIMULATION.app_id)
        loads = [(stamp, offload_type) for stamp in simulation.stamps for offload_type in TYPES]
        random.Random(1).shuffle(loads)
        for number, (stamp, offload_type) in enumerate(loads):
            warehouses[name].load(feed, partition(f"{stamp:%Y-%m-%d}", offload_type, days=1))
            if number % 7 == 0:
                merged(warehouses[name])
        merged(warehouses[name])

    since = SIMULATION.stamps[0] - timedelta(days=WINDOW_DAYS - 1)
    for offload_type in TYPES:
        told = f"AND start_at >= '{since}'" if contract_of(offload_type).event_time else ""
        sql = f"SELECT * EXCLUDE ({LEFT_OUT}) FROM sentiance.{offload_type} WHERE true {told} ORDER BY ALL"
        truth = warehouses["at last"].query(sql)
        assert len(truth) > 100, offload_type
        assert warehouses["weekly"].query(sql) == truth, offload_type
    [(deleted, changed)] = warehouses["weekly"].query(
        "SELECT count(*) FILTER (change_kind = 'deleted'), count(*) FILTER (change_kind = 'changed') "
        "FROM history.transports"
    )
    assert deleted > 10
    assert changed > 10


def merged(warehouse: Any) -> None:
    with warehouse.writing() as connection:
        merge(connection)
