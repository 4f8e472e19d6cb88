"""Blobs on their way into the embedded registry.

An upload is a file that grows, hashed as it does. It survives a broken connection, and even a
restart of the server: what has arrived is hashed again when somebody comes back for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
import uuid
from typing import TYPE_CHECKING

from viaduct.base.fs import explain_oserror
from viaduct.oci import digest as digests
from viaduct.registry.embedded.wire import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viaduct.oci.digest import Digest
    from viaduct.registry.embedded.storage import Storage
    from viaduct.registry.embedded.wire import Body

_BLOCK = 1 << 20
_STALE_SECONDS = 24 * 3600
_WAIT_SECONDS = 5.0


class Upload:
    """One upload of one repository."""

    def __init__(self, name: str, ident: str, path: Path) -> None:
        self.name = name
        self.ident = ident
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Two requests that write to one upload do not mix."""
        if not self._lock.acquire(timeout=_WAIT_SECONDS):
            raise Problem(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
        try:
            yield
        finally:
            self._lock.release()

    def catch_up(self) -> None:
        """Hash what an earlier server process has received."""
        with self.path.open("rb") as file:
            while piece := file.read(_BLOCK):
                self._hash.update(piece)
                self.size += len(piece)

    def append(self, body: Body) -> None:
        """Add a body; what came before a broken connection stays."""
        try:
            with (
                self.path.open("ab", buffering=0) as file,
                memoryview(bytearray(_BLOCK)) as buffer,
            ):
                while count := body.readinto(buffer):
                    _write(file.fileno(), buffer[:count])
                    self._hash.update(buffer[:count])
                    self.size += count
        except OSError as error:
            if isinstance(error, (TimeoutError, ConnectionError)):
                raise
            raise explain_oserror(error, "receiving a blob") from error

    def is_content_of(self, digest: Digest) -> bool:
        if digests.algorithm(digest) == "sha256":
            return digests.from_hash(self._hash) == digest
        with self.path.open("rb") as file:
            other = hashlib.file_digest(file, digests.algorithm(digest))
        return f"{digests.algorithm(digest)}:{other.hexdigest()}" == digest

    def sync(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


class Uploads:
    """The uploads in progress. Safe from threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._open: dict[str, Upload] = {}
        self._sweep()

    def begin(self, name: str) -> Upload:
        ident = str(uuid.uuid4())
        upload = Upload(name, ident, self._path(name, ident))
        try:
            upload.path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise explain_oserror(error, "beginning an upload") from error
        with self._lock:
            self._open[ident] = upload
        return upload

    def find(self, name: str, ident: str) -> Upload:
        """The upload that was begun in this repository. Raises `Problem` 404 for any other."""
        with self._lock:
            upload = self._open.get(ident)
            if upload is None and re.fullmatch(r"[0-9a-f-]{36}", ident):
                upload = Upload(name, ident, self._path(name, ident))
                if not upload.path.exists():
                    upload = None
                else:
                    upload.catch_up()
                    self._open[ident] = upload
        if upload is None or upload.name != name:
            raise Problem(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return upload

    def finish(self, upload: Upload, digest: Digest) -> None:
        """Turn the upload into a blob of its repository. Raises `Problem` if it is another one;
        the upload is over either way."""
        try:
            if not upload.is_content_of(digest):
                raise Problem(
                    400, "DIGEST_INVALID", f"the {upload.size} bytes uploaded are not {digest}"
                )
            upload.sync()
            self._storage.adopt(upload.path, upload.name, digest)
        except OSError as error:
            raise explain_oserror(error, "storing a blob") from error
        finally:
            self.drop(upload)

    def drop(self, upload: Upload) -> None:
        """Forget the upload and what has arrived of it."""
        with self._lock:
            self._open.pop(upload.ident, None)
        upload.path.unlink(missing_ok=True)

    def _path(self, name: str, ident: str) -> Path:
        # The repository is part of the file's name: a restarted server still knows it.
        mark = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self._storage.uploads / f"{ident}.{mark}"

    def _sweep(self) -> None:
        """Remove what nobody came back for. Other processes may be busy here: go by age."""
        for path in self._storage.uploads.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
