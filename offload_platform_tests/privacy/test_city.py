"""A city of 3,000 persons and 28 days: every target is met, and every attack succeeds where nothing protects."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError
from offload_platform.orchestration.tiers import plot
from offload_platform.privacy import attacks
from offload_platform.privacy.attacks import TARGET
from offload_platform.privacy.cells import cells_of
from offload_platform.privacy.hiding import ROW, hidden
from offload_platform.privacy.measures import Head
from offload_platform.privacy.report import Report, last_report, make_report
from offload_platform.privacy.rules import RulesError, read_rules
from offload_platform.privacy.tables import MACROS, PERSON, CleanTable, clean_tables_of
from offload_platform.privacy.tiers import Tier, TierMissing, build_all, build_clean, build_raw
from offload_platform.quality.arrow import ArrowStream
from offload_platform.settings import Privacy
from offload_platform.warehouse.files import WarehouseFiles, prepare

from .city import city

USERS, DAYS = 3_000, 28
PRIVACY = Privacy()
TRIPS = clean_tables_of("sentiance")["trips"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarehouseFiles]:
    """The city with its tiers."""
    files = city(tmp_path_factory.mktemp("city") / "warehouse", USERS, DAYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, "k" * 32)
        build_all(files, PRIVACY)
    return files


@pytest.fixture(scope="module")
def report(place: WarehouseFiles) -> Report:
    """No key is at hand when the report is made."""
    assert KEY_VARIABLE not in os.environ
    return make_report(place, PRIVACY)


@pytest.fixture(scope="module")
def delivered(place: WarehouseFiles) -> pl.DataFrame:
    """Trips as they were delivered: person, exact cells of both ends, minute, day."""
    rows = asked(
        place.published,
        "SELECT user_id AS person, waypoints[1].latitude AS a, waypoints[1].longitude AS b, "
        "waypoints[-1].latitude AS c, waypoints[-1].longitude AS d, start_local AS at, start_local::DATE AS day "
        "FROM sentiance.transports",
    )
    ten = pl.repeat(10, rows.height, eager=True)
    return rows.select(
        PERSON,
        "at",
        "day",
        cells_of(rows["a"], rows["b"], ten, finest=10).alias("origin"),
        cells_of(rows["c"], rows["d"], ten, finest=10).alias("destination"),
    )


def asked(file: Path, sql: str) -> pl.DataFrame:
    with duckdb.connect(file, read_only=True) as connection:
        prepare(connection)
        for macro in MACROS:
            connection.execute(macro)
        return pl.DataFrame(ArrowStream(connection.sql(sql)))


def tables(file: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    sql = "SELECT schema_name || '.' || table_name AS t, column_name AS c FROM duckdb_columns() WHERE NOT internal"
    for table, column in asked(file, sql).rows():
        found.setdefault(table, set()).add(column)
    return found


def test_every_target_is_met_and_every_attack_works_on_what_was_delivered(
    place: WarehouseFiles, report: Report
) -> None:
    assert report.missed == []
    assert report.persons == USERS
    measured = {(m.head, m.what, m.of) for m in report.measures}
    assert {head for head, _, _ in measured} == set(Head)
    controls = {(m.what, m.of): m.value for m in report.measures if m.head is Head.CONTROL}
    assert len(controls) == 5
    assert min(controls.values()) > 0.95
    assert plot(report).count("█") > 300
    said = last_report(place)
    assert said is not None
    assert said["passed"]
    assert len(said["measures"]) == len(report.measures)


def test_the_attacks_on_trips_succeed_without_protection_and_fail_with_it(
    report: Report, delivered: pl.DataFrame
) -> None:
    exact = ["origin", "destination", "at"]
    known = attacks.known_points(delivered, 4, 200)
    assert attacks.linked_persons(known, delivered, exact) > 0.99
    assert attacks.unicity(delivered, exact, 2, 200) > 0.99
    chain = attacks.chained(delivered, ["destination", "day"], ["origin", "day"])
    assert chain > 0.75
    one_level = CleanTable.model_validate(
        TRIPS.model_dump() | {"columns": dict.fromkeys(exact, "."), "levels": [exact], "kept": [], "chain": None}
    )
    numbered = delivered.with_row_index(ROW)
    told = hidden(delivered, one_level, 1, 1)
    assert attacks.linked_rows(attacks.known_points(numbered, 4, 200), told, one_level) > 0.99
    measures = {(m.head, m.of, m.what.split(" by ")[0]): m.value for m in report.measures}
    assert measures[Head.LINKABILITY, "sentiance.trips", "rows found"] < 0.2
    assert measures[Head.LINKABILITY, "sentiance.trips", "next trips of the same person"] < chain / 4


def test_homes_are_found_by_who_has_the_nights_of_a_pseudonym(place: WarehouseFiles, delivered: pl.DataFrame) -> None:
    homes = asked(
        place.published,
        "SELECT user_id AS person, median(latitude) AS latitude, median(longitude) AS longitude "
        "FROM sentiance.stationaries WHERE significance = 'home' GROUP BY 1",
    )
    evenings = delivered.filter(pl.col("at").dt.hour() >= 17)
    guesses = attacks.guessed_homes(evenings.select(pl.col(PERSON).alias(TARGET), pl.col("destination").alias("cell")))
    off = attacks.kilometres_off(guesses, homes)
    assert (off < 0.5).mean() > 0.95
    assert off.median() < 0.1


def test_what_is_published_cannot_be_joined_and_holds_no_home(place: WarehouseFiles) -> None:
    clean = Tier.PPD_CLEAN.file(place)
    kinds = {f"sentiance.{name}": table.kind for name, table in clean_tables_of("sentiance").items()}
    found = tables(clean)
    assert set(kinds) == set(found) - {"ops.tier"}
    persons = {name for name, columns in found.items() if PERSON in columns}
    assert persons == {name for name, kind in kinds.items() if kind == "person"}
    ids = asked(clean, "SELECT row_id FROM sentiance.trips UNION ALL SELECT row_id FROM sentiance.stays")["row_id"]
    assert ids.n_unique() == ids.len()
    assert not set(ids) & set(asked(clean, "SELECT person FROM sentiance.person_week")["person"])
    homes = asked(Tier.PPD_RAW.file(place), "SELECT count(*) AS n FROM sentiance.stays WHERE significance = 'home'")
    assert homes["n"][0] > 10_000
    told = asked(clean, "SELECT count(*) AS n FROM sentiance.stays")
    elsewhere = asked(Tier.PPD_RAW.file(place), "SELECT count(*) AS n FROM sentiance.stays WHERE NOT is_home_or_work")
    assert told["n"][0] <= elsewhere["n"][0]
    masked = asked(
        clean, "SELECT count(*) AS n, count(place) AS placed FROM sentiance.stays WHERE category = 'sensitive'"
    )
    assert masked["n"][0] > 1_000
    assert masked["placed"][0] == 0


def test_the_raw_tier_is_coarse_and_its_pseudonyms_hold_for_a_quarter(place: WarehouseFiles) -> None:
    raw = Tier.PPD_RAW.file(place)
    cells = asked(raw, "SELECT DISTINCT is_home_or_work, substr(place, 2, 1)::INT AS resolution FROM sentiance.stays")
    assert sorted(cells.drop_nulls().rows()) == [(False, 9), (True, 6)]
    seconds = asked(raw, "SELECT DISTINCT epoch(start_local) % 900 AS s FROM sentiance.trips")["s"]
    assert seconds.to_list() == [0]
    quarters = asked(
        raw,
        "SELECT quarter(date_trunc('week', start_local) + INTERVAL 3 DAY) AS quarter, user_of_quarter AS person, "
        "user_id FROM sentiance.trips GROUP BY ALL",
    )
    of_each = [set(some[PERSON]) for _, some in quarters.group_by("quarter")]
    assert len(of_each) == 2, "the days reach into the last quarter"
    assert not of_each[0] & of_each[1]
    assert not set(quarters["user_id"]) & set.union(*of_each)
    weeks = asked(Tier.PPD_CLEAN.file(place), "SELECT person, iso_week FROM sentiance.person_week")
    assert weeks.height == weeks.unique().height


def test_access_is_granted_by_file(place: WarehouseFiles) -> None:
    modes = {tier: stat.S_IMODE(tier.file(place).stat().st_mode) for tier in Tier}
    assert modes == {Tier.PPD_RAW: 0o400, Tier.PPD_CLEAN: 0o440, Tier.AGGREGATE: 0o444}
    folders = {tier: stat.S_IMODE(tier.file(place).parent.stat().st_mode) & 0o777 for tier in Tier}
    assert folders == {Tier.PPD_RAW: 0o700, Tier.PPD_CLEAN: 0o750, Tier.AGGREGATE: 0o755}
    assert sorted(path.name for path in Tier.PPD_RAW.file(place).parent.iterdir()) == ["ppd_raw.duckdb"]


def test_without_the_key_or_a_rule_the_old_tier_stands(
    place: WarehouseFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = Tier.PPD_RAW.file(place).read_bytes()
    with pytest.raises(PseudonymKeyError):
        build_raw(place, PRIVACY)
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    rules = read_rules("sentiance", "segments")
    fewer = {name: treatment for name, treatment in rules.columns.items() if name != "segment_ids"}
    broken = {"sentiance": {"segments": rules.model_copy(update={"columns": fewer})}}
    monkeypatch.setattr("offload_platform.privacy.tiers.sources", lambda: broken)
    with pytest.raises(RulesError, match="no rule for segment_ids"):
        build_raw(place, PRIVACY)
    assert Tier.PPD_RAW.file(place).read_bytes() == before
    with pytest.raises(TierMissing, match=r"ppd_raw\.duckdb, which is not there"):
        build_clean(WarehouseFiles(tmp_path), PRIVACY)


def test_the_report_finds_what_should_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = city(tmp_path / "warehouse", 200, 7)
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    build_all(files, PRIVACY)
    log = tmp_path / "logs" / "run.log"
    log.parent.mkdir()
    # Those that are looked for are the first ones in the order of their hashes.
    [user], [latitude] = (
        asked(files.published, f"SELECT {c} FROM history.stationaries ORDER BY hash({c}) LIMIT 1").to_series()
        for c in ("user_id", "latitude")
    )
    log.write_text(f"loaded {user}", encoding="utf-8")
    clean = Tier.PPD_CLEAN.file(files)
    clean.chmod(0o600)
    with duckdb.connect(clean) as connection:
        for statement in (
            f"UPDATE sentiance.trips SET mode = '{user}' WHERE row_id = (SELECT min(row_id) FROM sentiance.trips)",
            f"UPDATE sentiance.person_scores SET smooth = {latitude} "
            "WHERE person = (SELECT min(person) FROM sentiance.person_scores)",
            "ALTER TABLE sentiance.person_segments ADD COLUMN seen_at TIMESTAMP",
            "ALTER TABLE sentiance.stays ADD COLUMN person VARCHAR",
        ):
            connection.execute(statement)
    report = make_report(files, PRIVACY, [log.parent])
    missed = {((m.of, m.what.split(" of ")[0]), m.value) for m in report.missed}
    assert missed >= {
        (("ppd_clean", "places where one"), 3),
        (("logs", "files in which one stands"), 1),
        (("sentiance.trips", "rows that are not those that were attacked"), 2),
        (("sentiance.trips", "fewest rows that tell the same, all weeks"), 1),
        (("sentiance.person_scores", "fewest rows that tell the same, all weeks"), 1),
        (("sentiance.person_scores", "rows that are not those that were attacked"), 2),
        (("sentiance.person_segments", "columns with places or times finer than a week"), 1),
        (("sentiance.stays", "columns with a person"), 1),
    }
