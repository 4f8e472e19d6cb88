"""How a layer lies on disk: a directory in overlayfs's upper form, described as entries.

A whiteout is a character device 0/0, and an opaque directory carries `user.overlay.opaque=y`, as
overlayfs has them when it is mounted with `userxattr`. Where no such device can be made (on an
overlay), a whiteout is a socket with the mode 01000 instead, which overlayfs does not understand. A
device node, which no user namespace may make, is an empty file whose attribute
`user.viaduct.device` says what it stands for.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from viaduct.base.errors import StoreError
from viaduct.layer.entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPAQUE: Final = b"user.overlay.opaque"
DEVICE: Final = b"user.viaduct.device"

#: Prefixes of a layer's names with a meaning (OCI image specification, "Whiteouts").
WHITEOUT_PREFIX: Final = b".wh."
OPAQUE_MARKER: Final = b".wh..wh..opq"

_OPAQUE_NAMES: Final = (OPAQUE, b"trusted.overlay.opaque")
_OVERLAY: Final = (b"user.overlay.", b"trusted.overlay.")
#: The mounts we make turn these off: a file that has one is not all there.
_INCOMPLETE: Final = tuple(
    prefix + name for prefix in _OVERLAY for name in (b"redirect", b"metacopy")
)

_NONE: Final[Mapping[bytes, bytes]] = {}
_CAPABILITY: Final = b"security.capability"
#: What a file on this machine may have of attributes beside `user.*`.
COPIED: Final = frozenset((_CAPABILITY, b"system.posix_acl_access", b"system.posix_acl_default"))
_WHITEOUT_SOCKET: Final = stat.S_IFSOCK | 0o1000
_BLOCK: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def is_whiteout(status: os.stat_result) -> bool:
    if status.st_mode == _WHITEOUT_SOCKET:
        return True
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(directory: int, name: bytes) -> None:
    """Hide `name` in the open directory, where nothing may be yet. Raises OSError."""
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
    except FileExistsError:
        raise
    except OSError:
        os.mknod(name, _WHITEOUT_SOCKET, dir_fd=directory)


def mark_opaque(fd: int) -> bool:
    """Mark an open directory as hiding what is below it; false where the mark cannot be made."""
    try:
        os.setxattr(fd, OPAQUE, b"y")
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP):
            raise
        return False
    return True


def is_opaque(attributes: Mapping[bytes, bytes]) -> bool:
    """Whether a directory with these attributes hides what is below it."""
    return any(attributes.get(name) == b"y" for name in _OPAQUE_NAMES)


def all_xattrs(fd: int) -> dict[bytes, bytes]:
    """Every extended attribute of an open file that this process may see."""
    names = os.listxattr(fd)
    return {os.fsencode(name): os.getxattr(fd, name) for name in names} if names else {}


def portable(attributes: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those attributes that belong into a layer: `user.*` and file capabilities.

    What overlayfs and Viaduct note for themselves stays here, and so do security labels, which are
    the machine's. Raises `StoreError` for a file that overlayfs stored in part only.
    """
    if not attributes:
        return {}
    for name in _INCOMPLETE:
        if name in attributes:
            raise StoreError(
                f"a file in a snapshot is incomplete: it carries {name.decode()}",
                hint="mount overlayfs with redirect_dir=off,metacopy=off",
            )
    kept = {
        name: value
        for name, value in attributes.items()
        if name.startswith(b"user.") and not name.startswith(b"user.overlay.") and name != DEVICE
    }
    if _CAPABILITY in attributes:
        kept[_CAPABILITY] = _unrooted(attributes[_CAPABILITY])
    return kept


def copied(attributes: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those attributes that a copy on this machine has as well: what is in a layer, what we note
    for ourselves, and access lists, but not what overlayfs notes."""
    return {
        name: value
        for name, value in attributes.items()
        if name in COPIED or (name.startswith(b"user.") and not name.startswith(b"user.overlay."))
    }


def _unrooted(capability: bytes) -> bytes:
    """A file capability without the id of the user namespace that set it.

    Revision 3 (linux/capability.h) ends in the id, here, of that namespace's root: not only would
    it mean nothing elsewhere, it would make the layer differ from machine to machine.
    """
    revision = 3
    if len(capability) == 24 and capability[3] == revision:
        return capability[:3] + bytes([revision - 1]) + capability[4:20]
    return capability


def open_at(root: int, path: bytes, *, directory: bool = False) -> int:
    """Open `path` below the directory `root` for reading, never through a last symbolic link."""
    return os.open(path or b".", _OPEN | (os.O_DIRECTORY if directory else 0), dir_fd=root)


def content(fd: int, size: int) -> Iterator[bytes]:
    """The `size` bytes of an open file in pieces. Raises `StoreError` when there are fewer."""
    while size:
        piece = os.read(fd, min(size, _BLOCK))
        if not piece:
            raise StoreError("a file became shorter while it was read")
        size -= len(piece)
        yield piece


def status_at(root: int, path: bytes) -> os.stat_result | None:
    """The status of `path` below the directory `root`, None when there is nothing."""
    try:
        return os.stat(path or b".", dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def describe(
    name: bytes,
    status: os.stat_result,
    *,
    mtime_ns: int,
    attributes: Mapping[bytes, bytes] = _NONE,
    link: bytes = b"",
) -> Entry:
    """The entry for a file on disk, with the time `mtime_ns`.

    `attributes` are `all_xattrs` of a file or directory, `link` a symbolic link's target. Raises
    `StoreError` for a socket, which no archive holds.
    """
    mode = status.st_mode
    kind = _KINDS.get(stat.S_IFMT(mode))
    size = major = minor = 0
    xattrs = portable(attributes)
    match kind:
        case None:
            raise StoreError(f"{os.fsdecode(name)} is a socket, which no archive holds")
        case Kind.FILE:
            size = status.st_size
            if not size and DEVICE in attributes:
                kind, major, minor = _device(attributes[DEVICE])
        case Kind.CHAR | Kind.BLOCK:
            major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return Entry(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime_ns=mtime_ns,
        link=link,
        major=major,
        minor=minor,
        xattrs=xattrs,
    )


def describe_at(
    root: int, path: bytes, status: os.stat_result, *, name: bytes, mtime_ns: int
) -> Entry:
    """`describe` for the file at `path` below the directory `root`, read from there."""
    link = b""
    attributes: Mapping[bytes, bytes] = _NONE
    if stat.S_ISLNK(status.st_mode):
        link = os.readlink(path, dir_fd=root)
    elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        fd = open_at(root, path)
        try:
            attributes = all_xattrs(fd)
        finally:
            os.close(fd)
    return describe(name, status, mtime_ns=mtime_ns, attributes=attributes, link=link)


def device_note(entry: Entry) -> bytes:
    """The value of the `DEVICE` attribute for a device's entry: `c MAJOR MINOR`, or `b …`."""
    letter = b"c" if entry.kind is Kind.CHAR else b"b"
    return b"%b %d %d" % (letter, entry.major, entry.minor)


def _device(note: bytes) -> tuple[Kind, int, int]:
    letter, _, numbers = note.partition(b" ")
    major, _, minor = numbers.partition(b" ")
    if letter not in (b"b", b"c") or not major.isdigit() or not minor.isdigit():
        raise StoreError(f"a device in a snapshot is noted as {note!r}")
    return Kind.CHAR if letter == b"c" else Kind.BLOCK, int(major), int(minor)


_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
