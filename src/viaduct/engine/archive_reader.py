"""The files of an image archive, taken into the content store while it is read once."""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ContentError
from viaduct.base.values import Value
from viaduct.layer import decompress
from viaduct.layer.entry import Kind
from viaduct.layer.tar_reader import TarReader
from viaduct.oci import digest as digests
from viaduct.oci import models
from viaduct.registry.parcel import may_stay_away

if TYPE_CHECKING:
    from typing import BinaryIO

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.store.content import ContentStore

_DOCUMENTS = (".json", "/json", "oci-layout", "repositories", "VERSION")
#: Documents of one archive are kept in memory, up to this many bytes together.
_MEMORY = 64 << 20
_DEEPEST = 8


class Archive(Value):
    """What an archive holds: `blobs` in the content store, and small `documents`, by path."""

    content: ContentStore
    blobs: dict[str, tuple[Digest, int]] = msgspec.field(default_factory=dict)
    documents: dict[str, bytes] = msgspec.field(default_factory=dict)
    links: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def read(cls, stream: BinaryIO, content: ContentStore, stop: Stop) -> Archive:
        """Read an archive to its end. Raises `ContentError` for one that is damaged or absurd."""
        archive = cls(content)
        memory = 0
        reader = TarReader(decompress.blocks(stream))
        for entry in reader:
            stop.check()
            name = posixpath.normpath(entry.name.decode(errors="surrogateescape")).lstrip("/")
            if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
                target = entry.link.decode(errors="surrogateescape")
                base = posixpath.dirname(name) if entry.kind is Kind.SYMLINK else ""
                archive.links[name] = posixpath.normpath(posixpath.join(base, target))
            elif entry.kind is Kind.FILE and entry.extents is None:
                if name.endswith(_DOCUMENTS) and not name.startswith("blobs/"):
                    memory += entry.size
                    if memory > _MEMORY:
                        raise ContentError("the archive's documents are too large")
                    archive.documents[name] = b"".join(reader.content())
                else:
                    archive.blobs[name] = archive._keep(reader, name, entry.size, stop)
        return archive

    def _keep(self, reader: TarReader, name: str, size: int, stop: Stop) -> tuple[Digest, int]:
        expected = None
        if name.startswith("blobs/"):
            with contextlib.suppress(ContentError):
                expected = digests.parse(name.removeprefix("blobs/").replace("/", ":"))
        if expected is not None and self.content.has(expected):
            return expected, size
        with self.content.ingest(expected, size) as ingest:
            for piece in reader.content():
                stop.check()
                ingest.write(piece)
            return ingest.commit()

    def document(self, name: str) -> bytes | None:
        """The bytes of a small file, whatever way the archive spells its place."""
        return self.documents.get(self._resolve(name))

    def blob(self, name: str) -> tuple[Digest, int] | None:
        """Digest and size of a file that is now in the content store."""
        path = self._resolve(name)
        if path in self.documents:
            return self.content.put(self.documents[path])
        return self.blobs.get(path)

    def _resolve(self, name: str) -> str:
        name = posixpath.normpath(name)
        for _ in range(_DEEPEST):
            if name not in self.links:
                break
            name = self.links[name]
        return name

    def require(self, root: Descriptor) -> None:
        """Check that all of an image is in the store; platforms that its index names and the
        archive leaves out do not count. Raises `ContentError`."""
        pending = [root]
        seen: set[Digest] = set()
        while pending:
            descriptor = pending.pop()
            # Each counts once: a few indexes that name each other often would take for ever.
            if descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            if not self.content.has(descriptor.digest):
                if may_stay_away(descriptor):
                    continue
                raise ContentError(
                    f"the archive lacks {descriptor.digest}, which its image names",
                    hint="it is incomplete; write it again",
                )
            if models.is_index(descriptor):
                data = self.content.read(descriptor.digest)
                index = models.decode(data, models.Index, what=descriptor.digest)
                pending += [each for each in index.manifests if self.content.has(each.digest)]
            elif models.is_document(descriptor.media_type):
                data = self.content.read(descriptor.digest)
                manifest = models.decode(data, models.Manifest, what=descriptor.digest)
                pending += [manifest.config, *manifest.layers]
