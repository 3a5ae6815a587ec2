"""Alerts, seen by a real HTTP listener: each kind, told once, never lost, and without a row or a secret in it."""

import json
import logging
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import StepMaterializationData
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.freshness import FreshnessDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._utils.error import serializable_error_info_from_exc_info

from offload_platform.orchestration import webhook
from offload_platform.orchestration.alerts import MEMORY_KEY, ON_TIME_CHECK, Memory, alerts_sensor, send_news
from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.webhook import AlertNotSent
from offload_platform.settings import AlertKind, Alerts, Feed, Settings
from offload_platform.warehouse.files import WarehouseFiles

ANN = "a" * 24
GOOD_ROW = f"{ANN},,behavior.early_bird"
BAD_ROW = "somebody@example.com,,behavior.early_bird"
DELIVERY = dg.AssetKey(["acme", "segments", "delivery"])
SECRET = "T0SECRET/B0SECRET/hush-hush"
VARIABLE = "OFFLOAD_ALERT_WEBHOOK"
UI = "https://dagster.example.com"
Make = Callable[..., Any]


class Listener:
    """A webhook on loopback. It answers with the statuses it is given, then with 200, and keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.tried: list[str] = []
        self.taken: list[dict[str, Any]] = []
        self.bodies: list[str] = []
        self.waits_seconds = 0.0
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                time.sleep(listener.waits_seconds)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.tried.append(self.path)
                status = listener.statuses.pop(0) if listener.statuses else 200
                if status == 200:
                    assert self.headers["Content-Type"] == "application/json; charset=utf-8"
                    listener.bodies.append(body.decode())
                    listener.taken.append(json.loads(body))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{listener.port}/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST  # noqa: N815 (name of http.server)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.taken]


def assert_slack_takes(message: dict[str, Any]) -> None:
    """The limits that Slack states for incoming webhooks and blocks."""
    assert set(message) == {"text", "blocks"}
    assert len(message["text"]) <= 40_000
    assert 1 <= len(message["blocks"]) <= 50
    header, *sections = message["blocks"]
    assert header["type"] == "header"
    assert header["text"]["type"] == "plain_text"
    assert 1 <= len(header["text"]["text"]) <= 150
    for section in sections:
        assert section["type"] == "section"
        assert section["text"]["type"] == "mrkdwn"
        assert 1 <= len(section["text"]["text"]) <= 3000
        assert section["text"]["text"] in message["text"], "whoever reads text alone reads all"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with Listener() as listener:
        monkeypatch.setenv(VARIABLE, listener.url)
        yield listener
    for message in listener.taken:
        assert_slack_takes(message)
    for body in listener.bodies:
        assert "hush" not in body
        assert "example.com," not in body, "no row is told"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(WarehouseFiles(tmp_path / "warehouse")) as instance:
        yield instance


@pytest.fixture
def feed(vendor_folder: Any, feed_of: Make) -> Feed:
    return feed_of(vendor_folder.url, types=("segments",))


@pytest.fixture
def settings(tmp_path: Path, feed: Feed) -> Settings:
    return Settings(
        warehouse=tmp_path / "warehouse", feeds=(feed,), alerts=Alerts(webhook_url=f"env:{VARIABLE}", ui_url=UI + "/")
    )


def load(settings: Settings, instance: dg.DagsterInstance, partition: str = "2018-12-08", t: str = "segments") -> Any:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(["acme", t])
    return job.execute_in_process(
        partition_key=partition, asset_selection=[key], instance=instance, raise_on_error=False
    )


def tell(settings: Settings, instance: dg.DagsterInstance) -> int:
    """Alerts that are sent by a tick of the sensor."""
    assert settings.alerts is not None
    reason = alerts_sensor(settings, settings.alerts)(dg.build_sensor_context(instance=instance))
    assert isinstance(reason, dg.SkipReason)
    said = reason.skip_message or ""
    if said == "nothing new":
        return 0
    return int(said.removeprefix("alerts sent: ").removesuffix(", in one message").replace(",", ""))


def test_a_failed_run_is_told_with_where_why_and_what_to_do(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    part = vendor_folder.part("2018-12-08", [GOOD_ROW])
    part.write_bytes(part.read_bytes()[:-4])
    result = load(settings, instance)
    assert tell(settings, instance) == 1
    [message] = hook.taken
    assert hook.tried == [f"/services/{SECRET}"]
    assert message["blocks"][0]["text"]["text"] == "offload_platform: 1 error"
    assert message["text"] == (
        "*offload_platform: 1 error*\n\n"
        "*Failed runs: 1*\n"
        "• *acme segments 2018-12-08* (error): 12_08_2018_15_05_54_499/5a689ab0e97b960500002109/"
        f"segments.5a689ab0e97b960500002109.csv/{part.name}: the gzip stream is cut off before its end. "
        f"Ask the vendor to deliver the part anew. {UI}/runs/{result.run_id}\n"
        "Next: Mend the cause, then re-execute the run or start `offload run`."
    )
    assert tell(settings, instance) == 0, "it is told once"
    assert len(hook.taken) == 1


def test_a_partition_that_fails_again_in_the_same_way_is_told_once_until_it_has_been_loaded(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    part = vendor_folder.part("2018-12-08", [GOOD_ROW])
    sound = part.read_bytes()
    said = []
    for content in (sound[:-4], sound[:-4], sound, sound[:-4], b""):
        part.write_bytes(content)
        load(settings, instance)
        said.append(tell(settings, instance))
    assert said == [1, 0, 0, 1, 1]
    assert "not even a header" in hook.texts[-1]


def test_rows_in_quarantine_and_drift_are_told_in_one_message_without_the_rows(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW, f"{ANN},,<!channel> & co"])
    run_id = load(settings, instance).run_id
    assert tell(settings, instance) == 2
    [text] = hook.texts
    assert "*offload_platform: 2 warnings*" in text
    assert (
        "*Rows in quarantine: 1*\n• *acme segments 2018-12-08* (warning): 1 of 3 rows (33.3%) are in quarantine, more "
        "than the allowed 0%: user_id: str_matches('^[0-9a-f]{24}$') (1). See ops.quarantine. "
        f"{UI}/runs/{run_id}\nNext: Look at `ops.quarantine`"
    ) in text
    assert (
        "*Deliveries that differ from their contract: 1*\n• *acme segments 2018-12-08* (warning): The delivery "
        f"differs in 1 respect; see ops.drift. {UI}/runs/{run_id}\nNext: Look at `ops.drift`"
    ) in text
    assert "somebody" not in hook.bodies[0]
    assert "channel" not in hook.bodies[0]


def test_any_other_check_is_told_with_its_figures(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener
) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("is_plausible", asset="trips_per_user")])
    def trips_per_user() -> dg.MaterializeResult:  # type: ignore[type-arg]
        check = dg.AssetCheckResult(
            passed=False,
            check_name="is_plausible",
            description="Half of the users < 1 trip & day.",
            metadata={"users": 1234, "share": 0.51234567, "worst": "somebody@example.com, 17 trips", "empty": None},
        )
        return dg.MaterializeResult(check_results=[check])

    run_id = dg.materialize([trips_per_user], instance=instance).run_id
    assert tell(settings, instance) == 1
    assert hook.texts == [
        "*offload_platform: 1 error*\n\n*Failed checks: 1*\n• *trips_per_user* (error): is_plausible failed. Half of "
        f"the users &lt; 1 trip &amp; day. (share 0.5123, users 1,234) {UI}/runs/{run_id}\n"
        "Next: Look at the check in the Dagster UI; thresholds stand under `checks` of the feed."
    ]


def test_the_words_of_an_unexpected_exception_are_not_told(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener
) -> None:
    @dg.asset
    def casts() -> None:
        raise ValueError("could not convert 'somebody@example.com,47.1,8.5' to a number")

    job = dg.Definitions([casts]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(asset_selection=[casts.key], instance=instance, raise_on_error=False)
    assert tell(settings, instance) == 1
    assert "• *casts* (error): ValueError; the log says more." in hook.texts[0]
    assert "somebody" not in hook.bodies[0]


def test_what_the_warehouse_says_of_itself_is_told(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener, warehouse: Any
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    assert load(settings, instance).success
    warehouse.query("ALTER TABLE store.segments ALTER row_no TYPE DOUBLE")
    warehouse.query("UPDATE ops.contracts SET contract_version = 'an older one'")
    load(settings, instance)
    assert tell(settings, instance) == 1
    assert (
        '(error): "store"."segments": column row_no is DOUBLE in the warehouse and BIGINT in the' in (hook.texts[0])
    )


def lateness(hours: int, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=DELIVERY,
        check_name=ON_TIME_CHECK,
        passed=not hours,
        severity=severity,
        description=f"2018-12-08 is {hours} hours late." if hours else "On time.",
        metadata={"hours": hours},
    )


def test_a_late_vendor_is_told_when_it_gets_worse_and_when_it_is_over(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener
) -> None:
    warn, error = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
    said = []
    for hours, severity in ((0, warn), (7, warn), (8, warn), (37, error), (38, error), (0, warn), (0, warn), (7, warn)):
        instance.report_runless_asset_event(lateness(hours, severity))
        said.append(tell(settings, instance))
    assert said == [0, 1, 0, 1, 0, 1, 0, 1]
    first, worse, over, again = hook.texts
    assert first == (
        "*offload_platform: 1 warning*\n\n*Late deliveries: 1*\n• *acme segments* (warning): 2018-12-08 is 7 "
        f"hours late. {UI}/assets/acme/segments/delivery\n"
        "Next: See what the root holds with `offload doctor`, then ask the vendor."
    )
    assert "*offload_platform: 1 error*" in worse
    assert "37 hours" in worse
    assert "*offload_platform: 1 resolved*" in over
    assert "Next:" not in over
    assert "1 warning" in again


@pytest.fixture
def workspace(tmp_path: Path, instance: dg.DagsterInstance, settings: Settings) -> Iterator[WorkspaceProcessContext]:
    """The definitions of a configuration as Dagster's daemons see them."""
    code = tmp_path / "definitions_of_a_test.py"
    code.write_text(
        "from pathlib import Path\n"
        "from offload_platform.orchestration.build import build_definitions\n"
        "from offload_platform.settings import read_settings\n"
        f"defs = build_definitions(read_settings(Path({str(write_feeds(tmp_path, settings))!r})))\n"
    )
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(code)))
    with warnings.catch_warnings():
        # Dagster itself reads this property of each schedule.
        warnings.filterwarnings("ignore", r"Property `ScheduleDefinition\.environment_vars`", DeprecationWarning)
        process = WorkspaceProcessContext(instance, InProcessTestWorkspaceLoadTarget(origin))
    with process as workspace:
        yield workspace


