"""Paths inside of a directory that plays the root, symbolic links included.

Everything here is what a process chrooted to `root` would see: an absolute link target starts again
at `root`, and `..` never climbs above it. Paths are bytes; a file name need not be text.
"""

from __future__ import annotations

import errno
import os
import stat

from viaduct.base.errors import BuildError

# The kernel's own limit on links followed in one look-up.
_MOST_LINKS = 40


def clean(path: bytes) -> bytes:
    """`path` as an absolute path without `.`, `..` and doubled slashes; never above `/`."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def resolve(root: bytes, path: bytes, *, follow_last: bool = True) -> bytes:
    """Where `path` leads inside of `root`, as a path of this process.

    Every symbolic link is followed as if `root` were `/`; the last one only with `follow_last`.
    What does not exist is taken as it stands, so the answer is also where a new file would go.
    Raises `BuildError` for a loop of links, and for a path that no file can have.
    """
    if b"\0" in path:
        raise BuildError(f"the path {path!r} has a zero byte in it, which no file's name can have")
    rest = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    done: list[bytes] = []
    links = 0
    missing = False
    while rest:
        part = rest.pop()
        if part == b"..":
            del done[-1:]
            missing = False
            continue
        done.append(part)
        if missing or (not rest and not follow_last):
            continue
        here = b"/".join((root, *done))
        try:
            target = os.readlink(here)
        except OSError as error:
            # EINVAL: there, and not a link.
            missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise BuildError(f"too many links: {os.fsdecode(path)!r} leads in a circle")
        done.pop()
        if target.startswith(b"/"):
            done.clear()
        rest.extend(p for p in reversed(target.split(b"/")) if p not in (b"", b"."))
    return b"/".join((root, *done)) if done else root


def lstat(path: bytes) -> os.stat_result | None:
    """`os.lstat`, or None where nothing is."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_directory(path: bytes, *, root: bytes) -> bool:
    """Whether `path`, itself inside of `root`, is a directory or a link to one inside of it."""
    found = lstat(path)
    if found is not None and stat.S_ISLNK(found.st_mode):
        found = lstat(resolve(root, path[len(root) :]))
    return found is not None and stat.S_ISDIR(found.st_mode)
