"""The `offload` command: what it says in JSON, its exit codes, and the next step for each problem."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

ANN = "a" * 24
OTHER_APP_ID = "0123456789abcdef01234567"
GOOD_ROW = f"{ANN},,behavior.early_bird"
Make = Callable[..., Any]


@pytest.fixture
def configured(tmp_path: Path, vendor_folder: Any, feed_of: Make, feeds_yaml: Make) -> Make:
    """Writes the configuration of one feed on the vendor's folder."""

    def configure(**said: Any) -> Path:
        return feeds_yaml(tmp_path, feed_of(said.pop("url", vendor_folder.url), **{"types": ("segments",)} | said))

    return configure


def test_run_in_json(tmp_path: Path, vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-11-24", [GOOD_ROW])
    vendor_folder.part("2018-12-08", [GOOD_ROW, "x,,y"])
    vendor_folder.part("2018-12-15", [GOOD_ROW], number=1)
    (vendor_folder.root / "readme.txt").write_text("hello")
    said = offload("run", "--feeds", configured(), "--json")
    assert said.code == 0
    assert set(said.json) == {
        "loads",
        "up_to_date",
        "incomplete",
        "outside",
        "unlisted",
        "unrecognised",
        "published",
        "publishing_error",
        "alerting_error",
    }
    [load] = said.json["loads"]
    assert load.pop("seconds") > 0
    assert load.pop("megabytes") > 0
    assert load == {
        "feed": "acme",
        "offload_type": "segments",
        "partition": "2018-12-08",
        "succeeded": True,
        "rows_in": 2,
        "rows_loaded": 1,
        "rows_quarantined": 1,
        "drift": 0,
        "error": None,
    }
    assert said.json["incomplete"] == [
        {
            "folder": "12_15_2018_15_05_54_499",
            "offload_type": "segments",
            "because": "segments lacks part 00000",
        }
    ]
    assert said.json["outside"] == ["11_24_2018_15_05_54_499"]
    assert said.json["unrecognised"] == {"acme": ["readme.txt"]}
    assert said.json["published"] == str(tmp_path / "warehouse" / "published" / "offloads.duckdb")
    assert said.json["publishing_error"] is None
    again = offload("run", "--feeds", configured(), "--json").json
    assert (again["loads"], again["up_to_date"]) == ([], 1)


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_partition_that_fails_stops_no_other_and_makes_the_exit_code_1(
    vendor_folder: Any, configured: Make, offload: Make, parallel: int
) -> None:
    for day in ("2018-12-08", "2018-12-15", "2018-12-22"):
        part = vendor_folder.part(day, [GOOD_ROW])
        if day == "2018-12-15":
            part.write_bytes(part.read_bytes()[:-6])
    said = offload("run", "--feeds", configured(), "--parallel", parallel, "--json")
    assert said.code == 1
    outcomes = {o["partition"]: (o["succeeded"], o["error"]) for o in said.json["loads"]}
    assert {week: succeeded for week, (succeeded, _) in outcomes.items()} == {
        "2018-12-08": True,
        "2018-12-15": False,
        "2018-12-22": True,
    }
    assert "part-00000" in outcomes["2018-12-15"][1]
    assert said.json["published"], "what is loaded is published"
    in_words = offload("run", "--feeds", configured())
    assert in_words.code == 1
    assert "failed: acme segments 2018-12-15: 12_15_2018" in in_words.out


def test_status_in_json(tmp_path: Path, vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, "x,,y"])
    feeds = configured()
    before = offload("status", "--feeds", feeds, "--json")
    assert before.code == 0
    shown = before.json
    vendor = shown["tables"][0]["vendor"]
    assert vendor.pop("hours_late") > 24
    assert vendor == {"state": "overdue", "next_due": "2018-12-16 12:05:54.499000+00:00", "missing": []}
    assert shown == {
        "published": None,
        "published_at": None,
        "privacy": None,
        "tables": [
            {
                "feed": "acme",
                "offload_type": "segments",
                "partitions": 0,
                "newest_partition": None,
                "newest_stamp": None,
                "rows_in": 0,
                "rows_loaded": 0,
                "rows_quarantined": 0,
                "drift": 0,
                "to_load": 1,
                "incomplete": 0,
                "vendor": vendor,
                "newest_event_at": None,
                "newest_delivery_at": "2018-12-08 15:05:54.499000+00:00",
                "last_load_at": None,
            }
        ],
        "waiting": [{"feed": "acme", "offload_type": "segments", "partition": "2018-12-08"}],
        "incomplete": [],
        "held": [],
        "unlisted": {},
        "unrecognised": {"acme": []},
    }
    assert "Nothing is published yet. Next: offload run" in offload("status", "--feeds", feeds).out
    assert offload("run", "--feeds", feeds).code == 0
    after = offload("status", "--feeds", feeds, "--json").json
    assert after["published"] == str(tmp_path / "warehouse" / "published" / "offloads.duckdb")
    assert datetime.fromisoformat(after["published_at"]) <= datetime.now(UTC)
    assert after["waiting"] == []
    [table] = after["tables"]
    assert datetime.fromisoformat(table.pop("last_load_at")) <= datetime.fromisoformat(after["published_at"])
    assert table.pop("vendor")["state"] == "overdue"
    assert table == {
        "feed": "acme",
        "offload_type": "segments",
        "partitions": 1,
        "newest_partition": "2018-12-08",
        "newest_stamp": "2018-12-08 15:05:54.499000+00:00",
        "rows_in": 2,
        "rows_loaded": 1,
        "rows_quarantined": 1,
        "drift": 0,
        "to_load": 0,
        "incomplete": 0,
        "newest_event_at": None,
        "newest_delivery_at": "2018-12-08 15:05:54.499000+00:00",
    }
    assert "Every complete delivery is loaded." in offload("status", "--feeds", feeds).out


