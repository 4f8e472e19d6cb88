"""Blobs that are read while they arrive."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import Canceled
from viaduct.base.tasks import Nursery, Stop
from viaduct.oci import digest as digests
from viaduct.store.content import ContentStore

if TYPE_CHECKING:
    from pathlib import Path

PIECE = b"0123456789abcdef" * (1 << 15)
DATA = PIECE * 4
DIGEST = digests.of(DATA)


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path)


def test_a_blob_is_read_before_it_is_complete(content: ContentStore) -> None:
    with content.follow(DIGEST, Stop()) as stream:
        with content.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(PIECE)
            assert stream.read(len(PIECE)) == PIECE
            ingest.write(PIECE * 3)
            ingest.commit()
        assert stream.read(len(DATA)) == PIECE * 3
        assert stream.read(1) == b""


def test_a_blob_that_is_here_is_read_at_once(content: ContentStore) -> None:
    content.put(DATA)
    with content.follow(DIGEST, Stop()) as stream:
        assert stream.read(len(DATA)) == DATA


def test_the_end_is_not_told_before_the_blob_was_verified(content: ContentStore) -> None:
    ended = threading.Event()
    read: list[bytes] = []

    def follow(stop: Stop) -> None:
        with content.follow(DIGEST, stop) as stream:
            while piece := stream.read(len(DATA)):
                read.append(piece)
        ended.set()

    with Nursery(1) as nursery:
        nursery.start(follow, nursery.stop)
        with content.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(DATA)
            ingest.file.flush()
            assert not ended.wait(0.05)
            ingest.commit()
    assert b"".join(read) == DATA


def test_a_second_attempt_goes_on_where_the_first_broke_off(content: ContentStore) -> None:
    with content.follow(DIGEST, Stop()) as stream:
        with content.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(PIECE * 2)
            assert stream.read(len(PIECE)) == PIECE
        with content.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(DATA)
            ingest.commit()
        rest = b""
        while piece := stream.read(len(DATA)):
            rest += piece
    assert rest == PIECE * 3


def test_a_reader_of_what_never_comes_is_stopped(content: ContentStore) -> None:
    def fail() -> None:
        raise ValueError("no such blob")

    with (
        pytest.raises(ValueError, match="no such blob"),
        Nursery(2) as nursery,
        content.follow(DIGEST, nursery.stop) as stream,
    ):
        nursery.start(fail)
        with pytest.raises(Canceled):
            stream.read(1)
