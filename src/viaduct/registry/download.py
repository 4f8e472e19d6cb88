"""Blobs out of a registry: a stream that heals itself and is believed only at its end."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from typing import TYPE_CHECKING

from viaduct.base.errors import ContentError, RegistryError
from viaduct.oci import digest as digests
from viaduct.registry.failures import Broken
from viaduct.registry.urls import decimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.oci.models import Descriptor
    from viaduct.registry.session import Exchange

_SKIP = 1 << 18
#: However little each attempt brings, a blob is not resumed more often than this.
_MOST_RESUMPTIONS = 100


class BlobReader(io.RawIOBase):
    """The bytes of a blob, as a file to read once from front to end.

    When the connection breaks, reading goes on where it stopped (Range). The last bytes are handed
    out only when size and digest are right: otherwise `ContentError` is raised instead of them.
    `open_at` asks for the blob from an offset on; `pause` waits after the given failure and attempt
    number, or raises.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        open_at: Callable[[int], Exchange],
        pause: Callable[[RegistryError, int], None],
        *,
        verify: bool = True,
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._open_at = open_at
        self._pause = pause
        self._hash = hashlib.new(digests.algorithm(descriptor.digest)) if verify else None
        self._position = 0
        self._failures = 0
        self._resumptions = 0
        self._ended = False
        self._exchange: Exchange | None = open_at(0)
        self._check_length(self._exchange)

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        with memoryview(target).cast("B") as buffer:  # type: ignore[arg-type]  # any buffer
            left = self._descriptor.size - self._position
            if left <= 0:
                self._finish()
                return 0
            count = self._receive(buffer[: min(left, len(buffer))])
            self._position += count
            if self._hash is not None:
                self._hash.update(buffer[:count])
            if self._position == self._descriptor.size:
                self._finish()
            return count

    def close(self) -> None:
        if not self.closed and self._exchange is not None:
            self._exchange.close()
        super().close()

    def _receive(self, buffer: memoryview) -> int:
        while True:
            try:
                if self._exchange is None:
                    self._exchange = self._resumed()
                if count := self._exchange.response.readinto(buffer):
                    self._failures = 0
                    return count
                raise Broken("the body ended before its size", kind="reset")
            except Broken as error:
                self._drop()
                self._failures += 1
                self._resumptions += 1
                if self._resumptions > _MOST_RESUMPTIONS:
                    raise
                self._pause(error, self._failures)

    def _resumed(self) -> Exchange:
        exchange = self._open_at(self._position)
        if exchange.status == 206:
            start = exchange.headers.get("content-range", "").removeprefix("bytes ")
            if start.partition("-")[0].strip() == str(self._position):
                return exchange
            exchange.close()
            raise self._wrong("the registry resumed at another place than asked")
        # A registry without Range sends all of it again.
        left = self._position
        with memoryview(bytearray(_SKIP)) as buffer:
            while left:
                count = exchange.response.readinto(buffer[: min(left, _SKIP)])
                if not count:
                    exchange.close()
                    raise Broken("the body ended before its size", kind="reset")
                left -= count
        return exchange

    def _check_length(self, exchange: Exchange) -> None:
        told = exchange.headers.get("content-length", "")
        if decimal(told) not in (None, self._descriptor.size):
            self._drop()
            raise self._wrong(f"the registry has {told} bytes of it")

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            with exchange.response as response, memoryview(bytearray(1)) as one:
                try:
                    more = response.readinto(one)
                except Broken:
                    more = 0  # all that was promised has come
            if more:
                raise self._wrong("the registry sent more than its size")
        if self._hash is not None and digests.from_hash(self._hash) != self._descriptor.digest:
            raise self._wrong("the registry sent other bytes")

    def _drop(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _wrong(self, why: str) -> ContentError:
        self._ended = True
        descriptor = self._descriptor
        return ContentError(
            f"blob {descriptor.digest} of {descriptor.size} bytes: {why}",
            hint="try again; if it stays so, the registry or a proxy before it is damaged",
        )


def embedded(descriptor: Descriptor) -> bytes | None:
    """The content that a descriptor carries itself, if it is what the digest says."""
    if not descriptor.data:
        return None
    try:
        data = base64.b64decode(descriptor.data, validate=True)
    except binascii.Error:
        return None
    wanted = hashlib.new(digests.algorithm(descriptor.digest), data)
    return data if digests.from_hash(wanted) == descriptor.digest else None
