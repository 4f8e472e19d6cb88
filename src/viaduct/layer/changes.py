"""What a step changed in a complete root file system, found by looking before and after.

Whatever is done to a file, the kernel gives it a new time of change (ctime), which nobody can set.
A `Scan` notes it; two scans tell what to write down as a layer on disk (`viaduct.layer.tree`).
"""

from __future__ import annotations

import os
import stat
import struct
import time
from typing import TYPE_CHECKING, Final

from viaduct.base.values import Value
from viaduct.layer import copies, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from viaduct.base.tasks import Stop

#: Mode, owner, inode, size, time of change, number of names.
_MARK: Final = struct.Struct("=IIIQQqQ")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Seconds: the coarsest clock of a file system that is waited for, and how often it is looked at.
_PATIENCE: Final = 2.0
_TICK: Final = 0.001


class Scan(Value):
    """A tree as it was: a mark for each path (the root's is empty), and the newest time of change
    among them, in ns."""

    marks: Mapping[bytes, bytes]
    newest: int


def scan(root: Path) -> Scan:
    """Look at everything below the directory `root`, except for what looks like a whiteout.

    Raises OSError.
    """
    top = os.open(root, _DIRECTORY)
    try:
        status = os.fstat(top)
        marks, newest = {b"": _mark(status)}, status.st_ctime_ns
        for path, status in _below(top):
            marks[path] = _mark(status)
            newest = max(newest, status.st_ctime_ns)
    finally:
        os.close(top)
    return Scan(marks, newest)


def settle(seen: Scan, probe: Path) -> None:
    """Wait until whatever is changed from now on gets a later time than `seen` has.

    The clock for these times goes in steps of some milliseconds, and on a network it is another
    machine's: the file `probe`, on the same file system, tells how late it is there. Gives up after
    two seconds, when times are from the future. Raises OSError.
    """
    fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE
        os.utime(fd)
        while os.fstat(fd).st_ctime_ns <= seen.newest and time.monotonic() < deadline:
            time.sleep(_TICK)
            os.utime(fd)
    finally:
        os.close(fd)


def collect(root: Path, before: Scan, upper: Path, *, stop: Stop | None = None) -> Scan:
    """Write what differs in the tree at `root` from what it was `before` into the empty directory
    `upper`, in overlayfs's upper form; returns how the tree is now.

    As from overlayfs, what was changed and put back is there as well, and so are the directories
    that lead to a change. No directory is opaque: one that was made anew has whiteouts for what is
    gone. Files that have several names keep them. Nothing may change the tree meanwhile.

    Raises OSError and `Canceled`; then `upper` holds a part.
    """
    after = scan(root)
    changed = {path for path, mark in after.marks.items() if before.marks.get(path) != mark}
    gone = [
        path
        for path in before.marks.keys() - after.marks.keys()
        if _is_directory(after.marks.get(_parent(path)))
    ]
    top, into = os.open(root, _DIRECTORY), -1
    try:
        into = os.open(upper, _DIRECTORY)
        _Collector(top, into).run(sorted(_leading(changed, gone)), gone, stop)
    finally:
        os.close(top)
        if into >= 0:
            os.close(into)
    return after


class _Collector:
    """Copies from the tree at the descriptor `top` to the one at `into`."""

    def __init__(self, top: int, into: int) -> None:
        self._top = top
        self._into = into
        #: First path of every file with several names.
        self._linked: dict[tuple[int, int], bytes] = {}
        self._directories: list[tuple[bytes, os.stat_result]] = []

    def run(self, paths: Iterable[bytes], gone: Iterable[bytes], stop: Stop | None) -> None:
        """`paths` come after their parents."""
        for path in paths:
            if stop is not None:
                stop.check()
            status = os.stat(path or b".", dir_fd=self._top, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._directory(path, status)
            else:
                self._other(path, status)
        for path in gone:
            tree.make_whiteout(self._into, path)
        # When nothing will be made in them any more.
        for path, status in self._directories:
            fd = tree.open_at(self._into, path, directory=True)
            copies.copy_times(fd, status)
            os.close(fd)

    def _directory(self, path: bytes, status: os.stat_result) -> None:
        if path:
            os.mkdir(path, 0o700, dir_fd=self._into)
        copies.copy_directory_looks(self._top, self._into, path, status)
        self._directories.append((path, status))

    def _other(self, path: bytes, status: os.stat_result) -> None:
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and (first := self._linked.setdefault(inode, path)) != path:
            os.link(
                first, path, src_dir_fd=self._into, dst_dir_fd=self._into, follow_symlinks=False
            )
            return
        copies.copy(self._top, path, status, self._into)


def _below(top: int) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every path below the directory `top` with its status, parents first."""
    pending = [b""]
    while pending:
        directory = pending.pop()
        prefix = directory + b"/" if directory else b""
        fd = tree.open_at(top, directory, directory=True)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if tree.is_whiteout(status):
                        continue
                    path = prefix + os.fsencode(entry.name)
                    yield path, status
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(path)
        finally:
            os.close(fd)


def _mark(status: os.stat_result) -> bytes:
    return _MARK.pack(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_ino,
        status.st_size,
        status.st_ctime_ns,
        status.st_nlink,
    )


def _is_directory(mark: bytes | None) -> bool:
    return mark is not None and stat.S_ISDIR(_MARK.unpack(mark)[0])


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _leading(changed: Iterable[bytes], gone: Iterable[bytes]) -> set[bytes]:
    """What was changed, and all directories on the way there and to what is gone."""
    found = {b"", *changed}
    for path in (*changed, *gone):
        while (path := _parent(path)) not in found:
            found.add(path)
    return found
