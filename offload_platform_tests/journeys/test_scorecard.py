"""A vendor's eight weeks with every kind of trouble, from its folder to the scorecard that is sent back to it."""

import csv
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from offload_platform.landing.deliveries import Discovery, discover
from offload_platform.landing.store import DeliveryStore
from offload_platform.scorecard_files import Scorecard, csv_text, hours, html_page, said, share, write
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.scorecard import Outcome, ScoredDelivery, Totals, score, totals, worst

ANN, BEN = "a1" * 12, "b2" * 12
MEMBER = "member-4711"
HEADER = "user_id,metadata_user_id,start,end,mode,distance,waypoints,duration"
CONTRACT = vendor_named("sentiance").contracts["transports"]
SATURDAYS = [datetime(2026, 3, 7, 15, tzinfo=UTC) + timedelta(weeks=week) for week in range(9)]
NOW = datetime(2026, 4, 27, 8, tzinfo=UTC)
PUBLISHED = timedelta(hours=21)
Make = Callable[..., Any]


def trip(user: str, start: str, more: str = "") -> str:
    return f"{user},{MEMBER},2026-{start}T08:00:00+00:00,2026-{start}T08:10:00+00:00,car,900,,600{more}"


class Vendor:
    """Delivers parts at a given time, and has them loaded and merged."""

    def __init__(self, vendor_folder: Any, warehouse: Any, feed_of: Make, partition: Make) -> None:
        self.feed = feed_of(vendor_folder.url, types=("transports",), start=date(2026, 3, 7))
        self.warehouse, self.root = warehouse, vendor_folder.root
        self._folder, self._partition = vendor_folder, partition

    def delivers(self, stamp: datetime, after_hours: float, rows: list[str], number: int = 0, more: str = "") -> Path:
        path: Path = self._folder.part(
            stamp, rows, number=number, offload_type="transports", header=HEADER + (more and f",{more}")
        )
        changed = (stamp + timedelta(hours=after_hours)).timestamp()
        os.utime(path, (changed, changed))
        return path

    def is_loaded(self, stamp: datetime) -> None:
        week = self.feed.start + (stamp.date() - self.feed.start) // timedelta(weeks=1) * timedelta(weeks=1)
        self.warehouse.load(self.feed, self._partition(str(week), "transports"))
        with self.warehouse.writing() as connection:
            merge(connection)

    @property
    def found(self) -> Discovery:
        return discover(self.feed, DeliveryStore(self.feed).list_objects(), NOW)

    def scored(self, now: datetime = NOW, *, is_listed: bool = True, **days: date) -> list[ScoredDelivery]:
        with self.warehouse.writing() as connection:
            return score(connection, self.feed, CONTRACT, self.found if is_listed else None, now, **days)


@pytest.fixture
def vendor(vendor_folder: Any, warehouse: Any, feed_of: Make, partition: Make) -> Vendor:
    return Vendor(vendor_folder, warehouse, feed_of, partition)


@pytest.fixture(scope="module")
def troubled(
    tmp_path_factory: pytest.TempPathFactory, vendor_and_warehouse: Make, feed_of: Make, partition: Make
) -> Vendor:
    """Weeks: punctual, late with faults, missing, delivered again, not loaded, incomplete, run twice, awaited."""
    vendor = Vendor(*vendor_and_warehouse(tmp_path_factory.mktemp("troubled")), feed_of, partition)
    first, late, _, again, waiting, cut, twice, *_ = SATURDAYS
    vendor.delivers(first, 19, [trip(ANN, "03-02"), trip(ANN, "03-03"), trip(BEN, "03-04")])
    vendor.delivers(first, 20, [trip(BEN, "03-05")], number=1)
    vendor.is_loaded(first)
    vendor.delivers(
        late, 29, [trip(ANN, "03-02", ",1"), "x,,y,z,car,900,,600,1", trip(BEN, "03-04", ",1")], more="speed"
    )
    vendor.is_loaded(late)
    vendor.delivers(again, 20.5, [trip(ANN, "03-02")])
    vendor.is_loaded(again)
    vendor.delivers(again, 120, [trip(ANN, "03-02"), trip(ANN, "03-27")])
    vendor.is_loaded(again)
    vendor.delivers(waiting, 20, [trip(ANN, "03-02")])
    vendor.delivers(cut, 20, [trip(ANN, "03-02")], number=1)
    vendor.delivers(twice, 22, [trip(ANN, "04-10")])
    vendor.delivers(twice + timedelta(days=2), 20, [trip(ANN, "03-27"), trip(ANN, "04-10")])
    vendor.is_loaded(twice)
    return vendor


