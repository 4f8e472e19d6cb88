"""What a descriptor leads to, as far as the documents are in the content store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ContentError, NotFound
from viaduct.base.fs import explain_oserror
from viaduct.oci import media, models
from viaduct.oci.models import Descriptor, ImageConfig, Index, Manifest
from viaduct.oci.platform import Platform
from viaduct.store.content import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.oci.digest import Digest
    from viaduct.store.content import ContentStore


_DEEPEST = 8


class Variant(msgspec.Struct, frozen=True):
    """One image of an index, or the only one.

    `platform` is that of the index entry, else that of the configuration. `manifest` is None when
    it is not in the store; `missing` is what else is not: the configuration, layers.
    """

    descriptor: Descriptor
    platform: Platform | None = None
    manifest: Manifest | None = None
    missing: tuple[Descriptor, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all of the image is in the store."""
        return self.manifest is not None and not self.missing

    @property
    def attestation(self) -> bool:
        """Whether this is about another image instead of being one."""
        return models.is_attestation(self.descriptor)


def variants(content: ContentStore, descriptor: Descriptor) -> tuple[Variant, ...]:
    """See `Images.variants`."""
    if not models.is_index(descriptor):
        content.size(descriptor.digest)
        return (_variant(content, descriptor),)
    return tuple(_variant(content, child) for child in _entries(content, descriptor, 0, set()))


def _entries(
    content: ContentStore, index: Descriptor, depth: int, seen: set[Digest]
) -> Iterator[Descriptor]:
    """The manifests of an index, and of the indexes in it that are here. Each index counts once: a
    few that name each other often would take for ever."""
    if depth > _DEEPEST:
        raise ContentError(f"{index.digest}: indexes are nested too deeply")
    data = content.read(index.digest)
    for child in models.decode(data, Index, what=index.digest).manifests:
        if child.digest in seen:
            continue
        if models.is_index(child) and content.exists(child.digest):
            seen.add(child.digest)
            yield from _entries(content, child, depth + 1, seen)
        else:
            yield child


def of_digest(content: ContentStore, digest: Digest) -> Descriptor | None:
    """See `Images.unnamed`."""
    if (found := _document(content, digest)) is not None:
        return found[0]
    for blob in content.walk():
        if (found := _document(content, blob.digest)) is not None:
            descriptor, document = found
            if isinstance(document, Manifest) and document.config.digest == digest:
                return descriptor
    return None


def _document(content: ContentStore, digest: Digest) -> tuple[Descriptor, Index | Manifest] | None:
    """A blob as a manifest or an index, if it is one."""
    with contextlib.suppress(NotFound, ContentError):
        with content.open(digest) as file:
            if content.size(digest) > DOCUMENT_LIMIT or file.read(1) != b"{":
                return None
        data = content.read(digest)
        descriptor = Descriptor(
            media_type=models.sniff_media_type(data), digest=digest, size=len(data)
        )
        if models.is_index(descriptor):
            return descriptor, models.decode(data, Index, what=digest)
        # A configuration looks like a manifest at first sight, and does not decode as one.
        if descriptor.media_type in media.MANIFESTS:
            return descriptor, models.decode(data, Manifest, what=digest)
    return None


def _variant(content: ContentStore, descriptor: Descriptor) -> Variant:
    platform = descriptor.platform.value() if descriptor.platform else None
    if descriptor.media_type not in media.MANIFESTS or not content.exists(descriptor.digest):
        return Variant(descriptor, platform)
    manifest = models.decode(content.read(descriptor.digest), Manifest, what=descriptor.digest)
    parts = (manifest.config, *manifest.layers)
    missing = tuple(part for part in parts if not content.exists(part.digest))
    config = manifest.config
    if platform is None and config.media_type in media.CONFIGS and config not in missing:
        data = content.read(config.digest)
        platform = models.decode(data, ImageConfig, what=config.digest).platform()
    return Variant(descriptor, platform, manifest, missing)


def reachable(content: ContentStore, descriptors: Iterable[Descriptor]) -> set[Digest]:
    """The digests of `descriptors` and of everything below them.

    Documents that are not in the store, or make no sense, are ends: nothing is known below them.
    Raises `StoreError` when one cannot be read.
    """
    found: set[Digest] = set()
    for descriptor, document in _walk(content, descriptors):
        found.add(descriptor.digest)
        if isinstance(document, Manifest):
            found.update(part.digest for part in (document.config, *document.layers))
    return found


def manifests(content: ContentStore, descriptors: Iterable[Descriptor]) -> Iterator[Manifest]:
    """The manifests of all that is below the descriptors, as `reachable` finds it."""
    for _, document in _walk(content, descriptors):
        if isinstance(document, Manifest):
            yield document


def _walk(
    content: ContentStore, descriptors: Iterable[Descriptor]
) -> Iterator[tuple[Descriptor, Index | Manifest | None]]:
    """Each descriptor of an index or manifest once, with its document where there is one, and those
    descriptors that are none as they are."""
    # One digest may be named as a layer here and as a document there.
    seen: set[tuple[Digest, bool]] = set()
    pending = list(descriptors)
    while pending:
        descriptor = pending.pop()
        named = descriptor.digest, models.is_document(descriptor.media_type)
        if named in seen:
            continue
        seen.add(named)
        document = _read(content, descriptor) if named[1] else None
        if isinstance(document, Index):
            pending += document.manifests
        yield descriptor, document


def _read(content: ContentStore, descriptor: Descriptor) -> Index | Manifest | None:
    try:
        # Unverified: whoever asks wants to keep too much rather than too little.
        with content.open(descriptor.digest) as file:
            data = file.read(DOCUMENT_LIMIT)
        if models.is_index(descriptor):
            return models.decode(data, Index, what=descriptor.digest)
        return models.decode(data, Manifest, what=descriptor.digest)
    except (NotFound, ContentError):
        return None
    except OSError as error:
        raise explain_oserror(error, f"reading {descriptor.digest}") from error
