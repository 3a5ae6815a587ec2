"""What is wrong with a bucket is said when a form is saved, and names the field. Against a real S3 server.

AWS alone tells regions apart and an unconditional store ignores conditions: these answers come from a small server.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offload_platform.exports import managing
from offload_platform.exports.bucket import ATTEMPTS, Bucket
from offload_platform.exports.errors import BucketRefused, ExportError
from offload_platform.exports.registry import State
from offload_platform.settings import SettingsError
from offload_platform.simulator.object_store import ObjectStoreServer

FIRST = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def refusal(shop: Any, **said: Any) -> str:
    with pytest.raises((BucketRefused, SettingsError)) as caught:
        shop.add(**said)
    return str(caught.value)


def test_a_trial_leaves_nothing_behind(shop: Any, client: Any) -> None:
    shop.add()
    managing.try_bucket(shop.registry, "acme")
    assert client.objects(shop.directory) == {}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"bucket": "elsewhere"}, "there is no bucket elsewhere: check bucket and endpoint_url"),
        ({"access_key": "env:NO_KEY"}, "access_key: the environment variable NO_KEY is not set"),
        ({"access_key": "env:WRONG"}, "the store does not know the access key: check access_key (env:WRONG)"),
        ({"secret_key": "env:WRONG"}, "the secret key does not belong to the access key: check secret_key (env:WRONG)"),
        (
            {"access_key": "env:READER", "secret_key": "env:READER_SECRET", "directory": "readable"},
            "the right s3:PutObject on clients/readable/* is missing: ask for it",
        ),
        ({"endpoint_url": "http://127.0.0.1:9"}, "the store does not answer: check endpoint_url, region and the net"),
        (
            {"access_key": None, "secret_key": None, "aws_profile": "none"},
            "there is no profile 'none': check aws_profile",
        ),
    ],
)
def test_each_mistake_is_named(
    shop: Any, client_store: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("WRONG", "w" * 20)
    monkeypatch.setenv("READER", client_store.client.access_key)
    monkeypatch.setenv("READER_SECRET", client_store.client.secret_key)
    monkeypatch.setattr("offload_platform.exports.bucket.ATTEMPTS", 1)
    told = refusal(shop, **said)
    assert message in told
    assert "\n" not in told
    for secret in ("w" * 20, client_store.client.access_key, client_store.client.secret_key):
        assert secret not in told
    # What cannot send stays a draft, and is mended by saving it again.
    assert shop.registry.get("acme").state is State.DRAFT
    assert shop.add().state is State.ACTIVE


@contextmanager
def store_that_answers(answers: dict[str, tuple[int, dict[str, str], str]]) -> Iterator[str]:
    """A server that answers each method in one way."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            condition = " if none" if "If-None-Match" in self.headers else ""
            status, headers, body = answers.get(self.command + condition) or answers[self.command]
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said_by_store(code: str, more: str = "") -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a message with AKIASECRET</Message>{more}</Error>"


FINE: dict[str, tuple[int, dict[str, str], str]] = {
    "HEAD": (200, {"ETag": '"e"'}, ""),
    "PUT": (200, {"ETag": '"e"'}, ""),
    "DELETE": (204, {}, ""),
}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        # HeadBucket tells the region even to those whom it refuses.
        (
            {"HEAD": (403, {"x-amz-bucket-region": "ap-south-1"}, "")},
            "the bucket clients is in ap-south-1, not in us-east-1: set region: ap-south-1",
        ),
        (
            {
                "HEAD": (400, {}, ""),
                "PUT": (400, {}, said_by_store("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")),
            },
            "the bucket clients is in eu-west-3, not in us-east-1: set region: eu-west-3",
        ),
        ({"DELETE": (403, {}, said_by_store("AccessDenied"))}, "the right s3:DeleteObject on clients/out"),
        ({"PUT": (400, {}, said_by_store("ExpiredToken"))}, "the credentials have expired: renew access_key (env:"),
        ({"PUT": (403, {}, said_by_store("RequestTimeTooSkewed"))}, "the clock of this machine is wrong: set it"),
        ({"PUT": (400, {}, said_by_store("Peculiar"))}, "the store did not do it; run again, and ask its operator"),
    ],
)
def test_what_aws_says_is_told_as_a_step(shop: Any, answers: dict[str, Any], message: str) -> None:
    with store_that_answers(FINE | answers) as url:
        told = refusal(shop, endpoint_url=url)
    assert message in told
    assert "AKIASECRET" not in told


@pytest.mark.parametrize("answers", [{}, {"PUT if none": (501, {}, said_by_store("NotImplemented"))}])
def test_a_store_that_does_not_know_the_condition_is_found_out(shop: Any, answers: dict[str, Any]) -> None:
    with store_that_answers(FINE | answers) as url:
        assert shop.add(endpoint_url=url).is_conditional is False


def test_a_store_that_is_busy_is_asked_again(shop: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    waits: list[float] = []
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with (
        store_that_answers({"PUT": (503, {}, said_by_store("SlowDown"))}) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        bucket = Bucket(shop.form(endpoint_url=url))
        bucket._client.meta.events.register("before-send.s3.PutObject", lambda request, **_: asked.append(request.url))
        patch.setattr("time.sleep", waits.append)
        with pytest.raises(BucketRefused, match=r"run again.*\(SlowDown\)"):
            bucket.put("out/key", file, "00" * 32, True)
    assert len(asked) == ATTEMPTS
    # Each wait is drawn at random, from a range that doubles.
    assert len(set(waits)) == len(waits) == ATTEMPTS - 1
    assert all(wait < 2**number for number, wait in enumerate(waits))


def test_a_row_of_refusals_says_where(shop: Any) -> None:
    told = refusal(shop, bucket="elsewhere")
    assert re.match(r"acme: s3://elsewhere: cannot find it: ", told)


def test_settings_can_be_changed_and_what_is_sent_cannot(shop: Any, client: Any) -> None:
    shop.add()
    for name, value in {
        "directory": "other",
        "columns": ["id"],
        "filters": {"id": ["a"]},
        "timezone": "+01:00",
    }.items():
        with pytest.raises(Exception, match=f"acme is active, and {name} cannot be changed"):
            shop.add(**{name: value})
    managing.pause(shop.registry, "acme")
    changed = shop.add(on_empty="skip", settle_seconds=0)
    assert (changed.state, changed.form.settle_seconds) == (State.PAUSED, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_SECRET", "wrong")
        with pytest.raises(BucketRefused, match="SignatureDoesNotMatch"):
            managing.resume(shop.files, shop.registry, "acme")
    assert shop.registry.get("acme").state is State.PAUSED
    managing.resume(shop.files, shop.registry, "acme")
    shop.send(FIRST + timedelta(minutes=15))
    assert client.objects(shop.directory) == {}


def test_two_exports_do_not_share_a_directory(shop: Any) -> None:
    shop.add()
    with pytest.raises(ExportError, match=r"directory: acme sends to s3://clients/out/\w+ already; name another"):
        shop.add(name="other")


def test_a_form_is_not_judged_again_when_zones_have_changed(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add(timezone="Asia/Kolkata")
    monkeypatch.setattr("offload_platform.exports.form._is_fixed", lambda _: False)
    assert shop.registry.get("acme").state is State.ACTIVE
    with pytest.raises(ValidationError, match="has summer time"):
        shop.form(timezone="Asia/Kolkata")
