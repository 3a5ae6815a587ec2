"""An erased person is gone from every table and stays so, whatever is loaded; others keep every row and count."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.settings import Feed
from offload_platform.warehouse import compact as compacting
from offload_platform.warehouse import erasure as erasing
from offload_platform.warehouse.compact import CompactFailed, compact
from offload_platform.warehouse.erasure import Erasure, Removed, Request, erase, what_would_go
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.receipts import is_genuine, write_receipts
from offload_platform.warehouse.search import files_below, holds, tables_that_hold
from offload_platform.warehouse.tombstones import (
    KEY_VARIABLE,
    ErasureKey,
    ErasureKeyError,
    Plain,
    key_from_environment,
    names_erased,
)

from ..conftest import SEGMENTS_HEADER

ANN, BEN, CID = "a1" * 12, "b2" * 12, "c3" * 12
DAYS = ("2018-12-08", "2018-12-15", "2018-12-22")
SECRET, OTHER_SECRET = "k" * 32, "o" * 32
KEY = ErasureKey(SECRET.encode())
MAPPING_HEADER = "user_id,external_id"
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)


@pytest.fixture
def feed(feed_of: Make, vendor_folder: Any) -> Feed:
    """Three weeks; in each, rows of Ann are broken in another way, and one of Ben is."""
    for number, day in enumerate(DAYS):
        vendor_folder.part(
            day,
            [
                f"{ANN},ann@example.com,behavior.early_bird",
                f"{ANN},,week.{number}",
                f"{BEN},ben-the-first,behavior.early_bird",
                f"{ANN},too many,fields,of Ann",
                f"{ANN.upper()},,behavior.early_bird",
                f"x{ANN}y,,behavior.early_bird",
                f"{BEN},too many,fields,of Ben",
            ],
        )
        vendor_folder.part(day, [f"{ANN},,week.{number}", f"{BEN},,week.{number}"], number=1)
    return feed_of(vendor_folder.url, types=("segments",))


@pytest.fixture
def loaded(warehouse: Any, feed: Feed, partition: Make) -> Any:
    load_all(warehouse, feed, partition)
    return warehouse


def load_all(warehouse: Any, feed: Feed, partition: Make) -> None:
    for day in DAYS:
        warehouse.load(feed, partition(day))
    merged(warehouse)


def merged(warehouse: Any) -> None:
    with warehouse.writing() as connection:
        merge(connection)


def erased(warehouse: Any, *users: str, external: tuple[str, ...] = (), key: ErasureKey = KEY) -> Erasure:
    with warehouse.writing() as connection:
        return erase(connection, Request(users, external), key)


def accounts(warehouse: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = warehouse.query(
        "SELECT rows_in, rows_loaded, rows_quarantined, rows_erased, "
        "rows_in = rows_loaded + rows_quarantined + rows_erased FROM ops.ledger ORDER BY delivery_stamp, rows_in DESC"
    )
    return rows


def of_others(warehouse: Any) -> dict[str, list[str]]:
    """What is kept of everybody but Ann."""
    ours = ("delivered.segments", "history.segments", "ops.quarantine", "ops.drift")
    return {
        table: [row for row in rows if ANN not in row.lower()]
        for table, rows in warehouse.content().items()
        if table in ours and table != "ops.drift"
    }


def test_a_person_is_gone_and_others_keep_everything(loaded: Any) -> None:
    before, receipts = of_others(loaded), loaded.content()["ops.receipts"]
    assert any(ANN in row for rows in loaded.content().values() for row in rows)
    erasure = erased(loaded, ANN)
    assert erasure.removed == {"sentiance.segments": Removed(rows=4, sightings=9, versions=4, quarantined=9)}
    assert erasure.linked == {"ann@example.com"}
    assert of_others(loaded) == before
    assert not any(ANN in row.lower() for rows in loaded.content().values() for row in rows)
    assert accounts(loaded) == [(7, 1, 1, 5, True), (2, 1, 0, 1, True)] * 3
    assert loaded.query("SELECT DISTINCT quarantined_by_reason FROM ops.ledger ORDER BY ALL") == [
        ({},),
        ({"too many fields: 4 of 3": 1},),
    ]
    assert loaded.content()["ops.receipts"] == receipts, "they say what was loaded then"
    assert loaded.query("SELECT count(*) FROM store.subjects WHERE subject = " + repr(ANN)) == [(0,)]
    assert erased(loaded, ANN).removed == {}, "who is gone does not go again"


def test_old_partitions_and_new_deliveries_bring_nobody_back(
    loaded: Any, feed: Feed, partition: Make, vendor_folder: Any
) -> None:
    others = of_others(loaded)
    erased(loaded, ANN)
    expected = loaded.content("ops.receipts", "ops.withdrawals", "ops.drift")
    load_all(loaded, feed, partition)
    assert of_others(loaded) == others
    assert loaded.content("ops.receipts", "ops.withdrawals", "ops.drift") == expected
    newest = loaded.load(feed, partition(DAYS[2]))
    assert (newest.staged.rows_in, newest.staged.loaded, newest.staged.quarantined, newest.staged.erased) == (
        9,
        2,
        1,
        6,
    )
    assert [part.balances for part in newest.measures.parts] == [True, True]
    assert [line for part in newest.staged.parts for line, _, _ in part.sample] == [8]
    assert loaded.query("SELECT rows_in, rows_loaded, rows_quarantined, rows_erased FROM ops.receipts")[-1] == (
        9,
        2,
        1,
        6,
    )

    vendor_folder.part("2018-12-29", [f"{ANN},,new", f"{CID},,new", f"{ANN},a,b,c", f"{CID},a,b,c"])
    loaded.load(feed, partition("2018-12-29"))
    vendor_folder.part("2019-01-05", [f"{ANN},,new"])
    only_ann = loaded.load(feed, partition("2019-01-05"))
    assert only_ann.staged.erased == only_ann.staged.rows_in == 1
    merged(loaded)
    assert not any(ANN in row.lower() for rows in loaded.content().values() for row in rows)
    assert loaded.query("SELECT segment_id FROM sentiance.segments WHERE user_id LIKE 'c3%'") == [("new",)]


def test_what_rows_of_others_say_of_a_person_beside_the_contract_is_masked(
    loaded: Any, feed: Feed, partition: Make, vendor_folder: Any
) -> None:
    said = f"{CID},,one,friend of {ANN.upper()} and {BEN}"
    vendor_folder.part("2018-12-29", [said, f"{CID},,two,alone"], header=f"{SEGMENTS_HEADER},note")
    loaded.load(feed, partition("2018-12-29"))
    merged(loaded)
    assert erased(loaded, ANN).removed["sentiance.segments"].masked == 1
    masked = [
        ("one", json.dumps({"note": f"friend of (erased) and {BEN}"}, separators=(",", ":"))),
        ("two", '{"note":"alone"}'),
    ]
    noted = "SELECT segment_id, extra::VARCHAR FROM {} WHERE extra IS NOT NULL ORDER BY ALL"
    assert loaded.query(noted.format("sentiance.segments")) == masked
    assert not any(ANN in row.lower() for rows in loaded.content().values() for row in rows)

    vendor_folder.part("2019-01-05", [said, f"{CID},,two,alone"], header=f"{SEGMENTS_HEADER},note")
    newest = loaded.load(feed, partition("2019-01-05"))
    merged(loaded)
    assert (newest.staged.loaded, newest.staged.erased) == (2, 0)
    assert loaded.query(noted.format("history.segments")) == masked, "no row of the others has changed"
    assert not any(ANN in row.lower() for rows in loaded.content().values() for row in rows)


def test_nothing_is_read_or_written_where_nobody_is_erased(
    loaded: Any, feed: Feed, partition: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert loaded.load(feed, partition(DAYS[0])).staged.erased == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "OFFLOAD_ERASURE_KEY is not set"),
        ("short", "OFFLOAD_ERASURE_KEY has 5 characters"),
        (OTHER_SECRET, "is another key than the one"),
    ],
)
def test_without_its_key_nothing_is_loaded(
    loaded: Any, feed: Feed, partition: Make, monkeypatch: pytest.MonkeyPatch, given: str | None, said: str
) -> None:
    erased(loaded, ANN)
    before = loaded.content()
    if given is None:
        monkeypatch.delenv(KEY_VARIABLE)
    else:
        monkeypatch.setenv(KEY_VARIABLE, given)
    with pytest.raises(ErasureKeyError, match=said) as refused:
        loaded.load(feed, partition(DAYS[0]))
    assert SECRET not in str(refused.value)
    assert loaded.content() == before
    with pytest.raises(ErasureKeyError):
        erased(loaded, BEN, key=ErasureKey(OTHER_SECRET.encode()))
    assert loaded.content() == before


def test_the_key_is_shown_nowhere(loaded: Any) -> None:
    erased(loaded, ANN)
    assert SECRET not in repr(key_from_environment())
    assert not any(SECRET in row for rows in loaded.content().values() for row in rows)


def test_an_id_of_the_client_stands_for_every_user_ever_linked_to_it(
    warehouse: Any, feed_of: Make, partition: Make, vendor_folder: Any
) -> None:
    """Ann by the mapping of the first week alone, Cid by a row of segments, and Ben is somebody else."""
    moments = "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration"
    moment = ",,2018-12-01T10:00:00+01:00,2018-12-01T11:00:00+01:00,lunch,,3600"
    vendor_folder.part(DAYS[0], [f"{CID},ann@example.com,a", f"{BEN},ben,a", f"{ANN},,a"])
    vendor_folder.part(DAYS[0], [ANN + moment, BEN + moment], offload_type="moments", header=moments)
    feed = feed_of(vendor_folder.url, types=("segments", "moments"))
    warehouse.load(feed, partition(DAYS[0]))
    warehouse.load(feed, partition(DAYS[0], "moments"))
    file = vendor_folder.root / "_mapping" / "user_external.csv"
    file.parent.mkdir()
    for links in ([f"{ANN},ann@example.com", f"{BEN},ben"], [f"{BEN},ben"]):
        file.write_text("\n".join([MAPPING_HEADER, *links, ""]), encoding="utf-8")
        moment_of = 1_544_400_000 + 3600 * len(links)
        os.utime(file, (moment_of, moment_of))
        mapping = feed_of(vendor_folder.url, cadence={"mapping": "daily"})
        warehouse.load(mapping, partition("2018-12-10", "mapping", days=1))
    merged(warehouse)
    erasure = erased(warehouse, external=("ann@example.com",))
    assert erasure.ids == {ANN, CID, "ann@example.com"}
    assert {name: removed.rows for name, removed in erasure.removed.items()} == {
        "sentiance.mapping": 1,
        "sentiance.moments": 1,
        "sentiance.segments": 2,
    }
    left = warehouse.query(
        "SELECT user_id FROM delivered.segments UNION ALL SELECT user_id FROM delivered.moments "
        "UNION ALL SELECT user_id FROM history.mapping"
    )
    assert set(left) == {(BEN,)}
    new_phone = "d4" * 12
    vendor_folder.part(DAYS[1], [f"{new_phone},ann@example.com,a", f"{CID},,a", f"{BEN},,a"])
    alone = feed_of(vendor_folder.url, types=("segments",))
    assert warehouse.load(alone, partition(DAYS[1])).staged.erased == 2


def test_a_dry_run_says_the_same_and_changes_nothing(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    before = loaded.content()
    with loaded.writing() as connection:
        said = what_would_go(connection, Request((ANN,)))
    assert loaded.content() == before
    assert said == erased(loaded, ANN)


@pytest.mark.parametrize(
    ("raw", "is_named"),
    [
        (f"{ANN},,x", True),
        (f'"{ANN},,x', True),
        (f"\\xff{ANN}\\x00,,x", True),
        (f"{ANN}2018-12-08", True),
        (f"{BEN},,x", False),
        ("x,ann@example.com,y", True),
        ("x;ann@example.com;y", True),
        ('{"a": "ann@example.com", "b": ', True),
        ("x,annann@example.com,y", False),
        ('x,"Doe, ""Ann""",y', True),
        ("x,short,y", True),
        ("x,shorter,y", False),
        ("x,SHORT,y", True),
        ("", False),
    ],
)
def test_what_names_a_person(raw: str, is_named: bool) -> None:
    assert names_erased(raw, Plain({ANN, "ann@example.com", 'Doe, "Ann"', "short"})) is is_named


