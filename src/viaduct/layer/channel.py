"""Bounded hand-over of values between the threads of one pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from viaduct.base.errors import Canceled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from viaduct.base.tasks import Nursery, Stop

T = TypeVar("T")


class Channel(Generic[T]):
    """A queue of at most `capacity` values that ends, and that a stop interrupts at once.

    One thread puts, one thread iterates. Both raise `Canceled` as soon as `stop` is set.
    """

    def __init__(self, stop: Stop, *, capacity: int = 4) -> None:
        self._stop = stop
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()
        stop.on_stop(self._wake)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def put(self, item: T) -> bool:
        """Hand `item` over, waiting for room; false when the other side wants no more."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed:
                self._check()
                self._changed.wait()
            self._check()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """No further value will be put, or (from the reading side) is wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            while not self._items:
                self._check()
                if self._closed:
                    raise StopIteration
                self._changed.wait()
            self._check()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def _check(self) -> None:
        if self._stop.is_set():
            raise Canceled


def ahead(
    nursery: Nursery, items: Iterable[T], *, seen: Callable[[T], object] | None = None
) -> Channel[T]:
    """Iterate over `items` in a thread of `nursery`, a few values ahead of the reader.

    `seen` is called there with each value before it is handed over. A reader that wants no more
    closes the channel.
    """
    channel: Channel[T] = Channel(nursery.stop)

    def produce() -> None:
        for item in items:
            if seen is not None:
                seen(item)
            if not channel.put(item):
                return
        # Not after an error: that would look like an early end before it looks like a failure.
        channel.close()

    nursery.start(produce)
    return channel
