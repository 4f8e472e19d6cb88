"""One member of an archive, as a value: what tar headers are written from and read into."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.Enum):
    """What a member is; the value is its tar type flag (POSIX.1-2017 pax, "ustar")."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    CHAR = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A member's metadata.

    `name` is the path as the archive has it, without the slash that ends a directory's name. `mode`
    are the permission bits (07777). `size` is the length of a file's content and 0 for everything
    else. `link` is the target of a symbolic link, or the path of the member that a hard link names.
    `xattrs` maps names in full (`user.note`, `security.capability`) to values. `extents` is None,
    or, for a sparse file that was read, the (offset, length) of each stretch of data; the archive
    then holds those stretches only.
    """

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = {}
    extents: tuple[tuple[int, int], ...] | None = None
