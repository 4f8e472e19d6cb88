"""Root file systems as complete directories, for where overlays cannot stand.

A checkout shows one snapshot and is rolled forward from one to the next: in a chain of steps
nothing is copied twice. A step works in it, and what it changed is found by looking.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from viaduct.base.fs import explain_oserror
from viaduct.base.values import Mutable
from viaduct.layer.changes import Scan, collect, scan, settle
from viaduct.layer.replay import replay
from viaduct.ops.canvas import Canvas
from viaduct.sandbox import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.store.snapshots import Active, Snapshots


class _Checkout(Mutable):
    """`active.fs` holds the snapshot `shows` completely; `seen` is how it looks, if that is known.

    To the store it is a snapshot that is never finished: what a killed build leaves is cleared
    away as any other.
    """

    active: Active
    shows: int | None = None
    seen: Scan | None = None

    @property
    def root(self) -> Path:
        return self.active.fs


class Checkouts:
    """The checkouts of one build. Satisfies `viaduct.ops.canvas.Ground`. `mountpoint` makes an
    empty directory."""

    def __init__(self, snapshots: Snapshots, mountpoint: Callable[[], Path]) -> None:
        self._snapshots = snapshots
        self._mountpoint = mountpoint
        self._lock = threading.Lock()
        self._idle: list[_Checkout] = []

    @contextlib.contextmanager
    def view(self, snapshot: int, stop: Stop) -> Iterator[Path]:
        with (
            self._taken(snapshot, stop) as checkout,
            mounts.overlay([checkout.root], upper=None, work=None, at=self._mountpoint()) as at,
        ):
            yield at

    @contextlib.contextmanager
    def change(self, base: int, active: Active, stop: Stop) -> Iterator[Canvas]:
        with self._taken(base, stop) as checkout:
            # As an overlay's root, which is a new directory for every step.
            os.chown(checkout.root, 0, 0)
            os.chmod(checkout.root, 0o755)
            before = checkout.seen or scan(checkout.root)
            checkout.shows = checkout.seen = None
            settle(before, checkout.active.work / "probe")

            def finish() -> None:
                checkout.seen = collect(checkout.root, before, active.fs, stop=stop)
                checkout.shows = active.id

            yield Canvas(checkout.root, finish)

    def close(self) -> None:
        """Throw every checkout away."""
        while self._idle:
            self._snapshots.discard(self._idle.pop().active)

    @contextlib.contextmanager
    def _taken(self, snapshot: int, stop: Stop) -> Iterator[_Checkout]:
        """A checkout of the snapshot that nobody else uses; for others afterwards, unless nobody
        knows any more what it shows."""
        chain = [each.id for each in self._snapshots.chain(snapshot)]
        checkout = self._nearest(chain) or self._new()
        try:
            done = chain.index(checkout.shows) + 1 if checkout.shows is not None else 0
            for missing in chain[done:]:
                self._roll_forward(checkout, missing, stop)
            yield checkout
        except BaseException:
            checkout.shows = None
            raise
        finally:
            if checkout.shows is None:
                self._snapshots.discard(checkout.active)
            else:
                with self._lock:
                    self._idle.append(checkout)

    def _roll_forward(self, checkout: _Checkout, snapshot: int, stop: Stop) -> None:
        """Lay the next snapshot over what the checkout shows."""
        checkout.shows = checkout.seen = None
        try:
            replay(self._snapshots.directory(snapshot), checkout.root, stop=stop)
        except OSError as error:
            raise explain_oserror(error, "copying a root file system") from error
        checkout.shows = snapshot

    def _nearest(self, chain: list[int]) -> _Checkout | None:
        """Take the idle checkout that lacks the fewest of the snapshots."""
        depths = {snapshot: depth for depth, snapshot in enumerate(chain)}
        with self._lock:
            found = max(
                (each for each in self._idle if each.shows in depths),
                key=lambda each: depths[each.shows or 0],
                default=None,
            )
            if found is not None:
                self._idle.remove(found)
        return found

    def _new(self) -> _Checkout:
        return _Checkout(self._snapshots.prepare(None, description="checkout", kind="internal"))
