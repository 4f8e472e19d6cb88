"""`imagetools create` carried out: what comes of the sources is brought to its names.

Nothing is kept here: documents pass through memory, layers are mounted or streamed from the source
to the target. Signatures and attestations that a source registry knows as referrers go along.
"""

from __future__ import annotations

import hashlib
import io
import threading
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import ContentError, UsageError
from viaduct.base.tasks import Nursery
from viaduct.base.values import Mutable
from viaduct.engine.places import LayoutPlace, RegistryPlace
from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.registry import referrers
from viaduct.registry.parcel import may_stay_away
from viaduct.registry.push import push

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.base.tasks import Stop
    from viaduct.engine.compose import Composition
    from viaduct.engine.places import Place
    from viaduct.engine.sources import Source
    from viaduct.engine.work import Work
    from viaduct.export.layout_directory import LayoutDirectory
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.registry.client import Client

_STREAMS = 8
_DEEPEST = 8
_PIECE = 1 << 20

#: What goes along with the image that it is about.
CARRIED = frozenset(
    (
        "application/vnd.docker.attestation.manifest.v1+json",
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    )
)


class Cargo(Mutable):
    """What is brought to the targets: documents in memory, and where their blobs are.

    `carried` are referrers with the digests of their subjects, subjects first.
    """

    documents: dict[Digest, bytes] = msgspec.field(default_factory=dict)
    homes: dict[Digest, Place] = msgspec.field(default_factory=dict)
    carried: list[tuple[Descriptor, Digest]] = msgspec.field(default_factory=list)
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def has(self, digest: Digest) -> bool:
        """Whether it can be had without asking a registry; then it is not mounted from there."""
        home = self.homes.get(digest)
        return digest in self.documents or (isinstance(home, LayoutPlace) and _in(home, digest))

    def open(self, digest: Digest) -> BinaryIO:
        if (data := self.documents.get(digest)) is not None:
            return io.BytesIO(data)
        home = self.homes[digest]
        assert isinstance(home, LayoutPlace)
        return home.directory.open(digest)

    def sources(self, digest: Digest) -> tuple[str, ...]:
        home = self.homes.get(digest)
        return (home.repository,) if isinstance(home, RegistryPlace) else ()


def _in(place: LayoutPlace, digest: Digest) -> bool:
    return place.directory.has(digest)


def gather(
    made: Composition,
    found: Sequence[Source],
    named: Sequence[RegistryPlace | LayoutPlace],
    stop: Stop,
) -> Cargo:
    """Read every document below the composition, and look for the referrers of each.

    A repository that is the only target has all that it is a source of already.
    """
    cargo = Cargo()
    cargo.documents[made.root.digest] = made.data
    at = {repository.repository for repository in named}

    def visit(descriptor: Descriptor, place: Place, depth: int) -> None:
        if depth > _DEEPEST:
            raise ContentError(f"{made.root.digest}: indexes are nested too deeply")
        with cargo.lock:
            if descriptor.digest in cargo.homes:
                return
            cargo.homes[descriptor.digest] = place
        at_home = isinstance(place, RegistryPlace) and at == {place.repository}
        if at_home or not models.is_document(descriptor.media_type):
            return
        data = cargo.documents.get(descriptor.digest)
        if data is None:
            data = place.with_digest(descriptor.digest).document().data
            cargo.documents[descriptor.digest] = data
        what = f"manifest {descriptor.digest}"
        if models.is_index(descriptor):
            for entry in models.decode(data, models.Index, what=what).manifests:
                todo.start(visit, entry, place, depth + 1)
        else:
            manifest = models.decode(data, models.Manifest, what=what)
            for blob in (manifest.config, *manifest.layers):
                with cargo.lock:
                    cargo.homes.setdefault(blob.digest, place)
        for entry in place.referrers(descriptor.digest):
            if entry.artifact_type in CARRIED:
                with cargo.lock:
                    cargo.carried.append((entry, descriptor.digest))
                visit(entry, place, depth + 1)

    with Nursery(_STREAMS, stop=stop, name="gather") as todo:
        if (copied := made.sources.get(made.root.digest)) is not None:
            todo.start(visit, made.root, found[copied].place, 0)
        else:
            index = models.decode(made.data, models.Index, what="index")
            for entry in index.manifests:
                todo.start(visit, entry, found[made.sources[entry.digest]].place, 1)
    if cargo.carried:
        inside = _below(made.root, cargo)
        cargo.carried = [each for each in cargo.carried if each[0].digest not in inside]
    return cargo


