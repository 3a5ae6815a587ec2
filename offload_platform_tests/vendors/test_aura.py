"""Aura: how its logs are named, how their cells are read, and that persons are found in them."""

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.inspection import inspect
from offload_platform.settings import Feed
from offload_platform.simulator.aura import MESSAGE, RECOGNIZER, LogSimulation, columns_of, people, uploads
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.erasure import Request, erase
from offload_platform.warehouse.load import Loaded
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.tombstones import KEY_VARIABLE, ErasureKey

from ..conftest import Warehouse, contract_of

AURA = vendor_named("aura")
DAY = date(2026, 11, 20)
USUAL = {
    "USER_ID": "ob-1",
    "MSG_DT": "2026-11-20T10:00:00Z",
    "MSG_ID": "m1",
    "ACTION_CD": "receive",
    "AURA_ID": "login-1",
    "PHONE_ID": "+32470123456",
    "CHANNEL_CD": "whatsapp",
    "SUBSCRIPTION_CD": "PREPAID",
    "DOMAIN_CD": "",
    "CATEGORY_CD": "",
    "COUNTRY_CD": "BE",
    "CORR_ID": "c1",
    "IS_CACHED": "false",
    "STATUS_CD": "200",
    "REASON": "",
    "VERSION_ID": "8.2.0",
    "LANG_CD": "nl-be",
    "TZ_CD": "+01:00",
    "DURATION_NU": "",
}


class Logs:
    """Logs that are written by hand, and a feed on them."""

    def __init__(self, root: Path, warehouse: Warehouse) -> None:
        self.root = root
        self.warehouse = warehouse
        self.feed = Feed(name="acme", vendor="aura", url=root.as_uri(), cadence={"logs": "intraday"}, start=DAY)

    def put(self, *rows: dict[str, str], entity: str = "MESSAGE", name: str = "M_20261120T1100.csv") -> Path:
        path = self.root / entity / "202611" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = list(rows[0])
        text = "".join(",".join(line) + "\n" for line in (columns, *([r[c] for c in columns] for r in rows)))
        content = text.encode()
        if name.endswith(".zip"):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("inside.txt", content)
            content = packed.getvalue()
        path.write_bytes(content)
        return path

    def load(self, offload_type: str = "message", day: date = DAY) -> Loaded:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        partition = Partition("acme", contract_of(offload_type), str(day), start, start + timedelta(days=1))
        return self.warehouse.load(self.feed, partition)

    def current(self, columns: str, table: str = "message") -> list[tuple[Any, ...]]:
        with self.warehouse.writing() as connection:
            merge(connection)
        return self.warehouse.query(f"SELECT {columns} FROM aura.{table} ORDER BY ALL")


@pytest.fixture
def logs(tmp_path: Path, warehouse: Warehouse) -> Logs:
    (tmp_path / "delivered").mkdir()
    return Logs(tmp_path / "delivered", warehouse)


@pytest.mark.parametrize(
    ("key", "offload_type", "stamp"),
    [
        ("MESSAGE/202611/MESSAGE_20261120T093000Z.txt.zip", "message", "2026-11-20T09:30:00"),
        ("MESSAGE/202611/20261120.csv", "message", "2026-11-20T00:00:00"),
        ("message/202611/aura-message-2026-11-20-09-30.csv.gz", "message", "2026-11-20T09:30:00"),
        ("RECOGNIZER/202611/r_2026-11-20_09:30:15_7.txt", "recognizer", "2026-11-20T09:30:15"),
        ("API/202611/99999999_20261120.csv", "api", "2026-11-20T00:00:00"),
        ("EXTENDED_MESSAGE/202611/20261120.csv", "extended_message", "2026-11-20T00:00:00"),
        ("MESSAGE/202611/MESSAGE_20261220.csv", None, None),
        ("MESSAGE/202611/MESSAGE_20261131.csv", None, None),
        ("MESSAGE/202611/MESSAGE_0001.csv", None, None),
        ("MESSAGE/2026/11/20261120.csv", None, None),
        ("OTHER/202611/20261120.csv", None, None),
        ("MESSAGE/202611/20261120.rar", None, None),
    ],
)
def test_a_name_tells_entity_and_moment(key: str, offload_type: str | None, stamp: str | None) -> None:
    placement = AURA.layout.place(key)
    if offload_type is None:
        assert placement is None
    else:
        assert placement is not None
        assert (placement.offload_type, f"{placement.stamp:%Y-%m-%dT%H:%M:%S}") == (offload_type, stamp)