def test_a_receipt_cannot_be_changed(loaded: Any) -> None:
    erased(loaded, ANN)
    loaded.files.erasures.mkdir()
    with loaded.writing() as connection:
        [file] = write_receipts(connection, loaded.files)
        assert write_receipts(connection, loaded.files) == []
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text(encoding="utf-8")
    assert is_genuine(text, KEY)
    said = json.loads(text)
    assert said["removed"] == {
        "sentiance.segments": {"rows": 4, "sightings": 9, "versions": 4, "quarantined": 9, "masked": 0}
    }
    assert ANN not in text
    assert not is_genuine(text, ErasureKey(OTHER_SECRET.encode()))
    said["removed"]["sentiance.segments"]["rows"] = 3
    assert not is_genuine(json.dumps(said), KEY)
    for broken in ("", "[]", "{}", text[:-10]):
        assert not is_genuine(broken, KEY)


def test_a_search_finds_ids_wherever_chunks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offload_platform.warehouse.search._READ_AT_ONCE", 7)
    file = tmp_path / "below" / "file"
    file.parent.mkdir()
    for before in range(40):
        for text, is_held in (
            (f"{ANN.upper()}tail", True),
            ("ben-the-first", True),
            ("xben-the-first", False),
            ("ben-the-firsts", False),
            (ANN[:-1], False),
        ):
            file.write_text(("." * before + text)[-60:] + "." * (before % 3), encoding="utf-8")
            assert holds(file, {ANN, "ben-the-first", "short"}) is is_held, (before, text)
    assert list(files_below([tmp_path, tmp_path])) == [file]
    assert list(files_below([tmp_path], [file.parent])) == []
    assert not holds(tmp_path / "gone", {ANN})