def row_of(shown: str, offload_type: str) -> str:
    [line] = [line for line in shown.splitlines() if line.startswith(offload_type)]
    return " ".join(line.split())


def test_status_tells_a_late_vendor_from_a_load_that_waits(
    vendor_folder: Any, configured: Make, offload: Make, tmp_path: Path
) -> None:
    """A week is missing while the rest is loaded; a delivery is cut; a type never came; a root cannot be listed."""
    saturday = datetime.now(UTC) - timedelta(days=22)
    start = {"start": saturday.date(), "types": ("segments",)}
    feeds = configured(**start)
    vendor_folder.part(saturday, [GOOD_ROW])
    vendor_folder.part(saturday + timedelta(days=14), [GOOD_ROW])
    shown = offload("status", "--feeds", feeds).out
    assert row_of(shown, "segments").endswith("0 – 0 0 0 on time 2 to load")
    assert offload("run", "--feeds", feeds).code == 0
    shown = offload("status", "--feeds", feeds).out
    assert row_of(shown, "segments").endswith("on time up to date")
    assert f"missing: {(saturday + timedelta(days=7)).date()}: segments of acme; ask the vendor" in shown

    vendor_folder.part(saturday + timedelta(days=21), [GOOD_ROW], number=1)
    later = offload("status", "--feeds", feeds, "--json").json
    [table] = later["tables"]
    assert (table["vendor"]["state"], table["incomplete"], table["to_load"]) == ("on time", 1, 0)
    assert table["vendor"]["missing"] == [str((saturday + timedelta(days=7)).date())]
    assert "1 incomplete" in offload("status", "--feeds", feeds).out

    never = configured(**start | {"types": ("segments", "moments")})
    shown = offload("status", "--feeds", never).out
    assert row_of(shown, "moments").endswith("0 – 0 0 0 never nothing there")
    gone = configured(**start | {"url": (tmp_path / "gone").as_uri()})
    shown = offload("status", "--feeds", gone).out
    assert row_of(shown, "segments").endswith("not known not known")


