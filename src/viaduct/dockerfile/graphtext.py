"""A lowered build as text, for people and for comparisons.

One paragraph for each node, inputs before the nodes that read them, then the configuration. The
text leaves out what cannot change a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.graph.node import walk
from viaduct.graph.ops import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.options import Lowered
    from viaduct.graph.node import Edge, Node


def graph_text(lowered: Lowered) -> str:
    """The graph and the configuration of a lowered build."""
    numbers: dict[str, int] = {}
    parts: list[str] = []
    for number, node in enumerate(walk([lowered.root]), 1):
        numbers[node.digest] = number
        parts.append("\n".join(_node(number, node, numbers)))
    root = "scratch" if lowered.root is None else _edge(lowered.root, numbers)
    config = msgspec.json.format(msgspec.json.encode(lowered.config), indent=2).decode()
    return "\n\n".join((*parts, f"root {root}", config)) + "\n"


def _node(number: int, node: Node, numbers: dict[str, int]) -> Iterator[str]:
    name = node.name or "(no name)"
    flags = [flag for flag, on in (("no-cache", node.no_cache), ("emulated", node.emulated)) if on]
    yield " ".join((f"#{number}", name, *(f"({flag})" for flag in flags)))
    about = [f"{type(node.op).__name__.lower()}"]
    if node.platform:
        about.append(node.platform)
    if node.where is not None:
        about.append(f"line {node.where.start}")
    yield "    " + ", ".join(about)
    for index, edge in enumerate(node.inputs):
        yield f"    input {index}: {_edge(edge, numbers)}"
    actions = node.op.actions if isinstance(node.op, File) else ()
    fields = msgspec.to_builtins(node.op)
    fields.pop("type", None)
    fields.pop("actions", None)
    yield from _fields(fields, "    ")
    for action in actions:
        values = msgspec.to_builtins(action)
        yield f"    - {values.pop('type')}"
        yield from _fields(values, "      ")


def _fields(values: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        if key == "mounts":
            for mount in value:
                words = [f"{name}={_value(one)}" for name, one in mount.items()]
                yield f"{indent}mount {' '.join(words)}"
        elif isinstance(value, list | tuple):
            yield f"{indent}{key}:"
            yield from (f"{indent}  {_value(item)}" for item in value)
        else:
            yield f"{indent}{key}: {_value(value)}"


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _edge(edge: Edge, numbers: dict[str, int]) -> str:
    output = f" output {edge.output}" if edge.output else ""
    return f"#{numbers[edge.node.digest]}{output}"
