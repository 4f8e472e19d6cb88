"""Where the bytes of a new layer go: hashed, compressed and written while they are made."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from viaduct.base.errors import ContentError
from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.layer.channel import Channel
from viaduct.layer.compress import BLOCK, Compression, encoder
from viaduct.oci import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest

#: More compressing threads than this outrun one thread that walks and reads, and cost memory.
_MOST_THREADS: Final = 8


class Blob(Value):
    """A layer's blob: digest and size as written, and of the uncompressed archive in it."""

    digest: Digest
    size: int
    diff_id: Digest
    uncompressed_size: int


def cores() -> int:
    """How many cores this process may use, within reason for one layer."""
    return min(len(os.sched_getaffinity(0)), _MOST_THREADS)


def require_diff_id(found: Digest, expected: Digest | None) -> None:
    """Raises `ContentError` when a layer's content is not what its image says."""
    if expected is not None and found != expected:
        raise ContentError(
            f"the layer's content is {found}, but its image says {expected}",
            hint="the image is damaged or was tampered with: pull it again from a trusted place",
        )


def write_blob(
    out: BinaryIO,
    compression: Compression,
    produce: Callable[[LayerSink], None],
    *,
    threads: int | None = None,
    stop: Stop | None = None,
) -> Blob:
    """Let `produce` write a layer's archive into a sink, and its compressed form into `out`.

    Hashing and compression run in `threads` (default: one for each core) and two more threads
    while `produce` runs in this one; the bytes do not depend on their number. Raises what `produce`
    raises, OSError from `out`, and `Canceled`.
    """
    threads = threads or cores()
    with Nursery(threads + 2, stop=stop, name="layer") as nursery:
        sink = LayerSink(nursery, out, compression, threads)
        produce(sink)
        sink.close()
    return sink.finish()


class LayerSink:
    """Takes the bytes of a layer's archive and cuts them into blocks. Made by `write_blob`."""

    def __init__(
        self, nursery: Nursery, out: BinaryIO, compression: Compression, threads: int
    ) -> None:
        self._out = out
        self._encoder = encoder(compression, threads=threads)
        self._plain_hash = hashlib.sha256()
        self._plain_size = 0
        # An uncompressed blob is the archive: hash it once.
        plain = compression.kind == "uncompressed"
        self._blob_hash = None if plain else hashlib.sha256()
        self._blob_size = 0

        self._parts: list[bytes] = []
        self._held = 0
        self._count = 0
        self._before = b""

        lanes = threads if self._encoder.parallel else 1
        self._observed: Channel[bytes] = Channel(nursery.stop)
        # Block n goes through lane n % lanes, and comes out in that order: no sorting needed.
        self._lanes = [_Lane(nursery.stop) for _ in range(lanes)]
        nursery.start(self._observe)
        for lane in self._lanes:
            nursery.start(self._encode, lane)
        nursery.start(self._write_out)

    def write(self, data: bytes) -> None:
        """Append `data`. Raises `Canceled` when stopped, or when a thread of the sink failed."""
        self._parts.append(data)
        self._held += len(data)
        while self._held >= BLOCK:
            joined = b"".join(self._parts)
            self._parts = [joined[BLOCK:]]
            self._held -= BLOCK
            self._hand_over(joined[:BLOCK])

    def close(self) -> None:
        """No more data."""
        if self._held:
            self._hand_over(b"".join(self._parts))
        self._observed.close()
        for lane in self._lanes:
            lane.blocks.close()

    def finish(self) -> Blob:
        """Write the end of the stream, once every thread is done."""
        self._put_out(self._encoder.finish())
        diff_id = digest.from_hash(self._plain_hash)
        return Blob(
            digest=digest.from_hash(self._blob_hash) if self._blob_hash else diff_id,
            size=self._blob_size,
            diff_id=diff_id,
            uncompressed_size=self._plain_size,
        )

    def _hand_over(self, block: bytes) -> None:
        self._plain_size += len(block)
        self._observed.put(block)
        self._lanes[self._count % len(self._lanes)].blocks.put((block, self._before))
        self._count += 1
        self._before = block

    def _observe(self) -> None:
        for block in self._observed:
            self._plain_hash.update(block)
            self._encoder.observe(block)

    def _encode(self, lane: _Lane) -> None:
        for block, before in lane.blocks:
            lane.encoded.put(self._encoder.encode(block, before))
        lane.encoded.close()

    def _write_out(self) -> None:
        self._put_out(self._encoder.head)
        while True:
            for lane in self._lanes:
                encoded = next(lane.encoded, None)
                if encoded is None:
                    return
                self._put_out(encoded)

    def _put_out(self, data: bytes) -> None:
        if self._blob_hash:
            self._blob_hash.update(data)
        self._blob_size += len(data)
        self._out.write(data)


class _Lane:
    """One compressing thread's way in and out."""

    def __init__(self, stop: Stop) -> None:
        self.blocks: Channel[tuple[bytes, bytes]] = Channel(stop, capacity=2)
        self.encoded: Channel[bytes] = Channel(stop, capacity=2)
