"""Where images are read from by name: a repository of a registry, or an OCI layout on disk."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec
from msgspec.structs import replace

from viaduct.base.values import Value
from viaduct.engine.verified import verified
from viaduct.oci import models, reference
from viaduct.oci.reference import LAYOUT_SCHEME
from viaduct.registry import documents

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.export.layout_directory import LayoutDirectory
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.oci.reference import Reference
    from viaduct.registry.client import Client
    from viaduct.registry.documents import RawManifest


class Place(Protocol):
    """A name for an image. `str` spells it completely; `repository` is what is left without tag
    and digest."""

    @property
    def repository(self) -> str: ...

    @property
    def digest(self) -> Digest | None: ...

    def with_digest(self, digest: Digest, /) -> Place:
        """The image of that digest at the same place."""

    def document(self) -> RawManifest:
        """The manifest or index of that name, verified. Raises `NotFound` or `RegistryError`."""

    def blob(self, descriptor: Descriptor, /) -> BinaryIO:
        """A config or layer, to be read once. Its last bytes are handed out only when digest and
        size are right; `ContentError` is raised instead of them."""

    def referrers(self, digest: Digest, /) -> tuple[Descriptor, ...]:
        """Manifests at this place whose subject is `digest`, with their artifact types."""


class RegistryPlace(Value):
    """`ref` in its registry."""

    client: Client
    ref: Reference

    def __str__(self) -> str:
        return str(self.ref)

    @property
    def repository(self) -> str:
        return self.ref.name

    @property
    def digest(self) -> Digest | None:
        return self.ref.digest

    def with_digest(self, digest: Digest) -> RegistryPlace:
        return replace(self, ref=self.ref.with_digest(digest))

    def document(self) -> RawManifest:
        return self.client.manifest(self.ref)

    def blob(self, descriptor: Descriptor) -> BinaryIO:
        return self.client.blob(self.ref, descriptor)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return self.client.referrers(self.ref, digest)


class LayoutPlace(Value, dict=True):
    """`oci-layout://path[:tag][@digest]`."""

    path: Path
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        return f"{LAYOUT_SCHEME}{self.path}"

    @property
    def directory(self) -> LayoutDirectory:
        from viaduct.export.layout_directory import LayoutDirectory

        return LayoutDirectory(self.path)

    def with_digest(self, digest: Digest) -> LayoutPlace:
        return replace(self, tag="", digest=digest)

    def document(self) -> RawManifest:
        entry = None if self.digest else self.directory.find(self.tag)
        digest = entry.digest if entry else self.digest
        assert digest is not None
        return documents.checked(
            self.directory.read(digest),
            content_type=entry.media_type if entry else "",
            expected=digest,
            named="",
            what=str(self),
        )

    def blob(self, descriptor: Descriptor) -> BinaryIO:
        return verified(self.directory.open(descriptor.digest), descriptor, str(self.path))

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return self._referrers.get(digest, ())

    @functools.cached_property
    def _referrers(self) -> dict[Digest, tuple[Descriptor, ...]]:
        """What the layout lists beside its images because it is about them."""
        found: dict[Digest, tuple[Descriptor, ...]] = {}
        for entry in self.directory.entries():
            if models.is_index(entry) or not models.is_document(entry.media_type):
                continue
            data = self.directory.read(entry.digest)
            manifest = models.decode(data, models.Manifest, what=f"manifest {entry.digest}")
            if manifest.subject is not None:
                kind = manifest.artifact_type or manifest.config.media_type
                told = msgspec.structs.replace(entry, artifact_type=kind)
                found[manifest.subject.digest] = (*found.get(manifest.subject.digest, ()), told)
        return found


def parse(text: str, client: Client) -> RegistryPlace | LayoutPlace:
    """Read a reference or `oci-layout://…`; without tag and digest it is `latest`.

    Raises `UsageError`, or `ContentError` for a malformed digest.
    """
    if text.startswith(LAYOUT_SCHEME):
        from viaduct.export import layout_directory

        return LayoutPlace(*layout_directory.parse(text))
    return RegistryPlace(client, reference.parse(text).with_default_tag())
