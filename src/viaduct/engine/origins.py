"""Where base images come from: a registry, an OCI layout on disk, or our own store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from viaduct.base.errors import ContentError
from viaduct.base.values import Value
from viaduct.oci import models, reference
from viaduct.oci.reference import LAYOUT_SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.base.tasks import Stop
    from viaduct.export.layout_directory import LayoutDirectory
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.oci.reference import Reference
    from viaduct.registry.client import Client
    from viaduct.store.content import ContentStore

    Moved = Callable[[int], None]

_PIECE = 1 << 20
_DOCUMENT_LIMIT = 8 << 20


def _unheard(_count: int) -> None:
    """Progress that nobody follows."""


class Origin(Protocol):
    """One image somewhere. `name` is how its blobs are asked for again later."""

    @property
    def name(self) -> str: ...

    def resolve(self) -> Descriptor:
        """What the reference points to now."""

    def fetch(
        self, descriptor: Descriptor, content: ContentStore, stop: Stop, moved: Moved = _unheard
    ) -> None:
        """Bring a document or blob of the image into the content store; `moved` is told the bytes
        so far."""


class RegistryOrigin(Value):
    """An image in a registry."""

    client: Client
    ref: Reference

    @property
    def name(self) -> str:
        return str(self.ref)

    def resolve(self) -> Descriptor:
        return self.client.resolve(self.ref).descriptor

    def fetch(
        self, descriptor: Descriptor, content: ContentStore, stop: Stop, moved: Moved = _unheard
    ) -> None:
        client = self.client.bound(stop=stop)
        if models.is_document(descriptor.media_type):
            found = client.manifest(self.ref.with_digest(descriptor.digest))
            content.put(found.data, descriptor.digest)
        else:
            client.fetch_blob(self.ref, descriptor, content, moved=moved)


class LayoutOrigin(Value):
    """An image in an OCI layout directory, by tag, by digest, or the only one there is."""

    path: Path
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        return f"{LAYOUT_SCHEME}{self.path}" + (f"@{self.digest}" if self.digest else "")

    @property
    def _directory(self) -> LayoutDirectory:
        from viaduct.export.layout_directory import LayoutDirectory

        return LayoutDirectory(self.path)

    def resolve(self) -> Descriptor:
        """Raises `NotFound` when the directory is no layout, or does not hold the image."""
        if self.digest is None:
            return self._directory.find(self.tag)
        return self._directory.find_digest(self.digest)

    def fetch(
        self, descriptor: Descriptor, content: ContentStore, stop: Stop, moved: Moved = _unheard
    ) -> None:
        with (
            self._directory.open(descriptor.digest) as source,
            content.ingest(descriptor.digest, descriptor.size) as ingest,
        ):
            while data := source.read(_PIECE):
                stop.check()
                ingest.write(data)
                moved(source.tell())
            ingest.commit()


def parse_layout(text: str) -> LayoutOrigin:
    """`oci-layout://path[:tag][@digest]`; a digest makes the tag meaningless."""
    from viaduct.export import layout_directory

    path, tag, digest = layout_directory.parse(text)
    return LayoutOrigin(Path(os.path.abspath(path)), "" if digest else tag, digest)


def open_origin(name: str, client: Client) -> Origin:
    """The origin of that name: a layout's or a registry's reference."""
    if name.startswith(LAYOUT_SCHEME):
        return parse_layout(name)
    return RegistryOrigin(client, reference.parse(name).with_default_tag())


def read_document(
    origin: Origin, descriptor: Descriptor, content: ContentStore, stop: Stop
) -> bytes:
    """A document of the image (manifest, index, config), from our store when it is there."""
    if descriptor.size > _DOCUMENT_LIMIT:
        raise ContentError(f"{descriptor.digest} is too large for a document: {descriptor.size}")
    if not content.has(descriptor.digest):
        origin.fetch(descriptor, content, stop)
    return content.read(descriptor.digest)
