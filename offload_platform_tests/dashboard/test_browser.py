"""An analyst in front of the dashboard: every page in a browser, over a file that `offload dashboard` was told to show.

Nothing may be asked of another machine, no page may fail, no map may be blank, and filters hold wherever they are sent.
"""

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
from datetime import date
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from offload_platform.dashboard.cells import centre_of, h3_cell, polygon_of
from offload_platform.dashboard.launch import ADDRESS, Shown
from offload_platform.dashboard.published import Published

from .made import FEED, write_beside, write_published

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; on Debian: apt-get install chromium"
)
SECONDS_TO_START, SECONDS_TO_SHOW = 120, 90
PAGES = ("", "trips", "places", "driving", "moments", "assistant", "clicks", "privacy", "quality", "dictionary")
MAPS = ("trips", "places")
SHADES_OF_A_MAP = 8
SCREENSHOTS = os.environ.get("DASHBOARD_SCREENSHOTS")
"""A folder, for those who want to look at the pages."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    shown = write_beside(tmp_path_factory.mktemp("dashboard"), 200)
    write_published(shown.file)
    return shown


@pytest.fixture(scope="module")
def url(shown: Shown) -> Iterator[str]:
    folder = shown.file.parents[2]
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    feeds = folder / "feeds.yaml"
    command = [sys.executable, "-m", "offload_platform.cli", "dashboard", "--feeds", feeds, "--port", str(port)]
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
def browser() -> Iterator[Browser]:
    # Chromium does not start as root in its sandbox; without a graphics card it draws maps by itself.
    arguments = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=SECONDS_TO_SHOW * 1000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as opened,
    ):
        yield opened


@pytest.fixture(scope="module", params=["light"])
def page(url: str, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of somebody who likes it light or dark; at its end, nobody else may have been asked and nothing failed."""
    page = browser.new_page(
        base_url=url, viewport={"width": 1400, "height": 1000}, accept_downloads=True, color_scheme=request.param
    )
    page.set_default_timeout(SECONDS_TO_SHOW * 1000)
    elsewhere: list[str] = []
    page.on("request", lambda asked: elsewhere.append(asked.url) if is_elsewhere(asked.url) else None)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
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
    check(page, name)


def check(page: Page, name: str) -> None:
    """Fail where the page that is open does."""
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
        page.screenshot(path=Path(SCREENSHOTS) / f"{name or 'overview'}_{theme_of(page)}.png")
        page.set_viewport_size({"width": 1400, "height": 1000})


def theme_of(page: Page) -> str:
    """Whether the page is light or dark, by the colour behind it."""
    colour = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    levels = [int(level) for level in colour.strip("rgba()").split(",")[:3]]
    return "dark" if sum(levels) < 3 * 128 else "light"


def filters_of(page: Page) -> dict[str, list[str]]:
    """What the address says is chosen."""
    return parse_qs(urlsplit(page.url).query)


def says(page: Page, name: str, values: list[str]) -> None:
    """Wait until the address says what was chosen, and the page is drawn."""
    end = time.monotonic() + SECONDS_TO_SHOW
    while filters_of(page).get(name) != values:
        assert time.monotonic() < end, f"{page.url} does not say {name}={values}"
        page.wait_for_timeout(200)
    settle(page)


def choose(page: Page, label: str, name: str, value: str) -> None:
    """Choose a value in a list of many."""
    page.get_by_test_id("stMultiSelect").filter(has_text=label).locator("input").click()
    page.get_by_role("option", name=value, exact=True).click()
    page.keyboard.press("Escape")
    says(page, name, [value])


def press(page: Page, label: str, value: str, name: str, said: str) -> None:
    """Press one of the buttons of which one is chosen."""
    page.get_by_test_id("stButtonGroup").filter(has_text=label).get_by_text(value, exact=True).click()
    says(page, name, [said])


def figures_of(page: Page) -> list[str]:
    return page.get_by_test_id("stMetric").all_inner_texts()


def choose_day(page: Page, label: str, name: str, day: date) -> None:
    """Type a day, as its month and its day: the year is the same."""
    page.get_by_role("spinbutton", name=f"month, {label}").focus()
    page.keyboard.type(f"{day:%m%d}")
    # It is taken when the calendar beside it closes.
    page.keyboard.press("Escape")
    says(page, name, [str(day)])


def behind(page: Page, tile: str) -> Locator:
    """What opens below a tile."""
    files = page.locator(f".st-key-{tile.replace('/', '-')}-csv")
    opener = page.get_by_test_id("stExpander").filter(has=files)
    if not files.is_visible():
        opener.locator("summary").click()
    expect(files).to_be_visible()
    return opener


