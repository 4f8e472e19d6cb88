"""How layers are compressed: the choice as a value, and the encoders behind it.

Gzip is written as independent blocks (RFC 1952 wants one deflate stream; a sync flush at the end of
each block and the last 32 KiB of the previous one as its dictionary make one), so that blocks can
be compressed on several cores and the bytes do not depend on how many. ISA-L is the fast encoder;
its bytes depend on the processor, so a build that asks for reproducible output or names a level
gets zlib-ng, whose bytes do not. Zstandard uses the library's own worker threads, whose output
depends on the job size alone.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from viaduct.base.errors import UsageError
from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

#: What is compressed at a time. It decides the bytes of every layer: never tune it lightly.
BLOCK: Final = 1 << 20

_LEVELS: Final = {"gzip": range(10), "zstd": range(1, 23), "uncompressed": range(0)}
_ISAL_LEVEL: Final = 2
_ZLIB_NG_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3

# zlib's numbers, which both gzip libraries share.
_DEFLATED: Final = 8
_SYNC_FLUSH: Final = 2
_RAW_WINDOW: Final = -15
_MEMORY_LEVEL: Final = 8
_DEFAULT_STRATEGY: Final = 0
_DICTIONARY: Final = 32 << 10


class Compression(Value):
    """How a layer is compressed.

    `kind` is `gzip`, `zstd` or `uncompressed`; `level` is 0-9 for gzip and 1-22 for zstd, None for
    the default, and without meaning for `uncompressed`. `reproducible` asks for bytes that are the
    same on every processor. Raises `UsageError` for a kind or level that does not exist.
    """

    kind: str = "gzip"
    level: int | None = None
    reproducible: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _LEVELS:
            raise UsageError(
                f"unsupported layer compression {self.kind!r}",
                hint="use gzip, zstd or uncompressed",
            )
        levels = _LEVELS[self.kind]
        if self.level is not None and levels and self.level not in levels:
            raise UsageError(
                f"unsupported {self.kind} compression level {self.level}",
                hint=f"use {levels.start} to {levels.stop - 1}",
            )

    @property
    def key(self) -> str:
        """A stable text: compressions with equal keys give equal bytes for equal input."""
        match self.kind:
            case "gzip" if self.level is not None:
                return f"gzip:{self.level}"
            case "gzip" if self.reproducible:
                return "gzip:r"
            case "zstd":
                return f"zstd:{_ZSTD_LEVEL if self.level is None else self.level}"
        return self.kind


class Encoder(Protocol):
    """Turns blocks of `BLOCK` bytes (the last may be shorter) into a compressed stream.

    The stream is `head`, then `encode` of every block in order, then `finish()`. When `parallel`,
    `encode` may be called from several threads in any order; else from one, in order. `observe`
    sees every block in order, from one thread.
    """

    head: bytes
    parallel: bool

    def encode(self, block: bytes, before: bytes) -> bytes:
        """Compress `block`, which follows the block `before` (empty for the first)."""

    def observe(self, block: bytes) -> None: ...

    def finish(self) -> bytes: ...


def encoder(compression: Compression, *, threads: int) -> Encoder:
    """The encoder for `compression`; `threads` is what a library may use by itself."""
    match compression.kind:
        case "gzip" if compression.reproducible or compression.level is not None:
            from zlib_ng import zlib_ng

            # The same bytes on every processor, at a fifth of ISA-L's speed.
            level = _ZLIB_NG_LEVEL if compression.level is None else compression.level
            return _Gzip(zlib_ng.compressobj, level)
        case "gzip":
            from isal import isal_zlib

            return _Gzip(isal_zlib.compressobj, _ISAL_LEVEL)
        case "zstd":
            level = _ZSTD_LEVEL if compression.level is None else compression.level
            return _Zstd(level, threads)
    return _Plain()


class _Plain:
    head = b""
    parallel = True

    def encode(self, block: bytes, before: bytes) -> bytes:
        return block

    def observe(self, block: bytes) -> None:
        pass

    def finish(self) -> bytes:
        return b""


class _Deflate(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


class _Gzip:
    #: No name, no time, unknown system: nothing that differs between two builds.
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    parallel = True

    def __init__(self, compressobj: Callable[..., _Deflate], level: int) -> None:
        from isal.isal_zlib import crc32

        self._compressobj = compressobj
        self._level = level
        self._crc32 = crc32
        self._crc = 0
        self._size = 0

    def encode(self, block: bytes, before: bytes) -> bytes:
        dictionary = (before[-_DICTIONARY:],) if before else ()
        deflate = self._compressobj(
            self._level, _DEFLATED, _RAW_WINDOW, _MEMORY_LEVEL, _DEFAULT_STRATEGY, *dictionary
        )
        return deflate.compress(block) + deflate.flush(_SYNC_FLUSH)

    def observe(self, block: bytes) -> None:
        self._crc = self._crc32(block, self._crc)
        self._size += len(block)

    def finish(self) -> bytes:
        last_empty_block = b"\x03\x00"
        return last_empty_block + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


class _Zstd:
    head = b""
    parallel = False

    #: Bounds the memory of the library's workers; the default would be 8 MiB and more for each.
    JOB = 2 << 20

    def __init__(self, level: int, threads: int) -> None:
        from viaduct.layer.zstandard import zstd

        parameter = zstd.CompressionParameter
        # Never 0 workers: that is another encoder with other bytes.
        self._stream = zstd.ZstdCompressor(
            options={
                parameter.compression_level: level,
                parameter.checksum_flag: 1,
                parameter.nb_workers: max(1, threads),
                parameter.job_size: self.JOB,
            }
        )

    def encode(self, block: bytes, before: bytes) -> bytes:
        return self._stream.compress(block)

    def observe(self, block: bytes) -> None:
        pass

    def finish(self) -> bytes:
        return self._stream.flush()
