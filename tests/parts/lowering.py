"""Dockerfiles lowered without an engine: base images are configurations and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viaduct.base.errors import NotFound
from viaduct.dockerfile.lower import lower
from viaduct.dockerfile.options import LoadedContext, LowerOptions, ResolvedImage
from viaduct.dockerfile.parse import decode, parse
from viaduct.graph.node import Edge, Node, walk
from viaduct.graph.ops import Exec, LocalSource
from viaduct.oci import digest as digests
from viaduct.oci import platform as platforms
from viaduct.oci.models import History, ImageConfig, RootFS, RunConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.dockerfile.options import Lowered
    from viaduct.oci.platform import Platform

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image(*, architecture: str = "amd64", system: str = "linux", **config: Any) -> ImageConfig:
    """An image of one layer; `config` are fields of `RunConfig`."""
    return ImageConfig(
        architecture=architecture,
        os=system,
        created="2020-01-01T00:00:00Z",
        config=RunConfig(**{"env": (PATH,), **config}),
        rootfs=RootFS(diff_ids=(digests.parse("sha256:" + "1" * 64),)),
        history=(History(created="2020-01-01T00:00:00Z", created_by="base"),),
    )


IMAGES = {"docker.io/library/alpine:latest": image(cmd=("/bin/sh",))}


class Images:
    """A resolver that knows these images for every platform, and an empty build context."""

    def __init__(self, images: Mapping[str, ImageConfig]) -> None:
        self._images = images
        self._context = Edge(Node(LocalSource(name="context")))

    def resolve_image(self, reference: str, platform: Platform) -> ResolvedImage:
        if reference not in self._images:
            raise NotFound(f"{reference}: not found")
        digest = "sha256:" + "a" * 64
        return ResolvedImage(
            reference=f"{reference}@{digest}", config=self._images[reference], layout=""
        )

    def named_context(self, name: str, value: str, platform: Platform) -> LoadedContext:
        if value in self._images:
            return LoadedContext(edge=self._context, config=self._images[value])
        return LoadedContext(edge=Edge(Node(LocalSource(name=f"{name} for {platform}"))))

    def main_context(self) -> Edge:
        return self._context

    def source_epoch(self, source: Edge) -> int | None:
        return 1_700_000_000 if source else None


def lowered(
    text: str | bytes,
    *,
    platform: str = "linux/amd64",
    images: Mapping[str, ImageConfig] = IMAGES,
    **options: Any,
) -> Lowered:
    """A Dockerfile for one platform, built on linux/amd64; `options` are `LowerOptions`'s."""
    data = text.encode() if isinstance(text, str) else text
    options.setdefault("build_platform", platforms.parse("linux/amd64"))
    document = parse(decode(data))
    return lower(document, LowerOptions(**options), platforms.parse(platform), Images(images))


def steps(built: Lowered) -> list[Exec]:
    """The commands of a build, in order."""
    nodes = walk([built.root]) if built.root is not None else ()
    return [node.op for node in nodes if isinstance(node.op, Exec)]


def environment(built: Lowered) -> dict[str, str]:
    """What the last RUN sees, PATH left out."""
    pairs = (entry.partition("=") for entry in steps(built)[-1].env)
    return {name: value for name, _, value in pairs if name != "PATH"}


def names(built: Lowered) -> list[str]:
    """The steps as a build shows them."""
    nodes = walk([built.root]) if built.root is not None else ()
    return [node.name for node in nodes if node.name]


def history(built: Lowered) -> list[str]:
    """What the Dockerfile added to the history."""
    return [entry.created_by for entry in built.config.history if entry.comment]
