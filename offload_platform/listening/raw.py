"""RAW: what of a day's logs passes the vendor's rules. The only step that holds the key, and that reads the logs.

It reads the published file, in which each row of the logs stands once, in whatever delivery it came.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import duckdb
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.listening import Listening
from offload_platform.landing.pseudonyms import key_from_environment
from offload_platform.listening.days import KEY_ID, MADE_OF, Days, Tier, digest_of
from offload_platform.listening.errors import ListeningError
from offload_platform.listening.testers import TESTER, is_tester, listed
from offload_platform.privacy.rules import Rules, RulesError, read_rules, treated
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.protect import PseudonymKey
from offload_platform.quality.scrub import PAPER_REGIONS
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.views import current_view, has_views

_NO_KEY = "Set it to the key that the hashes of this country are made with; this step alone needs it."
_MADE_BY = "raw v1"
_NOBODYS_KEY = PseudonymKey(b"")
"""For frames without a row, of which nothing is hashed."""
NO_ROW = "no row"
"""What RAW of a day is made of that the logs do not tell of."""


@dataclass(frozen=True)
class RawDay:
    """What was made of a log of a day: its rows, those that passed, and those of other countries, which did not."""

    table: str
    rows_in: int
    rows: int
    of_other_countries: int


def listening_of(feed: Feed) -> Listening:
    """What a feed's vendor says of listening.

    Raises:
        ListeningError: nothing, or the feed does not say whose logs they are.
    """
    listening = vendor_named(feed.vendor).listening
    if listening is None or feed.listening is None:
        raise ListeningError(f"{feed.name}: nothing is made of its logs. Say whose they are under `listening`.")
    return listening


def key_of_raw(feed: Feed) -> PseudonymKey:
    """The key of the hashes.

    Raises:
        PseudonymKeyError: there is none, or it is too short.
    """
    return key_from_environment(f"{feed.name} {Tier.RAW}: ", _NO_KEY)


def logs_of(feed: Feed) -> list[Contract]:
    """The logs that RAW is made of."""
    return [vendor_named(feed.vendor).contracts[log] for log in listening_of(feed).logs]


def made_of_logs(files: WarehouseFiles, feed: Feed) -> dict[date, str] | None:
    """Of each day that the logs tell of, what RAW would be made of now: it changes when rows, rules or testers do.

    None where there are no logs, as where RAW was brought from elsewhere.

    Raises:
        ListeningError: there are no rules for a log, or the list of test users cannot be read.
    """
    if not files.published.exists():
        return None
    rules = {contract.table: _rules(feed, contract) for contract in logs_of(feed)}
    assert feed.listening is not None
    fixed = digest_of(_MADE_BY, feed.listening.country, repr(rules), repr(sorted(listed(feed) or ["no list"])))
    found: dict[date, list[str]] = {}
    with _published(files) as connection:
        if not _has_logs(connection, feed):
            return None
        for contract in logs_of(feed):
            at = quoted(_event_time(contract))
            for day, rows, content in fetched(
                connection,
                f"SELECT {at}::DATE, count(*), bit_xor(hash(t))::VARCHAR FROM {current_view(contract)} AS t "
                "WHERE feed = ? GROUP BY ALL ORDER BY ALL",
                [feed.name],
            ):
                found.setdefault(day, []).append(f"{contract.table} {rows} {content}")
    return {day: digest_of(fixed, *said) for day, said in sorted(found.items())}


def make_raw(files: WarehouseFiles, feed: Feed, days: Days, day: date, key: PseudonymKey) -> list[RawDay]:
    """Make RAW of the logs of a day, in UTC.

    Raises:
        ListeningError: nothing is published yet, a column of a log has no rule, or the list of test users cannot be
            read.
    """
    made_of = made_of_logs(files, feed)
    if made_of is None:
        raise ListeningError(f"{files.published} has no logs of {feed.name} yet. Next: offload run")
    listening, choices = listening_of(feed), feed.listening
    assert choices is not None
    testers = listed(feed)
    said = {KEY_ID: key.key_id, MADE_OF: made_of.get(day, NO_ROW)}
    made: list[tuple[RawDay, pl.DataFrame]] = []
    with _published(files) as connection:
        for contract in logs_of(feed):
            rows = _rows_of(connection, feed, contract, day)
            own = rows.filter(pl.col(listening.country).str.to_uppercase() == choices.country)
            passed = _passed(own, feed, contract, key)
            if contract.offload_type == listening.dataset:
                passed = passed.with_columns(is_tester(own, listening.testers, testers, key).alias(TESTER))
            passed = passed.sort(_event_time(contract), *contract.key)
            made.append((RawDay(contract.table, rows.height, own.height, rows.height - own.height), passed))
    # All of a day or nothing: no file is written before every log has passed its rules.
    with days.lock():
        for report, passed in made:
            days.write(Tier.RAW, report.table, day, passed, said)
    return [report for report, _ in made]


def check_rules(feed: Feed) -> None:
    """Raise ListeningError where a log has no rules, or a column of it has none."""
    for contract in logs_of(feed):
        _passed(_nothing_of(contract), feed, contract, _NOBODYS_KEY)


def _passed(rows: pl.DataFrame, feed: Feed, contract: Contract, key: PseudonymKey) -> pl.DataFrame:
    try:
        return treated(rows, _rules(feed, contract), key, known=contract.columns)
    except RulesError as error:
        raise ListeningError(f"{feed.name} {contract.table}: {error}") from error


def _nothing_of(contract: Contract) -> pl.DataFrame:
    return pl.DataFrame(schema={c.name: c.dtype for c in contract.columns.values()})


def _rules(feed: Feed, contract: Contract) -> Rules:
    """The vendor's rules, for the country of the feed where the numbers of its papers are known."""
    try:
        rules = read_rules(feed.vendor, contract.table)
    except RulesError as error:
        raise ListeningError(str(error)) from error
    assert feed.listening is not None
    country = feed.listening.country
    return rules.model_copy(update={"regions": (country,)}) if country in PAPER_REGIONS else rules


