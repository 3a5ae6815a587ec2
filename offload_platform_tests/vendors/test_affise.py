"""Affise: how its files are named, how their cells are read, and what of them is never kept."""

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from offload_platform.contracts.deliveries import Places
from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.inspection import inspect
from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError
from offload_platform.orchestration.checks import DECISION_CHECK, check_results
from offload_platform.quality.protect import PseudonymKey
from offload_platform.quality.reading import Reading
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.erasure import Request, erase
from offload_platform.warehouse.load import Loaded
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.tombstones import KEY_VARIABLE as ERASURE_KEY_VARIABLE
from offload_platform.warehouse.tombstones import ErasureKey

from ..conftest import Warehouse, contract_of

DIRECTORIES = {"clicks": "affise/clicks", "conversions": "affise/conversions"}
MOSCOW = ZoneInfo("Europe/Moscow")
LAYOUT = vendor_named("affise").layout.at(Places(DIRECTORIES, MOSCOW))
MADE = datetime(2026, 11, 21, 7, 1, tzinfo=UTC)
CLICK, CONVERSION = (f"{int(MADE.timestamp()) - back:08x}{number:016x}" for number, back in ((1, 60), (2, 0)))
HEADER = "id,clickid,created_at,updated_at,status,revenue,payouts,currency,offer_id,partner_id"


class Account:
    """An account whose files are written by hand, and a feed on it."""

    def __init__(self, root: Path, warehouse: Warehouse, **said: Any) -> None:
        self.root = root
        self.warehouse = warehouse
        usual: dict[str, Any] = {
            "name": "acme",
            "vendor": "affise",
            "url": root.as_uri(),
            "cadence": {"data_fusion": "intraday"},
            "directories": DIRECTORIES,
            "start": date(2026, 11, 1),
        }
        self.feed = Feed(**usual | said)

    def put(self, stream: str, stamp: str, *lines: str, suffix: str = "", compressed: bool = True) -> Path:
        """Write (or replace) a file of a moment, as `2026-11-21-10-15`."""
        year, month, day, *_ = stamp.split("-")
        path = self.root / DIRECTORIES[stream] / year / month / day / f"{stamp}{suffix}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
        return path

    def load(self, stream: str, day: str = "2026-11-21") -> Loaded:
        start = datetime.fromisoformat(day).replace(tzinfo=self.feed.zone)
        end = (start + timedelta(days=1)).astimezone(UTC)
        return self.warehouse.load(self.feed, Partition("acme", contract_of(stream), day, start.astimezone(UTC), end))

    def current(self, stream: str, columns: str) -> list[tuple[Any, ...]]:
        with self.warehouse.writing() as connection:
            merge(connection)
        return self.warehouse.query(f"SELECT {columns} FROM affise.{stream} ORDER BY ALL")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)


@pytest.fixture
def account(tmp_path: Path, warehouse: Warehouse) -> Callable[..., Account]:
    (tmp_path / "delivered").mkdir()
    return lambda **said: Account(tmp_path / "delivered", warehouse, **said)


@pytest.mark.parametrize(
    ("key", "stream", "stamp"),
    [
        ("affise/clicks/2026/11/21/2026-11-21-10-15.csv.gz", "clicks", "2026-11-21T07:15"),
        ("affise/clicks/2026/11/21/2026-11-21-10-15.gz", "clicks", "2026-11-21T07:15"),
        ("affise/conversions/2026/1/5/2026-01-05-00-00.csv.gz", "conversions", "2026-01-04T21:00"),
        ("affise/conversions/2026/01/05/2026-1-5-0-5.csv", "conversions", "2026-01-04T21:05"),
        ("affise/conversions/2026/01/05/2026-01-05-10-15-1.csv.gz", "conversions", "2026-01-05T07:15"),
        ("affise/conversions/2026/01/05/part/2026-01-05-10-15_b.csv.gz", "conversions", "2026-01-05T07:15"),
        ("affise/conversions/2026/01/05/2026-01-06-10-15.csv.gz", None, None),
        ("affise/conversions/2026/01/05/2026-01-05-24-15.csv.gz", None, None),
        ("affise/conversions/2026/02/30/2026-02-30-10-15.csv.gz", None, None),
        ("affise/other/2026/01/05/2026-01-05-10-15.csv.gz", None, None),
        ("affise/clicks/2026-01-05-10-15.csv.gz", None, None),
        ("affise/clicks/2026/01/05/readme.txt", None, None),
    ],
)
def test_a_name_tells_stream_and_moment(key: str, stream: str | None, stamp: str | None) -> None:
    placement = LAYOUT.place(key)
    if stream is None:
        assert placement is None
    else:
        assert placement is not None
        assert (placement.offload_type, f"{placement.stamp:%Y-%m-%dT%H:%M}") == (stream, stamp)