def test_every_expected_delivery_has_a_row_with_its_figures(troubled: Vendor) -> None:
    first, late, missing, again, waiting, cut, twice, awaited, _ = SATURDAYS
    sizes = {
        path.parts[-4]: sum(p.stat().st_size for p in path.parent.iterdir()) for path in troubled.root.rglob("part-*")
    }

    def folder(stamp: datetime) -> str:
        return f"{stamp:%m_%d_%Y_%H_%M_%S}_000"

    def row(expected_at: datetime, outcome: Outcome, **figures: Any) -> ScoredDelivery:
        return ScoredDelivery("acme", "transports", expected_at, outcome, due=expected_at + PUBLISHED, **figures)

    def loaded(expected_at: datetime, stamp: datetime, arrived: float, late: float, **figures: Any) -> ScoredDelivery:
        return row(
            expected_at,
            Outcome.LOADED,
            stamp=stamp,
            folder=folder(stamp),
            arrived_at=expected_at + timedelta(hours=arrived),
            hours_late=late,
            is_on_time=late < 6,
            bytes=sizes[folder(stamp)],
            **figures,
        )

    rerun = twice + timedelta(days=2)
    assert troubled.scored() == [
        loaded(first, first, 20, 0.0, parts=2, rows_in=4, rows_loaded=4, rows_quarantined=0, drift=0),
        loaded(
            *(late, late, 29, 8.0),
            **{"parts": 1, "rows_in": 3, "rows_loaded": 2, "rows_quarantined": 1, "drift": 1},
            **{"compared": 4, "withdrawn": 2},
        ),
        row(missing, Outcome.MISSING, is_on_time=False),
        loaded(
            *(again, again, 20.5, 0.0),
            **{"parts": 1, "rows_in": 2, "rows_loaded": 2, "rows_quarantined": 0, "drift": 0, "redeliveries": 1},
            **{"compared": 1, "withdrawn": 0},
        ),
        row(
            waiting,
            Outcome.NOT_LOADED,
            stamp=waiting,
            folder=folder(waiting),
            arrived_at=waiting + timedelta(hours=20),
            hours_late=0.0,
            is_on_time=True,
            parts=1,
            bytes=sizes[folder(waiting)],
        ),
        row(
            cut,
            Outcome.INCOMPLETE,
            stamp=cut,
            folder=folder(cut),
            is_on_time=False,
            incomplete_folders=1,
            remark="transports lacks part 00000",
        ),
        loaded(
            *(twice, rerun, 22, 1.0),
            **{"parts": 1, "rows_in": 2, "rows_loaded": 2, "rows_quarantined": 0, "drift": 0},
            **{"compared": 2, "withdrawn": 1},
        ),
        row(awaited, Outcome.AWAITED),
    ]


def test_totals_and_the_worst(troubled: Vendor) -> None:
    scored = troubled.scored()
    [total] = totals(scored)
    assert total == Totals(
        feed="acme",
        offload_type="transports",
        month=None,
        expected=8,
        delivered=5,
        on_time_share=4 / 7,
        median_hours_late=0.0,
        worst_hours_late=8.0,
        missing=1,
        incomplete_folders=1,
        redeliveries=1,
        bytes=sum(s.bytes or 0 for s in scored),
        rows_in=11,
        rows_loaded=10,
        rows_quarantined=1,
        quarantined_share=1 / 11,
        drift=1,
        compared=7,
        withdrawn=3,
        withdrawn_share=3 / 7,
    )
    assert [(t.month, t.expected, t.on_time_share, t.withdrawn) for t in totals(scored, by_month=True)] == [
        ("2026-03", 4, 2 / 4, 2),
        ("2026-04", 4, 2 / 3, 1),
    ]
    assert [(w.outcome, w.expected_at) for w in worst(scored)] == [
        (Outcome.INCOMPLETE, SATURDAYS[5]),
        (Outcome.MISSING, SATURDAYS[2]),
        (Outcome.LOADED, SATURDAYS[1]),
    ]
    assert totals([]) == []


