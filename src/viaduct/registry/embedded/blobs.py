"""The embedded registry's verbs on blobs and uploads (distribution specification 1.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import ContentError
from viaduct.oci import digest as digests
from viaduct.oci import reference
from viaduct.registry.embedded.wire import FilePart, Problem, Reply

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest
    from viaduct.registry.embedded.storage import Storage
    from viaduct.registry.embedded.uploads import Upload, Uploads
    from viaduct.registry.embedded.wire import Incoming


def parse_digest(text: str) -> Digest:
    try:
        return digests.parse(text)
    except ContentError:
        raise Problem(400, "DIGEST_INVALID", f"{text[:100]!r} is not a supported digest") from None


class Blobs:
    """See the module."""

    def __init__(self, storage: Storage, uploads: Uploads) -> None:
        self._storage = storage
        self._uploads = uploads

    def get(self, request: Incoming) -> Reply:
        """GET and HEAD of a blob, with Range."""
        digest = parse_digest(request.target)
        path = self._storage.path(digest)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size < 0 or not self._storage.has_blob(request.name, digest):
            raise Problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
        }
        span = _span(request.headers.get("Range") or "", size) if request.method == "GET" else None
        if span is None:
            return Reply(200, headers, FilePart(path, 0, size))
        start, end = span
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        return Reply(206, headers, FilePart(path, start, end - start + 1))

    def delete(self, request: Incoming) -> Reply:
        if not self._storage.delete_blob(request.name, parse_digest(request.target)):
            raise Problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return Reply(202)

    def start(self, request: Incoming) -> Reply:
        """POST: mount a blob, take it whole, or begin an upload."""
        if mount := request.one("mount"):
            digest, source = parse_digest(mount), request.one("from")
            valid = not source or reference.is_repository(source)
            if valid and self._storage.mount(request.name, digest, source):
                return self._created(request.name, digest)
        wanted = request.one("digest")
        digest_wanted = parse_digest(wanted) if wanted else None
        upload = self._uploads.begin(request.name)
        if digest_wanted is None:
            return Reply(202, self._progress(upload))
        with upload.exclusive():
            self._receive(upload, request)
            self._uploads.finish(upload, digest_wanted)
        return self._created(request.name, digest_wanted)

    def status(self, request: Incoming) -> Reply:
        return Reply(204, self._progress(self._uploads.find(request.name, request.target)))

    def append(self, request: Incoming) -> Reply:
        """PATCH: the next piece of an upload."""
        upload = self._uploads.find(request.name, request.target)
        with upload.exclusive():
            self._check_place(upload, request)
            self._receive(upload, request)
            return Reply(202, self._progress(upload))

    def finish(self, request: Incoming) -> Reply:
        """PUT: the last piece, or the only one, or none; and the digest of all."""
        digest = parse_digest(request.one("digest"))
        upload = self._uploads.find(request.name, request.target)
        with upload.exclusive():
            if request.body.length != 0:
                self._check_place(upload, request)
                self._receive(upload, request)
            self._uploads.finish(upload, digest)
        return self._created(request.name, digest)

    def cancel(self, request: Incoming) -> Reply:
        self._uploads.drop(self._uploads.find(request.name, request.target))
        return Reply(204)

    def _receive(self, upload: Upload, request: Incoming) -> None:
        before = upload.size
        upload.append(request.body)
        told = request.body.length
        if told is not None and upload.size - before != told:
            raise Problem(400, "SIZE_INVALID", "the body has another length than its header says")

    def _check_place(self, upload: Upload, request: Incoming) -> None:
        text = request.headers.get("Content-Range") or ""
        if not text:
            return
        match = re.fullmatch(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?", text.strip())
        if match is None:
            raise Problem(400, "BLOB_UPLOAD_INVALID", "malformed Content-Range")
        start, end = int(match[1]), int(match[2])
        length = request.body.length
        if start != upload.size or (length is not None and end - start + 1 != length):
            raise Problem(
                416,
                "BLOB_UPLOAD_INVALID",
                f"the next byte of this upload is {upload.size}",
                headers=self._progress(upload),
            )

    def _progress(self, upload: Upload) -> dict[str, str]:
        return {
            "Location": f"/v2/{upload.name}/blobs/uploads/{upload.ident}",
            "Range": f"0-{max(upload.size - 1, 0)}",
            "Docker-Upload-UUID": upload.ident,
        }

    def _created(self, name: str, digest: Digest) -> Reply:
        return Reply(
            201,
            {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest},
        )


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header; None to send all (RFC 9110, 14.2).

    Several ranges at once are answered with the whole, as a server may.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(size - int(match[2]), 0), size - 1
    if start > end:
        raise Problem(
            416,
            "SIZE_INVALID",
            "range not satisfiable",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
