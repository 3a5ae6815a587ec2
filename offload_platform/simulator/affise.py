"""Writes what Affise's Data Fusion delivers: clicks and conversions, a file for each stream every few minutes.

A click may be followed by a conversion, and that by changes of its status and payout, hours or weeks later; each change
is delivered again in the file of its minutes. Everything follows from the seed and the number of the click.
"""

import csv
import gzip
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.parts import Written
from offload_platform.simulator.simulation import check_counts, check_shares
from offload_platform.vendors.affise.layout import TYPES

CLICKS, CONVERSIONS = TYPES

_CENT = Decimal("0.01")
_COUNTRIES = (("BE", "Belgium", "Ghent"), ("NL", "Netherlands", "Utrecht"), ("FR", "France", "Lille"))
_AGENTS = (
    ("iOS", "Safari", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1"),
    ("Android", "Chrome", "mobile", "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/130.0 Mobile Safari/537.36"),
    (
        "Windows",
        "Firefox",
        "desktop",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    ),
)
_PARTNERS, _OFFERS, _ADVERTISERS = 12, 30, 5
_FIRST_STATUS = ("hold",) * 5 + ("pending",) * 2 + ("confirmed",) * 2 + ("declined",)


@dataclass(frozen=True)
class AffiseSimulation:
    """Which files to write.

    Attributes:
        seed: Another seed gives other clicks.
        first_day: The day of the first file, on the platform's clock.
        slots: How many times each stream is exported.
        frequency_minutes: Minutes from one export to the next.
        clicks_per_slot: Clicks between two exports, on average.
        conversion_share: Share of clicks that a conversion follows on.
        orphan_share: Share of the clicks with a conversion that are delivered up to a day late, or never.
        hold_hours: How long a conversion is on hold before it is confirmed by itself.
        later_change_share: Share of conversions whose payout or status a manager changes days later.
        empty_share: Share of the exports without a row.
        has_empty_files: Whether such an export is a file with a header alone, or no file.
        rewritten_share: Share of the files that lack a row in version 0, and have it in version 1.
        version: 0, or 1 for the rewritten files.
        timezone: The platform's clock: that of folders, names and times.
        directories: Where each stream goes, below the root.
        has_header: Whether files begin with the names of the columns.
        delimiter: What stands between two cells.
    """

    seed: int = 1
    first_day: date = date(2026, 9, 7)
    slots: int = 96
    frequency_minutes: int = 15
    clicks_per_slot: int = 20
    conversion_share: float = 0.2
    orphan_share: float = 0.05
    hold_hours: int = 6
    later_change_share: float = 0.1
    empty_share: float = 0.05
    has_empty_files: bool = True
    rewritten_share: float = 0.05
    version: int = 1
    timezone: str = "UTC"
    directories: tuple[str, str] = ("affise/clicks", "affise/conversions")
    has_header: bool = True
    delimiter: str = ","

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        check_counts(self, "slots", "frequency_minutes", "clicks_per_slot")
        shares = ("conversion_share", "orphan_share", "later_change_share", "empty_share", "rewritten_share")
        check_shares(self, *shares)

    @property
    def stamps(self) -> tuple[datetime, ...]:
        """When the exports ran (UTC), in order."""
        first = datetime.combine(self.first_day, time(), ZoneInfo(self.timezone)).astimezone(UTC)
        return tuple(first + timedelta(minutes=self.frequency_minutes * number) for number in range(self.slots))


@dataclass(frozen=True)
class Click:
    """A click, and when it is delivered (UTC); never where that is None."""

    number: int
    id: str
    at: datetime
    delivered_at: datetime | None
    has_conversion: bool


@dataclass(frozen=True)
class State:
    """A conversion as it is from a moment on (UTC) until the next change."""

    id: str
    click: Click
    created_at: datetime
    changed_at: datetime
    status: str
    payout: Decimal
    revenue: Decimal
    decline_reason: str = ""
    comment: str = ""
    changes: int = 0


@dataclass(frozen=True)
class DataFusion:
    """The files of a simulation."""

    simulation: AffiseSimulation
    types: tuple[str, ...] = TYPES

    @property
    def deliveries(self) -> int:
        """Exports of all streams."""
        return len(self.simulation.stamps) * len(self.types)

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:  # noqa: ARG002 (nothing is planted)
        """Write all files."""
        for offload_type, stamp, rows in exports(self.simulation):
            if offload_type in self.types:
                yield _written(self.simulation, offload_type, stamp, rows, out)


def exports(simulation: AffiseSimulation) -> Iterator[tuple[str, datetime, list[dict[str, str]]]]:
    """Every file in the order of its stamp: stream, stamp (UTC), and rows as texts by column."""
    stamps = simulation.stamps
    rows: dict[tuple[str, datetime], list[dict[str, str]]] = {}
    for click, states in lives(simulation):
        if click.delivered_at is not None and (stamp := _export_after(simulation, click.delivered_at)) is not None:
            rows.setdefault((CLICKS, stamp), []).append(_click_row(simulation, click))
        for state in states:
            if (stamp := _export_after(simulation, state.changed_at)) is not None:
                rows.setdefault((CONVERSIONS, stamp), []).append(_conversion_row(simulation, state))
    for number, stamp in enumerate(stamps):
        for offload_type in TYPES:
            found = rows.get((offload_type, stamp), [])
            chance = random.Random(f"{simulation.seed}/{offload_type}/{number}")
            if chance.random() < simulation.rewritten_share and simulation.version == 0:
                found = found[:-1]
            if found or simulation.has_empty_files:
                yield offload_type, stamp, found


def lives(simulation: AffiseSimulation) -> Iterator[tuple[Click, list[State]]]:
    """Every click, and the states of the conversion that followed on it, in order; none where none did."""
    begin = simulation.stamps[0] - timedelta(minutes=simulation.frequency_minutes)
    number = 0
    for slot in range(simulation.slots):
        chance = random.Random(f"{simulation.seed}/slot/{slot}")
        is_empty = chance.random() < simulation.empty_share
        clicks = 0 if is_empty else chance.randint(simulation.clicks_per_slot // 2, simulation.clicks_per_slot * 3 // 2)
        for _ in range(clicks):
            seconds = chance.randrange(60 * simulation.frequency_minutes)
            at = begin + timedelta(minutes=simulation.frequency_minutes * slot, seconds=seconds)
            yield _life(simulation, number, at)
            number += 1


def _life(simulation: AffiseSimulation, number: int, at: datetime) -> tuple[Click, list[State]]:
    chance = random.Random(f"{simulation.seed}/click/{number}")
    has_conversion = chance.random() < simulation.conversion_share
    delivered_at: datetime | None = at
    if has_conversion and chance.random() < simulation.orphan_share:
        delivered_at = chance.choice([None, at + timedelta(minutes=chance.randint(30, 1440))])
    click = Click(number, _object_id(at, chance), at, delivered_at, has_conversion)
    return click, list(_states(simulation, click, chance)) if has_conversion else []


def _states(simulation: AffiseSimulation, click: Click, chance: random.Random) -> Iterator[State]:
    created = click.at + timedelta(seconds=chance.randint(5, 10_800))
    payout = (Decimal(chance.randint(50, 4000)) / 100).quantize(_CENT)
    state = State(
        id=_object_id(created, chance),
        click=click,
        created_at=created,
        changed_at=created,
        status=chance.choice(_FIRST_STATUS),
        payout=payout,
        revenue=(payout * Decimal("1.25")).quantize(_CENT),
        decline_reason="",
    )
    if state.status == "declined":
        state = replace(state, decline_reason="cap_reached")
    yield state
    if state.status == "hold":
        due = created + timedelta(hours=simulation.hold_hours)
        state = _changed(state, due + timedelta(seconds=-due.timestamp() % 900), status="confirmed")
        yield state
    elif state.status == "pending":
        after = timedelta(minutes=chance.randint(60, 2880))
        is_good = chance.random() < 0.7
        reason = "" if is_good else "by_manager"
        status = "confirmed" if is_good else "declined"
        state = _changed(state, created + after, status=status, decline_reason=reason)
        yield state
    if chance.random() < simulation.later_change_share:
        at = state.changed_at + timedelta(minutes=chance.randint(60, 14_400))
        comment = "asked for by jan.peeters@example.com"
        yield chance.choice(
            [
                _changed(state, at, payout=(state.payout * 2).quantize(_CENT), comment=comment),
                _changed(state, at, status="pending", decline_reason="", comment=comment),
            ]
        )


def _changed(state: State, at: datetime, **said: object) -> State:
    return replace(state, changed_at=at, changes=state.changes + 1, **said)  # type: ignore[arg-type]


def _object_id(at: datetime, chance: random.Random) -> str:
    return f"{int(at.timestamp()):08x}{chance.getrandbits(64):016x}"


def _export_after(simulation: AffiseSimulation, at: datetime) -> datetime | None:
    """The export that a moment falls before; None where the simulation is over by then."""
    first, period = simulation.stamps[0], timedelta(minutes=simulation.frequency_minutes)
    number = max(0, -(-(at - first) // period))
    return simulation.stamps[number] if number < simulation.slots else None


def _clock(simulation: AffiseSimulation, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(simulation.timezone)):%Y-%m-%d %H:%M:%S}"


def _shared(click: Click) -> dict[str, str]:
    """What click and conversion say alike."""
    chance = random.Random(f"{click.id}/shared")
    country, country_name, city = chance.choice(_COUNTRIES)
    os, browser, device_type, agent = chance.choice(_AGENTS)
    partner, offer = chance.randrange(_PARTNERS), chance.randrange(_OFFERS)
    mail = f"user{click.number}@example.com"
    return {
        "offer_id": str(100 + offer),
        "offer_title": f"Offer {offer}",
        "partner_id": str(10 + partner),
        "partner_title": f"Partner {partner}",
        "partner_email": f"partner{partner}@example.com",
        "ip": f"198.51.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        "ua": agent,
        "referrer": f"https://news.example.org/story/{chance.randrange(50)}?reader={mail}",
        "country": country,
        "country_name": country_name,
        "city": city,
        "os": os,
        "browser": browser,
        "device_type": device_type,
        "sub1": f"campaign {chance.randrange(8)}",
        "sub2": mail if chance.random() < 0.1 else "",
        "user_id": f"u{click.number % 97}",
        "idfa": f"{chance.getrandbits(128):032X}" if os == "iOS" else "",
        "android_id": f"{chance.getrandbits(64):016x}" if os == "Android" else "",
    }


def _click_row(simulation: AffiseSimulation, click: Click) -> dict[str, str]:
    return {
        "id": click.id,
        "created_at": _clock(simulation, click.at),
        **_shared(click),
        "has_conversions": "false",
        "uniq": "true",
    }


def _conversion_row(simulation: AffiseSimulation, state: State) -> dict[str, str]:
    held_until = state.created_at + timedelta(hours=simulation.hold_hours)
    is_code = random.Random(f"{state.id}/{state.changes}").random() < 0.2
    codes = {"confirmed": "1", "pending": "2", "declined": "3", "hold": "5"}
    return {
        "id": state.id,
        "clickid": state.click.id,
        "action_id": state.id[:12],
        "status": codes[state.status] if is_code else state.status,
        "created_at": _clock(simulation, state.created_at),
        "updated_at": _clock(simulation, state.changed_at) if state.changes else "",
        "click_time": _clock(simulation, state.click.at),
        "hold_date_expire": _clock(simulation, held_until) if state.status == "hold" else "",
        "advertiser_id": str(int(state.id[-2:], 16) % _ADVERTISERS),
        "goal": "1",
        "revenue": str(state.revenue),
        "payouts": str(state.payout),
        "earnings": str(state.revenue - state.payout),
        "currency": "EUR",
        "payment_type": "fixed",
        "decline_reason": state.decline_reason,
        "comment": state.comment,
        **_shared(state.click),
    }


def columns_of(offload_type: str) -> list[str]:
    """The delivered columns of a stream, in order."""
    simulation = AffiseSimulation()
    now = simulation.stamps[0]
    click = Click(0, _object_id(now, random.Random(0)), now, now, True)
    if offload_type == CLICKS:
        return list(_click_row(simulation, click))
    return list(_conversion_row(simulation, State(click.id, click, now, now, "hold", _CENT, _CENT)))


def content_of(simulation: AffiseSimulation, offload_type: str, rows: list[dict[str, str]]) -> bytes:
    """The bytes of a file; equal rows are equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns_of(offload_type), delimiter=simulation.delimiter, lineterminator="\n", quoting=csv.QUOTE_MINIMAL
    )
    if simulation.has_header:
        writer.writeheader()
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def key_of(simulation: AffiseSimulation, offload_type: str, stamp: datetime) -> str:
    """The key of a file, below the root."""
    directory = dict(zip(TYPES, simulation.directories, strict=True))[offload_type]
    local = stamp.astimezone(ZoneInfo(simulation.timezone))
    return f"{directory}/{local:%Y/%m/%d/%Y-%m-%d-%H-%M}.csv.gz"


def _written(
    simulation: AffiseSimulation, offload_type: str, stamp: datetime, rows: list[dict[str, str]], out: Path
) -> Written:
    key = key_of(simulation, offload_type, stamp)
    path = out / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content_of(simulation, offload_type, rows))
    return Written(key, offload_type, stamp, len(rows), 0, path.stat().st_size)
