"""What each page of the dashboard takes over a million trips and a million messages, drawn for the first time.

To be run where the dashboard is installed: `.venv-dashboard/bin/python -m offload_platform_tests.benchmarks.pages`.
Browsers draw beside that; what has been asked once is answered at once until a new file is published.
"""

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import typer

from ..dashboard.made import DAYS, TRIPS_A_DAY, write_beside, write_published

TRIPS, MESSAGES = 1_000_000, 1_000_000
MESSAGES_A_DAY = 4
SECONDS_FOR_A_PAGE = 600


def measured(folder: Path, trips: int, messages: int) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of each page, in this process."""
    from streamlit.testing.v1 import AppTest

    from offload_platform.dashboard.launch import APP, VARIABLE

    shown = write_beside(folder, max(1, messages // (DAYS * MESSAGES_A_DAY)))
    write_published(shown.file, max(1, trips // (DAYS * TRIPS_A_DAY)))
    os.environ[VARIABLE] = shown.model_dump_json()
    costs = {}
    # The first page also loads what draws pages; it is not counted.
    for page in ("dictionary", *sorted(file.stem for file in APP.with_name("screens").glob("*.py"))):
        app = AppTest.from_file(str(APP), default_timeout=SECONDS_FOR_A_PAGE).run()
        cpu, wall = time.process_time(), time.monotonic()
        app.switch_page(f"screens/{page}.py").run()
        costs[page] = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
        assert not app.exception, page
        assert not app.error, page
    return costs


def main(trips: int = TRIPS, messages: int = MESSAGES) -> None:
    """Measure every page, and write what it took as JSON."""
    # What is not in a browser warns of that, again and again.
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="pages_") as folder:
        costs = measured(Path(folder), trips, messages)
    rounded = {page: {kind: round(seconds, 2) for kind, seconds in cost.items()} for page, cost in costs.items()}
    sys.stdout.write(json.dumps({"trips": trips, "messages": messages, "seconds": rounded}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
