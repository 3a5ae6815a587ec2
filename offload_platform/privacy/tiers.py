"""The tiers: files of their own, each made of the one before it, so that access is granted by file.

`ppd_raw` holds pseudonymised rows, which are personal data still; it is made of the published file, and is the only
step that takes the key. `ppd_clean` and `aggregate` are made of it, by anybody who may read it. Each is written beside
the one that stands, verified, and swapped in. Its folder gets its mode when it is made; who changes the mode or the
group later keeps the change, and new files inherit the group.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock

from offload_platform.privacy.hiding import counted, hidden
from offload_platform.privacy.rules import Rules, RulesError, key_for, rules_of, treated
from offload_platform.privacy.tables import (
    MACROS,
    PERSON,
    PERSONS,
    ROW_ID,
    ROWS,
    WEEK,
    Aggregate,
    CleanTable,
    Kind,
    aggregates_of,
    clean_tables_of,
)
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Privacy
from offload_platform.vendors import vendor_names
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.publish import put_in_place
from offload_platform.warehouse.sql import comment_on, fetched, literal, quoted

REPORT_SCRATCH = "report."
"""Begins the names of the folders, beside `ppd_raw`, that reports work in."""

_ID_BYTES = 8
_ROW_ID_COMMENT = "A random number of the row, another one each time that the tier is made."
_PERSON_COMMENT = "The person's pseudonym in the quarter of the row; no other table and no other quarter has it."
_ROWS_COMMENT = "Rows that are counted."
_PERSONS_COMMENT = "Distinct persons behind them."


class Tier(StrEnum):
    """A tier by its name, which is that of its folder and file."""

    PPD_RAW = "ppd_raw"
    PPD_CLEAN = "ppd_clean"
    AGGREGATE = "aggregate"

    def file(self, files: WarehouseFiles) -> Path:
        """Where the tier is."""
        return files.privacy / self.value / f"{self.value}.duckdb"

    @property
    def folder_mode(self) -> int:
        """Who may enter the folder of a new tier; new files get the group of the folder."""
        return {self.PPD_RAW: 0o2700, self.PPD_CLEAN: 0o2750, self.AGGREGATE: 0o2755}[self]

    @property
    def file_mode(self) -> int:
        """Who may read the file: nobody may write it."""
        return {self.PPD_RAW: 0o400, self.PPD_CLEAN: 0o440, self.AGGREGATE: 0o444}[self]


class TierMissing(Exception):
    """A tier cannot be made, because the one that it is made of is not there."""


@dataclass(frozen=True)
class Built:
    """A tier that was made: its rows by table, those that its queries found, and the id of the key, if it took one."""

    tier: Tier
    file: Path
    rows: Mapping[str, int]
    found: Mapping[str, int]
    key_id: str | None
    at: datetime


def build_raw(files: WarehouseFiles, privacy: Privacy) -> Built:
    """Make `ppd_raw` of the published file.

    Raises:
        TierMissing: nothing is published.
        RulesError: a column has no rule, or a rule file is faulty.
        PseudonymKeyError: there is no usable key.
        PublishFailed: what was written cannot be read again; the old tier stands.
    """
    rules = sources()
    key = _key_of(rules)
    return _build(Tier.PPD_RAW, files, files.published, key, lambda work: write_raw(work, rules, privacy, key))


def build_clean(files: WarehouseFiles, privacy: Privacy) -> Built:
    """Make `ppd_clean` of `ppd_raw`. No key is needed.

    Raises:
        TierMissing: there is no `ppd_raw`.
        RulesError: the file of a table is faulty.
        PublishFailed: what was written cannot be read again; the old tier stands.
    """
    return _build(Tier.PPD_CLEAN, files, Tier.PPD_RAW.file(files), None, lambda work: _write_clean(work, privacy))


def build_aggregate(files: WarehouseFiles, privacy: Privacy) -> Built:
    """Make `aggregate` of `ppd_raw`, as `build_clean` does."""
    return _build(Tier.AGGREGATE, files, Tier.PPD_RAW.file(files), None, lambda work: _write_aggregate(work, privacy))


BUILDERS: Mapping[Tier, Callable[[WarehouseFiles, Privacy], Built]] = {
    Tier.PPD_RAW: build_raw,
    Tier.PPD_CLEAN: build_clean,
    Tier.AGGREGATE: build_aggregate,
}


def build_all(files: WarehouseFiles, privacy: Privacy) -> list[Built]:
    """Make all tiers, each of the one before it."""
    return [build(files, privacy) for build in BUILDERS.values()]


def readiness() -> str:
    """Whether all tiers can be made, in a sentence.

    Raises:
        RulesError: a file is faulty.
        PseudonymKeyError: there is no usable key.
    """
    rules = sources()
    key = _key_of(rules)
    tables = sum(len(clean_tables_of(vendor)) + len(aggregates_of(vendor)) for vendor in vendor_names())
    of_key = f"the key {key.key_id}" if key else "no key"
    return f"rules of {sum(map(len, rules.values()))} tables, {tables} tables to share, {of_key}"


def _key_of(rules: Mapping[str, Mapping[str, Rules]]) -> PseudonymKey | None:
    keys = [key_for(one) for of_vendor in rules.values() for one in of_vendor.values()]
    return next((key for key in keys if key is not None), None)


def are_behind(files: WarehouseFiles) -> bool:
    """Whether something is published that the tiers do not know."""
    if not files.published.exists():
        return False
    made = [tier.file(files) for tier in Tier]
    if not all(file.exists() for file in made):
        return True
    return min(file.stat().st_mtime_ns for file in made) < files.published.stat().st_mtime_ns


class Work:
    """A connection that reads one file as `source`, which names without a database mean, and writes another."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.rows: dict[str, int] = {}
        self.found: dict[str, int] = {}

    def has_vendor(self, vendor: str) -> bool:
        """Whether the source has anything of a vendor."""
        sql = "SELECT 1 FROM duckdb_schemas() WHERE database_name = 'source' AND schema_name = ?"
        return bool(fetched(self.connection, sql, [vendor]))

    def has_table(self, vendor: str, table: str) -> bool:
        """Whether the source has a table."""
        sql = "SELECT 1 FROM duckdb_tables() WHERE database_name = 'source' AND schema_name = ? AND table_name = ?"
        return bool(fetched(self.connection, sql, [vendor, table]))

    def frame(self, sql: str, *values: object) -> pl.DataFrame:
        """What a query finds."""
        return pl.DataFrame(ArrowStream(self.connection.sql(sql, params=list(values))))

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """Add rows to a table of the tier, which is made of the first ones."""
        schema, _, name = table.partition(".")
        target = f"tier.{quoted(schema)}.{quoted(name)}"
        stream = ArrowStream(rows)  # noqa: F841 (read by DuckDB by its name)
        if table not in self.rows:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS tier.{quoted(schema)}")
            self.connection.execute(f"CREATE TABLE {target} AS FROM stream")
        else:
            self.connection.execute(f"INSERT INTO {target} BY NAME FROM stream")
        self.rows[table] = self.rows.get(table, 0) + rows.height

    def comment(self, table: str, description: str, columns: Mapping[str, str]) -> None:
        """Say what a table and its columns are."""
        schema, _, name = table.partition(".")
        comment_on(self.connection, "TABLE", f"tier.{quoted(schema)}.{quoted(name)}", description, columns)


