"""From snapshots to layer blobs: each snapshot's change becomes a layer once, and is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.export.documents import Layer
from viaduct.layer.compress import Compression
from viaduct.oci import media, models
from viaduct.ops.trees import Filesystem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.layer.sink import Blob
    from viaduct.ops.trees import Fetch, Trees
    from viaduct.store.snapshots import LayerBlob, Snapshot
    from viaduct.store.store import Store

# Packing already uses several threads for one layer; two at once keep the walk and the
# compression of different layers overlapping.
_AT_ONCE = 2


class LayerForm(Value):
    """How the layers of an image shall be written.

    Layers of base images stay as they are unless `force`. `epoch` clamps the file times of new
    layers (seconds since 1970). `oci` chooses the media types.
    """

    compression: Compression = msgspec.field(default_factory=Compression)
    force: bool = False
    epoch: int | None = None
    oci: bool = True

    @property
    def key(self) -> str:
        """What a blob in this form is remembered under."""
        clamped = "" if self.epoch is None else f"@{self.epoch}"
        return self.compression.key + clamped


class Layers:
    """Makes and finds the layer blobs of file systems."""

    def __init__(self, store: Store, trees: Trees, fetch: Fetch, stop: Stop) -> None:
        self._store = store
        self._trees = trees
        self._fetch = fetch
        self._stop = stop

    def write(
        self,
        filesystems: Sequence[Filesystem],
        form: LayerForm,
        *,
        progress: Callable[[str, int, int], None],
    ) -> list[list[Layer]]:
        """The layers of each file system, base first; what has no blob yet gets one.

        A layer that several of them share is made once. `progress` is told (description, bytes,
        total) of each layer that is written. Base layers are not fetched unless their form changes.
        """
        chains = [
            [] if fs.snapshot is None else list(self._store.snapshots.chain(fs.snapshot))
            for fs in filesystems
        ]
        unique = {snapshot.id: snapshot for chain in chains for snapshot in chain}
        missing = [s for s in unique.values() if self._find(s, form) is None]
        with Nursery(_AT_ONCE, stop=self._stop, name="layer") as nursery:
            for snapshot in missing:
                nursery.start(self._make, snapshot, form, nursery.stop, progress)
        return [[self._layer(snapshot, form) for snapshot in chain] for chain in chains]

    def _layer(self, snapshot: Snapshot, form: LayerForm) -> Layer:
        blob = self._find(snapshot, form)
        assert blob is not None
        kind = media.compression_of(blob.descriptor.media_type)
        descriptor = models.Descriptor(
            media_type=media.layer_type(kind, oci=form.oci),
            digest=blob.descriptor.digest,
            size=blob.descriptor.size,
        )
        if "foreign" in blob.descriptor.media_type or "nondistributable" in (
            blob.descriptor.media_type
        ):
            descriptor = blob.descriptor
        return Layer(descriptor, blob.diff_id, snapshot.created)

    def _find(self, snapshot: Snapshot, form: LayerForm) -> LayerBlob | None:
        blobs = self._store.snapshots.layers(snapshot.id)
        for blob in blobs:
            if blob.compression_key == form.key:
                return blob
        if not form.force:
            return next((blob for blob in blobs if blob.imported), None)
        return next(
            (
                blob
                for blob in blobs
                if blob.imported
                and media.compression_of(blob.descriptor.media_type) == form.compression.kind
            ),
            None,
        )

    def _make(
        self,
        snapshot: Snapshot,
        form: LayerForm,
        stop: Stop,
        progress: Callable[[str, int, int], None],
    ) -> None:
        from viaduct.layer.decompress import decompressor
        from viaduct.layer.pack import pack, repack

        snapshots, content = self._store.snapshots, self._store.content
        imported = next((b for b in snapshots.layers(snapshot.id) if b.imported), None)
        with content.ingest() as ingest:
            if imported is None:
                lower = self._lower(snapshot, stop)
                packed: Blob = pack(
                    snapshots.directory(snapshot.id),
                    ingest.file,
                    form.compression,
                    lower=lower,
                    epoch=form.epoch,
                    stop=stop,
                )
            else:
                source = imported.descriptor
                if not content.has(source.digest):
                    self._fetch(source, snapshots.sources(source.digest), stop)
                kind = media.compression_of(source.media_type)
                with content.open(source.digest) as stream:
                    packed = repack(
                        decompressor(stream, kind),
                        ingest.file,
                        form.compression,
                        expected_diff_id=imported.diff_id,
                        stop=stop,
                    )
            ingest.commit_hashed(packed.digest)
        progress(snapshot.description, packed.size, packed.size)
        descriptor = models.Descriptor(
            media_type=media.layer_type(form.compression.kind, oci=True),
            digest=packed.digest,
            size=packed.size,
        )
        snapshots.add_layer(snapshot.id, form.key, descriptor, packed.diff_id)

    def _lower(self, snapshot: Snapshot, stop: Stop) -> list[Path] | None:
        """The layers that the change was made on, which a layer tells the difference from.

        A change that was put on another base (`COPY --link`) stays the same layer whatever that
        base holds: it is told from what it was made on, or in full when that is gone.
        """
        origin = self._store.snapshots.find(snapshot.directory)
        if origin is None or origin.parent is None:
            return None
        self._trees.unpack(Filesystem(origin.parent), stop)
        return self._store.snapshots.layer_dirs(origin.parent)