def _below(root: Descriptor, cargo: Cargo) -> set[Digest]:
    """The documents that `root` names, itself among them: an index may list an attestation that is
    known as a referrer as well."""
    found: set[Digest] = set()
    pending = [root]
    while pending:
        descriptor = pending.pop()
        data = cargo.documents.get(descriptor.digest)
        if descriptor.digest not in found and data and models.is_index(descriptor):
            pending += models.decode(data, models.Index, what="index").manifests
        found.add(descriptor.digest)
    return found


def deliver(
    made: Composition,
    cargo: Cargo,
    named: Sequence[RegistryPlace | LayoutPlace],
    client: Client,
    job: Work,
) -> None:
    """Make every target name the composition. Tags move last, layouts are entered before.

    Raises `UsageError` for a target whose digest it is not.
    """
    for place in named:
        if place.digest is not None and place.digest != made.root.digest:
            raise UsageError(
                f"target {place} requested digest {place.digest} but produced {made.root.digest}",
                hint="name a tag",
            )
    client = client.bound(stop=job.stop)
    for place in named:
        if isinstance(place, LayoutPlace):
            job.log(1, f"copying {made.root.digest} to {place}\n".encode())
            _write(made, cargo, place, job.stop)
    refs = [place.ref for place in named if isinstance(place, RegistryPlace)]
    if not refs:
        return
    bare = list(dict.fromkeys(replace(ref, tag="", digest=None) for ref in refs))
    if cargo.carried:
        push(client, bare, made.root, cargo, sources=cargo.sources, job=job, by_digest=True)
    for entry, subject in cargo.carried:
        job.log(1, f"copying {entry.digest}, which refers to {subject}\n".encode())
        push(client, bare, entry, cargo, sources=cargo.sources, job=job, by_digest=True)
        for repository in bare:
            referrers.ensure_listed(client, repository, subject, entry)
    untagged = [ref for ref in bare if all(r.name != ref.name or not r.tag for r in refs)]
    for ref in refs:
        job.log(1, f"pushing {made.root.digest} to {ref}\n".encode())
    tagged = [replace(ref, digest=None) for ref in refs if ref.tag]
    if untagged:
        push(client, untagged, made.root, cargo, sources=cargo.sources, job=job, by_digest=True)
    if tagged:
        push(client, tagged, made.root, cargo, sources=cargo.sources, job=job)


def _write(made: Composition, cargo: Cargo, place: LayoutPlace, stop: Stop) -> None:
    """Write the composition and what refers to it into a layout, and enter its name."""
    directory = place.directory
    seen: set[Digest] = set()

    def add(descriptor: Descriptor) -> None:
        if descriptor.digest in seen:
            return
        seen.add(descriptor.digest)
        if models.is_index(descriptor):
            data = cargo.documents[descriptor.digest]
            for entry in models.decode(data, models.Index, what="index").manifests:
                add(entry)
        elif models.is_document(descriptor.media_type):
            data = cargo.documents[descriptor.digest]
            manifest = models.decode(data, models.Manifest, what="manifest")
            for blob in (manifest.config, *manifest.layers):
                if cargo.has(blob.digest) or not may_stay_away(blob):
                    add(blob)
        _add_blob(directory, descriptor, cargo, stop)

    add(made.root)
    for entry, _subject in cargo.carried:
        add(entry)
    root = msgspec.structs.replace(made.root, annotations=dict(made.root.annotations))
    if place.tag:
        root.annotations[media.LAYOUT_TAG] = place.tag
    directory.enter([root, *(entry for entry, _subject in cargo.carried)])


def _add_blob(directory: LayoutDirectory, descriptor: Descriptor, cargo: Cargo, stop: Stop) -> None:
    digest = descriptor.digest

    def write(out: BinaryIO) -> None:
        home = cargo.homes.get(digest)
        local = cargo.has(digest) or home is None
        with cargo.open(digest) if local or home is None else home.blob(descriptor) as source:
            check = _Check(descriptor)
            while data := source.read(_PIECE):
                stop.check()
                check.update(data)
                out.write(data)
            check.finish()

    directory.add(digest, write)


class _Check:
    """Counts and hashes what is copied."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._hash = hashlib.new(digests.algorithm(descriptor.digest))
        self._size = 0

    def update(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)

    def finish(self) -> None:
        """Raises `ContentError` when it was not what the descriptor says."""
        right = digests.from_hash(self._hash) == self._descriptor.digest
        if not right or self._size != self._descriptor.size:
            raise ContentError(
                f"{self._descriptor.digest} is damaged where it was copied from",
                hint="check the source image",
            )
