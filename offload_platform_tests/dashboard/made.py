"""Published files of any size, filled by DuckDB itself: people who commute, drive, carry labels, and click.

Everything follows from the number of days and people. The schema is that of every published file; the messages and the
report that stand beside it have theirs.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import yaml

from offload_platform.cli.dashboard import shown_of
from offload_platform.dashboard.launch import Shown
from offload_platform.privacy.measures import Head, Measure, Unit, at_least, at_most
from offload_platform.privacy.report import Report, report_file
from offload_platform.settings import Settings, read_settings
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.blank import ensure_published
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.ops import ensure_ops

LAST_DAY = date(2026, 11, 21)
DAYS = 28
TRIPS_A_DAY = 2
FEED, SHOP = "acme", "acme_shop"
SECRET = "my name is Anna"
"""Begins the texts that one login alone has written."""
REPORT = Report(
    datetime(2026, 11, 22, 6, 30, tzinfo=UTC),
    200,
    34_567,
    (
        at_most(Head.CANARIES, "places where one of 20 stands", "ppd_clean", 0, 0, Unit.COUNT),
        at_least(Head.SINGLING_OUT, "fewest persons who tell the same", "stays", 3, 5, Unit.COUNT),
        at_most(Head.LINKABILITY, "rows found by who knows 4 events", "trips", 0.11, 0.2),
        at_most(Head.LINKABILITY, "next trips of the same person", "trips", 0.31, 0.2),
        at_least(Head.INFERENCE, "km between guess and home, median", "stays, trips", 2.8, 2, Unit.KM),
        at_least(Head.UTILITY, "rows that tell origin or destination", "trips", 0.98, 0.95),
        at_least(Head.UTILITY, "rows that are counted", "homes", 0, 0),
        Measure(Head.UTILITY, "rows that tell origin", "trips", 0.93),
        Measure(Head.CONTROL, "persons found by who knows 4 rows", "stays as delivered", 1.0),
    ),
)
"""Two of its targets are missed."""

_ROWS = """
CREATE TEMP TABLE person AS
SELECT n, printf('%024x', n + 1) AS user_id, 'acme' AS feed, '5a689ab0e97b960500002109' AS app_id, 60 AS offset_min,
    [['51.054', '3.717', 'Gent'], ['51.219', '4.403', 'Antwerpen'], ['51.209', '3.224', 'Brugge']][n % 3 + 1] AS town
FROM range($people) AS r(n);
CREATE TEMP TABLE place AS
SELECT n, kind, town[3] AS city,
    town[1]::DOUBLE + (hash(n, kind) % 1000)::INTEGER / 8000 - 0.06 AS latitude,
    town[2]::DOUBLE + (hash(kind, n) % 1000)::INTEGER / 5000 - 0.1 AS longitude
FROM person, (VALUES ('home'), ('work'), ('poi')) AS k(kind);
CREATE TEMP TABLE told AS
SELECT DATE '$last' - d::INTEGER AS day, DATE '$last'::TIMESTAMPTZ + INTERVAL 15 HOUR AS known_from
FROM range($days) AS r(d);
CREATE TEMP TABLE stay AS
SELECT p.*, t.day, t.known_from, w.kind, w.hours, w.starts, place.city, place.latitude, place.longitude
FROM person AS p, told AS t, (VALUES ('home', 14, 18), ('work', 9, 8), ('poi', 1, 12)) AS w(kind, hours, starts)
JOIN place ON place.n = p.n AND place.kind = w.kind
WHERE w.kind <> 'poi' OR isodow(t.day) = 6;
INSERT INTO history.stationaries BY NAME
SELECT feed, app_id, known_from, 'new' AS change_kind, user_id, day + starts * INTERVAL 1 HOUR AS start_local,
    (day + starts * INTERVAL 1 HOUR) AT TIME ZONE 'UTC' - INTERVAL 1 HOUR AS start_at, false AS is_open,
    hours * 3600 AS duration_s, kind AS significance, city, latitude, longitude,
    CASE WHEN kind = 'poi' THEN 'Zoo' END AS place_name,
    CASE WHEN kind = 'poi' THEN 'leisure' END AS place_category
FROM stay;
INSERT INTO history.transports BY NAME
SELECT feed, app_id, known_from, 'new' AS change_kind, user_id,
    day + h * INTERVAL 1 HOUR + INTERVAL 15 MINUTE AS start_local,
    (day + h * INTERVAL 1 HOUR) AT TIME ZONE 'UTC' - INTERVAL 45 MINUTE AS start_at, false AS is_open,
    ['CAR', 'BIKING', 'TRAIN', 'WALKING'][n % 4 + 1] AS mode, 900 + (hash(n, day) % 30000)::INTEGER AS distance_m,
    600 + n % 50 * 30 AS duration_s
