"""An Elasticsearch on loopback that speaks as much of the protocol as a push needs.

It has index templates, makes an index by them, judges each document by its strict mapping, and can be told to be busy
or to refuse.
"""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_FITS: dict[str, Any] = {
    "keyword": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "date": lambda value: isinstance(value, str) and _DATE.fullmatch(value) is not None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31,
    "double": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


class Elasticsearch:
    """The state of the server, and what it is told to do."""

    def __init__(self) -> None:
        self.url = ""
        self.api_key: str | None = None
        self.is_genuine = True
        self.templates: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.busy_requests = 0
        self.busy_items: set[str] = set()
        self.bodies: list[bytes] = []

    def mapping(self, index: str) -> dict[str, Any] | None:
        """The fields of an index, by the template whose pattern it has; None where documents could have any."""
        for template in self.templates.values():
            if index in template["index_patterns"]:
                mappings = template["template"]["mappings"]
                assert mappings["dynamic"] == "strict"
                return dict(mappings["properties"])
        return None

    def judge(self, index: str, document: dict[str, Any]) -> dict[str, Any] | None:
        """What is wrong with a document; None where nothing is."""
        fields = self.mapping(index)
        if fields is None:
            return {"type": "index_not_found_exception", "reason": f"no template for {index}"}
        for name, value in document.items():
            if name not in fields:
                reason = f"mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
                return {"type": "strict_dynamic_mapping_exception", "reason": reason}
            if not _FITS[fields[name]["type"]](value):
                reason = f"failed to parse field [{name}]. Preview of field's value: '{value}'"
                return {"type": "document_parsing_exception", "reason": reason}
        return None

    def bulk(self, body: bytes) -> dict[str, Any]:
        """Carry out the lines of a bulk request."""
        assert body.endswith(b"\n")
        lines = iter(body.decode().split("\n")[:-1])
        items = []
        for line in lines:
            [(verb, said)] = json.loads(line).items()
            item: dict[str, Any] = {"_index": said["_index"], "_id": said["_id"]}
            document = json.loads(next(lines)) if verb == "index" else None
            if said["_id"] in self.busy_items:
                self.busy_items.discard(said["_id"])
                error = {"type": "es_rejected_execution_exception", "reason": "busy"}
                items.append({verb: item | {"status": 429, "error": error}})
            elif document is None:
                known = self.documents.pop(said["_id"], None)
                items.append(
                    {verb: item | {"status": 200 if known else 404, "result": "deleted" if known else "not_found"}}
                )
            elif wrong := self.judge(said["_index"], document):
                items.append({verb: item | {"status": 400, "error": wrong}})
            else:
                is_new = said["_id"] not in self.documents
                self.documents[said["_id"]] = document
                items.append(
                    {verb: item | {"status": 201 if is_new else 200, "result": "created" if is_new else "updated"}}
                )
        return {"took": 1, "errors": any(next(iter(i.values()))["status"] >= 300 for i in items), "items": items}


@contextmanager
def elasticsearch() -> Iterator[Elasticsearch]:
    """A server, for as long as the context lasts."""
    state = Elasticsearch()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            state.requests.append((self.command, self.path, len(body)))
            state.bodies.append(body)
            status, said = self._said(body)
            content = json.dumps(said).encode()
            self.send_response(status)
            if state.is_genuine:
                self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=9")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _said(self, body: bytes) -> tuple[int, dict[str, Any]]:
            if state.api_key and self.headers.get("Authorization") != f"ApiKey {state.api_key}":
                return 401, {"error": {"type": "security_exception"}, "status": 401}
            path = self.path.partition("?")[0]
            if path.startswith("/_index_template/") and self.command == "PUT":
                state.templates[path.rsplit("/", 1)[1]] = json.loads(body)
                return 200, {"acknowledged": True}
            if path == "/_bulk" and self.command in ("PUT", "POST"):
                if state.busy_requests:
                    state.busy_requests -= 1
                    return 429, {"error": {"type": "es_rejected_execution_exception"}, "status": 429}
                return 200, state.bulk(body)
            return 404, {"error": {"type": "unknown"}, "status": 404}

        do_PUT = do_POST = do_GET = do_HEAD = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
