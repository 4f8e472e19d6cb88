"""Blobs by digest, in an OCI image layout that other tools can read.

    blobs/<algorithm>/<hex>   whole, verified, never changed
    ingest/                   blobs on their way in, locked by their writers
    oci-layout, index.json    see `viaduct.store.images`

A blob is written to a temporary file, synced, and renamed into place. What a killed writer left has
no lock any more and is removed by the next start. A blob's modification time is when it was last
stored or asked for, as far as a running build needs that to be known.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from viaduct.base.errors import ContentError, NotFound
from viaduct.base.fs import explain_oserror, locked, sync_directory
from viaduct.oci import digest as digests
from viaduct.oci.digest import Digest
from viaduct.store import liveness
from viaduct.store.arrivals import Arrivals, Follower
from viaduct.store.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.base.tasks import Stop

#: Manifests are bounded to 4 MiB by most registries; nothing that is read whole needs more.
DOCUMENT_LIMIT = 16 << 20


class BlobInfo(msgspec.Struct, frozen=True):
    """A blob in the store: its size in bytes, and when it was last used (seconds)."""

    digest: Digest
    size: int
    last_used: float


class ContentStore:
    """See the module. Safe to use from any thread; any number of processes may share `root`.

    `used_since` tells from when on a use has to be known to garbage collectors; by default there
    are none.
    """

    def __init__(
        self,
        root: Path,
        *,
        used_since: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        self._used_since = used_since
        self._clock = clock
        self._arrivals = Arrivals()
        with _explained("opening the content store"):
            try:
                names = os.listdir(self._ingests)
            except FileNotFoundError:
                (self._blobs / "sha256").mkdir(parents=True, exist_ok=True)
                self._ingests.mkdir(exist_ok=True)
                names = []
            if names:
                liveness.reap(self._ingests)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / digests.algorithm(digest) / digests.encoded(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here. While this process holds a lease it then stays."""
        path = self.path(digest)
        try:
            if os.stat(path).st_mtime < self._used_since():
                # The lock keeps the blob from being removed between the question and the answer.
                with self.pinned():
                    now = self._clock()
                    os.utime(path, (now, now))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise explain_oserror(error, f"looking for {digest}") from error
        return True

    def size(self, digest: Digest) -> int:
        """Bytes of the blob. Raises `NotFound`."""
        with _explained(f"looking for {digest}", missing=digest):
            return os.stat(self.path(digest)).st_size

    def exists(self, digest: Digest) -> bool:
        """Whether the blob is here now. To ask this is no use, so it may be gone the next
        moment."""
        return self.last_used(digest) is not None

    def last_used(self, digest: Digest) -> float | None:
        """When the blob was last stored or asked for; None when it is not here. To ask this is no
        use."""
        try:
            return os.stat(self.path(digest)).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise explain_oserror(error, f"looking for {digest}") from error

    def open(self, digest: Digest, *, size: int | None = None) -> BinaryIO:
        """The blob's bytes. Raises `NotFound`, and `ContentError` when it has not the `size` that
        it should have; it is removed then, so that the next command gets it again."""
        with _explained(f"reading {digest}", missing=digest):
            file = open(self.path(digest), "rb")  # noqa: SIM115 - the caller's to close
            if size is not None and os.fstat(file.fileno()).st_size != size:
                file.close()
                raise self._damaged(digest)
        return file

    def follow(self, digest: Digest, stop: Stop) -> BinaryIO:
        """The blob's bytes as they arrive, for a blob that is here or that another thread is about
        to store; `stop` must be set when that fails. See `viaduct.store.arrivals.Follower`."""
        follower = Follower(digest, self._arrivals, lambda: self.open(digest), stop)
        return cast("BinaryIO", follower)

    def read(self, digest: Digest, *, limit: int = DOCUMENT_LIMIT) -> bytes:
        """A small blob, whole and verified.

        Raises `NotFound`, and `ContentError` when it is larger than `limit` bytes or not what its
        name says; a damaged blob is removed, so that the next command gets it again.
        """
        with self.open(digest) as file, _explained(f"reading {digest}"):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ContentError(f"{digest} is larger than {limit} bytes: too large for a document")
        if digests.of(data, digests.algorithm(digest)) != digest:
            raise self._damaged(digest)
        return data

    def _damaged(self, digest: Digest) -> ContentError:
        self.delete(digest)
        return ContentError(
            f"{digest} was damaged on disk and has been removed",
            hint="run the command again: what is missing is fetched or built again",
        )

    def put(self, data: bytes, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store `data`; its digest and size. Raises `ContentError` when it is not `expected`."""
        digest = digests.of(data, digests.algorithm(expected) if expected else "sha256")
        if expected is not None and digest != expected:
            raise ContentError(f"content is {digest} instead of {expected}")
        if not self.has(digest):
            with self.ingest(digest, len(data)) as ingest:
                ingest.write(data)
                ingest.commit()
        return digest, len(data)

    @contextlib.contextmanager
    def ingest(self, expected: Digest | None = None, size: int | None = None) -> Iterator[Ingest]:
        """A blob to be written and committed; without a commit nothing is left of it.

        `expected` and `size` (bytes) are checked where they are given. Writing in any of several
        ways is described at `Ingest`.
        """
        with _explained("storing a blob"):
            name, fd = liveness.claim(self._ingests)
        with (
            Ingest(fd, self._ingests / name, expected, size, self._keep, self._arrivals) as ingest,
            self._arrivals.announced(expected, fd),
        ):
            yield ingest

    def delete(self, digest: Digest) -> bool:
        """Remove a blob; whether it was there."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise explain_oserror(error, f"removing {digest}") from error
        return True

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, in no order."""
        with _explained("listing the content store"):
            for algorithm in os.listdir(self._blobs):
                with os.scandir(self._blobs / algorithm) as entries:
                    for entry in entries:
                        with contextlib.suppress(FileNotFoundError, ContentError):
                            digest = digests.parse(f"{algorithm}:{entry.name}")
                            info = entry.stat(follow_symlinks=False)
                            yield BlobInfo(digest, info.st_size, info.st_mtime)

    @contextlib.contextmanager
    def pinned(self, *, exclusive: bool = False) -> Iterator[None]:
        """While any process is in here, a garbage collector (`exclusive`) removes no blob."""
        with locked(self.root / "content.lock", exclusive=exclusive):
            yield

    def sync(self) -> None:
        """Make the names of all blobs stored so far survive a power cut (their bytes do)."""
        with _explained("storing blobs"):
            sync_directory(self._blobs / "sha256")

    def _keep(self, temp: Path, digest: Digest) -> None:
        """Move a verified blob into place; of two that are equal either may win."""
        target = self.path(digest)
        # A collector that is about to remove an equal blob must not take the new one.
        with self.pinned():
            now = self._clock()
            os.utime(temp, (now, now))
            try:
                os.rename(temp, target)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(temp, target)


@contextlib.contextmanager
def _explained(doing: str, *, missing: Digest | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            raise NotFound(
                f"{missing} is not in the store", hint="pull or build the image again"
            ) from error
        raise explain_oserror(error, doing) from error
