"""A directory tree as the members of an archive, in the order in which they are written."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import ContentError
from viaduct.base.values import Mutable
from viaduct.layer import tree, unchanged
from viaduct.layer.compress import BLOCK
from viaduct.layer.entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from viaduct.base.tasks import Stop
    from viaduct.layer.stack import Found, Stack
    from viaduct.layer.tar_writer import TarWriter


class _Level(Mutable):
    """A directory that is being walked: `path` ends in a slash, except for the root's (empty)."""

    path: bytes
    names: Iterator[bytes]
    lower_shows: bool
    entry: Entry | None


class Walk:
    """Writes the tree at the descriptor `root`, parents first, names in the order of their bytes.

    `lower` is what lies below, None when that is not known: see `viaduct.layer.pack.pack` for what
    is left out then and what is not. `time` maps a file's time
    (ns) to its member's; `prefix` (empty, or ending in a slash) goes before every name. A tree that
    is not `layered` is written as it stands: no whiteouts, no opaque directories.
    """

    def __init__(
        self,
        writer: TarWriter,
        root: int,
        lower: Stack | None = None,
        *,
        time: Callable[[int], int],
        prefix: bytes = b"",
        layered: bool = True,
    ) -> None:
        self._writer = writer
        self._root = root
        self._lower = lower
        self._time = time
        self._prefix = prefix
        self._layered = layered
        #: First name of every file with several, by device and inode.
        self._linked: dict[tuple[int, int], bytes] = {}
        #: Unchanged directories on the way to here, not yet written.
        self._pending: list[Entry] = []

    def run(self, stop: Stop | None = None) -> None:
        """Write everything. Raises `ContentError`, `StoreError`, OSError and `Canceled`."""
        names, _ = self._list(b"")
        levels = [_Level(b"", names, self._lower is not None, None)]
        while levels:
            if stop is not None:
                stop.check()
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                levels.pop()
                if self._pending and self._pending[-1] is level.entry:
                    self._pending.pop()
            elif (deeper := self._visit(level, name)) is not None:
                levels.append(deeper)

    def _visit(self, level: _Level, name: bytes) -> _Level | None:
        """Write what is at `name`; for a directory, returns what to walk next."""
        path = level.path + name
        status = os.stat(path, dir_fd=self._root, follow_symlinks=False)
        below = self._lower.find(path) if self._lower is not None and level.lower_shows else None
        if self._layered:
            if tree.is_whiteout(status):
                if below is not None or self._lower is None:
                    self._mark(level.path + tree.WHITEOUT_PREFIX + name)
                return None
            if name.startswith(tree.WHITEOUT_PREFIX):
                raise ContentError(
                    f"no layer can hold the file {os.fsdecode(path)!r}",
                    hint="names that begin with .wh. mean deletions in image layers: rename it",
                )
        if stat.S_ISDIR(status.st_mode):
            return self._directory(path, status, below)
        self._file(path, status, below)
        return None

    def _directory(self, path: bytes, status: os.stat_result, below: Found | None) -> _Level:
        names, attributes = self._list(path)
        entry = self._describe(path, status, attributes=attributes)
        opaque = self._layered and tree.is_opaque(attributes)
        over_directory = below is not None and stat.S_ISDIR(below[1].st_mode)
        if self._is_unchanged(path, entry, status, below):
            self._pending.append(entry)
        else:
            self._emit(entry)
        if opaque and (over_directory or self._lower is None):
            self._mark(path + b"/" + tree.OPAQUE_MARKER)
        return _Level(path + b"/", names, over_directory and not opaque, entry)

    def _file(self, path: bytes, status: os.stat_result, below: Found | None) -> None:
        """Write anything but a directory."""
        if stat.S_ISSOCK(status.st_mode):
            return
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1:
            if (first := self._linked.get(inode)) is not None:
                entry = self._describe(path, status)
                self._emit(replace(entry, kind=Kind.HARDLINK, link=first, size=0))
                return
            self._linked[inode] = self._prefix + path
        if stat.S_ISREG(status.st_mode):
            self._regular(path, status, below)
            return
        link = os.readlink(path, dir_fd=self._root) if stat.S_ISLNK(status.st_mode) else b""
        entry = self._describe(path, status, link=link)
        if not self._is_unchanged(path, entry, status, below):
            self._emit(entry)

    def _regular(self, path: bytes, status: os.stat_result, below: Found | None) -> None:
        fd = tree.open_at(self._root, path)
        try:
            entry = self._describe(path, status, attributes=tree.all_xattrs(fd))
            if self._is_unchanged(path, entry, status, below):
                return
            content = tree.content(fd, entry.size)
            self._write_pending()
            if entry.size <= BLOCK:
                self._writer.add(entry, b"".join(content))
            else:
                self._writer.stream(entry, content)
        finally:
            os.close(fd)

    # --- details ---------------------------------------------------------------------------------

    def _list(self, path: bytes) -> tuple[Iterator[bytes], dict[bytes, bytes]]:
        """Names in a directory, in the order of their bytes, and its attributes."""
        fd = tree.open_at(self._root, path, directory=True)
        try:
            names = sorted(map(os.fsencode, os.listdir(fd)))
            return iter(names), tree.all_xattrs(fd)
        finally:
            os.close(fd)

    def _describe(
        self,
        path: bytes,
        status: os.stat_result,
        *,
        attributes: Mapping[bytes, bytes] | None = None,
        link: bytes = b"",
    ) -> Entry:
        return tree.describe(
            self._prefix + path,
            status,
            mtime_ns=self._time(status.st_mtime_ns),
            attributes=attributes or {},
            link=link,
        )

    def _is_unchanged(
        self, path: bytes, entry: Entry, status: os.stat_result, below: Found | None
    ) -> bool:
        return below is not None and unchanged.is_unchanged(path, entry, self._root, status, *below)

    def _emit(self, entry: Entry) -> None:
        self._write_pending()
        self._writer.add(entry)

    def _mark(self, path: bytes) -> None:
        """Write a whiteout or an opaque marker: empty, and the same in every layer."""
        self._emit(Entry(name=self._prefix + path, kind=Kind.FILE, mode=0))

    def _write_pending(self) -> None:
        if self._pending:
            for entry in self._pending:
                self._writer.add(entry)
            self._pending.clear()
