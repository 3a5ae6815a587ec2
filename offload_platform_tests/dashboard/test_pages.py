"""Every page, in this process: with data, without, and while new files are published."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from offload_platform.dashboard.launch import APP, VARIABLE, Shown

from ..benchmarks.pages import measured
from .made import DAYS, FEED, REPORT, SECRET, write_beside, write_empty, write_published

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
def told(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    told = write_beside(tmp_path_factory.mktemp("acme"), 24)
    write_published(told.file, 24)
    return told


def opened(monkeypatch: pytest.MonkeyPatch, told: Shown, page: str = "overview", **address: list[str]) -> AppTest:
    """A page, as it is first seen."""
    monkeypatch.setenv(VARIABLE, told.model_dump_json())
    app = AppTest.from_file(str(APP), default_timeout=SECONDS_FOR_A_PAGE)
    for name, values in address.items():
        app.query_params[name] = values
    app.run()
    return app.switch_page(f"screens/{page}.py").run()


def shown(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_tiles(monkeypatch: pytest.MonkeyPatch, told: Shown, page: str) -> None:
    app = opened(monkeypatch, told, page)
    assert not app.exception
    assert not app.error
    assert len(app.code) == len(list((APP.parent / "tiles" / page).glob("*.sql"))), "each tile shows its SQL"
    assert not any("$" in code.value for code in app.code)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_warehouse_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    write_empty(tmp_path / "offloads.duckdb")
    app = opened(monkeypatch, Shown(file=tmp_path / "offloads.duckdb"), page)
    assert not app.exception
    assert not app.error
    assert app.info or page == "dictionary"
    assert not app.metric


def test_nothing_published_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, Shown(file=tmp_path / "offloads.duckdb").model_dump_json())
    app = AppTest.from_file(str(APP), default_timeout=SECONDS_FOR_A_PAGE).run()
    assert not app.exception
    assert "offload run" in app.warning[0].value


def test_filters_change_what_is_shown_and_come_from_the_address(monkeypatch: pytest.MonkeyPatch, told: Shown) -> None:
    everything = shown(opened(monkeypatch, told, "trips"))["Trips"]
    some = opened(monkeypatch, told, "trips", mode=["car"], **{"from": ["2026-11-20"]})
    assert everything == f"{24 * DAYS * 2:,}"
    assert shown(some)["Trips"] == f"{24 // 4 * 2 * 2:,}", "of one mode in four, on two days"
    other = opened(monkeypatch, told, "trips", feed=["acme_shop"])
    assert not other.exception
    assert "Trips" not in shown(other)
    assert other.info
    assert shown(opened(monkeypatch, told, "trips", feed=[FEED]))["Trips"] == everything


def test_groups_of_few_logins_are_shown_as_such(monkeypatch: pytest.MonkeyPatch, told: Shown) -> None:
    app = opened(monkeypatch, told, "assistant", channel=["television"])
    assert not app.exception
    assert set(shown(app).values()) == {"<5"}
    app = opened(monkeypatch, told, "assistant")
    assert shown(app)["Messages"] == f"{21 * DAYS * 4:,}", "of 24 users, three test the assistant"
    assert any("1 of 3 groups" in caption.value and "<5" in caption.value for caption in app.caption)
    texts = [cell for table in app.dataframe for column in table.value.columns for cell in table.value[column]]
    assert "<5" in texts
    assert "hello" in texts
    assert not any(SECRET in str(text) for text in texts), "what one login has written is not shown"


def test_messages_that_cannot_be_read_are_told_by_each_tile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = write_beside(tmp_path, 1, 1)
    write_published(told.file, 1, 1)
    Path(told.beside["messages"].patterns[0]).with_name("2026-11-20.parquet").write_text("no rows")
    app = opened(monkeypatch, told, "assistant")
    assert not app.exception
    assert len(app.error) == len(list((APP.parent / "tiles" / "assistant").glob("*.sql")))
    assert all("Reload the page" in error.value for error in app.error)


def test_filters_of_the_assistant_come_from_the_address(monkeypatch: pytest.MonkeyPatch, told: Shown) -> None:
    app = opened(monkeypatch, told, "assistant", users=["test"], channel=["web"], guessed=["0.3"], text=["bill"])
    assert shown(app)["Messages"] == f"{3 * DAYS * 4:,}", "users 7, 15 and 23, who are all on the web"
    assert app.slider[0].value == 0.3
    assert app.text_input[0].value == "bill"
    assert shown(opened(monkeypatch, told, "assistant", users=["all"]))["Messages"] == f"{24 * DAYS * 4:,}"


def test_missed_targets_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, told: Shown) -> None:
    app = opened(monkeypatch, told, "privacy")
    assert shown(app)["Targets missed"] == str(len(REPORT.missed))
    missed = next(table.value for table in app.dataframe if "next_step" in table.value.columns)
    assert list(missed["what"]) == ["next trips of the same person", "fewest persons who tell the same"]
    assert all(missed["next_step"].str.endswith("."))


def test_a_period_that_ends_before_it_begins_is_told(monkeypatch: pytest.MonkeyPatch, told: Shown) -> None:
    app = opened(monkeypatch, told, "trips", **{"from": ["2026-11-20"], "to": ["2026-11-10"]})
    assert not app.exception
    assert "after its end" in app.error[0].value


def test_pages_are_of_one_file_while_new_ones_are_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "offloads.duckdb"
    write_published(file, 4)
    app = opened(monkeypatch, Shown(file=file), "trips")
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


def test_what_pages_cost_can_be_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    costs = measured(tmp_path, 100, 100)
    assert set(costs) == set(PAGES)
    assert all(cost["cpu"] > 0 for cost in costs.values())
