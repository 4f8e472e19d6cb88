"""What `create` does to a builder: new ones, and nodes that come, change and leave. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import NotFound, UsageError
from viaduct.base.values import Value
from viaduct.engine.builder.values import (
    EMBEDDED,
    HERE,
    Builder,
    Node,
    check_driver,
    check_endpoint,
    options,
)
from viaduct.oci.models import PlatformSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.oci.platform import Platform


class Wish(Value, kw_only=True):
    """What `create` was asked for. An empty `driver` is the builder's own, or the embedded engine;
    an empty `node` is the next free name; an empty `endpoint` is this machine."""

    name: str
    driver: str = ""
    node: str = ""
    endpoint: str = ""
    platforms: tuple[Platform, ...] = ()
    driver_opts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    append: bool = False


def make(wish: Wish, present: Builder | None) -> Builder:
    """The builder after `wish`, of which `present` is the one of that name so far.

    Raises `UsageError` and `NotFound` in the words of the peers.
    """
    if present is None:
        if wish.append:
            raise NotFound(
                f'failed to find instance "{wish.name}" for append',
                hint="create it without --append",
            )
    elif not wish.append and not wish.node:
        raise UsageError(
            f'existing instance for "{wish.name}" but no append mode, specify the node name to '
            "make changes for existing instances",
            hint=f"to begin anew: viaduct rm {wish.name}",
        )
    driver = wish.driver or (present.driver if present else EMBEDDED)
    if present and driver != present.driver:
        raise UsageError(
            f'existing instance for "{wish.name}" but has mismatched driver "{present.driver}"'
        )
    driver = check_driver(driver)
    opts = options(driver, wish.driver_opts)
    nodes = present.nodes if present else ()
    return Builder(
        name=present.name if present else wish.name,
        driver=driver,
        nodes=_with_node(nodes, wish, opts, _node_name(wish, nodes)),
    )


def leave(builder: Builder, node: str) -> Builder:
    """`builder` without one of its nodes."""
    left = tuple(one for one in builder.nodes if one.name != node)
    if len(left) == len(builder.nodes):
        raise NotFound(f'node "{node}" not found for {builder.name}')
    return replace(builder, nodes=left)


def _node_name(wish: Wish, nodes: tuple[Node, ...]) -> str:
    if wish.node:
        return wish.node
    taken = {node.name for node in nodes}
    names = (f"{wish.name}{number}" for number in itertools.count())
    return next(name for name in names if name not in taken)


def _with_node(
    nodes: tuple[Node, ...], wish: Wish, opts: dict[str, str] | None, name: str
) -> tuple[Node, ...]:
    present = next((node for node in nodes if node.name == name), None)
    if present is None and nodes and not wish.append:
        raise NotFound(f"node {name} not found, did you mean to append?")
    before = present or Node(name=name)
    endpoint = check_endpoint(wish.endpoint) or before.endpoint
    others = [node for node in nodes if node.name != name]
    if endpoint != HERE and any(node.endpoint == endpoint for node in others):
        raise UsageError(f"invalid duplicate endpoint {endpoint}")
    platforms = tuple(PlatformSpec.of(platform) for platform in wish.platforms)
    node = Node(
        name=name,
        endpoint=endpoint,
        platforms=platforms or before.platforms,
        driver_opts=opts or before.driver_opts,
        flags=wish.flags or before.flags,
        files=dict(wish.files) or before.files,
    )
    # A platform belongs to one node: the one that was told so last.
    out = [
        node if one.name == name else replace(one, platforms=_without(one.platforms, platforms))
        for one in nodes
    ]
    return tuple(out if present else [*out, node])


def _without(
    platforms: tuple[PlatformSpec, ...] | None, taken: tuple[PlatformSpec, ...]
) -> tuple[PlatformSpec, ...] | None:
    return tuple(one for one in platforms or () if one not in taken) or None
