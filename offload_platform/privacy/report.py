"""The privacy report: attacks the tiers as they stand, on the real rows, and says which targets are met.

To know whether an attack succeeds, the truth is needed, which no tier holds. So the pseudonymised rows of the newest
weeks are made once more of the published file, with a key that is thrown away, and hidden once more with persons kept;
what comes out must be what the tiers hold. No key is needed, and nothing of it stays.
"""

import json
import mmap
import secrets
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from offload_platform.privacy import attacks
from offload_platform.privacy.attacks import TARGET
from offload_platform.privacy.cells import cells_of, is_cell
from offload_platform.privacy.hiding import ROW, hidden
from offload_platform.privacy.measures import Head, Measure, Unit, at_least, at_most
from offload_platform.privacy.rules import Rules, hashed_series
from offload_platform.privacy.tables import (
    PERSON,
    PERSONS,
    ROWS,
    WEEK,
    Aggregate,
    CleanTable,
    Kind,
    aggregates_of,
    clean_tables_of,
)
from offload_platform.privacy.tiers import (
    REPORT_SCRATCH,
    Tier,
    TierMissing,
    found_rows,
    make_folder,
    source_sql,
    sources,
    working,
    write_raw,
)
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Privacy
from offload_platform.vendors import vendor_names
from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.search import SHORTEST, files_below, tables_that_hold
from offload_platform.warehouse.sql import fetched, literal, quoted

KNOWN_POINTS = 4
TARGETS = 300
HOME_TARGETS = 5_000
"""How many persons are attacked, each known by so many of their own rows. A share of 1 % takes many to be seen."""

MOST_PERSONS, MOST_UNIQUE, MOST_HOMES = 0.01, 0.05, 0.01
NEAR_KM, LEAST_MEDIAN_KM = 0.5, 2.0
MOST_POINTS, LEAST_CORRELATION = 1.0, 0.99
_WHEN = ("feed", WEEK, "is_weekend", "daypart")
_EXACT = 10
_CANARIES_OF_A_COLUMN = 10
_FEW = 3
_SHUFFLES = 10


@dataclass(frozen=True)
class Report:
    """All that was measured of the tiers, when, and how many persons and rows that was about."""

    made_at: datetime
    persons: int
    rows: int
    measures: tuple[Measure, ...]

    @property
    def missed(self) -> list[Measure]:
        """Measures whose target is missed."""
        return [measure for measure in self.measures if measure.is_met is False]

    def as_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self) | {"passed": not self.missed}, default=str, indent=2)


class _Throwaway(PseudonymKey):
    """A key that nobody keeps. Its epochs are one, so that the attacks know whose pseudonym is whose."""

    def of_epoch(self, _: str) -> "_Throwaway":
        """Itself, whatever the epoch."""
        return self


def report_file(files: WarehouseFiles) -> Path:
    """Where the newest report is."""
    return files.privacy / "report.json"


def last_report(files: WarehouseFiles) -> Mapping[str, Any] | None:
    """The newest report as it was written; None where there is none."""
    file = report_file(files)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def report_sql(files: WarehouseFiles) -> str:
    """A query of DuckDB that has a row for each measure of the newest report."""
    measure = 'head VARCHAR, what VARCHAR, "of" VARCHAR, value DOUBLE, unit VARCHAR, target VARCHAR, is_met BOOLEAN'
    columns = f"{{made_at: 'TIMESTAMPTZ', persons: 'BIGINT', rows: 'BIGINT', measures: 'STRUCT({measure})[]'}}"
    read = f"read_json({literal(str(report_file(files)))}, columns = {columns})"
    return f"SELECT made_at, persons, rows AS rows_attacked, unnest(measures, max_depth := 2) FROM {read}"


