"""The solver: evaluate a graph, doing each piece of work once and only if it must be done.

Every node goes through a small state machine. It is first *keyed*, bottom up; a node whose key
finds a record is done without its inputs ever being evaluated. A node that misses asks for its
inputs' results and runs. Nodes with one canonical key share one run. All decisions are made under
one lock by whichever worker thread finished something; the work itself happens outside of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from viaduct.base.errors import Canceled
from viaduct.base.events import Finished, Log, Started, Status
from viaduct.base.tasks import Nursery
from viaduct.solve import keys
from viaduct.solve.vertex import State, Vertex, explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Edge, Node
    from viaduct.oci.digest import Digest
    from viaduct.solve.plan import CacheMap, CacheStore, Resolver, Result

# Threads that wait for networks, locks and other people's work, besides those that compute.
_WAITERS = 16


class _Job:
    """See `solve.plan.Job`. The vertex is announced when it first has something to say."""

    def __init__(self, solver: Solver, vertex: Vertex) -> None:
        self._solver = solver
        self._vertex = vertex
        self.stop = solver.stop

    def log(self, stream: int, data: bytes) -> None:
        self._solver.begin(self._vertex)
        event = Log(self._vertex.node.digest, data, time.time(), stream)
        self._solver.tell(self._vertex, event)

    def status(self, part: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        event = Status(self._vertex.node.digest, part, time.time(), current, total, done)
        self._solver.tell(self._vertex, event)


class Solver:
    """One evaluation of a graph; use `solve`."""

    def __init__(
        self, *, resolve: Resolver, cache: CacheStore, sink: Sink, stop: Stop, jobs: int
    ) -> None:
        self._resolve = resolve
        self._cache = cache
        self._sink = sink
        self._parent_stop = stop
        self.stop = stop
        self._jobs = threading.Semaphore(jobs)
        self._limit = jobs + _WAITERS
        self._lock = threading.RLock()
        self._vertices: dict[Digest, Vertex] = {}
        self._renewed: frozenset[Digest] = frozenset()
        self._running: dict[str, Vertex] = {}
        self._ready: deque[Vertex] = deque()
        self._nursery: Nursery | None = None

    def solve(self, edges: Sequence[Edge]) -> list[Result]:
        """The results of `edges`, in order. Raises the first error of any op."""
        self._renewed = _renewed(edges)
        roots = [self._vertex(edge.node) for edge in edges]
        with Nursery(self._limit, stop=self._parent_stop, name="solve") as self._nursery:
            self.stop = self._nursery.stop
            with self._lock:
                for root in roots:
                    self._want(root)
                self._settle()
        return [root.results[edge.output] for root, edge in zip(roots, edges, strict=True)]

    def tell(self, vertex: Vertex, event: Started | Finished | Log | Status) -> None:
        """Nodes without a name belong to the step before them, and are not told of."""
        if vertex.node.name:
            self._sink(event)

    # --- building the vertices ---

    def _vertex(self, node: Node) -> Vertex:
        # Iterative: a Dockerfile of a thousand RUN lines is a chain a thousand nodes deep.
        stack = [node]
        while stack:
            top = stack[-1]
            if top.digest in self._vertices:
                stack.pop()
                continue
            missing = [e.node for e in top.inputs if e.node.digest not in self._vertices]
            if missing:
                stack.extend(missing)
                continue
            inputs = tuple(self._vertices[edge.node.digest] for edge in top.inputs)
            vertex = Vertex(top, self._resolve(top), inputs)
            for child in dict.fromkeys(inputs):
                child.readers.append(vertex)
            self._vertices[top.digest] = vertex
            stack.pop()
        return self._vertices[node.digest]

    # --- decisions; all under the lock ---

    def _want(self, vertex: Vertex) -> None:
        """Somebody needs the results of `vertex`."""
        if not vertex.wanted:
            vertex.wanted = True
            self._ask_key(vertex)
            self._ready.append(vertex)

    def _ask_key(self, vertex: Vertex) -> None:
        pending = [vertex]
        while pending:
            current = pending.pop()
            if current.state is State.IDLE:
                if current.op.remote:
                    current.state = State.MAPPING
                    self._start(self._map, current)
                else:
                    self._mapped(current, current.op.cache_map(self.stop))
                pending.extend(current.inputs)

    def _mapped(self, vertex: Vertex, found: CacheMap) -> None:
        vertex.map = found
        vertex.state = State.INPUT_KEYS
        self._ready.append(vertex)

    def _settle(self) -> None:
        """Move every vertex that something happened to as far as what is known allows.

        A queue instead of recursion: news travels along chains a thousand vertices long.
        """
        while self._ready:
            self._advance(self._ready.popleft())

    def _advance(self, vertex: Vertex) -> None:
        if vertex.state is State.INPUT_KEYS and all(
            child.state.value >= State.KEYED.value for child in vertex.inputs
        ):
            self._combine(vertex)
        if vertex.state is State.CONTENT and not vertex.digesting:
            assert vertex.map is not None
            children = [vertex.inputs[i] for i in vertex.map.by_content]
            if all(child.state is State.DONE for child in children):
                vertex.digesting = True
                self._start(self._digest_contents, vertex)
        if vertex.state in (State.INPUT_KEYS, State.CONTENT):
            self._hurry(vertex)
        if vertex.state is State.KEYED and vertex.wanted:
            self._serve(vertex)
        if vertex.state is State.INPUTS and all(
            child.state is State.DONE for child in vertex.inputs
        ):
            vertex.state = State.RUNNING
            twin = self._running.get(vertex.key) if not vertex.fresh else None
            if twin is not None:
                twin.twins.append(vertex)
                return
            if vertex.key:
                self._running[vertex.key] = vertex
            self._start(self._run, vertex)

    def _hurry(self, vertex: Vertex) -> None:
        """Begin with what will be needed in any case, so that it runs beside what is waited for.

        A step on a base that missed cannot hit either, so all that it reads is needed. Where a
        key waits for content that has to be made, what comes next is (almost always) needed too.
        """
        assert vertex.map is not None
        by_content = vertex.map.by_content
        if not vertex.missed and (
            vertex.node.digest in self._renewed
            or any(child.missed for i, child in enumerate(vertex.inputs) if i not in by_content)
        ):
            vertex.missed = True
            self._ready.extend(vertex.readers)
        if not vertex.slow and (
            self._awaits_work(vertex)
            or any(child.slow and child.state.value < State.KEYED.value for child in vertex.inputs)
        ):
            vertex.slow = True
            self._ready.extend(vertex.readers)
        if vertex.slow or vertex.state is State.CONTENT:
            for index in by_content:
                self._want(vertex.inputs[index])
        if vertex.missed and vertex.wanted:
            for child in vertex.inputs:
                self._want(child)

    def _awaits_work(self, vertex: Vertex) -> bool:
        """Whether content that `vertex` is keyed by has to be made first; a person's files are
        there, and take no time to look at."""
        assert vertex.map is not None
        return vertex.state is State.CONTENT and any(
            vertex.inputs[i].missed and not vertex.inputs[i].keyless for i in vertex.map.by_content
        )

    def _combine(self, vertex: Vertex) -> None:
        """All inputs are keyed: compute the fast key, and perhaps be done with it."""
        assert vertex.map is not None
        by_content = vertex.map.by_content
        stale = vertex.node.digest in self._renewed or any(
            child.fresh for i, child in enumerate(vertex.inputs) if i not in by_content
        )
        vertex.fresh = stale
        if vertex.map.volatile:
            vertex.keyless = True
            self._keyed(vertex)
            return
        if not any(child.keyless for child in vertex.inputs):
            vertex.fast = keys.combine(
                vertex.map.digest,
                [
                    (child.key, edge.output)
                    for child, edge in zip(vertex.inputs, vertex.node.inputs, strict=True)
                ],
            )
            if not by_content:
                vertex.key = vertex.fast
            if not stale and not any(child.fresh for child in vertex.inputs):
                vertex.record = self._cache.lookup(vertex.fast)
                if vertex.record is not None:
                    vertex.key = vertex.record.canonical
        if vertex.key:
            self._keyed(vertex)
            return
        vertex.state = State.CONTENT

    def _keyed(self, vertex: Vertex) -> None:
        vertex.state = State.KEYED
        vertex.missed = vertex.record is None
        if vertex.record is not None and not vertex.wanted:
            # Nobody may ever need the result itself; still, people want to see that it was there.
            self._announce_cached(vertex)
        self._ready.append(vertex)
        self._ready.extend(vertex.readers)

    def _serve(self, vertex: Vertex) -> None:
        """The key is known and the results are wanted: load them, or have them made."""
        if vertex.record is not None:
            loaded = [self._cache.load(name) for name in vertex.record.results]
            found = [result for result in loaded if result is not None]
            if len(found) == len(loaded):
                self._announce_cached(vertex)
                self._done(vertex, found)
                return
            vertex.announced = vertex.cached = False
        vertex.state = State.INPUTS
        for child in vertex.inputs:
            self._want(child)

    def _done(self, vertex: Vertex, results: Sequence[Result]) -> None:
        vertex.state = State.DONE
        vertex.results = results
        self._ready.extend(vertex.readers)

    # --- work; outside of the lock ---

    def _start(self, work: object, vertex: Vertex) -> None:
        assert self._nursery is not None
        self._nursery.start(self._guard, work, vertex)

    def _guard(self, work: object, vertex: Vertex) -> None:
        assert callable(work)
        try:
            work(vertex)
        except BaseException as error:
            told = explained(error, vertex)
            if vertex.announced or not isinstance(told, Canceled):
                self.begin(vertex)
                stopped = isinstance(told, Canceled)
                text = "" if stopped else str(told) or type(told).__name__
                event = Finished(vertex.node.digest, time.time(), error=text, canceled=stopped)
                self.tell(vertex, event)
            if told is not error:
                raise told from error
            raise

    def _map(self, vertex: Vertex) -> None:
        found = vertex.op.cache_map(self.stop)
        with self._lock:
            self._mapped(vertex, found)
            self._settle()

    def _digest_contents(self, vertex: Vertex) -> None:
        assert vertex.map is not None
        job = _Job(self, vertex)
        for index in sorted(vertex.map.by_content):
            edge = vertex.node.inputs[index]
            result = vertex.inputs[index].results[edge.output]
            vertex.contents[index] = vertex.op.content_digest(index, result, job)
        pairs = [
            (keys.content(vertex.contents[i]), 0) if i in vertex.contents else (child.key, e.output)
            for i, (child, e) in enumerate(zip(vertex.inputs, vertex.node.inputs, strict=True))
        ]
        with self._lock:
            vertex.key = keys.combine(vertex.map.digest, pairs)
            if not vertex.fresh:
                vertex.record = self._cache.lookup(vertex.key)
                if vertex.record is not None and vertex.fast:
                    self._cache.alias(vertex.fast, vertex.key)
            self._keyed(vertex)
            self._settle()

    def _run(self, vertex: Vertex) -> None:
        inputs = [
            child.results[edge.output]
            for child, edge in zip(vertex.inputs, vertex.node.inputs, strict=True)
        ]
        if vertex.op.heavy:
            while not self._jobs.acquire(timeout=0.2):
                self.stop.check()
        try:
            self.stop.check()
            self.begin(vertex)
            results = vertex.op.run(inputs, _Job(self, vertex))
        finally:
            if vertex.op.heavy:
                self._jobs.release()
        names = tuple(result.id for result in results)
        if vertex.key and all(names):
            self._cache.save(vertex.key, names)
            if vertex.fast and vertex.fast != vertex.key:
                self._cache.alias(vertex.fast, vertex.key)
        with self._lock:
            self.tell(vertex, Finished(vertex.node.digest, time.time()))
            self._running.pop(vertex.key, None)
            for twin in vertex.twins:
                self._announce_cached(twin)
                self._done(twin, results)
            self._done(vertex, results)
            self._settle()

    # --- announcements ---

    def begin(self, vertex: Vertex) -> None:
        """Tell that work on `vertex` began, unless that was told."""
        with self._lock:
            if not vertex.announced:
                vertex.announced = True
                node = vertex.node
                self.tell(
                    vertex,
                    Started(
                        node.digest, node.name, time.time(), node.platform_group, node.emulated
                    ),
                )

    def _announce_cached(self, vertex: Vertex) -> None:
        if not vertex.cached:
            vertex.cached = True
            self.begin(vertex)
            self.tell(vertex, Finished(vertex.node.digest, time.time(), cached=True))


def solve(
    edges: Sequence[Edge],
    *,
    resolve: Resolver,
    cache: CacheStore,
    sink: Sink,
    stop: Stop,
    jobs: int,
) -> list[Result]:
    """Evaluate `edges` and return their results in order.

    Only what the edges need is done; nodes with one digest, and nodes with one canonical key, are
    done once; independent nodes run side by side, at most `jobs` heavy ones at a time. The first
    failure stops the rest and is raised with the failing node's place in the Dockerfile. Events of
    every node that was run or found go to `sink`.
    """
    return Solver(resolve=resolve, cache=cache, sink=sink, stop=stop, jobs=jobs).solve(edges)


def _renewed(edges: Sequence[Edge]) -> frozenset[Digest]:
    """The nodes whose earlier results do not count. Two stages may have the same step, and ignore
    the cache in one of them: the step is done once then, and anew."""
    found: set[Digest] = set()
    seen: set[int] = set()
    pending = [edge.node for edge in edges]
    while pending:
        node = pending.pop()
        if id(node) not in seen:
            seen.add(id(node))
            if node.no_cache:
                found.add(node.digest)
            pending += [edge.node for edge in node.inputs]
    return frozenset(found)