FROM person, told, (VALUES (7 + n % 3), (16 + n % 4)) AS v(h);
INSERT INTO history.moments BY NAME
SELECT feed, app_id, known_from, 'new' AS change_kind, user_id, day + INTERVAL 7 HOUR AS start_local,
    (day + INTERVAL 6 HOUR) AT TIME ZONE 'UTC' AS start_at, false AS is_open, moment_id, 3600 AS duration_s
FROM person, told, (VALUES ('morning_rush'), ('commute')) AS m(moment_id) WHERE hash(n, day, moment_id) % 3 > 0;
INSERT INTO history.segments BY NAME
SELECT feed, app_id, user_id, segment_id, 'new' AS change_kind,
    DATE '$last'::TIMESTAMPTZ - (hash(n, segment_id) % 28)::INTEGER * INTERVAL 1 DAY AS known_from,
    CASE WHEN hash(segment_id, n) % 4 = 0 THEN DATE '$last'::TIMESTAMPTZ END AS known_to
FROM person, (VALUES ('early_bird'), ('heavy_commuter'), ('student')) AS s(segment_id)
WHERE hash(n, segment_id) % 2 = 0;
CREATE TEMP TABLE drive AS
SELECT feed, app_id, known_from, user_id, format('{}@{}', user_id, day) AS drive_key, day AS data_day, n,
    day + (hash(n, day) % 24)::INTEGER * INTERVAL 1 HOUR AS start_local,
    (day + (hash(n, day) % 24)::INTEGER * INTERVAL 1 HOUR) AT TIME ZONE 'UTC' - INTERVAL 1 HOUR AS start_at,
    4000 + (hash(day, n) % 20000)::INTEGER AS distance_m,
    round(0.35 + n % 7 * 0.09 + (hash(user_id, day) % 100)::INTEGER / 1000, 3) AS score
FROM person, told WHERE n % 4 = 0;
INSERT INTO history.transports_realtime BY NAME
SELECT feed, app_id, known_from, 'new' AS change_kind, user_id, drive_key, data_day, start_local, start_at,
    start_at + INTERVAL 20 MINUTE AS end_at, 'CAR' AS mode, distance_m, 1200 AS duration_s, 'driver' AS occupant_role,
    score AS score_smooth_v2, least(1, score + 0.1) AS score_legal_v2, score AS score_anticipative_v2,
    greatest(0, score - 0.2) AS score_focus
FROM drive;
INSERT INTO history.driving_events_realtime BY NAME
SELECT feed, app_id, known_from, 'new' AS change_kind, user_id, drive_key, start_at, start_local, 'CAR' AS mode,
    [
        {'event_type': 'brake', 'start_at': start_at, 'duration_s': 2.0, 'peaks': [{'max_mps2': 1.5 + n % 5}]},
        {'event_type': 'phone_usage', 'start_at': start_at, 'duration_s': 5.0 + n % 60, 'peaks': []}
    ] AS events
FROM drive;
INSERT INTO history.conversions BY NAME
SELECT 'acme_shop' AS feed, format('c{}', n) AS conversion_id, format('k{}', n) AS click_id,
    CASE change WHEN 0 THEN 'new' ELSE 'changed' END AS change_kind,
    (DATE '$last' - (n % $days)::INTEGER)::TIMESTAMPTZ AS created_at,
    created_at + change * INTERVAL 3 DAY AS changed_at,
    created_at + change * INTERVAL 3 DAY AS known_from,
    CASE change WHEN 0 THEN created_at + INTERVAL 3 DAY END AS known_to, 'o1' AS offer_id,
    format('p{}', n % 5) AS partner_id,
    CASE change WHEN 0 THEN 'hold' ELSE ['confirmed', 'declined', 'pending'][n % 3 + 1] END AS status,
    'EUR' AS currency,
    1.5 AS payout, 2.5 AS revenue
FROM range($people) AS r(n), (VALUES (0), (1)) AS c(change);
INSERT INTO history.clicks BY NAME
SELECT 'acme_shop' AS feed, format('k{}', n) AS click_id, 'new' AS change_kind, 'o1' AS offer_id,
    format('p{}', n % 5) AS partner_id,
    (DATE '$last' - (n % $days)::INTEGER)::TIMESTAMPTZ - INTERVAL 1 HOUR AS created_at, created_at AS known_from
FROM range(4 * $people) AS r(n);
INSERT INTO ops.ledger BY NAME
SELECT IF(offload_type IN ('clicks', 'conversions'), 'acme_shop', 'acme') AS feed, vendor, offload_type,
    DATE '$last' - 7 * w::INTEGER AS partition,
    (DATE '$last' - 7 * w::INTEGER)::TIMESTAMPTZ + INTERVAL 15 HOUR AS delivery_stamp,
    format('{}/{}', partition, offload_type) AS delivery_folder,
    format('{}/part-0', delivery_folder) AS object_key,
    delivery_stamp + INTERVAL 1 HOUR AS last_modified, delivery_stamp + INTERVAL 2 HOUR AS loaded_at,
    'loaded' AS status,
    'md5' AS checksum, 1000 AS size_bytes, $people AS rows_in, $people - (w = 0)::BIGINT AS rows_loaded,
    (w = 0)::BIGINT AS rows_quarantined, 0 AS rows_erased