def test_every_file_of_some_days_lies_in_the_folders_that_are_listed_for_them() -> None:
    folders = AURA.layout.folders_between(date(2026, 11, 30), date(2027, 1, 1))
    assert folders is not None
    assert {"MESSAGE/202611", "api/202612", "RECOGNIZER/202701"} <= set(folders)
    assert len(folders) == 3 * 3 * 2


def test_cells_are_read_as_the_entities_are_described(logs: Logs) -> None:
    logs.put(
        USUAL | {"MESSAGE": "hello", "NEW_CD": "x"},
        USUAL | {"MSG_ID": "m2", "IS_CACHED": "TRUE", "DURATION_NU": "250", "AURA_ID": "", "MESSAGE": "", "NEW_CD": ""},
        USUAL | {"MSG_ID": "m3", "ACTION_CD": "audit", "STATUS_CD": "nope", "MESSAGE": "", "NEW_CD": ""},
        USUAL | {"MSG_ID": "m4", "MSG_DT": "2026-11-20T11:00:00+01:00", "MESSAGE": "", "NEW_CD": ""},
        name="M_20261120.txt.zip",
    )
    loaded = logs.load()
    assert (loaded.staged.loaded, loaded.quarantined) == (4, 0)
    [part] = loaded.staged.parts
    assert (part.fingerprint.compression, part.checksum) == ("zip", "md5")
    drift = {(d.kind.value, d.column, d.detail) for d in loaded.staged.drift}
    assert ("unknown column", "NEW_CD", "kept in extra") in drift
    assert ("new value", "action_cd", "audit") in drift
    assert {column for _, column, _ in drift} >= {"status_cd", "msg_dt"}, "remarks on what is no status, and not UTC"
    rows = logs.current("msg_id, is_cached, duration_nu, aura_id, utterance, extra->>'NEW_CD', utc_offset_min")
    assert rows == [
        ("m1", False, None, "login-1", "hello", "x", 0),
        ("m2", True, 250, None, None, None, 0),
        ("m3", False, None, "login-1", None, None, 0),
        ("m4", False, None, "login-1", None, None, 60),
    ]
    assert logs.current("count(DISTINCT msg_dt)") == [(1,)], "an offset is another way to write the same instant"


def test_a_row_that_breaks_the_contract_is_set_aside(logs: Logs) -> None:
    broken = {
        "user_id": {"USER_ID": ""},
        "msg_dt": {"MSG_DT": "2026-11-20 10:00"},
        "country_cd": {"COUNTRY_CD": "Belgium"},
        "corr_id": {"CORR_ID": ""},
        "is_cached": {"IS_CACHED": "maybe"},
        "tz_cd": {"TZ_CD": ""},
        "duration_nu": {"DURATION_NU": "-1"},
    }
    logs.put(USUAL | {"MSG_ID": "good"}, *(USUAL | said for said in broken.values()))
    [part] = logs.load().staged.parts
    assert (part.loaded, part.quarantined) == (1, len(broken))
    assert {why.partition(":")[0] for why in part.reasons} == set(broken)


def test_recognitions_have_another_nullability(logs: Logs) -> None:
    usual = {name: value for name, value in USUAL.items() if name not in ("MSG_DT", "MSG_ID", "SUBSCRIPTION_CD")}
    usual |= {"RECOGNIZER_DT": USUAL["MSG_DT"], "ACTION_CD": "recognize", "DURATION_NU": "12", "SCORE_NU": "0.5"}
    rows = [{"TZ_CD": ""}, {"DURATION_NU": ""}, {"SCORE_NU": ""}]
    logs.put(
        *(usual | row | {"RECOGNIZER_ID": str(n)} for n, row in enumerate(rows)),
        entity="RECOGNIZER",
        name="20261120.csv",
    )
    loaded = logs.load("recognizer")
    assert (loaded.staged.loaded, loaded.quarantined) == (1, 2)


def test_of_calls_only_the_shared_head_is_known_and_the_rest_is_kept_beside(logs: Logs) -> None:
    row = {"MSG_DT": USUAL["MSG_DT"], "MSG_ID": "a1", "USER_ID": "ob-1", "ENDPOINT": "bill"}
    logs.put(row, entity="API", name="20261120.csv")
    assert logs.load("api").staged.loaded == 1
    assert logs.current("api_id, user_id, extra->>'ENDPOINT'", "api") == [("a1", "ob-1", "bill")]
    logs.put({"USER_ID": "ob-1", "WHEN": "now"}, entity="API", name="20261120.csv")
    with pytest.raises(UntrustedPart, match="column 'API_DT' is missing"):
        logs.load("api")


