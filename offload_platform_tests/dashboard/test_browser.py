"""An analyst in front of the dashboard: every page in a browser, over a file that `offload dashboard` was told to show.

Nothing may be asked of another machine, no page may fail, and no map may be blank.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from offload_platform.dashboard.launch import ADDRESS

from .made import write_published

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; on Debian: apt-get install chromium"
)
SECONDS_TO_START, SECONDS_TO_SHOW = 120, 90
PAGES = ("", "trips", "places", "driving", "moments", "clicks", "quality", "dictionary")
MAPS = ("trips", "places")
SHADES_OF_A_MAP = 8
SCREENSHOTS = os.environ.get("DASHBOARD_SCREENSHOTS")
"""A folder, for those who want to look at the pages."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dashboard")
    file = folder / "offloads.duckdb"
    write_published(file)
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "offload_platform.cli", "dashboard", "--file", file, "--port", str(port)]
    log = folder / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=folder, stdout=written, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + SECONDS_TO_START
        while not is_up(f"http://{ADDRESS}:{port}/_stcore/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.3)
        yield f"http://{ADDRESS}:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    # Chromium does not start as root in its sandbox; without a graphics card it draws maps by itself.
    arguments = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as opened,
    ):
        page = opened.new_page(base_url=url, viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        page.set_default_timeout(SECONDS_TO_SHOW * 1000)
        expect.set_options(timeout=SECONDS_TO_SHOW * 1000)
        elsewhere: list[str] = []
        page.on("request", lambda asked: elsewhere.append(asked.url) if is_elsewhere(asked.url) else None)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        assert elsewhere == []
        assert errors == []


def is_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != ADDRESS


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def settle(page: Page) -> None:
    """Wait until the page is drawn."""
    expect(page.get_by_test_id("stAppViewContainer")).to_be_visible()
    expect(page.get_by_test_id("stHeading").first).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


def look(page: Page, name: str) -> None:
    """Open a page, and fail where it does."""
    page.goto(f"/{name}")
    settle(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    if name in MAPS:
        drawn = page.get_by_test_id("stDeckGlJsonChart")
        expect(drawn).to_be_visible()
        end = time.monotonic() + SECONDS_TO_SHOW
        while (shades := shades_of(drawn)) < SHADES_OF_A_MAP:
            assert time.monotonic() < end, f"the map of {name} has {shades} shades only"
            time.sleep(1)
    if SCREENSHOTS:
        page.wait_for_timeout(1500)
        page.set_viewport_size({"width": 1400, "height": 2200})
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name or 'overview'}.png")
        page.set_viewport_size({"width": 1400, "height": 1000})


def shades_of(drawn: Locator) -> int:
    """How many colours a part of the page has, in shades of 16; a blank map has one or two."""
    picture = np.asarray(Image.open(BytesIO(drawn.screenshot())).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3) // 16, axis=0))


def test_every_page_is_drawn_and_asks_nobody_else(page: Page) -> None:
    for name in PAGES:
        look(page, name)
