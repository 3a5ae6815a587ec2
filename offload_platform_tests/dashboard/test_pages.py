"""Every page, in this process: with data, without, and while new files are published."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from offload_platform.dashboard.launch import APP, FILE_VARIABLE

from .made import DAYS, FEED, write_empty, write_published

PAGES = sorted(file.stem for file in APP.with_name("screens").glob("*.py"))
SECONDS_FOR_A_PAGE = 120
NEW_FILES = 20
_PUBLISHER = """
import sys
from pathlib import Path
from offload_platform_tests.dashboard.made import write_published
for people in range(1, int(sys.argv[2]) + 1):
    write_published(Path(sys.argv[1]), 4 * people)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("published") / "offloads.duckdb"
    write_published(file, 24)
    return file


def opened(monkeypatch: pytest.MonkeyPatch, file: Path, page: str = "overview", **address: list[str]) -> AppTest:
    """A page, as it is first seen."""
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    app = AppTest.from_file(str(APP), default_timeout=SECONDS_FOR_A_PAGE)
    for name, values in address.items():
        app.query_params[name] = values
    app.run()
    return app.switch_page(f"screens/{page}.py").run()


def shown(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_tiles(monkeypatch: pytest.MonkeyPatch, file: Path, page: str) -> None:
    app = opened(monkeypatch, file, page)
    assert not app.exception
    assert not app.error
    assert len(app.code) == len(list((APP.parent / "tiles" / page).glob("*.sql"))), "each tile shows its SQL"
    assert not any("$" in code.value for code in app.code)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_warehouse_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    write_empty(tmp_path / "offloads.duckdb")
    app = opened(monkeypatch, tmp_path / "offloads.duckdb", page)
    assert not app.exception
    assert not app.error
    assert app.info or page == "dictionary"
    assert not app.metric


def test_nothing_published_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "offloads.duckdb"))
    app = AppTest.from_file(str(APP), default_timeout=SECONDS_FOR_A_PAGE).run()
    assert not app.exception
    assert "offload run" in app.warning[0].value


def test_filters_change_what_is_shown_and_come_from_the_address(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    everything = shown(opened(monkeypatch, file, "trips"))["Trips"]
    some = opened(monkeypatch, file, "trips", mode=["car"], **{"from": ["2026-11-20"]})
    assert everything == f"{24 * DAYS * 2:,}"
    assert shown(some)["Trips"] == f"{24 // 4 * 2 * 2:,}", "of one mode in four, on two days"
    other = opened(monkeypatch, file, "trips", feed=["acme_shop"])
    assert not other.exception
    assert "Trips" not in shown(other)
    assert other.info
    assert shown(opened(monkeypatch, file, "trips", feed=[FEED]))["Trips"] == everything


def test_a_period_that_ends_before_it_begins_is_told(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    app = opened(monkeypatch, file, "trips", **{"from": ["2026-11-20"], "to": ["2026-11-10"]})
    assert not app.exception
    assert "after its end" in app.error[0].value


def test_pages_are_of_one_file_while_new_ones_are_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "offloads.duckdb"
    write_published(file, 4)
    app = opened(monkeypatch, file, "trips")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    publisher = subprocess.Popen([sys.executable, "-c", _PUBLISHER, file, str(NEW_FILES)], env=environment)
    seen = set()
    while publisher.poll() is None:
        figures = shown(app.run())
        assert not app.exception
        assert not app.error
        people = int(figures["People"])
        assert figures["Trips"] == f"{people * DAYS * 2:,}", "all figures are of one file"
        seen.add(people)
    assert publisher.returncode == 0
    assert len(seen) > 1
    assert shown(app.run())["People"] == str(4 * NEW_FILES), "the newest file is shown"
