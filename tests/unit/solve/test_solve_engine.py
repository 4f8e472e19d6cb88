"""The solver on ops that count their own calls: no containers, the real scheduler."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import BuildError, Canceled
from viaduct.base.events import Event, Finished, Started
from viaduct.base.tasks import Stop
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import Exec, LocalSource
from viaduct.oci import digest as digests
from viaduct.solve.engine import solve
from viaduct.solve.plan import CacheMap, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.solve.plan import Job


@dataclass(frozen=True)
class Made:
    id: str


class Memory:
    """A cache that lives as long as the test."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, ...]] = {}
        self.aliases: dict[str, str] = {}
        self.lost: set[str] = set()

    def lookup(self, key: str) -> Record | None:
        canonical = self.aliases.get(key, key)
        found = self.records.get(canonical)
        return None if found is None else Record(canonical, found)

    def save(self, canonical: str, results: tuple[str, ...]) -> None:
        self.records[canonical] = results

    def alias(self, fast: str, canonical: str) -> None:
        self.aliases[fast] = canonical

    def load(self, result_id: str) -> Made | None:
        return None if result_id in self.lost else Made(result_id)


@dataclass
class World:
    """What the fake ops do, and what they did."""

    cache: Memory = field(default_factory=Memory)
    files: dict[str, str] = field(default_factory=dict)
    by_content: dict[str, frozenset[int]] = field(default_factory=dict)
    work: dict[str, Callable[[Job], object]] = field(default_factory=dict)
    contents: Callable[[str], str] = str
    ran: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def build(self, *edges: Edge, jobs: int = 2) -> list[str]:
        self.ran = []
        self.events = []
        results = solve(
            edges,
            resolve=lambda node: FakeOp(self, node),
            cache=self.cache,
            sink=self.events.append,
            stop=Stop(),
            jobs=jobs,
        )
        return [result.id for result in results]

    @property
    def cached(self) -> list[str]:
        names = {e.vertex: e.name for e in self.events if isinstance(e, Started)}
        return sorted(names[e.vertex] for e in self.events if isinstance(e, Finished) and e.cached)


class FakeOp:
    heavy = True

    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.node = node
        self.remote = isinstance(node.op, LocalSource)

    def cache_map(self, stop: Stop) -> CacheMap:
        op = self.node.op
        if isinstance(op, LocalSource):
            return CacheMap(digests.of(op.name.encode()), volatile=True)
        assert isinstance(op, Exec)
        return CacheMap(
            digests.of(" ".join(op.args).encode()),
            by_content=self.world.by_content.get(self.node.name, frozenset()),
        )

    def content_digest(self, index: int, result: object, job: Job) -> Digest:
        assert isinstance(result, Made)
        return digests.of(self.world.contents(result.id).encode())

    def run(self, inputs: Sequence[object], job: Job) -> list[Made]:
        with self.world.lock:
            self.world.ran.append(self.node.name)
        if self.node.name in self.world.work:
            self.world.work[self.node.name](job)
        if isinstance(self.node.op, LocalSource):
            return [Made("")]
        read = ",".join(i.id for i in inputs if isinstance(i, Made))
        return [Made(f"{self.node.name}({read})")]


def step(name: str, *inputs: Node, no_cache: bool = False, args: str = "") -> Node:
    return Node(
        Exec(args=(args or name,)),
        tuple(Edge(node) for node in inputs),
        name=name,
        no_cache=no_cache,
    )


def test_a_diamond_is_evaluated_once_per_node() -> None:
    world = World()
    base = step("base")
    top = step("top", step("left", base), step("right", base))
    assert world.build(Edge(top)) == ["top(left(base()),right(base()))"]
    assert sorted(world.ran) == ["base", "left", "right", "top"]
    assert world.ran[0] == "base"


def test_the_second_build_runs_nothing_and_says_cached() -> None:
    world = World()
    top = step("top", step("middle", step("base")))
    world.build(Edge(top))
    world.build(Edge(top))
    assert world.ran == []
    assert world.cached == ["base", "middle", "top"]


def test_a_lost_result_is_made_again() -> None:
    world = World()
    top = step("top", step("base"))
    world.build(Edge(top))
    world.cache.lost.add("top(base())")
    assert world.build(Edge(top)) == ["top(base())"]
    assert world.ran == ["top"]


def test_a_changed_base_runs_what_follows_it() -> None:
    world = World()
    world.build(Edge(step("top", step("base"))))
    world.build(Edge(step("top", step("base", args="other"))))
    assert world.ran == ["base", "top"]


def test_a_copy_of_unchanged_content_hits_although_its_source_was_rebuilt() -> None:
    world = World(by_content={"copy": frozenset({1})}, contents=lambda _: "same bytes")
    world.build(Edge(step("copy", step("base"), step("source"))))
    world.build(Edge(step("copy", step("base"), step("source", args="new"))))
    assert world.ran == ["source"]
    assert "copy" in world.cached


def test_after_a_content_hit_the_source_is_not_even_evaluated() -> None:
    world = World(by_content={"copy": frozenset({1})}, contents=lambda _: "same bytes")
    for args in ("old", "new"):
        world.build(Edge(step("copy", step("base"), step("source", args=args))))
    world.cache.lost.add("source()")
    world.build(Edge(step("copy", step("base"), step("source", args="new"))))
    assert world.ran == []


def test_local_files_count_by_content_and_nothing_else() -> None:
    content = ["v1"]
    world = World(by_content={"copy": frozenset({0})}, contents=lambda _: content[0])
    context = Node(LocalSource(name="context"), name="context")
    top = step("top", step("copy", context))
    world.build(Edge(top))
    world.build(Edge(top))
    assert world.ran == ["context"]
    content[0] = "v2"
    world.build(Edge(top))
    assert world.ran == ["context", "copy", "top"]


