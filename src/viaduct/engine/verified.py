"""Blobs that are read where nobody has verified them."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO, cast

from viaduct.base.errors import ContentError
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from viaduct.oci.models import Descriptor


def verified(stream: BinaryIO, descriptor: Descriptor, where: str) -> BinaryIO:
    """`stream`, which is what `where` holds under the digest of `descriptor`, to be read once.

    Its last bytes are handed out only when size and digest are right: `ContentError` is raised
    instead of them. Closing it closes `stream`.
    """
    return cast("BinaryIO", _Verified(stream, descriptor, where))


class _Verified(io.RawIOBase):
    def __init__(self, stream: BinaryIO, descriptor: Descriptor, where: str) -> None:
        super().__init__()
        self._stream = stream
        self._descriptor = descriptor
        self._where = where
        self._hash = hashlib.new(digests.algorithm(descriptor.digest))
        self._left = descriptor.size
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        with memoryview(target).cast("B") as buffer:  # type: ignore[arg-type]  # any buffer
            room = buffer[: min(self._left, len(buffer))]
            count = self._stream.readinto(room) if room else 0  # type: ignore[attr-defined]  # files
            self._left -= count
            self._hash.update(room[:count])
            if not count or not self._left:
                self._finish()
            return int(count)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._left:
            raise self._wrong(f"ends {self._left} bytes too early")
        if self._stream.read(1):
            raise self._wrong("has more bytes than that")
        if digests.from_hash(self._hash) != self._descriptor.digest:
            raise self._wrong("holds other bytes")

    def _wrong(self, why: str) -> ContentError:
        descriptor = self._descriptor
        return ContentError(
            f"blob {descriptor.digest} of {descriptor.size} bytes in {self._where} {why}",
            hint="write or fetch the image again",
        )
