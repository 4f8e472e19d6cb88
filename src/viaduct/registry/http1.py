"""HTTP/1.1 as a client speaks it (RFC 9112): a request's head as bytes, an answer out of a stream.

Answers are parsed by llhttp. (The standard library's client brings TLS and the parser of e-mail
with it, which takes as long as all of a short command.) What a server sends is untrusted: whatever
is not plainly HTTP is refused, and nothing that it says has no bound.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Mapping

# So long may a head be, or whatever else stands between the bytes of a body; so many fields may it
# have, and so many interim answers may come before the real one.
_HEAD = 1 << 17
_FIELDS = 100
_INTERIM = 10
# So much of a body in chunks is taken at a time.
_PIECE = 1 << 16
# The one answer below 200 after which no other comes.
_SWITCHING = 101

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~]+")


class Malformed(Exception):
    """What was sent is not HTTP."""


class NotSendable(Exception):
    """What is to be sent cannot be said in HTTP: the field of that name, or the target if empty."""

    def __init__(self, field: str = "") -> None:
        super().__init__(field)
        self.field = field


def head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request, with the empty line that ends it. Raises `NotSendable`."""
    if not _TARGET.fullmatch(target):
        raise NotSendable
    lines = [f"{method} {target} HTTP/1.1".encode("ascii")]
    for name, value in fields:
        try:
            line = name.encode("ascii"), value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise NotSendable(name) from error
        if not _TOKEN.fullmatch(line[0]) or any(byte in line[1] for byte in b"\r\n\0"):
            raise NotSendable(name)
        lines.append(b"%s: %s" % line)
    return b"\r\n".join([*lines, b"", b""])


class _Events:
    """What the parser tells of one answer."""

    def __init__(self) -> None:
        from httptools import HttpResponseParser

        self.parser = HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.begun = self.ended = self.reusable = False
        self.body: deque[bytes] = deque()
        self._fields = 0

    def feed(self, data: bytes) -> None:
        """Hand on what came. Raises `Malformed`."""
        from httptools import HttpParserError, HttpParserUpgrade

        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.ended:
                raise Malformed(str(error)) from error
            # Something follows that nobody asked for.
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > _FIELDS:
            raise Malformed("too many header fields")
        if self.begun:
            return  # the trailer
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.begun = True
        # Of an answer without a body, the parser has forgotten it by the time of its end.
        self.reusable = self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.ended = True


class Answer:
    """An answer: `headers` have lower-case names, repeated ones joined by a comma. With its body
    read, another request may go over the connection if `reusable`."""

    def __init__(
        self, stream: io.BufferedReader, status: int, events: _Events, method: str
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = events.headers
        self._stream = stream
        self._events = events
        self._chunked = "transfer-encoding" in events.headers
        length = events.headers.get("content-length")
        # What is left of the body; None: as far as the chunks, or the connection, go.
        self._left = None if length is None else int(length)
        self.ended = events.ended or method == "HEAD" or (method == "CONNECT" and self.status < 300)

    @property
    def reusable(self) -> bool:
        return self._events.reusable

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or a part of it; 0 at the end. Raises `Malformed`, and
        ConnectionResetError when the connection ends before the body does."""
        if self.ended or not buffer:
            return 0
        if self._chunked:
            return self._from_chunks(buffer)
        room = buffer if self._left is None else buffer[: self._left]
        count = self._stream.readinto(room)
        if self._left is None:
            self.ended = count == 0
        elif count == 0:
            raise ConnectionResetError
        else:
            self._left -= count
            self.ended = self._left == 0
        return count

    def _from_chunks(self, buffer: memoryview) -> int:
        pieces, room = self._events.body, _HEAD
        while not pieces and not self._events.ended:
            data = self._stream.read1(min(_PIECE, room))
            if not data:
                raise Malformed("no end of a chunk") if room == 0 else ConnectionResetError
            room -= len(data)
            self._events.feed(data)
        if not pieces:
            self.ended = True
            return 0
        piece = pieces.popleft()
        count = min(len(buffer), len(piece))
        buffer[:count] = piece[:count]
        if count < len(piece):
            pieces.appendleft(piece[count:])
        self.ended = self._events.ended and not pieces
        return count


def read(stream: io.BufferedReader, method: str) -> Answer:
    """The answer to a request with `method`. Raises `Malformed`, and ConnectionResetError when the
    connection ends first."""
    for _ in range(_INTERIM):
        events = _Events()
        room = _HEAD
        # Line by line: what comes after the head is the body's, and is read straight from there.
        while not events.begun:
            line = stream.readline(room)
            if not line:
                raise Malformed("a head without an end") if room == 0 else ConnectionResetError
            room -= len(line)
            events.feed(line)
        if (version := events.parser.get_http_version()) not in ("1.0", "1.1"):
            raise Malformed(f"HTTP/{version}")
        coding = events.headers.get("transfer-encoding", "chunked")
        if coding.lower() != "chunked":
            raise Malformed(f"transfer encoding {coding!r}")
        status = events.parser.get_status_code()
        if status >= 200 or status == _SWITCHING:
            return Answer(stream, status, events, method)
    raise Malformed("no end of interim answers")
