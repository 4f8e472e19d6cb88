"""Reaching into a root file system that somebody else filled.

A path in an image may lead anywhere through symbolic links; here it is resolved as the programs of
that image would resolve it, with the image's own root as `/`. The kernel does it (openat2), so no
link that changes meanwhile leads outside either.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError
from viaduct.sandbox import syscalls

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.sandbox.users import User

_MAX_LINKS = 255
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


def open_inside(root: Path, path: str, flags: int, *, links: bool = True) -> int:
    """A descriptor for `path` as seen from inside `root`; raises OSError, which without `links` is
    what any symbolic link on the way leads to.

    A lost race against a concurrent rename is tried again.
    """
    _check(path)
    resolve = _RESOLVE if links else _RESOLVE | syscalls.RESOLVE_NO_SYMLINKS
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(64):
            try:
                return syscalls.openat2(base, path or ".", flags, resolve=resolve)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
    finally:
        os.close(base)


def read_inside(root: Path, path: str, *, limit: int) -> bytes:
    """The content of the regular file `path` inside `root`, of at most `limit` bytes.

    Raises OSError when there is no such file, `SandboxError` when it is too big.
    """
    # Opened without blocking: the other end of a hostile named pipe would never come.
    fd = open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise SandboxError(f"{path} exceeds {limit} bytes")
    return data


def real_path(root: Path, path: str) -> Path:
    """Where `path` inside `root` really is, seen from here, with every link on the way resolved.

    What does not exist (yet) is taken as spelled. The tree must not be changing meanwhile. Raises
    OSError (ELOOP) for links that lead in circles, and for a path with a zero byte (EINVAL).
    """
    _check(path)
    todo = [part for part in path.split("/") if part][::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == ".":
            continue
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = os.readlink(root.joinpath(*done, part))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done = []
        todo += [piece for piece in target.split("/") if piece][::-1]
    return root.joinpath(*done)


def _check(path: str) -> None:
    """Images name what no system call takes."""
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def make_directory(root: Path, path: str, user: User, *, squashed: bool) -> None:
    """Have `path` inside `root` be a directory; what is missing of it will belong to `user`.

    Raises `SandboxError` when something else is in the way.
    """
    missing: list[Path] = []
    try:
        place = real_path(root, path)
        while place != root and not place.is_dir():
            missing.append(place)
            place = place.parent
        for directory in reversed(missing):
            directory.mkdir(mode=0o755)
            # Not what the caller's umask makes of it.
            directory.chmod(0o755)
            if not squashed:
                os.chown(directory, user.uid, user.gid)
    except OSError as error:
        raise SandboxError(
            f"cannot make the working directory {path}: {error.strerror}",
            hint="WORKDIR and --workdir need a path with nothing but directories in it",
        ) from error
