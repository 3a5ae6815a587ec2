"""The Dagster UI as a user starts it (`offload dev`), and a browser in front of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from offload_platform.settings import FEEDS_VARIABLE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Path of the system's Chromium, if it has one."""

_SECONDS_TO_START = 180
_SECONDS_TO_STOP = 90
_SECONDS_TO_SHOW = 90
_LINES_OF_LOG = 40


class DagsterUi:
    """A running `offload dev`."""

    def __init__(self, feeds_file: Path, folder: Path) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._feeds_file = feeds_file.resolve()
        self._log = folder / "offload_dev.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "offload_platform.cli", "dev", "--feeds", feeds_file, "--port", str(port)],
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process of the command."""
        return self._process.pid

    def wait_until_up(self) -> None:
        """Wait for the web server and the definitions; fails with the end of the log."""
        end = time.monotonic() + _SECONDS_TO_START
        while not self._is_up():
            if self._process.poll() is not None:
                pytest.fail(f"`offload dev` ended with exit code {self._process.returncode}.{self._end_of_log()}")
            if time.monotonic() > end:
                pytest.fail(f"`offload dev` is not up after {_SECONDS_TO_START} s.{self._end_of_log()}")
            time.sleep(0.3)

    def stop(self) -> None:
        """Press Ctrl-C; fails if a process outlives the command, and ends it."""
        self._process.send_signal(signal.SIGINT)
        end = time.monotonic() + _SECONDS_TO_STOP
        while (left := self._processes()) and time.monotonic() < end:
            time.sleep(0.3)
        for process in left:
            os.kill(process, signal.SIGKILL)
        self._process.wait()
        assert not left, f"{len(left)} processes are still there {_SECONDS_TO_STOP} s after Ctrl-C.{self._end_of_log()}"

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer to a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            said = json.load(response)
        assert "errors" not in said, said["errors"]
        return said["data"]

    def materialised_at(self, *key: str) -> list[float]:
        """When an asset was materialised, in order; in seconds since 1970."""
        query = """query ($key: AssetKeyInput!) {
            assetNodeOrError(assetKey: $key) { ... on AssetNode { assetMaterializations { timestamp } } }
        }"""
        events = self.ask(query, key={"path": key})["assetNodeOrError"]["assetMaterializations"]
        return sorted(int(event["timestamp"]) / 1000 for event in events)

    def _is_up(self) -> bool:
        query = """{
            workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
        }"""
        try:
            entries = self.ask(query)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False
        loaded = [entry["locationOrLoadError"]["__typename"] for entry in entries if entry["locationOrLoadError"]]
        assert "PythonError" not in loaded, f"The definitions do not load.{self._end_of_log()}"
        return bool(loaded)

    def _processes(self) -> list[int]:
        """The command's process, and all that have inherited its configuration, in whichever session they are."""
        mark = f"{FEEDS_VARIABLE}={self._feeds_file}\0".encode()
        heirs = [int(file.parent.name) for file in Path("/proc").glob("[0-9]*/environ") if mark in _read(file)]
        return heirs + ([self._process.pid] if self._process.poll() is None else [])

    def _end_of_log(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f" The end of {self._log}:", *lines[-_LINES_OF_LOG:]])


@contextmanager
def dagster_ui(feeds_file: Path, folder: Path) -> Iterator[DagsterUi]:
    """Run `offload dev` over a configuration, on a free port; its log goes to the folder."""
    ui = DagsterUi(feeds_file, folder)
    try:
        ui.wait_until_up()
        yield ui
    finally:
        ui.stop()


@contextmanager
def page_of(ui: DagsterUi) -> Iterator[Page]:
    """A page in the system's Chromium. Dagster's invitation of newcomers, which covers everything, is closed before."""
    ui.ask("mutation { setNuxSeen }")
    # Chromium does not start as root in its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as opened,
    ):
        page = opened.new_page(base_url=ui.url, viewport={"width": 1500, "height": 1100})
        page.set_default_timeout(_SECONDS_TO_SHOW * 1000)
        expect.set_options(timeout=_SECONDS_TO_SHOW * 1000)
        yield page


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # the process has ended, or is another user's
        return b""
