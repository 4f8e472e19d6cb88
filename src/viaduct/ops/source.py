"""What all sources have in common, and the two simplest ones: images and local directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.graph.node import canonical
from viaduct.oci import digest as digests
from viaduct.ops.trees import Filesystem, LocalTree
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.graph.ops import LocalSource
    from viaduct.oci.digest import Digest
    from viaduct.ops.select import Pattern
    from viaduct.solve.plan import Job, Result


class Source:
    """An op without inputs."""

    heavy = False
    remote = False

    def content_digest(self, index: int, result: Result, job: Job) -> Digest:
        raise AssertionError("a source has no inputs to digest")


class ImageOp(Source):
    """An image's root file system: its layers are declared, and fetched by whoever needs them.

    `declare` makes the lazy snapshots and returns the topmost one (None for an image without
    layers); `chain` is the chain id that keys the result.
    """

    def __init__(self, chain: str, declare: Callable[[], int | None]) -> None:
        self._chain = chain
        self._declare = declare

    def cache_map(self, stop: Stop) -> CacheMap:
        return CacheMap(digests.of(canonical(("image", self._chain))))

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        return [Filesystem(self._declare())]


class LocalOp(Source):
    """A directory of the person who builds; whoever reads it does so by content."""

    def __init__(self, op: LocalSource, root: Path, ignored: Pattern | None) -> None:
        self._op = op
        self._root = root
        self._ignored = ignored

    def cache_map(self, stop: Stop) -> CacheMap:
        return CacheMap(digests.of(canonical(self._op)), volatile=True)

    def run(self, inputs: Sequence[Result], job: Job) -> list[LocalTree]:
        return [LocalTree(self._root, self._ignored)]
