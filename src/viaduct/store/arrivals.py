"""Blobs read while they arrive, so that unpacking need not wait for the end of a download."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

from viaduct.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest


class Arrivals:
    """What this process is writing into a store. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: Open files that grow, by the digest they are to have.
        self._files: dict[Digest, int] = {}

    @contextlib.contextmanager
    def announced(self, digest: Digest | None, fd: int) -> Iterator[None]:
        """`fd` is being filled with the blob `digest`; None when nobody can know it by name."""
        if digest is None:
            yield
            return
        with self._changed:
            self._files[digest] = fd
        try:
            yield
        finally:
            with self._changed:
                if self._files.get(digest) == fd:
                    del self._files[digest]
            self.tell()

    def tell(self) -> None:
        """Something may have changed: readers look again."""
        with self._changed:
            self._changed.notify_all()

    def read(self, digest: Digest, position: int, buffer: memoryview) -> int:
        """Bytes at `position` of a blob that arrives; 0 when they are not here (yet)."""
        with self._changed:
            fd = self._files.get(digest)
            return 0 if fd is None else os.preadv(fd, [buffer], position)

    def has_more(self, digest: Digest, position: int) -> bool:
        """Whether more than `position` bytes of the blob have arrived."""
        with self._changed:
            fd = self._files.get(digest)
            return fd is not None and os.fstat(fd).st_size > position

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready`, which is asked again after every `tell`."""
        with self._changed:
            self._changed.wait_for(ready)


class Follower(io.RawIOBase):
    """The bytes of a blob that is here, arrives, or arrives anew after a failure: they are the same
    bytes each time.

    What is read is not verified before the arrival has ended: believe nothing of it until then.
    `find` opens the blob once it is in the store and raises `NotFound` before. Reading raises
    `Canceled` when `stop` is set, which is how whoever fetches the blob says that it will not come.
    """

    def __init__(
        self, digest: Digest, arrivals: Arrivals, find: Callable[[], BinaryIO], stop: Stop
    ) -> None:
        super().__init__()
        self._digest = digest
        self._arrivals = arrivals
        self._find = find
        self._stop = stop
        self._position = 0
        self._whole: BinaryIO | None = None
        self._key = stop.on_stop(arrivals.tell)

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        with memoryview(target).cast("B") as buffer:  # type: ignore[arg-type]  # any buffer
            count = self._read(buffer)
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._stop.forget(self._key)
            if self._whole is not None:
                self._whole.close()
        super().close()

    def _read(self, buffer: memoryview) -> int:
        while self._whole is None:
            self._stop.check()
            if count := self._arrivals.read(self._digest, self._position, buffer):
                return count
            self._arrivals.wait(self._news)
        return cast("io.BufferedReader", self._whole).readinto(buffer)

    def _news(self) -> bool:
        """Whether to look again; called while nothing can change."""
        if self._stop.is_set() or self._arrivals.has_more(self._digest, self._position):
            return True
        with contextlib.suppress(NotFound):
            self._whole = self._find()
            self._whole.seek(self._position)
        return self._whole is not None
