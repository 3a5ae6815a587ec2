"""What is handed to Elasticsearch and Kibana: documents that the template takes, ids that stay, objects that fit."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from offload_platform.handoff import bulk
from offload_platform.handoff.bulk import actions_in, folder_of, is_due, make_handoff, manifest_of
from offload_platform.handoff.errors import HandoffError
from offload_platform.handoff.kibana import as_lines, fields_of, saved_objects
from offload_platform.handoff.push import Server, push
from offload_platform.handoff.template import index_of, index_template
from offload_platform.listening.days import KEY_ID, Days, Tier, days_of
from offload_platform.settings import Feed, Settings, read_settings
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles

from .fake_elasticsearch import Elasticsearch, elasticsearch

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
LISTENING = vendor_named("aura").listening
assert LISTENING is not None
SCHEMA = {name: column.dtype for name, column in LISTENING.columns.items()}


class Country:
    """A country of which messages are clean, and the files of its hand-off."""

    def __init__(self, folder: Path) -> None:
        feed = {
            "name": "acme",
            "vendor": "aura",
            "url": folder.as_uri(),
            "cadence": {"logs": "daily"},
            "start": DAY,
            "listening": {"country": "BE"},
        }
        self.yaml = folder / "feeds.yaml"
        self.yaml.write_text(yaml.safe_dump({"warehouse": "./warehouse", "feeds": [feed]}))
        self.settings: Settings = read_settings(self.yaml)
        self.feed: Feed = self.settings.feed("acme")
        self.files = WarehouseFiles(self.settings.warehouse)
        self.days: Days = days_of(self.files, "BE")

    @property
    def folder(self) -> Path:
        return folder_of(self.files, self.feed)

    def clean(self, day: date, *texts: str | None, size: int = 1) -> None:
        """Messages of a day, one each minute."""
        begin = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
        rows = [
            {
                "MSG_DT": begin + timedelta(minutes=number),
                "AURA_ID": "a" * 64,
                "CHANNEL_CD": "whatsapp",
                "COUNTRY_CD": "BE",
                "STATUS_CD": "200",
                "VERSION_ID": "8.2.0",
                "DURATION_NU": 120,
                "utterance": text,
                "intent": "greeting",
                "score": 0.5,
                "sesId": "b" * 16,
                "sesSize": size,
                "sesDuration": 60,
                "userType": "real",
            }
            for number, text in enumerate(texts)
        ]
        self.days.write(Tier.CLEAN, "message", day, pl.DataFrame(rows, schema=SCHEMA), {KEY_ID: "0123456789abcdef"})

    def hand_off(self, day: date = DAY) -> bulk.HandedOff:
        return make_handoff(self.files, self.feed, self.days, day)

    def push(self, server: Elasticsearch, **said: Any) -> Any:
        return push(self.files, self.feed, Server(server.url, server.api_key, first_wait_seconds=0.01), **said)


@pytest.fixture
def country(tmp_path: Path) -> Country:
    return Country(tmp_path)


@pytest.fixture
def server() -> Iterator[Elasticsearch]:
    with elasticsearch() as running:
        yield running


def test_the_template_has_the_columns_of_the_contract_and_no_others(country: Country) -> None:
    template = index_template(country.feed)
    assert index_of(country.feed) == "aura-message-be"
    assert template["index_patterns"] == ["aura-message-be"]
    fields = template["template"]["mappings"]["properties"]
    assert list(fields) == list(SCHEMA)
    kinds = {name: field["type"] for name, field in fields.items()}
    by_dtype = {pl.String: {"keyword", "text"}, pl.Int32: {"integer"}, pl.Float64: {"double"}}
    for name, dtype in SCHEMA.items():
        assert kinds[name] in by_dtype.get(dtype, {"date"}), name
    assert [name for name, kind in kinds.items() if kind == "text"] == ["utterance"]
    assert fields["utterance"]["fields"]["keyword"]["type"] == "keyword", "a text has a mirror that can be counted"


def test_documents_are_those_of_the_messages_and_their_ids_stay(country: Country) -> None:
    country.clean(DAY, "hello", None, "hello \u2028 there", "hello")
    made = country.hand_off()
    assert (made.documents, made.deletions) == (4, 0)
    actions = list(actions_in(country.folder, DAY))
    documents = [json.loads(action.document or "") for action in actions]
    assert documents[0]["MSG_DT"] == "2026-11-20T10:00:00.000Z"
    assert "utterance" not in documents[1]
    assert documents[2]["utterance"] == "hello \u2028 there"
    assert len({action.id for action in actions}) == 4
    assert all(len(action.id) == 20 for action in actions)
    before = {file.name: file.read_bytes() for file in country.folder.iterdir()}
    assert not is_due(country.files, country.feed, country.days, DAY)
    country.hand_off()
    assert {file.name: file.read_bytes() for file in country.folder.iterdir()} == before, "the same bytes again"
    # A session that has grown is another session of the same message.
    country.clean(DAY, "hello", None, "hello \u2028 there", "hello", size=2)
    assert is_due(country.files, country.feed, country.days, DAY)
    assert country.hand_off().deletions == 0
    assert [action.id for action in actions_in(country.folder, DAY)] == [action.id for action in actions]


def test_messages_that_say_the_same_at_the_same_time_are_two_documents() -> None:
    row = dict.fromkeys(SCHEMA) | {"MSG_DT": datetime(2026, 11, 20, tzinfo=UTC), "VERSION_ID": "1"}
    assert LISTENING is not None
    found = list(bulk.documents_of(pl.DataFrame([row, row], schema=SCHEMA), LISTENING))
    assert len({action.id for action in found}) == 2


def test_files_are_cut_where_a_server_takes_no_more(country: Country, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST_DOCUMENTS", 3)
    country.clean(DAY, *(f"text {number}" for number in range(8)))
    made = country.hand_off()
    assert len(made.files) == 3
    assert [len(list(bulk.actions_of(country.folder / name))) for name in made.files] == [3, 3, 2]
    monkeypatch.setattr(bulk, "MOST_BYTES", 1)
    assert len(country.hand_off().files) == 8
    monkeypatch.setattr(bulk, "MOST_BYTES", 10_000_000)
    country.clean(DAY, "text 0")
    # The other seven are deleted, in lines of their own; what is not part of the day any more is gone.
    assert country.hand_off().deletions == 7
    assert sorted(file.name for file in country.folder.glob("bulk-*")) == [
        f"bulk-{DAY}-00{n}.ndjson.gz" for n in range(3)
    ]


def test_the_manifest_counts_and_proves_every_file(country: Country) -> None:
    country.clean(DAY, "hello")
    country.clean(NEXT)
    country.hand_off()
    country.hand_off(NEXT)
    manifest = manifest_of(country.files, country.feed)
    assert {day: entry["documents"] for day, entry in manifest["days"].items()} == {str(DAY): 1, str(NEXT): 0}
    for entry in manifest["days"].values():
        assert entry["key_id"] == "0123456789abcdef"
        for name, digest in entry["files"].items():
            assert sha256((country.folder / name).read_bytes()).hexdigest() == digest
            content = gzip.decompress((country.folder / name).read_bytes())
            assert not content or content.endswith(b"\n")
    assert manifest["template_version"] == index_template(country.feed)["_meta"]["version"]
    with pytest.raises(HandoffError, match=r"there is no ppd_clean of that day. Next: offload listening run"):
        country.hand_off(date(2026, 12, 1))


def test_objects_of_kibana_refer_to_what_is_there_and_ask_for_fields_that_exist(country: Country) -> None:
    objects = saved_objects(country.feed)
    assert [json.loads(line) for line in as_lines(objects).decode().split("\n")[:-1]] == objects
    fields = index_template(country.feed)["template"]["mappings"]["properties"]
    known: set[tuple[str, str]] = set()
    for one in objects:
        for reference in one["references"]:
            assert (reference["type"], reference["id"]) in known, "each stands after what it refers to"
        known.add((one["type"], one["id"]))
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON")
        named = json.loads(source).get("indexRefName") if source else None
        assert named is None or named in [reference["name"] for reference in one["references"]]
        state = json.loads(one["attributes"].get("visState", "{}"))
        for aggregation in state.get("aggs", []):
            asked = aggregation["params"].get("field")
            if asked is None:
                continue
            name, _, mirror = asked.partition(".")
            field = fields[name]["fields"][mirror] if mirror else fields[name]
            assert field["type"] != "text", f"{one['id']}: a text cannot be counted"
            is_number = aggregation["type"] in ("avg", "median", "percentiles", "histogram")
            assert not is_number or field["type"] in ("integer", "double"), one["id"]
    assert len(known) == len(objects)
    assert LISTENING is not None
    for panel in LISTENING.panels:
        assert set(fields_of(panel)) <= set(fields), panel.name
    dashboard = objects[-1]
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    assert len(panels) == len(LISTENING.panels) + 1
    assert {p["panelIndex"] + ":" + p["panelRefName"] for p in panels} == {r["name"] for r in dashboard["references"]}
    places = [(p["gridData"]["x"], p["gridData"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert "userType : real" in dashboard["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]


def test_a_push_sends_each_file_once_and_pushing_again_changes_nothing(country: Country, server: Elasticsearch) -> None:
    country.clean(DAY, "hello", "there")
    country.clean(NEXT, "next day")
    country.hand_off()
    country.hand_off(NEXT)
    pushed = country.push(server, last=DAY)
    assert (pushed.files, pushed.indexed, pushed.refused.total()) == (1, 2, 0)
    assert server.requests[0][:2] == ("PUT", "/_index_template/aura-message-be"), "the template goes first"
    assert country.push(server).indexed == 1, "what it has is not sent again"
    assert len(server.documents) == 3
    before = dict(server.documents)
    assert country.push(server).files == 0
    assert country.push(server, again=True).indexed == 3
    assert server.documents == before
    country.clean(DAY, "hello")
    country.hand_off()
    pushed = country.push(server)
    assert (pushed.indexed, pushed.deleted) == (1, 1)
    assert len(server.documents) == 2, "what is gone from the day is gone from the index"
    assert country.push(server, again=True).refused.total() == 0, "to delete what is not there is no fault"


def test_a_server_that_is_busy_is_asked_again(country: Country, server: Elasticsearch) -> None:
    country.clean(DAY, *(f"text {number}" for number in range(20)))
    country.hand_off()
    ids = [action.id for action in actions_in(country.folder, DAY)]
    server.busy_requests, server.busy_items = 2, set(ids[:5])
    pushed = country.push(server)
    assert (pushed.indexed, pushed.refused.total()) == (20, 0)
    assert set(server.documents) == set(ids)
    bulks = [size for _, path, size in server.requests if path.startswith("/_bulk")]
    assert len(bulks) == 4, "twice the request was refused, then five of its lines"
    assert bulks[-1] < bulks[0]


def test_what_is_refused_is_told_by_kind_and_its_file_is_sent_again(
    country: Country, server: Elasticsearch, offload: Callable[..., Any]
) -> None:
    """Acceptance 7: the template takes every document, and none with a telephone."""
    country.clean(DAY, "hello", "there")
    country.hand_off()
    [file] = country.folder.glob("bulk-*")
    actions = list(bulk.actions_of(file))
    stolen = json.loads(actions[0].document or "") | {"PHONE_ID": "+32470123456"}
    broken = json.loads(actions[1].document or "") | {"DURATION_NU": "+32470123456"}
    changed = [replace(actions[0], document=json.dumps(stolen)), replace(actions[1], document=json.dumps(broken))]
    good = file.read_bytes()
    file.write_bytes(gzip.compress("".join(a.lines("aura-message-be") for a in changed).encode()))
    said = offload("es", "push", "--url", server.url, "--feeds", country.yaml)
    assert said.code == 1
    assert "1 with 400 strict_dynamic_mapping_exception" in said.out
    assert "1 with 400 document_parsing_exception" in said.out
    assert "+32470123456" not in said.out + said.err, "what the server says of values is not repeated"
    assert not server.documents
    file.write_bytes(good)
    said = offload("es", "push", "--url", server.url, "--feeds", country.yaml, "--json")
    assert (said.code, said.json["pushed"][0]["indexed"]) == (0, 2), "the file was not noted as taken"


def test_troubles_are_told_in_a_sentence(
    country: Country, server: Elasticsearch, offload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(*more: str, url: str = server.url) -> str:
        said = offload("es", "push", "--url", url, "--feeds", country.yaml, *more)
        assert said.code in (1, 2)
        return " ".join(said.err.split())

    assert "there is nothing to send. Next: offload es export" in problem()
    country.clean(DAY, "hello")
    country.hand_off()
    assert "the environment variable NO_SUCH_KEY is not set" in problem("--api-key-env", "NO_SUCH_KEY")
    server.api_key = "right"
    assert "answered 401: it does not know the key" in problem()
    monkeypatch.setenv("THE_KEY", "right")
    assert "would go to es.example.com in clear; use https" in problem(
        "--api-key-env", "THE_KEY", url="http://es.example.com"
    )
    assert "must hold no credentials" in problem(url="https://me:secret@es.example.com")
    said = offload("es", "push", "--url", server.url, "--feeds", country.yaml, "--api-key-env", "THE_KEY")
    assert (said.code, len(server.documents)) == (0, 1)
    server.api_key, server.is_genuine = None, False
    assert "is no Elasticsearch" in problem("--again")
    server.is_genuine = True
    [file] = country.folder.glob("bulk-*")
    file.write_bytes(file.read_bytes()[:-12])
    assert "is damaged. Delete it, and make it anew: offload es export" in problem("--again")
    free = server.url.rsplit(":", 1)[0] + ":9"
    assert "cannot be reached" in problem(url=free)
