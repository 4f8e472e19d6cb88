"""Root file systems as overlays: the layers of a snapshot laid over each other by the kernel."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from viaduct.ops.canvas import Canvas
from viaduct.sandbox import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.store.snapshots import Active, Snapshots


class Overlays:
    """Satisfies `viaduct.ops.canvas.Ground`. `mountpoint` makes an empty directory."""

    def __init__(self, snapshots: Snapshots, mountpoint: Callable[[], Path]) -> None:
        self._snapshots = snapshots
        self._mountpoint = mountpoint

    def view(self, snapshot: int, stop: Stop) -> AbstractContextManager[Path]:
        dirs = self._snapshots.layer_dirs(snapshot)
        return mounts.overlay(dirs, upper=None, work=None, at=self._mountpoint(), readonly=True)

    @contextlib.contextmanager
    def change(self, base: int, active: Active, stop: Stop) -> Iterator[Canvas]:
        dirs = self._snapshots.layer_dirs(base)
        at = self._mountpoint()
        with mounts.overlay(dirs, upper=active.fs, work=active.work, at=at, readonly=False):
            yield Canvas(at)

    def close(self) -> None:
        """Nothing is kept."""
