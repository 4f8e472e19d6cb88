"""What lowering asks of the outside: base images, named contexts, and dates of sources."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.values import Mutable
from viaduct.dockerfile import contexts
from viaduct.dockerfile.options import LoadedContext, ResolvedImage
from viaduct.engine.inputs import CONTEXT, git_node, read_ignore
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import GitSource, HttpSource, ImageSource, LocalSource
from viaduct.oci import reference as references
from viaduct.oci.reference import LAYOUT_SCHEME

if TYPE_CHECKING:
    from viaduct.engine.bases import Base
    from viaduct.engine.inputs import Inputs
    from viaduct.engine.shop import Shop
    from viaduct.oci.platform import Platform


class EngineResolver(Mutable):
    """See `viaduct.dockerfile.options.Resolver`. `locals` collects the directories that nodes name;
    they may be read once lowering is done."""

    shop: Shop
    inputs: Inputs
    locals: dict[str, Path] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.locals.update(self.inputs.locals)

    def resolve_image(self, reference: str, platform: Platform) -> ResolvedImage:
        base = self.shop.bases.resolve(reference, platform)
        layout = image_source(base).layout
        return ResolvedImage(
            reference=base.reference, config=base.config, layout=layout, pinned=base.pinned
        )

    def main_context(self) -> Edge:
        if self.inputs.context is not None:
            return self.inputs.context
        source = LocalSource(name=CONTEXT, excludes=self.inputs.excludes)
        return Edge(Node(source, name="[internal] load build context"))

    def named_context(self, name: str, value: str, platform: Platform) -> LoadedContext:
        kind = contexts.classify_named(value)
        shown = f"[context {name}] {value}"
        match kind:
            case contexts.ImageContext(reference="scratch"):
                return LoadedContext(edge=None)
            case contexts.ImageContext():
                complete = str(references.parse(kind.reference).with_default_tag())
                return self._image(complete, platform, shown)
            case contexts.LayoutContext():
                at = f"@{kind.digest}" if kind.digest else f":{kind.tag}" if kind.tag else ""
                return self._image(f"{LAYOUT_SCHEME}{kind.path}{at}", platform, shown)
            case contexts.GitContext():
                return LoadedContext(edge=Edge(git_node(kind, shown)))
            case contexts.HttpContext():
                # The file as it is, an archive or not: only the build context is unpacked.
                node = Node(HttpSource(url=kind.url, filename="context"), name=shown)
                return LoadedContext(edge=Edge(node))
            case contexts.LocalContext():
                return LoadedContext(edge=self._directory(name, Path(kind.path), shown))

    def source_epoch(self, source: Edge) -> int | None:
        op = source.node.op
        if isinstance(op, GitSource):
            return self.shop.repositories().commit_time(op)
        if isinstance(op, HttpSource):
            return self.shop.downloads().fetch(op.url, stop=self.shop.stop).modified or None
        return None

    def _image(self, name: str, platform: Platform, shown: str) -> LoadedContext:
        base = self.shop.bases.resolve(name, platform)
        node = Node(
            image_source(base), platform=str(platform), name=shown, platform_group=str(platform)
        )
        return LoadedContext(edge=Edge(node), config=base.config)

    def _directory(self, name: str, path: Path, shown: str) -> Edge:
        # A named directory has its own ignore file; its name in the graph is not that of the
        # main context, whatever the person called it.
        key = f"context:{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}"
        self.locals[key] = path.absolute()
        ignore = path / ".dockerignore"
        excludes: tuple[str, ...] = ()
        if ignore.is_file():
            excludes, _ = read_ignore(ignore)
        return Edge(Node(LocalSource(name=key, excludes=excludes), name=shown))


def image_source(base: Base) -> ImageSource:
    """The graph's operation for a resolved image."""
    if base.origin.name.startswith(LAYOUT_SCHEME):
        return ImageSource(reference=base.reference, layout=base.reference)
    return ImageSource(reference=base.reference)
