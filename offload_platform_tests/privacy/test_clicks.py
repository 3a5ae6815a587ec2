"""Clicks and conversions in the tiers: nobody's rows, and sums of enough persons."""

from pathlib import Path

import duckdb
import pytest

from offload_platform.landing.pseudonyms import KEY_VARIABLE
from offload_platform.privacy.report import make_report
from offload_platform.privacy.tiers import Tier, build_all
from offload_platform.quality.protect import PseudonymKey
from offload_platform.settings import Privacy
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.blank import write_blank
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare

SECRET = "s" * 32
MANY = """
    SELECT 'acme' AS feed, 'new' AS change_kind, TIMESTAMPTZ '2026-09-08 00:00:00Z' AS known_from,
        TIMESTAMPTZ '2026-09-07 09:00:00Z' + INTERVAL (i) MINUTE AS created_at, 'BE' AS country,
        'mobile' AS device_type, 'o' AS offer_id, 'p' || (i % 2) AS partner_id, 'ann@example.com' AS sub1,
        CASE WHEN i % 60 < 40 THEN lpad((i % 60)::VARCHAR, 64, 'd') END AS idfa_hash,
        lpad((i % 60)::VARCHAR, 64, 'e') AS ip_hash
    FROM range(300) AS r(i)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WarehouseFiles:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    files = WarehouseFiles(tmp_path)
    for file in (files.build, files.published):
        file.parent.mkdir(parents=True)
    write_blank(files, [vendor_named("affise")], files.published)
    with duckdb.connect(files.published, config=dict(CONNECTION_CONFIG)) as connection:
        prepare(connection)
        connection.execute(
            f"INSERT INTO history.clicks BY NAME SELECT *, 'k' || line AS click_id FROM (SELECT *, "
            f"row_number() OVER () AS line FROM ({MANY}))"
        )
        connection.execute(
            f"INSERT INTO history.conversions BY NAME SELECT *, 'c' AS conversion_id, 'EUR' AS currency, "
            f"CASE WHEN idfa_hash IS NULL THEN 'declined' ELSE 'confirmed' END AS status, 1.25 AS payout, 2 AS revenue "
            f"FROM ({MANY})"
        )
    return files


def test_clicks_name_nobody_and_sums_are_of_enough_persons(files: WarehouseFiles) -> None:
    raw, clean, aggregate = build_all(files, Privacy())
    assert raw.rows["affise.clicks"] == raw.rows["affise.conversions"] == 300
    with duckdb.connect(Tier.PPD_RAW.file(files), read_only=True) as connection:
        persons = {p for (p,) in connection.execute("SELECT person_hash FROM affise.clicks").fetchall()}
        columns = {c for c, *_ in connection.execute("DESCRIBE affise.clicks").fetchall()}
    assert len(persons) == 60, "who has no id of a device is told by the address"
    assert PseudonymKey(SECRET.encode()).hashed("affiliate_person", "1".rjust(64, "d")) in persons
    assert not columns & {"click_id", "idfa_hash", "ip_hash", "sub1", "extra"}
    assert clean.rows["affise.clicks"] == clean.rows["affise.conversions"] == 300
    assert aggregate.rows["affise.clicks_by_week"] == 3
    with duckdb.connect(Tier.AGGREGATE.file(files), read_only=True) as connection:
        prepare(connection)
        said = "SELECT status, rows, persons, payout FROM affise.conversions_by_week ORDER BY ALL NULLS LAST"
        assert connection.execute(said).fetchall() == [
            ("confirmed", 200, 40, 250.0),
            ("declined", 100, 20, 125.0),
            (None, 300, 60, 375.0),
        ]
    assert make_report(files, Privacy()).missed == []