def test_the_three_clocks(vendor_folder: Any, configured: Make, offload: Make) -> None:
    moments = "user_id,metadata_user_id,start,end,duration,moment_definition_id,meta"
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    started = ("2018-12-05T10:00:00+01:00", "2018-12-06T23:30:00-08:00", "2018-12-07T01:00:00+00:00")
    rows = [f"{ANN},,{at},-,-1,asleep," for at in started]
    vendor_folder.part("2018-12-08", rows, offload_type="moments", header=moments)
    feeds = configured(types=("segments", "moments"))
    assert offload("run", "--feeds", feeds).code == 0
    loaded_at = datetime.now(UTC)
    tables = {t["offload_type"]: t for t in offload("status", "--feeds", feeds, "--json").json["tables"]}
    assert tables["moments"]["newest_event_at"] == "2018-12-07 07:30:00+00:00"
    assert tables["segments"]["newest_event_at"] is None
    for table in tables.values():
        assert table["newest_delivery_at"] == "2018-12-08 15:05:54.499000+00:00"
        assert abs(datetime.fromisoformat(table["last_load_at"]) - loaded_at) < timedelta(minutes=2)
    assert "newest event" not in offload("status", "--feeds", feeds).out
    clocks = offload("status", "--feeds", feeds, "--clocks").out.partition("newest event")[2]
    assert row_of(clocks, "moments").startswith("moments 2018-12-07 07:30 2018-12-08 15:05 ")
    assert row_of(clocks, "moments").endswith(" 2018-12-16 12:05")
    assert row_of(clocks, "segments").startswith("segments – 2018-12-08 15:05 ")


def test_the_scorecard_in_words_json_and_files(
    vendor_folder: Any, configured: Make, offload: Make, tmp_path: Path
) -> None:
    for day in ("2018-12-08", "2018-12-22"):
        vendor_folder.part(day, [GOOD_ROW, "x,,y"])
    feeds = configured()
    before = offload("scorecard", "--feeds", feeds, "--json").json
    assert [d["outcome"] for d in before["deliveries"]][:3] == ["not loaded", "missing", "not loaded"]
    assert offload("run", "--feeds", feeds).code == 0
    narrowed = ("--feeds", feeds, "--from", "2018-12-01", "--to", "2018-12-31", "--type", "segments")
    said = offload("scorecard", *narrowed, "--json")
    assert said.code == 0
    assert set(said.json) == {"made_at", "first", "last", "rules", "totals", "by_month", "deliveries", "unlisted"}
    assert [d["outcome"] for d in said.json["deliveries"]] == ["loaded", "missing", "loaded", "missing"]
    [total] = said.json["totals"]
    assert (total["expected"], total["missing"], total["rows_in"], total["rows_quarantined"]) == (4, 2, 4, 2)
    shown = offload("scorecard", *narrowed).out
    assert row_of(shown.partition("not on time")[0], "segments").startswith("segments 4 0 % ")
    assert "50.0 %" in shown
    assert "2018-12-15 missing 2018-12-16 12:05 – –" in " ".join(shown.split())
    for name in ("card.html", "card.csv", "card.json"):
        written = offload("scorecard", *narrowed, "--out", tmp_path / name)
        assert (written.code, "Written: " in written.out) == (0, True)
        text = (tmp_path / name).read_text()
        assert "12_22_2018_15_05_54_499" in text
        assert ANN not in text


