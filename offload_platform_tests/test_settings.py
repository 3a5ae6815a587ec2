"""feeds.yaml: each fault is told with file, line and field, and nothing but `SettingsError` ever comes out."""

import contextlib
import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.contract import Cadence
from offload_platform.settings import (
    AlertKind,
    Alerts,
    FanOut,
    Retention,
    Scale,
    SettingsError,
    SharedWarehouse,
    feeds_file,
    read_settings,
)
from offload_platform.thresholds import CheckThresholds, Deadline, Severity

GOOD = """\
warehouse: ./warehouse
feeds:
  - name: acme
    vendor: sentiance
    url: s3://offloads/acme
    app_id: 5a689ab0e97b960500002109
    cadence: {lifestyle: weekly}
    start: 2018-12-01
"""
SECOND = GOOD.partition("feeds:\n")[2]
ALL_TYPES = ("stationaries", "transports", "moments", "segments", "attributes.wide", "attributes.long")


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(tmp_path: Path, text: str) -> str:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_settings(file)
    return str(caught.value).replace(f"{file}:", "")


def with_line(line: str) -> str:
    return f"{GOOD}    {line}\n"


def test_reads_what_is_written_and_fills_in_the_rest(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, GOOD))
    [feed] = found.feeds
    assert found.file == tmp_path / "feeds.yaml"
    assert found.warehouse == tmp_path / "warehouse"
    assert (feed.name, feed.vendor, feed.url) == ("acme", "sentiance", "s3://offloads/acme")
    assert feed.cadence == {"lifestyle": Cadence.WEEKLY}
    assert feed.start == date(2018, 12, 1)
    assert feed.settle_hours == 24
    assert feed.thresholds("segments") == CheckThresholds()
    assert feed.deadline("lifestyle") == Deadline(late_hours=6, overdue_hours=36)
    assert found.alerts is None
    assert found.retention == Retention()
    assert feed.region == "eu-west-1"
    assert feed.aws_profile is None
    assert feed.endpoint_url is None
    assert feed.owners == ("team:data-platform",)
    assert feed.expected_types("lifestyle") == ALL_TYPES


def test_the_example_is_valid() -> None:
    example = Path(__file__).parents[1] / "feeds.example.yaml"
    [feed] = read_settings(example).feeds
    assert feed.name == "acme_production"


def test_the_example_is_valid_with_its_comments_taken_off(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "feeds.example.yaml").read_text(encoding="utf-8")
    uncommented = re.sub(r"(?m)^( *)# (?=\w+:)", r"\1", text)
    uncommented = re.sub(r"(?m)^#   (?=\w+:)", "  ", uncommented)
    assert uncommented.count("#") < text.count("#")
    settings = read_settings(written(tmp_path, uncommented))
    [feed] = settings.feeds
    assert feed.expected_types("lifestyle") == ("stationaries", "transports")
    assert feed.thresholds("stationaries").late_arrivals.days == 7
    assert feed.thresholds("stationaries").duplicates.severity is Severity.ERROR
    assert feed.thresholds("transports").duplicates.severity is Severity.WARN
    assert feed.deadline("lifestyle").overdue_hours == 48
    assert settings.alerts == Alerts(
        webhook_url="env:OFFLOAD_ALERT_WEBHOOK", about=tuple(AlertKind), ui_url="http://127.0.0.1:3000"
    )
    assert settings.retention.delivered_days == 400
    assert settings.scale == Scale(
        fan_out=FanOut.RAY,
        ray_address="head:6379",
        staging="s3://acme-lake/staging",
        merge_from_rows=5_000_000,
        warehouse=SharedWarehouse.DUCKLAKE,
        catalog="host=pg dbname=lake user=offload",
        data="s3://acme-lake/data",
    )


def test_types_are_those_subscribed_to_in_the_order_of_the_vendor(tmp_path: Path) -> None:
    [feed] = read_settings(written(tmp_path, with_line("types: [moments, stationaries]"))).feeds
    assert feed.expected_types("lifestyle") == ("stationaries", "moments")


@pytest.mark.parametrize(("said", "below"), [("./w", "w"), ("w/x", "w/x"), ("../w", "../w"), (".", "")])
def test_a_relative_warehouse_is_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, below: str
) -> None:
    folder = tmp_path / "configuration"
    folder.mkdir()
    written(folder, GOOD.replace("./warehouse", said))
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("configuration/feeds.yaml")).warehouse == (folder / below).resolve()


