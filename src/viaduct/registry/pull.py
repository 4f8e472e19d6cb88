"""Pulling an image: the documents of the wanted platforms, and their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import ContentError, PlatformError
from viaduct.base.tasks import Nursery
from viaduct.oci import media, models, platform
from viaduct.oci.models import Descriptor, ImageConfig, Index, Manifest
from viaduct.oci.platform import Platform
from viaduct.oci.reference import Reference
from viaduct.registry.client import ContentSink
from viaduct.registry.parcel import may_stay_away
from viaduct.registry.progress import Meter, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.registry.client import Client
    from viaduct.registry.progress import Job

_STREAMS = 5
_DEEPEST = 8
# What is read into memory; the largest configurations of real images have some hundred KiB.
_CONFIG_LIMIT = 8 << 20


class Content(ContentSink, Protocol):
    """Where the image goes, and where what is there already is read."""

    def open(self, digest: Digest, /) -> BinaryIO: ...


class PulledImage(msgspec.Struct, frozen=True):
    """The image of one platform."""

    platform: Platform
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


class Pulled(msgspec.Struct, frozen=True):
    """What was pulled. `ref` ends in the digest of `root`, which is what the name points to; an
    index is complete in the store only when all platforms were pulled."""

    ref: Reference
    root: Descriptor
    images: tuple[PulledImage, ...]


def pull(
    client: Client,
    ref: Reference,
    content: Content,
    *,
    platforms: Sequence[Platform] | None = None,
    layers: bool = True,
    strict: bool = True,
    job: Job | None = None,
) -> Pulled:
    """Bring the image `ref` into `content`: for `platforms`, in their order, or None for all that
    the image has, with its attestations.

    Without `layers` only documents and configurations are fetched. An index without a wanted
    platform raises `PlatformError` that lists what it has; so does, when `strict`, a single image
    for another platform. Raises `RegistryError`, `ContentError` and `Canceled` besides.
    """
    job = job or Quiet()
    client = client.bound(stop=job.stop, report=lambda text: job.status(text, done=True))
    return _Pull(client, content, job).run(ref, platforms, layers=layers, strict=strict)


class _Pull:
    """One pull; `_ref` is pinned as soon as the name is resolved."""

    def __init__(self, client: Client, content: Content, job: Job) -> None:
        self._client = client
        self._content = content
        self._job = job

    def run(
        self, ref: Reference, platforms: Sequence[Platform] | None, *, layers: bool, strict: bool
    ) -> Pulled:
        self._job.status(f"resolve {ref.with_default_tag()}")
        resolved = self._client.resolve(ref)
        root = resolved.descriptor
        data = self._document(resolved.ref, root)
        self._job.status(f"resolve {ref.with_default_tag()}", done=True)
        if models.is_index(root):
            entries = list(self._entries(resolved.ref, data, 0, {root.digest}))
            chosen = self._choose(resolved.ref, entries, platforms)
        else:
            chosen = [root]
        unique = list({entry.digest: entry for entry in chosen}.values())
        documents = {entry.digest: self._manifest(resolved.ref, entry) for entry in unique}
        configs = [documents[entry.digest].config for entry in unique]
        _refuse_large(configs)
        self._fetch(resolved.ref, configs)
        images = [
            self._image(resolved.ref, entry, documents[entry.digest])
            for entry in unique
            if entry is root or _is_image(entry, documents[entry.digest])
        ]
        if strict and platforms and not models.is_index(root):
            _check_single(resolved.ref, images[0].platform, platforms)
        if layers:
            self._fetch(
                resolved.ref,
                [
                    layer
                    for entry in unique
                    for layer in documents[entry.digest].layers
                    if not may_stay_away(layer)
                ],
            )
        return Pulled(resolved.ref, root, tuple(images))

    def _entries(
        self, ref: Reference, data: bytes, depth: int, seen: set[Digest]
    ) -> Iterable[Descriptor]:
        """The manifests of an index, those of nested indexes among them. Each index counts once:
        a few that name each other often would take for ever."""
        if depth > _DEEPEST:
            raise ContentError(f"{ref.familiar}: indexes are nested too deeply")
        for entry in models.decode(data, Index, what=ref.familiar).manifests:
            if models.is_index(entry):
                if entry.digest not in seen:
                    seen.add(entry.digest)
                    yield from self._entries(ref, self._document(ref, entry), depth + 1, seen)
            elif entry.media_type in media.MANIFESTS:
                yield entry

    def _choose(
        self, ref: Reference, entries: list[Descriptor], platforms: Sequence[Platform] | None
    ) -> list[Descriptor]:
        if platforms is None:
            return entries
        images = [entry for entry in entries if not models.is_attestation(entry)]
        offered = [self._platform(ref, entry) for entry in images]
        chosen = []
        for wanted in platforms:
            found = platform.best(wanted, offered)
            if found is None:
                raise _missing(ref, wanted, offered)
            chosen.append(images[found])
        return chosen

    def _platform(self, ref: Reference, entry: Descriptor) -> Platform:
        """The platform of an entry, from its configuration where the index does not tell."""
        if entry.platform is not None and entry.platform.os:
            return entry.platform.value()
        manifest = self._manifest(ref, entry)
        _refuse_large([manifest.config])
        self._fetch(ref, [manifest.config])
        return self._image(ref, entry, manifest).platform

    def _image(self, ref: Reference, entry: Descriptor, manifest: Manifest) -> PulledImage:
        if manifest.config.media_type not in media.CONFIGS:
            kind = manifest.artifact_type or manifest.config.media_type
            raise ContentError(
                f"{ref.familiar} is not a container image but an artifact of type {kind}"
            )
        data = self._read(manifest.config)
        config = models.decode(data, ImageConfig, what=f"configuration of {ref.familiar}")
        own = config.platform()
        if entry.platform is not None and entry.platform.os:
            own = entry.platform.value()
        return PulledImage(own, entry, manifest, config)

    def _manifest(self, ref: Reference, entry: Descriptor) -> Manifest:
        data = self._document(ref, entry)
        return models.decode(data, Manifest, what=f"manifest {entry.digest}")

    def _document(self, ref: Reference, descriptor: Descriptor) -> bytes:
        if self._content.has(descriptor.digest):
            return self._read(descriptor)
        found = self._client.manifest(replace(ref, tag="", digest=descriptor.digest))
        if len(found.data) != descriptor.size:
            raise ContentError(f"{descriptor.digest} is not {descriptor.size} bytes long")
        with self._content.ingest(descriptor.digest, descriptor.size) as writer:
            writer.write(memoryview(found.data))
            writer.commit()
        return found.data

    def _read(self, descriptor: Descriptor) -> bytes:
        with self._content.open(descriptor.digest) as stream:
            return stream.read(descriptor.size + 1)

    def _fetch(self, ref: Reference, blobs: Iterable[Descriptor]) -> None:
        wanted = {blob.digest: blob for blob in blobs}
        missing = [blob for blob in wanted.values() if not self._content.has(blob.digest)]
        if not missing:
            return

        def fetch(client: Client, blob: Descriptor) -> None:
            meter = Meter(self._job, blob.digest, blob.size)
            client.fetch_blob(
                ref, blob, self._content, moved=lambda position: meter.at(0, position)
            )
            meter.done()

        with Nursery(_STREAMS, stop=self._job.stop, name="pull") as todo:
            # The first failure cuts the connections of the others.
            client = self._client.bound(stop=todo.stop)
            for blob in sorted(missing, key=lambda blob: -blob.size):
                todo.start(fetch, client, blob)


def _refuse_large(configs: Iterable[Descriptor]) -> None:
    for config in configs:
        if config.size > _CONFIG_LIMIT and config.media_type in media.CONFIGS:
            raise ContentError(f"{config.digest} is too large for a configuration: {config.size}")


def _is_image(entry: Descriptor, manifest: Manifest) -> bool:
    return manifest.config.media_type in media.CONFIGS and not models.is_attestation(entry)


def _check_single(ref: Reference, has: Platform, platforms: Sequence[Platform]) -> None:
    for wanted in platforms:
        if platform.best(wanted, [has]) is None:
            raise _missing(ref, wanted, [has])


def _missing(ref: Reference, wanted: Platform, offered: Sequence[Platform]) -> PlatformError:
    names = ", ".join(dict.fromkeys(str(each) for each in offered))
    return PlatformError(
        f"{replace(ref, digest=None).familiar} has no image for {wanted}",
        hint=f"it has {names}" if names else "it has no images at all",
    )
