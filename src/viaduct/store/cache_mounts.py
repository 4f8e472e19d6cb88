"""Directories of `RUN --mount=type=cache`, kept between builds and shared as the step asks.

A directory is named after the hash of its id and platform. Who uses it holds a lock on it: shared
by any number of steps, or exclusively. A directory counts as seeded once its first user said so; if
that one is killed before, the next begins with a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import StoreError
from viaduct.base.fs import explain_oserror
from viaduct.store import liveness
from viaduct.store.directories import disk_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.store.database import Database
    from viaduct.store.directories import Trash

_COLUMNS = "name, id, platform, created, last_used, uses, size"
_SHARINGS = ("shared", "private", "locked")


class CacheDirectory(msgspec.Struct, frozen=True):
    """What is known about a cache: `platform` is empty when it serves all; times are in seconds
    since the epoch, `size` in bytes of disk."""

    name: str
    id: str
    platform: str
    created: float
    last_used: float
    uses: int
    size: int


class CacheMount:
    """A cache directory in use. `fresh`: it is empty, and its user may fill it before anyone else
    sees it, who then says `seeded`."""

    def __init__(self, path: Path, *, fresh: bool, ready: Callable[[], None]) -> None:
        self.path = path
        self.fresh = fresh
        self._ready = ready

    def seeded(self) -> None:
        """The directory is as its first user wants it; others who share it may come in. Leaving the
        block without an error says the same. Harmless when repeated."""
        self._ready()


class CacheMounts:
    """See the module. Safe to use from any thread."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        *,
        trash: Trash,
        locks: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._database = database
        self._trash = trash
        self._locks = locks
        self._clock = clock

    @contextlib.contextmanager
    def acquire(
        self,
        id: str,  # noqa: A002 - its name
        platform: str,
        sharing: str,
        stop: Stop | None = None,
    ) -> Iterator[CacheMount]:
        """The cache `id` for `platform` (empty: one for all platforms) while the block lasts.

        `shared` has any number of users at once, `locked` one after the other, and `private` gives
        another directory while the first is busy. Raises `Canceled` when stopped while waiting.
        """
        if sharing not in _SHARINGS:
            raise StoreError(f"a cache mount cannot be {sharing!r}", hint=" or ".join(_SHARINGS))
        name = hashlib.sha256(f"{id}\0{platform}".encode()).hexdigest()[:32]
        with contextlib.ExitStack() as stack:
            try:
                name, held = self._lock(name, sharing, stop, stack)
                fresh = self._enter(name, id, platform)
            except OSError as error:
                raise explain_oserror(error, f"opening the cache mount {id}") from error

            def ready() -> None:
                if mount.fresh:
                    mount.fresh = False
                    self._mark_seeded(name)
                    if sharing == "shared":
                        held.share()

            mount = CacheMount(self._directory / name, fresh=fresh, ready=ready)
            if not fresh and sharing == "shared":
                held.share()
            yield mount
            ready()
            with self._database.write() as db:
                db.execute(
                    "UPDATE cache_mounts SET last_used = ? WHERE name = ?", (self._clock(), name)
                )

    def _lock(
        self, name: str, sharing: str, stop: Stop | None, stack: contextlib.ExitStack
    ) -> tuple[str, liveness.Hold]:
        """The lock of a directory that serves, and its name."""
        if sharing == "private":
            for number in itertools.count():
                slot = f"{name}-{number}" if number else name
                free = stack.enter_context(liveness.try_hold(self._lock_path(slot)))
                if free is not None:
                    return slot, free
        path = self._lock_path(name)
        if sharing == "locked":
            return name, stack.enter_context(liveness.hold(path, stop=stop))

        def alone() -> bool:
            return not self._is_seeded(name)

        return name, stack.enter_context(liveness.hold(path, exclusive=alone, stop=stop))

    def _enter(self, name: str, id: str, platform: str) -> bool:  # noqa: A002 - as above
        """Note the use of a directory, made new unless it was seeded; whether it is new."""
        now = self._clock()
        path = self._directory / name
        fresh = not self._is_seeded(name)
        if fresh:
            self._trash.throw(path)
            os.mkdir(path)
            os.chmod(path, 0o755)
        with self._database.write() as db:
            db.execute(
                "INSERT INTO cache_mounts VALUES (?1, ?2, ?3, ?4, ?4, 1, 0, 0, 0) ON CONFLICT(name)"
                " DO UPDATE SET last_used = excluded.last_used, uses = uses + 1",
                (name, id, platform, now),
            )
        return fresh

    def _is_seeded(self, name: str) -> bool:
        with self._database.read() as db:
            row = db.execute("SELECT seeded FROM cache_mounts WHERE name = ?", (name,)).fetchone()
        return row is not None and bool(row[0]) and (self._directory / name).is_dir()

    def _mark_seeded(self, name: str) -> None:
        with self._database.write() as db:
            db.execute("UPDATE cache_mounts SET seeded = 1 WHERE name = ?", (name,))

    def _lock_path(self, name: str) -> Path:
        return self._locks / f"cachemount-{name}"

    # --- for the collector -----------------------------------------------------------------------

    def list(self) -> tuple[CacheDirectory, ...]:
        """Every cache. One that was used since it was last measured is measured again."""
        with self._database.read() as db:
            used = db.execute(
                "SELECT name FROM cache_mounts WHERE last_used >= measured"
            ).fetchall()
        for (name,) in used:
            now = self._clock()
            size = 0
            with contextlib.suppress(OSError):
                size = disk_usage(self._directory / name)
            with self._database.write() as db:
                db.execute(
                    "UPDATE cache_mounts SET size = ?, measured = ? WHERE name = ?",
                    (size, now, name),
                )
        with self._database.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM cache_mounts ORDER BY name").fetchall()
        return tuple(CacheDirectory(*row) for row in rows)

    def busy(self, name: str) -> bool:
        """Whether somebody uses the cache now."""
        try:
            with liveness.try_hold(self._lock_path(name)) as free:
                return free is None
        except OSError as error:
            raise explain_oserror(error, "looking at cache mounts") from error

    def remove(self, name: str, allowed: Callable[[float], bool]) -> bool:
        """Remove a cache that nobody uses and `allowed` (asked with its last use) lets go; whether
        it is gone."""
        path = self._lock_path(name)
        try:
            with liveness.try_hold(path) as free:
                if free is None:
                    return False
                with self._database.write() as db:
                    row = db.execute(
                        "SELECT last_used FROM cache_mounts WHERE name = ?", (name,)
                    ).fetchone()
                    if row is None or not allowed(row[0]):
                        return False
                    trashed = self._trash.put(self._directory / name)
                    db.execute("DELETE FROM cache_mounts WHERE name = ?", (name,))
                path.unlink(missing_ok=True)
            self._trash.empty(trashed)
        except OSError as error:
            raise explain_oserror(error, "removing a cache mount") from error
        return True
