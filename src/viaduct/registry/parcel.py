"""What has to be at a registry before a name may point to it: the plan of a push, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from viaduct.base.errors import ContentError
from viaduct.oci import models
from viaduct.oci.digest import Digest
from viaduct.oci.models import Descriptor, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_DOCUMENT_LIMIT = 8 << 20
_DEEPEST = 8
_ELSEWHERE = ("nondistributable", "rootfs.foreign")


class ContentSource(Protocol):
    """Where pushed content is read from. `viaduct.store.content` is one."""

    def has(self, digest: Digest, /) -> bool: ...

    def open(self, digest: Digest, /) -> BinaryIO: ...


class Document(msgspec.Struct, frozen=True):
    """A manifest or index to be put, with what it names. `blobs` are its config and layers,
    `needs` the documents that must be there before it: children, and the subject if it is ours."""

    descriptor: Descriptor
    data: bytes
    blobs: tuple[Descriptor, ...] = ()
    needs: tuple[Digest, ...] = ()


class Parcel(msgspec.Struct, frozen=True):
    """Everything below a root, the root included. `tiers` are documents in the order to put them:
    those of one tier need only those of earlier ones, and the last tier is the root alone."""

    root: Document
    tiers: tuple[tuple[Document, ...], ...]

    def documents(self) -> Iterator[Document]:
        for tier in self.tiers:
            yield from tier


def pack(root: Descriptor, read: Callable[[Descriptor], bytes]) -> Parcel:
    """The plan for `root`; `read` gives the bytes of a document.

    Image manifests come first, then the referrers (attestations) of what is there by then, then
    indexes: strict registries refuse a referrer whose subject they do not know. Raises
    `ContentError` for documents that make no sense.
    """
    found: dict[Digest, Document] = {}
    subjects: dict[Digest, Digest] = {}

    def visit(descriptor: Descriptor, depth: int) -> None:
        if descriptor.digest in found:
            return
        if depth > _DEEPEST:
            raise ContentError(f"{root.digest}: indexes are nested too deeply")
        if descriptor.size > _DOCUMENT_LIMIT:
            raise ContentError(f"{descriptor.digest} is too large for a manifest")
        data = read(descriptor)
        what = f"manifest {descriptor.digest}"
        if models.is_index(descriptor):
            index = models.decode(data, Index, what=what)
            children = [d for d in index.manifests if models.is_document(d.media_type)]
            others = tuple(d for d in index.manifests if not models.is_document(d.media_type))
            needs = tuple(dict.fromkeys(child.digest for child in children))
            found[descriptor.digest] = Document(descriptor, data, others, needs)
            subject = index.subject
            for child in children:
                visit(child, depth + 1)
        else:
            manifest = models.decode(data, Manifest, what=what)
            blobs = (manifest.config, *manifest.layers)
            found[descriptor.digest] = Document(descriptor, data, blobs)
            subject = manifest.subject
        if subject is not None:
            subjects[descriptor.digest] = subject.digest

    visit(root, 0)
    for digest, subject in subjects.items():
        if subject in found and subject != digest and digest != root.digest:
            document = found[digest]
            found[digest] = Document(
                document.descriptor, document.data, document.blobs, (*document.needs, subject)
            )
    return Parcel(found[root.digest], _tiers(found, root.digest))


def _tiers(found: dict[Digest, Document], root: Digest) -> tuple[tuple[Document, ...], ...]:
    tiers: list[tuple[Document, ...]] = []
    placed: set[Digest] = set()
    left = [digest for digest in found if digest != root]
    while left:
        ready = [digest for digest in left if placed.issuperset(found[digest].needs)]
        if not ready:
            raise ContentError(f"{root}: referrers and subjects go round in a circle")
        tiers.append(tuple(found[digest] for digest in ready))
        placed.update(ready)
        left = [digest for digest in left if digest not in placed]
    return (*tiers, (found[root],))


def may_stay_away(descriptor: Descriptor) -> bool:
    """Whether this is a foreign layer: named by URL, and not for redistribution."""
    return any(mark in descriptor.media_type for mark in _ELSEWHERE)
