"""The content digest of selected files: what a COPY's cache key is made of.

Files count by name, kind, mode, owner, extended attributes, link target and content; times do not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Protocol

from viaduct.base.errors import BuildError
from viaduct.oci import digest as digests
from viaduct.ops.select import Tree, matches, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.graph.ops import Copy
    from viaduct.oci.digest import Digest
    from viaduct.ops.select import Entry, Pattern

_BUFFER = 1 << 20
#: So much of a file's name is shown in an error.
_SHOWN = 200
#: What belongs to the machine, or to the overlay that holds a snapshot.
_FOREIGN = ("user.overlay.", "trusted.", "security.selinux", "system.")


class HashCache(Protocol):
    """Remembers the hashes of files that have not changed since (device, inode, times, size)."""

    def get(self, info: os.stat_result) -> bytes | None: ...

    def put(self, info: os.stat_result, digest: bytes) -> None: ...


def file_hash(path: bytes) -> bytes:
    """SHA-256 of a file's content."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.read(fd, _BUFFER)
        hasher = hashlib.sha256(data)
        while len(data) == _BUFFER:
            data = os.read(fd, _BUFFER)
            hasher.update(data)
    finally:
        os.close(fd)
    return hasher.digest()


def xattrs(path: bytes) -> dict[str, bytes]:
    """Extended attributes that belong to a file's content, as images keep them.

    Those of a person's own directory do not: they are about the machine, and whoever notes
    something about a file there (`user.xdg.origin.url`) does not mean to tell it to others.
    """
    found: dict[str, bytes] = {}
    # A file system may have none, and a value may mean nothing in our user namespace.
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            if not name.startswith(_FOREIGN):
                found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def copy_digest(
    tree: Tree,
    copy: Copy,
    *,
    include: Pattern | None,
    exclude: Pattern | None,
    cache: HashCache | None,
    progress: Callable[[int], None],
) -> Digest:
    """The digest of everything `copy` selects of `tree`.

    `cache` None hashes every file; `progress` is told the bytes of each. Raises what `matches`
    raises, and `BuildError` for what cannot be read.
    """
    hasher = hashlib.sha256()
    try:
        for match in matches(tree, copy, include=include, exclude=exclude):
            _add_match_name(hasher, match.path, match.name)
            for entry in walk(tree, match, include=include, exclude=exclude):
                _add_entry(hasher, tree, entry, cache, progress)
    except OSError as error:
        raise _unreadable(error, tree) from error
    return digests.from_hash(hasher)


def _unreadable(error: OSError, tree: Tree) -> BuildError:
    name = os.fsdecode(os.fsencode(error.filename or b"").removeprefix(tree.root + b"/"))
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return BuildError(
        f"cannot read {shown}: {error.strerror}",
        hint="make it readable, or leave it out with .dockerignore" if tree.local else "",
    )


def tree_digest(
    tree: Tree, path: bytes, *, cache: HashCache | None, progress: Callable[[int], None]
) -> Digest:
    """The digest of one path of `tree` and everything below it (a bind mount's source)."""
    from viaduct.graph.ops import Copy

    whole = Copy(input=0, source=os.fsdecode(path), dest="/", wildcard=False)
    return copy_digest(tree, whole, include=None, exclude=None, cache=cache, progress=progress)


def _add_match_name(hasher: hashlib._Hash, path: bytes, name: bytes) -> None:
    # A directory's contents are copied, so its own name says nothing; a file's name does.
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        hasher.update(b"name\0" + os.path.basename(name) + b"\0")


def _add_entry(
    hasher: hashlib._Hash,
    tree: Tree,
    entry: Entry,
    cache: HashCache | None,
    progress: Callable[[int], None],
) -> None:
    info = entry.info
    kind = stat.S_IFMT(info.st_mode)
    mode = entry.mode
    uid, gid = (0, 0) if tree.local else (info.st_uid, info.st_gid)
    if entry.implied:
        hasher.update(b"implied\0" + entry.rel + b"\0")
    hasher.update(b"%s\0%o\0%o\0%d:%d\0" % (entry.rel, kind, mode, uid, gid))
    if kind == stat.S_IFREG:
        found = cache.get(info) if cache else None
        if found is None:
            found = file_hash(entry.path)
            if cache:
                cache.put(info, found)
        hasher.update(found)
        progress(info.st_size)
    elif kind == stat.S_IFLNK:
        hasher.update(os.readlink(entry.path) + b"\0")
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        hasher.update(b"%d\0" % info.st_rdev)
    if not tree.local and kind != stat.S_IFLNK:
        for name, value in sorted(xattrs(entry.path).items()):
            hasher.update(b"%s\0%d\0%s" % (os.fsencode(name), len(value), value))
