"""One member of an archive made on disk, with all of its metadata.

Everything is made by name in an open directory and never replaces or follows anything, so what the
archive says cannot reach beyond that directory.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from viaduct.base.errors import ContentError
from viaduct.layer import tree
from viaduct.layer.entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    Piece: TypeAlias = bytes | memoryview

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INT64: Final = 1 << 63


class Placer:
    """Makes members. `owner` (uid, gid) overrides that of every member; with `squash_owner` all
    stay with whoever runs this, as a user namespace with a single id wants it.

    Raises `ContentError` for owners and attributes that cannot be set, and OSError.
    """

    def __init__(self, *, squash_owner: bool = False, owner: tuple[int, int] | None = None) -> None:
        self._squash_owner = squash_owner
        self._owner = owner

    def make(self, directory: int, name: bytes, entry: Entry, content: Iterable[Piece]) -> None:
        """Make anything but a directory or a hard link at `name`, where nothing may be yet."""
        match entry.kind:
            case Kind.FILE:
                self._file(directory, name, entry, content)
            case Kind.CHAR | Kind.BLOCK:
                self._device(directory, name, entry)
            case Kind.SYMLINK:
                os.symlink(entry.link, name, dir_fd=directory)
                self._dress_special(directory, name, entry)
            case Kind.FIFO:
                os.mkfifo(name, 0o600, dir_fd=directory)
                self._dress_special(directory, name, entry)
            case _:
                raise ValueError(f"{entry.kind} is not made here")

    def owner(self, entry: Entry) -> tuple[int, int] | None:
        """Whom a member belongs to (uid, gid); None leaves it to whoever makes it."""
        return None if self._squash_owner else self._owner or (entry.uid, entry.gid)

    def dress(self, fd: int, entry: Entry) -> None:
        """Give an open file or directory the owner, attributes and mode of `entry`."""
        # In this order: a new owner clears capabilities and set-id bits.
        if (owner := self.owner(entry)) is not None:
            try:
                os.fchown(fd, *owner)
            except OSError as error:
                raise _unmapped(error, entry, *owner) from error
        if entry.xattrs:
            _set_attributes(fd, entry)
        os.fchmod(fd, entry.mode)

    # --- kinds -----------------------------------------------------------------------------------

    def _file(self, directory: int, name: bytes, entry: Entry, content: Iterable[Piece]) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            if entry.extents is None:
                for piece in content:
                    _write(fd, piece)
            else:
                _write_extents(fd, entry, iter(content))
            self.dress(fd, entry)
            set_time(fd, entry.mtime_ns)
        finally:
            os.close(fd)

    def _device(self, directory: int, name: bytes, entry: Entry) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            os.setxattr(fd, tree.DEVICE, tree.device_note(entry))
            self.dress(fd, entry)
            set_time(fd, entry.mtime_ns)
        finally:
            os.close(fd)

    def _dress_special(self, directory: int, name: bytes, entry: Entry) -> None:
        """Metadata of what cannot be opened: a symbolic link (no mode) or a FIFO."""
        if (owner := self.owner(entry)) is not None:
            try:
                os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                raise _unmapped(error, entry, *owner) from error
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=directory)
        time = representable(entry.mtime_ns)
        os.utime(name, ns=(time, time), dir_fd=directory, follow_symlinks=False)


def set_time(fd: int, mtime_ns: int) -> None:
    """Set both times of an open file or directory."""
    time = representable(mtime_ns)
    os.utime(fd, ns=(time, time))


def representable(ns: int) -> int:
    """A time as the kernel takes it; one beyond reason becomes 1970."""
    return ns if -_INT64 <= ns < _INT64 else 0


def _set_attributes(fd: int, entry: Entry) -> None:
    for name, value in entry.xattrs.items():
        if not _is_welcome(name):
            continue
        try:
            os.setxattr(fd, name, value)
        except (OSError, ValueError) as error:
            # As in containerd: an image may be unpacked where the file system has no such thing.
            if isinstance(error, OSError) and error.errno == errno.ENOTSUP:
                continue
            raise ContentError(
                f"cannot set the attribute {name!r} of {entry.name!r}: {error}"
            ) from error


def _is_welcome(name: bytes) -> bool:
    """Whether an archive may set this attribute: not those that steer overlayfs or us."""
    if name.startswith(b"user."):
        return not name.startswith((b"user.overlay.", b"user.viaduct."))
    return name in tree.COPIED


def _write(fd: int, piece: Piece) -> None:
    written = os.write(fd, piece)
    while written < len(piece):
        piece = piece[written:]
        written = os.write(fd, piece)


def _write_extents(fd: int, entry: Entry, content: Iterator[Piece]) -> None:
    """Put the stored stretches of a sparse file where they belong."""
    piece: Piece = b""
    for offset, length in entry.extents or ():
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            piece = piece or next(content)
            _write(fd, piece[:length])
            taken = min(length, len(piece))
            length -= taken
            piece = piece[taken:]
    os.ftruncate(fd, entry.size)


def _unmapped(error: OSError, entry: Entry, uid: int, gid: int) -> Exception:
    """What to raise for a failed change of owner."""
    if error.errno != errno.EINVAL:
        return error
    return ContentError(
        f"{os.fsdecode(entry.name)} belongs to {uid}:{gid}, which has no place among your ids",
        hint="give yourself a larger range in /etc/subuid and /etc/subgid (65536 ids are usual)",
    )
