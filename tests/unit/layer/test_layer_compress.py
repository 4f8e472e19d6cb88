"""Layers are compressed on several cores, into bytes that do not tell how many."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess

import pytest

from viaduct.base.errors import Canceled, UsageError
from viaduct.base.tasks import Stop
from viaduct.layer.compress import BLOCK, Compression
from viaduct.layer.decompress import decompressor
from viaduct.layer.pack import repack
from viaduct.layer.sink import Blob, LayerSink, write_blob
from viaduct.oci import digest

ALL = [
    Compression(),
    Compression(reproducible=True),
    Compression(level=9),
    Compression(level=0),
    Compression("zstd"),
    Compression("zstd", 19),
    Compression("uncompressed"),
]
SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 12345]


def content(size: int) -> bytes:
    """Half noise, half repetition, so that both the encoder and its dictionary matter."""
    source = random.Random(size)
    words = [source.randbytes(source.randrange(2, 40)) for _ in range(300)]
    text = b"".join(source.choice(words) for _ in range(20_000))
    return (text * (size // len(text) + 1))[:size]


def compress(data: bytes, compression: Compression, threads: int = 2) -> tuple[bytes, Blob]:
    out = io.BytesIO()
    blob = write_blob(out, compression, lambda sink: sink.write(data), threads=threads)
    return out.getvalue(), blob


@pytest.mark.parametrize("compression", ALL, ids=lambda c: c.key)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_compressed_comes_back(compression: Compression, size: int) -> None:
    data = content(size)
    packed, blob = compress(data, compression)
    assert decompressor(io.BytesIO(packed), compression.kind).read() == data
    assert blob == Blob(digest.of(packed), len(packed), digest.of(data), size)


@pytest.mark.parametrize("compression", ALL, ids=lambda c: c.key)
def test_the_number_of_threads_does_not_change_a_byte(compression: Compression) -> None:
    data = content(7 * BLOCK + 99)
    one, *others = (compress(data, compression, threads)[0] for threads in (1, 2, 5))
    assert others == [one, one]


@pytest.mark.parametrize("compression", ALL, ids=lambda c: c.key)
def test_the_size_of_the_writes_does_not_change_a_byte(compression: Compression) -> None:
    data = content(2 * BLOCK + 7)
    out = io.BytesIO()

    def piecemeal(sink: LayerSink) -> None:
        for at in range(0, len(data), 99_999):
            sink.write(data[at : at + 99_999])

    write_blob(out, compression, piecemeal, threads=2)
    assert out.getvalue() == compress(data, compression)[0]


@pytest.mark.parametrize("compression", ALL[:4], ids=lambda c: c.key)
def test_gzip_is_one_ordinary_member(compression: Compression) -> None:
    data = content(3 * BLOCK + 1)
    packed, _ = compress(data, compression)
    assert gzip.decompress(packed) == data
    assert packed[4:8] == bytes(4), "no time"
    program = shutil.which("gzip")
    assert program is not None
    assert subprocess.run([program, "-dc"], input=packed, capture_output=True).stdout == data


def test_blocks_share_a_dictionary() -> None:
    once = random.Random(1).randbytes(20_000)
    padding = random.Random(2).randbytes(BLOCK - len(once))
    twice = padding + once + once
    packed, _ = compress(twice, Compression(reproducible=True))
    assert len(packed) < len(twice) - len(once) // 2


def test_keys_tell_encodings_apart() -> None:
    keys = {c.key for c in ALL}
    assert keys == {"gzip", "gzip:r", "gzip:9", "gzip:0", "zstd:3", "zstd:19", "uncompressed"}
    assert Compression("zstd", 3).key == Compression("zstd").key
    assert Compression("gzip", 6, reproducible=True).key == Compression("gzip", 6).key


@pytest.mark.parametrize(
    ("kind", "level", "says"),
    [
        ("estargz", None, "unsupported layer compression 'estargz'"),
        ("gzip", 10, "unsupported gzip compression level 10"),
        ("zstd", 23, "unsupported zstd compression level 23"),
        ("zstd", -1, "unsupported zstd compression level -1"),
    ],
)
def test_what_does_not_exist_is_refused(kind: str, level: int | None, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Compression(kind, level)
    assert caught.value.hint


def test_a_failing_disk_is_what_the_caller_hears_of() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_blob(Full(), Compression(), lambda sink: sink.write(content(40 * BLOCK)))


def test_a_stop_ends_compression() -> None:
    stop = Stop()

    def produce(sink: LayerSink) -> None:
        stop.set()
        while True:
            sink.write(bytes(BLOCK))

    with pytest.raises(Canceled):
        write_blob(io.BytesIO(), Compression(), produce, stop=stop)


def test_recompressing_keeps_the_content() -> None:
    data = content(3 * BLOCK)
    packed, blob = compress(data, Compression())
    out = io.BytesIO()
    again = repack(
        decompressor(io.BytesIO(packed)),
        out,
        Compression("zstd"),
        expected_diff_id=blob.diff_id,
    )
    assert (again.diff_id, again.uncompressed_size) == (blob.diff_id, blob.uncompressed_size)
    assert again.digest == digest.of(out.getvalue())
    assert decompressor(io.BytesIO(out.getvalue())).read() == data