FROM range(4) AS r(w), (VALUES $types) AS t(vendor, offload_type);
INSERT INTO ops.quarantine BY NAME
SELECT feed, vendor, offload_type, delivery_stamp, object_key, 7 AS line, ['start_at: not a time'] AS reasons,
    'a row that nobody is to see here' AS raw
FROM ops.ledger WHERE rows_quarantined > 0;
INSERT INTO ops.drift BY NAME
SELECT feed, vendor, offload_type, delivery_stamp, object_key, 'unknown column' AS kind, 'weather' AS column_name
FROM ops.ledger WHERE offload_type = 'moments' AND rows_quarantined > 0;
"""


def write_published(file: Path, people: int = 200, days: int = DAYS) -> None:
    """Write a file and put it where a published one stands, as publishing does; `people * days * 2` trips are in it."""
    types = ", ".join(f"('{v}', '{t}')" for v in vendor_names() for t in vendor_named(v).contracts)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".new")
    aside.write_bytes(_blank())
    values = {"people": people, "days": days, "last": LAST_DAY, "types": types}
    with duckdb.connect(aside) as connection:
        prepare(connection)
        connection.execute(_with(values, _ROWS))
    aside.replace(file)


_MESSAGES = """
COPY (
    SELECT
        (DATE '$last' - d::INTEGER)::TIMESTAMPTZ + (7 + n % 12) * INTERVAL 1 HOUR + m * INTERVAL 30 SECOND AS "MSG_DT",
        sha256(format('{}/{}', n, d)) AS "AURA_ID",
        CASE WHEN n = 0 AND d < 3 THEN 'television' ELSE ['whatsapp', 'web'][n % 2 + 1] END AS "CHANNEL_CD",
        'BE' AS "COUNTRY_CD", CASE WHEN n % 9 = 1 THEN '500' ELSE '200' END AS "STATUS_CD",
        CASE WHEN n % 9 = 1 THEN 'backend.timeout' END AS "REASON", format('8.{}.0', n % 2) AS "VERSION_ID",
        'nl-be' AS "LANG_CD", (200 + 10 * n)::INTEGER AS "DURATION_NU",
        CASE WHEN m = 3 THEN format('$secret {} {}', n, d) ELSE ['how much is my bill', 'hello'][m % 2 + 1] END
            AS utterance,
        ['bill.check', 'greeting'][m % 2 + 1] AS intent, (n % 20) / 20 AS score, 'grammar' AS recognizer,
        left(sha256(format('{}/{}', n, d)), 16) AS "sesId", 4::INTEGER AS "sesSize", 90::INTEGER AS "sesDuration",
        CASE WHEN n % 8 = 7 THEN 'test' ELSE 'real' END AS "userType"
    FROM range($people) AS r(n), range($days) AS t(d), range(4) AS s(m)
) TO '$file' (FORMAT parquet)
"""


def settings_in(folder: Path) -> Settings:
    """The configuration of a warehouse that has all that can stand beside its published file."""
    feed = {
        "name": FEED,
        "vendor": "aura",
        "url": "file:///nowhere",
        "cadence": {"logs": "daily"},
        "start": "2026-11-01",
        "listening": {"country": "BE"},
    }
    file = folder / "feeds.yaml"
    file.write_text(yaml.safe_dump({"warehouse": "./warehouse", "privacy": {}, "feeds": [feed]}))
    return read_settings(file)


def write_beside(folder: Path, people: int, days: int = DAYS) -> Shown:
    """Write pseudonymised messages and a report beside a published file; four messages of everybody each day."""
    settings = settings_in(folder)
    files = WarehouseFiles(settings.warehouse)
    report_file(files).parent.mkdir(parents=True)
    report_file(files).write_text(REPORT.as_json())
    shown = shown_of(settings)
    [pattern] = shown.beside["messages"].patterns
    Path(pattern).parent.mkdir(parents=True)
    file = Path(pattern).with_name(f"{LAST_DAY}.parquet")
    values = {"file": file, "people": people, "days": days, "last": LAST_DAY, "secret": SECRET}
    with duckdb.connect() as connection:
        prepare(connection)
        connection.execute(_with(values, _MESSAGES))
    return shown


def write_empty(file: Path) -> None:
    """Write the published file of a warehouse into which nothing was ever loaded."""
    with duckdb.connect(file, config=CONNECTION_CONFIG) as connection:
        ensure_ops(connection)


def _with(values: Mapping[str, object], statements: str) -> str:
    for name, value in values.items():
        statements = statements.replace(f"${name}", str(value))
    return statements


@cache
def _blank() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "blank.duckdb"
        with duckdb.connect(file, config=CONNECTION_CONFIG) as connection:
            prepare(connection)
            ensure_published(connection, [vendor_named(vendor) for vendor in vendor_names()])
        return file.read_bytes()