def make_report(files: WarehouseFiles, privacy: Privacy, logs: Iterable[Path] = ()) -> Report:
    """Attack the tiers as they stand and write down how that went; `logs` are folders that are searched as well.

    Raises:
        TierMissing: a tier is not there.
        RulesError: a rule file or the file of a table is faulty.
    """
    for file in (files.published, *(tier.file(files) for tier in Tier)):
        if not file.exists():
            raise TierMissing(f"the privacy report is about {file}, which is not there. Next: offload privacy build")
    folder = Tier.PPD_RAW.file(files).parent
    with tempfile.TemporaryDirectory(prefix=REPORT_SCRATCH, dir=folder) as scratch:
        measuring = _Measuring(files, privacy, Path(scratch))
        measures = [*measuring.canaries(logs), *measuring.tables(), *measuring.aggregates(), *measuring.key()]
        report = Report(datetime.now(UTC), measuring.persons, measuring.rows, tuple(measures))
    make_folder(files.privacy, 0o755)
    aside = report_file(files).with_suffix(".json.new")
    aside.write_text(report.as_json(), encoding="utf-8")
    aside.replace(report_file(files))
    return report


@dataclass(frozen=True)
class _Told:
    """A table of `ppd_clean`: the rows of its query, what is told of them with the persons, and the table."""

    name: str
    table: CleanTable
    rows: pl.DataFrame
    told: pl.DataFrame


