"""What the solver knows of one node while it is solved."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ViaductError
from viaduct.base.fs import explain_oserror
from viaduct.base.values import Mutable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.graph.node import Node
    from viaduct.oci.digest import Digest
    from viaduct.solve.plan import CacheMap, Op, Record, Result


class State(enum.Enum):
    """Where a node stands; it only ever moves down this list."""

    IDLE = enum.auto()  # nobody asked for anything
    MAPPING = enum.auto()  # its op is finding out how it is keyed
    INPUT_KEYS = enum.auto()  # waiting for the keys of its inputs
    CONTENT = enum.auto()  # waiting for, then digesting, the inputs that count by content
    KEYED = enum.auto()  # its key is known; `record` says whether an earlier result serves
    INPUTS = enum.auto()  # missed: waiting for the results of its inputs
    RUNNING = enum.auto()  # being run, by itself or by a twin with the same key
    DONE = enum.auto()  # results are there


class Vertex(Mutable, eq=False):
    """A node of the graph, and how far it has come. Changed under the solver's lock only."""

    node: Node
    op: Op
    inputs: tuple[Vertex, ...]
    readers: list[Vertex] = msgspec.field(default_factory=list)
    state: State = State.IDLE
    wanted: bool = False  # somebody needs the results, not just the key
    map: CacheMap | None = None
    fast: str = ""
    key: str = ""
    keyless: bool = False  # volatile: has results, but no key
    fresh: bool = False  # made in this build because a cache was ignored: older results are stale
    missed: bool = False  # no earlier result can serve, whatever its key turns out to be
    slow: bool = False  # its key waits for content that has to be made, for it or for one below
    record: Record | None = None
    contents: dict[int, Digest] = msgspec.field(default_factory=dict)
    digesting: bool = False
    twins: list[Vertex] = msgspec.field(default_factory=list)
    results: Sequence[Result] = ()
    announced: bool = False
    cached: bool = False


def explained(error: BaseException, vertex: Vertex) -> BaseException:
    """The error as a person is told it, with the place in the Dockerfile. What files of an image or
    context make a system call say is one to expect."""
    if isinstance(error, OSError):
        told: BaseException = explain_oserror(
            error, f"working on {vertex.node.name or 'the build'}"
        )
        told.__cause__ = error
        error = told
    if isinstance(error, ViaductError) and error.where is None:
        error.where = vertex.node.where
    return error