def test_an_absolute_warehouse_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_settings(written(tmp_path, GOOD.replace("./", "/srv/"))).warehouse == Path("/srv/warehouse")
    assert read_settings(written(tmp_path, GOOD.replace("./", "~/"))).warehouse == tmp_path / "home" / "warehouse"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("s3://offloads/acme/", "s3://offloads/acme"),
        ("file:///srv/offloads/", "file:///srv/offloads"),
        ("file:///with%20blank%23", "file:///with%20blank%23"),
    ],
)
def test_urls_that_can_be_read(tmp_path: Path, said: str, kept: str) -> None:
    [feed] = read_settings(written(tmp_path, GOOD.replace("s3://offloads/acme", said))).feeds
    assert feed.url == kept


FAULTS = {
    "unknown field": (with_line("ownrs: [team:x]"), "9: feeds.0.ownrs: unknown field; check its spelling"),
    "unknown field at the top": (GOOD + "wharehouse: x\n", "9: wharehouse: unknown field"),
    "missing field": (GOOD.replace("    url: s3://offloads/acme\n", ""), "3: feeds.0.url: is missing"),
    "no warehouse": ("feeds:\n" + SECOND, "1: warehouse: is missing"),
    "no feeds": ("warehouse: w\n", "1: feeds: is missing"),
    "empty feeds": ("warehouse: w\nfeeds: []\n", "2: feeds: name at least one feed"),
    "feeds are no list": ("warehouse: w\nfeeds: acme\n", "2: feeds: must be a list"),
    "feed is no mapping": ("warehouse: w\nfeeds:\n  - acme\n", "3: feeds.0: must be a mapping"),
    "app id in capitals": (GOOD.replace("5a689", "5A689"), "6: feeds.0.app_id: must be 24 lower-case hexadecimal"),
    "app id too short": (GOOD.replace("2109\n", "21\n"), "6: feeds.0.app_id: must be 24 lower-case"),
    "app id read as a number": (
        GOOD.replace("5a689ab0e97b96050", "5068990097096050"),
        "6: feeds.0.app_id: must be text",
    ),
    "url of the web": (GOOD.replace("s3://offloads", "https://x"), "5: feeds.0.url: must be s3://bucket/root or file:"),
    "url without a root": (GOOD.replace("s3://offloads/acme", "s3://offloads/"), "5: feeds.0.url: must be s3://"),
    "relative folder": (GOOD.replace("s3://offloads", "file://offloads"), "5: feeds.0.url: must be s3://"),
    "root of the disk": (GOOD.replace("s3://offloads/acme", "file:///"), "5: feeds.0.url: must be s3://"),
    "url cut at its #": (GOOD.replace("/acme", "/acme#1"), "5: feeds.0.url: must be s3://"),
    "credentials in url": (GOOD.replace("s3://", "s3://AKIA:hush@"), "5: feeds.0.url: must hold no credentials"),
    "token in url": (GOOD.replace("/acme", "/acme?X-Amz-Signature=hush"), "5: feeds.0.url: must hold no credentials"),
    "credentials in endpoint": (
        with_line("endpoint_url: http://AKIA:hush@127.0.0.1:9000"),
        "9: feeds.0.endpoint_url: must hold no credentials",
    ),
    "endpoint without scheme": (with_line("endpoint_url: 127.0.0.1:9000"), "9: feeds.0.endpoint_url: must be http://"),
    "doubled key": (GOOD + "warehouse: other\n", "9: warehouse: stands twice"),
    "doubled key in a feed": (with_line("name: other"), "9: name: stands twice"),
    "doubled feed": (GOOD + SECOND, "2: feeds: two feeds are named acme"),
    "fault in the second feed": (GOOD + SECOND.replace("weekly", "hourly"), "13: feeds.1.cadence.lifestyle: "),
    "bad YAML": (GOOD + "  : [\n", "9: not valid YAML: "),
    "tab": (GOOD + "\tx: y\n", "9: not valid YAML: "),
    "control sign": (GOOD + "x: a\x01\n", "9: not valid YAML: unacceptable character"),
    "two documents": (GOOD + "---\n" + GOOD, "9: not valid YAML: "),
    "not a mapping": ("- warehouse\n- feeds\n", "1: must be a mapping"),
    "empty file": ("", "1: must be a mapping"),
    "unknown vendor": (
        GOOD.replace("sentiance", "sentience"),
        "4: feeds.0.vendor: unknown vendor; known: affise, aura, sentiance",
    ),
    "unknown type": (
        with_line("types: [stationary]"),
        "9: feeds.0.types: unknown offload type 'stationary'; known: st",
    ),
    "no types": (with_line("types: []"), "9: feeds.0.types: name at least one offload type"),
    "type of another family": (with_line("types: [scores_realtime]"), "9: feeds.0.types: unknown offload type"),
    "unknown family": (
        GOOD.replace("lifestyle", "life"),
        "7: feeds.0.cadence: unknown family 'life'; known: lifestyle",
    ),
    "no family": (GOOD.replace("{lifestyle: weekly}", "{}"), "7: feeds.0.cadence: name at least one family"),
    "unknown cadence": (
        GOOD.replace("weekly", "hourly"),
        "7: feeds.0.cadence.lifestyle: Input should be 'weekly', 'daily' or 'intraday'",
    ),
    "negative settle_hours": (with_line("settle_hours: -1"), "9: feeds.0.settle_hours: Input should be greater than"),
    "endless settle_hours": (with_line("settle_hours: .inf"), "9: feeds.0.settle_hours: Input should be less than"),
    "limit of nothing": (
        with_line("checks: {quarantine: {refuse_above: 0}}"),
        "9: feeds.0.checks.quarantine.refuse_above: Input should be greater than 0",
    ),
    "thresholds of an unknown type": (
        with_line("checks_by_type: {scores_realtime: {}}"),
        "9: feeds.0.checks_by_type: unknown offload type 'scores_realtime'; known: stationaries",
    ),
    "deadline of a family that is not loaded": (
        with_line("deadlines: {driving: {late_hours: 1, overdue_hours: 2}}"),
        "9: feeds.0.deadlines: 'driving' has no cadence; known: lifestyle",
    ),
    "webhook that holds a secret": (
        GOOD + "alerts: {webhook_url: https://hooks.slack.com/services/T/B/x}\n",
        "9: alerts.webhook_url: holds a secret; put the URL into an environment variable",
    ),
    "webhook that is no URL": (GOOD + "alerts: {webhook_url: slack}\n", "9: alerts.webhook_url: must be http"),
    "webhook of no variable": (GOOD + "alerts: {webhook_url: 'env:A B'}\n", "9: alerts.webhook_url: after env: comes"),
    "UI that is no URL": (
        GOOD + "alerts: {webhook_url: 'env:HOOK', ui_url: dagster.example.com}\n",
        "9: alerts.ui_url: must be http://… or https://…",
    ),
    "UI with a password": (
        GOOD + "alerts: {webhook_url: 'env:HOOK', ui_url: 'https://ann:hush@dagster.example.com'}\n",
        "9: alerts.ui_url: must hold no credentials",
    ),
    "nodes without a cluster": (
        GOOD + "scale: {fan_out: ray, staging: 'file:///s'}\n",
        "9: scale.ray_address: is missing; fan_out: ray needs it",
    ),
    "nodes without a shared place": (
        GOOD + "scale: {fan_out: ray, ray_address: 'head:6379'}\n",
        "9: scale.staging: is missing; fan_out: ray needs it",
    ),
    "shared place that is none": (
        GOOD + "scale: {staging: '/mnt/shared'}\n",
        "9: scale.staging: must be s3://bucket/prefix or file:///absolute/folder",
    ),
    "lake without a catalog": (
        GOOD + "scale: {warehouse: ducklake, data: 's3://b/d'}\n",
        "9: scale.catalog: is missing; warehouse: ducklake needs it",
    ),
    "lake without files": (
        GOOD + "scale: {warehouse: ducklake, catalog: 'host=pg dbname=lake'}\n",
        "9: scale.data: is missing; warehouse: ducklake needs it",
    ),
    "Delta tables without files": (
        GOOD + "scale: {warehouse: delta}\n",
        "9: scale.data: is missing; warehouse: delta needs it",
    ),
    "catalog with a password": (
        GOOD + "scale: {catalog: 'host=pg dbname=lake password=hush'}\n",
        "9: scale.catalog: must be host=… dbname=… user=…; the password is in PGPASSWORD or ~/.pgpass",
    ),
    "catalog that is no catalog": (
        GOOD + "scale: {catalog: \"host='pg'\"}\n",
        "9: scale.catalog: must be words like host=… dbname=… user=…, without quotes",
    ),
    "impossible date": (GOOD.replace("2018-12-01", "2018-02-30"), "8: feeds.0.start: Input should be a valid date"),
    "no date": (GOOD.replace("2018-12-01", "soon"), "8: feeds.0.start: Input should be a valid date"),
    "name that is no name": (GOOD.replace("name: acme", "name: Acme GmbH"), "3: feeds.0.name: String should match"),
    "name read as a switch": (
        GOOD.replace("name: acme", "name: yes"),
        "3: feeds.0.name: must be text; put it in quotes",
    ),
    "owner that is none": (with_line("owners: [bob]"), "9: feeds.0.owners: 'bob' must be team:name or a mail address"),
    "warehouse of nobody": (GOOD.replace("./", "~nobody-of-that-name/"), "1: warehouse: no usable folder"),
    "warehouse is no path": (GOOD.replace("./warehouse", "[a]"), "1: warehouse: must be the path of a folder"),
    "circle": (GOOD + "x: &a [*a]\n", "9: x: unknown field"),
    "depth": (GOOD + "x: " + "[" * 3000 + "]" * 3000, "1: nested too deeply"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_line_and_field(tmp_path: Path, fault: str) -> None:
    text, expected = FAULTS[fault]
    said = complaint(tmp_path, text)
    assert said.startswith(expected)
    assert "\n" not in said, "one fault, one line"


@pytest.mark.parametrize(
    "fault", ["credentials in url", "token in url", "credentials in endpoint", "UI with a password"]
)
def test_secrets_are_not_repeated(tmp_path: Path, fault: str) -> None:
    assert "hush" not in complaint(tmp_path, FAULTS[fault][0])


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("weekly", "hourly").replace("sentiance", "nobody") + "    settle_hours: never\n"
    faults = complaint(tmp_path, text).splitlines()
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["4", "feeds.0.vendor"],
        ["7", "feeds.0.cadence.lifestyle"],
        ["9", "feeds.0.settle_hours"],
    ]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "feeds.yaml"
    with pytest.raises(SettingsError, match=rf"^{file}: no such file\. Copy feeds\.example\.yaml"):
        read_settings(file)


def test_a_folder_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path)
    (tmp_path / "feeds.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "feeds.yaml")


def test_a_feed_by_name(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, GOOD))
    assert found.feed("acme").name == "acme"
    with pytest.raises(SettingsError, match="no feed 'acne'; configured: acme"):
        found.feed("acne")


