"""How the dashboard is started: what Streamlit is told, and what it takes to run."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict

EXTRA = "offload-platform[dashboard]"
VARIABLE = "OFFLOAD_DASHBOARD"
"""How the command tells the script what it shows; nobody has to set it."""

SMALLEST_GROUP = 5

APP = Path(__file__).with_name("app.py")
ADDRESS = "127.0.0.1"
_HOSTS = (ADDRESS, "localhost")
_OPTIONS: Mapping[str, str] = {
    # Streamlit has no login, and listens on all addresses by default.
    "server.address": ADDRESS,
    # Without a browser that is opened for somebody who may not sit there, and without a question for an address.
    "server.headless": "true",
    "server.fileWatcherType": "none",
    # What a script merely names is not meant to be shown.
    "runner.magicEnabled": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "theme.base": str(Path(__file__).with_name("theme.toml")),
}


class Beside(BaseModel):
    """What stands beside the published file: a query over files, and what the names of these files are like."""

    model_config = ConfigDict(frozen=True)

    sql: str
    patterns: tuple[str, ...]


class Shown(BaseModel):
    """What is shown.

    `file` is the published one, `basemap` the URL of a map style, `beside` what tiles read beside the file, by the name
    of their parameter. Where that tells of persons, groups of fewer than `smallest_group` are not told.
    """

    model_config = ConfigDict(frozen=True)

    file: Path
    basemap: str | None = None
    beside: dict[str, Beside] = {}
    smallest_group: int = SMALLEST_GROUP


def is_installed() -> bool:
    """Whether what the dashboard needs beside the platform is there."""
    return find_spec("streamlit") is not None


def command_of(port: int) -> list[str]:
    """The command that serves the dashboard on this machine alone."""
    options = [f"--{name}={value}" for name, value in (dict(_OPTIONS) | {"server.port": str(port)}).items()]
    # Pages of other sites that let their name point to this machine are refused.
    options += [f"--server.allowedHosts={host}" for host in _HOSTS]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *options]


def environment_of(shown: Shown) -> dict[str, str]:
    """The environment of that command: this process's, and what to show."""
    return dict(os.environ) | {VARIABLE: shown.model_dump_json()}


def shown_by(environment: Mapping[str, str]) -> Shown:
    """What that command was told to show."""
    return Shown.model_validate_json(environment[VARIABLE])
