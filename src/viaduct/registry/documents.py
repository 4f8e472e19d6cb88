"""Manifests as they come from a registry: checked before anything believes them."""

from __future__ import annotations

import hashlib

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import ContentError, RegistryError
from viaduct.oci import digest as digests
from viaduct.oci import media
from viaduct.oci.digest import Digest
from viaduct.oci.models import Descriptor

_SCHEMA1 = frozenset({media.DOCKER_SCHEMA1, "application/vnd.docker.distribution.manifest.v1+json"})
_KNOWN = media.INDEXES | media.MANIFESTS


class RawManifest(msgspec.Struct, frozen=True):
    """A manifest or index: the bytes as they came, and what they are called."""

    data: bytes
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.data))


class _Shape(msgspec.Struct, frozen=True):
    """Which of the fields that tell documents apart are there."""

    mediaType: str | None = None
    schemaVersion: int | None = None
    manifests: msgspec.Raw = msgspec.Raw()
    config: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    fsLayers: msgspec.Raw = msgspec.Raw()


def plain_type(content_type: str) -> str:
    """A Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_known(media_type: str) -> bool:
    return media_type in _KNOWN


def hashed(data: bytes, like: Digest) -> Digest:
    """The digest of `data` by the algorithm of `like`."""
    return digests.from_hash(hashlib.new(digests.algorithm(like), data))


def checked(
    data: bytes, *, content_type: str, expected: Digest | None, named: str, what: str
) -> RawManifest:
    """A document whose digest and type were checked.

    `expected` is the digest that was asked for; `named` that of the answer's header. A document
    that calls itself something else than its header does, or that could be read as both a manifest
    and an index, is refused: two readers would see two images in it. Raises `ContentError`, and
    `RegistryError` for what is no manifest at all.
    """
    claimed = _parsed(named)
    digest = expected or claimed or digests.of(data)
    for other in (digest, claimed):
        if other is not None and hashed(data, other) != other:
            raise ContentError(
                f"{what}: the registry sent bytes that do not match {other}",
                hint="try again; if it stays so, the registry or a proxy before it is damaged",
            )
    header = plain_type(content_type)
    try:
        shape = decoding.from_json(data, _Shape)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        if header == "text/html" or data.lstrip()[:1] == b"<":
            raise RegistryError(
                f"{what}: the answer is a web page, not a manifest",
                hint="check the host: it does not look like an image registry",
            ) from error
        raise ContentError(f"{what}: the manifest is malformed: {error}") from error
    if shape.schemaVersion == 1 or header in _SCHEMA1 or _given(shape.fsLayers):
        raise RegistryError(
            f"{what}: the image has a schema 1 manifest, which registries have given up",
            hint="push it again with a current tool, or use a newer tag",
        )
    is_index = _given(shape.manifests)
    if is_index and (_given(shape.config) or _given(shape.layers)):
        raise ContentError(f"{what}: the document is a manifest and an index at once")
    inner = shape.mediaType or ""
    if inner and is_known(header) and inner != header:
        raise ContentError(f"{what}: served as {header}, but calls itself {inner}")
    kind = inner or (header if is_known(header) else "")
    if not kind:
        kind = media.OCI_INDEX if is_index else media.OCI_MANIFEST
    if is_known(kind) and (kind in media.INDEXES) != is_index:
        raise ContentError(f"{what}: the document is not the {kind} that it is called")
    return RawManifest(data, kind, digest)


def _given(field: msgspec.Raw) -> bool:
    return bytes(field) not in (b"", b"null")


def _parsed(text: str) -> Digest | None:
    try:
        return digests.parse(text)
    except ContentError:
        return None
