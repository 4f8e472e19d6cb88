"""Images to push and pull: small and reproducible, with a directory of blobs to hold them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import random
import tarfile
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import ContentError
from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.oci.models import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformSpec,
    RootFS,
)
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viaduct.oci.digest import Digest

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


class _Writer:
    def __init__(self, path: Path, digest: Digest, size: int) -> None:
        self._path, self._digest, self._size = path, digest, size
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        self._data += data

    def commit(self) -> None:
        whole = bytes(self._data)
        if len(whole) != self._size or digests.of(whole) != self._digest:
            raise ContentError(f"not the content of {self._digest}")
        self._path.write_bytes(whole)


class Blobs:
    """Blobs in a directory; satisfies both ends of a transfer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        return self.root / digests.encoded(digest)

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def open(self, digest: Digest) -> BinaryIO:
        return self.path(digest).open("rb")

    def read(self, digest: Digest) -> bytes:
        return self.path(digest).read_bytes()

    def drop(self, digest: Digest) -> None:
        self.path(digest).unlink()

    @contextlib.contextmanager
    def ingest(self, digest: Digest, size: int) -> Iterator[_Writer]:
        yield _Writer(self.path(digest), digest, size)

    def add(self, data: bytes, media_type: str) -> Descriptor:
        digest = digests.of(data)
        self.path(digest).write_bytes(data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def all(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.root.iterdir()}


def noise(size: int, seed: int = 0) -> bytes:
    """`size` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def layer(blobs: Blobs, files: dict[str, bytes]) -> tuple[Descriptor, Digest]:
    """A gzip layer with these files, and its diff id."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    packed = gzip.compress(raw.getvalue(), 1, mtime=0)
    diff_id = digests.from_hash(hashlib.sha256(raw.getvalue()))
    return blobs.add(packed, media.OCI_LAYER_GZIP), diff_id


def image(
    blobs: Blobs, platform: Platform = AMD64, *, size: int = 2000, seed: int = 0, oci: bool = True
) -> Descriptor:
    """An image with two layers, the first the same for every platform."""
    first, first_id = layer(blobs, {"etc/common": noise(size, seed)})
    second, second_id = layer(blobs, {"bin/own": f"{platform} {seed}".encode()})
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        rootfs=RootFS(diff_ids=(first_id, second_id)),
    )
    layers: tuple[Descriptor, ...] = (first, second)
    if not oci:
        layers = tuple(
            Descriptor(media_type=media.DOCKER_LAYER_GZIP, digest=d.digest, size=d.size)
            for d in layers
        )
    kind = media.OCI_MANIFEST if oci else media.DOCKER_MANIFEST
    manifest = Manifest(
        schema_version=2,
        media_type=kind,
        config=blobs.add(models.encode(config), media.OCI_CONFIG if oci else media.DOCKER_CONFIG),
        layers=layers,
    )
    return blobs.add(models.encode(manifest), kind)


def attestation(blobs: Blobs, subject: Descriptor, *, seed: int = 0) -> Descriptor:
    """A referrer of `subject`, in the shape of BuildKit's attestations."""
    manifest = Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST,
        artifact_type="application/vnd.docker.attestation.manifest.v1+json",
        config=blobs.add(b"{}", media.OCI_EMPTY),
        layers=(blobs.add(f'{{"seed":{seed}}}'.encode(), "application/vnd.in-toto+json"),),
        subject=Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size),
    )
    found = blobs.add(models.encode(manifest), media.OCI_MANIFEST)
    return Descriptor(
        media_type=found.media_type,
        digest=found.digest,
        size=found.size,
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": subject.digest,
        },
        platform=PlatformSpec(architecture="unknown", os="unknown"),
    )


def index(
    blobs: Blobs,
    *,
    platforms: tuple[Platform, ...] = (AMD64, ARM64),
    attested: bool = False,
    seed: int = 0,
    size: int = 2000,
    oci: bool = True,
) -> Descriptor:
    """An index of one image for each platform."""
    entries = []
    for platform in platforms:
        found = image(blobs, platform, seed=seed, size=size, oci=oci)
        entries.append(
            Descriptor(
                media_type=found.media_type,
                digest=found.digest,
                size=found.size,
                platform=PlatformSpec.of(platform),
            )
        )
    if attested:
        # First in the list, as some tools write them: whoever pushes has to find the order.
        entries = [attestation(blobs, each, seed=seed) for each in entries] + entries
    kind = media.OCI_INDEX if oci else media.DOCKER_LIST
    document = Index(schema_version=2, media_type=kind, manifests=tuple(entries))
    return blobs.add(models.encode(document, indent=2), kind)