def test_the_file_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFFLOAD_FEEDS", raising=False)
    assert feeds_file() == Path("feeds.yaml")
    monkeypatch.setenv("OFFLOAD_FEEDS", "/etc/offloads.yaml")
    assert feeds_file() == Path("/etc/offloads.yaml")


def read_or_settings_error(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    with contextlib.suppress(SettingsError):
        read_settings(file)


@pytest.fixture(scope="module")
def some_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "feeds.yaml"


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["acme", "sentiance", "s3://b/r", "lifestyle", "weekly", "~", "2018-02-30", "0x_", "[", "*a"]),
)
trees = st.recursive(
    scalars,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from(["a", "name"]) | scalars, t, max_size=3),
)
feeds = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("name", "vendor", "url", "app_id", "cadence", "start", "types", "settle_hours", "owners", "region"),
        scalars | trees,
    ),
)
lines = st.lists(
    st.sampled_from([*GOOD.splitlines(), "  - &a {b: *a}", "  <<: *a", "? [x]", ": !!int ''", "!!timestamp x", "- ._"]),
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(st.characters(codec="utf-8")),
        lines.map("\n".join),
        st.fixed_dictionaries({"warehouse": scalars, "feeds": trees | st.lists(feeds, max_size=2)}).map(
            lambda said: yaml.safe_dump(said, allow_unicode=True)
        ),
    )
)
def test_any_text_gives_settings_or_a_settings_error(some_file: Path, text: str) -> None:
    read_or_settings_error(some_file, text)


@pytest.mark.parametrize(
    "value", ["!!int ''", "!!timestamp x", "!!bool x", "!!float x", "0x_", '"\\ud800"', "!!binary é"]
)
@pytest.mark.parametrize("field", ["warehouse", "start", "name", "no_such"])
def test_values_that_YAML_cannot_make_of_their_text(some_file: Path, field: str, value: str) -> None:  # noqa: N802
    kept = [line for line in GOOD.splitlines() if not line.lstrip(" -").startswith(f"{field}: ")]
    text = "\n".join([f"warehouse: {value}", *kept] if field == "warehouse" else [*kept, f"    {field}: {value}"])
    read_or_settings_error(some_file, text)


def test_the_dashboards_basemap_is_a_web_address(tmp_path: Path) -> None:
    base = "warehouse: ./w\nfeeds: []\ndashboard: {basemap_style_url: %s}\n"
    with pytest.raises(SettingsError, match="basemap_style_url"):
        read_settings(written(tmp_path, base % "tiles.json"))
