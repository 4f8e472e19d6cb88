"""The verbs of the distribution protocol, one method each (distribution specification 1.1).

    client = connect(os.environ)
    found = client.resolve(reference.parse("alpine:3.20"))
    document = client.manifest(found.ref)

What is read may come from a mirror; what is written goes to the registry itself. Every byte that
comes in is checked against its digest. All methods raise `RegistryError` when the registry refuses
or cannot be reached, `ContentError` when it sends something else than it should, and `Canceled`
when stopped. All are safe from threads.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar, cast

import msgspec
from msgspec.structs import replace

from viaduct.base import decoding
from viaduct.base.errors import ContentError, RegistryError
from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.oci.models import Descriptor, Index
from viaduct.oci.reference import Reference
from viaduct.registry import documents
from viaduct.registry.auth import scope
from viaduct.registry.config import Hosts, certificate_roots, config_file
from viaduct.registry.credentials import Keychain
from viaduct.registry.download import BlobReader, embedded
from viaduct.registry.session import Call, Session
from viaduct.registry.transport import HTTPTransport
from viaduct.registry.urls import decimal, next_page, with_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest
    from viaduct.registry.config import Endpoint
    from viaduct.registry.documents import RawManifest
    from viaduct.registry.session import Exchange
    from viaduct.registry.upload import Outcome

_T = TypeVar("_T")

_ACCEPT: Mapping[str, str] = {"Accept": ", ".join(media.ACCEPT)}
# Answers to HEAD that have no explanation: the same question by GET has.
_HEAD_NO = frozenset({400, 401, 403, 404, 405, 406})
_PAGE_LIMIT = 8 << 20
_MOST_PAGES = 10_000
_PIECE = 1 << 20


class Writer(Protocol):
    """One blob on its way into a store."""

    def write(self, data: memoryview, /) -> object: ...

    def commit(self) -> object:
        """Make it part of the store. Raises `ContentError` unless digest and size are right."""


class ContentSink(Protocol):
    """Where pulled blobs go. `viaduct.store.content` is one."""

    def has(self, digest: Digest, /) -> bool: ...

    def ingest(self, digest: Digest, size: int, /) -> AbstractContextManager[Writer]:
        """A writer that verifies; leaving the block without a commit discards what it has."""


def _nothing(_count: int) -> None:
    """Progress that nobody follows."""


class Resolved(msgspec.Struct, frozen=True):
    """What a reference points to now; `ref` names it with its digest."""

    ref: Reference
    descriptor: Descriptor


class Client:
    """See the module. `manifest_limit` bounds the size of a manifest in bytes."""

    def __init__(self, session: Session, *, manifest_limit: int = 8 << 20) -> None:
        self.session = session
        self._manifest_limit = manifest_limit

    def bound(
        self, *, stop: Stop | None = None, report: Callable[[str], None] | None = None
    ) -> Client:
        """The same client for one piece of work: `stop` ends it, `report` hears about retries."""
        return Client(
            self.session.bound(stop=stop, report=report), manifest_limit=self._manifest_limit
        )

    def close(self) -> None:
        """Close the idle connections; the client stays usable."""
        self.session.close()

    def resolve(self, ref: Reference) -> Resolved:
        """The descriptor behind a tag or digest, by HEAD where possible: a manifest GET counts
        against the pull limit of Docker Hub."""
        ref = ref.with_default_tag()
        descriptor = self._anywhere(ref, lambda endpoint: self._head(endpoint, ref))
        return Resolved(ref.with_digest(descriptor.digest), descriptor)

    def manifest(self, ref: Reference) -> RawManifest:
        """The document behind a tag or digest, as the bytes that were sent."""
        ref = ref.with_default_tag()
        return self._anywhere(ref, lambda endpoint: self._get(endpoint, ref))

    def holds(self, ref: Reference) -> Digest | None:
        """The digest of the manifest that `ref` names at the registry itself, or None; asked with
        the rights to push, for that is what follows."""
        call = self._manifest_call("HEAD", self._origin(ref), ref, ("pull", "push"))
        exchange = self.session.ask(self._origin(ref), call, {200, 400, 403, 404, 405})
        exchange.close()
        if exchange.status != 200:
            return None
        named = _digest(exchange.headers.get("docker-content-digest", ""))
        return named or ref.digest or self._get(self._origin(ref), ref).digest

    def put_manifest(self, ref: Reference, data: bytes, media_type: str) -> str:
        """Store a manifest under the tag of `ref`, or under its digest when it has no tag.

        Returns the subject that the registry took note of (`OCI-Subject`), or empty.
        """
        endpoint = self._origin(ref)
        name = ref.tag or ref.digest or digests.of(data)
        call = Call(
            "PUT",
            f"{endpoint.repository(ref.path)}/manifests/{name}",
            f"push of {ref.familiar}",
            (scope(endpoint.repository(ref.path), "pull", "push"),),
            {"Content-Type": media_type},
            data,
        )
        answer = self.session.fetch(endpoint, call, {200, 201, 202}, limit=_PAGE_LIMIT)
        stored = _digest(answer.headers.get("docker-content-digest", ""))
        if stored is not None and documents.hashed(data, stored) != stored:
            raise ContentError(f"push of {ref.familiar}: the registry stored other bytes: {stored}")
        return answer.headers.get("oci-subject", "")

    def blob(self, ref: Reference, descriptor: Descriptor, *, verify: bool = True) -> BinaryIO:
        """A blob of the repository of `ref` as a stream to be read once; see `BlobReader`."""
        if (data := embedded(descriptor)) is not None:
            return io.BytesIO(data)
        path = f"blobs/{descriptor.digest}"

        def open_at(offset: int) -> Exchange:
            def ask(endpoint: Endpoint) -> Exchange:
                headers = {"Range": f"bytes={offset}-"} if offset else {}
                call = Call(
                    "GET",
                    self._path(endpoint, ref, path),
                    f"blob {descriptor.digest} of {ref.familiar}",
                    self._pull_scope(endpoint, ref),
                    headers,
                    pinned=True,
                )
                return self.session.ask(endpoint, call, {200, 206} if offset else {200})

            return self._anywhere(ref, ask)

        def pause(error: RegistryError, attempt: int) -> None:
            what = f"blob {descriptor.digest}"
            self.session.wait(what, error, attempt, self.session.patience)

        return cast("BinaryIO", BlobReader(descriptor, open_at, pause, verify=verify))

    def fetch_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        sink: ContentSink,
        *,
        moved: Callable[[int], None] = _nothing,
    ) -> None:
        """Bring a blob into `sink`, unless it is there; `moved` is told the bytes so far."""
        if sink.has(descriptor.digest):
            return
        done = 0
        with (
            # The sink verifies what it commits; to hash here as well would only cost time.
            self.blob(ref, descriptor, verify=False) as stream,
            sink.ingest(descriptor.digest, descriptor.size) as writer,
            memoryview(bytearray(min(_PIECE, descriptor.size + 1))) as buffer,
        ):
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]  # raw streams
                writer.write(buffer[:count])
                done += count
                moved(done)
            writer.commit()

    def has_blob(self, ref: Reference, digest: Digest) -> bool:
        """Whether the repository of `ref` has the blob."""
        endpoint = self._origin(ref)
        call = Call(
            "HEAD",
            f"{endpoint.repository(ref.path)}/blobs/{digest}",
            f"blob {digest} of {ref.familiar}",
            self._pull_scope(endpoint, ref),
        )
        exchange = self.session.ask(endpoint, call, {200, 404})
        exchange.close()
        return exchange.status == 200

    def upload_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: Sequence[str] = (),
        moved: Callable[[int], None] = _nothing,
    ) -> Outcome:
        """Bring a blob into the repository of `ref`: nothing if it is there, mounted from another
        repository of the registry (`mount_from`, paths) where possible, else sent."""
        from viaduct.registry.upload import BlobUpload

        upload = BlobUpload(self.session, self._origin(ref), ref.path, descriptor, open_blob, moved)
        return upload.run(mount_from)

    def tags(self, ref: Reference) -> list[str]:
        """All tags of the repository of `ref`, in the registry's order."""
        endpoint = self._origin(ref)
        path = f"{endpoint.repository(ref.path)}/tags/list?n=1000"
        what = f"tags of {ref.domain}/{ref.path}"
        out: list[str] = []
        for page in self._pages(endpoint, ref, path, what):
            try:
                out += decoding.from_json(page, _Tags).tags or ()
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise RegistryError(f"{what}: the answer is not a list of tags") from error
        return out

    def referrers(
        self, ref: Reference, digest: Digest, *, artifact_type: str = ""
    ) -> tuple[Descriptor, ...]:
        """Manifests in the repository of `ref` whose subject is `digest`, by the referrers API or,
        where a registry lacks it, by the tag that stands for it."""
        endpoint = self._origin(ref)
        path = f"{endpoint.repository(ref.path)}/referrers/{digest}"
        if artifact_type:
            path = with_query(path, {"artifactType": artifact_type})
        what = f"referrers of {digest} in {ref.domain}/{ref.path}"
        try:
            pages = list(self._pages(endpoint, ref, path, what))
            found = [entry for page in pages for entry in _index(page, what).manifests]
        except (RegistryError, ContentError) as error:
            # Proxies answer unknown paths with a page and status 200.
            if isinstance(error, RegistryError) and error.status not in (404, 405, 501):
                raise
            found = list(self._referrers_by_tag(ref, digest))
        return tuple(d for d in found if not artifact_type or d.artifact_type == artifact_type)

    def delete(self, ref: Reference) -> None:
        """Delete the manifest that the digest of `ref` names, or else only its tag."""
        endpoint = self._origin(ref)
        repository = endpoint.repository(ref.path)
        call = Call(
            "DELETE",
            f"{repository}/manifests/{ref.digest or ref.tag}",
            f"deletion of {ref.familiar}",
            (scope(repository, "pull", "push", "delete"),),
        )
        self.session.ask(endpoint, call, {200, 202, 204}).close()

    def _origin(self, ref: Reference) -> Endpoint:
        return self.session.hosts.origin(ref.domain)

    def _anywhere(self, ref: Reference, ask: Callable[[Endpoint], _T]) -> _T:
        """From the first mirror that has it, else from the registry itself."""
        for mirror in self.session.hosts.mirrors(ref.domain):
            try:
                return ask(mirror)
            except (RegistryError, ContentError) as error:
                self.session.report(f"mirror {mirror.host}: {error.what}; asking elsewhere")
        return ask(self._origin(ref))

    def _path(self, endpoint: Endpoint, ref: Reference, rest: str) -> str:
        path = f"{endpoint.repository(ref.path)}/{rest}"
        # A proxy of several registries is told which one is meant (specification: `ns`).
        return with_query(path, {"ns": endpoint.domain}) if endpoint.mirror else path

    def _pull_scope(self, endpoint: Endpoint, ref: Reference) -> tuple[str, ...]:
        return (scope(endpoint.repository(ref.path), "pull"),)

    def _manifest_call(
        self, method: str, endpoint: Endpoint, ref: Reference, actions: tuple[str, ...]
    ) -> Call:
        return Call(
            method,
            self._path(endpoint, ref, f"manifests/{ref.digest or ref.tag}"),
            ref.familiar,
            (scope(endpoint.repository(ref.path), *actions),),
            _ACCEPT,
            pinned=ref.digest is not None,
        )

    def _head(self, endpoint: Endpoint, ref: Reference) -> Descriptor:
        call = self._manifest_call("HEAD", endpoint, ref, ("pull",))
        exchange = self.session.ask(endpoint, call, {200, *_HEAD_NO})
        exchange.close()
        kind = documents.plain_type(exchange.headers.get("content-type", ""))
        size = decimal(exchange.headers.get("content-length", ""))
        named = _digest(exchange.headers.get("docker-content-digest", ""))
        told = exchange.status == 200 and documents.is_known(kind)
        if told and size is not None and named and ref.digest in (None, named):
            return Descriptor(media_type=kind, digest=named, size=size)
        return self._get(endpoint, ref).descriptor

    def _get(self, endpoint: Endpoint, ref: Reference) -> RawManifest:
        call = self._manifest_call("GET", endpoint, ref, ("pull",))
        answer = self.session.fetch(endpoint, call, {200}, limit=self._manifest_limit)
        return documents.checked(
            answer.body,
            content_type=answer.headers.get("content-type", ""),
            expected=ref.digest,
            named=answer.headers.get("docker-content-digest", ""),
            what=ref.familiar,
        )

    def _pages(self, endpoint: Endpoint, ref: Reference, path: str, what: str) -> Iterator[bytes]:
        for _ in range(_MOST_PAGES):
            call = Call("GET", path, what, self._pull_scope(endpoint, ref))
            page = self.session.fetch(endpoint, call, {200}, limit=_PAGE_LIMIT)
            yield page.body
            path = next_page(page.url, page.headers.get("link", ""))
            if not path:
                return
        raise RegistryError(f"{what}: the list has no end")

    def _referrers_by_tag(self, ref: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        algorithm, encoded = digests.algorithm(digest), digests.encoded(digest)
        tag = f"{algorithm[:32]}-{encoded[:64]}"
        try:
            document = self._get(self._origin(ref), replace(ref, tag=tag, digest=None))
        except RegistryError as error:
            if error.status == 404:
                return ()
            raise
        if not models.is_index(document.media_type):
            return ()
        return models.decode(document.data, Index, what=f"referrers tag {tag}").manifests


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


def _digest(text: str) -> Digest | None:
    try:
        return digests.parse(text)
    except ContentError:
        return None


def _index(data: bytes, what: str) -> Index:
    return models.decode(data, Index, what=what)


def connect(
    env: Mapping[str, str],
    *,
    insecure: Sequence[str] = (),
    mirrors: Mapping[str, Sequence[str]] | None = None,
    stop: Stop | None = None,
) -> Client:
    """A client with the configuration and credentials that `env` leads to.

    `insecure` hosts and `mirrors` by host add to the configuration file. Raises `UsageError` when
    that file makes no sense. Nothing is sent yet.
    """
    hosts = Hosts.read(
        config_file(env),
        certificates=certificate_roots(env),
        insecure=insecure,
        mirrors=mirrors,
    )
    return Client(Session(HTTPTransport(env), hosts, Keychain(env)).bound(stop=stop))
