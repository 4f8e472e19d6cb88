"""What the cache holds: snapshots, cache mounts, and content that no tagged image needs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from viaduct.base.errors import NotFound
from viaduct.oci.digest import Digest
from viaduct.store import keep
from viaduct.store.keep import Holding, Record, Stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from viaduct.store.content import BlobInfo
    from viaduct.store.snapshots import Snapshot
    from viaduct.store.store import Store

#: The id of the record for all manifests and configurations that belong to no tagged image.
DOCUMENTS = "documents"


class Hoard(Protocol):
    """Something else below the state root that is collected by the same rules."""

    def holdings(self, oldest: float | None) -> Iterable[Holding]:
        """What there is; used since `oldest` means in use."""

    def remove(self, name: str, allowed: Callable[[float], bool]) -> bool | None:
        """Remove what has this id, if `allowed` (asked with its last use) lets go; None when it is
        none of ours."""


def stock(store: Store, hoards: Sequence[Hoard] = ()) -> Stock:
    """All that the cache holds now."""
    # The leases first: what is used from here on counts as in use.
    oldest = store.leases.oldest()
    tagged = tagged_blobs(store)
    blobs = {blob.digest: blob for blob in store.content.walk()}
    holdings = [
        *_snapshots(store, blobs, tagged, oldest),
        *_cache_mounts(store, oldest),
        *_loose(store, blobs, tagged, oldest),
    ]
    for hoard in hoards:
        holdings += hoard.holdings(oldest)
    return Stock(holdings)


def usage(store: Store, hoards: Sequence[Hoard] = ()) -> tuple[Record, ...]:
    """What the cache holds, as records whose sizes add up: the smallest first."""
    return tuple(sorted(stock(store, hoards).sized(), key=lambda each: (each.size, each.id)))


def tagged_blobs(store: Store) -> set[Digest]:
    """All that the names in the store lead to."""
    return store.images.reachable(image.descriptor for image in store.images.list())


def _snapshots(
    store: Store,
    blobs: dict[Digest, BlobInfo],
    tagged: set[Digest],
    oldest: float | None,
) -> Iterator[Holding]:
    layers = store.snapshots.layer_digests()
    rows = store.snapshots.all()
    busy: set[int] = set()
    shared: set[int] = set()
    # Children come after their parents, so that one pass from the end reaches all ancestors.
    for row in reversed(rows):
        if oldest is not None and row.last_used >= oldest:
            busy.add(row.id)
        if any(digest in tagged for digest in layers.get(row.id, ())):
            shared.add(row.id)
        if row.parent is not None:
            if row.id in busy:
                busy.add(row.parent)
            if row.id in shared:
                shared.add(row.parent)
    for row in rows:
        own = layers.get(row.id, ())
        parts: dict[str, int] = {
            digest: blobs[digest].size for digest in own if digest in blobs and digest not in tagged
        }
        yield Holding(
            _of_snapshot(row, shared=row.id in shared, in_use=row.id in busy),
            {f"directory {row.directory}": row.size, **parts},
        )


def _of_snapshot(row: Snapshot, *, shared: bool, in_use: bool) -> Record:
    return Record(
        id=str(row.id),
        type=row.kind,
        created=row.created,
        last_used=row.last_used,
        uses=row.uses,
        parents=() if row.parent is None else (str(row.parent),),
        description=row.description,
        shared=shared,
        in_use=in_use,
    )


def _cache_mounts(store: Store, oldest: float | None) -> Iterator[Holding]:
    for mount in store.cache_mounts.list():
        recent = oldest is not None and mount.last_used >= oldest
        where = f" for {mount.platform}" if mount.platform else ""
        record = Record(
            id=mount.name,
            type=keep.CACHE_MOUNT,
            created=mount.created,
            last_used=mount.last_used,
            uses=mount.uses,
            description=f"cache mount {mount.id}{where}",
            mutable=True,
            in_use=recent or store.cache_mounts.busy(mount.name),
        )
        yield Holding(record, {f"cache mount {mount.name}": mount.size})


def _loose(
    store: Store,
    blobs: dict[Digest, BlobInfo],
    tagged: set[Digest],
    oldest: float | None,
) -> Iterator[Holding]:
    """Blobs that belong to no tagged image and to no layer: one record for each, and one for all
    manifests and configurations, which are small and many."""
    layers = set[Digest]().union(*store.snapshots.layer_digests().values())
    documents: list[BlobInfo] = []
    for blob in blobs.values():
        if blob.digest in tagged or blob.digest in layers:
            continue
        if is_document(store, blob):
            documents.append(blob)
            continue
        record = Record(
            id=blob.digest,
            created=blob.last_used,
            last_used=blob.last_used,
            uses=1,
            description="content of no image in the store",
            in_use=oldest is not None and blob.last_used >= oldest,
        )
        yield Holding(record, {blob.digest: blob.size})
    if documents:
        last = max(blob.last_used for blob in documents)
        record = Record(
            id=DOCUMENTS,
            type=keep.INTERNAL,
            created=min(blob.last_used for blob in documents),
            last_used=last,
            uses=1,
            description=f"{len(documents)} manifests and configurations of images without a name",
            in_use=oldest is not None and all(b.last_used >= oldest for b in documents),
        )
        yield Holding(record, {blob.digest: blob.size for blob in documents})


def is_document(store: Store, blob: BlobInfo) -> bool:
    """Whether a blob looks like a manifest or configuration."""
    if blob.size > 4 << 20:
        return False
    with contextlib.suppress(NotFound), store.content.open(blob.digest) as file:
        return file.read(1) == b"{"
    return False
