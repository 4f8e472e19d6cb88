"""Compressed streams are recognised by content and read in every shape that exists."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer.decompress import BLOCK, blocks, decompressor, sniff
from viaduct.layer.zstandard import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = random.Random(3).randbytes(100_000) + b"viaduct " * 300_000

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}
PACKED = {kind: codec(DATA) for kind, codec in CODECS.items()}


class Trickle(io.RawIOBase):
    """Gives few bytes at a time, as a socket may."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(self._most if size < 0 else min(size, self._most))


@pytest.mark.parametrize("kind", CODECS)
def test_every_compression_is_recognised_and_read(kind: str) -> None:
    assert sniff(PACKED[kind][:8]) == kind
    assert b"".join(blocks(io.BytesIO(PACKED[kind]))) == DATA


def test_plain_data_passes_through() -> None:
    assert sniff(b"") == sniff(DATA[:8]) == "uncompressed"
    assert b"".join(blocks(io.BytesIO(DATA))) == DATA
    assert list(blocks(io.BytesIO(b""))) == []


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("most", [1, 7, 1000])
def test_short_reads_do_no_harm(kind: str, most: int) -> None:
    small = DATA[:3000]
    stream = Trickle(CODECS[kind](small) * 2, most)
    assert b"".join(blocks(stream, kind)) == small * 2  # type: ignore[arg-type] # reads suffice


@pytest.mark.parametrize("kind", CODECS)
def test_members_one_after_the_other_are_one_content(kind: str) -> None:
    assert b"".join(blocks(io.BytesIO(PACKED[kind] * 2))) == DATA * 2


@pytest.mark.parametrize("kind", CODECS)
def test_blocks_are_bounded_however_well_data_compresses(kind: str) -> None:
    bomb = CODECS[kind](bytes(20 * BLOCK))
    assert max(map(len, blocks(io.BytesIO(bomb)))) <= BLOCK


@pytest.mark.parametrize("kind", CODECS)
def test_zeros_behind_the_end_are_padding(kind: str) -> None:
    assert b"".join(blocks(io.BytesIO(PACKED[kind] + bytes(1000)))) == DATA


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("junk", [b"junk and more junk", bytes(9) + b"hidden thing"])
def test_anything_else_behind_the_end_is_refused(kind: str, junk: bytes) -> None:
    with pytest.raises(ContentError, match=kind):
        list(blocks(io.BytesIO(PACKED[kind] + junk)))


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("cut", [1, 5, 50_000])
def test_truncation_is_noticed(kind: str, cut: int) -> None:
    with pytest.raises(ContentError, match="ends too early"):
        list(blocks(io.BytesIO(PACKED[kind][:-cut])))


@pytest.mark.parametrize("kind", CODECS)
def test_corruption_is_noticed(kind: str) -> None:
    packed = bytearray(CODECS[kind](DATA[:100_000]))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(ContentError, match=r"corrupt|too early"):
        list(blocks(io.BytesIO(bytes(packed))))


def test_a_wrong_gzip_checksum_is_noticed() -> None:
    packed = bytearray(PACKED["gzip"])
    packed[-8] ^= 1
    with pytest.raises(ContentError, match="checksum"):
        list(blocks(io.BytesIO(bytes(packed))))


def test_a_gzip_header_may_have_every_optional_field() -> None:
    head = b"\x1f\x8b\x08" + bytes([2 + 4 + 8 + 16]) + bytes(6)
    head += b"\x04\0abcd" + b"name\0" + b"a comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    packed = head + gzip.compress(DATA)[10:]
    assert b"".join(blocks(io.BytesIO(packed))) == DATA
    trickle = Trickle(packed, 100)
    assert b"".join(blocks(trickle)) == DATA  # type: ignore[arg-type] # reads suffice


def test_skippable_zstd_frames_are_skipped() -> None:
    frame = (0x184D2A5F).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"
    assert sniff(frame) == "zstd"
    assert b"".join(blocks(io.BytesIO(frame + PACKED["zstd"] + frame))) == DATA


def test_an_xz_stream_cannot_ask_for_any_amount_of_memory() -> None:
    # Only the header of such a stream is made here: the encoder itself would need the memory.
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 12}]
    packed = bytearray(lzma.compress(b"x", filters=filters))
    at = packed.index(b"\x21\x01\x00")  # the LZMA2 filter, one byte of properties
    packed[at + 2] = 40  # 4 GiB - 1
    header_size = 4 * (packed[12] + 1)
    body = bytes(packed[12 : 12 + header_size - 4])
    packed[12 + header_size - 4 : 12 + header_size] = zlib.crc32(body).to_bytes(4, "little")
    with pytest.raises(ContentError, match=r"[Mm]emory"):
        list(blocks(io.BytesIO(bytes(packed))))


def test_a_decompressor_is_an_ordinary_stream() -> None:
    stream = decompressor(io.BytesIO(PACKED["gzip"]))
    assert stream.read(10) == DATA[:10]
    assert stream.read(5) == DATA[10:15]
    assert stream.read() == DATA[15:]
    assert stream.read(1) == b""


def test_an_unknown_compression_is_named() -> None:
    with pytest.raises(ContentError, match="'brotli'"):
        blocks(io.BytesIO(b""), "brotli")
