"""Named pieces of work that are not graph nodes: loading, resolving, exporting."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import Canceled
from viaduct.base.events import Finished, Log, Started, Status
from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop

_numbers = itertools.count(1)


class Work(Value):
    """A running piece of work; satisfies `solve.plan.Job`."""

    vertex: str
    sink: Sink
    stop: Stop

    def status(self, part: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        self.sink(Status(self.vertex, part, time.time(), current, total, done))

    def log(self, stream: int, data: bytes) -> None:
        self.sink(Log(self.vertex, data, time.time(), stream))

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A named part that is reported when it begins and when it is done."""
        self.status(name)
        yield
        self.status(name, done=True)


@contextlib.contextmanager
def work(sink: Sink, stop: Stop, name: str, *, platform: str = "") -> Iterator[Work]:
    """Announce `name`, let the caller do it, and announce how it ended."""
    vertex = f"work:{next(_numbers)}"
    sink(Started(vertex, name, time.time(), platform))
    try:
        yield Work(vertex, sink, stop)
    except Canceled:
        sink(Finished(vertex, time.time(), canceled=True))
        raise
    except BaseException as error:
        sink(Finished(vertex, time.time(), error=str(error) or type(error).__name__))
        raise
    sink(Finished(vertex, time.time()))
