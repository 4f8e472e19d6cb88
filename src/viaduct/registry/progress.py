"""Telling how far a transfer is: for whom (`Job`), and not too often (`Meter`)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from viaduct.base.tasks import Stop

if TYPE_CHECKING:
    from collections.abc import Hashable

_PERIOD = 0.1


class Job(Protocol):
    """The piece of work that a transfer belongs to; the same as the solver's, without a log."""

    @property
    def stop(self) -> Stop: ...

    def status(
        self, part: str, current: int = 0, total: int = 0, *, done: bool = False
    ) -> None: ...


class Quiet(msgspec.Struct, frozen=True):
    """A job whose progress nobody follows."""

    stop: Stop = msgspec.field(default_factory=Stop)

    def status(self, part: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        """Nobody listens."""


class Meter:
    """One part's bytes, summed over many transfers; at most ten reports a second. Safe from
    threads."""

    def __init__(self, job: Job, part: str, total: int) -> None:
        self._job = job
        self._part = part
        self._total = total
        self._lock = threading.Lock()
        self._bytes: dict[Hashable, int] = {}
        self._sum = 0
        self._next = time.monotonic() + _PERIOD
        job.status(part, 0, total)

    def at(self, transfer: Hashable, position: int) -> None:
        """`transfer` has now moved `position` bytes in all."""
        with self._lock:
            self._sum += position - self._bytes.get(transfer, 0)
            self._bytes[transfer] = position
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + _PERIOD
            current = self._sum
        self._job.status(self._part, current, self._total)

    def done(self) -> None:
        self._job.status(self._part, self._total, self._total, done=True)
