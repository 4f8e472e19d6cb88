"""The seam between the registry protocol and the wire: one method, `send`.

`Transport` moves one request and hands back one response, whatever its status. It knows nothing
of registries, credentials, redirects or retries; those are decided above. `HTTPTransport` is the
real one: HTTP/1.1 over a pool of connections. (urllib3 does the same, and costs a command 25 ms
more of start-up: a quarter of what a cached rebuild may take.)
"""

from __future__ import annotations

import io
import select
import socket
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import urlsplit

import msgspec

from viaduct import __version__
from viaduct.base.errors import Canceled, ContentError, RegistryError
from viaduct.registry import http1
from viaduct.registry.discreet import Discreet
from viaduct.registry.failures import Broken
from viaduct.registry.proxy import Proxies
from viaduct.registry.sockets import VERIFIED, Contexts, Trust, cut, open_socket
from viaduct.registry.urls import Origin, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from viaduct.base.tasks import Stop

_SENDFILE = 4 << 20
# One sendall has the read timeout as a whole: the piece sets the slowest line that still works.
_PIECE = 1 << 18
_IDLE = 8


def _nothing(_count: int) -> None:
    """Progress that nobody follows."""


class Upload(msgspec.Struct, frozen=True):
    """A request body of exactly `length` bytes, read from `stream` where it stands; `sent` is told
    the size of each piece that went out."""

    stream: BinaryIO
    length: int
    sent: Callable[[int], None] = _nothing


class Request(Discreet, frozen=True):
    """`url` is absolute. Header names are free in case. `stop` interrupts every wait."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | Upload = b""
    trust: Trust = VERIFIED
    stop: Stop | None = None


class Response(Protocol):
    """`headers` have lower-case names, repeated ones joined by a comma. Close it, or read it to
    its end, so that the connection can serve again."""

    status: int
    headers: Mapping[str, str]

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as possible; 0 at the end. Raises `Broken` when the connection
        ends before the body does, `Canceled` when stopped."""

    def read(self, limit: int) -> bytes:
        """What is left of the body. Raises `RegistryError` if it is more than `limit` bytes."""

    def close(self) -> None: ...

    def __enter__(self) -> Response: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Transport(Protocol):
    def send(self, request: Request) -> Response:
        """Exchange one request. Raises `Broken` when no answer came, `Canceled` when stopped;
        any status is an answer. Safe from threads."""

    def close(self) -> None: ...


_Key = tuple[Origin, Trust]

# What an exchange may fail with, to be told in our words. ValueError: a stream was closed under us.
_FOREIGN = (OSError, http1.Malformed, http1.NotSendable, ValueError)


class HTTPTransport:
    """See the module. One instance serves a whole process; idle connections are kept per origin."""

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
    ) -> None:
        self._proxies = Proxies.read(env)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._contexts = Contexts()
        self._lock = threading.Lock()
        self._idle: dict[_Key, list[socket.socket]] = {}
        # Idle connections owe nobody anything: whoever forgets to close is not punished for it. (A
        # __del__ would come too late when an exception's traceback holds us in a cycle.)
        weakref.finalize(self, _hang_up, self._idle).atexit = False

    def send(self, request: Request) -> Response:
        key = (Origin.of(request.url), request.trust)
        if request.stop is not None:
            request.stop.check()
        sock = self._take(key)
        if sock is not None:
            try:
                return self._exchange(key, sock, request)
            except Broken as error:
                # The server may close an idle connection just as we use it. Nothing was answered,
                # so the request goes out once more, if its body still can.
                if error.kind != "reset" or isinstance(request.body, Upload):
                    raise
        return self._exchange(key, self._open(key, request.stop), request)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            _hang_up(self._idle)

    def _take(self, key: _Key) -> socket.socket | None:
        while True:
            with self._lock:
                waiting = self._idle.get(key)
                if not waiting:
                    return None
                sock = waiting.pop()
            if not _readable(sock):
                return sock
            sock.close()  # it has hung up

    def _give(self, key: _Key, sock: socket.socket) -> None:
        with self._lock:
            waiting = self._idle.setdefault(key, [])
            if len(waiting) < _IDLE:
                waiting.append(sock)
                return
        sock.close()

    def _open(self, key: _Key, stop: Stop | None) -> socket.socket:
        origin, trust = key
        return open_socket(
            origin,
            trust=trust,
            contexts=self._contexts,
            proxy=self._proxies.between(origin),
            connect_timeout=self._connect_timeout,
            read_timeout=self._read_timeout,
            stop=stop,
        )

    def _exchange(self, key: _Key, sock: socket.socket, request: Request) -> Response:
        stop = request.stop
        cut_key = stop.on_stop(lambda: cut(sock)) if stop is not None else 0

        def release(*, reusable: bool) -> None:
            if stop is not None:
                stop.forget(cut_key)
            # The reader too: a socket is open for as long as one of its files is.
            stream.close()
            if reusable:
                self._give(key, sock)
            else:
                sock.close()

        stream = sock.makefile("rb")
        try:
            reusable = self._write(key[0], sock, request)
            raw = http1.read(stream, request.method)
        except _FOREIGN as error:
            release(reusable=False)
            raise _translated(error, request) from error
        except BaseException:
            release(reusable=False)
            raise
        return _Answer(raw, request, lambda ok: release(reusable=ok and reusable))

    def _write(self, origin: Origin, sock: socket.socket, request: Request) -> bool:
        """Send the request; false when the server did not take the whole body."""
        target = urlsplit(request.url)._replace(scheme="", netloc="", fragment="").geturl() or "/"
        proxy = self._proxies.between(origin)
        if proxy is not None and origin.scheme == "http":
            target = f"{origin}{target}"
        body = request.body
        fields = [
            ("Host", origin.netloc),
            ("User-Agent", f"viaduct/{__version__}"),
            ("Accept-Encoding", "identity"),
        ]
        if proxy is not None and proxy.authorization and origin.scheme == "http":
            fields.append(("Proxy-Authorization", proxy.authorization))
        fields += request.headers.items()
        if request.method not in ("GET", "HEAD"):
            length = body.length if isinstance(body, Upload) else len(body)
            fields.append(("Content-Length", str(length)))
        sock.sendall(http1.head(request.method, target, fields))
        try:
            if isinstance(body, Upload):
                _stream(sock, body)
            elif body:
                sock.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            # It may have answered before it hung up: 401, 413. The answer says more than EPIPE.
            return False
        return True


