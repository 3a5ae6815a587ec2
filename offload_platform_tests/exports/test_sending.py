"""Every change is sent once, whatever is late, missed, killed or changed. Against a real S3 server."""

import gzip
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from offload_platform.exports import managing
from offload_platform.exports.errors import BucketRefused, ExportError, ObjectDiffers
from offload_platform.exports.registry import Outcome, Registry, State
from offload_platform.exports.sending import newest_due, send_due, waiting

FIRST = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
SETTLED = timedelta(minutes=1)


def ids(rows: list[dict[str, str]]) -> list[str]:
    return [row["id"] for row in rows]


def test_three_hours_become_twelve_files_that_hold_every_row_once(shop: Any, client: Any) -> None:
    shop.add()
    rows = [(f"c{n:03}", "pending", "1.50", FIRST + timedelta(minutes=n)) for n in range(1, 181)]
    shop.put(*rows)
    sent = shop.send(FIRST + 12 * QUARTER + SETTLED)

    keys = sorted(client.objects(shop.directory))
    names = [f"{FIRST + n * QUARTER:%Y-%m-%d-%H-%M}" for n in range(1, 13)]
    assert keys == [f"{shop.directory}/2026/11/20/{name}.csv.gz" for name in names]
    assert [len(client.rows(key)) for key in keys] == [15] * 12
    assert [slot.rows for slot in sent] == [15] * 12
    assert ids(client.all_rows(shop.directory)) == [row[0] for row in rows]
    assert client.rows(keys[0])[0] == {
        "id": "c001",
        "status": "pending",
        "revenue": "1.5000",
        "changed_at": "2026-11-20T10:01:00Z",
    }
    assert shop.send(FIRST + 12 * QUARTER + SETTLED) == []


def test_a_slot_is_due_when_it_has_settled_and_not_before(shop: Any, client: Any) -> None:
    shop.add(settle_seconds=90)
    assert shop.send(FIRST + QUARTER + timedelta(seconds=89)) == []
    assert len(shop.send(FIRST + QUARTER + timedelta(seconds=90))) == 1
    assert len(client.objects(shop.directory)) == 1


def test_what_was_there_before_is_not_sent(shop: Any, client: Any) -> None:
    shop.put(("old", "pending", "1", FIRST - QUARTER))
    shop.add()
    shop.put(("new", "pending", "1", FIRST + timedelta(minutes=1)))
    shop.send(FIRST + QUARTER + SETTLED)
    assert ids(client.all_rows(shop.directory)) == ["new"]


def test_a_change_ten_days_later_is_in_the_next_slot_once(shop: Any, client: Any) -> None:
    shop.add(on_empty="skip")
    shop.put(("a", "hold", "1", FIRST + SETTLED), ("b", "hold", "1", FIRST + SETTLED))
    shop.send(FIRST + QUARTER + SETTLED)
    later = FIRST + timedelta(days=10)
    shop.send(later)
    shop.put(("a", "confirmed", "1", later + SETTLED))
    for n in range(1, 4):
        shop.send(later + n * QUARTER + SETTLED)
    files = [client.rows(key) for key in sorted(client.objects(shop.directory))]
    assert [ids(rows) for rows in files] == [["a", "b"], ["a"]]
    assert files[1][0]["status"] == "confirmed"


def test_what_is_loaded_late_with_old_times_is_not_lost(shop: Any, client: Any) -> None:
    shop.add(on_empty="skip")
    shop.put(("a", "pending", "1", FIRST + SETTLED))
    shop.send(FIRST + QUARTER + SETTLED)
    # Older than everything that was ever sent, and than the export itself.
    shop.put(("late", "pending", "1", FIRST - timedelta(days=30)), ("timeless", "pending", "1", None))
    shop.send(FIRST + 2 * QUARTER + SETTLED)
    assert ids(client.all_rows(shop.directory)) == ["a", "late", "timeless"]


def test_a_clock_that_is_wrong_keeps_no_row_back_for_ever(shop: Any, client: Any) -> None:
    shop.add()
    shop.put(("ahead", "pending", "1", FIRST + timedelta(days=36500)))
    shop.send(FIRST + 3 * QUARTER + SETTLED)
    last = sorted(client.objects(shop.directory))[-1]
    assert ids(client.all_rows(shop.directory)) == ids(client.rows(last)) == ["ahead"]


