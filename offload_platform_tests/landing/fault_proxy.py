"""A proxy on this machine that damages what an S3 server answers, as networks and stores do."""

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["refuse", "busy", "error", "reset", "close", "stall", "shorten", "flip", "lose"]
STATUS = {
    "SlowDown": 503,
    "InternalError": 500,
    "ExpiredToken": 400,
    "RequestTimeTooSkewed": 403,
    "NoSuchBucket": 404,
}
_OBJECT = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)


@dataclass
class Fault:
    """One way to spoil answers: the next `times` of those to a GET whose target holds `target`.

    `reset` breaks the connection after `after` bytes of the body, `close` ends it there in order, `stall` says no more
    from there on, `shorten` ends the body there with a length that agrees, `flip` changes the byte there. `lose` leaves
    out all but the first `after` objects of a listing. `error` answers with an error `code`, `busy` with 503 and
    `refuse` not at all. `meanwhile` happens just before.
    """

    kind: Kind
    target: str
    times: int = 1
    after: int = 0
    code: str = "SlowDown"
    meanwhile: Callable[[], None] = lambda: None


@dataclass
class FaultProxy:
    """The proxy: its address, the faults that wait, the faults that have come to pass, and the targets of all GETs."""

    url: str
    waiting: list[Fault] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        target: str,
        times: int = 1,
        after: int = 0,
        code: str = "SlowDown",
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.waiting.append(Fault(kind, target, times, after, code, meanwhile))

    def forget(self) -> None:
        """Do no more, and forget what was done."""
        self.waiting.clear()
        self.done.clear()

    def take(self, target: str) -> Fault | None:
        """The fault that is to befall a request."""
        self.targets.append(target)
        for fault in self.waiting:
            if fault.times > 0 and fault.target in target:
                fault.times -= 1
                self.done.append(fault.kind)
                return fault
        return None


@contextmanager
def fault_proxy(server_url: str) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server. Requests pass unchanged, so that their signatures stay valid."""
    upstream = urlsplit(server_url).netloc
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fault = proxy.take(self.path)
            if fault:
                fault.meanwhile()
            if fault and fault.kind == "refuse":
                self._break_off()
                return
            if fault and fault.kind in ("busy", "error"):
                said = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>On purpose.</Message></Error>"
                self._answer(STATUS[fault.code], {"Content-Type": "application/xml"}, said.encode())
                return
            connection = http.client.HTTPConnection(upstream, timeout=30)
            connection.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            }
            if fault and fault.kind == "shorten":
                body = body[: fault.after]
            elif fault and fault.kind == "flip":
                body = body[: fault.after] + bytes([body[fault.after] ^ 0xFF]) + body[fault.after + 1 :]
            elif fault and fault.kind == "lose":
                for lost in _OBJECT.findall(body)[fault.after :]:
                    body = body.replace(lost, b"")
            broken = fault if fault and fault.kind in ("reset", "close", "stall") else None
            self._answer(answer.status, headers, body, broken)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, broken: Fault | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: broken.after if broken else None])
            if broken is None:
                return
            self.wfile.flush()
            if broken.kind == "reset":
                self._break_off()
            if broken.kind == "stall":
                ended.wait()
            self.close_connection = True

        def _break_off(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            # Both files hold the socket open.
            self.rfile.close()
            self.wfile = open("/dev/null", "wb")  # noqa: PTH123, SIM115
            self.connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
