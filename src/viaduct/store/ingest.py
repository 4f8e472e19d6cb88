"""One blob on its way into the content store."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import ContentError
from viaduct.base.fs import explain_oserror
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from viaduct.oci.digest import Digest
    from viaduct.store.arrivals import Arrivals

_BUFFER = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Ingest:
    """Made by `ContentStore.ingest`, used in its `with` block, by one thread at a time.

    Either `write` everything and `commit`; or write to `file`, which does not hash, and say with
    `commit_hashed` what it was (a layer is hashed while it is compressed, in other threads).
    """

    def __init__(
        self,
        fd: int,
        path: Path,
        expected: Digest | None,
        size: int | None,
        keep: Callable[[Path, Digest], None],
        arrivals: Arrivals,
    ) -> None:
        #: The temporary file, unhashed.
        self.file: BinaryIO = os.fdopen(fd, "wb", buffering=_BUFFER)
        self._path = path
        self._expected = expected
        self._size = size
        self._keep = keep
        self._arrivals = arrivals
        self._hash = hashlib.new(digests.algorithm(expected) if expected else "sha256")
        self._written = 0
        self._done = False

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of `data`; the number of its bytes.

        Raises `ContentError` as soon as there are more bytes than announced, `StoreError` when they
        cannot be written.
        """
        count = memoryview(data).nbytes
        self._written += count
        if self._size is not None and self._written > self._size:
            raise ContentError(f"{self._name} has more than the {self._size} bytes announced")
        try:
            self.file.write(data)
        except OSError as error:
            raise explain_oserror(error, "storing a blob") from error
        self._arrivals.tell()
        self._hash.update(data)
        return count

    def commit(self) -> tuple[Digest, int]:
        """Make the blob part of the store; its digest and size.

        Raises `ContentError` when they are not those expected. Once it returns, the blob survives
        the death of this process.
        """
        digest = digests.from_hash(self._hash)
        if self._size is not None and self._written != self._size:
            raise ContentError(
                f"{self._name} has {self._written} bytes instead of the {self._size} announced"
            )
        if self._expected is not None and digest != self._expected:
            raise ContentError(
                f"content is {digest} instead of {self._expected}",
                hint="it was changed on its way: try again, or get it from a trusted place",
            )
        self._finish(digest, self._written)
        return digest, self._written

    def commit_hashed(self, digest: Digest, size: int | None = None) -> int:
        """Make what was written to `file` part of the store as `digest`, which is believed; its
        size, which must be `size` when that is given."""
        return self._finish(digest, size)

    def _finish(self, digest: Digest, size: int | None) -> int:
        try:
            self.file.flush()
            stored = os.fstat(self.file.fileno()).st_size
            if size is not None and stored != size:
                raise ContentError(f"{digest} has {stored} bytes instead of {size}")
            os.fchmod(self.file.fileno(), 0o444)
            os.fsync(self.file.fileno())
            self._keep(self._path, digest)
        except OSError as error:
            raise explain_oserror(error, "storing a blob") from error
        self._done = True
        return stored

    @property
    def _name(self) -> str:
        return str(self._expected or "content")

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._done:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        # Closing writes what is buffered, which is of no use any more, and may fail again.
        with contextlib.suppress(OSError):
            self.file.close()
        if isinstance(error, OSError) and error.errno in _FULL:
            # From a writer to `file`, who cannot know what the file is.
            raise explain_oserror(error, "storing a blob") from error
