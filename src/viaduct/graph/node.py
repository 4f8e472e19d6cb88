"""Nodes: operations joined to the outputs of other operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.urls import masked
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.base.spans import Span
    from viaduct.graph.ops import Op
    from viaduct.oci.digest import Digest

_encoder = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True)
class Node:
    """One vertex of the graph.

    `platform` (normal text, `linux/arm64`) is set where the result depends on it: image sources and
    commands. What follows it is about the node, not part of it: `name` as a person sees it,
    `platform_group` the platform whose leg it was first made for, `where` in the Dockerfile,
    `no_cache` to run in any case, `emulated` when commands need an emulator.
    """

    op: Op
    inputs: tuple[Edge, ...] = field(default=(), repr=False)
    platform: str = ""
    name: str = field(default="", compare=False)
    platform_group: str = field(default="", compare=False)
    where: Span | None = field(default=None, compare=False)
    no_cache: bool = field(default=False, compare=False)
    emulated: bool = field(default=False, compare=False)

    #: Identity of the node: two nodes with one digest do the same work on the same inputs.
    digest: Digest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed at once: inputs exist first, so a chain of any length needs no recursion.
        inputs = [(edge.node.digest, edge.output) for edge in self.inputs]
        digest = digests.of(_encoder.encode((self.op, inputs, self.platform)))
        object.__setattr__(self, "digest", digest)
        # Names are shown and stored; a token in a URL is neither.
        object.__setattr__(self, "name", masked(self.name))

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.digest == other.digest


@dataclass(frozen=True, slots=True)
class Edge:
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
