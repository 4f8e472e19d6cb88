"""Structured concurrency over threads: every task has a parent that waits for it.

A `Nursery` runs callables on at most `limit` threads. The first exception sets the nursery's
`stop` event; tasks that are already running are expected to look at it (or be killed through it),
tasks that have not begun never begin. Leaving the `with` block waits for all and raises the first
exception.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from viaduct.base.errors import Canceled

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Stop:
    """A request to stop, seen by everything below the one who may make it.

    A child is stopped when its parent is; stopping a child leaves the parent alone. Callbacks let
    a blocking operation (a running container, a socket) be interrupted at once.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._parent = parent
        self._parent_key = parent.on_stop(self.set) if parent else -1

    def set(self) -> None:
        """Stop everything that watches this; harmless when repeated."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds`; true as soon as a stop is asked for."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raises `Canceled` once a stop was asked for."""
        if self._event.is_set():
            raise Canceled

    def on_stop(self, callback: Callable[[], None]) -> int:
        """Call `callback` when stopped (at once, if that already happened); returns a key."""
        with self._lock:
            if not self._event.is_set():
                self._next += 1
                self._callbacks[self._next] = callback
                return self._next
        callback()
        return 0

    def forget(self, key: int) -> None:
        """Drop a callback registered with `on_stop`."""
        with self._lock:
            self._callbacks.pop(key, None)

    def close(self) -> None:
        """Detach from the parent; call when the guarded work is over."""
        if self._parent is not None:
            self._parent.forget(self._parent_key)


class Nursery:
    """See the module's docstring. `limit` is the number of threads at most."""

    def __init__(self, limit: int, *, stop: Stop | None = None, name: str = "task") -> None:
        self.stop = Stop(stop)
        self._limit = limit
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._pending = 0
        self._closing = False
        self._error: BaseException | None = None

    def start(self, work: Callable[..., None], *args: Any) -> None:
        """Run `work(*args)` as soon as a thread is free."""
        with self._changed:
            if self._error is not None:
                return
            self._pending += 1
            self._waiting.append((work, args))
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif len(self._threads) < self._limit:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._waiting:
                    if self._closing:
                        self._idle -= 1
                        return
                    self._changed.wait()
                self._idle -= 1
                work, args = self._waiting.popleft()
            try:
                if not self.stop.is_set():
                    work(*args)
            except BaseException as error:  # noqa: BLE001 - handed to the parent, which raises it
                self._fail(error)
            finally:
                with self._changed:
                    self._pending -= 1
                    self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None or (
                isinstance(self._error, Canceled) and not isinstance(error, Canceled)
            ):
                self._error = error
            self._pending -= len(self._waiting)
            self._waiting.clear()
        self.stop.set()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._fail(error)
        with self._changed:
            while self._pending > 0:
                self._changed.wait()
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self.stop.close()
        # A block that stopped because a task failed says so with Canceled: the failure is the news.
        if self._error is not None and (error is None or isinstance(error, Canceled)):
            raise self._error
        if error is None:
            # A stop from above that every task obeyed quietly must not look like success.
            self.stop.check()
