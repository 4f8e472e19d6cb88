"""Compressed streams, recognised by their first bytes and read with bounded memory."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from viaduct.base.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

#: Size of the blocks that `blocks` yields, at most.
BLOCK: Final = 1 << 20

_READ: Final = 256 << 10

#: An xz stream may ask for a dictionary of 4 GiB; `xz -9` asks for 64 MiB.
_XZ_MEMORY: Final = 256 << 20

_SKIPPABLE_ZSTD: Final = 0x184D2A50


def sniff(head: bytes) -> str:
    """The compression of a stream that begins with `head` (eight bytes are enough).

    `gzip`, `zstd`, `bzip2`, `xz` or `uncompressed`.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if len(head) >= 8 and int.from_bytes(head[:4], "little") & 0xFFFFFFF0 == _SKIPPABLE_ZSTD:
        return "zstd"
    if head.startswith(b"BZh"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "uncompressed"


def blocks(stream: BinaryIO, kind: str | None = None) -> Iterator[bytes]:
    """The uncompressed content of `stream` in blocks of at most 1 MiB.

    `kind` is one of `sniff`'s answers; None means to sniff. Several compressed members or frames
    one after the other are one content, and zeros behind the last are padding. Raises
    `ContentError` for data that is corrupt, truncated or followed by something else.
    """
    source = _Source(stream)
    match sniff(source.peek(8)) if kind is None else kind:
        case "uncompressed":
            return source.chunks()
        case "gzip":
            return _gzip(source)
        case "zstd":
            return _members(source, "zstd", _zstd())
        case "bzip2":
            return _members(source, "bzip2", _bzip2())
        case "xz":
            return _members(source, "xz", _xz())
        case unknown:
            raise ContentError(f"unsupported compression {unknown!r}")


def decompressor(stream: BinaryIO, kind: str | None = None) -> BinaryIO:
    """`blocks` as a readable binary stream; closing it leaves `stream` open."""
    return io.BufferedReader(_Readable(blocks(stream, kind)), BLOCK)


# --- the libraries -------------------------------------------------------------------------------


class _Member(Protocol):
    """What bz2, lzma, zstd and ISA-L agree upon."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


#: Opens one member or frame, and what that raises for data it cannot read.
_Codec: TypeAlias = "tuple[Callable[[], _Member], type[Exception]]"


def _deflate() -> _Codec:
    from isal import igzip_lib

    def opened() -> _Member:
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)

    return opened, igzip_lib.IsalError  # type: ignore[return-value] # a class; the stub says not


def _zstd() -> _Codec:
    from viaduct.layer.zstandard import zstd

    return zstd.ZstdDecompressor, zstd.ZstdError


def _bzip2() -> _Codec:
    import bz2

    return bz2.BZ2Decompressor, OSError


def _xz() -> _Codec:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), lzma.LZMAError


def _member(source: _Source, kind: str, codec: _Codec) -> Iterator[bytes]:
    """The content of one member; leaves `source` right behind it."""
    opened, error_type = codec
    member = opened()
    while not member.eof:
        data = b""
        if member.needs_input:
            data = source.chunk()
            if not data:
                raise _truncated(kind)
        try:
            block = member.decompress(data, BLOCK)
        except error_type as error:
            raise _corrupt(kind, str(error)) from error
        if block:
            yield block
    source.push_back(member.unused_data)


def _members(source: _Source, kind: str, codec: _Codec) -> Iterator[bytes]:
    while True:
        yield from _member(source, kind, codec)
        if source.only_zeros_left():
            return


# --- gzip (RFC 1952) -----------------------------------------------------------------------------

# The framing is read here, not by ISA-L: its parser fails on a header with optional fields that is
# cut by the end of a read.

_FLAG_CRC, _FLAG_EXTRA, _FLAG_NAME, _FLAG_COMMENT = 2, 4, 8, 16


def _gzip(source: _Source) -> Iterator[bytes]:
    from isal.isal_zlib import crc32

    codec = _deflate()
    while True:
        _skip_gzip_header(source)
        crc = size = 0
        for block in _member(source, "gzip", codec):
            crc = crc32(block, crc)
            size += len(block)
            yield block
        if struct.unpack("<II", source.take(8, "gzip")) != (crc, size & 0xFFFFFFFF):
            raise _corrupt("gzip", "checksum mismatch")
        if source.only_zeros_left():
            return


def _skip_gzip_header(source: _Source) -> None:
    head = source.take(10, "gzip")
    if head[:3] != b"\x1f\x8b\x08":
        raise _corrupt("gzip", "something else follows the compressed data")
    flags = head[3]
    if flags & _FLAG_EXTRA:
        source.take(int.from_bytes(source.take(2, "gzip"), "little"), "gzip")
    for field in (_FLAG_NAME, _FLAG_COMMENT):
        if flags & field:
            source.skip_past(b"\0", "gzip")
    if flags & _FLAG_CRC:
        source.take(2, "gzip")


def _corrupt(kind: str, why: str) -> ContentError:
    return ContentError(f"the {kind} data is corrupt: {why}")


def _truncated(kind: str) -> ContentError:
    return ContentError(f"the {kind} data ends too early")


# --- byte sources --------------------------------------------------------------------------------


class _Source:
    """A stream that can be looked at without reading, and given back to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = b""

    def chunk(self) -> bytes:
        """What there is, some 256 KiB at most; empty at the end."""
        if self._held:
            held, self._held = self._held, b""
            return held
        return self._stream.read(_READ)

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.chunk():
            yield chunk

    def push_back(self, data: bytes) -> None:
        self._held = data + self._held

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        while len(self._held) < size and (more := self._stream.read(_READ)):
            self._held += more
        return self._held[:size]

    def take(self, size: int, kind: str) -> bytes:
        """Exactly the next `size` bytes."""
        taken = self.peek(size)
        if len(taken) < size:
            raise _truncated(kind)
        self._held = self._held[size:]
        return taken

    def skip_past(self, mark: bytes, kind: str) -> None:
        """Read up to and including the byte `mark`."""
        while chunk := self.chunk():
            _, found, self._held = chunk.partition(mark)
            if found:
                return
        raise _truncated(kind)

    def only_zeros_left(self) -> bool:
        """Whether nothing but padding follows; reads it."""
        while head := self.peek(1):
            if head != b"\0":
                return False
            rest = self._held.lstrip(b"\0")
            if rest:
                self._held = rest
                return False
            self._held = b""
        return True


class _Readable(io.RawIOBase):
    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override] # narrower than the typeshed's buffer union
        while not self._rest:
            block = next(self._content, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