def test_an_awaited_delivery_is_missing_once_it_is_overdue(troubled: Vendor) -> None:
    overdue = SATURDAYS[7] + PUBLISHED + timedelta(hours=36)
    for now, outcome in ((overdue - timedelta(minutes=1), Outcome.AWAITED), (overdue, Outcome.MISSING)):
        assert troubled.scored(now)[-1].outcome is outcome
    assert len(troubled.scored(SATURDAYS[7])) == 7, "not due yet"


def test_days_narrow_it_down_and_change_no_figure(troubled: Vendor) -> None:
    scored = troubled.scored()
    assert troubled.scored(first=date(2026, 3, 14), last=date(2026, 3, 28)) == scored[1:4]


def test_what_is_not_loaded_is_not_called_missing_when_the_root_cannot_be_listed(troubled: Vendor) -> None:
    outcomes = [s.outcome for s in troubled.scored(is_listed=False)]
    assert Outcome.MISSING not in outcomes
    assert outcomes.count(Outcome.NOT_KNOWN) == 4
    assert outcomes.count(Outcome.LOADED) == 4


def test_nothing_is_published_yet(troubled: Vendor) -> None:
    scored = score(None, troubled.feed, CONTRACT, troubled.found, NOW)
    assert [s.outcome.value for s in scored] == [
        *("not loaded", "not loaded", "missing", "not loaded", "not loaded", "incomplete", "not loaded", "awaited")
    ]
    assert scored[1].hours_late == 8.0
    assert scored[3].hours_late == 120 - 21, "only the version that is there can be seen"


def test_a_file_from_before_arrivals_were_kept_can_be_scored(vendor: Vendor) -> None:
    vendor.delivers(SATURDAYS[0], 29, [trip(ANN, "03-02")])
    vendor.is_loaded(SATURDAYS[0])
    for column in ("receipts DROP arrived_at", "receipts DROP delivery_stamp", "ledger DROP last_modified"):
        vendor.warehouse.query(f"ALTER TABLE ops.{column}")
    now = SATURDAYS[1]
    [row] = vendor.scored(now)
    assert (row.rows_in, row.hours_late) == (1, 8.0), "the store still says when it came"
    [row] = vendor.scored(now, is_listed=False)
    assert (row.rows_in, row.arrived_at, row.hours_late, row.is_on_time) == (1, None, None, None)
    assert totals([row])[0].on_time_share is None


def test_a_type_that_never_came_is_missing_from_the_start(vendor: Vendor) -> None:
    due = datetime(2026, 3, 14, 21, tzinfo=UTC)
    assert vendor.scored(due - timedelta(minutes=1)) == []
    [row] = vendor.scored(due + timedelta(hours=36))
    assert (row.outcome, row.due, row.expected_at) == (Outcome.MISSING, due, datetime(2026, 3, 7, tzinfo=UTC))


def test_a_delivery_that_a_newer_one_of_its_week_has_replaced(vendor: Vendor) -> None:
    """A job that slips from Saturday to Friday puts two regular deliveries into one week."""
    slipped = SATURDAYS[1] - timedelta(hours=20)
    for stamp, after_hours in ((SATURDAYS[0], 20), (slipped, 20), (SATURDAYS[2], 3)):
        vendor.delivers(stamp, after_hours, [trip(ANN, "03-02")])
    vendor.is_loaded(SATURDAYS[0])
    vendor.is_loaded(SATURDAYS[2])
    scored = vendor.scored(SATURDAYS[2] + timedelta(days=1))
    assert [(s.outcome, s.is_on_time) for s in scored] == [
        (Outcome.REPLACED, True),
        (Outcome.LOADED, True),
        (Outcome.LOADED, True),
    ]


