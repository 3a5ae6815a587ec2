"""An engineer in the Dagster UI: nine weeks backfilled by hand, how fresh the vendor is, and why a check failed."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Page, expect

from offload_platform.landing.masking import MASK, NOT_SHOWN
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.simulation import Simulation

from .dagster_ui import CHROMIUM, DagsterUi, dagster_ui, page_of

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; on Debian: apt-get install chromium"
)

WEEKS = 9
TYPES = ("stationaries", "segments")
TABLE = "/assets/acme/stationaries"
ROWS_IN_SAMPLE, LONGEST_ROW = 10, 200
SECONDS_TO_BACKFILL, SECONDS_TO_PUBLISH = 600, 180
Make = Callable[..., Any]


@dataclass(frozen=True)
class Archive:
    """Nine weekly deliveries, the one in the middle with broken rows; the newest alone is below the feed's root."""

    folder: Path
    feeds_file: Path
    weeks: tuple[str, ...]
    broken_week: str

    def deliver_all(self) -> None:
        shutil.copytree(self.folder / "archive", self.folder / "delivered", dirs_exist_ok=True)

    def broken_rows(self) -> list[dict[str, Any]]:
        """What was planted in the stationaries."""
        lines = (self.folder / "planted" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        return [said for said in map(json.loads, lines) if said["offload_type"] == "stationaries"]


@dataclass(frozen=True)
class Backfill:
    """A backfill that has ended: when it was launched, and when the file had been published before."""

    launched_at: float
    published_before: list[float]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, feed_of: Make, feeds_yaml: Make) -> Archive:
    folder = tmp_path_factory.mktemp("archive")
    # They end yesterday, because the UI offers the partitions of the last 90 days.
    newest = datetime.now(UTC).replace(microsecond=499_000) - timedelta(days=1)
    first = newest - timedelta(weeks=WEEKS - 1)
    simulation = Simulation(users=20, first_stamp=first, snapshots=WEEKS, window_days=14, types=TYPES)
    broken = replace(simulation, first_stamp=simulation.stamps[WEEKS // 2], snapshots=1, faults=0.02)
    write_deliveries(simulation, folder / "archive")
    write_deliveries(broken, folder / "archive", folder / "planted")
    write_deliveries(replace(simulation, first_stamp=newest, snapshots=1), folder / "delivered")
    feed = feed_of((folder / "delivered").as_uri(), types=TYPES, start=first.date())
    weeks = tuple(f"{stamp:%Y-%m-%d}" for stamp in simulation.stamps)
    return Archive(folder, feeds_yaml(folder, feed), weeks, weeks[WEEKS // 2])


@pytest.fixture(scope="module")
def ui(archive: Archive, offload: Make) -> Iterator[DagsterUi]:
    """The UI over a warehouse that holds the newest delivery, so that the sensor has no load to ask for."""
    said = offload("run", "--feeds", archive.feeds_file)
    assert said.code == 0, said.out + said.err
    with dagster_ui(archive.feeds_file, archive.folder) as ui:
        yield ui


@pytest.fixture(scope="module")
def window(archive: Archive, ui: DagsterUi) -> Iterator[Page]:
    with page_of(ui) as page:
        yield page
        page.screenshot(path=archive.folder / "last_page.png")


@pytest.fixture
def page(window: Page, tmp_path: Path) -> Iterator[Page]:
    """The browser's page; what it shows in the end is kept as a picture."""
    yield window
    window.screenshot(path=tmp_path / "page.png")


@pytest.fixture(scope="module")
def backfill(archive: Archive, ui: DagsterUi, window: Page) -> Backfill:
    """Older weeks arrive while the sensor is off, and all nine are backfilled from the table's page."""
    switch_the_sensor_off(window)
    archive.deliver_all()
    window.goto(f"{TABLE}?view=partitions")
    expect(window.get_by_text("Materialized (1)")).to_be_visible()
    launched = Backfill(time.time(), ui.materialised_at("published_file"))
    window.get_by_role("button", name="Materialize…").click()
    dialog = window.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill(f"[{archive.weeks[0]}...{archive.weeks[-1]}]")
    window.keyboard.press("Enter")
    expect(dialog).to_contain_text(f"{WEEKS} partitions")
    dialog.get_by_role("button", name="Launch backfill").click()
    window.get_by_role("link", name="View", exact=True).click()
    ended = re.compile(r"Status\s+(Succeeded|Failed|Canceled)")
    expect(window.locator("body")).to_have_text(ended, use_inner_text=True, timeout=SECONDS_TO_BACKFILL * 1000)
    return launched


def switch_the_sensor_off(page: Page) -> None:
    """After its first look, which reports the newest delivery and asks for no load."""
    page.goto("/automation")
    page.get_by_role("link", name="acme_arrivals").click()
    expect(page.get_by_text("0 runs requested").first).to_be_visible()
    switch = page.get_by_role("checkbox")
    expect(switch).to_be_checked()
    page.locator("label", has=switch).click()
    expect(switch).not_to_be_checked()


@pytest.mark.usefixtures("backfill")
def test_a_backfill_of_nine_weeks_turns_green(page: Page) -> None:
    expect(page).to_have_url(re.compile("/runs/b/"))
    targeted, under_way, succeeded, failed = WEEKS, 0, WEEKS, 0
    expect(page.locator("body")).to_have_text(
        re.compile(
            rf"Status\s+Succeeded.*100% completed\s+{targeted}\s+{under_way}\s+{succeeded}\s+{failed}\b", re.DOTALL
        ),
        use_inner_text=True,
    )
    page.goto(f"{TABLE}?view=partitions")
    for state in (f"Materialized ({WEEKS})", "Failed (0)", "Missing (0)"):
        expect(page.get_by_text(state)).to_be_visible()


def test_the_delivery_says_how_fresh_the_vendor_is(
    archive: Archive, backfill: Backfill, ui: DagsterUi, page: Page
) -> None:
    page.goto(f"{TABLE}/delivery")
    body = page.locator("body")
    arrived = rf"Latest materialization\s+.+ ago\s+{archive.weeks[-1]}"
    shown = rf"{arrived}\s+Latest check results\s+1\s+Freshness policy\s+Passing"
    expect(body).to_have_text(re.compile(shown), use_inner_text=True)
    expect(body).to_have_text(
        re.compile(r"Fails if more than \d+ days since last materialization"), use_inner_text=True
    )
    [reported] = ui.materialised_at("acme", "stationaries", "delivery")
    assert reported < backfill.launched_at, "a backfill does not make a vendor look fresh"


@pytest.mark.usefixtures("backfill")
def test_the_failed_check_tells_why_and_shows_rows(archive: Archive, page: Page) -> None:
    page.goto(TABLE)
    page.get_by_role("tab", name="Checks").click()
    page.get_by_text("rows_keep_the_contract").first.click()
    expect(page.get_by_text("Rows that break the contract are set aside")).to_be_visible()
    page.get_by_role("tab", name="Partitions").last.click()
    expect(page.get_by_text("Failed (1)", exact=True)).to_be_visible()
    page.get_by_text(archive.broken_week).first.click()
    broken = archive.broken_rows()
    expect(page.get_by_text(re.compile(rf"^{len(broken)} of \d+ rows \([\d.]+%\) are in quarantine"))).to_be_visible()
    said = squeezed(page.locator("body").inner_text())
    assert broken
    for row in broken:
        [reason] = row["reasons"]
        assert squeezed(reason) in said
    assert said.count(MASK) + said.count(squeezed(NOT_SHOWN)) >= min(len(broken), ROWS_IN_SAMPLE)
    assert not [row for row in broken if squeezed(row["raw"][:LONGEST_ROW]) in said], "no row is shown unmasked"
    page.get_by_text("row as delivered", exact=True).scroll_into_view_if_needed()
    right_edges = "[...document.querySelectorAll('table')].map(table => table.getBoundingClientRect().right)"
    assert max(page.evaluate(right_edges)) <= page.evaluate("window.innerWidth"), "tables reach beyond the page"


def test_the_file_is_published_once_when_all_weeks_are_loaded(
    archive: Archive, backfill: Backfill, ui: DagsterUi, page: Page
) -> None:
    end = time.monotonic() + SECONDS_TO_PUBLISH
    while (published := ui.materialised_at("published_file")) == backfill.published_before:
        assert time.monotonic() < end, f"not published {SECONDS_TO_PUBLISH} s after the backfill"
        time.sleep(1)
    loads = ui.materialised_at("acme", "stationaries")
    assert len(loads) == 1 + WEEKS
    assert len(published) == len(backfill.published_before) + 1
    assert published[-1] > loads[-1]
    file = archive.folder / "warehouse" / "published" / "offloads.duckdb"
    with duckdb.connect(file, read_only=True) as connection:
        counted = "SELECT count(DISTINCT known_from) FILTER (change_kind = 'new'), count(*) FROM history.stationaries"
        [(deliveries, versions)] = connection.execute(counted).fetchall()
    assert deliveries == WEEKS, "each week brought stays that are new"
    page.goto("/assets/published_file")
    expect(page.get_by_text(f'"history.stationaries": {versions}')).to_be_visible()
    expect(page.get_by_text(str(file))).to_be_visible()


def squeezed(text: str) -> str:
    """A text without white space, and without the places where the UI may break it."""
    return "".join(text.replace("\u200b", "").split())
