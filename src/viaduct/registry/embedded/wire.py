"""What the registry's verbs see of HTTP: a request, a reply, and the specification's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

_LINE = 1 << 12
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_PIECE = 1 << 16


class Problem(Exception):
    """A request that is answered with an error of the distribution specification."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class Disconnected(Exception):
    """The client went away in the middle of its body."""


class FilePart(msgspec.Struct, frozen=True):
    """`count` bytes of a file from `offset` on, as the body of a reply."""

    path: Path
    offset: int
    count: int


class Reply(msgspec.Struct, frozen=True):
    """An answer; its Content-Length is that of `body`."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes | FilePart = b""


class Body:
    """The body of a request: of known `length`, or chunked when that is None.

    Raises `Disconnected` when it ends early and `Problem` when its framing is wrong.
    """

    def __init__(self, stream: BinaryIO, length: int | None) -> None:
        self.length = length
        self._stream = stream
        self._left = length if length is not None else 0
        self._chunked = length is None
        self._lost = False
        self.finished = length == 0

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as there is anything; 0 at the end."""
        if self.finished:
            return 0
        if self._lost:
            raise Disconnected
        if self._chunked and self._left == 0 and not self._next_chunk():
            return 0
        count = self._stream.readinto(buffer[: min(len(buffer), self._left)])  # type: ignore[attr-defined]  # a buffered reader
        if not count:
            raise Disconnected
        self._left -= count
        if self._left == 0:
            if self._chunked:
                if self._line().strip():
                    raise self._malformed("a chunk is longer than its size")
            else:
                self.finished = True
        return int(count)

    def read(self, limit: int) -> bytes:
        """The whole body. Raises `Problem` 413 if it is larger than `limit` bytes."""
        too_large = Problem(413, "SIZE_INVALID", f"the body is larger than {limit} bytes")
        if self.length is not None and self.length > limit:
            raise too_large
        data = bytearray()
        with memoryview(bytearray(_PIECE)) as buffer:
            while count := self.readinto(buffer):
                data += buffer[:count]
                if len(data) > limit:
                    raise too_large
        return bytes(data)

    def _next_chunk(self) -> bool:
        text = self._line().partition(b";")[0].strip()
        # Exactly RFC 9112: what a proxy before us reads otherwise would be two requests to one.
        if not _CHUNK_SIZE.fullmatch(text):
            raise self._malformed("malformed chunk")
        self._left = int(text, 16)
        if self._left == 0:
            while self._line().strip():
                pass  # trailers
            self.finished = True
        return not self.finished

    def _malformed(self, message: str) -> Problem:
        """Nobody knows where this body ends: nothing more is read of it."""
        self._lost = True
        return Problem(400, "UNSUPPORTED", message)

    def _line(self) -> bytes:
        line = self._stream.readline(_LINE)
        if not line.endswith(b"\n"):
            raise Disconnected
        return line


class Headers(Protocol):
    """Header fields by name, in any case."""

    def get(self, name: str, /) -> str | None: ...


class Incoming(msgspec.Struct, frozen=True):
    """A request below `/v2/<name>/`; `target` is the digest, tag or upload id that it names."""

    method: str
    name: str
    target: str
    query: Mapping[str, list[str]]
    headers: Headers
    body: Body

    def one(self, key: str) -> str:
        """The first value of a query parameter, or empty."""
        return next(iter(self.query.get(key, ())), "")


def error_body(code: str, message: str) -> bytes:
    return msgspec.json.encode({"errors": [{"code": code, "message": message, "detail": None}]})
