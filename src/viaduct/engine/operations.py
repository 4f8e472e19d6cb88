"""How each graph node is evaluated in this build, and where results are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.graph.ops import Exec, File, GitSource, HttpSource, ImageSource, LocalSource, Merge
from viaduct.oci import platform as platforms
from viaduct.ops.exec import Bench, ExecOp
from viaduct.ops.file import FileOp
from viaduct.ops.merge import MergeOp
from viaduct.ops.source import ImageOp, LocalOp
from viaduct.solve.plan import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from viaduct.engine.shop import Shop
    from viaduct.graph.node import Node
    from viaduct.ops.trees import Filesystem, Trees
    from viaduct.solve.plan import Op
    from viaduct.store.store import Store


class Operations(Value):
    """The solver's resolver for one build. `locals` are the directories that may be read."""

    shop: Shop
    locals: Mapping[str, Path]
    bench: Bench

    def __call__(self, node: Node) -> Op:
        shop, op = self.shop, node.op
        match op:
            case ImageSource():
                base = shop.bases.resolve(op.layout or op.reference, platforms.parse(node.platform))
                shop.bases.transfers.belong(base.manifest.layers, node)
                return ImageOp(base.chain, lambda: shop.bases.declare(base))
            case LocalSource():
                return self._local(op)
            case HttpSource():
                from viaduct.ops.http import HttpOp

                return HttpOp(node, op, shop.downloads(), shop.trees)
            case GitSource():
                from viaduct.ops.git import GitOp

                return GitOp(node, op, shop.repositories(), shop.trees)
            case Exec():
                return ExecOp(node, op, self.bench)
            case File():
                return FileOp(node, op, shop.trees, shop.store.hashes)
            case Merge():
                return MergeOp(shop.trees)

    def _local(self, op: LocalSource) -> LocalOp:
        if op.name not in self.locals:
            raise UsageError(f"the build has no local directory called {op.name!r}")
        ignored = None
        if op.excludes:
            from viaduct.dockerfile.ignore import Matcher

            ignored = Matcher(op.excludes)
        return LocalOp(op, self.locals[op.name], ignored)


class Memory(Value):
    """The solver's cache store, on the state root."""

    store: Store
    trees: Trees

    def lookup(self, key: str) -> Record | None:
        found = self.store.records.lookup(key)
        if found is None or any(self.trees.load(name) is None for name in found[1]):
            return None
        return Record(*found)

    def save(self, canonical: str, results: tuple[str, ...]) -> None:
        self.store.records.save(canonical, results)

    def alias(self, fast: str, canonical: str) -> None:
        self.store.records.alias(fast, canonical)

    def load(self, result_id: str) -> Filesystem | None:
        return self.trees.load(result_id)
