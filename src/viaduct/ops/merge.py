"""Merge: file systems laid over each other, sharing their layers (`COPY --link`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.oci import digest as digests
from viaduct.ops.trees import Filesystem
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest
    from viaduct.ops.trees import Trees
    from viaduct.solve.plan import Job, Result


class MergeOp:
    """The first input, with the layers of the others put on top of it.

    Nothing is copied: the merged snapshots are the same directories and the same layer blobs under
    another parent, so a new base reuses a linked layer byte for byte.
    """

    heavy = False
    remote = False

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    def cache_map(self, stop: Stop) -> CacheMap:
        return CacheMap(digests.of(b"merge"))

    def content_digest(self, index: int, result: Result, job: Job) -> Digest:
        raise AssertionError("merge reads no input selectively")

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        merged = Filesystem()
        for layer in inputs:
            assert isinstance(layer, Filesystem)
            merged = layer if merged.snapshot is None else self._trees.stack(merged, layer)
        return [merged]
