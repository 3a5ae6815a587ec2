"""CLEAN: one row for each message, its session and kind of user; then sessions, and figures of the day. Takes no key.

A session may cross midnight, so a day is made together with those that its sessions reach into: whatever day is made
last, all of them are as if they had been made together.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pandera.errors
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.listening import Listening
from offload_platform.listening.csv_files import write_csv
from offload_platform.listening.days import KEY_ID, MADE_OF, Days, Tier, digest_of
from offload_platform.listening.errors import ListeningError
from offload_platform.listening.figures import FIGURES, figures_of
from offload_platform.listening.raw import listening_of
from offload_platform.listening.sessions import with_sessions
from offload_platform.listening.testers import TESTER
from offload_platform.settings import Feed
from offload_platform.settings import Listening as Choices
from offload_platform.vendors import vendor_named

SESSIONS = "sessions"
_A_DAY = timedelta(days=1)
_DAY = "day"
_MADE_BY = "clean v1"


@dataclass(frozen=True)
class CleanDay:
    """What was made of a day: messages, those that belong to a session, sessions that began on it, and figures."""

    day: date
    rows: int
    rows_in_sessions: int
    sessions: int
    figures: int
    suppressed: int


def made_of_raw(feed: Feed, days: Days, day: date) -> str:
    """What CLEAN of a day would be made of now, but for the days beside it: those are made anew with their own."""
    listening, choices = listening_of(feed), _choices(feed)
    others = [log for log in listening.logs if log != listening.dataset]
    near = [days.digest(Tier.RAW, log, near) for log in others for near in (day - _A_DAY, day, day + _A_DAY)]
    own = days.digest(Tier.RAW, listening.dataset, day)
    said = [choices.session_gap_minutes, choices.smallest_group]
    return digest_of(
        _MADE_BY, own, *near, *map(str, said), *(f"{c.name} {c.dtype}" for c in listening.columns.values())
    )


def make_clean(feed: Feed, days: Days, day: date) -> list[CleanDay]:
    """Make CLEAN, sessions and figures of a day (UTC), and of the days that change with it; the day itself is first.

    Raises:
        ListeningError: there is no RAW of the day, or what it makes does not keep the contract.
    """
    listening = listening_of(feed)
    if not days.has(Tier.RAW, listening.dataset, day):
        raise ListeningError(f"{feed.name} {day}: there is no {Tier.RAW} of that day. Next: offload listening run")
    with days.lock():
        together = _together(feed, days, day)
        changed = []
        for near, rows in sorted(together.items(), key=lambda item: (item[0] != day, item[0])):
            if near == day or days.has(Tier.CLEAN, listening.dataset, near):
                is_changed = _write_messages(feed, days, near, rows, _key_id(feed, days, near))
                if is_changed or near == day:
                    changed.append(near)
        # A session stands in the day of its first message: the day after is another one when it is no longer cut.
        for near in [*changed, *(d + _A_DAY for d in changed)]:
            if days.has(Tier.CLEAN, listening.dataset, near):
                _write_sessions(feed, days, near)
        return [_figures(feed, days, near) for near in changed]


def forget_logins(feed: Feed, days: Days, hashes: Collection[str]) -> list[date]:
    """Take the messages of some logins (keyed hashes) out of CLEAN; returns the days that have changed.

    Sessions of others stay as they are, because a session is of one login.
    """
    listening = listening_of(feed)
    changed = []
    with days.lock():
        for day in days.of(Tier.CLEAN, listening.dataset):
            rows = days.read(Tier.CLEAN, listening.dataset, day)
            kept = rows.filter(~pl.col(listening.person).is_in(list(hashes)).fill_null(False))
            if kept.height < rows.height:
                _write_messages(feed, days, day, kept, _key_id(feed, days, day))
                changed.append(day)
        for near in sorted({*changed, *(day + _A_DAY for day in changed)}):
            if days.has(Tier.CLEAN, listening.dataset, near):
                _write_sessions(feed, days, near)
        for day in changed:
            _figures(feed, days, day)
    return changed


def unsettled_sessions(feed: Feed, days: Days, day: date) -> tuple[int, int]:
    """How many sessions begin on a day, and how many of them have another size than messages.

    One whose later messages are of a day that is not made yet has no fault.
    """
    listening = listening_of(feed)
    names = listening.computed
    sessions = days.read(Tier.CLEAN, SESSIONS, day).select(names.session, names.size)
    counted = pl.Series(names.session, [], dtype=pl.String)
    at, is_open = day, False
    while days.has(Tier.CLEAN, listening.dataset, at):
        of_day = days.read(Tier.CLEAN, listening.dataset, at)[names.session]
        found = of_day.filter(of_day.is_in(sessions[names.session].implode()))
        counted = pl.concat([counted, found])
        at += _A_DAY
        if found.is_empty():
            break
    else:
        is_open = days.has(Tier.RAW, listening.dataset, at)
    both = sessions.join(counted.value_counts(name="found"), on=names.session, how="left")
    wrong = pl.col("found") > pl.col(names.size) if is_open else pl.col("found").ne_missing(pl.col(names.size))
    return sessions.height, both.filter(wrong).height


def _together(feed: Feed, days: Days, day: date) -> dict[date, pl.DataFrame]:
    """CLEAN rows of a day, and of the days around it that its sessions reach into, by day."""
    listening = listening_of(feed)
    gap = timedelta(minutes=_choices(feed).session_gap_minutes)
    rows = {day: _messages(feed, days, day)}
    for step in (-_A_DAY, _A_DAY):
        at = day
        while (
            _may_go_on(rows[at], listening, at, gap, step)
            and (near := _known_messages(feed, days, at + step)) is not None
        ):
            at += step
            rows[at] = near
    marked = [frame.with_columns(pl.lit(at).alias(_DAY)) for at, frame in sorted(rows.items())]
    whole = with_sessions(pl.concat(marked), listening, gap)
    names = list(listening.columns)
    return {at: whole.filter(pl.col(_DAY) == at).select(names).sort(listening.moment, *names) for at in rows}


def _known_messages(feed: Feed, days: Days, day: date) -> pl.DataFrame | None:
    """The messages of a day beside the one that is made; CLEAN tells them where RAW has been kept long enough."""
    listening = listening_of(feed)
    own = listening.computed
    if days.has(Tier.RAW, listening.dataset, day):
        return _messages(feed, days, day)
    if days.has(Tier.CLEAN, listening.dataset, day):
        return days.read(Tier.CLEAN, listening.dataset, day).drop(own.session, own.size, own.duration)
    return None


def _may_go_on(rows: pl.DataFrame, listening: Listening, day: date, gap: timedelta, step: timedelta) -> bool:
    """Whether a message of somebody stands so near to midnight that a session may go on beyond it."""
    midnight = pl.lit(datetime.combine(day, time()) + max(step, timedelta())).dt.replace_time_zone("UTC")
    near = (pl.col(listening.moment) - midnight).abs() <= gap
    return not rows.filter(pl.col(listening.person).is_not_null() & near).is_empty()


def _messages(feed: Feed, days: Days, day: date) -> pl.DataFrame:
    """The messages of a day with all columns of CLEAN that sessions do not bring."""
    listening = listening_of(feed)
    contracts = vendor_named(feed.vendor).contracts
    logs: dict[str, pl.DataFrame] = {}
    for log in listening.logs:
        # What a message was taken to mean may have been written after midnight.
        span = [day] if log == listening.dataset else [day - _A_DAY, day, day + _A_DAY]
        found = [days.read(Tier.RAW, log, near) for near in span if days.has(Tier.RAW, log, near)]
        logs[log] = pl.concat(found) if found else _nothing_of(contracts[log])
    user_type = (
        pl.when(pl.col(TESTER))
        .then(pl.lit("test"))
        .when(pl.col(TESTER).is_null() | pl.col(listening.login).is_null())
        .then(pl.lit("unknown"))
        .otherwise(pl.lit("real"))
    )
    own = listening.computed
    joined = listening.joined(logs).with_columns(user_type.alias(own.user_type))
    by_sessions = {own.session, own.size, own.duration}
    return joined.select(
        column.facts.reader.expression().cast(column.dtype).alias(name)  # type: ignore[union-attr]
        for name, column in listening.columns.items()
        if name not in by_sessions
    )


def _write_messages(feed: Feed, days: Days, day: date, rows: pl.DataFrame, key_id: str) -> bool:
    listening = listening_of(feed)
    try:
        listening.schema.validate(rows, lazy=True)
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors) as error:
        broken = sorted({str(case) for case in error.failure_cases["column"]})
        raise ListeningError(
            f"{feed.name} {day}: messages do not keep the contract of {Tier.CLEAN} in {', '.join(broken)}; "
            "the old ones stay. Compare the rules of the vendor with the contract."
        ) from None
    facts = {KEY_ID: key_id, MADE_OF: made_of_raw(feed, days, day)}
    write_csv(days.file(Tier.CLEAN, listening.dataset, day, ".csv.gz"), rows)
    return days.write(Tier.CLEAN, listening.dataset, day, rows, facts)


def _key_id(feed: Feed, days: Days, day: date) -> str:
    dataset = listening_of(feed).dataset
    tier = Tier.RAW if days.has(Tier.RAW, dataset, day) else Tier.CLEAN
    return days.facts(tier, dataset, day)[KEY_ID]


def _write_sessions(feed: Feed, days: Days, day: date) -> None:
    """One row for each session that begins on a day: one that the day before has messages of began there."""
    listening = listening_of(feed)
    names, moment = listening.computed, listening.moment
    rows = days.read(Tier.CLEAN, listening.dataset, day).filter(pl.col(names.session).is_not_null())
    if days.has(Tier.CLEAN, listening.dataset, day - _A_DAY):
        before = days.read(Tier.CLEAN, listening.dataset, day - _A_DAY)
        rows = rows.join(before.filter(pl.col(names.session).is_not_null()), on=names.session, how="anti")
    sessions = (
        rows.sort(moment)
        .group_by(names.session, maintain_order=True)
        .agg(
            pl.col(moment).first().alias("begin_at"),
            *(pl.col(name).first() for name in (*listening.of_session, names.size, names.duration)),
            listening.failed.sum().cast(pl.Int32).alias("failed"),
        )
        .sort("begin_at", names.session)
    )
    days.write(Tier.CLEAN, SESSIONS, day, sessions, {MADE_OF: days.digest(Tier.CLEAN, listening.dataset, day)})


def _figures(feed: Feed, days: Days, day: date) -> CleanDay:
    listening = listening_of(feed)
    rows = days.read(Tier.CLEAN, listening.dataset, day)
    sessions = days.read(Tier.CLEAN, SESSIONS, day)
    figures = figures_of(rows, listening, day, _choices(feed).smallest_group)
    days.write(Tier.AGGREGATE, FIGURES, day, figures, {MADE_OF: days.digest(Tier.CLEAN, listening.dataset, day)})
    in_sessions = rows.height - rows[listening.computed.session].null_count()
    suppressed = int(figures["is_suppressed"].sum())
    return CleanDay(day, rows.height, in_sessions, sessions.height, figures.height, suppressed)


def _nothing_of(contract: Contract) -> pl.DataFrame:
    return pl.DataFrame(schema={c.name: c.dtype for c in contract.columns.values()})


def _choices(feed: Feed) -> Choices:
    assert feed.listening is not None
    return feed.listening