def _stream(sock: socket.socket, body: Upload) -> None:
    """Send the body; from a file over a plain socket, the kernel copies it."""
    left = body.length
    # Exactly these types: others have the descriptor of something that they transform.
    plain_file = isinstance(body.stream, (io.BufferedReader, io.FileIO))
    if plain_file and body.stream.seekable() and type(sock) is socket.socket:
        position = body.stream.tell()
        while left:
            count = sock.sendfile(body.stream, position, min(left, _SENDFILE))
            if count == 0:
                break
            position += count
            left -= count
            body.sent(count)
    else:
        while left:
            piece = body.stream.read(min(left, _PIECE))
            if not piece:
                break
            sock.sendall(piece)
            left -= len(piece)
            body.sent(len(piece))
    if left:
        raise ContentError(f"content to send ends {left} bytes before its size")


class _Answer:
    """The response of the real transport; gives its connection back at the end of the body."""

    def __init__(
        self, raw: http1.Answer, request: Request, release: Callable[[bool], None]
    ) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self._raw = raw
        self._request = request
        self._release: Callable[[bool], None] | None = release
        if raw.ended:
            self._done(whole=True)

    def readinto(self, buffer: memoryview) -> int:
        if self._release is None:
            return 0
        try:
            count = self._raw.readinto(buffer)
        except _FOREIGN as error:
            self._done(whole=False)
            raise _translated(error, self._request) from error
        if self._raw.ended:
            # A stop cuts the connection, which ends a body that has no length of its own.
            self._done(whole=not self._stopped())
            if self._stopped():
                raise Canceled
        return count

    def read(self, limit: int) -> bytes:
        data = bytearray()
        with memoryview(bytearray(min(limit + 1, 1 << 16))) as buffer:
            while count := self.readinto(buffer):
                data += buffer[:count]
                if len(data) > limit:
                    self.close()
                    raise RegistryError(
                        f"the answer of {redacted(self._request.url)} is larger than {limit} bytes"
                    )
        return bytes(data)

    def close(self) -> None:
        self._done(whole=False)

    def __enter__(self) -> _Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stopped(self) -> bool:
        return self._request.stop is not None and self._request.stop.is_set()

    def _done(self, *, whole: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(whole and self._raw.reusable)


def _hang_up(idle: dict[_Key, list[socket.socket]]) -> None:
    while idle:
        for sock in idle.popitem()[1]:
            sock.close()


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _translated(error: Exception, request: Request) -> RegistryError | Canceled:
    """The failure of an exchange in our words; foreign exceptions end here."""
    if request.stop is not None and request.stop.is_set():
        return Canceled()
    where = Origin.of(request.url).netloc
    if isinstance(error, http1.NotSendable) and error.field:
        return RegistryError(
            f"what {error.field} is to tell {where} has characters that HTTP lacks"
        )
    if isinstance(error, http1.NotSendable):
        return RegistryError(f"{redacted(request.url)!r} is not a URL that can be asked for")
    if isinstance(error, TimeoutError):
        return Broken(f"{where} stopped answering", kind="timeout")
    if isinstance(error, http1.Malformed):
        return Broken(f"{where} does not answer in HTTP", kind="protocol")
    return Broken(
        f"the connection to {where} broke: {error.strerror or error}"
        if isinstance(error, OSError) and error.strerror
        else f"{where} closed the connection",
        kind="reset",
    )