def test_files_of_a_day_add_up_and_a_message_that_is_delivered_twice_stands_once(logs: Logs) -> None:
    logs.put(USUAL, name="M_20261120T1000.csv")
    logs.put(USUAL, USUAL | {"MSG_ID": "m2"}, name="M_20261120T1100.csv")
    assert logs.load().staged.loaded == 3
    assert logs.current("msg_id") == [("m1",), ("m2",)]
    logs.put(USUAL | {"MSG_ID": "m3"}, name="M_20261120T1200.csv")
    assert logs.load().staged.loaded == 1, "what was loaded is not read again"
    assert len(logs.current("msg_id")) == 3


def test_a_person_is_erased_by_user_by_login_and_by_telephone(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.put(
        *(
            USUAL
            | {"MSG_ID": f"{n}-{m}", "USER_ID": f"ob-{n}", "AURA_ID": f"login-{n}-{m}", "PHONE_ID": f"+3247000000{n}"}
            for n in range(4)
            for m in range(2)
        )
    )
    logs.load()
    monkeypatch.setenv(KEY_VARIABLE, "e" * 32)
    wanted = [Request(("ob-0",)), Request((), ("login-1-0",)), Request((), ("+32470000002",))]
    with logs.warehouse.writing() as connection:
        merge(connection)
        for number, request in enumerate(wanted):
            erasure = erase(connection, request, ErasureKey(b"e" * 32))
            assert erasure.removed["aura.message"].rows == 2
            person = {f"ob-{number}", f"login-{number}-0", f"login-{number}-1", f"+3247000000{number}"}
            assert erasure.ids | erasure.linked == person
    assert logs.current("DISTINCT user_id") == [("ob-3",)]
    logs.put(USUAL | {"MSG_ID": "late", "AURA_ID": "login-1-0", "USER_ID": "ob-9"}, name="M_20261120T1300.csv")
    assert logs.load().staged.erased == 1, "what comes later of the login is struck"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"app_id": "1"}, "no app ids"),
        ({"listening": {"country": "belgium"}}, "country"),
        ({"listening": {"country": "BE", "session_gap_minutes": 4}}, "session_gap_minutes"),
        ({"listening": {"country": "BE"}, "source_timezone": "Europe/Brussels"}, "days of logs are those of UTC"),
        ({"listening": {"country": "BE"}, "types": ["api"]}, "nothing can be made without message"),
        (
            {
                "vendor": "sentiance",
                "app_id": "a" * 24,
                "cadence": {"lifestyle": "weekly"},
                "listening": {"country": "BE"},
            },
            "delivers no logs of an assistant",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(said: dict[str, Any], wrong: str) -> None:
    usual = {"name": "acme", "vendor": "aura", "url": "s3://bucket/logs", "cadence": {"logs": "daily"}, "start": DAY}
    with pytest.raises(ValueError, match=wrong):
        Feed(**usual | said)


def test_the_simulation_has_the_columns_of_the_contracts_and_talks_across_midnight() -> None:
    simulation = LogSimulation(users=60, days=2)
    for entity in (MESSAGE, RECOGNIZER):
        assert AURA.contracts[entity].expected_wire_columns <= set(columns_of(entity))
    rows = [(stamp, row) for entity, stamp, found in uploads(simulation) for row in found if entity == MESSAGE]
    assert all(row["MSG_DT"] < f"{stamp:%Y-%m-%dT%H:%M:%S}.000Z" for stamp, row in rows)
    assert {row["USER_ID"] for _, row in rows} <= {person.user_id for person in people(simulation)}
    by_login: dict[str, set[str]] = {}
    for _, row in rows:
        by_login.setdefault(row["AURA_ID"], set()).add(row["MSG_DT"][:10])
    assert any(len(days) == 2 for login, days in by_login.items() if login)


def test_doctor_finds_a_simulated_archive_in_order(tmp_path: Path, offload: Callable[..., Any]) -> None:
    said = offload("simulate", tmp_path / "logs", "--family", "logs", "--users", "5", "--first", "2026-11-20")
    assert said.code == 0
    feed = Feed(
        name="acme",
        vendor="aura",
        url=(tmp_path / "logs").as_uri(),
        cadence={"logs": "intraday"},
        frequency_minutes=360,
        start=DAY,
    )
    assert {finding.grade.value for finding in inspect(feed)} == {"ok"}
