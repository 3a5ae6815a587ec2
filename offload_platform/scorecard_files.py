"""The vendor scorecard as a file to send: one HTML page, CSV with a row for each delivery, or JSON.

The files hold counts, times and names of folders; nothing of any row, so no personal data.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.scorecard import ScoredDelivery, totals

FORMATS = (".html", ".csv", ".json")
_CHART_WIDTH, _PANEL_HEIGHT, _LOWEST_BAR = 720.0, 72.0, 1.5
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
_SMALLEST_PERCENT = 0.01


@dataclass(frozen=True)
class Scorecard:
    """Scored deliveries of some feeds; `first` and `last` are the bounds that were asked for."""

    feeds: tuple[Feed, ...]
    deliveries: tuple[ScoredDelivery, ...]
    made_at: datetime
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class Bar:
    """One delivery in a chart, in units of the drawing; `kind` is good, bad, open, part, or absent (missing)."""

    x: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Panel:
    """One row of bars, with what its full height stands for, and where a line is drawn that should not be passed."""

    title: str
    top: str
    bars: tuple[Bar, ...]
    limit: float | None = None


@dataclass(frozen=True)
class Chart:
    """Lateness and quarantine of one offload type over time."""

    offload_type: str
    panels: tuple[Panel, ...]
    begin: str
    end: str


def write(card: Scorecard, file: Path) -> None:
    """Write a scorecard in the format that the file's name ends in (`FORMATS`); folders are made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    match file.suffix:
        case ".html":
            text = html_page(card)
        case ".csv":
            text = csv_text(card)
        case _:
            text = json.dumps(said(card), default=str, indent=2) + "\n"
    file.write_text(text, encoding="utf-8", newline="")


def said(card: Scorecard) -> dict[str, Any]:
    """The whole scorecard for JSON: totals by type, totals by month, and every delivery."""
    return {
        "made_at": card.made_at,
        "first": card.first,
        "last": card.last,
        "rules": list(_rules(card.feeds)),
        "totals": [asdict(t) for t in totals(card.deliveries)],
        "by_month": [asdict(t) for t in totals(card.deliveries, by_month=True)],
        "deliveries": [asdict(d) for d in card.deliveries],
    }


def csv_text(card: Scorecard) -> str:
    """One line for each expected delivery, with a header; times are ISO 8601 in UTC, what is not known is empty.

    No text is a formula to a spreadsheet: a sign that would begin one has an apostrophe before it.
    """
    target = io.StringIO()
    writer = csv.writer(target)
    names = [field.name for field in fields(ScoredDelivery)]
    writer.writerow(names)
    writer.writerows([_csv_cell(getattr(d, name)) for name in names] for d in card.deliveries)
    return target.getvalue()


def html_page(card: Scorecard) -> str:
    """One page that needs nothing else: no script, no font and no picture from anywhere."""
    pages = Environment(
        loader=PackageLoader("offload_platform", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"share": share, "hours": hours, "count": _count, "time": _time, "megabytes": _megabytes}
    return pages.get_template("scorecard.html").render(
        card=card,
        rules=list(_rules(card.feeds)),
        feeds=[_section(feed, [d for d in card.deliveries if d.feed == feed.name]) for feed in card.feeds],
        chart_width=_CHART_WIDTH,
        panel_height=_PANEL_HEIGHT,
    )


def share(value: float | None) -> str:
    """A share between 0 and 1 in percent; a dash where there is none."""
    if value is None:
        return "–"
    percent = 100 * value
    if 0 < percent < _SMALLEST_PERCENT:
        return f"<{_SMALLEST_PERCENT} %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"


def hours(value: float | None) -> str:
    """Hours with one decimal; a dash where there are none."""
    return "–" if value is None else f"{value:,.1f} h"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _time(value: datetime | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:,.1f}"


def _csv_cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"  # people open the file in a spreadsheet, and a vendor chooses the names of folders
    return round(value, 4) if isinstance(value, float) else value


def _rules(feeds: Sequence[Feed]) -> Iterator[dict[str, Any]]:
    """What each feed's deliveries were judged by."""
    for feed in feeds:
        for family, cadence in feed.cadence.items():
            published = vendor_named(feed.vendor).layout.families[family].published_after
            yield {
                "feed": feed.name,
                "vendor": feed.vendor,
                "family": family,
                "cadence": cadence.value,
                "published_after_hours": published / timedelta(hours=1),
                "late_from_hours": feed.deadline(family).late_hours,
                "overdue_from_hours": feed.deadline(family).overdue_hours,
            }


def _section(feed: Feed, deliveries: Sequence[ScoredDelivery]) -> dict[str, Any]:
    """What the page says of one feed."""
    return {
        "feed": feed,
        "totals": totals(deliveries),
        "months": totals(deliveries, by_month=True),
        "charts": [
            _chart(feed, [d for d in deliveries if d.offload_type == t.offload_type]) for t in totals(deliveries)
        ],
        "deliveries": deliveries,
    }


def _chart(feed: Feed, group: Sequence[ScoredDelivery]) -> Chart:
    offload_type = group[0].offload_type
    family = vendor_named(feed.vendor).contracts[offload_type].family
    return Chart(
        offload_type,
        panels=(_lateness(group, feed.deadline(family).late_hours), _quarantine(group)),
        begin=f"{group[0].expected_at:%Y-%m-%d}",
        end=f"{group[-1].expected_at:%Y-%m-%d}",
    )


def _lateness(group: Sequence[ScoredDelivery], limit: float) -> Panel:
    top = max([limit * 1.25, *(d.hours_late or 0.0 for d in group)])
    bars = []
    for x, width, d in _slots(group):
        if d.hours_late is not None:
            height, kind, late = d.hours_late / top, "bad" if d.is_on_time is False else "good", hours(d.hours_late)
        else:
            height, kind, late = 1.0, "absent" if d.is_on_time is False else "open", d.outcome.value
        bars.append(Bar(x, width, max(height * _PANEL_HEIGHT, _LOWEST_BAR), kind, f"{d.expected_at:%Y-%m-%d}: {late}"))
    return Panel("hours late", f"{top:,.0f} h", tuple(bars), limit / top * _PANEL_HEIGHT)


def _quarantine(group: Sequence[ScoredDelivery]) -> Panel:
    shares = [(d.rows_quarantined or 0) / d.rows_in if d.rows_in else None for d in group]
    top = max((s for s in shares if s), default=0.01)
    bars = tuple(
        Bar(x, width, value / top * _PANEL_HEIGHT, "part", f"{d.expected_at:%Y-%m-%d}: {share(value)}")
        for (x, width, d), value in zip(_slots(group), shares, strict=True)
        if value is not None
    )
    return Panel("rows in quarantine", share(top), bars)


def _slots(group: Sequence[ScoredDelivery]) -> Iterator[tuple[float, float, ScoredDelivery]]:
    slot = _CHART_WIDTH / len(group)
    for number, delivery in enumerate(group):
        yield number * slot, slot * 0.8, delivery