@contextmanager
def working(source: Path, target: Path, private: Path) -> Iterator[Work]:
    """Read one file and write another, which is new; what does not fit into memory is put into a private folder."""
    with duckdb.connect(":memory:", config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        connection.execute(f"SET temp_directory = {literal(str(private / f'{target.name}.spilled'))}")
        version = literal(str(CONNECTION_CONFIG["storage_compatibility_version"]))
        connection.execute(f"ATTACH {literal(str(source))} AS source (READ_ONLY)")
        connection.execute(f"ATTACH {literal(str(target))} AS tier (STORAGE_VERSION {version})")
        for macro in MACROS:
            connection.execute(macro)
        connection.execute("USE source")
        yield Work(connection)
        connection.execute("CHECKPOINT tier")


def write_raw(work: Work, rules: Mapping[str, Mapping[str, Rules]], privacy: Privacy, key: PseudonymKey | None) -> None:
    """Write the tables of `ppd_raw`: each week of the source is treated by itself, so that memory holds no more."""
    for vendor, of_vendor in rules.items():
        for name, one in of_vendor.items() if work.has_vendor(vendor) else ():
            source = source_sql(one)
            known = [column for column, *_ in fetched(work.connection, f"DESCRIBE ({source})")]
            table = f"{vendor}.{name}"
            if unknown := sorted({*one.read, *one.columns} - set(known)):
                raise RulesError(f"{table}: there are rules for {', '.join(unknown)}, and no such column.")
            if unruled := sorted(set(known) - one.columns.keys()):
                raise RulesError(f"{table}: no rule for {', '.join(unruled)}, so nothing passes.")
            read = ", ".join(quoted(column) for column in one.read)
            for some in _by_week(work, f"SELECT {read} FROM ({source})", one.time, privacy.days):
                passed = treated(some, one, key)
                work.add(table, passed.sort(pl.all(), nulls_last=True) if passed.height else passed)
            work.comment(table, one.description, _raw_comments(one))


def source_sql(rules: Rules) -> str:
    """The query of a source, with its lists in it."""
    assert rules.source is not None
    sql = rules.source
    for name, words in rules.lists.items():
        sql = sql.replace(f"{{{name}}}", f"[{', '.join(literal(word) for word in words)}]")
    return sql


def sources() -> dict[str, dict[str, Rules]]:
    """The rules of all tables of `ppd_raw`, by vendor and table; raises RulesError for a fault in a file."""
    return {vendor: _sources(vendor) for vendor in vendor_names()}


def found_rows(work: Work, table: CleanTable | Aggregate) -> Iterator[pl.DataFrame]:
    """What the query of a table finds in `ppd_raw`, week by week where it tells the week."""
    if WEEK not in table.columns:
        yield work.frame(table.query)
        return
    work.connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {table.query}")
    weeks = fetched(work.connection, f"SELECT DISTINCT {WEEK} FROM found ORDER BY 1")
    if not weeks:
        yield work.frame("FROM temp.found")
    for (week,) in weeks:
        yield work.frame(f"FROM temp.found WHERE {WEEK} IS NOT DISTINCT FROM ?", week)
    work.connection.execute("DROP TABLE temp.found")


def released(rows: pl.DataFrame, table: CleanTable) -> pl.DataFrame:
    """Hidden rows as they leave: without the person where they are events, and in an order that tells nothing."""
    names = list(table.columns)
    if table.kind is Kind.PERSON:
        return rows.select(PERSON, *names).sort(PERSON, *names, nulls_last=True)
    rows = rows.select(names).sort(names, nulls_last=True)
    digits = os.urandom(_ID_BYTES * rows.height).hex()
    width = 2 * _ID_BYTES
    ids = pl.Series(ROW_ID, [digits[at : at + width] for at in range(0, len(digits), width)], dtype=pl.String)
    return rows.insert_column(0, ids)


def _build(
    tier: Tier, files: WarehouseFiles, source: Path, key: PseudonymKey | None, write: Callable[[Work], None]
) -> Built:
    if not source.exists():
        raise TierMissing(
            f"{tier} is made of {source}, which is not there. Next: offload run, then offload privacy build"
        )
    target = tier.file(files)
    found: dict[str, int] = {}
    at = datetime.now(UTC)

    def write_aside(aside: Path) -> dict[str, int]:
        with working(source, aside, Tier.PPD_RAW.file(files).parent) as work:
            write(work)
            work.add("ops.tier", _said_of(tier, source, key, at))
            found.update(work.found)
        return work.rows

    make_folder(files.privacy, 0o755)
    make_folder(target.parent, tier.folder_mode)
    with tiers_lock(files):
        rows = put_in_place(target, source, "its source", write_aside, tier.file_mode)
    return Built(tier, target, rows, found, key.key_id if key else None, at)


def tiers_lock(files: WarehouseFiles) -> FileLock:
    """The lock of whoever writes a tier."""
    return FileLock(files.privacy / "tiers.lock")


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with a mode; one that is there keeps its own."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(mode)


def _said_of(tier: Tier, source: Path, key: PseudonymKey | None, at: datetime) -> pl.DataFrame:
    """What a tier says of itself."""
    made_of = datetime.fromtimestamp(source.stat().st_mtime, UTC)
    return pl.DataFrame(
        {"tier": [tier.value], "made_at": [at], "source_made_at": [made_of], "key_id": [key.key_id if key else None]},
        schema_overrides={"key_id": pl.String},
    )


def _sources(vendor: str) -> dict[str, Rules]:
    return {name: rules for name, rules in rules_of(vendor).items() if rules.source is not None}


def _write_clean(work: Work, privacy: Privacy) -> None:
    for vendor in vendor_names():
        for name, table in clean_tables_of(vendor).items() if work.has_vendor(vendor) else ():
            for rows in found_rows(work, table):
                told = hidden(rows, table, privacy.k, privacy.sensitive_values)
                work.add(f"{vendor}.{name}", released(told, table))
                work.found[f"{vendor}.{name}"] = work.found.get(f"{vendor}.{name}", 0) + rows.height
            of_kind = {PERSON: _PERSON_COMMENT} if table.kind is Kind.PERSON else {ROW_ID: _ROW_ID_COMMENT}
            work.comment(f"{vendor}.{name}", table.description, of_kind | table.columns)


def _write_aggregate(work: Work, privacy: Privacy) -> None:
    for vendor in vendor_names():
        for name, table in aggregates_of(vendor).items() if work.has_vendor(vendor) else ():
            for rows in found_rows(work, table):
                work.add(f"{vendor}.{name}", counted(rows, table, table.audience.k(privacy), privacy.rows_per_person))
                work.found[f"{vendor}.{name}"] = work.found.get(f"{vendor}.{name}", 0) + rows.height
            comments = table.columns | {ROWS: _ROWS_COMMENT, PERSONS: _PERSONS_COMMENT} | table.sums
            work.comment(f"{vendor}.{name}", table.description, comments)


def _by_week(work: Work, sql: str, time: str | None, days: int) -> Iterator[pl.DataFrame]:
    """What a query finds, week by week of its time; rows more than some days older than the newest are left out.

    So are those of the future: one wrong clock must not make all others old.
    """
    if time is None:
        yield work.frame(sql)
        return
    at = quoted(time)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    [(newest,)] = fetched(work.connection, f"SELECT max({at}) FROM ({sql}) WHERE {at} < ?", [tomorrow])
    if newest is None:
        yield work.frame(f"{sql} LIMIT 0")
        return
    recent = f"SELECT * FROM ({sql}) WHERE {at} > ? AND {at} <= ?"
    bounds = (newest - timedelta(days=days), newest)
    for (week,) in fetched(
        work.connection, f"SELECT DISTINCT date_trunc('week', {at}) FROM ({recent}) ORDER BY 1", bounds
    ):
        yield work.frame(f"{recent} AND date_trunc('week', {at}) = ?", *bounds, week)


def _raw_comments(rules: Rules) -> dict[str, str]:
    """How each column of a table came to be."""
    said = {}
    for name in rules.passed:
        treatment = rules.columns[name]
        if treatment.hash is not None:
            said[name] = f"HMAC-SHA-256 in the domain {treatment.hash}. Privacy: identifier."
        elif treatment.scrub is not None:
            said[name] = f"Without {', '.join(treatment.scrub)}."
        elif treatment.minutes is not None:
            said[name] = f"Cut to {treatment.minutes} minutes."
        else:
            said[name] = "As in the published file."
    cells = dict.fromkeys(rules.cells, "Cell of H3, resolution 9 at most. Privacy: location.")
    epochs = dict.fromkeys(rules.epochs, f"Pseudonym in the quarter of {rules.time}. Privacy: identifier.")
    return said | cells | epochs
