"""From logs to data that name nobody: what stays out, what is told, and who needs the key."""

import gzip
import hashlib
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError
from offload_platform.listening.clean import make_clean, unsettled_sessions
from offload_platform.listening.days import KEY_ID, Tier
from offload_platform.listening.errors import ListeningError
from offload_platform.listening.raw import check_rules, key_of_raw, make_raw
from offload_platform.listening.reading import messages_of
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.listening import due_days, listening_sensor, tidy_days
from offload_platform.privacy.rules import Rules, read_rules
from offload_platform.quality.protect import PseudonymKey
from offload_platform.simulator.aura import MESSAGE, canaries, people, uploads
from offload_platform.warehouse.tombstones import KEY_VARIABLE as ERASURE_KEY_VARIABLE

from .conftest import DAYS, FIRST, KEY, SECOND, SIMULATION, THIRD, Place

SECRET = PseudonymKey(KEY.encode())
CLEAN = [
    "MSG_DT",
    "AURA_ID",
    "CHANNEL_CD",
    "COUNTRY_CD",
    "STATUS_CD",
    "REASON",
    "VERSION_ID",
    "LANG_CD",
    "DURATION_NU",
    "utterance",
    "intent",
    "score",
    "recognizer",
    "sesId",
    "sesSize",
    "sesDuration",
    "userType",
]


def messages() -> list[dict[str, str]]:
    """What was said, as the simulated vendor knows it."""
    return [row for entity, _, rows in uploads(SIMULATION) if entity == MESSAGE for row in rows]


def text_of(file: Path) -> str:
    """All that a file says, unpacked."""
    if file.suffix == ".parquet":
        return repr(pl.read_parquet(file).rows()) + repr(pl.read_parquet_metadata(file))
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()


def test_messages_are_read_in_words_of_no_vendor(listened: Callable[..., Place]) -> None:
    place = listened()
    read = messages_of(place.files, place.feed)
    with duckdb.connect() as connection:
        rows = pl.DataFrame(connection.sql(read.sql))
    clean = pl.concat([place.clean(day) for day in place.days.of(Tier.CLEAN, "message")])
    assert rows.height == clean.height
    assert set(rows["feed"]) == {"acme"}
    assert set(rows["country"]) == {"BE"}
    for told, column in {"login": "AURA_ID", "session_s": "sesDuration", "text": "utterance", "score": "score"}.items():
        assert rows[told].sort().equals(clean[column].sort(), check_names=False)
    assert set(rows["reason"]) == {reason or "(none)" for reason in clean["REASON"]}


