"""An image of the local store as a place to read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from msgspec.structs import replace

from viaduct.base.errors import NotFound, ViaductError
from viaduct.base.values import Value
from viaduct.engine import images, places
from viaduct.engine.verified import verified
from viaduct.registry import documents
from viaduct.store.content import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.registry.client import Client
    from viaduct.registry.documents import RawManifest
    from viaduct.store.store import Store

_WHERE = "the local store"


class StorePlace(Value):
    """`name` (or an id) in `store`, which points to `root`. Layers that no step has needed so far
    are read where they come from, with `client`."""

    store: Store
    client: Client
    name: str
    root: Descriptor
    digest: Digest | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def repository(self) -> str:
        return self.name

    def with_digest(self, digest: Digest) -> StorePlace:
        return replace(self, digest=digest)

    def document(self) -> RawManifest:
        digest = self.digest or self.root.digest
        # Not by `read`, which throws away what is damaged: to verify changes nothing.
        with self.store.content.open(digest) as file:
            data = file.read(DOCUMENT_LIMIT)
        kind = "" if self.digest else self.root.media_type
        return documents.checked(data, content_type=kind, expected=digest, named="", what=_WHERE)

    def blob(self, descriptor: Descriptor) -> BinaryIO:
        try:
            stream = self.store.content.open(descriptor.digest)
        except NotFound:
            return self._elsewhere(descriptor)
        return verified(stream, descriptor, _WHERE)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return ()

    def _elsewhere(self, descriptor: Descriptor) -> BinaryIO:
        failure: ViaductError | None = None
        for source in self.store.snapshots.sources(descriptor.digest):
            try:
                return places.parse(source, self.client).blob(descriptor)
            except ViaductError as error:
                failure = failure or error
        raise failure or NotFound(f"blob {descriptor.digest} is not in {_WHERE}")


def find(store: Store, client: Client, text: str) -> StorePlace:
    """The stored image of that name or id. Raises `NotFound`."""
    image = images.find(store, text)
    return StorePlace(store, client, image.name or text, image.root)
