"""A proxy on this machine that damages what an S3 server answers, as networks and stores do."""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["refuse", "busy", "reset", "shorten", "flip"]
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Fault:
    """One way to spoil answers: the next `times` of those to a GET whose target holds `target`.

    `reset` breaks the connection after `after` bytes of the body, `shorten` ends the body there with a length that
    agrees, `flip` changes the byte there; `busy` answers 503 and `refuse` not at all.
    """

    kind: Kind
    target: str
    times: int = 1
    after: int = 0


@dataclass
class FaultProxy:
    """The proxy: its address, the faults that wait, the faults that have come to pass, and the targets of all GETs."""

    url: str
    waiting: list[Fault] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def add(self, kind: Kind, target: str, times: int = 1, after: int = 0) -> None:
        self.waiting.append(Fault(kind, target, times, after))

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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fault = proxy.take(self.path)
            if fault and fault.kind == "refuse":
                self._break_off()
                return
            if fault and fault.kind == "busy":
                self._answer(503, {"Content-Type": "application/xml"}, _BUSY)
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
            broken_after = fault.after if fault and fault.kind == "reset" else None
            self._answer(answer.status, headers, body, broken_after)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, broken_after: int | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:broken_after])
            if broken_after is not None:
                self.wfile.flush()
                self._break_off()

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
        server.shutdown()
        server.server_close()
        thread.join()
