"""Sends the files of a hand-off to an Elasticsearch, with the official client.

The template goes first, so that an index is never made without it. A server that is busy (429) is asked again, after
waits that grow. What it refuses is told by kind, and nothing of what it says of values is repeated.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from offload_platform.handoff.bulk import (
    MOST_BYTES,
    MOST_DOCUMENTS,
    TEMPLATE,
    actions_of,
    folder_of,
    manifest_of,
)
from offload_platform.handoff.errors import HandoffError
from offload_platform.handoff.template import index_of
from offload_platform.listening.days import digest_of, replacing
from offload_platform.settings import Feed
from offload_platform.warehouse.files import WarehouseFiles

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

RETRIES = 6
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2.0, 60.0
_REQUEST_SECONDS = 60.0
_GONE = 404
_SHOWN = 5
_HERE = ("127.0.0.1", "::1", "localhost")


@dataclass
class Pushed:
    """What a server has taken of some files, and what it has refused, by kind; `examples` are ids of the latter."""

    files: int = 0
    indexed: int = 0
    deleted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """An Elasticsearch: its URL, the key that opens it, and the certificate of who vouches for it."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    ca_certs: Path | None = None
    first_wait_seconds: float = _FIRST_WAIT_SECONDS

    def client(self) -> "Elasticsearch":
        """The official client.

        Raises:
            HandoffError: the client is not installed, or a key would go over the network in clear.
        """
        try:
            from elasticsearch import Elasticsearch
        except ImportError as error:
            raise HandoffError(
                "the client of Elasticsearch is not installed. Next: pip install 'offload-platform[elastic]'"
            ) from error
        parts = urlsplit(self.url)
        if parts.username or parts.password:
            raise HandoffError("--url must hold no credentials; name the variable of a key with --api-key-env")
        if self.api_key and parts.scheme != "https" and parts.hostname not in _HERE:
            raise HandoffError(f"--url: the key would go to {parts.hostname} in clear; use https://")
        more: dict[str, Any] = {} if self.ca_certs is None else {"ca_certs": str(self.ca_certs)}
        try:
            return Elasticsearch(
                self.url,
                api_key=self.api_key,
                request_timeout=_REQUEST_SECONDS,
                max_retries=RETRIES,
                retry_on_timeout=True,
                **more,
            )
        except ValueError as error:
            raise HandoffError(f"--url: {error}") from error


def push(
    files: WarehouseFiles,
    feed: Feed,
    server: Server,
    first: date | None = None,
    last: date | None = None,
    again: bool = False,
) -> Pushed:
    """Send the files that this server does not have yet, or all of them `again`, of some days; template first.

    Raises:
        HandoffError: there is nothing to send, or the server cannot be reached, opened or spoken with.
    """
    from elasticsearch import ApiError, TransportError, UnsupportedProductError

    folder = folder_of(files, feed)
    manifest = manifest_of(files, feed)
    if not manifest["days"]:
        raise HandoffError(f"{folder}: there is nothing to send. Next: offload es export")
    wanted = {
        name: digest
        for day, entry in manifest["days"].items()
        if (first is None or date.fromisoformat(day) >= first) and (last is None or date.fromisoformat(day) <= last)
        for name, digest in entry["files"].items()
    }
    notes = folder / f"pushed-{digest_of(server.url)}.json"
    known: dict[str, str] = {} if again or not notes.exists() else json.loads(notes.read_text(encoding="utf-8"))
    client = server.client()
    pushed = Pushed()
    try:
        template = json.loads((folder / TEMPLATE).read_text(encoding="utf-8"))
        client.indices.put_index_template(name=index_of(feed), **template)
        for name, digest in sorted(wanted.items()):
            if known.get(name) != digest:
                refused = _send(client, folder / name, index_of(feed), server.first_wait_seconds, pushed)
                if not refused:
                    known[name] = digest
    except UnsupportedProductError as error:
        raise HandoffError(f"{server.url} is no Elasticsearch.") from error
    except ApiError as error:
        raise HandoffError(_refusal(server.url, error.status_code)) from error
    except TransportError as error:
        raise HandoffError(
            f"{server.url} cannot be reached ({type(error).__name__}). Check --url, and the network."
        ) from error
    finally:
        client.close()
        if known:
            with replacing(notes) as aside:
                aside.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return pushed


def _send(client: "Elasticsearch", file: Path, index: str, first_wait: float, pushed: Pushed) -> int:
    """Send a file; returns how many lines of it were refused."""
    from elasticsearch.helpers import streaming_bulk

    refused = 0
    for is_taken, said in streaming_bulk(
        client,
        _lines(file, index),
        chunk_size=MOST_DOCUMENTS,
        max_chunk_bytes=MOST_BYTES,
        raise_on_error=False,
        max_retries=RETRIES,
        initial_backoff=first_wait,
        max_backoff=_LONGEST_WAIT_SECONDS,
    ):
        [(verb, item)] = said.items()
        # What is to be deleted may never have been there.
        if verb == "delete" and (is_taken or item["status"] == _GONE):
            pushed.deleted += 1
        elif is_taken:
            pushed.indexed += 1
        else:
            refused += 1
            pushed.refused[_kind(item)] += 1
            if len(pushed.examples) < _SHOWN:
                pushed.examples.append(item["_id"])
    pushed.files += 1
    return refused


def _lines(file: Path, index: str) -> Iterator[dict[str, Any]]:
    for action in actions_of(file):
        said: dict[str, Any] = {"_op_type": "delete", "_index": index, "_id": action.id}
        if action.document is not None:
            said |= {"_op_type": "index", "_source": json.loads(action.document)}
        yield said


def _kind(item: Mapping[str, Any]) -> str:
    error = item.get("error")
    kind = error.get("type") if isinstance(error, Mapping) else None
    return f"{item['status']} {kind or 'without a reason'}"


def _refusal(url: str, status: int) -> str:
    steps = {
        401: "it does not know the key: check the variable that --api-key-env names",
        403: "the key may not write: it needs manage_index_templates, and create_index, index and delete on the index",
        413: "a request was too large for it: raise http.max_content_length",
        429: "it stays busy: send again later, what it has taken stays",
    }
    return f"{url} answered {status}: {steps.get(status, 'see its log')}."
