"""A layer on disk laid over a complete tree, as overlayfs would show the two."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from viaduct.layer import copies, tree
from viaduct.layer.rooted import join

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.base.tasks import Stop

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def replay(upper: Path, root: Path, *, stop: Stop | None = None) -> None:
    """Change the complete tree at `root` into what it is with `upper`, a directory in overlayfs's
    upper form, on top of it. Nothing may change either meanwhile.

    Raises OSError and `Canceled`; then `root` is neither.
    """
    above, top = os.open(upper, _DIRECTORY), -1
    try:
        top = os.open(root, _DIRECTORY)
        _Replay(above, top).run(stop)
    finally:
        os.close(above)
        if top >= 0:
            os.close(top)


class _Replay:
    """Copies from the layer at the descriptor `upper` to the tree at `root`."""

    def __init__(self, upper: int, root: int) -> None:
        self._upper = upper
        self._root = root
        #: First path of every file with several names.
        self._linked: dict[tuple[int, int], bytes] = {}
        self._directories: list[tuple[bytes, os.stat_result]] = []

    def run(self, stop: Stop | None) -> None:
        self._directory(b"", os.fstat(self._upper))
        # Grows while it is walked: a directory is listed after it was made.
        for path, _ in self._directories:
            for name, status in self._listed(path):
                if stop is not None:
                    stop.check()
                self._lay(join(path, name), status)
        # When nothing will be made in them any more.
        for path, status in self._directories:
            fd = tree.open_at(self._root, path, directory=True)
            copies.copy_times(fd, status)
            os.close(fd)

    def _listed(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        fd = tree.open_at(self._upper, path, directory=True)
        try:
            with os.scandir(fd) as entries:
                return [
                    (os.fsencode(entry.name), entry.stat(follow_symlinks=False))
                    for entry in entries
                ]
        finally:
            os.close(fd)

    def _lay(self, path: bytes, status: os.stat_result) -> None:
        if tree.is_whiteout(status):
            _remove(self._root, path)
        elif stat.S_ISDIR(status.st_mode):
            self._directory(path, status)
        else:
            try:
                self._file(path, status)
            except FileExistsError:
                _remove(self._root, path)
                self._file(path, status)

    def _directory(self, path: bytes, status: os.stat_result) -> None:
        there = tree.status_at(self._root, path)
        merges = there is not None and stat.S_ISDIR(there.st_mode) and not self._is_opaque(path)
        if not merges:
            _remove(self._root, path)
            os.mkdir(path, 0o700, dir_fd=self._root)
        copies.copy_directory_looks(self._upper, self._root, path, status)
        self._directories.append((path, status))

    def _is_opaque(self, path: bytes) -> bool:
        if not path:
            return False  # overlayfs always merges the root
        fd = tree.open_at(self._upper, path, directory=True)
        try:
            return tree.is_opaque(tree.all_xattrs(fd))
        finally:
            os.close(fd)

    def _file(self, path: bytes, status: os.stat_result) -> None:
        inode = (status.st_dev, status.st_ino)
        first = self._linked.get(inode, path) if status.st_nlink > 1 else path
        if first != path:
            os.link(
                first, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False
            )
            return
        copies.copy(self._upper, path, status, self._root)
        if status.st_nlink > 1:
            self._linked[inode] = path


def _remove(root: int, path: bytes) -> None:
    """Remove what is at `path` below the directory `root`, if there is anything, with all that is
    in it. Without recursion: a step makes directories as deep as it likes."""
    status = tree.status_at(root, path)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path, dir_fd=root)
        return
    pending = [path]
    while pending:
        deeper = _emptied(root, pending[-1])
        if deeper:
            pending += deeper
        else:
            os.rmdir(pending.pop(), dir_fd=root)


def _emptied(root: int, path: bytes) -> list[bytes]:
    """Remove the files of a directory; the paths of the directories in it."""
    fd = tree.open_at(root, path, directory=True)
    try:
        with os.scandir(fd) as listing:
            entries = [(os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in listing]
        for name, is_directory in entries:
            if not is_directory:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    return [path + b"/" + name for name, is_directory in entries if is_directory]
