"""The state root: everything Viaduct remembers, opened as one value.

    content/      an OCI image layout
    snapshots/    overlay directories
    cachemounts/  RUN --mount=type=cache
    viaduct.db    SQLite: snapshots, layers, records, images, history
    leases/       running builds
    sessions/     running processes, by which others know what is abandoned
    locks/        what one process at a time may do
    trash/        on its way out
    ballast       room for freeing room: what a full disk would not even give to delete something

Any number of processes and threads may use one root at once.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import StoreError
from viaduct.base.fs import explain_oserror
from viaduct.base.values import Value
from viaduct.store.cache_mounts import CacheMounts
from viaduct.store.content import ContentStore
from viaduct.store.database import Database
from viaduct.store.directories import Trash
from viaduct.store.hashes import Hashes
from viaduct.store.history import BuildHistory
from viaduct.store.images import Images, restore
from viaduct.store.leases import Leases
from viaduct.store.liveness import Session
from viaduct.store.records import Records
from viaduct.store.snapshots import Snapshots

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_BALLAST = 512 << 10
_FOLDERS = ("content", "snapshots", "cachemounts", "leases", "sessions", "locks", "trash")
# What is in these has no name but the one that the database gives it.
_UNNAMED = ("snapshots", "cachemounts")
# What a new volume of ext4 holds.
_VOLUME = "lost+found"
# What others of the house make below the root.
_ADDED = ("git", "downloads", "viaduct.db", "viaduct.db-wal", "viaduct.db-shm")


class Store(Value):
    """See the module's docstring. Close it when done."""

    root: Path
    session: Session
    trash: Trash
    database: Database
    content: ContentStore
    snapshots: Snapshots
    records: Records
    hashes: Hashes
    images: Images
    history: BuildHistory
    cache_mounts: CacheMounts
    leases: Leases

    @classmethod
    def open(cls, root: Path, *, freeing: bool = False) -> Store:
        """Open the state below `root`, making it when it is not there, and clear away what killed
        processes left. Raises `StoreError`.

        For `freeing` room on a full disk the ballast is dropped, without which not even the
        database could be opened; it is taken up again when there is room.
        """
        if freeing and _free(root) < _BALLAST:
            with contextlib.suppress(OSError):
                (root / "ballast").unlink()
        try:
            _make_private(root)
        except OSError as error:
            raise explain_oserror(error, f"opening {root}") from error
        _take_ballast(root)
        session = Session(root / "sessions")
        trash = Trash(root / "trash", session)
        leases = Leases(root / "leases")
        content = ContentStore(root / "content", used_since=leases.used_since, clock=leases.now)
        strays: list[Path | None] = []

        def begin(db: sqlite3.Connection) -> None:
            restore(db, content, time.time())
            # Only the database that was lost knew what these are.
            strays.extend(
                trash.put(path) for name in _UNNAMED for path in list((root / name).iterdir())
            )

        database = Database(root / "viaduct.db", setup=begin)
        for stray in strays:
            trash.empty(stray)
        locks = root / "locks"
        snapshots = Snapshots(
            root / "snapshots",
            database,
            session=session,
            trash=trash,
            leases=leases,
            locks=locks,
            clock=leases.now,
        )
        store = cls(
            root=root,
            session=session,
            trash=trash,
            database=database,
            content=content,
            snapshots=snapshots,
            records=Records(database, snapshots),
            hashes=Hashes(database),
            images=Images(content, database),
            history=BuildHistory(database),
            cache_mounts=CacheMounts(
                root / "cachemounts", database, trash=trash, locks=locks, clock=leases.now
            ),
            leases=leases,
        )
        store._sweep()
        return store

    def _sweep(self) -> None:
        self.snapshots.sweep()
        try:
            self.trash.sweep()
            self.session.reap()
        except OSError as error:
            raise explain_oserror(error, "clearing away what killed processes left") from error
        self.images.publish()

    def close(self) -> None:
        """Write what is only in memory, close the database and end the session."""
        self.hashes.save()
        self.database.close()
        self.session.close()


def _make_private(root: Path) -> None:
    """Make the folders, which nobody else may enter: a root file system has set-user-id programs,
    which on the machine itself would be a way to become root, and content may be secret."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _expect_ours(root)
    for name in _FOLDERS:
        path = root / name
        path.mkdir(exist_ok=True, mode=0o700)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    # SQLite gives its other files the mode of the database.
    os.close(os.open(root / "viaduct.db", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for name in _ADDED:
        path = root / name
        with contextlib.suppress(FileNotFoundError):
            if (mode := path.stat().st_mode) & 0o077:
                path.chmod(mode & 0o700)


def _expect_ours(root: Path) -> None:
    """Refuse a directory in which somebody else has put something: a link would have us write, or
    change the mode of, whatever it leads to. Volumes that belong to root, or that everybody may
    write to, are common in containers, and are fine while they hold nothing of others."""
    status, us = root.stat(), os.geteuid()
    if status.st_uid == us and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name != _VOLUME and entry.stat(follow_symlinks=False).st_uid != us:
                raise StoreError(
                    f"{entry.path} belongs to another user of the machine",
                    hint="point VIADUCT_HOME at a directory that is yours alone",
                )


def _free(root: Path) -> int:
    """What the disk below `root` has left for us; much, where that cannot be told."""
    try:
        disk = os.statvfs(root)
    except OSError:
        return 1 << 62
    return disk.f_bavail * disk.f_frsize


def _take_ballast(root: Path) -> None:
    """Put the ballast in its place, if it is missing and the disk is not nearly full."""
    path = root / "ballast"
    if path.exists() or _free(root) < 64 * _BALLAST:
        return
    # Whatever goes wrong: it is only a help for bad times.
    with (
        contextlib.suppress(OSError),
        open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file,
    ):
        os.posix_fallocate(file.fileno(), 0, _BALLAST)