@pytest.mark.usefixtures("with_key")
def test_the_command_makes_all_days_and_no_canary_leaves(
    place: Place, offload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acceptance 1 and 2: nothing that tells who somebody is leaves, and only RAW takes the key."""
    monkeypatch.delenv(KEY_VARIABLE)
    failed = offload("listening", "run", "--feeds", place.yaml)
    assert failed.code == 1
    assert f"{KEY_VARIABLE} is not set" in failed.out
    assert not place.made(), "without the key nothing is made"
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    said = offload("listening", "run", "--feeds", place.yaml, "--json")
    assert said.code == 0
    assert {one["day"] for one in said.json["made"]} == set(map(str, DAYS))
    found = canaries(SIMULATION)
    assert min(map(len, found.values())) >= SIMULATION.users
    searched = {name: text_of(place.files.root / name) for name in place.made()}
    assert {name.split("/")[1] for name in searched} >= {"ppd_raw", "ppd_clean", "aggregate", "es"}
    logged = "".join(f.read_text(errors="replace") for f in place.files.dagster_home.rglob("*.db") if f.is_file())
    for kind, values in found.items():
        for value in values:
            holding = [name for name, text in searched.items() if value.lower() in text.lower()]
            assert not holding, f"{kind} {value} stands in {holding}"
            assert value not in logged + said.out + said.err, f"{kind} {value} was logged"
    everything = " ".join(searched.values())
    assert {"idemail", "idcard", "idiban", "idpassport", "idphone"} <= set(re.findall(r"\bid[a-z]+\b", everything))
    whole = " ".join(row["MESSAGE"] for row in messages())
    assert all(any(value in whole for value in found[kind]) for kind in ("mail", "card", "iban", "passport", "phone"))
    # From here on without the key: all but RAW can be made anew, and comes out the same.
    monkeypatch.delenv(KEY_VARIABLE)
    before = place.made()
    for name in before:
        if "/ppd_raw/" not in name:
            (place.files.root / name).unlink()
    again = offload("listening", "run", "--feeds", place.yaml, "--json")
    assert (again.code, {step for one in again.json["made"] for step in one["steps"]}) == (0, {"clean", "handoff"})
    assert place.made() == before
    assert offload("listening", "run", "--feeds", place.yaml).out.strip() == "Nothing is due."
    assert offload("listening", "status", "--feeds", place.yaml, "--json").json["feeds"][0]["days"] == len(DAYS)
    assert offload("es", "export", "--feeds", place.yaml, "--json").json["handed_off"][0]["days"] == 0


def test_every_message_is_there_with_the_columns_of_the_release(listened: Callable[..., Place]) -> None:
    place = listened()
    rows = pl.concat([place.clean(day) for day in DAYS])
    assert rows.columns == CLEAN
    said = messages()
    assert rows.height == len(said)
    assert sorted(rows["MSG_DT"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")) == sorted(row["MSG_DT"] for row in said)
    best: dict[str, dict[str, str]] = {}
    for entity, _, found in uploads(SIMULATION):
        for row in found if entity == "recognizer" else ():
            if row["CORR_ID"] not in best or float(row["SCORE_NU"]) > float(best[row["CORR_ID"]]["SCORE_NU"]):
                best[row["CORR_ID"]] = row
    by_moment = {
        (row["MSG_DT"], SECRET.hashed("aura_id", row["AURA_ID"]) if row["AURA_ID"] else None): row for row in said
    }
    for row in rows.iter_rows(named=True):
        of_log = by_moment[
            f"{row['MSG_DT']:%Y-%m-%dT%H:%M:%S}.{row['MSG_DT'].microsecond // 1000:03d}Z", row["AURA_ID"]
        ]
        top = best[of_log["CORR_ID"]]
        assert (row["intent"], row["score"], row["recognizer"]) == (
            *(top["INTENT"], float(top["SCORE_NU"]), top["RECOGNIZER"]),
        )
        assert (row["CHANNEL_CD"], row["STATUS_CD"]) == (of_log["CHANNEL_CD"], of_log["STATUS_CD"])
    for day in DAYS:
        text = gzip.decompress(place.days.file(Tier.CLEAN, "message", day, ".csv.gz").read_bytes()).decode()
        header, *lines = text.split("\n")[:-1]
        assert header.split(",") == CLEAN
        assert len(lines) == place.clean(day).height
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[0].split(",")[0])


def test_a_hash_is_that_of_the_key_and_of_no_other(listened: Callable[..., Place]) -> None:
    """Acceptance 3."""
    place = listened()
    logins = {row["AURA_ID"] for row in messages()} - {""}
    expected = {hmac.new(KEY.encode(), f"v1|aura_id|{login}".encode(), hashlib.sha256).hexdigest() for login in logins}
    found = {day: set(place.clean(day)["AURA_ID"].drop_nulls()) for day in DAYS}
    assert found[FIRST] | found[SECOND] == expected
    assert found[FIRST] & found[SECOND], "a login that goes on after midnight keeps its hash"
    assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in expected)
    assert place.days.facts(Tier.CLEAN, "message", FIRST)[KEY_ID] == SECRET.key_id
    other = listened(DAYS, key="o" * 32)
    assert not set(other.clean(FIRST)["AURA_ID"].drop_nulls()) & expected


def test_raw_has_no_column_of_a_person(listened: Callable[..., Place]) -> None:
    place = listened()
    for table in ("message", "recognizer", "api"):
        rows = place.days.read(Tier.RAW, table, FIRST)
        assert not {"user_id", "phone_id", "extra"} & set(rows.columns), table
        assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in rows["aura_id"].drop_nulls()), table
    assert {"msg_id", "action_cd"} <= set(place.days.read(Tier.RAW, "message", FIRST).columns)


def test_sessions_are_the_same_in_whatever_order_days_are_made(listened: Callable[..., Place]) -> None:
    """Acceptance 4: across midnight one session, a re-run changes no byte."""
    place = listened()
    before = place.made()
    whole = pl.concat([place.clean(day).with_columns(day=pl.lit(day)) for day in DAYS])
    crossing = whole.group_by("sesId").agg(pl.col("day").n_unique(), pl.len(), pl.col("sesSize").first()).drop_nulls()
    assert crossing.filter(pl.col("day") == 2).height >= 1
    assert crossing.filter(pl.col("len") != pl.col("sesSize")).is_empty()
    sessions = pl.concat([place.days.read(Tier.CLEAN, "sessions", day) for day in DAYS])
    assert sessions["sesId"].is_unique().all()
    assert sessions["sesSize"].sum() == whole["sesId"].drop_nulls().len()
    assert whole.filter(pl.col("AURA_ID").is_null())["sesId"].null_count() == whole["AURA_ID"].null_count() > 0
    for day in DAYS:
        assert unsettled_sessions(place.feed, place.days, day)[1] == 0
        begun = place.days.read(Tier.CLEAN, "sessions", day)["begin_at"].dt.date()
        assert set(begun) <= {day}
    for day in (SECOND, THIRD, FIRST):
        make_clean(place.feed, place.days, day)
    assert place.made() == before
    for name in before:
        if "/ppd_raw/" not in name:
            (place.files.root / name).unlink()
    assert listened((SECOND, THIRD, FIRST)).made() == before


def test_a_late_message_that_joins_two_days_rewrites_both(listened: Callable[..., Place]) -> None:
    """A session that goes on for days is one, and each day that it reaches into is made anew."""
    place = listened()
    row = place.days.read(Tier.RAW, "message", FIRST).filter(pl.col("aura_id").is_not_null()).head(1)
    login = "f" * 64
    begin = datetime(2026, 9, 7, 23, 0, tzinfo=UTC)
    for day in DAYS:
        of_day = [
            begin + timedelta(minutes=20 * n)
            for n in range(3 * 26)
            if (begin + timedelta(minutes=20 * n)).date() == day
        ]
        added = pl.concat(
            [row.with_columns(aura_id=pl.lit(login), msg_dt=pl.lit(at, row["msg_dt"].dtype)) for at in of_day]
        )
        known = place.days.has(Tier.RAW, "message", day)
        rows = pl.concat([place.days.read(Tier.RAW, "message", day), added]) if known else added
        place.days.write(Tier.RAW, "message", day, rows, place.days.facts(Tier.RAW, "message", FIRST))
    changed = [made.day for made in make_clean(place.feed, place.days, THIRD)]
    assert changed == [THIRD, FIRST, SECOND]
    whole = pl.concat([place.clean(day) for day in DAYS]).filter(pl.col("AURA_ID") == login)
    assert (whole["sesId"].n_unique(), set(whole["sesSize"]), set(whole["sesDuration"])) == (1, {78}, {77 * 1200})


def test_a_column_without_a_rule_stops_everything_and_an_unknown_one_stays_behind(
    listened: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acceptance 5."""
    place = listened()
    said = repr(place.days.read(Tier.RAW, "api", FIRST).rows())
    with duckdb.connect(place.files.published, read_only=True) as published:
        [(urls,)] = published.execute("SELECT count(*) FROM aura.api WHERE extra->>'URL' IS NOT NULL").fetchall()
    assert urls > 0, "the log has a column that the contract does not know"
    assert "api.example.com" not in said

    def without_a_rule(vendor: str, table: str) -> Rules:
        rules = read_rules(vendor, table)
        return rules.model_copy(update={"columns": {n: t for n, t in rules.columns.items() if n != "reason"}})

    before = place.made()
    monkeypatch.setattr("offload_platform.listening.raw.read_rules", without_a_rule)
    with pytest.raises(ListeningError, match="no rule for reason"):
        make_raw(place.files, place.feed, place.days, FIRST, SECRET)
    with pytest.raises(ListeningError, match="no rule for reason"):
        check_rules(place.feed)
    assert place.made() == before


def test_the_list_of_test_users_changes_the_kind_of_user_and_nothing_else(
    listened: Callable[..., Place], place: Place, offload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acceptance 6."""
    listened()
    without = pl.concat([place.clean(day) for day in DAYS])
    assert set(without["userType"]) == {"unknown"}
    testers = [person for person in people(SIMULATION) if person.is_tester]
    ids = place.folder / "ids.txt"
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    for column, values in (("user_id", [p.user_id for p in testers[1:]]), ("phone_id", [testers[0].phone])):
        ids.write_text("\n".join(values))
        said = offload(
            *("listening", "testers", ids, "--feed", "acme", "--column", column, "--out", place.folder / "testers.txt"),
            *("--feeds", place.yaml),
        )
        assert said.code == 0
    monkeypatch.delenv(KEY_VARIABLE)
    listed = (place.folder / "testers.txt").read_text()
    assert len(listed.splitlines()) == len(testers)
    assert not any(person.user_id in listed for person in testers)
    place.say(test_users="testers.txt")
    assert {step for due in due_days(place.settings, place.feed) for step in due.steps} == {"raw"}
    listened(DAYS)
    with_list = pl.concat([place.clean(day) for day in DAYS])
    assert with_list.drop("userType").equals(without.drop("userType"))
    of_login = {SECRET.hashed("aura_id", row["AURA_ID"]): row["USER_ID"] for row in messages() if row["AURA_ID"]}
    tested = {person.user_id for person in testers}
    for row in with_list.filter(pl.col("AURA_ID").is_not_null()).iter_rows(named=True):
        assert row["userType"] == ("test" if of_login[row["AURA_ID"]] in tested else "real")
    assert set(with_list.filter(pl.col("AURA_ID").is_null())["userType"]) <= {"unknown", "test"}
    (place.folder / "testers.txt").write_text(testers[0].user_id)
    with pytest.raises(ListeningError, match=r"testers.txt:1: no hash"):
        due_days(place.settings, place.feed)


def test_figures_tell_no_small_group_and_add_up(listened: Callable[..., Place]) -> None:
    place = listened()
    rows = place.clean(FIRST)
    figures = place.days.read(Tier.AGGREGATE, "daily_metrics", FIRST)
    told = figures.filter(~pl.col("is_suppressed"))
    assert told["persons"].min() >= 5
    [whole] = told.filter(pl.col("breakdown") == "(all)").iter_rows(named=True)
    assert (whole["messages"], whole["persons"]) == (rows.height, rows["AURA_ID"].drop_nulls().n_unique())
    assert whole["failed"] == rows["STATUS_CD"].str.contains("^[45]").sum()
    by_breakdown: dict[str, int] = defaultdict(int)
    for row in told.iter_rows(named=True):
        by_breakdown[row["breakdown"]] += row["messages"]
    # Nothing is left over that could be worked out as the difference to the whole.
    assert set(by_breakdown.values()) == {rows.height}
    assert figures.filter(pl.col("value") == "(other)").height >= 1
    place.say(smallest_group=1_000)
    make_clean(place.feed, place.days, FIRST)
    hidden = place.days.read(Tier.AGGREGATE, "daily_metrics", FIRST)
    assert hidden["is_suppressed"].all()
    assert hidden["messages"].null_count() == hidden.height


def test_rows_of_another_country_do_not_pass(place: Place) -> None:
    place.say(country="ES")
    made = make_raw(place.files, place.feed, place.days, FIRST, SECRET)
    assert [report.rows for report in made] == [0, 0, 0]
    assert all(report.of_other_countries == report.rows_in > 0 for report in made)


def test_a_missing_or_short_key_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PseudonymKeyError, match=f"acme ppd_raw: {KEY_VARIABLE} is not set"):
        key_of_raw(place.feed)
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(PseudonymKeyError, match="has 5 characters"):
        key_of_raw(place.feed)


@pytest.mark.usefixtures("with_key")
def test_in_dagster_a_sensor_asks_for_what_is_due_and_assets_make_it(place: Place) -> None:
    definitions = build_definitions(place.settings)
    sensor = listening_sensor(place.settings, place.feed)
    job = definitions.resolve_implicit_global_asset_job_def()
    with open_instance(place.files) as instance:

        def tick(cursor: str | None) -> Any:
            return sensor.evaluate_tick(
                dg.build_sensor_context(instance=instance, cursor=cursor, definitions=definitions)
            )

        cursor, made, steps = None, [], []
        while (asked := tick(cursor)).run_requests:
            cursor = asked.cursor
            assert [request.partition_key for request in asked.run_requests] == [*map(str, DAYS)]
            steps.append({key.path[-1] for request in asked.run_requests for key in request.asset_selection})
            for request in asked.run_requests:
                result = job.execute_in_process(
                    partition_key=request.partition_key, asset_selection=request.asset_selection, instance=instance
                )
                assert result.success
                made += result.get_asset_check_evaluations()
        assert steps == [
            {"ppd_raw_message", "ppd_raw_recognizer", "ppd_raw_api"},
            {"ppd_clean_message", "sessions", "daily_metrics", "es_handoff_message"},
        ]
        assert {(check.check_name, check.passed) for check in made} == {
            ("logs_are_of_the_country", True),
            ("sessions_add_up", True),
            ("no_small_group_is_told", True),
        }
        assert asked.skip_message == "nothing is due"
        assert tick(asked.cursor).skip_message == "nothing was published since"


@pytest.mark.usefixtures("with_key")
def test_an_erased_person_leaves_every_tier_and_the_index(
    listened: Callable[..., Place], offload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = listened()
    assert offload("listening", "run", "--feeds", place.yaml).code == 0
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, "e" * 32)
    by_user: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in messages():
        by_user[row["USER_ID"]].append(row)
    user = max(by_user, key=lambda one: len([row for row in by_user[one] if row["AURA_ID"]]))
    hashes = {SECRET.hashed("aura_id", row["AURA_ID"]) for row in by_user[user] if row["AURA_ID"]}
    before = {day: place.clean(day) for day in DAYS}
    # Of the first day only CLEAN is left, as where RAW has been kept long enough.
    for table in ("message", "recognizer", "api"):
        place.days.file(Tier.RAW, table, FIRST).unlink()
    place.say(country="ES")
    said = offload("erase", "--user", user, "--feeds", place.yaml)
    assert (said.code, "ppd_clean/be is of no feed" in said.err) == (1, True)
    place.say()
    said = offload("erase", "--user", user, "--feeds", place.yaml)
    assert said.code == 0, said.out
    for name in place.made():
        text = text_of(place.files.root / name)
        holding = [one for one in hashes if one in text]
        assert not holding, name
    gone = {day: before[day].height - place.clean(day).height for day in before}
    of_day = {day: sum(row["MSG_DT"].startswith(str(day)) for row in by_user[user]) for day in before}
    assert gone[SECOND] == of_day[SECOND] > 0
    assert 0 < gone[FIRST] <= of_day[FIRST]
    of_user = {(row["MSG_DT"]) for row in by_user[user]}
    moment = pl.col("MSG_DT").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    assert place.clean(SECOND).equals(before[SECOND].filter(~moment.is_in(of_user))), "others stay as they are"
    manifest = json.loads((place.files.root / "handoff/es/aura-message-be/MANIFEST.json").read_text())
    assert {day: one["deletions"] for day, one in manifest["days"].items()} == {str(d): gone[d] for d in gone}
    assert not due_days(place.settings, place.feed)


def test_what_was_kept_long_enough_goes_and_does_not_come_back(listened: Callable[..., Place]) -> None:
    place = listened()
    place.say(raw_days=30, clean_days=60)
    assert tidy_days(place.settings, date(2026, 9, 20), dry_run=False) == (0, 0)
    number, size = tidy_days(place.settings, date(2026, 10, 8), dry_run=True)
    assert (number, size > 0) == (3, True), "RAW of the first day, of three logs"
    assert tidy_days(place.settings, date(2026, 10, 8), dry_run=False) == (number, size)
    assert not place.days.has(Tier.RAW, "message", FIRST)
    assert place.days.has(Tier.CLEAN, "message", FIRST)
    assert not [due for due in due_days(place.settings, place.feed) if "raw" in due.steps]
    tidy_days(place.settings, date(2026, 11, 8), dry_run=False)
    left = [name for name in place.made() if str(FIRST) in name or str(SECOND) in name]
    assert [name.split("/")[1] for name in left if str(FIRST) in name] == ["aggregate"]


def test_where_there_are_no_logs_the_rest_is_made_of_raw(listened: Callable[..., Place]) -> None:
    """What a central team does with RAW that was brought to it: no logs, no key."""
    place = listened()
    before = place.made()
    for file in (place.files.published, place.files.build):
        file.unlink()
    for name in before:
        if "/ppd_clean/" in name:
            (place.files.root / name).unlink()
    due = due_days(place.settings, place.feed)
    assert [(one.day, one.steps) for one in due] == [(day, ("clean", "handoff")) for day in DAYS]
    for one in due:
        make_clean(place.feed, place.days, one.day)
    assert place.made() == before
    assert not due_days(place.settings, place.feed)
    with pytest.raises(ListeningError, match=r"has no logs of acme yet\. Next: offload run"):
        make_raw(place.files, place.feed, place.days, FIRST, SECRET)


def test_doctor_looks_at_key_rules_and_list(
    place: Place, offload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[str, str]:
        findings = offload("doctor", "--feeds", place.yaml, "--json").json["findings"]
        [finding] = [one for one in findings if one["subject"] == "listening"]
        return finding["grade"], finding["found"]

    grade, said = found()
    assert (grade, f"{KEY_VARIABLE} is not set" in said) == ("note", True)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert found()[0] == "ok"
    place.say(test_users="nowhere.txt")
    grade, said = found()
    assert (grade, "the list of test users cannot be read" in said) == ("problem", True)
