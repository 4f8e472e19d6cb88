"""The sources of `imagetools create`: what a person named, and the documents found there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import UsageError, ViaductError
from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.engine import compose, places
from viaduct.engine.compose import Piece
from viaduct.oci import digest as digests
from viaduct.oci import models
from viaduct.oci.models import CheckedDigest, Descriptor, PlatformSpec, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.base.tasks import Stop
    from viaduct.engine.places import LayoutPlace, Place, RegistryPlace
    from viaduct.registry.client import Client

_STREAMS = 8
_CONFIG_LIMIT = 8 << 20


class Source(Value):
    """A source as it was named, `given` is what a descriptor adds to what the registry says."""

    place: Place
    given: Descriptor | None = None


class _Given(msgspec.Struct, frozen=True):
    """A descriptor as a person writes it; all but the digest may be left out."""

    digest: CheckedDigest | None = None
    media_type: str = msgspec.field(default="", name="mediaType")
    size: Size = 0
    annotations: dict[str, str] = {}
    platform: PlatformSpec | None = None
    schema_version: int = msgspec.field(default=0, name="schemaVersion")


def targets(texts: Sequence[str], client: Client) -> list[RegistryPlace | LayoutPlace]:
    """The names to be made, each once. Raises `UsageError`."""
    found = {str(place): place for place in (places.parse(text, client) for text in texts)}
    return list(found.values())


def sources(
    texts: Sequence[str], named: Sequence[RegistryPlace | LayoutPlace], client: Client
) -> list[Source]:
    """References, digests and descriptors as sources.

    A digest or descriptor is looked for in the repository that is named otherwise, if it is one
    only, the targets `named` included. Raises `UsageError`.
    """
    read = [_read(text, client) for text in texts]
    known: dict[str, Place] = {}
    for place in (*(found for found in read if not isinstance(found, Descriptor)), *named):
        known.setdefault(place.repository, place)
    if not known:
        raise UsageError(
            "no repositories specified, please set a reference in tag or source",
            hint="write the source as repository@sha256:…",
        )
    out = []
    for text, found in zip(texts, read, strict=True):
        if not isinstance(found, Descriptor):
            out.append(Source(found))
        elif len(known) > 1:
            raise UsageError(
                f'multiple repositories specified, cannot infer repository for "{text.strip()}"',
                hint="write it as repository@sha256:…",
            )
        else:
            (place,) = known.values()
            out.append(Source(place.with_digest(found.digest), found))
    return out


def _read(text: str, client: Client) -> Place | Descriptor:
    try:
        if text.lstrip().startswith("{"):
            return _descriptor(text)
        if text.startswith(("sha256:", "sha512:")):
            return Descriptor(media_type="", digest=digests.parse(text), size=0)
        return places.parse(text, client)
    except ViaductError as error:
        raise UsageError(
            f'failed to parse source "{text.strip()[:200]}", valid sources are digests, '
            f"references and descriptors: {error.what}",
            hint=error.hint,
        ) from error


def _descriptor(text: str) -> Descriptor:
    try:
        given = decoding.from_json(text.encode(errors="surrogateescape"), _Given)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"invalid descriptor: {error}") from error
    if given.schema_version:
        raise UsageError(
            "expected an OCI content descriptor, got a manifest or index "
            f"(schemaVersion {given.schema_version})",
            hint="name it by reference or digest instead",
        )
    if given.digest is None:
        raise UsageError("invalid descriptor: digest is required")
    return Descriptor(
        media_type=given.media_type,
        digest=given.digest,
        size=given.size,
        annotations=given.annotations,
        platform=given.platform,
    )


def fetch(found: Sequence[Source], stop: Stop) -> list[Piece]:
    """The documents of the sources, side by side; single images get their platform.

    Raises what registries and layouts raise.
    """
    pieces: dict[int, Piece] = {}

    def one(number: int, source: Source) -> None:
        document = source.place.document()
        descriptor = document.descriptor
        if source.given is not None:
            descriptor = compose.merged(descriptor, source.given)
        if not models.is_index(descriptor):
            pinned = source.place.with_digest(descriptor.digest)
            descriptor = _with_platform(descriptor, document.data, pinned)
        pieces[number] = Piece(descriptor, document.data, number)

    with Nursery(_STREAMS, stop=stop, name="source") as todo:
        for number, source in enumerate(found):
            todo.start(one, number, source)
    return [pieces[number] for number in range(len(found))]


def _with_platform(descriptor: Descriptor, data: bytes, place: Place) -> Descriptor:
    """The descriptor with what it lacks of a platform, taken from the image's configuration."""
    known = descriptor.platform or PlatformSpec()
    if known.os and known.architecture:
        return descriptor
    manifest = models.decode(data, models.Manifest, what=str(place))
    with place.blob(manifest.config) as stream:
        config = stream.read(_CONFIG_LIMIT)
    try:
        told = decoding.from_json(config, PlatformSpec)
    except (msgspec.DecodeError, msgspec.ValidationError):
        told = PlatformSpec()  # an artifact; it is for no platform
    if not told.os and not told.architecture:
        return descriptor
    normal = told.value()
    platform = PlatformSpec(
        architecture=known.architecture or normal.architecture,
        os=known.os or normal.os,
        os_version=known.os_version,
        os_features=known.os_features,
        variant=known.variant or ("" if known.architecture else normal.variant),
    )
    return msgspec.structs.replace(descriptor, platform=platform)