class _Measuring:
    """One report in the making; the truth is written into a folder that is thrown away."""

    def __init__(self, files: WarehouseFiles, privacy: Privacy, scratch: Path) -> None:
        self._files, self._privacy = files, privacy
        self._key = _Throwaway(secrets.token_bytes(32))
        self._truth = scratch / "truth.duckdb"
        self._spare = scratch / "spare.duckdb"
        self._rules = sources()
        # One week more than is attacked, because the first one may begin before the rows do.
        days = min(privacy.days, 7 * (privacy.report_weeks + 1))
        with working(files.published, self._truth, scratch) as work:
            write_raw(work, self._rules, privacy.model_copy(update={"days": days}), self._key)
            self.rows = sum(work.rows.values())
        self._told = {vendor: list(self._tables_of(vendor)) for vendor in vendor_names()}
        everybody = [one.rows.select(PERSON) for of in self._told.values() for one in of]
        self.persons = pl.concat(everybody)[PERSON].drop_nulls().n_unique() if everybody else 0

    def canaries(self, logs: Iterable[Path]) -> Iterator[Measure]:
        """Values that identify, of the published file, looked for in every tier, its bytes, and the logs."""
        texts, numbers = self._identifying()
        what = f"places where one of {len(texts) + len(numbers)} stands"
        for tier in Tier:
            file = tier.file(self._files)
            with duckdb.connect(file, read_only=True) as connection:
                prepare(connection)
                hits = [*tables_that_hold(connection, texts), *_with_numbers(connection, numbers)]
            hits += [str(file)] if _holds(file, texts) else []
            yield at_most(Head.CANARIES, what, tier.value, len(hits), 0, Unit.COUNT)
        held = sum(_holds(file, texts) for file in files_below(logs))
        yield at_most(Head.CANARIES, "files in which one stands", "logs", held, 0, Unit.COUNT)

    def tables(self) -> Iterator[Measure]:
        """What can be found out from the tables of `ppd_clean`."""
        for vendor, told in self._told.items():
            for one in told:
                yield from self._of_table(one)
            events = [one for one in told if one.table.kind is Kind.EVENT]
            persons = [one for one in told if one.table.kind is Kind.PERSON]
            for one in events:
                yield from self._linked(one, persons)
            for one in events:
                if one.table.chain is not None:
                    yield self._chained(one)
                    yield from self._homes(vendor, one, [stay for stay in events if stay.table.place is not None])
            yield from self._controls(vendor)

    def aggregates(self) -> Iterator[Measure]:
        """How many persons are behind each row of an aggregate, and what it has kept."""
        with working(Tier.PPD_RAW.file(self._files), self._spare, self._spare.parent) as work:
            for vendor in vendor_names():
                for name, table in aggregates_of(vendor).items():
                    if work.has_vendor(vendor):
                        of = f"{vendor}.{name}"
                        told = self._published(Tier.AGGREGATE, of)
                        rows = pl.concat(list(found_rows(work, table)))
                        yield from _of_aggregate(of, table.audience.k(self._privacy), told, rows, table)

    def key(self) -> Iterator[Measure]:
        """Whether another key makes other pseudonyms."""
        for told in self._told.values():
            for one in told:
                if one.table.kind is Kind.PERSON:
                    known = set(self._published(Tier.PPD_CLEAN, one.name)[PERSON])
                    common = len(known & set(one.told[PERSON]))
                    yield at_most(Head.KEY, "pseudonyms that another key makes too", one.name, common, 0, Unit.COUNT)

    def _tables_of(self, vendor: str) -> Iterator[_Told]:
        with working(self._truth, self._spare_of(vendor), self._spare.parent) as work:
            if not work.has_vendor(vendor):
                return
            for name, table in clean_tables_of(vendor).items():
                found = [some for some in found_rows(work, table) if some.height]
                weeks = sorted(found, key=lambda some: str(some[WEEK][0]) if WEEK in some.columns else "")
                chosen = weeks[-self._privacy.report_weeks :]
                if not chosen:
                    continue
                told, first = [], 0
                for some in chosen:
                    one = hidden(some, table, self._privacy.k, self._privacy.sensitive_values)
                    told.append(one.with_columns(pl.col(ROW) + first))
                    first += some.height
                yield _Told(f"{vendor}.{name}", table, pl.concat(chosen).with_row_index(ROW), pl.concat(told))

    def _spare_of(self, vendor: str) -> Path:
        return self._spare.with_name(f"{vendor}.duckdb")

    def _of_table(self, one: _Told) -> Iterator[Measure]:
        columns = list(one.table.columns)
        groups = [name for name in columns if name not in one.table.sensitive]
        k = self._privacy.k
        released = self._published(Tier.PPD_CLEAN, one.name)
        fewest = int(released.group_by(groups).len()["len"].min() or 0) if released.height else k  # type: ignore[arg-type]
        yield at_least(Head.SINGLING_OUT, "fewest rows that tell the same, all weeks", one.name, fewest, k, Unit.COUNT)
        if WEEK in columns:
            released = released.filter(pl.col(WEEK).is_in(one.rows[WEEK].unique()))
        differs = _differing(released.select(columns), one.told.select(columns))
        yield at_most(Head.SINGLING_OUT, "rows that are not those that were attacked", one.name, differs, 0, Unit.COUNT)
        persons = one.told.group_by(groups).agg(pl.col(PERSON).n_unique())[PERSON]
        least = int(persons.min() or 0) if persons.len() else k  # type: ignore[arg-type]
        yield at_least(Head.SINGLING_OUT, "fewest persons who tell the same", one.name, least, k, Unit.COUNT)
        if one.table.kind is Kind.PERSON:
            fine = len(_placed_or_timed(released))
            yield at_most(
                Head.SINGLING_OUT, "columns with places or times finer than a week", one.name, fine, 0, Unit.COUNT
            )
        else:
            has_person = int(bool({PERSON} & set(released.columns)))
            yield at_most(Head.SINGLING_OUT, "columns with a person", one.name, has_person, 0, Unit.COUNT)
        if one.table.kept:
            kept = one.told.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in one.table.kept))
            share = kept.height / max(one.rows.height, 1)
            what = f"rows that tell {' or '.join(one.table.kept)}"
            yield at_least(Head.UTILITY, what, one.name, share, one.table.kept_share)
            for name in one.table.kept:
                told = int(one.told[name].is_not_null().sum()) / max(one.rows.height, 1)
                yield Measure(Head.UTILITY, f"rows that tell {name}", one.name, told)

    def _linked(self, one: _Told, persons: Iterable[_Told]) -> Iterator[Measure]:
        k = self._privacy.k
        known = attacks.known_points(one.rows, KNOWN_POINTS, TARGETS)
        hits = attacks.linked_rows(known, one.told, one.table)
        yield at_most(Head.LINKABILITY, f"rows found by who knows {KNOWN_POINTS} events", one.name, hits, 1 / k)
        for other in persons:
            shared = [name for name in one.table.columns if name in other.table.columns]
            hits = attacks.linked_persons(known, other.told, shared)
            what = f"pseudonyms found by who knows {KNOWN_POINTS} rows of {one.name}"
            yield at_most(Head.LINKABILITY, what, other.name, hits, MOST_PERSONS)

    def _chained(self, one: _Told) -> Measure:
        assert one.table.chain is not None
        when = [name for name in _WHEN if name in one.table.columns]
        chain = one.table.chain
        hits = attacks.chained(one.told, [chain.arrival, *when], [chain.departure, *when])
        return at_most(Head.LINKABILITY, "next trips of the same person", one.name, hits, 1 / self._privacy.k)

    def _homes(self, vendor: str, trips: _Told, stays: Iterable[_Told]) -> Iterator[Measure]:
        homes = self._true_homes(vendor)
        chain = trips.table.chain
        if homes is None or chain is None:
            return
        for one in stays:
            assert one.table.place is not None
            shared = [name for name in _WHEN if name in one.table.columns and name in trips.table.columns]
            rows = one.rows.drop_nulls(one.table.place)
            known = attacks.known_points(rows, KNOWN_POINTS, HOME_TARGETS)
            guesses = attacks.homes_from_trips(
                known, trips.told, one.table.place, chain.arrival, chain.departure, shared
            )
            # Who lives where most people live is found without any knowledge: that is no success of the attack.
            shuffled = [guesses.with_columns(pl.col(TARGET).shuffle(seed=seed)) for seed in range(_SHUFFLES)]
            blind = pl.concat([attacks.kilometres_off(some, homes) for some in shuffled])
            yield from _of_homes(attacks.kilometres_off(guesses, homes), blind, f"{one.name}, {trips.name}")

    def _true_homes(self, vendor: str) -> pl.DataFrame | None:
        """Where persons live, by the pseudonym of the truth."""
        for _, rules, person, domain in self._with_cells(vendor):
            if rules.homes is not None:
                cell = next(iter(rules.cells.values()))
                found = self._of_published(
                    f"SELECT {quoted(person)} AS person, median({quoted(cell.latitude)}) AS latitude, "
                    f"median({quoted(cell.longitude)}) AS longitude FROM ({source_sql(rules)}) "
                    f"WHERE {rules.homes} GROUP BY 1"
                )
                return found.with_columns(hashed_series(found[PERSON], domain, self._key).alias(PERSON))
        return None

    def _controls(self, vendor: str) -> Iterator[Measure]:
        """The attacks on rows as they were delivered, with the person as a pseudonym: these must succeed."""
        homes = self._true_homes(vendor)
        for name, rules, person, domain in self._with_cells(vendor):
            cell = next(iter(rules.cells.values()))
            at = quoted(rules.time or "")
            found = self._of_published(
                f"SELECT {quoted(person)} AS person, {quoted(cell.latitude)} AS latitude, "
                f"{quoted(cell.longitude)} AS longitude, {at} AS at FROM ({source_sql(rules)}) "
                f"WHERE {at} > (SELECT max({at}) - INTERVAL {7 * self._privacy.report_weeks} DAY "
                f"FROM ({source_sql(rules)}))"
            )
            ten = pl.repeat(_EXACT, found.height, eager=True)
            exact = found.select(
                hashed_series(found[PERSON], domain, self._key).alias(PERSON),
                cells_of(found["latitude"], found["longitude"], ten, finest=_EXACT).alias("cell"),
                pl.col("at").dt.truncate("1m"),
            ).drop_nulls()
            of = f"{vendor}.{name} as delivered"
            known = attacks.known_points(exact, KNOWN_POINTS, TARGETS)
            if known.is_empty():
                continue
            hits = attacks.linked_persons(known, exact, ["cell", "at"])
            yield Measure(Head.CONTROL, f"persons found by who knows {KNOWN_POINTS} rows", of, hits)
            alone = attacks.unicity(exact, ["cell", "at"], 2)
            yield Measure(Head.CONTROL, "persons told from all others by 2 rows", of, alone)
            if homes is not None and rules.homes is not None:
                nights = exact.filter((pl.col("at").dt.hour() >= 18) | (pl.col("at").dt.hour() < 6))
                guesses = attacks.guessed_homes(nights.select(pl.col(PERSON).alias(TARGET), "cell"))
                off = attacks.kilometres_off(guesses, homes)
                near = float((off < NEAR_KM).mean() or 0.0)  # type: ignore[arg-type]
                yield Measure(Head.CONTROL, f"homes found to {NEAR_KM * 1000:.0f} m", of, near)

    def _with_cells(self, vendor: str) -> Iterator[tuple[str, Rules, str, str]]:
        """Tables of `ppd_raw` that tell places and times of persons, with the column of the person and its domain."""
        with duckdb.connect(self._files.published, read_only=True) as connection:
            known = fetched(connection, "SELECT 1 FROM duckdb_schemas() WHERE schema_name = ?", [vendor])
        for name, rules in self._rules.get(vendor, {}).items() if known else ():
            hashes = [(column, t.hash) for column, t in rules.columns.items() if t.hash is not None]
            if rules.cells and rules.time is not None and hashes:
                yield name, rules, hashes[0][0], hashes[0][1]

    def _of_published(self, sql: str) -> pl.DataFrame:
        spare = self._spare.with_name(f"{secrets.token_hex(4)}.duckdb")
        with working(self._files.published, spare, spare.parent) as work:
            return work.frame(sql)

    def _published(self, tier: Tier, table: str) -> pl.DataFrame:
        schema, _, name = table.partition(".")
        with duckdb.connect(tier.file(self._files), read_only=True) as connection:
            prepare(connection)
            return pl.DataFrame(ArrowStream(connection.sql(f"FROM {quoted(schema)}.{quoted(name)}")))

    def _identifying(self) -> tuple[set[str], list[float]]:
        """Some values of each column of the published file that identifies, and some coordinates."""
        texts: set[str] = set()
        numbers: list[float] = []
        with duckdb.connect(self._files.published, read_only=True) as connection:
            prepare(connection)
            for schema, table, column, kind in fetched(
                connection,
                "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
                "JOIN duckdb_tables() USING (database_name, schema_name, table_name) "
                "WHERE database_name = current_database() AND (duckdb_columns.comment LIKE '%Privacy: identifier%' "
                "OR duckdb_columns.comment LIKE '%Unit: deg.%Privacy: location%')",
            ):
                some = [
                    value
                    for (value,) in fetched(
                        connection,
                        f"SELECT DISTINCT {quoted(column)} FROM {quoted(schema)}.{quoted(table)} "
                        f"WHERE {quoted(column)} IS NOT NULL ORDER BY hash({quoted(column)}) "
                        f"LIMIT {_CANARIES_OF_A_COLUMN}",
                    )
                ]
                if kind == "VARCHAR":
                    texts |= {value for value in some if len(value) >= SHORTEST}
                elif kind == "DOUBLE":
                    numbers += some
                    texts |= {text for value in some if len(text := str(value)) >= SHORTEST}
        return texts, numbers


