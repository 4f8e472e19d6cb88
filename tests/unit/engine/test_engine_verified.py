"""Blobs are believed at their end only."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace

from viaduct.base.errors import ContentError
from viaduct.engine.verified import verified
from viaduct.oci import digest as digests
from viaduct.oci.models import Descriptor

DATA = b"some bytes" * 1000
RIGHT = Descriptor(media_type="", digest=digests.of(DATA), size=len(DATA))


def read(data: bytes, descriptor: Descriptor = RIGHT) -> bytes:
    out = b""
    with verified(io.BytesIO(data), descriptor, "here") as stream:
        while piece := stream.read(777):
            out += piece
    return out


def test_right_bytes_come_through() -> None:
    assert read(DATA) == DATA
    assert read(b"", Descriptor(media_type="", digest=digests.of(b""), size=0)) == b""
    sha512 = Descriptor(media_type="", digest=digests.of(DATA, "sha512"), size=len(DATA))
    assert read(DATA, sha512) == DATA


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (DATA[:-1] + b"?", "holds other bytes"),
        (DATA[:-1], "ends 1 bytes too early"),
        (DATA + b"\n", "has more bytes"),
        (b"", "ends 10000 bytes too early"),
    ],
)
def test_wrong_bytes_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ContentError, match=words):
        read(data)


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(ContentError, match="more bytes"):
        read(DATA, replace(RIGHT, size=5))


def test_closing_closes_the_file() -> None:
    inner = io.BytesIO(DATA)
    verified(inner, RIGHT, "here").close()
    assert inner.closed