def test_a_scorecard_does_not_wait_for_a_delivery_to_settle(
    vendor_folder: Any, configured: Make, offload: Make
) -> None:
    """It came in time, and is whole: that it is not loaded yet is our own rule."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    vendor_folder.part(yesterday, [GOOD_ROW])
    feeds = configured(settle_hours=48, start=yesterday.date())
    assert offload("plan", "--feeds", feeds, "--json").json["incomplete"]
    [delivery] = offload("scorecard", "--feeds", feeds, "--json").json["deliveries"]
    assert (delivery["outcome"], delivery["is_on_time"], delivery["incomplete_folders"]) == ("not loaded", True, 0)


def test_a_scorecard_of_another_kind_of_file_is_refused_before_any_work(
    configured: Make, offload: Make, tmp_path: Path
) -> None:
    said = offload("scorecard", "--feeds", configured(), "--out", tmp_path / "card.pdf")
    assert said.code == 2
    assert "must end in .html, .csv, .json" in " ".join(said.err.split())


def test_a_scorecard_without_a_listing_blames_nobody(
    vendor_folder: Any, configured: Make, offload: Make, tmp_path: Path
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    assert offload("run", "--feeds", configured()).code == 0
    said = offload("scorecard", "--feeds", configured(url=(tmp_path / "gone").as_uri()), "--json")
    assert said.code == 1
    assert {d["outcome"] for d in said.json["deliveries"]} == {"loaded", "not known"}
    assert "check the url of the feed" in said.json["unlisted"]["acme"]
    shown = offload("scorecard", "--feeds", configured(url=(tmp_path / "gone").as_uri()))
    assert (shown.code, "not listed: acme: " in shown.out) == (1, True)


def test_tables_are_readable_in_120_columns(vendor_folder: Any, configured: Make, offload: Make) -> None:
    day = "2018_12_08_9f01c2e1-1559-4f3f-af33-0551a754ba4d"
    types = ("mapped_waypoints_realtime", "driving_events_realtime")
    for offload_type in types:
        marker = vendor_folder.root / day / OTHER_APP_ID / f"{offload_type}.{OTHER_APP_ID}.json" / "_SUCCESS"
        marker.parent.mkdir(parents=True)
        marker.touch()
    feeds = configured(types=types, cadence={"driving": "daily"}, app_id=OTHER_APP_ID)
    assert offload("run", "--feeds", feeds).code == 0
    for command in (("status", "--clocks"), ("scorecard", "--to", "2018-12-20")):
        shown = subprocess.run(
            [sys.executable, "-m", "offload_platform.cli", *command, "--feeds", feeds],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"COLUMNS": "120"},
        ).stdout
        rows = [line for line in shown.splitlines() if line.startswith(types)]
        assert len(rows) >= 3
        assert all(len(line) <= 120 for line in rows)
        assert all(len(line.split()) > 5 for line in rows), "no line is folded"


def findings(said: Any) -> dict[str, tuple[str, str, str | None]]:
    assert {frozenset(f) for f in said.json["findings"]} == {
        frozenset({"feed", "subject", "grade", "found", "next_step"})
    }
    return {f["subject"]: (f["grade"], f["found"], f["next_step"]) for f in said.json["findings"]}


def test_doctor_is_content(vendor_folder: Any, configured: Make, offload: Make) -> None:
    for day in ("2018-12-08", "2018-12-15", "2018-12-22"):
        vendor_folder.part(day, [GOOD_ROW])
    said = offload("doctor", "--feeds", configured(), "--json")
    assert said.code == 0
    found = findings(said)
    assert {grade for grade, _, _ in found.values()} == {"ok"}
    assert set(found) == {
        "configuration",
        "warehouse",
        "listing",
        "reading",
        "layout",
        "app id",
        "lifestyle types",
        "completeness",
        "lifestyle gaps",
    }


@pytest.fixture
def map_server() -> Iterator[tuple[str, dict[str, Any]]]:
    """The URL of a server of map styles, and what it answers by path."""
    answers: dict[str, Any] = {}

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(self.path)).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def test_doctor_looks_at_the_basemap(
    vendor_folder: Any, configured: Make, offload: Make, map_server: tuple[str, dict[str, Any]]
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    url, answers = map_server
    feeds = configured()
    told = yaml.safe_load(feeds.read_text())

    def found(path: str) -> tuple[str, str, str | None]:
        feeds.write_text(yaml.safe_dump(told | {"dashboard": {"basemap_style_url": f"{url}{path}"}}))
        return findings(offload("doctor", "--feeds", feeds, "--json"))["basemap"]

    answers["/style.json?key=secret"] = {
        "version": 8,
        "layers": [{"id": "sea"}],
        "glyphs": "https://letters.example.com/{fontstack}/{range}.pbf",
        "sources": {
            "streets": {"type": "vector", "url": "/tiles.json"},
            "hills": {"type": "raster", "tiles": ["https://hills.example.com/{z}/{x}/{y}.png"]},
        },
    }
    asked = "127.0.0.1, hills.example.com, letters.example.com"
    said = f"a style; browsers ask {asked} for pictures of where people look"
    assert found("/style.json?key=secret") == ("ok", said, None)
    answers["/no_style?key=secret"] = {"version": 8}
    for path, wrong in {"/gone?key=secret": "answered 404", "/no_style?key=secret": "is no MapLibre style"}.items():
        grade, text, step = found(path)
        assert grade == "problem"
        assert wrong in text
        assert "secret" not in text
        assert step


def test_doctor_finds_no_root(tmp_path: Path, configured: Make, offload: Make) -> None:
    said = offload("doctor", "--feeds", configured(url=(tmp_path / "nowhere").as_uri()), "--json")
    assert said.code == 1
    grade, text, step = findings(said)["listing"]
    assert grade == "problem"
    assert "nowhere is no folder: check the url of the feed" in text
    assert step


def test_doctor_finds_an_empty_root(configured: Make, offload: Make) -> None:
    said = offload("doctor", "--feeds", configured(), "--json")
    assert said.code == 1
    assert any("no object below" in f["found"] for f in said.json["findings"])


def test_doctor_finds_another_app_id(vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW], app_id=OTHER_APP_ID)
    said = offload("doctor", "--feeds", configured(), "--json")
    assert said.code == 1
    grade, text, step = findings(said)["app id"]
    assert grade == "problem"
    assert f"app ids seen: {OTHER_APP_ID}" in text
    assert step == "Set app_id of the feed to one of those, or check its url."


def test_doctor_finds_a_gap(vendor_folder: Any, configured: Make, offload: Make) -> None:
    for day in ("2018-12-08", "2018-12-15", "2018-12-29"):
        vendor_folder.part(day, [GOOD_ROW])
    said = offload("doctor", "--feeds", configured(), "--json")
    assert said.code == 1
    grade, text, step = findings(said)["lifestyle gaps"]
    assert grade == "problem"
    assert text == "no weekly delivery for 2018-12-22"
    assert step is not None
    assert "Ask the vendor to deliver them again" in step


def test_doctor_finds_what_it_does_not_know(vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    for name in ("notes.txt", "2018-12-08/part-0.csv"):
        (vendor_folder.root / name).parent.mkdir(exist_ok=True)
        (vendor_folder.root / name).write_text("?")
    (vendor_folder.root / ".DS_Store").write_text("left by a tool")
    said = offload("doctor", "--feeds", configured(), "--json")
    assert said.code == 1
    grade, text, step = findings(said)["layout"]
    assert (grade, step) == ("problem", "Ask the vendor what they are; nothing of them is loaded.")
    assert text.startswith("2 unrecognised objects: ")
    in_words = offload("doctor", "--feeds", configured())
    assert "→ Ask the vendor what they are" in in_words.out


def test_doctor_finds_types_that_never_came(vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    said = offload("doctor", "--feeds", configured(types=("segments", "moments")), "--json")
    assert said.code == 1
    assert findings(said)["lifestyle types"][:2] == ("problem", "never delivered: moments")
    assert findings(said)["completeness"][1].endswith("moments has no part yet")


def test_doctor_notes_what_has_not_settled(vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    said = offload("doctor", "--feeds", configured(settle_hours=24), "--json")
    assert said.code == 0, "waiting is no problem"
    grade, text, _ = findings(said)["completeness"]
    assert grade == "note"
    assert "counts as complete from" in text


def test_simulate_in_json_and_the_run_that_follows(tmp_path: Path, configured: Make, offload: Make) -> None:
    out = tmp_path / "simulated"
    said = offload(
        *("simulate", out, "--users", 3, "--snapshots", 2, "--window-days", 3, "--first", "2018-12-08"),
        *("--faults", 0.05, "--type", "segments", "--type", "moments", "--json"),
    )
    assert said.code == 0
    assert set(said.json) == {"deliveries", "parts", "rows", "planted", "size"}
    assert said.json["deliveries"] == 4
    assert said.json["parts"] == 4
    assert set(said.json["rows"]) == {"segments", "moments"}
    assert said.json["size"] == sum(part.stat().st_size for part in out.rglob("part-*"))
    loads = offload("run", "--feeds", configured(url=out.as_uri(), types=("moments", "segments")), "--json").json[
        "loads"
    ]
    assert sum(load["rows_in"] for load in loads) == sum(said.json["rows"].values())
    assert sum(load["rows_quarantined"] for load in loads) == said.json["planted"]


def test_simulate_writes_the_families_that_are_asked_for(tmp_path: Path, configured: Make, offload: Make) -> None:
    out = tmp_path / "simulated"
    said = offload(
        *("simulate", out, "--users", 9, "--family", "driving", "--family", "mapping", "--days", 2, "--json"),
        *("--first", "2018-12-08", "--faults", 0.2, "--type", "transports_realtime", "--type", "scores_realtime"),
        *("--type", "mapping"),
    )
    assert said.code == 0, said.err
    assert set(said.json["rows"]) == {"transports_realtime", "scores_realtime", "mapping"}
    assert min(said.json["rows"].values()) > 0
    assert said.json["deliveries"] == 2 * 2 + 1
    assert said.json["planted"] > 0
    assert sorted(path.name[:10] for path in out.iterdir()) == ["2018_12_08", "2018_12_09", "_mapping"]
    record = (tmp_path / "simulated.manifest" / "parts.jsonl").read_text().splitlines()
    assert {json.loads(line)["offload_type"] for line in record} == set(said.json["rows"])
    types = ("scores_realtime", "transports_realtime")
    feeds = configured(url=out.as_uri(), cadence={"driving": "daily"}, types=types)
    loads = offload("run", "--feeds", feeds, "--json").json["loads"]
    assert sum(load["rows_in"] for load in loads) == sum(said.json["rows"][name] for name in types)
    assert sum(load["rows_quarantined"] for load in loads) == said.json["planted"]


def test_simulate_says_which_types_the_family_has(tmp_path: Path, offload: Make) -> None:
    said = offload("simulate", tmp_path / "x", "--family", "driving", "--type", "segments")
    assert said.code == 2
    assert "unknown offload type 'segments'; known: transports_realtime" in " ".join(said.err.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--feed", "nobody"), "no feed 'nobody'; configured: acme"),
        (("status", "--feed", "nobody"), "no feed 'nobody'"),
        (("run", "--type", "stationary"), "--type: unknown offload type 'stationary'; known: "),
        (("simulate", "x", "--type", "stationary"), "unknown offload type 'stationary'"),
        (("simulate", "x", "--users", "0"), "users"),
        (("run", "--from", "yesterday"), "yesterday"),
        (("run", "--parallel", "0"), "--parallel"),
    ],
)
def test_wrong_words_are_exit_code_2_without_a_traceback(
    configured: Make, offload: Make, arguments: tuple[str, ...], words: str
) -> None:
    feeds = () if arguments[0] == "simulate" else ("--feeds", configured())
    said = offload(*arguments, *feeds)
    assert said.code == 2
    assert words in " ".join(said.err.split())
    assert "Traceback" not in said.err


def test_a_fault_of_the_configuration_names_its_line(configured: Make, offload: Make) -> None:
    feeds = configured()
    feeds.write_text(feeds.read_text().replace("weekly", "hourly"))
    said = offload("run", "--feeds", feeds)
    assert said.code == 2
    assert f"error: {feeds}:" in said.err
    assert "feeds.0.cadence.lifestyle: Input should be 'weekly', 'daily' or 'intraday'" in said.err


def test_a_source_that_is_not_there_is_exit_code_1(tmp_path: Path, configured: Make, offload: Make) -> None:
    feeds = configured(url=(tmp_path / "nowhere").as_uri())
    for command in ("run", "status"):
        said = offload(command, "--feeds", feeds, "--json")
        assert said.code == 1
        assert "check the url of the feed" in said.json["unlisted"]["acme"]


def test_an_app_id_that_is_none_is_told_in_a_sentence(tmp_path: Path, offload: Make) -> None:
    said = offload("simulate", tmp_path / "x", "--app-id", "ACME")
    assert said.code == 2
    assert "24 lower-case hexadecimal digits" in " ".join(said.err.split())


def test_looking_makes_no_warehouse(tmp_path: Path, configured: Make, offload: Make) -> None:
    feeds = configured()
    assert offload("status", "--feeds", feeds, "--json").code == 0
    assert not (tmp_path / "warehouse").exists()
    said = offload("run", "--feeds", feeds)
    assert said.code == 0
    assert "Nothing to publish yet. Next: offload doctor" in said.out
    assert not (tmp_path / "warehouse" / "published").exists()


def test_a_last_day_inside_a_week_hides_no_newer_delivery_of_it(
    vendor_folder: Any, configured: Make, offload: Make
) -> None:
    """The newest delivery of a partition counts, also where only an older one is asked for."""
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    vendor_folder.part("2018-12-10", [GOOD_ROW, GOOD_ROW])
    feeds = configured()
    assert offload("run", "--feeds", feeds).code == 0
    assert offload("run", "--feeds", feeds, "--to", "2018-12-09", "--json").json["loads"] == []


def test_a_delivery_from_the_future_fails_alone(vendor_folder: Any, configured: Make, offload: Make) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    vendor_folder.part(datetime.now(UTC) + timedelta(days=300), [GOOD_ROW])
    said = offload("run", "--feeds", configured(), "--json")
    assert "Traceback" not in said.err
    assert [o["partition"] for o in said.json["loads"] if o["succeeded"]] == ["2018-12-08"]


def test_the_installed_command(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("offload")
    said = subprocess.run(
        [command, "doctor", "--feeds", tmp_path / "feeds.yaml", "--json"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert "no such file. Copy feeds.example.yaml" in " ".join(said.stderr.split())
    assert said.stdout == ""
    helped = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert all(name in helped.stdout for name in ("run", "status", "scorecard", "doctor", "simulate", "demo", "dev"))


def test_json_keeps_other_scripts(offload: Make, configured: Make, vendor_folder: Any) -> None:
    (vendor_folder.root / "חדרה.txt").write_text("?")
    said = offload("run", "--feeds", configured(), "--json")
    assert "חדרה.txt" in said.out
    assert json.loads(said.out)["unrecognised"] == {"acme": ["חדרה.txt"]}


def test_plan_says_what_a_run_would_load_and_changes_nothing(
    vendor_folder: Any, configured: Make, offload: Make
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    vendor_folder.part("2018-12-15", [GOOD_ROW], number=1)
    feeds = configured()
    said = offload("plan", "--feeds", feeds, "--json")
    assert said.code == 0
    [load] = said.json["loads"]
    assert load.pop("bytes") > 0
    assert load.pop("delivery").startswith("12_08_2018")
    assert load == {
        "feed": "acme",
        "offload_type": "segments",
        "partition": "2018-12-08",
        "parts": 1,
        "replaces": False,
        "requests": 5,
    }
    assert said.json["up_to_date"] == 0
    assert ["lacks part 00000" in waiting["because"] for waiting in said.json["incomplete"]] == [True]
    assert not (Path(feeds).parent / "warehouse").exists()

    assert offload("run", "--feeds", feeds).code == 0
    after = offload("plan", "--feeds", feeds, "--json").json
    assert (after["loads"], after["up_to_date"]) == ([], 1)

    vendor_folder.part("2018-12-08", [GOOD_ROW, GOOD_ROW])
    assert [load["replaces"] for load in offload("plan", "--feeds", feeds, "--json").json["loads"]] == [True]
    assert "1 partitions to load: 1 parts" in offload("plan", "--feeds", feeds).out


def test_a_feed_that_cannot_be_listed_does_not_stop_the_others(
    vendor_folder: Any, configured: Make, offload: Make, tmp_path: Path
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    feeds = Path(configured())
    said = yaml.safe_load(feeds.read_text())
    [feed] = said["feeds"]
    said["feeds"].insert(0, feed | {"name": "gone", "url": (tmp_path / "gone").as_uri()})
    feeds.write_text(yaml.safe_dump(said))
    run = offload("run", "--feeds", str(feeds), "--json")
    assert run.code == 1
    assert [load["feed"] for load in run.json["loads"] if load["succeeded"]] == ["acme"]
    assert set(run.json["unlisted"]) == {"gone"}
    assert "check the url of the feed" in run.json["unlisted"]["gone"]
    for command in ("run", "plan", "status"):
        shown = offload(command, "--feeds", str(feeds))
        assert shown.code == 1, command
        assert "not listed: gone: " in shown.out
    assert offload("status", "--feeds", str(feeds), "--feed", "acme").code == 0


def test_the_dashboard_says_what_to_install_where_it_is_not(
    offload: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("offload_platform.dashboard.launch.is_installed", lambda: False)
    said = offload("dashboard", "--file", tmp_path / "offloads.duckdb")
    assert said.code == 2
    assert "pip install 'offload-platform[dashboard]'" in said.err
