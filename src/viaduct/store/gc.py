"""Garbage collection: taking away what the rules let go.

Whatever a tagged image reaches stays, and so does all that was used since the oldest running build
began; both are looked at again at the moment when something goes. Directories and rows are removed
by those who own them (`Snapshots.remove`, `CacheMounts.remove`), blobs while no process is between
asking for one and using it (`ContentStore.pinned`).
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import ContentError, NotFound
from viaduct.base.fs import explain_oserror
from viaduct.oci import digest as digests
from viaduct.oci import models
from viaduct.store import hashes, keep, reach, usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.store.keep import Limits, Record, Rule
    from viaduct.store.store import Store
    from viaduct.store.usage import Hoard

_DAY = 86_400.0
# Housekeeping of what takes no room worth a rule.
_BUILDS_KEPT = 1_000
_HASHES_KEPT = 2_000_000
_OPAQUE_KEPT = 60 * _DAY
# BuildKit's first rule: so much of what is easily made again may lie idle for two days.
_IDLE = 2 * _DAY
_EASY = 512_000_000


def collect(
    store: Store,
    rules: Iterable[Rule],
    *,
    hoards: Sequence[Hoard] = (),
    stop: Stop | None = None,
) -> Iterator[Record]:
    """Apply the rules one after the other, and yield what was removed with the bytes it freed.

    Several processes may do this at once, while others build. Raises `StoreError`, and `Canceled`
    when stopped; what is gone by then is gone.
    """
    store.trash.retry()
    known = usage.stock(store, hoards)
    remover = _Remover(store, hoards)

    def remove(record: Record) -> bool:
        if stop is not None:
            stop.check()
        return remover.remove(record)

    for rule in rules:
        now, free = time.time(), free_bytes(store)
        try:
            yield from keep.collect(known, rule, now=now, free=free, remove=remove)
        finally:
            remover.flush()
    tidy(store)


def release(store: Store, root: Descriptor) -> tuple[Digest, ...]:
    """Delete the blobs that only `root` needed, which no name leads to any more; what of it the
    build cache knows stays.

    Layers that were unpacked to run the image, and that no build knows, are not cache and go too.
    """
    below = store.images.reachable([root])
    if root.digest in usage.tagged_blobs(store):
        return ()
    remover = _Remover(store, ())
    for chain in _chains(store, root):
        for snapshot in reversed(chain):
            if store.records.leads_to(snapshot):
                break
            if not remover.remove_snapshot(snapshot):
                break
    return remover.flush(below)


def tidy(store: Store) -> None:
    """Forget what is old, or about things that are gone, in the database."""
    store.history.trim(_BUILDS_KEPT)
    store.records.forget_opaque(time.time() - _OPAQUE_KEPT)
    store.snapshots.forget_sources(store.content.exists)
    hashes.trim(store.database, _HASHES_KEPT)


def free_bytes(store: Store) -> int:
    """What the disk of the state root has left for us."""
    try:
        disk = os.statvfs(store.root)
    except OSError as error:
        raise explain_oserror(error, "looking at the disk") from error
    return disk.f_bavail * disk.f_frsize


def is_due(store: Store, limits: Limits) -> bool:
    """Whether the automatic collection may have something to do: a quick look, not a count.

    Directories are counted, and blobs taken to be no larger than what they unpack to.
    """
    idle = time.time() - _IDLE
    with store.database.read() as db:
        size, oldest = db.execute(
            "SELECT TOTAL(size), MIN(CASE WHEN kind LIKE 'source.%' THEN last_used END)"
            " FROM snapshots"
        ).fetchone()
        mounted, untouched = db.execute(
            "SELECT TOTAL(size), MIN(last_used) FROM cache_mounts"
        ).fetchone()
    total = 2 * size + mounted
    if any(used is not None and used < idle for used in (oldest, untouched)) and total > _EASY:
        return True
    if total <= limits.reserved:
        return False
    full = bool(limits.min_free) and free_bytes(store) < limits.min_free
    return full or bool(limits.max_used and total > limits.max_used)


def _chains(store: Store, root: Descriptor) -> Iterator[list[int]]:
    """The snapshots of an image's platforms, as far as there are any, base first."""
    for manifest in reach.manifests(store.content, [root]):
        with contextlib.suppress(NotFound, ContentError):
            data = store.content.read(manifest.config.digest)
            config = models.decode(data, models.ImageConfig, what=manifest.config.digest)
            yield store.snapshots.find_chain(config.rootfs.diff_ids)


class _Remover:
    """Takes records away, each if it may still go. Blobs are deleted by `flush`, many at once:
    what needs them is found out anew each time."""

    def __init__(self, store: Store, hoards: Sequence[Hoard]) -> None:
        self._store = store
        self._hoards = hoards
        self._freed: set[Digest] = set()

    def remove(self, record: Record) -> bool:
        """Whether the record is gone."""
        if record.id == usage.DOCUMENTS or ":" in record.id:
            loose = [digest for digest, used in self._loose_blobs(record) if self._allowed(used)]
            self._freed.update(loose)
            return bool(loose)
        if record.type == keep.CACHE_MOUNT:
            return self._store.cache_mounts.remove(record.id, self._allowed)
        for hoard in self._hoards:
            if (answer := hoard.remove(record.id, self._allowed)) is not None:
                return answer
        return self.remove_snapshot(int(record.id))

    def remove_snapshot(self, snapshot: int) -> bool:
        blobs = self._store.snapshots.remove(snapshot, self._allowed)
        self._freed.update(blobs or ())
        return blobs is not None

    def flush(self, more: Iterable[Digest] = ()) -> tuple[Digest, ...]:
        """Delete those of the freed blobs, and of `more`, that nothing needs."""
        store = self._store
        wanted = {*self._freed, *more}
        self._freed.clear()
        if not wanted:
            return ()
        gone = []
        with store.content.pinned(exclusive=True):
            needed = usage.tagged_blobs(store)
            needed.update(*store.snapshots.layer_digests().values())
            for digest in sorted(wanted - needed):
                used = store.content.last_used(digest)
                if used is not None and self._allowed(used) and store.content.delete(digest):
                    gone.append(digest)
        return tuple(gone)

    def _loose_blobs(self, record: Record) -> Iterator[tuple[Digest, float]]:
        """The blobs of a record that were not used since it was made, with their last use."""
        if record.id != usage.DOCUMENTS:
            digest = digests.parse(record.id)
            used = self._store.content.last_used(digest)
            if used is not None:
                yield digest, used
            return
        tagged = usage.tagged_blobs(self._store)
        for blob in self._store.content.walk():
            if blob.digest not in tagged and usage.is_document(self._store, blob):
                yield blob.digest, blob.last_used

    def _allowed(self, used: float) -> bool:
        """Whether something last used at some time is needed by no running build. Asked when
        nobody can begin to use it any more, so that all who did are known."""
        oldest = self._store.leases.oldest()
        return oldest is None or used < oldest
