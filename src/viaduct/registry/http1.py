"""HTTP/1.1 as a client speaks it (RFC 9112): a request's head as bytes, an answer out of a stream.

The standard library's client brings TLS and the parser of e-mail with it, which takes as long as
all of a short command. What a server sends is untrusted: whatever is not plainly HTTP is refused,
and nothing that it says has no bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Mapping

# So long may a line be, so many header fields may there be, and so many interim answers.
_LINE = 1 << 16
_FIELDS = 100
_INTERIM = 10

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_TARGET = re.compile(r"[!-~]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_BODILESS = (204, 304)


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


class Answer:
    """An answer: `headers` have lower-case names, repeated ones joined by a comma. With its body
    read, another request may go over the connection if `reusable`."""

    def __init__(
        self, stream: io.BufferedReader, status: int, headers: Mapping[str, str], *, newer: bool
    ) -> None:
        self.status = status
        self.headers = headers
        self._stream = stream
        options = {word.strip().lower() for word in headers.get("connection", "").split(",")}
        self.reusable = "close" not in options and (newer or "keep-alive" in options)
        # What is left of the body, or of the chunk of it that is being read; None: until the end.
        self._left: int | None = 0
        self._chunked = False
        self.ended = False

    def expect_body(self) -> None:
        """Find out how the body ends. Raises `Malformed`."""
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise Malformed(f"transfer encoding {coding!r}")
            self._chunked = True
            # Two lengths: somebody on the way may believe the other one.
            self.reusable = self.reusable and length is None
        elif length is not None:
            said = {word.strip() for word in length.split(",")}
            number = said.pop()
            if said or not (number.isascii() and number.isdigit() and len(number) < 19):
                raise Malformed(f"content length {length!r}")
            self._left = int(number)
            self.ended = self._left == 0
        else:
            self._left = None
            self.reusable = False

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as possible; 0 at the end. Raises `Malformed`, and
        ConnectionResetError when the connection ends before the body does."""
        count = 0
        while count < len(buffer) and not self.ended:
            if self._chunked and self._left == 0 and not self._next_chunk():
                break
            room = len(buffer) - count
            wanted = room if self._left is None else min(room, self._left)
            got = self._stream.readinto(buffer[count : count + wanted])
            count += got
            if self._left is None:
                self.ended = got == 0
                break
            if got == 0:
                if count:
                    break  # what came counts; the next call finds the end again
                raise ConnectionResetError
            self._left -= got
            if self._left == 0:
                if self._chunked:
                    _expect_empty(self._stream)
                else:
                    self.ended = True
        return count

    def _next_chunk(self) -> bool:
        """Read the size of the next chunk; false at the end, with the trailer read and dropped."""
        match = _CHUNK.fullmatch(_line(self._stream))
        if match is None:
            raise Malformed("chunk size")
        self._left = int(match[1], 16)
        if self._left == 0:
            _fields(self._stream)
            self.ended = True
        return not self.ended


def read(stream: io.BufferedReader, method: str) -> Answer:
    """The answer to a request with `method`. Raises `Malformed`, and ConnectionResetError when the
    connection ends first."""
    for _ in range(_INTERIM):
        match = _STATUS.fullmatch(_line(stream))
        if match is None:
            raise Malformed("status line")
        status, headers = int(match[2]), _fields(stream)
        if status < 200 and status != 101:
            continue
        answer = Answer(stream, status, headers, newer=match[1] == b"1")
        if method == "HEAD" or status in _BODILESS or (method == "CONNECT" and status < 300):
            answer.ended = True
        else:
            answer.expect_body()
        return answer
    raise Malformed("no end of interim answers")


def _fields(stream: io.BufferedReader) -> dict[str, str]:
    """Header or trailer fields, up to the empty line."""
    out: dict[str, str] = {}
    for _ in range(_FIELDS + 1):
        line = _line(stream)
        if not line:
            return out
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Malformed("header field")
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        out[key] = f"{out[key]}, {text}" if key in out else text
    raise Malformed("too many header fields")


def _line(stream: io.BufferedReader) -> bytes:
    """A line without its end."""
    line = stream.readline(_LINE + 2)
    if not line.endswith(b"\n"):
        if len(line) > _LINE:
            raise Malformed("line too long")
        raise ConnectionResetError
    return line[:-1].removesuffix(b"\r")


def _expect_empty(stream: io.BufferedReader) -> None:
    if _line(stream):
        raise Malformed("end of a chunk")