def test_tables_are_searched_value_by_value(loaded: Any) -> None:
    with loaded.writing() as connection:
        assert set(tables_that_hold(connection, {ANN})) == {
            '"ops"."quarantine"',
            '"store"."segments"',
            '"store"."subjects"',
        }
        assert tables_that_hold(connection, {"ben-the-first"}) == ['"store"."segments"']
        assert tables_that_hold(connection, {"ann@example.com"}) == ['"store"."segments"']
        assert tables_that_hold(connection, {"ben-the-firs", "short", "ann?example.com"}) == []
    erased(loaded, ANN)
    with loaded.writing() as connection:
        assert tables_that_hold(connection, {ANN, "ann@example.com"}) == []


def test_the_bytes_go_when_the_file_is_written_anew(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "_WORTH_FROM_SHARE", 2.0)
    erased(loaded, ANN)
    with loaded.writing() as connection:
        connection.execute("CHECKPOINT")
    assert holds(loaded.files.build, {ANN}), "free blocks hold them"
    with loaded.writing() as connection:
        assert not compact(connection, loaded.files)
        with monkeypatch.context() as patch:
            patch.setattr(compacting.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000}))
            with pytest.raises(CompactFailed, match="Make room, and call the command again"):
                compact(connection, loaded.files, always=True)
        assert compact(connection, loaded.files, always=True)
    assert not holds(loaded.files.build, {ANN})
    assert holds(loaded.files.build, {BEN})


