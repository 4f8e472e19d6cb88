"""Files that say by a lock (flock) that the process that made them lives.

The kernel drops the lock when the process ends, however it ends: no process ids that are reused, no
ages to guess. Everything that a killed process may leave half done is marked by such a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.base.tasks import Stop

_POLL_SECONDS = 0.05


def claim(directory: Path, prefix: str = "") -> tuple[str, int]:
    """Make a new locked file in `directory`; its name and descriptor. Raises OSError."""
    while True:
        name = prefix + os.urandom(10).hex()
        fd = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        # Between the two calls somebody may have taken it for a dead process's file.
        if os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)


def is_alive(path: Path) -> bool:
    """Whether the maker of the file lives; a file that is gone has no living maker."""
    fd = seize(path)
    if fd is not None:
        os.close(fd)
        return False
    return path.exists()


def seize(path: Path) -> int | None:
    """The file of a dead maker, locked by us; None while it lives, or when there is no file."""
    try:
        fd = _open(path)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        # Its maker had it ready and made it read-only. Only for root is that no obstacle; a network
        # file system in turn locks nothing that is open for reading only.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def reap(directory: Path) -> None:
    """Remove the files of dead makers. Raises OSError."""
    for name in os.listdir(directory):
        fd = seize(directory / name)
        if fd is not None:
            os.unlink(directory / name)
            os.close(fd)


class Session:
    """This process as others see it: `token` names a file in `directory` that is locked until
    `close`. The file is made when the token is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._claimed: tuple[str, int] | None = None

    @property
    def token(self) -> str:
        """Raises OSError."""
        with self._lock:
            if self._claimed is None:
                self._claimed = claim(self._directory)
            return self._claimed[0]

    def lives(self, token: str) -> bool:
        """Whether the session of that token, ours or another's, still lives."""
        with self._lock:
            if self._claimed is not None and self._claimed[0] == token:
                return True
        return is_alive(self._directory / token)

    def reap(self) -> None:
        """Forget the sessions of dead processes. Raises OSError."""
        reap(self._directory)

    def close(self) -> None:
        """End the session; what it had in hand counts as abandoned."""
        with self._lock:
            if self._claimed is not None:
                name, fd = self._claimed
                self._claimed = None
                with contextlib.suppress(OSError):
                    os.unlink(self._directory / name)
                os.close(fd)


class Hold:
    """A lock on a file that many may ask for; the descriptor in `fd` holds it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def share(self) -> None:
        """Let other sharers in. Not atomic: somebody may hold it exclusively in between."""
        fcntl.flock(self.fd, fcntl.LOCK_SH)


@contextlib.contextmanager
def hold(
    path: Path, *, exclusive: bool | Callable[[], bool] = True, stop: Stop | None = None
) -> Iterator[Hold]:
    """Wait for the lock on `path` (made when absent). Raises `Canceled` when stopped while waiting,
    and OSError. Whoever holds it exclusively may unlink the file.

    `exclusive` may be a question, which is asked again while waiting: to share may do by then.
    """
    waits = 0
    patient = stop is None and not callable(exclusive)
    while True:
        alone = exclusive() if callable(exclusive) else exclusive
        taken = _try(path, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, wait=patient)
        if taken is not None:
            break
        pause = min(0.001 * 2**waits, _POLL_SECONDS)
        waits = min(waits + 1, 10)
        if stop is None:
            time.sleep(pause)
        else:
            stop.wait(pause)
            stop.check()
    try:
        yield taken
    finally:
        os.close(taken.fd)


@contextlib.contextmanager
def try_hold(path: Path) -> Iterator[Hold | None]:
    """The lock on `path`, exclusively, if nobody has it. Raises OSError."""
    taken = _try(path, fcntl.LOCK_EX, wait=False)
    try:
        yield taken
    finally:
        if taken is not None:
            os.close(taken.fd)


def _try(path: Path, how: int, *, wait: bool) -> Hold | None:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how if wait else how | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return Hold(fd)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
