"""Runs Dagster for partitions that hold nothing, one after the other in one process, and says what each took.

    python -m offload_platform_tests.benchmarks.loads.empty_runs FOLDER

Nothing is in the deliveries but their markers: what is left is the fixed cost of a run. CPU seconds; `imports` is what
it takes to import everything, `definitions` to plan and to open the instance.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

from offload_platform.orchestration import run as runs
from offload_platform.orchestration.instance import open_instance
from offload_platform.settings import Settings
from offload_platform.simulator.driving import write_driving_days
from offload_platform.simulator.driving_settings import DrivingSimulation
from offload_platform.warehouse.files import WarehouseFiles

from ..deliveries import DAY
from .whole_load import feed_of

_TYPE = "driving_events_realtime"
_DAYS = 6


def main() -> None:
    imported = time.process_time()
    folder = Path(sys.argv[1])
    days = tuple(DAY + timedelta(days=number) for number in range(_DAYS))
    write_driving_days(
        DrivingSimulation(first_day=DAY, days=_DAYS, types=(_TYPE,), empty_days=days), folder / "delivered"
    )
    began = time.process_time()
    settings = Settings(warehouse=folder / "warehouse", feeds=(feed_of((folder / "delivered").as_uri(), _TYPE),))
    took = []
    with open_instance(WarehouseFiles(settings.warehouse), capture_output=False) as instance:
        plan = runs.plan(settings, settings.feeds)
        before = planned = time.process_time()
        for outcome in runs.execute(settings, plan.loads, instance):
            if not outcome.succeeded:
                raise SystemExit(outcome.error)
            took.append(round(time.process_time() - before, 3))
            before = time.process_time()
    if len(took) != _DAYS:
        raise SystemExit(f"{len(took)} of {_DAYS} empty partitions were loaded")
    said = {"imports": round(imported, 3), "definitions": round(planned - began, 3), "runs": took}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