def test_a_row_that_changes_all_the_time_is_sent_in_every_slot(shop: Any, client: Any) -> None:
    shop.add()
    for n in range(1, 4):
        now = FIRST + n * QUARTER + SETTLED
        shop.put(("hot", f"version {n}", "1", now))
        shop.send(now)
    assert [row["status"] for row in client.all_rows(shop.directory)] == ["version 1", "version 2", "version 3"]


def test_without_a_change_time_missed_slots_have_files_of_their_own(shop: Any, client: Any) -> None:
    shop.add(source={"table": "shop.conversions", "key": ["id"]})
    shop.put(("a", "pending", "1", None))
    shop.send(FIRST + 4 * QUARTER + SETTLED)
    files = [client.rows(key) for key in sorted(client.objects(shop.directory))]
    assert [ids(rows) for rows in files] == [["a"], [], [], []]


def test_a_row_that_is_gone_is_counted_and_sent_again_when_it_is_back(shop: Any, client: Any) -> None:
    shop.add(on_empty="skip")
    shop.put(("a", "pending", "1", None))
    shop.send(FIRST + QUARTER + SETTLED)
    shop.remove("a")
    [gone] = shop.send(FIRST + 2 * QUARTER + SETTLED)
    assert (gone.outcome, gone.gone) == (Outcome.EMPTY, 1)
    shop.put(("a", "pending", "1", None))
    shop.send(FIRST + 3 * QUARTER + SETTLED)
    assert ids(client.all_rows(shop.directory)) == ["a", "a"]


def test_filters_and_columns_are_kept(shop: Any, client: Any) -> None:
    shop.add(filters={"status": ["confirmed", "hold"], "revenue": [2]}, columns=["revenue", "id"])
    shop.put(*((n, status, n, None) for n, status in (("1", "hold"), ("2", "hold"), ("3", "declined"))))
    shop.send(FIRST + QUARTER + SETTLED)
    [key] = client.objects(shop.directory)
    assert gzip.decompress(client.body(key)) == b"revenue,id\n2.0000,2\n"


def test_a_query_is_a_source(shop: Any, client: Any) -> None:
    shop.put(("a", "pending", "2.5", None))
    shop.add(
        source={"sql_file": "by_status.sql", "key": ["status"]},
        columns=["status", "total"],
        sql="SELECT status, sum(revenue) AS total FROM shop.conversions GROUP BY status;  -- of all times\n",
    )
    shop.put(("b", "pending", "1", None), ("c", "hold", "1", None))
    shop.send(FIRST + QUARTER + SETTLED)
    assert client.all_rows(shop.directory) == [
        {"status": "hold", "total": "1.0000"},
        {"status": "pending", "total": "3.5000"},
    ]


def test_empty_slots_are_headers_or_nothing(shop: Any, client: Any) -> None:
    shop.add()
    shop.add(name="quiet", on_empty="skip", directory=f"{shop.directory}/quiet")
    for name in ("acme", "quiet"):
        shop.send(FIRST + 2 * QUARTER + SETTLED, name)
    assert [gzip.decompress(client.body(key)) for key in client.objects(shop.directory)] == [
        b"id,status,revenue,changed_at\n"
    ] * 2
    assert client.objects(f"{shop.directory}/quiet") == {}
    quiet = shop.registry.get("quiet")
    assert shop.registry.newest(quiet).slot == FIRST + 2 * QUARTER


def test_the_same_rows_make_the_same_bytes(shop: Any, client: Any) -> None:
    for name in ("one", "two"):
        shop.add(name=name, directory=f"{shop.directory}/{name}")
    shop.put(*((f"c{n}", "pending", "1", None) for n in range(500)))
    for name in ("one", "two"):
        shop.send(FIRST + QUARTER + SETTLED, name)
    [one] = client.objects(f"{shop.directory}/one").values()
    [two] = client.objects(f"{shop.directory}/two").values()
    assert one == two
    [key] = client.objects(f"{shop.directory}/one")
    # No name of a file, and no time.
    assert client.body(key)[3:8] == bytes(5)


KILLED = """
    import os, signal, sys
    from datetime import datetime
    from pathlib import Path
    from offload_platform.exports.bucket import Bucket
    from offload_platform.exports.registry import Registry
    from offload_platform.exports.sending import send_due
    from offload_platform.warehouse.files import WarehouseFiles

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    put, note = Bucket.put, Registry.note

    def put_and_die(*arguments):
        put(*arguments)
        die()

    def pin_and_die(self, export, slot):
        note(self, export, slot)
        die()

    if sys.argv[3] == "after the put":
        Bucket.put = put_and_die
    elif sys.argv[3] == "before the put":
        Bucket.put = die
    elif sys.argv[3] == "before the pin":
        Registry.note = die
    else:
        Registry.note = pin_and_die
    files = WarehouseFiles(Path(sys.argv[1]))
    list(send_due(files, Registry(files.exports), "acme", None, datetime.fromisoformat(sys.argv[2])))
"""


