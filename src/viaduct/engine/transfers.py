"""Telling of layers that come in, as parts of the FROM line that they belong to.

A base's layers are fetched by whichever step first needs them, which may be long after its FROM was
done, or at the same time as another step of the same base. So the FROM line begins again with the
first transfer, and ends with the last.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from viaduct.base.events import Finished, Started, Status
from viaduct.registry.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor


class Transfers:
    """The layers on their way in one build. Safe from threads."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._nodes: dict[Digest, Node] = {}
        self._open: dict[Digest, int] = {}

    def belong(self, layers: Sequence[Descriptor], node: Node) -> None:
        """Tell of these layers as parts of `node`."""
        with self._lock:
            for descriptor in layers:
                self._nodes.setdefault(descriptor.digest, node)

    @contextlib.contextmanager
    def of(self, descriptor: Descriptor, stop: Stop) -> Iterator[Callable[[int], None]]:
        """Tell of the transfer of one layer; yields what is told the bytes so far."""
        node = self._nodes.get(descriptor.digest)
        if node is None:
            yield _unheard
            return
        self._begin(node)
        whole = False
        try:
            meter = Meter(_Line(self._sink, node.digest, stop), descriptor.digest, descriptor.size)
            yield lambda count: meter.at(descriptor.digest, count)
            meter.done()
            whole = True
        finally:
            self._end(node, canceled=not whole)

    def _begin(self, node: Node) -> None:
        with self._lock:
            self._open[node.digest] = self._open.get(node.digest, 0) + 1
            if self._open[node.digest] == 1:
                self._sink(Started(node.digest, node.name, time.time(), node.platform_group))

    def _end(self, node: Node, *, canceled: bool) -> None:
        # The step that needed the layer says what went wrong.
        with self._lock:
            self._open[node.digest] -= 1
            if self._open[node.digest] == 0:
                self._sink(Finished(node.digest, time.time(), canceled=canceled))


class _Line:
    """The job that a meter reports to."""

    def __init__(self, sink: Sink, vertex: str, stop: Stop) -> None:
        self._sink = sink
        self._vertex = vertex
        self.stop = stop

    def status(self, part: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        self._sink(Status(self._vertex, part, time.time(), current, total, done))


def _unheard(_count: int) -> None:
    """Progress of a layer that belongs to no FROM line."""
