"""An ordinary archive into a tree: what `ADD archive.tar /there` does."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import ContentError
from viaduct.base.tasks import Nursery
from viaduct.layer import decompress
from viaduct.layer.channel import ahead
from viaduct.layer.place import Placer
from viaduct.layer.rooted import Rooted, clean
from viaduct.layer.tar_reader import TarReader
from viaduct.layer.unpack import Unpacker, explained

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.base.tasks import Stop


def is_archive(source: bytes | BinaryIO) -> bool:
    """Whether this is a tar archive with a member at least, plain or compressed with gzip, bzip2,
    xz or zstd, as its content tells; names do not count. An open file is put back to its start.

    The beginning of a file is enough where its first compressed block is whole (1 MiB for bzip2).
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        return next(iter(TarReader(decompress.blocks(stream))), None) is not None
    except ContentError:
        return False
    finally:
        stream.seek(0)


def extract(
    stream: BinaryIO,
    root: Path,
    dest: str | bytes = "/",
    *,
    owner: tuple[int, int] | None = None,
    squash_owner: bool = False,
    stop: Stop | None = None,
) -> int:
    """Unpack the archive that `stream` is into the directory `dest` of the tree at `root`; returns
    the number of members.

    `dest` is made when missing; symbolic links on the way there are followed as if `root` were the
    root of the world. For the archive that is `dest`: a link that a member passes through, be it
    the archive's own or one that was there, leads nowhere else. Names that begin with `.wh.` are
    ordinary. A directory that exists keeps what is in it and gets the archive's metadata; other
    things are replaced. Everything belongs to `owner` (uid, gid) when given. Device nodes become
    placeholders (`viaduct.layer.tree`). What follows the end of the archive is not read.

    Whatever the archive says, nothing outside of `root` is touched. Raises `ContentError` for an
    archive that is corrupt or hostile, `StoreError` when the disk fails, and `Canceled`; what was
    unpacked until then stays.
    """
    placer = Placer(squash_owner=squash_owner, owner=owner)
    below = clean(os.fsencode(dest))
    with explained("unpacking an archive"), Nursery(1, stop=stop, name="extract") as nursery:
        blocks = ahead(nursery, decompress.blocks(stream))
        with contextlib.closing(Rooted(root, None, placer, layered=False)) as rooted:
            top = rooted.directory(below).path
            rooted.restore_times()
        inside = root / os.fsdecode(top)
        with contextlib.closing(Rooted(inside, None, placer, layered=False)) as rooted:
            unpacker = Unpacker(rooted, placer)
            reader = TarReader(blocks)
            files = 0
            for entry in reader:
                nursery.stop.check()
                files += 1
                if path := clean(entry.name):
                    unpacker.put(path, entry, reader.content())
            rooted.restore_times()
        blocks.close()
    return files