@pytest.mark.parametrize("when", ["before the pin", "after the pin", "before the put", "after the put"])
def test_a_process_that_is_killed_leaves_one_object_and_no_gap(
    shop: Any, client: Any, tmp_path: Path, when: str
) -> None:
    shop.add()
    shop.put(*((f"c{n:02}", "pending", "1", FIRST + SETTLED) for n in range(20)))
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED), encoding="utf-8")
    now = FIRST + QUARTER + SETTLED
    killed = subprocess.run([sys.executable, script, shop.files.root, now.isoformat(), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = client.objects(shop.directory)
    assert len(left) == (when == "after the put")

    # What is published meanwhile is for the slot after it, if the slot was pinned; else for this one.
    shop.put(("d", "pending", "1", FIRST + 2 * SETTLED))
    shop.send(now)
    shop.send(now + QUARTER)
    first, second = sorted(client.objects(shop.directory))
    twenty = [f"c{n:02}" for n in range(20)]
    expected = ([*twenty, "d"], []) if when == "before the pin" else (twenty, ["d"])
    assert (ids(client.rows(first)), ids(client.rows(second))) == expected
    assert left.items() <= client.objects(shop.directory).items()
    kept = {file.name for file in shop.registry.files_of(1).iterdir()}
    assert not any(name.endswith(".gz") for name in kept), "what is sent is not kept here"
    assert len(kept) <= 2


def test_a_key_that_is_taken_is_never_overwritten_and_blocks_its_stream_alone(shop: Any, client: Any) -> None:
    shop.add(on_empty="skip")
    shop.add(name="other", directory=f"{shop.directory}/other")
    shop.put(("a", "pending", "1", None))
    taken = f"{shop.directory}/2026/11/20/2026-11-20-10-15.csv.gz"
    client.s3.put_object(Bucket="clients", Key=taken, Body=b"not ours")
    for n in (1, 2):
        with pytest.raises(ObjectDiffers, match=r"2026-11-20-10-15\.csv\.gz: another object is there"):
            shop.send(FIRST + n * QUARTER + SETTLED)
        assert client.body(taken) == b"not ours"
    shop.send(FIRST + 2 * QUARTER + SETTLED, "other")
    assert ids(client.all_rows(f"{shop.directory}/other")) == ["a"]

    export = shop.registry.get("acme")
    pinned = shop.registry.newest(export)
    assert (pinned.outcome, pinned.attempts) == (Outcome.PINNED, 2)
    assert waiting(shop.registry, export, FIRST + 2 * QUARTER + SETTLED) == 2
    managing.resume(shop.files, shop.registry, "acme", from_now=True, now=FIRST + 2 * QUARTER + SETTLED)
    shop.send(FIRST + 3 * QUARTER + SETTLED)
    assert ids(client.rows(f"{shop.directory}/2026/11/20/2026-11-20-10-45.csv.gz")) == ["a"]


def test_a_store_that_cannot_refuse_is_asked_before(shop: Any, client: Any) -> None:
    export = shop.add()
    assert export.is_conditional is True
    shop.registry.set_state(export, State.ACTIVE, is_conditional=False)
    shop.put(("a", "pending", "1", None))
    client.s3.put_object(Bucket="clients", Key=f"{shop.directory}/2026/11/20/2026-11-20-10-30.csv.gz", Body=b"theirs")
    shop.send(FIRST + QUARTER + SETTLED)
    with pytest.raises(ObjectDiffers):
        shop.send(FIRST + 2 * QUARTER + SETTLED)
    assert ids(client.rows(f"{shop.directory}/2026/11/20/2026-11-20-10-15.csv.gz")) == ["a"]


def test_downtime_and_a_pause_lose_nothing(shop: Any, client: Any) -> None:
    shop.add()
    managing.pause(shop.registry, "acme")
    shop.put(("a", "pending", "1", FIRST + timedelta(minutes=20)))
    with pytest.raises(ExportError, match=r"acme is paused\. Next: offload export resume acme"):
        shop.send(FIRST + QUARTER + SETTLED)
    managing.resume(shop.files, shop.registry, "acme")
    shop.send(FIRST + 4 * QUARTER + SETTLED)
    files = [client.rows(key) for key in sorted(client.objects(shop.directory))]
    assert [ids(rows) for rows in files] == [[], ["a"], [], []]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (15, 60, ["10:15", "10:30", "11:00", "12:00"]),
        (60, 15, ["11:00", "11:15", "11:30", "11:45", "12:00"]),
        (15, 20, ["10:15", "10:30", "10:40", "11:00", "11:20", "11:40", "12:00"]),
        (15, 15, ["10:15", "10:30", "10:45", "11:00", "11:15", "11:30", "11:45", "12:00"]),
    ],
)
def test_a_new_frequency_begins_at_the_next_boundary_of_the_old(
    shop: Any, client: Any, before: int, after: int, expected: list[str]
) -> None:
    shop.add(frequency_minutes=before)
    rows = [(f"c{n:03}", "pending", "1", FIRST + timedelta(minutes=n)) for n in range(1, 121)]
    shop.put(*rows)
    shop.send(FIRST + timedelta(minutes=17))
    shop.add(FIRST + timedelta(minutes=20), frequency_minutes=after)
    shop.send(FIRST + timedelta(minutes=121))
    names = [key.rpartition("/")[2].removesuffix(".csv.gz") for key in sorted(client.objects(shop.directory))]
    assert [f"{name[11:13]}:{name[14:]}" for name in names] == expected
    assert Counter(ids(client.all_rows(shop.directory))) == Counter(row[0] for row in rows)


