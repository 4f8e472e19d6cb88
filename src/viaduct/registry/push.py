"""Pushing an image or index under any number of names.

The order is the promise: blobs, image manifests, referrers, the index by digest, and then the
tags. No tag of any target moves before everything is there for all of them, so that a push that
fails leaves every tag as it was. What a registry has is neither read nor sent: when nothing
changed, a push is one HEAD for each tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import Canceled, ContentError, RegistryError, UsageError, ViaductError
from viaduct.base.tasks import Nursery
from viaduct.oci import reference
from viaduct.oci.reference import Reference
from viaduct.registry.parcel import may_stay_away, pack
from viaduct.registry.progress import Meter, Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.registry.client import Client
    from viaduct.registry.parcel import ContentSource, Document, Parcel
    from viaduct.registry.progress import Job

_T = TypeVar("_T")

#: Requests at once to one registry.
_STREAMS = 5


def _nowhere(_digest: Digest) -> tuple[str, ...]:
    """Sources for content that is all in the local store."""
    return ()


def push(
    client: Client,
    targets: Sequence[Reference],
    root: Descriptor,
    content: ContentSource,
    *,
    sources: Callable[[Digest], Sequence[str]] = _nowhere,
    job: Job | None = None,
    by_digest: bool = False,
) -> tuple[Reference, ...]:
    """Make every target name `root`, and return the targets with its digest.

    Documents and blobs are read from `content`; those that are not there are mounted or streamed
    from the first of `sources(digest)`, image references, that has them. Targets without a tag get
    `latest`, or none at all with `by_digest`. Raises `UsageError` for a tag together with
    `by_digest`, `RegistryError` (which tags moved, if some did), `ContentError` for content that is
    nowhere or damaged, and `Canceled`.
    """
    job = job or Quiet()
    client = client.bound(stop=job.stop, report=lambda text: job.status(text, done=True))
    names = []
    for target in dict.fromkeys(targets):
        if by_digest and target.tag:
            raise UsageError(
                f"can't push tagged ref {target.familiar} by digest", hint="leave the tag off"
            )
        bare = replace(target, digest=None)
        names.append(bare if by_digest else bare.with_default_tag())
    _Push(client, root, content, sources, job).run(names)
    return tuple(name.with_digest(root.digest) for name in names)


class _Repository(msgspec.Struct):
    """The targets of one repository. `stale` are the tags that have to move; `ready` says that the
    root is there by digest."""

    ref: Reference
    tags: list[Reference]
    stale: list[Reference]
    ready: bool = False


class _Push:
    """One push; see the module."""

    def __init__(
        self,
        client: Client,
        root: Descriptor,
        content: ContentSource,
        sources: Callable[[Digest], Sequence[str]],
        job: Job,
    ) -> None:
        self._client = client
        self._root = root
        self._content = content
        self._sources = sources
        self._job = job
        self._total = 0

    def run(self, names: Sequence[Reference]) -> None:
        groups: dict[str, _Repository] = {}
        for name in names:
            bare = replace(name, tag="")
            group = groups.setdefault(bare.name, _Repository(bare, [], []))
            if name.tag:
                group.tags.append(name)
        client = self._client
        _side_by_side(client, self._look, list(groups.values()))
        self._job.status("pushing layers")
        self._deliver([group for group in groups.values() if not group.ready])
        self._job.status("pushing layers", self._total, self._total, done=True)
        self._move([tag for group in groups.values() for tag in group.stale])
        for name in names:
            self._job.status(f"pushing manifest for {name}@{self._root.digest}", done=True)

    def _look(self, client: Client, group: _Repository) -> None:
        """Find out what the repository has."""
        current = [tag for tag in group.tags if client.holds(tag) == self._root.digest]
        group.stale = [tag for tag in group.tags if tag not in current]
        pinned = group.ref.with_digest(self._root.digest)
        group.ready = bool(current) or client.holds(pinned) is not None

    def _deliver(self, groups: Sequence[_Repository]) -> None:
        """Bring the root to every repository, registries side by side."""
        if not groups:
            return
        parcel = pack(self._root, lambda descriptor: self._document(self._client, descriptor))
        registries: dict[str, list[_Repository]] = {}
        for group in groups:
            registries.setdefault(group.ref.domain, []).append(group)

        def registry(client: Client, mine: list[_Repository]) -> None:
            # One after the other: the second repository mounts what the first received.
            delivered: list[str] = []
            for group in mine:
                self._fill(client, group, parcel, delivered)
                delivered.append(group.ref.path)

        _side_by_side(self._client, registry, list(registries.values()))

    def _fill(
        self, client: Client, group: _Repository, parcel: Parcel, delivered: Sequence[str]
    ) -> None:
        present = _present(client, group.ref, parcel)
        wanted = [each for each in parcel.documents() if each.descriptor.digest not in present]
        blobs = {blob.digest: blob for each in wanted for blob in each.blobs}
        here = [
            blob
            for blob in blobs.values()
            if not may_stay_away(blob) or self._content.has(blob.digest)
        ]
        total = sum(blob.size for blob in here)
        self._total += total
        meter = Meter(self._job, "pushing layers", total)

        def send(client: Client, blob: Descriptor) -> None:
            client.upload_blob(
                group.ref,
                blob,
                lambda: self._open(client, blob),
                mount_from=self._mountable(group.ref, blob.digest, delivered),
                moved=lambda position: meter.at(blob.digest, position),
            )
            meter.at(blob.digest, blob.size)

        def put(client: Client, document: Document) -> None:
            descriptor = document.descriptor
            ref = group.ref.with_digest(descriptor.digest)
            client.put_manifest(ref, document.data, descriptor.media_type)

        _side_by_side(client, send, sorted(here, key=lambda blob: -blob.size))
        for tier in parcel.tiers:
            todo = [each for each in tier if each.descriptor.digest not in present]
            if todo == [parcel.root] and len(group.stale) == 1:
                continue  # to put it under its only tag puts it
            _side_by_side(client, put, todo)

    def _move(self, tags: Sequence[Reference]) -> None:
        """Point the tags to the root, one after the other."""
        data = self._document(self._client, self._root) if tags else b""
        for count, tag in enumerate(tags):
            try:
                self._job.stop.check()
                self._job.status(f"pushing manifest for {tag}@{self._root.digest}")
                self._client.put_manifest(tag, data, self._root.media_type)
            except ViaductError as error:
                if not count:
                    raise
                raise _half_moved(error, tags[:count], tags[count:]) from error

    def _mountable(self, ref: Reference, digest: Digest, delivered: Sequence[str]) -> list[str]:
        """Repositories of the same registry that have a blob."""
        known = [source.path for source in self._known(digest) if source.domain == ref.domain]
        return [path for path in dict.fromkeys((*delivered, *known)) if path != ref.path]

    def _known(self, digest: Digest) -> list[Reference]:
        # Layouts on disk and the like are named as URLs; they are not for us.
        return [reference.parse(text) for text in self._sources(digest) if "://" not in text]

    def _document(self, client: Client, descriptor: Descriptor) -> bytes:
        if self._content.has(descriptor.digest):
            with self._content.open(descriptor.digest) as stream:
                return stream.read(descriptor.size + 1)
        failure: RegistryError | None = None
        for source in self._known(descriptor.digest):
            try:
                return client.manifest(source.with_digest(descriptor.digest)).data
            except RegistryError as error:
                failure = failure or error
        raise failure or self._lost(descriptor)

    def _open(self, client: Client, blob: Descriptor) -> BinaryIO:
        if self._content.has(blob.digest):
            return self._content.open(blob.digest)
        failure: RegistryError | None = None
        for source in self._known(blob.digest):
            try:
                return client.blob(source, blob)
            except RegistryError as error:
                failure = failure or error
        raise failure or self._lost(blob)

    def _lost(self, descriptor: Descriptor) -> ContentError:
        return ContentError(
            f"{descriptor.digest} is not in the local store, and nothing says where it came from",
            hint="build or pull the image again",
        )


def _present(client: Client, ref: Reference, parcel: Parcel) -> set[Digest]:
    """Manifests that a repository has already, and with them all that they name."""
    found: set[Digest] = set()

    def look(client: Client, document: Document) -> None:
        digest = document.descriptor.digest
        if client.holds(ref.with_digest(digest)) is not None:
            found.add(digest)

    _side_by_side(client, look, [each for each in parcel.documents() if each != parcel.root])
    return found


def _side_by_side(client: Client, work: Callable[[Client, _T], None], items: Sequence[_T]) -> None:
    """`work` on all items; the first failure cuts the connections of the others."""
    if len(items) == 1:
        work(client, items[0])
    elif items:
        with Nursery(_STREAMS, stop=client.session.stop, name="push") as todo:
            bound = client.bound(stop=todo.stop)
            for item in items:
                todo.start(work, bound, item)


def _half_moved(
    error: ViaductError, moved: Sequence[Reference], left: Sequence[Reference]
) -> ViaductError:
    done = ", ".join(tag.familiar for tag in moved)
    still = ", ".join(tag.familiar for tag in left)
    text = f"{error.what}; already moved: {done}; not moved: {still}"
    if isinstance(error, Canceled):
        return Canceled(text)
    if isinstance(error, RegistryError):
        return RegistryError(text, status=error.status, code=error.code, hint=error.hint)
    return type(error)(text, hint=error.hint)
