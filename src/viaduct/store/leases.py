"""Leases: running builds, known to others by locks that die with them.

Nothing that was used since the oldest running build began is ever collected. So a build takes a
lease before it looks at anything, and using something means noting the time of use where it lies
further back than the lease.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.fs import explain_oserror
from viaduct.store import liveness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Without a lease nothing is promised; uses are then noted once in so many seconds.
_COARSE = 60.0


class Lease(msgspec.Struct, frozen=True):
    """A running build; `started` in seconds since the epoch."""

    name: str
    started: float


class Leases:
    """One locked file for each running build in `directory`, named after when it began."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._held: list[Lease] = []

    def now(self) -> float:
        """The time to note for a use: never before a lease that this process holds, even when
        somebody sets the clock back meanwhile."""
        with self._lock:
            return max(self._clock(), *(lease.started for lease in self._held), 0.0)

    @contextlib.contextmanager
    def hold(self) -> Iterator[Lease]:
        """A lease for as long as the context lasts or this process lives. Raises `StoreError`."""
        started = self._clock()
        try:
            name, fd = liveness.claim(self._directory, f"{started!r}-")
        except OSError as error:
            raise explain_oserror(error, "taking a lease") from error
        lease = Lease(name, started)
        with self._lock:
            self._held.append(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._held.remove(lease)
            with contextlib.suppress(OSError):
                os.unlink(self._directory / name)
            os.close(fd)

    def used_since(self) -> float:
        """A use has to be noted when the last noted one lies before this time."""
        with self._lock:
            if self._held:
                return max(lease.started for lease in self._held)
        return self._clock() - _COARSE

    def oldest(self) -> float | None:
        """When the oldest running build of any process began, None when none runs.

        Raises `StoreError`.
        """
        found: list[float] = []
        try:
            for name in os.listdir(self._directory):
                path = self._directory / name
                fd = liveness.seize(path)
                if fd is not None:
                    os.unlink(path)
                    os.close(fd)
                elif path.exists():
                    with contextlib.suppress(ValueError):
                        found.append(float(name.partition("-")[0]))
        except OSError as error:
            raise explain_oserror(error, "looking for running builds") from error
        return min(found, default=None)
