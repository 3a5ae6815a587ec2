"""Runs, a sensor's loads and analysts at once: nobody is told of a lock, nothing is lost, and nothing is torn."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from offload_platform.orchestration.arrivals import arrivals_of
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.resources import source_key, source_of, warehouse_in
from offload_platform.settings import read_settings
from offload_platform.warehouse import publish as publishing
from offload_platform.warehouse.files import WarehouseFiles

DAYS = ("2018-12-08", "2018-12-15", "2018-12-22")
PUBLISHES = 50
Make = Callable[..., Any]


def test_two_runs_and_the_loads_of_a_sensor_at_once(
    tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them load the same partitions: what a backfill does beside a sensor, and people beside both."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for number, day in enumerate(DAYS, 1):
        vendor_folder.part(day, [f"{user:024x},,behavior.early_bird" for user in range(number * 100)])
    feeds = feeds_yaml(tmp_path, feed_of(vendor_folder.url, types=("segments",)))
    settings = read_settings(feeds)
    [feed] = settings.feeds
    files = WarehouseFiles(settings.warehouse)
    with open_instance(files, capture_output=False) as instance:
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "offload_platform.cli", "run", "--feeds", feeds, "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        definitions = build_definitions(settings)
        context = dg.build_sensor_context(
            instance=instance,
            resources={"warehouse": warehouse_in(settings.warehouse), source_key(feed): source_of(feed)},
            definitions=definitions,
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        for request in arrivals_of(feed).evaluate_tick(context).run_requests or ():
            result = job.execute_in_process(
                partition_key=request.partition_key, asset_selection=request.asset_selection, instance=instance
            )
            assert result.success
        for process in runs:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, out + err
            assert "lock" not in (out + err).lower()
            assert json.loads(out)["publishing_error"] is None
    assert files.is_published
    with duckdb.connect(files.published, read_only=True) as connection:
        for table in ("ops.ledger", "ops.receipts"):
            found = connection.execute(f"SELECT DISTINCT partition, rows_loaded FROM {table} ORDER BY ALL").fetchall()
            assert found == [(day, 100 * number) for number, day in enumerate(DAYS, 1)], table
        assert connection.execute("SELECT count(*) FROM ops.ledger").fetchall() == [(len(DAYS),)]
        assert connection.execute("SELECT count(*) FROM sentiance.segments").fetchall() == [(300,)]
    assert list(files.staging.iterdir()) == []


ANALYST = """
import json, sys, threading, duckdb
file, holds = sys.argv[1], sys.argv[2] == "holds"
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
ASKED = "SELECT (SELECT count(*) FROM sentiance.segments), (SELECT sum(rows_loaded)::BIGINT FROM ops.ledger)"
seen, looks = [], 0
if holds:
    connection = duckdb.connect(file, read_only=True)
    connection.execute("SET enable_progress_bar = false")
    [rows] = connection.execute(ASKED).fetchall()
    open_query = connection.execute("SELECT user_id FROM sentiance.segments, range(1000) ORDER BY range, user_id")
    got = len(open_query.fetchmany(10))
print("reads", flush=True)
if holds:
    while not ended.wait(0.5):
        got += len(open_query.fetchmany(10))
        looks += 1
    got += len(open_query.fetchall())
    assert got == 1000 * rows[0], (got, rows)
    seen = [rows]
else:
    while not ended.wait(0.3):
        with duckdb.connect(file, read_only=True) as connection:
            for _ in range(3):
                [rows] = connection.execute(ASKED).fetchall()
                seen += [rows] if rows not in seen else []
            looks += 1
print(json.dumps({"seen": seen, "looks": looks}), flush=True)
"""


def holds_deleted_file(pid: int) -> bool:
    """Whether a process still reads a published file that another has taken the place of."""
    files = Path(f"/proc/{pid}/fd")
    return any("offloads.duckdb (deleted)" in str(one.readlink()) for one in files.iterdir() if one.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are looked up in /proc")
def test_analysts_read_on_while_the_file_is_published_again_and_again(
    warehouse: Any, vendor_folder: Any, feed_of: Make, partition: Make
) -> None:
    feed = feed_of(vendor_folder.url, types=("segments",))

    def deliver(users: int) -> None:
        vendor_folder.part(DAYS[0], [f"{user:024x},,behavior.early_bird" for user in range(users)])
        warehouse.load(feed, partition(DAYS[0]))

    def publish() -> None:
        with warehouse.writing() as connection:
            publishing.publish(connection, warehouse.files)

    deliver(10)
    publish()
    analysts = [
        subprocess.Popen(
            [sys.executable, "-c", ANALYST, str(warehouse.files.published), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for how in ("holds", "opens", "opens")
    ]
    try:
        for analyst in analysts:
            assert analyst.stdout is not None
            assert analyst.stdout.readline() == "reads\n"
        for number in range(1, PUBLISHES + 1):
            if number % 10 == 0:
                deliver(10 + number)
            publish()
            assert [file.name for file in warehouse.files.published.parent.iterdir()] == ["offloads.duckdb"]
        assert holds_deleted_file(analysts[0].pid), "who reads the first file still has it"
    finally:
        told = [analyst.communicate(timeout=60) for analyst in analysts]
    assert [analyst.returncode for analyst in analysts] == [0, 0, 0], told
    first, *others = [json.loads(out.splitlines()[-1]) for out, _ in told]
    assert first["seen"] == [[10, 10]]
    for other in others:
        assert other["looks"] > 2
        assert all(rows == of_the_ledger for rows, of_the_ledger in other["seen"]), "no file is torn"
        assert other["seen"] == sorted(other["seen"]), "nobody sees an older file after a newer one"
        assert len(other["seen"]) > 1
    # The last reader has gone, and with it the old file: what is there is the last one alone.
    with duckdb.connect(warehouse.files.published, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM sentiance.segments").fetchall() == [(10 + PUBLISHES,)]
