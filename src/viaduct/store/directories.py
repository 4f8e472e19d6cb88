"""Directory trees: how much they hold, and taking them away.

Trees come from containers and are treated as hostile: they are walked by directory descriptors,
never through a symbolic link, never into another file system, whatever their depth.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.store.liveness import Session

# Directories nested deeper than this are moved up before they are emptied: one descriptor is open
# for each level.
_DEPTH = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STUCK = "stuck."


def disk_usage(path: Path) -> int:
    """Bytes of disk that everything below `path` occupies; a file with several names counts once.

    What cannot be read counts as empty. Raises OSError when `path` itself cannot be read.
    """
    linked: set[tuple[int, int]] = set()
    top = os.open(path, _DIRECTORY)
    total, children = _measure(top, linked)
    stack = [(top, children)]
    try:
        while stack:
            fd, children = stack[-1]
            if not children:
                os.close(stack.pop()[0])
                continue
            name = children.pop()
            with contextlib.suppress(OSError):
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    size, below = _measure(inner, linked)
                except BaseException:
                    os.close(inner)
                    raise
                total += size
                stack.append((inner, below))
    finally:
        for fd, _ in stack:
            os.close(fd)
    return total


def _measure(fd: int, linked: set[tuple[int, int]]) -> tuple[int, list[str]]:
    """Bytes of the entries of a directory, and the names of its directories."""
    total = 0
    children = []
    with os.scandir(fd) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                children.append(entry.name)
            elif info.st_nlink > 1:
                if (info.st_dev, info.st_ino) in linked:
                    continue
                linked.add((info.st_dev, info.st_ino))
            total += info.st_blocks * 512
    return total, children


def delete_tree(path: Path) -> bool:
    """Remove a directory and everything in it, read-only directories too; whether it is gone.

    Best effort: files of ids that this process may not touch stay, everything else goes. Several
    processes may do this to one tree at once.
    """
    parent = os.open(path.parent, _DIRECTORY)
    try:
        return _Deletion(parent).delete(path.name)
    finally:
        os.close(parent)


class _Deletion:
    """The deletion of trees that lie in the directory `top`."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._device = os.fstat(top).st_dev
        self._name = ""

    def delete(self, name: str) -> bool:
        self._name = name
        pending = [name]
        gone = True
        while pending:
            gone = self._delete(pending.pop(), pending) and gone
        return gone

    def _delete(self, name: str, pending: list[str]) -> bool:
        """Empty and remove one directory of `top`; what lies too deep is moved to `pending`."""
        fd = self._open(name, self._top)
        if fd is None:
            return not _exists(name, self._top)
        stack = [(fd, name, self._empty(fd))]
        while stack:
            fd, name, children = stack[-1]
            if not children:
                stack.pop()
                os.close(fd)
                above = stack[-1][0] if stack else self._top
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=above)
                continue
            child = children.pop()
            if len(stack) >= _DEPTH:
                # The name says whose it is, should we be killed before it is empty.
                flat = f"{self._name}.{os.urandom(8).hex()}"
                with contextlib.suppress(OSError):
                    os.chmod(child, 0o700, dir_fd=fd)
                    os.rename(child, flat, src_dir_fd=fd, dst_dir_fd=self._top)
                    pending.append(flat)
                continue
            inner = self._open(child, fd)
            if inner is not None:
                stack.append((inner, child, self._empty(inner)))
        return not _exists(name, self._top)

    def _open(self, name: str, above: int) -> int | None:
        fd = _permitted(lambda: os.open(name, _DIRECTORY, dir_fd=above), name, above)
        # A file system that is still mounted there is somebody's data, not ours.
        if fd is not None and os.fstat(fd).st_dev != self._device:
            os.close(fd)
            return None
        return fd

    @staticmethod
    def _empty(fd: int) -> list[str]:
        """Remove the files of a directory; the names of its directories."""
        children: list[str] = []
        names: list[str] = []
        with contextlib.suppress(OSError), os.scandir(fd) as entries:
            for entry in entries:
                (children if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        if names or children:
            # Without write permission nothing can be taken out of a directory, not even by the
            # person who owns it.
            with contextlib.suppress(OSError):
                os.fchmod(fd, 0o700)
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
        return children


def _permitted(action: Callable[[], int], name: str, above: int) -> int | None:
    """The result of opening a directory, made readable first if need be; None when impossible."""
    try:
        return action()
    except PermissionError:
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=above)
            return action()
    except OSError:
        pass
    return None


def _exists(name: str, above: int) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except OSError:
        return False
    return True


class Trash:
    """A directory where things go to be deleted: a rename makes them invisible at once, and a
    deletion that is interrupted is finished by whoever comes next."""

    def __init__(self, directory: Path, session: Session) -> None:
        self._directory = directory
        self._session = session

    def put(self, path: Path) -> Path | None:
        """Move `path` here; None when there is nothing. Raises OSError."""
        target = self._directory / f"{self._session.token}.{os.urandom(6).hex()}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        return target

    def empty(self, path: Path | None) -> None:
        """Delete what `put` returned. What resists is set aside for `retry`."""
        if path is not None and not delete_tree(path):
            with contextlib.suppress(OSError):
                path.rename(self._directory / f"{_STUCK}{os.urandom(8).hex()}")

    def throw(self, path: Path) -> None:
        """Delete the tree at `path`, if there is one. Raises OSError when it cannot be moved."""
        self.empty(self.put(path))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory that is deleted on leaving. Raises OSError."""
        place = self._directory / f"{self._session.token}.{os.urandom(6).hex()}"
        place.mkdir()
        try:
            yield place
        finally:
            self.empty(place)

    def sweep(self) -> None:
        """Finish the deletions of dead processes. Raises OSError."""
        for name in os.listdir(self._directory):
            token = name.partition(".")[0]
            if not name.startswith(_STUCK) and not self._session.lives(token):
                self.empty(self._directory / name)

    def retry(self) -> None:
        """Try again what could not be deleted; inside of a user namespace more can."""
        for name in os.listdir(self._directory):
            if name.startswith(_STUCK):
                delete_tree(self._directory / name)