def test_an_empty_driving_day_is_a_delivery_of_no_part(vendor_folder: Any, warehouse: Any, feed_of: Make) -> None:
    feed = feed_of(vendor_folder.url, cadence={"driving": "daily"}, start=date(2026, 3, 7))
    contract = vendor_named("sentiance").contracts["scores_realtime"]
    day = datetime(2026, 3, 8, tzinfo=UTC)
    marker = vendor_folder.root / "2026_03_08_9f01c2e1-1559-4f3f-af33-0551a754ba4d" / feed.app_id
    marker = marker / f"scores_realtime.{feed.app_id}.csv" / "_SUCCESS"
    marker.parent.mkdir(parents=True)
    marker.touch()
    written = (day + timedelta(hours=37)).timestamp()
    os.utime(marker, (written, written))
    warehouse.load(feed, Partition("acme", contract, "2026-03-08", day, day + timedelta(days=1)))
    with warehouse.writing() as connection:
        found = discover(feed, DeliveryStore(feed).list_objects(), NOW)
        [row] = score(connection, feed, contract, found, day + timedelta(days=2))
    assert (row.outcome, row.parts, row.bytes, row.rows_in) == (Outcome.LOADED, 0, 0, 0)
    assert (row.due, row.hours_late, row.is_on_time) == (day + timedelta(hours=31), 6.0, False)


def test_a_register_has_a_row_for_each_version_and_none_for_versions_that_nobody_saw(
    vendor_folder: Any, warehouse: Any, feed_of: Make
) -> None:
    feed = feed_of(vendor_folder.url, cadence={"mapping": "daily"}, start=date(2026, 3, 1))
    contract = vendor_named("sentiance").contracts["mapping"]
    file = vendor_folder.root / "_mapping" / "user_external.csv"
    file.parent.mkdir()
    for day, users in ((1, [ANN, BEN]), (2, [ANN]), (5, [ANN])):
        file.write_text("\n".join(["user_id,external_id", *(f"{user},{MEMBER}" for user in users), ""]))
        changed = datetime(2026, 3, day, 4, tzinfo=UTC)
        os.utime(file, (changed.timestamp(), changed.timestamp()))
        start = datetime(2026, 3, day, tzinfo=UTC)
        warehouse.load(feed, Partition("acme", contract, f"2026-03-{day:02d}", start, start + timedelta(days=1)))
    with warehouse.writing() as connection:
        merge(connection)
        found = discover(feed, DeliveryStore(feed).list_objects(), NOW)
        scored = score(connection, feed, contract, found, datetime(2026, 3, 7, 5, tzinfo=UTC))
    assert [(s.outcome.value, s.expected_at.day, s.rows_in, s.redeliveries, s.withdrawn) for s in scored] == [
        ("loaded", 1, 2, 0, None),
        ("loaded", 2, 1, 0, 1),
        ("loaded", 5, 1, 0, 0),
        ("missing", 6, None, 0, None),
        ("awaited", 7, None, 0, None),
    ]


@pytest.fixture
def card(troubled: Vendor) -> Scorecard:
    other = troubled.feed.model_copy(update={"name": "quiet & <silent>"})
    return Scorecard((troubled.feed, other), tuple(troubled.scored()), NOW)


def test_no_file_holds_personal_data(card: Scorecard, troubled: Vendor, tmp_path: Path) -> None:
    rows = troubled.warehouse.query("SELECT DISTINCT user_id, metadata_user_id FROM delivered.transports")
    secrets = {value for row in rows for value in row}
    assert secrets == {ANN, BEN, MEMBER}
    for name in ("card.html", "card.csv", "card.json"):
        write(card, tmp_path / "new folder" / name)
        text = (tmp_path / "new folder" / name).read_text(encoding="utf-8")
        assert "transports" in text
        assert not [secret for secret in secrets if secret in text], name