def downloaded(page: Page, tile: str, kind: str) -> bytes:
    """What a tile gives to take away."""
    button = behind(page, tile).locator(f".st-key-{tile.replace('/', '-')}-{kind} button")
    with page.expect_download() as waiting:
        button.click()
    assert waiting.value.suggested_filename.startswith(tile.replace("/", "_"))
    assert waiting.value.suggested_filename.endswith(f".{kind}")
    return Path(waiting.value.path()).read_bytes()


def sql_of(page: Page, tile: str) -> str:
    return behind(page, tile).get_by_test_id("stCode").locator("code").text_content() or ""


def shades_of(drawn: Locator) -> int:
    """How many colours a part of the page has, in shades of 16; a blank map has one or two."""
    picture = np.asarray(Image.open(BytesIO(drawn.screenshot())).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3) // 16, axis=0))


def test_every_page_is_drawn_and_asks_nobody_else(page: Page) -> None:
    for name in PAGES:
        look(page, name)
        assert theme_of(page) == "light"


@pytest.mark.parametrize("page", ["dark"], indirect=True)
def test_maps_and_pages_are_drawn_in_the_dark(page: Page) -> None:
    for name in (*MAPS, "assistant"):
        look(page, name)
        assert theme_of(page) == "dark"


def test_filters_hold_on_every_page_and_are_what_the_address_says(page: Page, browser: Browser, url: str) -> None:
    look(page, "trips")
    everything = figures_of(page)
    choose(page, "Feed", "feed", FEED)
    choose(page, "Mode", "mode", "car")
    choose_day(page, "From", "from", date(2026, 11, 10))
    choose_day(page, "To", "to", date(2026, 11, 20))
    shared = filters_of(page)
    assert shared == {"feed": [FEED], "mode": ["car"], "from": ["2026-11-10"], "to": ["2026-11-20"]}
    some = figures_of(page)
    assert some != everything
    for name in PAGES[2:] + PAGES[:2]:
        page.get_by_test_id("stSidebarNavLink").and_(page.locator(f"[href='{url}/{name}']")).click()
        page.wait_for_url(lambda at, name=name: urlsplit(at).path == f"/{name}")
        check(page, name)
        assert shared.items() <= filters_of(page).items(), name
    press(page, "Cells", "large (36 km²)", "cells", "large (36 km²)")
    check(page, "trips")
    assert figures_of(page) == some
    sent = browser.new_page(viewport={"width": 1400, "height": 1000})
    sent.goto(page.url)
    check(sent, "trips")
    assert figures_of(sent) == some
    assert filters_of(sent) == filters_of(page) == {**shared, "cells": ["large (36 km²)"]}
    sent.close()


def test_filters_of_single_pages_are_what_the_address_says(page: Page) -> None:
    look(page, "places")
    choose(page, "Significance", "significance", "poi")
    press(page, "Cells", "small (0.7 km²)", "cells", "small (0.7 km²)")
    check(page, "places")
    look(page, "assistant")
    everything = figures_of(page)
    choose(page, "Channel", "channel", "web")
    press(page, "Users", "test", "users", "test")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    says(page, "guessed", ["0.45"])
    page.get_by_role("textbox", name="Search").fill("bill")
    page.keyboard.press("Enter")
    says(page, "text", ["bill"])
    check(page, "assistant")
    assert figures_of(page) != everything
    look(page, "dictionary")
    page.get_by_role("textbox", name="Search").fill("significance")
    page.keyboard.press("Enter")
    says(page, "search", ["significance"])
    check(page, "dictionary")


def test_what_is_taken_away_is_what_the_tile_says(page: Page, shown: Shown) -> None:
    published = Published(shown.file, {"h3_cell": h3_cell}, [p for one in shown.beside.values() for p in one.patterns])
    for name, tile in (("trips", "trips/flows"), ("places", "places/cells")):
        look(page, name)
        csv, parquet, geojson = (downloaded(page, tile, kind) for kind in ("csv", "parquet", "geojson"))
        rows = published.answer(sql_of(page, tile))
        assert rows.height
        assert pl.read_parquet(parquet).equals(rows)
        assert pl.read_csv(csv, schema_overrides=rows.schema).equals(rows)
        features = json.loads(geojson)["features"]
        assert [feature["properties"] for feature in features] == rows.to_dicts()
        for feature, row in zip(features, rows.to_dicts(), strict=True):
            if tile == "places/cells":
                assert feature["geometry"] == polygon_of(row["cell"])
            else:
                ends = [list(centre_of(row["origin_cell"])), list(centre_of(row["destination_cell"]))]
                assert feature["geometry"] == {"type": "LineString", "coordinates": ends}
    look(page, "assistant")
    csv, parquet = (downloaded(page, "assistant/channels", kind) for kind in ("csv", "parquet"))
    rows = pl.read_parquet(parquet)
    assert rows.equals(published.answer(sql_of(page, "assistant/channels")))
    assert rows.filter(pl.col("logins").is_null())["channel"].to_list() == ["television"]
    assert csv.decode().splitlines()[-1] == "television,<5,<5,<5"