def test_ignoring_the_cache_of_one_step_renews_what_follows_and_the_cache() -> None:
    world = World()
    plain = step("top", step("middle", step("base")))
    world.build(Edge(plain))
    world.build(Edge(step("top", step("middle", step("base"), no_cache=True))))
    assert world.ran == ["middle", "top"]
    world.build(Edge(plain))
    assert world.ran == []


def test_work_without_a_name_is_done_and_not_told_of() -> None:
    world = World()
    top = step("top", Node(Exec(args=("quiet",)), (Edge(step("base")),)))
    for _ in range(2):
        assert world.build(Edge(top)) == ["top((base()))"]
        assert {event.name for event in world.events if isinstance(event, Started)} == {
            "base",
            "top",
        }
        assert len({event.vertex for event in world.events}) == 2


@pytest.mark.parametrize("first", [True, False])
def test_a_step_of_two_stages_is_renewed_when_one_of_them_ignores_the_cache(*, first: bool) -> None:
    world = World()
    plain = step("same", step("base"))
    world.build(Edge(plain))
    renewed = step("same", step("base", no_cache=True))
    top = step("top", renewed, plain) if first else step("top", plain, renewed)
    world.build(Edge(top))
    assert world.ran == ["base", "same", "top"]


def test_two_nodes_with_one_canonical_key_share_one_run() -> None:
    gate = threading.Barrier(2, timeout=10)
    world = World(
        by_content={"copy": frozenset({0})},
        contents=lambda _: "same",
        work={"source-a": lambda _: gate.wait(), "source-b": lambda _: gate.wait()},
    )
    one = step("copy", step("source-a"), args="copy")
    two = step("copy", step("source-b"), args="copy")
    first, second = world.build(Edge(one), Edge(two))
    assert world.ran.count("copy") == 1
    assert first == second


def test_independent_steps_run_side_by_side() -> None:
    gate = threading.Barrier(2, timeout=10)
    world = World(work={"a": lambda _: gate.wait(), "b": lambda _: gate.wait()})
    world.build(Edge(step("a")), Edge(step("b")))
    assert sorted(world.ran) == ["a", "b"]


def test_sources_of_a_chain_of_copies_are_made_side_by_side() -> None:
    gate = threading.Barrier(2, timeout=10)
    world = World(
        by_content={"copy-one": frozenset({0}), "copy-two": frozenset({1})},
        work={"one": lambda _: gate.wait(), "two": lambda _: gate.wait()},
    )
    world.build(Edge(step("copy-two", step("copy-one", step("one")), step("two"))))
    assert sorted(world.ran) == ["copy-one", "copy-two", "one", "two"]


def test_what_a_copy_lands_on_is_made_beside_its_source() -> None:
    gate = threading.Barrier(2, timeout=10)
    world = World(
        by_content={"copy": frozenset({1})},
        work={"below": lambda _: gate.wait(), "source": lambda _: gate.wait()},
    )
    world.build(Edge(step("top", step("copy", step("below", step("base")), step("source")))))
    assert sorted(world.ran) == ["base", "below", "copy", "source", "top"]


def test_what_a_copy_lands_on_is_left_alone_when_its_content_hits() -> None:
    world = World(by_content={"copy": frozenset({1})}, contents=lambda _: "same bytes")
    world.build(Edge(step("copy", step("base"), step("source"))))
    world.cache.lost.add("base()")
    world.build(Edge(step("copy", step("base"), step("source", args="new"))))
    assert world.ran == ["source"]


def test_a_stage_that_was_collected_is_not_made_again_for_a_cached_image() -> None:
    world = World(by_content={"files": frozenset({1}), "copy": frozenset({1})})
    context = Node(LocalSource(name="context"), name="context")

    def image() -> Node:
        return step("copy", step("files", step("base"), context), step("stage", context))

    world.by_content["stage"] = frozenset({0})
    world.build(Edge(image()))
    for key in [key for key, made in world.cache.records.items() if made[0].startswith("stage(")]:
        del world.cache.records[key]
    world.build(Edge(image()))
    assert world.ran == ["context"]


def test_no_more_heavy_steps_run_at_once_than_jobs_allow() -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    def work(job: Job) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        job.stop.wait(0.01)
        with lock:
            running -= 1

    names = [f"s{n}" for n in range(12)]
    world = World(work=dict.fromkeys(names, work))
    world.build(*[Edge(step(name)) for name in names], jobs=3)
    assert 1 <= most <= 3
    assert len(world.ran) == 12


def test_the_first_failure_stops_the_others_and_is_the_one_reported() -> None:
    started = threading.Event()

    def patient(job: Job) -> None:
        started.set()
        assert job.stop.wait(20)
        raise Canceled

    def failing(job: Job) -> None:
        assert started.wait(20)
        raise BuildError("broken")

    world = World(work={"patient": patient, "failing": failing})
    with pytest.raises(BuildError, match="broken"):
        world.build(Edge(step("top", step("patient"), step("failing"))))
    ends = {e.vertex: e for e in world.events if isinstance(e, Finished)}
    names = {e.name: ends[e.vertex] for e in world.events if isinstance(e, Started)}
    assert names["failing"].error == "broken"
    assert names["patient"].canceled
    assert "top" not in names


def test_a_chain_of_three_thousand_steps_is_no_problem() -> None:
    world = World()
    node = step("s0")
    for number in range(1, 3000):
        node = step(f"s{number}", node)
    world.work = {}
    world.build(Edge(node))
    assert len(world.ran) == 3000
    world.build(Edge(node))
    assert world.ran == []
    assert len(world.cached) == 3000
