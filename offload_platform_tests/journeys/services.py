"""Starts, asks, stops and kills the services that docs/production.md describes."""

import configparser
import contextlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

HOST = "127.0.0.1"
DOCUMENT = Path(__file__).parents[2] / "docs" / "production.md"
SERVICES = ("code", "webserver", "daemon")
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "offload_platform"}
START_SECONDS = 120.0
STOP_SECONDS = 60.0


def documented(file: str, here: dict[str, str] | None = None) -> str:
    """A file as docs/production.md gives it, with what is elsewhere on this machine replaced."""
    [text] = re.findall(
        rf"^```\w+\n(?:#|--) (?:/\S+/)?{re.escape(file)}\n(.+?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S
    )
    for there, replacement in (here or {}).items():
        text = text.replace(there, replacement)
    return str(text)


class Services:
    """Code location, web server and daemon, started by the units of docs/production.md and with their environment."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self._sockets = Path(tempfile.mkdtemp(prefix="offload-"))  # a socket's path has room for 100 characters
        self._environment = os.environ | environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        here = {
            "/opt/offload_platform/.venv/bin/": f"{Path(sys.executable).parent}/",
            "/etc/offload/workspace.yaml": f"{folder}/workspace.yaml",
            "/run/offload/": f"{self._sockets}/",
            "--port 3000": f"--port {self.port}",
        }
        self._units = {name: configparser.RawConfigParser() for name in SERVICES}
        for name, unit in self._units.items():
            unit.read_string(documented(f"offload-{name}.service", here))
        (folder / "workspace.yaml").write_text(documented("workspace.yaml", here), encoding="utf-8")

    def start(self, *names: str) -> None:
        """Start services, all by default, each when the one before is ready."""
        for name in names or SERVICES:
            said = self._units[name]["Service"]
            variables = dict(line.split("=", 1) for line in said.get("Environment", "").splitlines())
            with (self.folder / f"{name}.log").open("ab") as log:
                process = self._processes[name] = subprocess.Popen(
                    shlex.split(said["ExecStart"]),
                    env=self._environment | variables,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                if "ExecStartPost" in said:
                    ready = shlex.split(said["ExecStartPost"])
                    subprocess.run(ready, stdout=log, stderr=log, check=True, timeout=START_SECONDS)
            if name == "webserver":
                wait_until(self._knows_the_assets, self.logs, process)

    def stop(self) -> dict[str, int]:
        """Stop the services as systemd does, the last first; returns their exit codes."""
        codes = {}
        for name in reversed(list(self._processes)):
            self._processes[name].terminate()
            codes[name] = self._processes[name].wait(STOP_SECONDS)
            del self._processes[name]
        return codes

    def kill(self, *names: str) -> None:
        """End every process of services, all by default, at once: as a power cut does."""
        killed = [self._processes.pop(name) for name in names or list(self._processes)]
        for process in killed:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in killed:
            process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._sockets)

    def processes(self) -> list[psutil.Process]:
        """Every process of the services, and of what they have begun."""
        own = [psutil.Process(process.pid) for process in self._processes.values()]
        return own + [child for process in own for child in process.children(recursive=True)]

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("*.log")))

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer of the web server to a GraphQL query."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=START_SECONDS) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def launch(self, asset: list[str], partition: str) -> str:
        """Launch a run of one partition, as the UI does; returns its id."""
        launched = self.ask(
            """mutation ($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
            } }""",
            parameters={
                "selector": LOCATION | {"jobName": "__ASSET_JOB", "assetSelection": [{"path": asset}]},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def backfill(self, asset: list[str], partitions: list[str]) -> str:
        """Launch a backfill; returns its id."""
        launched = self.ask(
            """mutation ($parameters: LaunchBackfillParams!) {
                launchPartitionBackfill(backfillParams: $parameters) {
                    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
                }
            }""",
            parameters={"assetSelection": [{"path": asset}], "partitionNames": partitions},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill_status(self, backfill: str) -> str:
        return str(
            self.ask(
                "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill "
                "{ status } } }",
                id=backfill,
            )["partitionBackfillOrError"]["status"]
        )

    def runs(self) -> list[dict[str, Any]]:
        """All runs: id, status, and the run of which each is the retry."""
        found = self.ask("{ runsOrError { ... on Runs { results { runId status parentRunId } } } }")
        return list(found["runsOrError"]["results"])

    def statuses(self) -> list[str]:
        """Status of every run, in alphabetical order."""
        return sorted(run["status"] for run in self.runs())

    def status(self, run_id: str) -> str:
        [status] = [run["status"] for run in self.runs() if run["runId"] == run_id]
        return str(status)

    def stop_sensors(self) -> None:
        """Stop every sensor, so that nothing is loaded that the test did not ask for."""
        found = self.ask(
            "query ($location: RepositorySelector!) { sensorsOrError(repositorySelector: $location) "
            "{ ... on Sensors { results { id } } } }",
            location=LOCATION,
        )["sensorsOrError"]["results"]
        assert found
        for sensor in found:
            stopped = self.ask("mutation ($id: String) { stopSensor(id: $id) { __typename } }", id=sensor["id"])
            assert stopped["stopSensor"]["__typename"] == "StopSensorMutationResult", stopped

    def _knows_the_assets(self) -> bool:
        try:
            return bool(self.ask("{ assetNodes { id } }")["assetNodes"])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def free_port() -> int:
    # Below the range from which systems number outgoing connections.
    for port in random.SystemRandom().sample(range(10_000, 32_000), 50):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise AssertionError(f"no free port of {HOST} among 50")


def wait_until(
    happened: Callable[[], bool],
    logs: Callable[[], str],
    process: subprocess.Popen[bytes] | None = None,
    seconds: float = START_SECONDS,
) -> None:
    """Wait for something; fails with the logs when it takes too long or the process ends."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, logs()
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{logs()}"
        time.sleep(0.5)
