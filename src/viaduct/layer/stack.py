"""Layers on disk read as the one tree that overlayfs would show, without mounting anything."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, TypeAlias

from viaduct.layer import tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: A directory's descriptor, and the status of what was looked for below it.
Found: TypeAlias = tuple[int, os.stat_result]

#: Open layers at a time; an image may have hundreds, and a process 1024 descriptors.
_MOST_OPEN: Final = 64
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Stack:
    """The directories `layers` in overlayfs's upper form, topmost first. Close it when done.

    Paths are relative and clean. Nothing may change the layers meanwhile.
    """

    def __init__(self, layers: Sequence[Path]) -> None:
        self._layers = layers
        self._open: dict[int, int] = {}
        #: Layers that show in a directory, topmost first, by its path.
        self._shown: dict[bytes, tuple[int, ...]] = {b"": tuple(range(len(layers)))}

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def find(self, path: bytes) -> Found | None:
        """What is at `path`, never through a symbolic link: the layer that holds it as a
        descriptor, which is open until the next call, and its status there."""
        parent = path.rpartition(b"/")[0]
        for layer in self._showing(parent):
            root = self._root(layer)
            status = tree.status_at(root, path)
            if status is not None:
                return None if tree.is_whiteout(status) else (root, status)
        return None

    def names(self, path: bytes) -> set[bytes]:
        """The names in the directory at `path`; none where there is no directory."""
        found: set[bytes] = set()
        hidden: set[bytes] = set()
        for layer in self._showing(path):
            fd = tree.open_at(self._root(layer), path, directory=True)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        if tree.is_whiteout(entry.stat(follow_symlinks=False)):
                            hidden.add(name)
                        elif name not in hidden:
                            found.add(name)
            finally:
                os.close(fd)
            hidden |= found
        return found

    def _showing(self, path: bytes) -> tuple[int, ...]:
        """The layers that the directory at `path` is merged from."""
        known = self._shown.get(path)
        if known is None:
            above = self._showing(path.rpartition(b"/")[0])
            known = self._shown[path] = tuple(self._merged(path, above))
        return known

    def _merged(self, path: bytes, above: tuple[int, ...]) -> list[int]:
        merged: list[int] = []
        for layer in above:
            root = self._root(layer)
            status = tree.status_at(root, path)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            merged.append(layer)
            if layer != above[-1] and self._is_opaque(root, path):
                break
        return merged

    @staticmethod
    def _is_opaque(root: int, path: bytes) -> bool:
        fd = tree.open_at(root, path, directory=True)
        try:
            return tree.is_opaque(tree.all_xattrs(fd))
        finally:
            os.close(fd)

    def _root(self, layer: int) -> int:
        fd = self._open.get(layer)
        if fd is None:
            if len(self._open) >= _MOST_OPEN:
                self.close()
            fd = self._open[layer] = os.open(self._layers[layer], _DIRECTORY)
        return fd
