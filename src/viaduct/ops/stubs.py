"""Mount points in a root file system, made for a step and taken away again after it.

A runtime needs something to mount onto; what is made for that must not end up in the layer.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.ops.copy import make_directories
from viaduct.ops.rootpath import lstat, resolve
from viaduct.sandbox.inside import open_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def cleaned(root: bytes, targets: Iterable[str]) -> Iterator[None]:
    """Remove, on leaving, whatever the mounts on `targets` needed and is still empty.

    Only what did not exist before is touched; a parent's times are put back, so that the step's
    layer is the same whether or not the stubs were there.
    """
    stubs: list[bytes] = []
    for target in targets:
        path = resolve(root, os.fsencode(target))
        while len(path) > len(root) and lstat(path) is None:
            stubs.append(path[len(root) :])
            path = os.path.dirname(path)
    try:
        yield
    finally:
        # Longest first: a directory is empty only when what was made in it is gone.
        for inside in sorted(set(stubs), key=len, reverse=True):
            _remove_if_empty(Path(os.fsdecode(root)), inside)


def make(root: bytes, target: str, *, file: bool) -> None:
    """Make a mount point inside of `root`, an empty file or a directory, where nothing is yet.

    Left to a runtime, the modes of its parents, and whether a link to nothing can be mounted on,
    depend on which one it is. Raises `BuildError` where no directory can be made.
    """
    path = resolve(root, os.fsencode(target))
    if lstat(path) is not None:
        return
    inside = path[len(root) :]
    make_directories(root, os.path.dirname(inside) if file else inside)
    if file:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def _remove_if_empty(root: Path, inside: bytes) -> None:
    """Remove the empty file or directory at `inside`, a path below `root` without links.

    The step may have put a link anywhere on the way to it: then this is not what was made, and what
    the link leads to may be the machine's own.
    """
    above, name = os.path.split(inside)
    try:
        parent = open_inside(root, os.fsdecode(above), os.O_RDONLY | os.O_DIRECTORY, links=False)
    except OSError:
        return
    try:
        found, before = os.lstat(name, dir_fd=parent), os.fstat(parent)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(found.st_mode) and found.st_size == 0:
            os.unlink(name, dir_fd=parent)
        else:
            return
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError:
        return
    finally:
        os.close(parent)
