"""How a snapshot becomes a root file system to look at or to change: one of two ways.

With overlays (`viaduct.ops.overlays`) nothing is copied. Where the kernel cannot lay layers over
each other, they are complete directories (`viaduct.ops.checkouts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.store.snapshots import Active


def _nothing() -> None:
    """The change is where it belongs already."""


class Canvas(Value):
    """A root file system that can be written to. When all is written, `finish` brings what was
    changed into the active snapshot's directory, in overlayfs's upper form."""

    path: Path
    finish: Callable[[], None] = _nothing


class Ground(Protocol):
    """One of the ways. Safe to use from any thread; raises `SandboxError`, `StoreError`, OSError
    and `Canceled`. Every layer of a snapshot that is asked for has been unpacked."""

    def view(self, snapshot: int, stop: Stop) -> AbstractContextManager[Path]:
        """A read-only directory that shows the whole file system."""

    def change(self, base: int, active: Active, stop: Stop) -> AbstractContextManager[Canvas]:
        """The file system `base` to be changed, for the snapshot `active` on top of it."""

    def close(self) -> None:
        """Let go of everything; all views and changes have been left."""
