"""Nodes: operations joined to the outputs of other operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import force_setattr

from viaduct.base.urls import masked
from viaduct.base.values import Value
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.base.spans import Span
    from viaduct.graph.ops import Op
    from viaduct.oci.digest import Digest

_encoder = msgspec.json.Encoder(order="deterministic")


class Node(Value, eq=False):
    """One vertex of the graph.

    `platform` (normal text, `linux/arm64`) is set where the result depends on it: image sources and
    commands. What follows it is about the node, not part of it: `name` as a person sees it,
    `platform_group` the platform whose leg it was first made for, `where` in the Dockerfile,
    `no_cache` to run in any case, `emulated` when commands need an emulator.
    """

    op: Op
    inputs: tuple[Edge, ...] = ()
    platform: str = ""
    name: str = ""
    platform_group: str = ""
    where: Span | None = None
    no_cache: bool = False
    emulated: bool = False

    #: Identity of the node, computed: two nodes with one digest do the same work on the same
    #: inputs.
    digest: Digest = digests.Digest("")

    def __post_init__(self) -> None:
        # Computed at once: inputs exist first, so a chain of any length needs no recursion.
        inputs = [(edge.node.digest, edge.output) for edge in self.inputs]
        digest = digests.of(_encoder.encode((self.op, inputs, self.platform)))
        force_setattr(self, "digest", digest)
        # Names are shown and stored; a token in a URL is neither.
        force_setattr(self, "name", masked(self.name))

    def __repr__(self) -> str:
        # Not with its inputs: a graph has many more paths than nodes.
        return f"Node({self.op!r}, digest={self.digest!r})"

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.digest == other.digest


class Edge(Value):
    """One output of a node."""

    node: Node
    output: int = 0


def canonical(value: object) -> bytes:
    """Deterministic JSON of an operation or part of one; the bytes that keys are made of."""
    return _encoder.encode(value)


def walk(roots: Iterable[Edge | None]) -> Iterator[Node]:
    """Every node reachable from `roots` once, inputs before the nodes that read them."""
    seen: set[Digest] = set()
    for root in roots:
        if root is None:
            continue
        stack: list[tuple[Node, int]] = [(root.node, 0)]
        while stack:
            node, at = stack.pop()
            if at == 0 and node.digest in seen:
                continue
            if at < len(node.inputs):
                stack.append((node, at + 1))
                stack.append((node.inputs[at].node, 0))
            elif node.digest not in seen:
                seen.add(node.digest)
                yield node