def test_names_are_in_the_time_zone_of_the_form(shop: Any, client: Any) -> None:
    shop.add(timezone="Asia/Kolkata", frequency_minutes=60)
    shop.send(FIRST + timedelta(hours=9))
    keys = sorted(client.objects(shop.directory))
    assert keys[0].removeprefix(shop.directory) == "/2026/11/20/2026-11-20-16-00.csv.gz"
    assert keys[-1].removeprefix(shop.directory) == "/2026/11/21/2026-11-21-00-00.csv.gz"


def test_a_backfill_sends_what_has_changed_since_in_the_slots_of_then(shop: Any, client: Any) -> None:
    shop.put(*((f"c{n}", "pending", "1", FIRST - timedelta(minutes=n)) for n in range(1, 91)))
    shop.add(backfill_from=FIRST - timedelta(hours=1))
    shop.send(FIRST + SETTLED)
    keys = sorted(client.objects(shop.directory))
    assert [len(client.rows(key)) for key in keys] == [16, 15, 15, 14]
    assert keys[0].endswith("2026-11-20-09-15.csv.gz")
    with pytest.raises(ExportError, match="backfill_from: must be within the last 92 days"):
        shop.add(name="long", directory=f"{shop.directory}/long", backfill_from=FIRST - timedelta(days=93))


def test_deleting_erases_what_is_here_and_touches_nothing_there(shop: Any, client: Any) -> None:
    shop.add()
    shop.put(("a", "pending", "1", None))
    shop.send(FIRST + QUARTER + SETTLED)
    before = client.objects(shop.directory)
    managing.delete(shop.registry, "acme")
    assert client.objects(shop.directory) == before
    assert len(before) == 1
    with pytest.raises(ExportError, match="there is no export 'acme'; saved: none"):
        shop.send(FIRST + 2 * QUARTER + SETTLED)
    assert shop.registry.log()[-1].said == "deleted; 1 files stay in the bucket"
    kept = b"".join(file.read_bytes() for file in shop.files.exports.rglob("*") if file.is_file())
    for setting in (shop.directory, "ACME_SECRET", os.environ["ACME_SECRET"], "shop.conversions"):
        assert setting.encode() not in kept

    # Created again, it starts from now.
    shop.add(FIRST + 3 * QUARTER)
    shop.send(FIRST + 4 * QUARTER + SETTLED)
    assert len(client.objects(shop.directory)) == 2
    assert ids(client.all_rows(shop.directory)) == ["a"]


