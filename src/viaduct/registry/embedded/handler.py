"""HTTP/1.1 of the embedded registry, on the standard library's request parser."""

from __future__ import annotations

import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, BinaryIO, cast

from viaduct.base.errors import Canceled, StoreError
from viaduct.registry.embedded.wire import Body, Disconnected, FilePart, Problem, Reply, error_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.registry.embedded.routes import Routes

#: A client may be silent this long inside a request.
SILENCE_SECONDS = 60.0
#: From one answer to the end of the next request's headers, however slowly they trickle.
HEADER_SECONDS = 60.0
# Of a body that nobody reads, this much is swallowed so that the client gets to see the answer.
_SWALLOW = 4 << 20
_LINGER_SECONDS = 2.0


class Connection(BaseHTTPRequestHandler):
    """One client connection; serves requests until either side has enough.

    `deadline` is when the server may cut it (monotonic seconds), or None while a request is being
    worked on.
    """

    protocol_version = "HTTP/1.1"
    server_version = "viaduct"
    sys_version = ""
    timeout = SILENCE_SECONDS
    # Unbuffered, head and body leave in two packets, and each answer waits 40 ms for an
    # acknowledgement (Nagle's algorithm against delayed ACK).
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def __init__(
        self,
        sock: socket.socket,
        client: tuple[str, int],
        routes: Routes,
        log: Callable[[str], None],
    ) -> None:
        self.routes = routes
        self.log = log
        self.deadline: float | None = time.monotonic() + HEADER_SECONDS
        self._sock = sock
        self._client = client

    def serve(self) -> None:
        """Handle the connection to its end; never raises for what a client does."""
        try:
            super().__init__(self._sock, self._client, None)  # type: ignore[arg-type]  # no server object
        except (OSError, Canceled, Disconnected):
            return

    def handle_one_request(self) -> None:
        self.deadline = time.monotonic() + HEADER_SECONDS
        super().handle_one_request()

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()  # or the client waits for it in vain
        return True

    def _respond(self) -> None:
        self.deadline = None
        body: Body | None = None
        try:
            body = self._body()
            reply = self.routes.answer(self.command, self.path, self.headers, body)
        except Problem as problem:
            reply = Reply(
                problem.status,
                {"Content-Type": "application/json", **problem.headers},
                error_body(problem.code, problem.message),
            )
        except Disconnected:
            self.close_connection = True
            self.log(f"{self.command} {self.path[:300]} disconnected")
            return
        except StoreError as error:
            status = 507 if "no space" in error.what else 500
            reply = Reply(
                status, {"Content-Type": "application/json"}, error_body("UNKNOWN", error.what)
            )
        if body is None or not self._swallowed(body):
            self.close_connection = True
        # Told before it is sent: who has the answer also finds the line.
        self.log(f"{self.command} {self.path[:300]} {reply.status}")
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _respond

    def _body(self) -> Body:
        encoding = ",".join(self.headers.get_all("Transfer-Encoding") or []).strip().lower()
        lengths = self.headers.get_all("Content-Length") or []
        if encoding:
            if encoding != "chunked" or lengths:
                raise Problem(400, "UNSUPPORTED", "ambiguous length of the body")
            return Body(cast("BinaryIO", self.rfile), None)
        if len(set(lengths)) > 1 or any(not (n.isascii() and n.isdigit()) for n in lengths):
            raise Problem(400, "SIZE_INVALID", "malformed Content-Length")
        return Body(cast("BinaryIO", self.rfile), int(lengths[0][:18]) if lengths else 0)

    def _swallowed(self, body: Body) -> bool:
        """Read what is left of the body, if that is little; the next request follows it."""
        if body.finished:
            return True
        if (body.length or 0) > _SWALLOW:
            return False
        left = _SWALLOW
        try:
            with memoryview(bytearray(1 << 16)) as buffer:
                while left > 0 and (count := body.readinto(buffer)):
                    left -= count
        except (OSError, Problem, Disconnected):
            return False
        return body.finished

    def _send(self, reply: Reply) -> None:
        part = reply.body
        file = None
        if isinstance(part, FilePart):
            try:
                file = part.path.open("rb", buffering=0)
            except FileNotFoundError:
                missing = error_body("BLOB_UNKNOWN", "blob unknown to registry")
                reply = Reply(404, {"Content-Type": "application/json"}, missing)
                part = missing
        length = part.count if isinstance(part, FilePart) else len(part)
        self.send_response_only(reply.status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            if self.command != "HEAD" and length:
                if isinstance(part, bytes):
                    self.wfile.write(part)
                elif file is not None:
                    self.wfile.flush()
                    sent = self.connection.sendfile(file, part.offset, part.count)
                    if sent != part.count:
                        self.close_connection = True
            self.wfile.flush()
        finally:
            if file is not None:
                file.close()
        if self.close_connection:
            self._linger()

    def _linger(self) -> None:
        """Let the client read the answer before the connection is reset under its upload."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and self.connection.recv(1 << 16):
                pass
        except OSError:
            return

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # Called by the parser for requests that are not HTTP: answered in the registry's form.
        self.close_connection = True
        body = error_body("UNSUPPORTED", message or "malformed request")
        self.requestline = getattr(self, "requestline", "")
        self.request_version = "HTTP/1.1"
        self.command = getattr(self, "command", None) or "GET"
        self._send(Reply(int(code), {"Content-Type": "application/json"}, body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Requests are told to `log`; the base's own lines would go to stderr."""