def _of_homes(off: pl.Series, blind: pl.Series, of: str) -> Iterator[Measure]:
    """What a search for homes has found, and what it has found more than one that knows somebody else."""
    near, near_blind = (float((km < NEAR_KM).mean() or 0.0) for km in (off, blind))  # type: ignore[arg-type]
    what = f"homes found to {NEAR_KM * 1000:.0f} m"
    yield Measure(Head.INFERENCE, what, of, near)
    yield at_most(Head.INFERENCE, f"{what}, more than without knowing the person", of, near - near_blind, MOST_HOMES)
    if off.len():
        median = float(off.median() or 0.0)  # type: ignore[arg-type]
        yield at_least(Head.INFERENCE, "km between guess and home, median", of, median, LEAST_MEDIAN_KM, Unit.KM)


def _of_aggregate(of: str, k: int, told: pl.DataFrame, found: pl.DataFrame, table: Aggregate) -> Iterator[Measure]:
    """How many persons are behind each row, and how near shares and totals are to those of all rows."""
    least = int(told[PERSONS].min() or 0) if told.height else k  # type: ignore[arg-type]
    yield at_least(Head.SINGLING_OUT, "fewest persons behind a row", of, least, k, Unit.COUNT)
    if found.is_empty():
        return
    cells = told if table.total is None else told.filter(pl.col(table.total).is_not_null())
    share = int(cells[ROWS].sum()) / found.height
    yield at_least(Head.UTILITY, "rows that are counted", of, share, table.kept_share)
    for name in table.profile:
        before = found.group_by(name).len(name="n").with_columns(pl.col("n") / pl.col("n").sum())
        after = (
            cells.group_by(name)
            .agg(pl.col(ROWS).sum().alias("told"))
            .with_columns(pl.col("told") / pl.col("told").sum())
        )
        both = before.join(after, on=name, how="left", nulls_equal=True).with_columns(pl.col("told").fill_null(0.0))
        off = float((both["n"] - both["told"]).abs().max() or 0.0) * 100  # type: ignore[arg-type]
        yield at_most(Head.UTILITY, f"points by which the share of a {name} is off", of, off, MOST_POINTS, Unit.POINTS)
        if both.height >= _FEW:
            likeness = float(both.select(pl.corr("n", "told")).item())
            yield at_least(
                Head.UTILITY, f"correlation of the shares by {name}", of, likeness, LEAST_CORRELATION, Unit.CORRELATION
            )