def write_feeds(folder: Path, settings: Settings) -> Path:
    file = folder / "feeds.yaml"
    feeds = [f.model_dump(mode="json", exclude_defaults=True) | {"start": f.start} for f in settings.feeds]
    said = {"warehouse": "./warehouse", "feeds": feeds}
    if settings.alerts is not None:
        said["alerts"] = settings.alerts.model_dump(mode="json")
    file.write_text(yaml.safe_dump(said), encoding="utf-8")
    return file


def report_arrival(instance: dg.DagsterInstance, ago: timedelta) -> None:
    arrival = dg.AssetMaterialization(DELIVERY, partition="2018-12-08")
    event = dg.DagsterEvent("ASSET_MATERIALIZATION", "", event_specific_data=StepMaterializationData(arrival))
    instance.report_dagster_event(event, run_id="", timestamp=(datetime.now(UTC) - ago).timestamp())


def test_freshness_that_the_daemon_finds_is_told_and_so_is_its_end(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener, workspace: WorkspaceProcessContext
) -> None:
    def look() -> int:
        list(FreshnessDaemon().run_iteration(workspace))
        return tell(settings, instance)

    assert look() == 0, "nothing has ever arrived: unknown is not late"
    report_arrival(instance, ago=timedelta(days=7, hours=7))
    assert look() == 1
    assert look() == 0
    instance.report_runless_asset_event(lateness(7))
    assert look() == 0, "it is one fact, whoever finds it"
    report_arrival(instance, ago=timedelta(days=30))
    assert look() == 1
    report_arrival(instance, ago=timedelta(0))
    assert look() == 0, "the check still says that a delivery is missing"
    instance.report_runless_asset_event(lateness(0))
    assert look() == 1
    late, overdue, over = hook.texts
    assert "• *acme segments* (warning): late: the newest delivery (2018-12-08) arrived on " in late
    assert f"UTC. {UI}/assets/acme/segments/delivery" in late
    assert "• *acme segments* (error): overdue: the newest" in overdue
    assert "(resolved)" in over


