"""The list of `viaduct ls`: builders, their nodes, and what platforms these can build for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base.values import Value
from viaduct.cli.listing import Listing
from viaduct.oci import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viaduct.base.errors import StoreError
    from viaduct.engine.builder.values import Builder
    from viaduct.engine.builders import Builders

_MOST_PLATFORMS = 4
_MAJOR = (
    "linux/amd64 linux/arm64 linux/arm linux/ppc64le linux/s390x linux/riscv64 linux/mips64".split()
)
_LISTING = Listing(
    "builder",
    {
        "Name": "NAME/NODE",
        "DriverEndpoint": "DRIVER/ENDPOINT",
        "LastActivity": "LAST ACTIVITY",
        "Status": "STATUS",
        "Buildkit": "BUILDKIT",
        "Platforms": "PLATFORMS",
        "Error": "ERROR",
        "Builder": "BUILDER",
    },
    "table {{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Platforms}}",
)


class NodeState(Value):
    """A node of a builder. `fixed` are the platforms it was given, which win over detected ones;
    `options` are those of its driver, `flags` those of the daemon that it does not have."""

    name: str
    endpoint: str
    status: str
    version: str = ""
    platforms: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    error: str = ""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)
    flags: tuple[str, ...] = ()


class BuilderState(Value):
    """A builder; `last_activity` is in seconds since the epoch, 0 for never."""

    name: str
    driver: str
    nodes: tuple[NodeState, ...] = ()
    current: bool = False
    last_activity: float = 0
    error: str = ""

    @property
    def activity(self) -> str:
        """When it was last used, as text; empty for never."""
        if not self.last_activity:
            return ""
        return datetime.fromtimestamp(self.last_activity, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def observe(
    builders: Builders, builder: Builder | tuple[str, StoreError], detected: Sequence[str]
) -> BuilderState:
    """How a builder is, on a machine where `detected` are the platforms that run; a node that does
    not run shows none but its own."""
    if isinstance(builder, tuple):
        name, error = builder
        return BuilderState(name, "", error=str(error))
    running = builders.running(builder)
    nodes = tuple(
        NodeState(
            node.name,
            node.endpoint,
            "running" if node.name in running else "inactive",
            platforms=tuple(detected) if node.name in running else (),
            fixed=node.fixed,
            options=node.driver_opts or {},
            flags=node.flags or (),
        )
        for node in builder.nodes
    )
    return BuilderState(
        builder.name,
        builder.driver,
        nodes,
        current=builder.name.lower() == builders.current().lower(),
        last_activity=builders.store.last_activity(builder.name),
    )


def is_table(form: str) -> bool:
    """Whether `--format` asks for a table, which is for people."""
    return form in ("", "table") or form.startswith("table ")


def render(builders: Sequence[BuilderState], *, form: str = "", no_trunc: bool = False) -> str:
    """The builders, broken ones last, each with its nodes beneath; `json` has one line each."""
    builders = sorted(builders, key=lambda builder: bool(builder.error))
    if form == "json":
        return _LISTING.render([_document(builder) for builder in builders], form)
    rows = list(_rows(builders, table=is_table(form), no_trunc=no_trunc))
    return _LISTING.render(rows, form)


def complaints(builders: Iterable[BuilderState]) -> list[str]:
    """What is wrong with which builder, for standard error."""
    out = []
    for builder in builders:
        if builder.error:
            out.append(f"Cannot load builder {builder.name}: {builder.error}")
            continue
        out += [
            f"Failed to get status for {builder.name} ({node.name}): {node.error}"
            for node in builder.nodes
            if node.error
        ]
    return out


def _rows(
    builders: Iterable[BuilderState], *, table: bool, no_trunc: bool
) -> Iterable[dict[str, Any]]:
    """In a table the current builder carries a star and nodes are set in."""
    for builder in builders:
        yield {
            "Name": builder.name + (" *" if table and builder.current else ""),
            "DriverEndpoint": builder.driver,
            "LastActivity": builder.activity,
            "Status": "error" if builder.error else "",
            "Buildkit": "",
            "Platforms": "",
            "Error": builder.error,
            "Builder": _document(builder),
        }
        for node in () if builder.error else builder.nodes:
            yield {
                "Name": ("  " if table else "") + node.name,
                "DriverEndpoint": ("  " if table else "") + node.endpoint,
                "LastActivity": "",
                "Status": "error" if node.error else node.status,
                "Buildkit": node.version,
                "Platforms": platform_text(
                    node.platforms, node.fixed, most=0 if no_trunc or not table else _MOST_PLATFORMS
                ),
                "Error": node.error,
                "Builder": _document(builder),
            }


def _document(builder: BuilderState) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Name": builder.name,
        "Driver": builder.driver,
        "Current": builder.current,
        "Dynamic": False,
        "Nodes": [_node(node) for node in builder.nodes],
    }
    if builder.last_activity:
        document["LastActivity"] = builder.activity
    if builder.error:
        document["Err"] = builder.error
    return document


def _node(node: NodeState) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Name": node.name,
        "Endpoint": node.endpoint,
        "Flags": list(node.flags),
        "DriverOpts": dict(node.options),
        "Status": node.status,
        "Platforms": list(dict.fromkeys((*node.fixed, *node.platforms))),
        "Version": node.version,
        "Err": node.error,
    }
    return {key: value for key, value in document.items() if value}


def platform_text(detected: Sequence[str], fixed: Sequence[str] = (), *, most: int = 0) -> str:
    """`linux/amd64 (+3), linux/arm64, (2 more)`: at most `most` machines (0: every platform), the
    well-known ones first; a star marks a fixed platform."""
    marked = _marked(detected, fixed)
    if not most:
        return ", ".join(marked)
    groups: dict[str, list[str]] = {}
    for text in marked:
        platform = platforms.parse(text.rstrip("*"))
        groups.setdefault(f"{platform.os}/{platform.architecture}", []).append(text)
    known = [name for name in _MAJOR if name in groups]
    chosen = [*known, *sorted(set(groups) - set(known))][:most]
    out = []
    for name in chosen:
        group = groups[name]
        star = "*" if any(text.endswith("*") for text in group) else ""
        out.append(group[0] if len(group) == 1 else f"{name}{star} (+{len(group)})")
    left = len(marked) - sum(len(groups[name]) for name in chosen)
    return ", ".join([*out, f"({left} more)"] if left else out)


def _marked(detected: Sequence[str], fixed: Sequence[str]) -> list[str]:
    return [f"{text}*" for text in fixed] + [text for text in detected if text not in fixed]