def _holds(file: Path, texts: Collection[str]) -> bool:
    """Whether one of some texts stands in the bytes of a file, as it is written in the published one."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(text.encode()) >= 0 for text in texts)


def _differing(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """Rows that one frame has more often than the other."""
    columns = one.columns
    counts = [frame.group_by(columns).len(name=name) for frame, name in ((one, "one"), (other, "other"))]
    both = counts[0].join(counts[1], on=columns, how="full", coalesce=True, nulls_equal=True)
    off = both.select((pl.col("one").fill_null(0).cast(pl.Int64) - pl.col("other").fill_null(0).cast(pl.Int64)).abs())
    return int(off.to_series().sum())


def _placed_or_timed(rows: pl.DataFrame) -> list[str]:
    """Columns that hold cells, or times finer than a week."""
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    cells = [name for name in texts if any(is_cell(text) for text in rows[name].drop_nulls().unique())]
    return cells + [name for name, kind in rows.schema.items() if kind.is_temporal()]


def _with_numbers(connection: duckdb.DuckDBPyConnection, numbers: Collection[float]) -> list[str]:
    """Columns in which one of some numbers stands."""
    return [
        f"{schema}.{table}.{column}"
        for schema, table, column in fetched(
            connection,
            "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
            "WHERE database_name = current_database() AND data_type IN ('DOUBLE', 'FLOAT') AND NOT internal",
        )
        if fetched(
            connection,
            f"SELECT 1 FROM {quoted(schema)}.{quoted(table)} WHERE {quoted(column)} IN (SELECT unnest(?)) LIMIT 1",
            [list(numbers)],
        )
    ]
