"""Posts a message to the webhook of the configuration, and never says more of its URL than the host.

The standard library's client is used on purpose: it logs nothing, while urllib3, below requests, writes the path of
every request to its debug log, and the path of a webhook is its password.
"""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

_TIMEOUT_SECONDS = 10


class AlertNotSent(Exception):
    """The webhook did not take a message; nothing is lost, for it is sent again."""


class _NoRedirects(HTTPRedirectHandler):
    """Leaves a redirect as the answer: a message must not follow it to a host that nobody has named."""

    def redirect_request(self, *_: Any) -> None:
        return None


_client = build_opener(_NoRedirects)


def post(url: str, message: Mapping[str, Any]) -> None:
    """Post a message as JSON.

    Raises:
        AlertNotSent: the answer is not 2xx, or there is none within seconds; the message names the host alone.
    """
    wrong = _attempt(url, json.dumps(message).encode())
    # Raised out here, where no other exception is being handled: theirs could show the URL in a traceback.
    if wrong:
        raise AlertNotSent(
            f"alerts.webhook_url: {urlsplit(url).hostname} {wrong}. The alerts are kept and sent again next time. "
            "Check the URL with `offload doctor --send-test-alert`."
        )


def _attempt(url: str, body: bytes) -> str | None:
    request = Request(url, data=body, headers={"Content-Type": "application/json; charset=utf-8"}, method="POST")
    try:
        with _client.open(request, timeout=_TIMEOUT_SECONDS):
            return None
    except HTTPError as error:
        error.close()
        return f"answered {error.code}"
    except URLError as error:
        return f"cannot be reached ({_in_words(error.reason)})"
    except (OSError, HTTPException) as error:
        return f"cannot be reached ({_in_words(error)})"


def _in_words(reason: object) -> str:
    return (isinstance(reason, OSError) and reason.strerror) or type(reason).__name__
