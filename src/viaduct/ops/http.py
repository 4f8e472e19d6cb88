"""Files from http(s) URLs: `ADD https://…`, remote Dockerfiles and context archives.

A file is downloaded once and asked about again with its entity tag (RFC 9110); its bytes live in
the content store, under their digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import BuildError, RegistryError
from viaduct.base.fs import write_atomic
from viaduct.graph.node import canonical
from viaduct.oci import digest as digests
from viaduct.oci.digest import Digest
from viaduct.ops.source import Source
from viaduct.ops.trees import Filesystem
from viaduct.registry.failures import Broken
from viaduct.registry.transport import Request
from viaduct.registry.urls import redacted, resolved
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.graph.ops import HttpSource
    from viaduct.ops.trees import Trees
    from viaduct.registry.transport import Response, Transport
    from viaduct.solve.plan import Job, Result
    from viaduct.store.content import ContentStore

_REDIRECTS = 10
_MOVED = frozenset({301, 302, 303, 307, 308})
_BUFFER = 1 << 20
_FILENAME = re.compile(r'filename="?([^";]+)"?')


class Download(msgspec.Struct, frozen=True):
    """A URL's content: `modified` is its Last-Modified time in seconds, 0 when not told."""

    digest: Digest
    size: int
    modified: int = 0
    etag: str = ""
    filename: str = ""


class Downloads:
    """Fetches URLs into the content store; what is known about each is kept below `root`."""

    def __init__(self, root: Path, transport: Transport, content: ContentStore) -> None:
        self._root = root
        self._transport = transport
        self.content = content

    def fetch(self, url: str, *, checksum: str = "", stop: Stop) -> Download:
        """Bring the content of `url` into the content store.

        Raises `BuildError` when it cannot be had, or is not what `checksum` says.
        """
        known = self._known(url)
        if known is not None and checksum and known.digest == checksum:
            return known
        headers = {"If-None-Match": known.etag} if known is not None and known.etag else {}
        try:
            with self._get(url, headers, stop) as response:
                if response.status == 304 and known is not None:
                    found = known
                elif response.status == 200:
                    found = self._save(response)
                    self._remember(url, found)
                else:
                    raise BuildError(
                        f"invalid response status {response.status} for {redacted(url)}",
                        hint="check the URL; only what can be had without a password can be added",
                    )
        except (Broken, RegistryError) as error:
            raise BuildError(f"cannot download {redacted(url)}: {error}") from error
        if checksum and found.digest != checksum:
            raise BuildError(
                f"digest mismatch {found.digest}: {checksum}",
                hint="the file has changed at its source, or the checksum is that of another one",
            )
        return found

    def _get(self, url: str, headers: dict[str, str], stop: Stop) -> Response:
        for _ in range(_REDIRECTS):
            response = self._transport.send(Request("GET", url, headers, stop=stop))
            if response.status not in _MOVED:
                return response
            response.close()
            url = resolved(url, response.headers.get("location", ""))
        raise BuildError(f"too many redirects from {redacted(url)}")

    def _save(self, response: Response) -> Download:
        buffer = memoryview(bytearray(_BUFFER))
        with self.content.ingest() as ingest:
            while count := response.readinto(buffer):
                ingest.write(buffer[:count])
            digest, size = ingest.commit()
        from email.utils import parsedate_to_datetime

        modified = 0
        with contextlib.suppress(ValueError, TypeError):
            stamp = response.headers.get("last-modified", "")
            modified = int(parsedate_to_datetime(stamp).timestamp())
        named = _FILENAME.search(response.headers.get("content-disposition", ""))
        return Download(
            digest,
            size,
            modified,
            response.headers.get("etag", ""),
            os.path.basename(named[1]) if named else "",
        )

    def _record(self, url: str) -> Path:
        return self._root / hashlib.sha256(url.encode()).hexdigest()

    def _known(self, url: str) -> Download | None:
        try:
            found = decoding.from_json(self._record(url).read_bytes(), Download)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return found if self.content.has(found.digest) else None

    def _remember(self, url: str, found: Download) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(self._record(url), msgspec.json.encode(found))


class HttpOp(Source):
    """Evaluates an `HttpSource` node: a root file system that holds one file."""

    remote = True

    def __init__(self, node: Node, op: HttpSource, downloads: Downloads, trees: Trees) -> None:
        self._node = node
        self._op = op
        self._downloads = downloads
        self._trees = trees
        self._found: Download | None = None

    def cache_map(self, stop: Stop) -> CacheMap:
        self._found = self._downloads.fetch(self._op.url, checksum=self._op.checksum, stop=stop)
        shape = (self._op.filename, self._op.mode, self._op.uid, self._op.gid)
        key = ("http", self._found.digest, self._found.modified, shape)
        return CacheMap(digests.of(canonical(key)))

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        assert self._found is not None
        content = self._downloads.content
        with self._trees.change(Filesystem(), description=self._node.name, stop=job.stop) as change:
            name = self._op.filename or self._found.filename or "download"
            path = change.path / os.path.basename(name)
            with content.open(self._found.digest) as source, open(path, "xb") as file:
                if not self._trees.squash_owner:
                    os.fchown(file.fileno(), self._op.uid, self._op.gid)
                os.fchmod(file.fileno(), self._op.mode)
                while os.copy_file_range(source.fileno(), file.fileno(), 1 << 30):
                    job.stop.check()
            os.utime(path, (self._found.modified, self._found.modified))
            return [self._trees.commit(change)]
