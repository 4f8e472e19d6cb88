"""When to try again, and how long to wait before: jittered backoff, and what the registry asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from viaduct.registry.failures import Refused, may_help_to_retry

if TYPE_CHECKING:
    from viaduct.base.errors import RegistryError
    from viaduct.base.tasks import Stop


def _random() -> float:
    import random

    return random.random()


class Patience(msgspec.Struct, frozen=True):
    """`attempts` in all; waits double from `first` up to `longest` seconds, each taken at random
    between its half and its whole so that many builders do not come back together. A registry that
    asks for more than `limit` seconds is not waited for."""

    attempts: int = 5
    first: float = 0.5
    longest: float = 8.0
    limit: float = 120.0
    spread: Callable[[], float] = _random

    def wait(self, error: RegistryError, attempt: int) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed; None to give up."""
        if attempt >= self.attempts or not may_help_to_retry(error):
            return None
        wait = min(self.longest, self.first * float(2 ** (attempt - 1))) * (0.5 + self.spread() / 2)
        if isinstance(error, Refused) and error.retry_after is not None:
            if error.retry_after > self.limit:
                return None
            wait = max(wait, error.retry_after)
        return wait


class Pauses:
    """Hosts that asked us to come back later: every thread keeps away until then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def set(self, host: str, seconds: float) -> None:
        with self._lock:
            self._until[host] = max(self._until.get(host, 0.0), self._clock() + seconds)

    def obey(self, host: str, stop: Stop) -> None:
        """Wait for the end of the pause of `host`. Raises `Canceled` when stopped."""
        while (left := self._until.get(host, 0.0) - self._clock()) > 0:
            if stop.wait(left):
                break
        stop.check()
