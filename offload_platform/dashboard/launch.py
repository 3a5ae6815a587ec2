"""How the dashboard is started: what Streamlit is told, and what it takes to run."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

EXTRA = "offload-platform[dashboard]"
FILE_VARIABLE, BASEMAP_VARIABLE = "OFFLOAD_DASHBOARD_FILE", "OFFLOAD_DASHBOARD_BASEMAP"
"""How the command tells the script which file it shows, and on which map; nobody has to set them."""

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


def is_installed() -> bool:
    """Whether what the dashboard needs beside the platform is there."""
    return find_spec("streamlit") is not None


def command_of(port: int) -> list[str]:
    """The command that serves the dashboard on this machine alone."""
    options = [f"--{name}={value}" for name, value in (dict(_OPTIONS) | {"server.port": str(port)}).items()]
    # Pages of other sites that let their name point to this machine are refused.
    options += [f"--server.allowedHosts={host}" for host in _HOSTS]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *options]


def environment_of(file: Path, basemap: str | None) -> dict[str, str]:
    """The environment of that command: this process's, the file to show, and the URL of a map style or none."""
    return dict(os.environ) | {FILE_VARIABLE: str(file.resolve()), BASEMAP_VARIABLE: basemap or ""}