def test_freshness_alone_tells_of_its_end(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener, workspace: WorkspaceProcessContext
) -> None:
    for ago, alerts in ((30, 1), (0, 1), (0, 0)):
        report_arrival(instance, ago=timedelta(days=ago))
        list(FreshnessDaemon().run_iteration(workspace))
        assert tell(settings, instance) == alerts
    assert "• *acme segments* (resolved): on time again: the newest delivery (2018-12-08) arrived" in hook.texts[1]


def test_a_real_daemon_ticks_the_sensor_and_a_failed_tick_names_the_host_alone(
    settings: Settings,
    instance: dg.DagsterInstance,
    vendor_folder: Any,
    hook: Listener,
    workspace: WorkspaceProcessContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    assert load(settings, instance).success

    hook.statuses = [503]
    failed = tick_of("alerts", instance, workspace)
    assert failed.is_failure
    assert "127.0.0.1 answered 503" in str(failed.error)
    assert "hush" not in str(failed)
    assert hook.taken == []
    wait_for_the_next_tick(monkeypatch)
    sent = tick_of("alerts", instance, workspace)
    assert (sent.is_failure, sent.skip_reason) == (False, "alerts sent: 2, in one message")
    assert "*Rows in quarantine: 1*\n• *acme segments 2018-12-08*" in hook.texts[0]
    assert "it was due by" in hook.texts[0], "the arrivals sensor, which ticks as well, finds the vendor late"


def tick_of(sensor: str, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> Any:
    """What became of a sensor in an iteration of the daemon."""
    list(execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None))
    [state] = [s for s in instance.all_instigator_state() if s.name == sensor]
    [tick] = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    return tick


def wait_for_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour go by for the daemon, which gives each sensor its time."""
    from dagster._daemon import sensor

    an_hour_later = sensor.get_current_timestamp() + 3600
    monkeypatch.setattr(sensor, "get_current_timestamp", lambda: an_hour_later)


def test_a_root_that_cannot_be_listed_is_told_and_so_is_its_return(
    tmp_path: Path,
    settings: Settings,
    instance: dg.DagsterInstance,
    vendor_folder: Any,
    hook: Listener,
    workspace: WorkspaceProcessContext,
    monkeypatch: pytest.MonkeyPatch,
    offload: Make,
) -> None:
    vendor_folder.root.rename(tmp_path / "gone")
    assert tick_of("acme_arrivals", instance, workspace).is_failure
    tell(settings, instance)
    [text] = hook.texts
    root = vendor_folder.root
    assert f"• *acme* (error): acme: {root} is no folder: check the url of the feed" in text
    assert tell(settings, instance) == 0
    said = offload("run", "--feeds", write_feeds(tmp_path, settings), "--json")
    assert (said.code, said.json["alerting_error"]) == (1, None)
    assert len(hook.texts) == 1, "the run finds what the sensor has told"
    (tmp_path / "gone").rename(root)
    wait_for_the_next_tick(monkeypatch)
    assert not tick_of("acme_arrivals", instance, workspace).is_failure
    tell(settings, instance)
    assert "• *acme* (resolved): its root can be listed again." in hook.texts[1]
    assert tell(settings, instance) == 0


def test_an_answer_of_500_fails_the_look_and_the_next_one_sends_the_same(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    load(settings, instance)
    hook.statuses = [500, 404, 500]
    for status in list(hook.statuses):
        with pytest.raises(
            AlertNotSent, match=f"^alerts.webhook_url: 127.0.0.1 answered {status}. The alerts are kept"
        ):
            tell(settings, instance)
    vendor_folder.part("2018-12-15", [BAD_ROW])
    load(settings, instance, "2018-12-15")
    assert tell(settings, instance) == 2
    assert "acme segments 2018-12-08" in hook.texts[0]
    assert "acme segments 2018-12-15" in hook.texts[0]
    assert len(hook.tried) == 4
    assert tell(settings, instance) == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener, status: int
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    load(settings, instance)
    hook.statuses = [status]
    with pytest.raises(AlertNotSent, match=f"127.0.0.1 answered {status}"):
        tell(settings, instance)
    assert hook.tried == [f"/services/{SECRET}"]


def test_a_webhook_that_does_not_answer_is_given_up(
    settings: Settings,
    instance: dg.DagsterInstance,
    vendor_folder: Any,
    hook: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert webhook._TIMEOUT_SECONDS <= 20, "a tick may take a minute"
    monkeypatch.setattr(webhook, "_TIMEOUT_SECONDS", 0.2)
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    load(settings, instance)
    hook.waits_seconds = 1.0
    with pytest.raises(AlertNotSent, match=r"127\.0\.0\.1 cannot be reached \(TimeoutError\)"):
        tell(settings, instance)


def everywhere(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield file, file.read_bytes()


@pytest.mark.parametrize("fault", ["answers 500", "refuses", "unknown host", "speaks no HTTP"])
def test_the_secret_is_in_no_error_no_log_and_no_file(
    settings: Settings,
    instance: dg.DagsterInstance,
    vendor_folder: Any,
    hook: Listener,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    hook.statuses = [500] if fault == "answers 500" else []
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    load(settings, instance)
    url = {
        "answers 500": hook.url,
        "refuses": f"http://127.0.0.1:9/services/{SECRET}",
        "unknown host": f"https://no-such-host.invalid/services/{SECRET}",
        "speaks no HTTP": f"https://127.0.0.1:{hook.port}/services/{SECRET}",
    }[fault]
    monkeypatch.setenv(VARIABLE, url)
    try:
        tell(settings, instance)
    except AlertNotSent as error:
        told = [
            *traceback.format_exception(error),
            repr(error.__cause__),
            repr(error.__context__),
            str(serializable_error_info_from_exc_info(sys.exc_info())),
        ]
    else:
        pytest.fail("it was sent")
    monkeypatch.setenv(VARIABLE, hook.url)
    assert tell(settings, instance) == 1
    said = "".join(capfd.readouterr())
    for text in (*told, caplog.text, said):
        assert "hush" not in text
    for file, content in everywhere(tmp_path):
        assert b"hush" not in content, file


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the environment variable OFFLOAD_ALERT_WEBHOOK is not set"),
        (" \n", "the environment variable OFFLOAD_ALERT_WEBHOOK is not set"),
        ("hooks.example.com/hush", "holds no http or https URL"),
        ("file:///hush", "holds no http or https URL"),
        ("https://example.com/hush hush", "holds no http or https URL"),
        ("https://example.com:hush/", "holds no http or https URL"),
        ("https://example.com/hüsh", "holds no http or https URL"),
    ],
)
def test_a_variable_without_a_url_is_told_and_its_content_is_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert settings.alerts is not None
    with pytest.raises(Exception, match=message) as caught:
        settings.alerts.url()
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_url_may_end_in_a_line_end(hook: Listener, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv(VARIABLE, f"{hook.url}\n")
    assert settings.alerts is not None
    assert settings.alerts.url() == hook.url


def test_the_same_figures_of_a_partition_are_told_once_until_they_change(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    said = []
    for rows in ([BAD_ROW], [BAD_ROW], [BAD_ROW, GOOD_ROW], [GOOD_ROW], [BAD_ROW, GOOD_ROW]):
        vendor_folder.part("2018-12-08", rows)
        assert load(settings, instance).success
        said.append(tell(settings, instance))
    assert said == [1, 0, 1, 0, 1]
    assert len(hook.taken) == 3


def test_what_is_still_wrong_is_told_again_after_a_day() -> None:
    memory = Memory(since=0)
    hour = 3600.0
    assert memory.is_news("check", 1, 0, "one row")
    assert not memory.is_news("check", 2, 23 * hour, "one row")
    assert memory.is_news("check", 3, 25 * hour, "one row")
    assert not memory.is_news("check", 4, 48 * hour, "one row"), "a day after it was told last"
    assert not memory.is_news("check", 2, 23 * hour, "another row"), "an older event changes nothing"
    assert memory.is_news("check", 5, 48 * hour, None)
    assert not memory.is_news("check", 6, 48 * hour, None)
    assert not memory.is_news("another check", 7, 48 * hour, None), "what was never wrong does not recover"


def test_memory_does_not_grow_for_ever() -> None:
    memory = Memory(since=0)
    for number in range(5000):
        memory.is_news(f"check {number}", number, number, "wrong")
        memory.is_news(f"late {number}", number, number, "WARN")
    memory.read_until = 5000
    memory.forget(5000)
    assert len(memory.facts) == 10_000, "all have been told within the day"
    memory.forget(86_400 * 2)
    assert {name for name in memory.facts if name.startswith("check")} == {f"check {n}" for n in range(4001, 5000)}
    assert sum(name.startswith("late") for name in memory.facts) == 5000, "a late feed is late until it is not"
    memory.forget(86_400 * 40)
    assert len(memory.facts) == 2 * 999


def test_a_backfill_with_many_failures_becomes_one_readable_message(
    tmp_path: Path, vendor_folder: Any, feed_of: Make, hook: Listener, instance: dg.DagsterInstance
) -> None:
    types = ("segments", "moments")
    feed = feed_of(vendor_folder.url, types=types)
    settings = Settings(
        warehouse=tmp_path / "warehouse", feeds=(feed,), alerts=Alerts(webhook_url=f"env:{VARIABLE}", ui_url=UI)
    )
    header = "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration"
    weeks = [(date(2018, 12, 1) + timedelta(weeks=week)).isoformat() for week in range(9)]
    for week in weeks:
        vendor_folder.part(week, [GOOD_ROW, BAD_ROW])  # lifestyle types come together
        part = vendor_folder.part(week, ["x"], offload_type="moments", header=header)
        part.write_bytes(part.read_bytes()[:-4])
    for week in weeks:
        assert not load(settings, instance, week, "moments").success
    for week in weeks[:2]:
        assert load(settings, instance, week).success
    assert tell(settings, instance) == 11
    [text] = hook.texts
    assert "*offload_platform: 9 errors, 2 warnings*" in text
    assert "*Failed runs: 9* (acme moments 9)\n• *acme moments 2018-12-01* (error)" in text
    assert "*Rows in quarantine: 2*\n• *acme segments 2018-12-01* (warning)" in text
    assert text.count("\n• ") == 5 + 2
    assert text.count("… and 4 more.") == 1
    assert len(text.splitlines()) < 25


def test_a_message_stays_within_the_limits_whatever_happens(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener
) -> None:
    for number in range(30):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["&" * 200, f"<{number}>"]),
                check_name="a_check",
                passed=False,
                description="<&>" * 1000,
                partition="&" * 500,
                metadata={f"figure {n}": n for n in range(100)},
            )
        )
    assert tell(settings, instance) == 30
    assert len(hook.taken) == 1, "which Slack would take"


def test_the_first_look_tells_what_happened_within_a_day_and_nothing_older(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener
) -> None:
    for hours in (30, 20):
        event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", "", event_specific_data=lateness(hours))
        at = datetime.now(UTC) - timedelta(hours=hours)
        instance.report_dagster_event(event, run_id="", timestamp=at.timestamp())
    assert tell(settings, instance) == 1
    assert "20 hours late" in hook.texts[0]


def test_a_long_log_is_read_in_pages_and_nothing_is_left_out(
    settings: Settings, instance: dg.DagsterInstance, hook: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    from offload_platform.orchestration import alerts

    monkeypatch.setattr(alerts, "_EVENTS_AT_ONCE", 7)
    monkeypatch.setattr(alerts, "_READ_AGAIN", 3)
    assert settings.alerts is not None
    for number in range(30):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=dg.AssetKey("a"), check_name=f"check_{number}", passed=number % 3 > 0)
        )
    looks = []
    for _ in range(30):
        looks.append(send_news(settings, settings.alerts, instance))
        if not looks[-1].more:
            break
    assert not looks[-1].more
    assert sum(sent.alerts for sent in looks) == 10
    assert len(looks) > 3
    assert len(hook.taken) == sum(sent.alerts > 0 for sent in looks)


def test_numbers_that_are_given_out_again_are_read(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    """SQLite gives the numbers of deleted events to the next ones."""
    vendor_folder.part("2018-12-08", [GOOD_ROW])
    for _ in range(3):
        last = load(settings, instance)
        tell(settings, instance)
    instance.delete_run(last.run_id)
    (vendor_folder.root / "12_08_2018_15_05_54_499").rename(vendor_folder.root / "12_22_2018_15_05_54_499")
    load(settings, instance)
    assert tell(settings, instance) == 1
    assert "Failed runs: 1" in hook.texts[0]


def test_only_what_is_asked_for_is_told(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    assert settings.alerts is not None
    only = settings.alerts.model_copy(update={"about": (AlertKind.DRIFT,)})
    vendor_folder.part("2018-12-08", [BAD_ROW, f"{ANN},,brand_new"])
    load(settings, instance)
    load(settings, instance, "2018-12-15")
    assert tell(settings.model_copy(update={"alerts": only}), instance) == 1
    assert "Deliveries that differ" in hook.texts[0]


def test_the_sensor_is_there_where_alerts_are_configured_and_runs_from_the_start(settings: Settings) -> None:
    [sensor] = [s for s in build_definitions(settings).sensors or () if s.name == "alerts"]
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    without = build_definitions(settings.model_copy(update={"alerts": None}))
    assert "alerts" not in {s.name for s in without.sensors or ()}


def kept(instance: dg.DagsterInstance) -> Memory:
    return Memory.model_validate_json(instance.daemon_cursor_storage.get_cursor_values({MEMORY_KEY})[MEMORY_KEY])


def test_a_run_tells_by_itself_and_the_sensor_does_not_repeat_it(
    tmp_path: Path,
    settings: Settings,
    instance: dg.DagsterInstance,
    vendor_folder: Any,
    hook: Listener,
    offload: Make,
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    part = vendor_folder.part("2018-12-15", [GOOD_ROW])
    part.write_bytes(part.read_bytes()[:-4])
    feeds = write_feeds(tmp_path, settings)
    hook.statuses = [500]
    said = offload("run", "--feeds", feeds, "--json")
    assert said.code == 1
    assert said.json["alerting_error"].startswith("alerts.webhook_url: 127.0.0.1 answered 500")
    part.unlink()
    quiet = offload("run", "--feeds", feeds)
    assert quiet.code == 0, quiet.out
    assert "not alerted" not in quiet.out
    [text] = hook.texts
    assert "acme segments 2018-12-08" in text
    assert "acme segments 2018-12-15" in text
    assert tell(settings, instance) == 0
    assert offload("run", "--feeds", feeds).code == 0
    assert len(hook.taken) == 1
    assert kept(instance).read_until > 0


def test_two_who_look_at_once_tell_once(
    settings: Settings, instance: dg.DagsterInstance, vendor_folder: Any, hook: Listener
) -> None:
    vendor_folder.part("2018-12-08", [GOOD_ROW, BAD_ROW])
    load(settings, instance)
    hook.waits_seconds = 0.3
    threads = [threading.Thread(target=tell, args=(settings, instance)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hook.taken) == 1


def doctor(offload: Make, feeds: Path, *more: str) -> tuple[int, Sequence[str | None]]:
    said = offload("doctor", "--feeds", feeds, *more, "--json")
    [found] = [f for f in said.json["findings"] if f["subject"] == "alerts"]
    return said.code, (found["grade"], found["found"], found["next_step"])


def test_doctor_sends_a_test_message(
    tmp_path: Path,
    settings: Settings,
    vendor_folder: Any,
    hook: Listener,
    offload: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for day in ("2018-12-01", "2018-12-08"):
        vendor_folder.part(day, [GOOD_ROW])
    feeds = write_feeds(tmp_path, settings)
    about = "late, failed, quarantine, drift, check"
    assert doctor(offload, feeds) == (0, ("ok", f"to 127.0.0.1, about {about}; not tried (--send-test-alert)", None))
    assert hook.taken == []
    assert doctor(offload, feeds, "--send-test-alert") == (0, ("ok", "127.0.0.1 has taken a test message", None))
    assert hook.texts == [f"*offload_platform: Test alert*\n\nAlerts about {about} arrive here. Nothing is wrong."]
    hook.statuses = [403]
    code, (grade, found, step) = doctor(offload, feeds, "--send-test-alert")
    assert (code, grade) == (1, "problem")
    assert found is not None
    assert found.startswith("alerts.webhook_url: 127.0.0.1 answered 403")
    assert step
    monkeypatch.delenv(VARIABLE)
    code, (grade, found, step) = doctor(offload, feeds)
    assert (code, grade) == (1, "problem")
    assert found == f"alerts.webhook_url: the environment variable {VARIABLE} is not set"
    without = write_feeds(tmp_path, settings.model_copy(update={"alerts": None}))
    assert doctor(offload, without, "--send-test-alert")[1][:2] == ("problem", "no alerts are configured")
