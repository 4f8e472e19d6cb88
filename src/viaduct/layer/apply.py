"""A layer's archive into a directory in overlayfs's upper form."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from viaduct.base.errors import ContentError, StoreError
from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.layer import decompress
from viaduct.layer.channel import ahead
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.place import Placer
from viaduct.layer.rooted import Rooted, clean, join
from viaduct.layer.sink import require_diff_id
from viaduct.layer.tar_reader import TarReader
from viaduct.layer.tree import OPAQUE_MARKER, WHITEOUT_PREFIX
from viaduct.layer.unpack import Unpacker, explained
from viaduct.oci import digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest

#: What AUFS noted for itself, in very old images.
_AUFS: Final = b".wh..wh."

_DISK_BLOCK: Final = 4096


class Applied(Value):
    """What a layer turned out to be: digest and size of the uncompressed archive, how many members
    it has, and about how many bytes of disk they take."""

    diff_id: Digest
    size: int
    files: int
    disk: int


def apply(
    stream: BinaryIO,
    upper: Path,
    *,
    lower: Sequence[Path] | None = None,
    kind: str | None = None,
    expected_diff_id: Digest | None = None,
    squash_owner: bool = False,
    stop: Stop | None = None,
) -> Applied:
    """Unpack the layer that `stream` is into the empty directory `upper`.

    `kind` is the compression (`decompress.sniff`'s words), None to look. `lower` are the layers
    that this one belongs on, topmost first: missing parents get their metadata, symbolic links on
    the way are followed, files that the layer hard-links are copied, and whiteouts of nothing are
    dropped. Without it nothing is known of what is below, and every whiteout is kept. Device nodes
    become placeholders (`viaduct.layer.tree`). `squash_owner` leaves everything to the caller's id.

    Whatever the archive says, nothing outside of `upper` is touched. Raises `ContentError` for an
    archive that is corrupt, hostile, followed by something, or not `expected_diff_id`; `StoreError`
    when the disk fails; `Canceled`. After an error `upper` holds a part: throw it away.
    """
    if os.listdir(upper):
        raise StoreError(f"{upper} is not empty: a layer needs a directory of its own")
    plain = _Observed()
    placer = Placer(squash_owner=squash_owner)
    with explained("unpacking a layer"), Nursery(2, stop=stop, name="unpack") as nursery:
        inflated = ahead(nursery, decompress.blocks(stream, kind))
        hashed = ahead(nursery, inflated, seen=plain.see)
        with contextlib.closing(Rooted(upper, lower, placer, layered=True)) as rooted:
            reader = TarReader(hashed)
            unpacker = Unpacker(rooted, placer)
            files = disk = 0
            for entry in reader:
                nursery.stop.check()
                files += 1
                disk += _occupied(entry)
                path = clean(entry.name)
                if path and not (WHITEOUT_PREFIX in path and _obeyed(rooted, path)):
                    unpacker.put(path, entry, reader.content())
            reader.expect_end()
            rooted.restore_times()
    diff_id = digest.from_hash(plain.hash)
    require_diff_id(diff_id, expected_diff_id)
    return Applied(diff_id, plain.size, files, disk)


def _occupied(entry: Entry) -> int:
    """Bytes of disk that a member takes where blocks have their usual size."""
    if entry.kind is Kind.DIRECTORY:
        return _DISK_BLOCK
    if entry.extents is None:
        return -(-entry.size // _DISK_BLOCK) * _DISK_BLOCK
    return sum(-(-length // _DISK_BLOCK) * _DISK_BLOCK for _, length in entry.extents)


class _Observed:
    """Hash and size of the blocks that went by."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0

    def see(self, block: bytes) -> None:
        self.hash.update(block)
        self.size += len(block)


def _obeyed(rooted: Rooted, path: bytes) -> bool:
    """Do what a marker at `path` means; false when it is an ordinary file."""
    parent, _, name = path.rpartition(b"/")
    if name == OPAQUE_MARKER:
        rooted.make_opaque(rooted.directory(parent))
        return True
    if (b"/" + path).find(b"/" + _AUFS) >= 0:
        return True
    if not name.startswith(WHITEOUT_PREFIX):
        return False
    hidden = name.removeprefix(WHITEOUT_PREFIX)
    if hidden in (b"", b".", b".."):
        raise ContentError(f"the archive has an impossible whiteout: {path!r}")
    rooted.white_out(*rooted.locate(join(parent, hidden)))
    return True
