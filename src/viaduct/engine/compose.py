"""`imagetools create` as a plan: the index that comes of some images, decided without touching any.

Shapes follow buildx: one index alone stays the very bytes it was, Docker's types among themselves
make a Docker list, anything else an OCI index; an image named twice is one entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import PlatformError, UsageError
from viaduct.base.values import Value
from viaduct.oci import digest as digests
from viaduct.oci import media, models

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, Index
    from viaduct.oci.platform import Platform

_DOCKER = "application/vnd.docker."
_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"


class Piece(Value):
    """One source: its document, and the descriptor that an index would list it by, which names
    the platform of a single image. `source` is its number among the sources."""

    descriptor: Descriptor
    data: bytes
    source: int = 0


class Annotation(Value):
    """An annotation for the index, or for the entries of one platform (None: of all)."""

    level: str
    key: str
    value: str
    platform: Platform | None = None


class Composition(Value):
    """What comes of the sources. `data` are the bytes that `root` describes; `sources` tells for
    each entry, or for the root itself where it is a copy, which source it came from."""

    root: Descriptor
    data: bytes
    sources: Mapping[Digest, int] = msgspec.field(default_factory=dict)


def combine(
    pieces: Sequence[Piece],
    *,
    annotations: Sequence[Annotation] = (),
    prefer_index: bool = True,
    platforms: Collection[Platform] = (),
) -> Composition:
    """The image made of `pieces`, in their order.

    Without `prefer_index` a single image is copied as it is. `platforms` keeps only their entries,
    with the attestations about them. Raises `UsageError` for annotations that have no place,
    `PlatformError` when nothing is left.
    """
    check(annotations)
    made = _joined(pieces, annotations, prefer_index=prefer_index)
    return _kept(made, platforms) if platforms else made


def check(annotations: Sequence[Annotation]) -> None:
    """Raises `UsageError` for annotations of what `imagetools create` does not write."""
    for annotation in annotations:
        if annotation.level == "index-descriptor":
            raise UsageError('"index-descriptor" annotations are invalid while creating an image')
        if annotation.level == "manifest":
            raise UsageError(
                '"manifest" annotations are not supported yet',
                hint=f"the images stay as they are: annotate the index with index:{annotation.key}"
                f"=…, or its entries with manifest-descriptor:{annotation.key}=…",
            )


def merged(resolved: Descriptor, given: Descriptor) -> Descriptor:
    """What a person wrote about a descriptor, over what the registry says. Raises `UsageError`."""
    if given.size and given.size != resolved.size:
        raise UsageError(
            f"invalid size mismatch for {resolved.digest}, {given.size} != {resolved.size}",
            hint="leave the size out, or correct it",
        )
    return msgspec.structs.replace(
        resolved,
        media_type=given.media_type or resolved.media_type,
        # As a whole, so that annotations can be taken away.
        annotations=given.annotations or resolved.annotations,
        platform=given.platform or resolved.platform,
    )


def _joined(
    pieces: Sequence[Piece], annotations: Sequence[Annotation], *, prefer_index: bool
) -> Composition:
    first = pieces[0]
    alone = len(pieces) == 1 and not annotations
    if alone and (models.is_index(first.descriptor) or not prefer_index):
        return Composition(first.descriptor, first.data, {first.descriptor.digest: first.source})
    entries: dict[Digest, Descriptor] = {}
    sources: dict[Digest, int] = {}
    for piece in pieces:
        for entry in _entries(piece):
            known = entries.get(entry.digest)
            entries[entry.digest] = _united(known, entry) if known else entry
            sources[entry.digest] = piece.source
    docker = all(entry.media_type.startswith(_DOCKER) for entry in entries.values())
    if docker and annotations:
        raise UsageError(
            "a Docker manifest list cannot carry annotations",
            hint="build the images with OCI media types, which are the default",
        )
    index = models.Index(
        schema_version=2,
        media_type=media.DOCKER_LIST if docker else media.OCI_INDEX,
        manifests=tuple(_annotated(entry, annotations) for entry in entries.values()),
        annotations={a.key: a.value for a in annotations if a.level == "index"},
    )
    return _encoded(index, sources, media_type=index.media_type)


def _entries(piece: Piece) -> tuple[Descriptor, ...]:
    if models.is_index(piece.descriptor):
        return models.decode(piece.data, models.Index, what="index").manifests
    return (piece.descriptor,)


def _united(known: Descriptor, again: Descriptor) -> Descriptor:
    return msgspec.structs.replace(
        known,
        platform=again.platform or known.platform,
        annotations={**known.annotations, **again.annotations},
    )


def _annotated(entry: Descriptor, annotations: Sequence[Annotation]) -> Descriptor:
    own = {
        a.key: a.value
        for a in annotations
        if a.level == "manifest-descriptor" and (a.platform is None or _is(entry, a.platform))
    }
    return msgspec.structs.replace(entry, annotations={**entry.annotations, **own})


def _is(entry: Descriptor, platform: Platform) -> bool:
    if entry.platform is None:
        return False
    has = entry.platform.value()
    return (has.os, has.architecture, has.variant) == (
        platform.os,
        platform.architecture,
        platform.variant,
    )


def _kept(made: Composition, platforms: Collection[Platform]) -> Composition:
    """Only the entries for `platforms`; an index that loses none stays as it is."""

    def wanted(entry: Descriptor) -> bool:
        return entry.platform is None or any(_is(entry, platform) for platform in platforms)

    names = ", ".join(map(str, platforms))
    if not models.is_index(made.root):
        if not wanted(made.root):
            has = made.root.platform.value() if made.root.platform else "unknown"
            raise PlatformError(
                f"input platform {has} does not match any of the provided platforms",
                hint=f"asked for: {names}",
            )
        return made
    index = models.decode(made.data, models.Index, what="index")
    left = _with_attestations(index, wanted)
    if not left:
        offered = dict.fromkeys(
            str(entry.platform.value())
            for entry in index.manifests
            if entry.platform and not models.is_attestation(entry)
        )
        raise PlatformError(
            "none of the manifests match the provided platforms",
            hint=f"asked for: {names}; there are: {', '.join(offered)}",
        )
    if len(left) == len(index.manifests):
        return made
    origin = made.sources.get(made.root.digest, 0)
    return _encoded(
        msgspec.structs.replace(index, manifests=left),
        {entry.digest: made.sources.get(entry.digest, origin) for entry in left},
        # An OCI index need not say itself what it is.
        media_type=made.root.media_type,
    )


def _with_attestations(
    index: Index, wanted: Callable[[Descriptor], bool]
) -> tuple[Descriptor, ...]:
    kept = {entry.digest for entry in index.manifests if wanted(entry)}

    def about_kept(entry: Descriptor) -> bool:
        return (
            entry.annotations.get(_REFERENCE_TYPE) == _ATTESTATION
            and entry.annotations.get(_REFERENCE_DIGEST) in kept
        )

    return tuple(e for e in index.manifests if e.digest in kept or about_kept(e))


def _encoded(index: Index, sources: Mapping[Digest, int], *, media_type: str) -> Composition:
    data = models.encode(index, indent=2)
    root = models.Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))
    return Composition(root, data, sources)
