"""A real HTTP server in front of a registry: it records what it sees, and can misbehave.

Without rules it forwards everything. A rule looks at a request and either leaves it alone (false)
or answers it itself (true); rules are asked in order. Several are ready-made below.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_PIECE = 1 << 16


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request at the front; the tools of the rules."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Server

    def _any(self) -> None:
        front = self.server.front
        headers = {name.lower(): value for name, value in self.headers.items()}
        with front.lock:
            front.seen.append(Seen(self.command, self.path, headers))
            rules = list(front.rules)
        if not any(rule(self) for rule in rules):
            self.forward()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def matches(self, method: str, path: str) -> bool:
        return self.command in method.split() and re.search(path, self.path) is not None

    def forward(
        self,
        *,
        upload_limit: int | None = None,
        change: Callable[[bytes], bytes] | None = None,
        download_limit: int | None = None,
    ) -> None:
        """Pass the request on. `upload_limit` breaks both connections after that many bytes of
        the request's body, `download_limit` after so many of the response's; `change` rewrites
        each piece of a response's body."""
        host, _, port = self.server.front.upstream.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            head = [f"{self.command} {self.path} HTTP/1.1", "Connection: close"]
            head += [f"{k}: {v}" for k, v in self.headers.items() if k.lower() != "connection"]
            upstream.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
            left = int(self.headers.get("Content-Length") or 0)
            sent = 0
            while left:
                room = min(left, _PIECE, (upload_limit or left + sent) - sent)
                piece = self.rfile.read(room) if room else b""
                if not piece:
                    upstream.shutdown(socket.SHUT_WR)
                    upstream.recv(1)  # the registry has taken in what it got
                    self.reset()
                    return
                with contextlib.suppress(OSError):  # it may have answered already
                    upstream.sendall(piece)
                left -= len(piece)
                sent += len(piece)
            answer = http.client.HTTPResponse(upstream, method=self.command)
            answer.begin()
            self._relay(answer, change, download_limit)
            answer.close()

    def _relay(
        self,
        answer: http.client.HTTPResponse,
        change: Callable[[bytes], bytes] | None,
        limit: int | None,
    ) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "connection":
                self.send_header(name, value)
        self.end_headers()
        sent = 0
        while piece := answer.read(min(_PIECE, (limit or sent + _PIECE) - sent)):
            self.wfile.write(change(piece) if change else piece)
            sent += len(piece)
        self.wfile.flush()
        if limit is not None and sent >= limit:
            # Not a reset: that would take back bytes which are still on their way.
            self.close_connection = True

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer by ourselves; the request's body is read first."""
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self.rfile.read(min(left, _PIECE)))
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Tests look at `seen`."""


Rule = Callable[[Exchange], bool]


@dataclass
class Front:
    """The running server; tests add to `rules` and read `seen`."""

    upstream: str
    address: str = ""
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, method: str, path: str) -> list[Seen]:
        """Requests of these methods whose path matches."""
        with self.lock:
            return [s for s in self.seen if s.method in method.split() and re.search(path, s.path)]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, front: Front, tls: ssl.SSLContext | None) -> None:
        self.front = front
        self.tls = tls
        super().__init__(("127.0.0.1", 0), Exchange)

    def finish_request(self, request: object, client_address: object) -> None:
        if self.tls is None or not isinstance(request, socket.socket):
            super().finish_request(request, client_address)  # type: ignore[arg-type]  # a socket
            return
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what these tests are about."""


@contextlib.contextmanager
def running_front(
    upstream: str, *rules: Rule, tls: ssl.SSLContext | None = None
) -> Iterator[Front]:
    """A front on a free loopback port before `upstream` (`host:port`)."""
    front = Front(upstream, rules=list(rules))
    with _Server(front, tls) as server:
        host, port = server.server_address[:2]
        front.address = f"{host!s}:{port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()


def times(count: int, rule: Rule) -> Rule:
    """`rule` for the first `count` requests that it takes."""
    left = count
    lock = threading.Lock()

    def limited(exchange: Exchange) -> bool:
        nonlocal left
        with lock:
            if left == 0:
                return False
            left -= 1
        if rule(exchange):
            return True
        with lock:
            left += 1
        return False

    return limited


def answering(
    method: str,
    path: str,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Rule:
    """Answer matching requests with this."""

    def rule(exchange: Exchange) -> bool:
        if not exchange.matches(method, path):
            return False
        exchange.answer(status, body, headers)
        return True

    return rule


def breaking(
    method: str, path: str, *, upload: int | None = None, download: int | None = None
) -> Rule:
    """Break matching exchanges off after so many bytes; at once without a number."""

    def rule(exchange: Exchange) -> bool:
        if not exchange.matches(method, path):
            return False
        if upload is None and download is None:
            exchange.reset()
        else:
            exchange.forward(upload_limit=upload, download_limit=download)
        return True

    return rule


def changing(method: str, path: str, change: Callable[[bytes], bytes]) -> Rule:
    """Rewrite the bodies of matching responses."""

    def rule(exchange: Exchange) -> bool:
        if not exchange.matches(method, path):
            return False
        exchange.forward(change=change)
        return True

    return rule