def test_the_csv_has_one_line_for_each_delivery(card: Scorecard) -> None:
    lines = list(csv.DictReader(csv_text(card).splitlines()))
    assert len(lines) == len(card.deliveries)
    assert {name: lines[1][name] for name in ("expected_at", "outcome", "arrived_at", "hours_late", "is_on_time")} == {
        "expected_at": "2026-03-14T15:00:00Z",
        "outcome": "loaded",
        "arrived_at": "2026-03-15T20:00:00Z",
        "hours_late": "8.0",
        "is_on_time": "false",
    }
    assert (lines[2]["outcome"], lines[2]["arrived_at"], lines[2]["rows_in"]) == ("missing", "", "")


def test_the_json_holds_rules_totals_months_and_deliveries(card: Scorecard) -> None:
    read = json.loads(json.dumps(said(card), default=str))
    assert [read["totals"][0][name] for name in ("expected", "missing", "worst_hours_late")] == [8, 1, 8.0]
    assert [month["month"] for month in read["by_month"]] == ["2026-03", "2026-04"]
    assert [d["outcome"] for d in read["deliveries"]] == [d.outcome.value for d in card.deliveries]
    assert read["deliveries"][0].keys() == asdict(card.deliveries[0]).keys()
    assert read["rules"][0] == {
        "feed": "acme",
        "vendor": "sentiance",
        "family": "lifestyle",
        "cadence": "weekly",
        "published_after_hours": 21.0,
        "late_from_hours": 6.0,
        "overdue_from_hours": 36.0,
    }


class Page(HTMLParser):
    """Reads a page: its text, its attributes, and whether every element is closed where it should be."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.cells and self.open and self.open[-1] in ("td", "th", "span"):
            self.cells[-1] += data.strip()


def test_the_page_says_it_all_and_needs_nothing_else(card: Scorecard) -> None:
    text = html_page(card)
    page = Page(text)
    assert page.open == []
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "form"}
    assert not [a for _, attributes in page.elements for a in attributes if a in ("src", "href", "srcset", "onload")]
    assert not re.findall(r"https?:|url\(|@import", text)
    for cell in (
        "8.0 h",
        "57.1 %",
        "9.1 %",
        "42.9 %",
        "missing",
        "incomplete",
        "not loaded",
        "awaited",
        "2026-03-15 20:00",
    ):
        assert cell in page.cells, cell
    assert "transports lacks part 00000" in text
    assert "quiet &amp; &lt;silent&gt;" in text, "names are escaped"
    assert "Nothing was due." in text


def test_the_drawing_is_to_scale(card: Scorecard) -> None:
    bars = [a for tag, a in Page(html_page(card)).elements if tag == "rect" and "x" in a]
    lateness, quarantine = bars[:8], bars[8:]
    full = 72.0
    # The greatest lateness, 8 h, is the top of the scale; what is not there fills it, what is punctual is a line.
    heights = [1.5, full, full, 1.5, 1.5, full, full / 8, full]
    assert [float(b["height"] or 0) for b in lateness] == pytest.approx(heights, abs=0.06)
    kinds = ["good", "bad", "absent", "good", "good", "absent", "good", "open"]
    assert [b["class"] for b in lateness] == [f"bar-{kind}" for kind in kinds]
    assert [float(b["height"] or 0) for b in quarantine] == pytest.approx([0, full, 0, 0], abs=0.06)
    assert all(0 <= float(b["x"] or 0) < float(b["x"] or 0) + float(b["width"] or 0) <= 720 for b in bars)


def test_an_empty_scorecard_is_a_page_as_well(troubled: Vendor, tmp_path: Path) -> None:
    empty = Scorecard((troubled.feed,), (), NOW, date(2026, 1, 1), date(2026, 1, 31))
    assert "from 2026-01-01" in html_page(empty)
    write(empty, tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text().startswith("feed,offload_type,expected_at,outcome,")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.00001, "<0.01 %"),
        (0.00123, "0.12 %"),
        (0.5, "50.0 %"),
        (0.9999, "100.0 %"),
    ],
)
def test_a_share_in_words(value: float | None, words: str) -> None:
    assert share(value) == words


def test_hours_in_words() -> None:
    assert (hours(None), hours(0.04), hours(1234.56)) == ("–", "0.0 h", "1,234.6 h")
