"""Directories into archives: a layer from what a step changed, a tar file from a whole tree."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from viaduct.base.fs import explain_oserror
from viaduct.layer.compress import BLOCK
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.sink import Blob, require_diff_id, write_blob
from viaduct.layer.stack import Stack
from viaduct.layer.tar_writer import TarWriter
from viaduct.layer.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.layer.compress import Compression
    from viaduct.layer.sink import LayerSink
    from viaduct.oci.digest import Digest

_SECOND: Final = 1_000_000_000


class Packed(Blob):
    """A layer's blob, and how many members its archive has: 0 means that nothing changed."""

    files: int


def pack(
    upper: Path,
    out: BinaryIO,
    compression: Compression,
    *,
    lower: Sequence[Path] | None = None,
    epoch: int | None = None,
    threads: int | None = None,
    stop: Stop | None = None,
) -> Packed:
    """Write the layer that the overlay upper directory `upper` is, compressed, into `out`.

    `lower` are the layers that the change was made on, topmost first. With them, what `upper` holds
    but did not change is left out: files that were copied up and put back, directories that only
    lead to something (a directory's time alone is no change), whiteouts of nothing. Without them,
    everything goes in. The root directory itself is no member.

    Times are cut to seconds, as containerd does, and none is later than `epoch` (seconds). Sockets
    are left out. Attributes that go in are `user.*` and file capabilities. Equal directories give
    equal bytes, with any number of `threads`. Nothing else may change `upper` meanwhile.

    Raises `ContentError` for a name that no layer can hold, `StoreError` when the disk fails, and
    `Canceled`.
    """
    members = 0

    def produce(sink: LayerSink) -> None:
        nonlocal members
        writer = TarWriter(sink.write)
        with contextlib.ExitStack() as stack:
            below = None if lower is None else Stack(lower)
            if below is not None:
                stack.callback(below.close)
            root = stack.enter_context(_opened(upper))
            Walk(writer, root, below, time=_clamped(epoch)).run()
        writer.close()
        members = writer.members

    try:
        blob = write_blob(out, compression, produce, threads=threads, stop=stop)
    except OSError as error:
        raise explain_oserror(error, "packing a layer") from error
    return Packed(blob.digest, blob.size, blob.diff_id, blob.uncompressed_size, members)


def repack(
    archive: BinaryIO,
    out: BinaryIO,
    compression: Compression,
    *,
    expected_diff_id: Digest | None = None,
    threads: int | None = None,
    stop: Stop | None = None,
) -> Blob:
    """Write the layer whose uncompressed archive is `archive` into `out` in another compression.

    Raises `ContentError` when it is not `expected_diff_id` (or from `archive`, when that is a
    `decompressor` of damaged data), `StoreError` when the disk fails, and `Canceled`.
    """

    def produce(sink: LayerSink) -> None:
        while block := archive.read(BLOCK):
            sink.write(block)

    try:
        blob = write_blob(out, compression, produce, threads=threads, stop=stop)
    except OSError as error:
        raise explain_oserror(error, "compressing a layer") from error
    require_diff_id(blob.diff_id, expected_diff_id)
    return blob


def pack_trees(
    trees: Sequence[tuple[str, Path]],
    out: BinaryIO,
    *,
    epoch: int | None = None,
    stop: Stop | None = None,
) -> int:
    """Write complete trees into one uncompressed archive; returns the number of members.

    Each tree comes with the directory it is put under (`linux_amd64`, empty for the top). `epoch`
    (seconds) becomes the time of every member, as BuildKit's tar exporter has it. `out` should be
    buffered. Raises `StoreError` when the disk fails, and `Canceled`.
    """
    writer = TarWriter(out.write)
    try:
        for prefix, root in trees:
            name = os.fsencode(prefix).strip(b"/")
            if name:
                time = (epoch or 0) * _SECOND
                writer.add(Entry(name=name, kind=Kind.DIRECTORY, mode=0o755, mtime_ns=time))
                name += b"/"
            with _opened(root) as fd:
                Walk(writer, fd, prefix=name, layered=False, time=_replaced(epoch)).run(stop)
        writer.close()
    except OSError as error:
        raise explain_oserror(error, "writing a tar archive") from error
    return writer.members


def _clamped(epoch: int | None) -> Callable[[int], int]:
    latest = epoch * _SECOND if epoch is not None else None

    def time(ns: int) -> int:
        ns -= ns % _SECOND
        return ns if latest is None or ns < latest else latest

    return time


def _replaced(epoch: int | None) -> Callable[[int], int]:
    return _clamped(None) if epoch is None else lambda _: epoch * _SECOND


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """A descriptor of `directory`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