def test_one_failing_does_not_stop_the_other(shop: Any, client: Any) -> None:
    shop.add(name="clicks", directory=f"{shop.directory}/clicks")
    shop.add(name="conversions", directory=f"{shop.directory}/conversions")
    shop.put(("a", "pending", "1", None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_SECRET", "wrong")
        with pytest.raises(BucketRefused, match=r"check secret_key \(env:ACME_SECRET\)\. \(SignatureDoesNotMatch\)"):
            shop.send(FIRST + QUARTER + SETTLED, "clicks")
    shop.send(FIRST + QUARTER + SETTLED, "conversions")
    assert client.objects(f"{shop.directory}/clicks") == {}
    assert ids(client.all_rows(f"{shop.directory}/conversions")) == ["a"]
    shop.send(FIRST + 2 * QUARTER + SETTLED, "clicks")
    assert ids(client.all_rows(f"{shop.directory}/clicks")) == ["a"]


def test_a_file_that_was_damaged_while_it_waited_is_not_sent(shop: Any, client: Any) -> None:
    shop.add()
    taken = f"{shop.directory}/2026/11/20/2026-11-20-10-15.csv.gz"
    client.s3.put_object(Bucket="clients", Key=taken, Body=b"theirs")
    with pytest.raises(ObjectDiffers):
        shop.send(FIRST + QUARTER + SETTLED)
    client.s3.delete_object(Bucket="clients", Key=taken)
    [waiting_file] = shop.registry.files_of(1).glob("*.csv.gz")
    waiting_file.write_bytes(waiting_file.read_bytes()[:-1])
    with pytest.raises(ExportError, match="is not as it was when the slot was pinned"):
        shop.send(FIRST + QUARTER + SETTLED)


def test_a_registry_that_was_only_begun_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "exports.sqlite").touch()
    registry = Registry(tmp_path)
    assert (registry.all(), registry.log()) == ([], [])


def test_a_pause_ends_a_long_row_of_slots(shop: Any, client: Any) -> None:
    shop.add()
    sending = send_due(shop.files, shop.registry, "acme", None, FIRST + 100 * QUARTER)
    next(sending)
    managing.pause(shop.registry, "acme")
    with pytest.raises(ExportError, match="acme is paused"):
        next(sending)
    assert len(client.objects(shop.directory)) == 1


def test_only_slots_of_its_own_are_sent(shop: Any) -> None:
    shop.add()
    now = FIRST + 2 * QUARTER + SETTLED
    assert [one.slot for one in shop.send(now, until=FIRST + QUARTER)] == [FIRST + QUARTER]
    [again] = shop.send(now, until=FIRST + QUARTER)
    assert again.attempts == 1
    for none in (FIRST - QUARTER, FIRST + timedelta(minutes=20), FIRST + 3 * QUARTER):
        with pytest.raises(ExportError, match=r"acme has no slot .*, or it is not due yet"):
            shop.send(now, until=none)


def test_a_year_of_slots_makes_a_tick_no_slower(shop: Any) -> None:
    """Counts what SQLite does: steps of its machine for one tick, after a day and after a year of files."""
    shop.add(on_empty="skip")
    shop.put(("a", "pending", "1", None))

    def steps_of_a_tick(now: datetime) -> int:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        real = Registry._open

        def counting(self: Registry) -> Any:
            connection = real(self)
            connection.set_progress_handler(count, 1)
            return connection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Registry, "_open", counting)
            assert len(shop.send(now)) == 1
        return steps

    day = FIRST + timedelta(days=1)
    shop.send(day - QUARTER + SETTLED)
    after_a_day = steps_of_a_tick(day + SETTLED)
    export = shop.registry.get("acme")
    newest = shop.registry.newest(export)
    with shop.registry._writing() as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(slots)")]
        others = ", ".join(name for name in columns if name != "slot")
        connection.execute(
            f"INSERT INTO slots (slot, {others}) SELECT strftime('%Y-%m-%dT%H:%M:00.000000+00:00', s.slot, "
            f"(15 * n) || ' minutes'), {others.replace('outcome', 'outcome')} FROM slots AS s, "
            "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 35040) SELECT n FROM c) "
            "WHERE s.slot = (SELECT max(slot) FROM slots)"
        )
    assert shop.registry.newest(export).slot == newest.slot + 35040 * QUARTER
    after_a_year = steps_of_a_tick(newest.slot + 35041 * QUARTER + SETTLED)
    assert after_a_year < 1.5 * after_a_day


def test_the_newest_due_slot(shop: Any) -> None:
    export = shop.add()
    assert newest_due(export, FIRST + timedelta(minutes=15)) is None
    assert newest_due(export, FIRST + timedelta(minutes=16)) == FIRST + QUARTER
    assert newest_due(export, FIRST + timedelta(minutes=30, seconds=59)) == FIRST + QUARTER
