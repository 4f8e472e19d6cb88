"""The page of `viaduct inspect`: one builder, in the field names and order of the peers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import viaduct
from viaduct.cli.builder_list import platform_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.cli.builder_list import BuilderState, NodeState
    from viaduct.engine.builder.values import Builder, Node


def render(builder: Builder, state: BuilderState) -> str:
    """The builder and each of its nodes. Scripts read it, so every line is `Name: value`."""
    head = [("Name", builder.name), ("Driver", builder.driver)]
    if state.last_activity:
        # Here the peers print the time as Go does, unlike anywhere else.
        at = datetime.fromtimestamp(state.last_activity, UTC)
        head.append(("Last Activity", at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")))
    pages = [_columns(head)]
    pages += [
        _columns(list(_node(node, seen, builder.driver))) + _files(node)
        for node, seen in zip(builder.nodes, state.nodes, strict=True)
    ]
    return pages[0] + "\nNodes:\n" + "\n".join(pages[1:])


def _node(node: Node, seen: NodeState, driver: str) -> Iterator[tuple[str, str]]:
    yield "Name", node.name
    yield "Endpoint", node.endpoint
    if seen.options:
        options = (f'{key}="{seen.options[key]}"' for key in sorted(seen.options))
        yield "Driver Options", " ".join(options)
    yield "Status", seen.status
    if seen.flags:
        yield "BuildKit daemon flags", " ".join(seen.flags)
    if text := platform_text(seen.platforms, seen.fixed):
        yield "Platforms", text
    yield "Engine", _engine(driver)


def _engine(driver: str) -> str:
    """Who really does the work, in one line."""
    here = f"embedded in Viaduct v{viaduct.__version__}"
    if driver == "docker":
        return f"{here}; builds for every platform, with or without a Docker daemon"
    if driver == "embedded":
        return here
    return f"{here}; serves driver {driver} with no daemon and no container"


def _files(node: Node) -> str:
    out = ""
    for name, data in (node.files or {}).items():
        out += f"File#{name}:\n"
        out += "".join(f" > {line}\n" for line in data.decode(errors="replace").split("\n"))
    return out


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name + ':':<{width}}{value}\n" for name, value in rows)