def _rows_of(connection: duckdb.DuckDBPyConnection, feed: Feed, contract: Contract, day: date) -> pl.DataFrame:
    begin = datetime.combine(day, time())
    columns = ", ".join(quoted(name) for name in contract.columns)
    at = quoted(_event_time(contract))
    found = connection.sql(
        f"SELECT {columns} FROM {current_view(contract)} WHERE feed = $feed "
        f"AND {at} >= timezone('UTC', $begin::TIMESTAMP) AND {at} < timezone('UTC', $end::TIMESTAMP)",
        params={"feed": feed.name, "begin": begin, "end": begin + timedelta(days=1)},
    )
    return pl.DataFrame(ArrowStream(found))


def _event_time(contract: Contract) -> str:
    assert contract.event_time is not None
    return contract.event_time


def forget_logins(feed: Feed, days: Days, hashes_of: Callable[[str], Collection[str]]) -> list[date]:
    """Take rows with some hashes out of RAW; `hashes_of` gives those of a domain. Returns the days that changed."""
    changed: set[date] = set()
    with days.lock():
        for contract in logs_of(feed):
            hashed = {
                name: treatment.hash
                for name, treatment in _rules(feed, contract).columns.items()
                if treatment.hash and name in contract.person_columns
            }
            for day in days.of(Tier.RAW, contract.table):
                rows = days.read(Tier.RAW, contract.table, day)
                gone = [pl.col(name).is_in(list(hashes_of(domain))).fill_null(False) for name, domain in hashed.items()]
                kept = rows.filter(~pl.any_horizontal(pl.lit(False), *gone))
                if kept.height < rows.height:
                    days.write(Tier.RAW, contract.table, day, kept, days.facts(Tier.RAW, contract.table, day))
                    changed.add(day)
    return sorted(changed)


def domain_of_logins(feed: Feed) -> str | None:
    """The domain of the hashes in CLEAN; None where no hash passes."""
    listening = listening_of(feed)
    return _rules(feed, vendor_named(feed.vendor).contracts[listening.dataset]).columns[listening.login].hash


def _has_logs(connection: duckdb.DuckDBPyConnection, feed: Feed) -> bool:
    return all(has_views(connection, contract) for contract in logs_of(feed))


def _published(files: WarehouseFiles) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(files.published, read_only=True)
    prepare(connection)
    return connection