def test_an_error_in_the_middle_leaves_everything(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded.content()

    def fail(*_: Any) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_bury", fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            erased(loaded, ANN)
    assert loaded.content() == before


KILLED = """
import sys, time
from pathlib import Path
import duckdb
from offload_platform.warehouse import compact as compacting, erasure
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.tombstones import key_from_environment

files = WarehouseFiles(Path(sys.argv[1]))

def wait(*_):
    print("inside", flush=True)
    time.sleep(60)

with files.writer_lock(), duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as connection:
    prepare(connection)
    if sys.argv[2] == "while it deletes":
        erasure._bury = wait
    else:
        compacting._verify = wait
    erasure.erase(connection, erasure.Request((sys.argv[3],)), key_from_environment())
    compacting.compact(connection, files, always=True)
"""


@pytest.mark.parametrize("moment", ["while it deletes", "while the file is written anew"])
def test_a_kill_in_the_middle_leaves_all_or_nothing_and_the_next_call_does_the_rest(loaded: Any, moment: str) -> None:
    before = loaded.content()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(loaded.files.root), moment, ANN],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if moment == "while it deletes":
        assert loaded.content() == before
    else:
        assert len(loaded.content()["ops.erasures"]) == 1
    with loaded.writing() as connection:
        erase(connection, Request((ANN,)), KEY)
        compact(connection, loaded.files, always=True)
    loaded.files.clear_leftovers()
    assert not [file for file in files_below([loaded.files.root]) if holds(file, {ANN})]
    assert loaded.query("SELECT max(quarantined) FROM ops.erasures") == [(9,)]
    with duckdb.connect(loaded.files.build, read_only=True) as connection:
        assert tables_that_hold(connection, {ANN}) == []
