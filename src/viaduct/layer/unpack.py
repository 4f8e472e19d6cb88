"""The members of an archive put into a tree, one by one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from viaduct.base.errors import ContentError
from viaduct.base.fs import explain_oserror
from viaduct.layer import tree
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.rooted import clean, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.layer.place import Placer
    from viaduct.layer.rooted import Directory, Rooted

#: What the file system says to a path or link that no honest archive has.
_IMPOSSIBLE: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)
)


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns an OSError into `ContentError` where the archive is to blame, else `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise ContentError(f"the archive cannot be unpacked: {error}") from error
        raise explain_oserror(error, doing) from error


class Unpacker:
    """Puts members into a tree. A later member replaces an earlier one of the same name, except
    that a directory keeps what is in it.

    Raises `ContentError` for a member that leaves the tree or cannot be made, and OSError.
    """

    def __init__(self, rooted: Rooted, placer: Placer) -> None:
        self._rooted = rooted
        self._placer = placer

    def locate(self, path: bytes) -> tuple[Directory, bytes]:
        """The directory of a member with the clean `path`, and its name there."""
        return self._rooted.locate(path)

    def put(self, path: bytes, entry: Entry, content: Iterable[memoryview]) -> None:
        """Make `entry` at the clean `path`; what it names as hard link is looked up likewise."""
        if entry.kind is Kind.HARDLINK:
            self._link(path, entry)
            return
        directory, name = self.locate(path)
        if entry.kind is Kind.DIRECTORY:
            self._rooted.make_directory(directory, name, entry)
            return
        self._rooted.make(directory, name, entry, content)

    def _link(self, path: bytes, entry: Entry) -> None:
        source, source_name = self.locate(clean(entry.link))
        status = self._rooted.status(source, source_name)
        if status is None:
            below = self._rooted.below(source, source_name)
            if below is None or stat.S_ISDIR(below[1].st_mode):
                raise _no_target(entry)
            self._rooted.copy_up(source, source_name, below)
        elif stat.S_ISDIR(status.st_mode) or tree.is_whiteout(status):
            raise _no_target(entry)
        source_path = join(source.path, source_name)
        # The source's directory may be closed while the other one is looked for.
        source_fd = os.dup(source.fd)
        try:
            directory, name = self.locate(path)
            if join(directory.path, name) == source_path:
                return  # GNU tar writes this for a file that is given twice
            self._rooted.remove(directory, name)
            os.link(
                source_name,
                name,
                src_dir_fd=source_fd,
                dst_dir_fd=directory.fd,
                follow_symlinks=False,
            )
        finally:
            os.close(source_fd)


def _no_target(entry: Entry) -> ContentError:
    return ContentError(f"{entry.name!r} is a hard link to {entry.link!r}, which does not exist")
