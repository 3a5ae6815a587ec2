"""What many days leave behind: the services of docs/production.md load day after day, and are watched.

    python -m offload_platform_tests.benchmarks.soak --days 200

A day of scores is put into a real S3 server; sensor and daemon do the rest, as in production. After each batch of days,
when all of it is published, housekeeping tidies up as if its time had come, and memory, open files and threads of the
services are read, and the sizes of all that is kept. The exit code is 1 where something grows that should not, or a day
is not loaded exactly.
"""

import argparse
import contextlib
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import obstore
import psutil
import yaml
from obstore.store import S3Store
from rich.console import Console
from rich.table import Table

from offload_platform.orchestration.housekeeping import tidy
from offload_platform.orchestration.instance import dagster_home, open_instance
from offload_platform.settings import Settings, read_settings
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles

from ..journeys.services import Services, wait_until

APP_ID = "5a689ab0e97b960500002109"
FIRST_DAY = date(2026, 1, 1)
USERS = 20
_PROFILE = "soak"
_JOB = "0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70"
_BATCH_SECONDS = 1800.0
_FORKED = "--multiprocessing-fork"
_FLAT: dict[str, float] = {
    "processes": 0.0,
    "memory_mb": 0.25,
    "open_files": 0.25,
    "threads": 0.25,
    "logs_mb": 0.25,
    "staging_mb": 0.0,
}
"""By what share each may be more after the last batch than after the second; what is not named here may grow."""


@dataclass(frozen=True)
class Sample:
    """What is held and kept when so many days are published; memory is resident, MB are 10^6 bytes."""

    days: int
    processes: int
    memory_mb: float
    open_files: int
    threads: int
    staging_mb: float
    logs_mb: float
    runs_mb: float
    build_mb: float
    published_mb: float


def soak(folder: Path, days: int, batch: int) -> Iterator[Sample]:
    """Deliver days in batches and say after each what is held and kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(ObjectStoreServer(folder / "s3", "offloads", "client"))
        server.write_profiles(folder / "credentials", client_profile=_PROFILE)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "credentials")
        settings = _settings(folder, server.url)
        files = WarehouseFiles(settings.warehouse)
        home = dagster_home(files)
        services = Services(folder, {"OFFLOAD_FEEDS": str(settings.file), "DAGSTER_HOME": str(home)})
        stack.callback(services.close)
        services.start()
        for delivered in range(batch, days + 1, batch):
            for number in range(delivered - batch, delivered):
                _deliver(server, FIRST_DAY + timedelta(days=number))
            wait_until(lambda now=delivered: _published_days(files) == now, services.logs, seconds=_BATCH_SECONDS)
            wait_until(lambda: not {"QUEUED", "STARTING", "STARTED"} & set(services.statuses()), services.logs)
            assert set(services.statuses()) == {"SUCCESS"}, services.logs()
            wait_until(lambda: not any(map(_is_of_a_run, services.processes())), lambda: _told(services))
            with open_instance(files) as instance:
                # Not a moment later than that: what comes after a call that was made in the future never goes.
                tidy(settings, instance, datetime.now(UTC) + timedelta(days=settings.retention.log_days or 0))
            yield _sample(delivered, services, files, home)
        assert set(services.stop().values()) == {0}, services.logs()


def _settings(folder: Path, endpoint: str) -> Settings:
    feed = {
        "name": "acme",
        "vendor": "sentiance",
        "url": "s3://offloads/client",
        "endpoint_url": endpoint,
        "aws_profile": _PROFILE,
        "app_id": APP_ID,
        "cadence": {"driving": "daily"},
        "types": ["scores_realtime"],
        "settle_hours": 0,
        "start": FIRST_DAY,
    }
    file = folder / "feeds.yaml"
    file.write_text(yaml.safe_dump({"warehouse": str(folder / "warehouse"), "feeds": [feed]}), encoding="utf-8")
    return read_settings(file)


def _deliver(server: ObjectStoreServer, day: date) -> None:
    store = S3Store(
        "offloads",
        endpoint=server.url,
        region="eu-west-1",
        access_key_id=server.admin.access_key,
        secret_access_key=server.admin.secret_key,
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)
    lines = ["timestamp,user_id,smooth", *(f"{noon + user},{user:024x},0.5" for user in range(USERS))]
    where = f"client/{day:%Y_%m_%d}_{_JOB}/{APP_ID}/scores_realtime.{APP_ID}.csv"
    part = f"{where}/part-00000-{_JOB}-c000.csv.gz"
    obstore.put(store, part, gzip.compress("\n".join(lines).encode(), mtime=0))
    obstore.put(store, f"{where}/_SUCCESS", b"")


def _published_days(files: WarehouseFiles) -> int:
    """Days of which the published file has every row."""
    if not files.published.exists():
        return 0
    with duckdb.connect(files.published, read_only=True) as connection:
        [(days,)] = connection.execute(
            "SELECT count(*) FROM (SELECT partition FROM ops.ledger WHERE status = 'loaded' GROUP BY partition "
            "HAVING sum(rows_loaded) = ? AND sum(rows_in) = ?)",
            [USERS, USERS],
        ).fetchall()
        [(rows,)] = connection.execute("SELECT count(*) FROM sentiance.scores_realtime").fetchall()
    assert rows == days * USERS, f"{rows:,} rows of {days:,} days"
    return int(days)


def _sample(days: int, services: Services, files: WarehouseFiles, home: Path) -> Sample:
    processes = services.processes()
    memory, open_files, threads = 0, 0, 0
    for process in processes:
        memory += process.memory_info().rss
        open_files += process.num_fds()
        threads += process.num_threads()
    return Sample(
        days,
        len(processes),
        round(memory / 1e6, 1),
        open_files,
        threads,
        _megabytes(files.staging),
        _megabytes(home / "storage"),
        _megabytes(home) - _megabytes(home / "storage"),
        _megabytes(files.build),
        _megabytes(files.published),
    )


def _is_of_a_run(process: psutil.Process) -> bool:
    """Whether a process is that of a run, which ends a little later than the run does."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return _FORKED in process.cmdline()
    return False


def _told(services: Services) -> str:
    """Each process that is there, with its command and for how many seconds."""
    return "\n".join(
        f"{process.pid} {process.status()} {time.time() - process.create_time():.0f} s: {' '.join(process.cmdline())}"
        for process in services.processes()
    )


def _megabytes(path: Path) -> float:
    found = [path] if path.is_file() else path.rglob("*")
    return round(sum(file.stat().st_size for file in found if file.is_file()) / 1e6, 2)


def grown(samples: list[Sample]) -> list[str]:
    """What has grown more than it may, from the second sample to the last."""
    first, last = asdict(samples[1]), asdict(samples[-1])
    return [
        f"{name}: {first[name]} after {samples[1].days} days, {last[name]} after {samples[-1].days}"
        for name, share in _FLAT.items()
        if last[name] > first[name] * (1 + share)
    ]


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write all samples to a file")
    asked = parser.parse_args()
    console = Console(width=120)
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        for sample in soak(Path(folder), asked.days, asked.batch):
            samples.append(sample)
            console.print(f"{sample.days} days", style="dim")
    table = Table(box=None, header_style="dim")
    for field in fields(Sample):
        table.add_column(field.name.replace("_mb", ", MB").replace("_", " "), justify="right")
    for sample in samples:
        table.add_row(*(f"{value:,}" for value in asdict(sample).values()))
    console.print(table)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=1), encoding="utf-8")
    wrong = grown(samples)
    console.print(*wrong or ["Nothing grows that should not."], sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
