"""The embedded registry's verbs on manifests, tags and referrers (specification 1.1)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ContentError
from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference
from viaduct.oci.models import Descriptor, Index, Manifest
from viaduct.registry.embedded.blobs import parse_digest
from viaduct.registry.embedded.storage import StoredManifest
from viaduct.registry.embedded.wire import FilePart, Problem, Reply
from viaduct.registry.urls import with_query

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest
    from viaduct.registry.embedded.storage import Storage
    from viaduct.registry.embedded.wire import Incoming

_MANIFEST_LIMIT = 8 << 20
_PAGE = 1000
#: Layers that may stay where their URLs are.
_ELSEWHERE = ("nondistributable", "rootfs.foreign")


class Manifests:
    """See the module."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, request: Incoming) -> Reply:
        """GET and HEAD of a manifest by tag or digest."""
        found = self._storage.manifest(request.name, self._digest(request))
        if found is None:
            raise self._unknown(request)
        headers = {
            "Content-Type": found.media_type,
            "Docker-Content-Digest": found.digest,
            "ETag": f'"{found.digest}"',
        }
        return Reply(200, headers, FilePart(self._storage.path(found.digest), 0, found.size))

    def put(self, request: Incoming) -> Reply:
        """PUT by tag or digest, with further `tag` parameters."""
        data = request.body.read(_MANIFEST_LIMIT)
        if ":" in request.target:
            digest = parse_digest(request.target)
            hasher = hashlib.new(digests.algorithm(digest), data)
            if digests.from_hash(hasher) != digest:
                raise Problem(400, "DIGEST_INVALID", f"the manifest is not {digest}")
            tags = list(dict.fromkeys(request.query.get("tag", ())))
        else:
            digest, tags = digests.of(data), [request.target]
        for tag in tags:
            if not reference.is_tag(tag):
                raise Problem(400, "MANIFEST_INVALID", f"{tag[:128]!r} is not a tag")
        manifest = self._checked(request, digest, data)
        self._storage.put_manifest(request.name, manifest, data, tags)
        headers = {
            "Location": f"/v2/{request.name}/manifests/{digest}",
            "Docker-Content-Digest": digest,
        }
        if manifest.subject:
            headers["OCI-Subject"] = manifest.subject
        if ":" in request.target and tags:
            headers["OCI-Tag"] = ", ".join(tags)
        return Reply(201, headers)

    def delete(self, request: Incoming) -> Reply:
        """DELETE of a manifest by digest, or of a tag."""
        if ":" in request.target:
            gone = self._storage.delete_manifest(request.name, parse_digest(request.target))
        else:
            gone = self._storage.delete_tag(request.name, request.target)
        if not gone:
            raise self._unknown(request)
        return Reply(202)

    def tags(self, request: Incoming) -> Reply:
        if not self._storage.has_repository(request.name):
            raise Problem(404, "NAME_UNKNOWN", "repository name not known to registry")
        count = _count(request)
        found = self._storage.tags(request.name, request.one("last"), count + 1)
        body = msgspec.json.encode({"name": request.name, "tags": found[:count]})
        return _page(f"/v2/{request.name}/tags/list", count, found, body)

    def catalog(self, request: Incoming) -> Reply:
        count = _count(request)
        found = self._storage.repositories(request.one("last"), count + 1)
        body = msgspec.json.encode({"repositories": found[:count]})
        return _page("/v2/_catalog", count, found, body)

    def referrers(self, request: Incoming) -> Reply:
        subject, kind = parse_digest(request.target), request.one("artifactType")
        found = self._storage.referrers(request.name, subject, kind, request.one("last"), _PAGE + 1)
        index = Index(
            schema_version=2,
            media_type=media.OCI_INDEX,
            manifests=tuple(
                Descriptor(
                    media_type=entry.media_type,
                    digest=entry.digest,
                    size=entry.size,
                    artifact_type=entry.artifact_type,
                    annotations=entry.annotations,
                )
                for entry in found[:_PAGE]
            ),
        )
        headers = {"Content-Type": media.OCI_INDEX}
        if kind:
            headers["OCI-Filters-Applied"] = "artifactType"
        if len(found) > _PAGE:
            query = {"last": found[_PAGE - 1].digest} | ({"artifactType": kind} if kind else {})
            target = with_query(f"/v2/{request.name}/referrers/{subject}", query)
            headers["Link"] = f'<{target}>; rel="next"'
        return Reply(200, headers, models.encode(index))

    def _digest(self, request: Incoming) -> Digest:
        if ":" in request.target:
            return parse_digest(request.target)
        digest = self._storage.tagged(request.name, request.target)
        if digest is None:
            raise self._unknown(request)
        return digest

    def _unknown(self, request: Incoming) -> Problem:
        if not self._storage.has_repository(request.name):
            return Problem(404, "NAME_UNKNOWN", "repository name not known to registry")
        return Problem(404, "MANIFEST_UNKNOWN", f"manifest unknown: {request.target[:200]}")

    def _checked(self, request: Incoming, digest: Digest, data: bytes) -> StoredManifest:
        """The manifest, if it is one and everything that it names is here."""
        header = (request.headers.get("Content-Type") or "").partition(";")[0].strip()
        try:
            inner = models.sniff_media_type(data)
            kind = header or inner
            if kind in media.INDEXES:
                document: Index | Manifest = models.decode(data, Index, what="index")
            elif kind in media.MANIFESTS:
                document = models.decode(data, Manifest, what="manifest")
            else:
                raise Problem(400, "MANIFEST_INVALID", f"unsupported media type {kind[:200]!r}")
        except ContentError as error:
            raise Problem(400, "MANIFEST_INVALID", error.what) from error
        if document.media_type not in ("", kind):
            raise Problem(
                400,
                "MANIFEST_INVALID",
                f"Content-Type is {kind}, mediaType is {document.media_type[:200]}",
            )
        if document.schema_version != 2:
            raise Problem(400, "MANIFEST_INVALID", "schemaVersion is not 2")
        artifact_type = document.artifact_type
        if isinstance(document, Index):
            self._require_children(request.name, document)
        else:
            self._require_blobs(request.name, document)
            artifact_type = artifact_type or document.config.media_type
        return StoredManifest(
            digest,
            kind,
            len(data),
            document.subject.digest if document.subject else "",
            artifact_type,
            document.annotations,
        )

    def _require_children(self, name: str, index: Index) -> None:
        for child in index.manifests:
            known = self._storage.manifest(name, child.digest) is not None
            if not known and not self._storage.has_blob(name, child.digest):
                raise Problem(400, "MANIFEST_BLOB_UNKNOWN", f"manifest {child.digest} unknown")

    def _require_blobs(self, name: str, manifest: Manifest) -> None:
        for blob in (manifest.config, *manifest.layers):
            if any(mark in blob.media_type for mark in _ELSEWHERE):
                continue
            if not self._storage.has_blob(name, blob.digest):
                raise Problem(400, "MANIFEST_BLOB_UNKNOWN", f"blob {blob.digest} unknown")
            if self._storage.path(blob.digest).stat().st_size != blob.size:
                raise Problem(400, "SIZE_INVALID", f"blob {blob.digest} has another size")


def _count(request: Incoming) -> int:
    text = request.one("n")
    if not text:
        return _PAGE
    if not (text.isascii() and text.isdigit()):
        raise Problem(400, "PAGINATION_NUMBER_INVALID", "n is not a number")
    return min(int(text[:9]), _PAGE)


def _page(path: str, count: int, found: list[str], body: bytes) -> Reply:
    headers = {"Content-Type": "application/json"}
    if 0 < count < len(found):
        target = with_query(path, {"n": str(count), "last": found[count - 1]})
        headers["Link"] = f'<{target}>; rel="next"'
    return Reply(200, headers, body)
