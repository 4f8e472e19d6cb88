"""Values that are made once, however many threads ask for them."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

from viaduct.base.errors import Canceled, ViaductError

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """A value for each key, made by whoever asks first while the others wait.

    A failure is an answer as well: everybody who asks is told the same one. Only a cancellation is
    forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[K, threading.Lock] = {}
        self._made: dict[K, V] = {}
        self._failed: dict[K, ViaductError] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value for `key`, from `make` when there is none yet. Raises what `make` raises."""
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            if key in self._failed:
                raise self._failed[key]
            if key not in self._made:
                try:
                    self._made[key] = make()
                except Canceled:
                    raise
                except ViaductError as error:
                    self._failed[key] = error
                    raise
            return self._made[key]