def test_every_file_of_some_days_lies_in_the_folders_that_are_listed_for_them() -> None:
    folders = LAYOUT.folders_between(date(2026, 1, 30), date(2026, 3, 2))
    assert folders is not None
    for day in (date(2026, 1, 30), date(2026, 2, 1), date(2026, 2, 28), date(2026, 3, 2)):
        for path in (f"{day:%Y/%m/%d}", f"{day.year}/{day.month}/{day.day}"):
            for directory in DIRECTORIES.values():
                assert any(f"{directory}/{path}/x".startswith(f"{folder}/") for folder in folders), path
    assert not any(f"{folder}/".startswith("affise/clicks/2026/03/03/") for folder in folders)
    assert len([folder for folder in folders if "/2026/02" in folder]) == 2, (
        "a whole month is one folder of each stream"
    )


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"directories": {"clicks": "a"}}, "name the directory of conversions"),
        ({"directories": {"clicks": "a", "conversions": "a/b"}}, "a directory of its own"),
        ({"directories": {"clicks": "a", "conversions": "a/"}}, "a directory of its own"),
        ({"directories": {"clicks": "", "conversions": "b"}}, "a directory of its own"),
        ({"directories": DIRECTORIES | {"installs": "i"}}, "unknown offload type 'installs'"),
        ({"app_id": "1"}, "no app ids"),
        ({"name": "exports"}, "Dagster's assets of exports begin with; choose another name"),
        ({"files": "table", "columns": {"clicks": ("id", "created_at")}}, "'click_id' is missing"),
        ({"frequency_minutes": 7}, "must divide"),
        ({"source_timezone": "Moscow"}, "unknown time zone"),
        ({"columns": {"clicks": ("id", "id", "created_at")}}, "'id' stands twice"),
        ({"columns": {"clicks": ("id", "offer_id")}}, "'created_at' is missing"),
        ({"vendor": "sentiance", "app_id": "a" * 24, "cadence": {"lifestyle": "intraday"}}, "cannot be intraday"),
        ({"vendor": "sentiance", "app_id": "a" * 24, "cadence": {"lifestyle": "weekly"}}, "the vendor chooses"),
        (
            {"vendor": "sentiance", "app_id": "a" * 24, "cadence": {"lifestyle": "weekly"}, "files": "table"},
            "exports do not write the folders",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(account: Callable[..., Account], said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        account(**said)


def test_the_doctor_tells_that_the_key_of_the_pseudonyms_is_missing(
    account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = account()
    of.put("clicks", "2026-11-21-07-15")

    def found(feed: Feed) -> list[str]:
        return [finding.grade.name for finding in inspect(feed) if finding.subject == "pseudonyms"]

    assert found(of.feed) == ["GOOD"]
    monkeypatch.delenv(KEY_VARIABLE)
    assert found(of.feed) == ["PROBLEM"]
    assert found(account(pseudonyms="dropped").feed) == found(account(files="table").feed) == []


def test_streams_may_lie_at_the_top_of_a_bucket(account: Callable[..., Account]) -> None:
    feed = account(url="s3://acme-raw", directories={"clicks": "clicks", "conversions": "conversions"}).feed
    assert feed.layout.roots == ["clicks", "conversions"]
    assert feed.layout.place("clicks/2026/11/21/2026-11-21-10-15.csv.gz") is not None


def test_a_day_is_added_to_and_a_file_replaces_its_own_rows_alone(account: Callable[..., Account]) -> None:
    of = account()
    rows = [f"{CONVERSION[:-1]}{n},{CLICK},2026-11-21 07:01:00,,hold,1.5,1,EUR,7,9" for n in range(4)]
    of.put("conversions", "2026-11-21-07-15", HEADER, rows[0])
    assert [part.part.key[-23:] for part in of.load("conversions").staged.parts] == ["2026-11-21-07-15.csv.gz"]
    of.put("conversions", "2026-11-21-07-30", HEADER, rows[1], rows[2])
    grown = of.load("conversions")
    assert [part.part.key[-23:] for part in grown.staged.parts] == ["2026-11-21-07-30.csv.gz"], (
        "only what is new is read"
    )
    assert (grown.rows_in, grown.measures.volume.rows) == (3, 3)
    of.put("conversions", "2026-11-21-07-15", HEADER, rows[3])
    rewritten = of.load("conversions")
    assert len(rewritten.staged.parts) == 1
    assert rewritten.rows_in == 3
    delivered = of.warehouse.query("SELECT conversion_id[-1], object_key[-8:] FROM delivered.conversions ORDER BY ALL")
    assert [digit for digit, _ in delivered] == ["1", "2", "3"]
    before = of.warehouse.content("ops.receipts")
    assert of.load("conversions").staged.parts == ()
    assert of.warehouse.content("ops.receipts") == before, "loading again changes nothing"
    assert [digit for (digit,) in of.current("conversions", "conversion_id[-1]")] == ["1", "2", "3"]


def test_two_files_of_one_minute_are_one_delivery(account: Callable[..., Account]) -> None:
    of = account()
    row = "{},{},2026-11-21 07:01:00,,hold,1.5,1,EUR,7,9"
    of.put("conversions", "2026-11-21-07-15", HEADER, row.format(CONVERSION, CLICK))
    of.put("conversions", "2026-11-21-07-15", HEADER, row.format(CLICK, CLICK), suffix="-1")
    loaded = of.load("conversions")
    assert (loaded.rows_in, len(loaded.staged.parts)) == (2, 2)
    assert of.warehouse.query("SELECT count(DISTINCT delivery_stamp) FROM ops.ledger") == [(1,)]


def test_a_file_that_cannot_be_read_keeps_out_no_other(account: Callable[..., Account]) -> None:
    of = account()
    row = f"{CONVERSION},{CLICK},2026-11-21 07:01:00,,hold,1.5,1,EUR,7,9"
    of.put("conversions", "2026-11-21-07-15", "no,header,at,all")
    of.put("conversions", "2026-11-21-07-30", HEADER, row)
    loaded = of.load("conversions")
    assert loaded.rows_in == 1
    [refused] = loaded.refused
    assert "2026-11-21-07-15" in str(refused)
    assert "columns` of the feed" in str(refused)
    again = of.load
    (of.root / DIRECTORIES["conversions"] / "2026/11/21/2026-11-21-07-30.csv.gz").unlink()
    with pytest.raises(UntrustedPart, match="07-15"):
        again("conversions")
    of.put("conversions", "2026-11-21-07-15", HEADER, row)
    assert again("conversions").rows_in == 2


def test_empty_files_and_headers_alone_are_deliveries(account: Callable[..., Account]) -> None:
    of = account()
    of.put("conversions", "2026-11-21-07-15")
    of.put("conversions", "2026-11-21-07-30", HEADER)
    of.put("conversions", "2026-11-21-07-45", compressed=False)
    loaded = of.load("conversions")
    assert (loaded.rows_in, loaded.refused) == (0, ())
    assert of.warehouse.query("SELECT count(*) FROM ops.ledger WHERE status = 'loaded'") == [(3,)]
    assert not [drift for drift in loaded.measures.drift if drift.kind == "missing column"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("has_header", [True, False])
def test_header_and_delimiter_are_found_out(account: Callable[..., Account], delimiter: str, has_header: bool) -> None:
    of = account(columns={"conversions": tuple(HEADER.split(","))})
    row = f'{CONVERSION},{CLICK},2026-11-21 07:01:00,,Approved,1.5,"1.25",EUR,7,9'.replace(",", delimiter)
    lines = [HEADER.replace(",", delimiter), row] if has_header else [row]
    of.put("conversions", "2026-11-21-07-15", *lines)
    of.load("conversions")
    assert of.current("conversions", "conversion_id, click_id, status, payout, line") == [
        (CONVERSION, CLICK, "confirmed", Decimal("1.2500"), len(lines))
    ]


def test_a_file_without_a_header_has_the_columns_that_the_feed_names_or_is_refused(
    account: Callable[..., Account],
) -> None:
    of = account(columns={"conversions": tuple(HEADER.split(","))})
    of.put("conversions", "2026-11-21-07-15", "1,2,3")
    with pytest.raises(UntrustedPart, match="not the 10 fields that `columns`"):
        of.load("conversions")


def test_other_names_of_columns_are_known(account: Callable[..., Account]) -> None:
    of = account()
    header = "conversion_id,id,click_id,createdAt,updatedAt,status,payout,revenue,offer.id,affiliate_id,supplier_id"
    row = f"x,{CONVERSION},{CLICK},2026-11-21 07:01:00,2026-11-21 08:00:00,1,2,3,7,9,11"
    of.put("conversions", "2026-11-21-07-15", header, row)
    loaded = of.load("conversions")
    assert not [drift for drift in loaded.measures.drift if drift.kind in ("unknown column", "missing column")]
    found = of.current("conversions", "conversion_id, payout, offer_id, partner_id, advertiser_id, extra")
    assert found == [(CONVERSION, Decimal(2), "7", "9", "11", None)]


@pytest.mark.parametrize(
    ("delivered", "status", "is_new"),
    [
        *((word, word, False) for word in ("confirmed", "pending", "declined", "hold")),
        *(("1", "confirmed", False), ("2", "pending", False), ("3", "declined", False), ("5", "hold", False)),
        *(("Approved", "confirmed", False), ("4", "not_found", True), ("odd", "odd", True)),
    ],
)
def test_a_status_has_one_name(account: Callable[..., Account], delivered: str, status: str, is_new: bool) -> None:
    of = account()
    row = f"{CONVERSION},{CLICK},2026-11-21 07:01:00,,{delivered},1.5,1,EUR,7,9"
    of.put("conversions", "2026-11-21-07-15", HEADER, row)
    loaded = of.load("conversions")
    assert of.current("conversions", "status, status_raw") == [(status, delivered)]
    assert [drift.detail for drift in loaded.measures.drift if drift.kind == "new value"] == (
        [status] if is_new else []
    )


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_a_decision_that_is_undone_is_told_of_on_whichever_day(account: Callable[..., Account], severity: str) -> None:
    of = account(checks={"decisions": {"severity": severity}})
    row = f"{CONVERSION},{CLICK},2026-11-20 07:01:00,2026-11-2{{}}:00,{{}},1.5,1,EUR,7,9"

    def verdict(stamp: str, *lines: str) -> tuple[bool, str, int, int]:
        of.put("conversions", stamp, HEADER, *lines)
        results = check_results(of.load("conversions", stamp[:10]), of.feed)
        [check] = [result for result in results if result.check_name == DECISION_CHECK]
        figures = check.metadata["changes"].value, check.metadata["decisions undone"].value
        return check.passed, check.severity.value, *figures

    first = (row.format("0 07:01", "hold"), row.format("0 09:00", "confirmed"), row.format("0 09:00", "confirmed"))
    assert verdict("2026-11-20-10-00", *first) == (True, severity.upper(), 1, 0)
    assert verdict("2026-11-21-10-00", row.format("1 09:00", "pending")) == (False, severity.upper(), 1, 1)
    assert verdict("2026-11-22-10-00", row.format("2 09:00", "declined")) == (True, severity.upper(), 1, 0)
    # What is told late counts at its own time.
    assert verdict("2026-11-22-10-15", row.format("2 08:00", "hold")) == (True, severity.upper(), 2, 0)
    allowed = account(checks={"decisions": {"allowed_share": 1}})
    assert [
        r.passed for r in check_results(allowed.load("conversions"), allowed.feed) if r.check_name == DECISION_CHECK
    ] == [True]


def test_a_person_is_erased_by_an_id_of_which_only_the_pseudonym_is_kept(
    account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = account()
    row = f"{{}},{CLICK},2026-11-21 07:01:00,,hold,1.5,1,EUR,7,9,{{}},{{}},198.51.100.77"
    header = f"{HEADER},user_id,idfa,ip"
    device = PERSONAL["idfa"]
    rows = [row.format(f"{n:024x}", *ids) for n, ids in enumerate([("ann", ""), ("", device), ("ben", "")])]
    of.put("conversions", "2026-11-21-10-00", header, *rows)
    of.load("conversions")
    request = Request(("Ann ", device.lower()))
    with pytest.MonkeyPatch.context() as patch, of.warehouse.writing() as connection:
        patch.delenv(KEY_VARIABLE)
        with pytest.raises(PseudonymKeyError, match=f"{KEY_VARIABLE} is not set.*were made with"):
            erase(connection, request, ErasureKey(b"e" * 32))
    with of.warehouse.writing() as connection:
        erased = erase(connection, request, ErasureKey(b"e" * 32))
    assert erased.removed["affise.conversions"].rows == 2
    assert of.current("conversions", "conversion_id") == [(f"{2:024x}",)]
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, "e" * 32)
    of.put("conversions", "2026-11-21-10-15", header, *rows)
    assert of.load("conversions").erased == 4, "those that were there, and those that come again"
    assert of.current("conversions", "conversion_id") == [(f"{2:024x}",)]
    with of.warehouse.writing() as connection:
        nobody = erase(connection, Request(("198.51.100.77",)), ErasureKey(b"e" * 32))
    assert nobody.removed == {}, "an address may be of several people"


def test_money_is_decimal_and_what_is_rounded_is_kept_and_told(account: Callable[..., Account]) -> None:
    of = account()
    row = f"{CONVERSION},{CLICK},2026-11-21 07:01:00,,1,0.1,0.20005,EUR,7,9"
    of.put("conversions", "2026-11-21-07-15", HEADER, row, row.replace("0.1,", "a lot,").replace(CONVERSION, CLICK))
    loaded = of.load("conversions")
    found = of.current("conversions", "revenue, payout, typeof(revenue), extra")
    assert found == [(Decimal("0.1"), Decimal("0.2000"), "DECIMAL(18,4)", '{"payouts":"0.20005"}')]
    assert loaded.quarantined == 1
    assert loaded.staged.parts[0].reasons == {"revenue: not an amount": 1}
    assert [drift.column for drift in loaded.measures.drift if drift.kind == "misfit"] == ["payout"]


@pytest.mark.parametrize(("zone", "is_wrong"), [("Europe/Moscow", False), ("UTC", True)])
def test_the_clock_in_the_ids_finds_a_wrong_time_zone(
    account: Callable[..., Account], zone: str, is_wrong: bool
) -> None:
    of = account(source_timezone=zone)
    uuid = "0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70"
    row = "{},{},2026-11-21 10:01:02,,1,1,1,EUR,7,9"
    of.put("conversions", "2026-11-21-10-15", HEADER, row.format(CONVERSION, CLICK), row.format(uuid, CLICK))
    loaded = of.load("conversions")
    told = [drift for drift in loaded.measures.drift if drift.column == "created_at"]
    assert [drift.rows for drift in told] == ([1] if is_wrong else [])
    assert loaded.measures.volume.rows == 2, "such rows are loaded"
    assert all("source_timezone" in drift.detail for drift in told)


def test_a_time_zone_that_is_put_right_reads_all_files_anew_under_their_true_stamps(
    account: Callable[..., Account],
) -> None:
    wrong = account()
    row = f"{CONVERSION},{CLICK},2026-11-21 10:01:00,,1,1,1,EUR,7,9"
    for hour in ("10", "13"):
        wrong.put("conversions", f"2026-11-21-{hour}-15", HEADER, row)
    wrong.load("conversions")
    right = account(source_timezone="Europe/Moscow")
    assert len(right.load("conversions").staged.parts) == 2
    stamps = "SELECT strftime(delivery_stamp, '%H:%M'), object_key[-12:-8] FROM delivered.conversions ORDER BY ALL"
    assert right.warehouse.query(stamps) == [("07:15", "10-15"), ("10:15", "13-15")]
    assert right.current("conversions", "strftime(created_at, '%H:%M'), strftime(known_from, '%H:%M')") == [
        ("07:01", "07:15")
    ]
    assert right.warehouse.query("SELECT count(*) FROM ops.ledger") == [(2,)]


def test_files_are_read_anew_when_the_feed_says_something_else_of_them() -> None:
    contract = contract_of("clicks")
    readings = [
        Reading(),
        Reading(zone="Europe/Moscow"),
        Reading(columns=("id", "created_at")),
        Reading(key=PseudonymKey(b"k" * 32)),
        Reading(key=PseudonymKey(b"o" * 32)),
    ]
    assert len({reading.version(contract) for reading in readings}) == len(readings)
    assert Reading().version(contract) == contract.version


PERSONAL = {
    "ip": "198.51.100.77",
    "ua": "Mozilla/5.0 (iPhone) Version/18.0 Safari/604.1 unique-agent",
    "referrer": "https://news.example.org/story?reader=someone",
    "sub1": "from jan.peeters@example.com",
    "partner_email": "boss@partner.example",
    "partner_login": "bosslogin",
    "user_id": "client-4711",
    "idfa": "6D92078A-8246-4BA4-AE5B-76104861E7DC",
    "new_field": "who@else.example",
}
SECRETS = (
    "198.51.100.77",
    "unique-agent",
    "reader=someone",
    "jan.peeters",
    "boss@",
    "bosslogin",
    "4711",
    "8246",
    "who@",
)


def everything(warehouse: Warehouse) -> str:
    """Every cell of every table of the build file, and its bytes."""
    tables = warehouse.query("SELECT schema_name || '.' || table_name FROM duckdb_tables()")
    cells = " ".join(repr(warehouse.query(f"FROM {table}")) for (table,) in tables)
    return cells + warehouse.files.build.read_bytes().decode("latin-1")


def click_lines(*, broken: Sequence[str] = ()) -> list[str]:
    header = ",".join(("id", "created_at", "offer_id", "partner_id", *PERSONAL))
    good = ",".join((CLICK, "2026-11-21 07:00:00", "7", "9", *(f'"{value}"' for value in PERSONAL.values())))
    return [header, good, *broken]


def test_what_is_personal_is_never_kept_as_delivered(account: Callable[..., Account]) -> None:
    of = account()
    good = click_lines()[1]
    shifted = f'{CLICK},"198.51.100.77","boss@partner.example",9,{",".join("" for _ in PERSONAL)}'
    broken = [
        *(good.replace("2026-11-21 07:00:00", "some day"), good + ",one more"),
        *(good.replace('"', "", 1), good[:-1], shifted),
    ]
    of.put("clicks", "2026-11-21-07-15", *click_lines(broken=broken))
    loaded = of.load("clicks")
    assert (loaded.staged.loaded, loaded.quarantined) == (1, 5)
    columns = "ip_network, browser_family, os_family, referrer, sub1, extra"
    assert of.current("clicks", columns) == [
        (
            "198.51.100.0/24",
            "safari",
            "ios",
            "https://news.example.org/story",
            "from (removed)",
            '{"new_field":"(removed)"}',
        )
    ]
    [hashes] = of.current("clicks", "ip_hash, user_id_hash, idfa_hash")
    assert all(len(value) == 64 for value in hashes)
    kept = everything(of.warehouse)
    assert [secret for secret in SECRETS if secret in kept] == []
    shown = repr([part.sample for part in loaded.staged.parts])
    assert [secret for secret in SECRETS if secret in shown] == []
    raw = of.warehouse.query("SELECT raw FROM ops.quarantine ORDER BY line")
    assert CLICK in raw[0][0], "what is not personal is kept of a broken row"


def test_the_same_person_has_the_same_pseudonym_in_both_streams(account: Callable[..., Account]) -> None:
    of = account()
    of.put("clicks", "2026-11-21-07-15", *click_lines())
    row = f"{CONVERSION},{CLICK},2026-11-21 07:01:00,,1,1,1,EUR,7,9"
    of.put(
        "conversions", "2026-11-21-07-15", f"{HEADER},ip,ios_idfa", f"{row},{PERSONAL['ip']},{PERSONAL['idfa'].lower()}"
    )
    of.load("clicks")
    of.load("conversions")
    assert of.current("clicks", "ip_hash, idfa_hash") == of.current("conversions", "ip_hash, idfa_hash")


def test_without_a_key_nothing_is_read(account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch) -> None:
    of = account()
    of.put("clicks", "2026-11-21-07-15", *click_lines())
    for secret in ("", "short"):
        monkeypatch.setenv(KEY_VARIABLE, secret)
        with pytest.raises(PseudonymKeyError, match="OFFLOAD_PSEUDONYM_KEY"):
            of.load("clicks")
    assert not of.warehouse.files.build.exists()
    dropping = account(pseudonyms="dropped")
    dropping.load("clicks")
    assert dropping.current("clicks", "ip_hash, user_id_hash, ip_network") == [(None, None, "198.51.100.0/24")]


def test_another_key_is_refused_before_it_makes_other_pseudonyms(
    account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = account()
    of.put("clicks", "2026-11-21-07-15", *click_lines())
    of.load("clicks")
    monkeypatch.setenv(KEY_VARIABLE, "x" * 32)
    of.put("clicks", "2026-11-21-07-30", *click_lines())
    with pytest.raises(PseudonymKeyError, match="another key"):
        of.load("clicks")
    assert of.warehouse.query("SELECT count(*) FROM delivered.clicks") == [(1,)]
