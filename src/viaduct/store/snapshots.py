"""Overlay snapshots: directories that hold what one step or layer changed, in chains.

    <id>/fs      the change, an overlay's upper directory
    <id>/work    the overlay's own, only while the change is being written
    trash/       on its way out

A snapshot is written by one session (process) whose lock says that it lives; see
`viaduct.store.liveness`. What a killed process was writing, unpacking or deleting is cleared away
by the next start. Directories are not synced to disk: the promise is about killed processes; after
a power cut, the steps of the last half minute before it should be built with `--no-cache`.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import NotFound, StoreError
from viaduct.base.fs import explain_oserror
from viaduct.store import liveness
from viaduct.store import snapshot_rows as rows
from viaduct.store.directories import disk_usage
from viaduct.store.snapshot_layers import IMPORTED, LayerBlob, SnapshotLayers
from viaduct.store.snapshot_rows import Snapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest
    from viaduct.store.database import Database
    from viaduct.store.directories import Trash
    from viaduct.store.leases import Leases
    from viaduct.store.liveness import Session

__all__ = ["IMPORTED", "Active", "LayerBlob", "Snapshot", "Snapshots"]


class Active(msgspec.Struct, frozen=True):
    """A snapshot being written: `fs` is the overlay's upper directory, `work` its work directory on
    the same file system; both empty at first."""

    id: int
    parent: int | None
    fs: Path
    work: Path


class Snapshots(SnapshotLayers):
    """See the module. Safe to use from any thread."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        *,
        session: Session,
        trash: Trash,
        leases: Leases,
        locks: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database, leases, clock)
        self._directory = directory
        self._session = session
        self._trash = trash
        self._locks = locks

    def directory(self, snapshot: int) -> Path:
        """The directory that holds the snapshot's own change. Raises `NotFound`."""
        return self._path(self.get(snapshot).directory) / "fs"

    def layer_dirs(self, snapshot: int | None) -> list[Path]:
        """The directories of the chain, topmost first: an overlay's lower layers. Empty for None.

        Raises `NotFound`, and `StoreError` when one of them was not unpacked yet.
        """
        dirs = []
        for link in reversed(self.chain(snapshot)):
            if link.state != "ready":
                raise StoreError(f"snapshot {link.id} is not unpacked")
            dirs.append(self._path(link.directory) / "fs")
        return dirs

    # --- writing ---------------------------------------------------------------------------------

    def prepare(
        self, parent: int | None, *, description: str = "", kind: str = "regular"
    ) -> Active:
        """A new snapshot on top of `parent`, to be written and committed, or discarded.

        Raises `NotFound` when there is no such parent, `StoreError` when it cannot be made.
        """
        with _explained("making a snapshot"):
            token = self._session.token
            with self._database.write() as db:
                if parent is not None and rows.find(db, parent) is None:
                    raise NotFound(f"snapshot {parent} does not exist")
                snapshot = rows.insert(
                    db,
                    parent=parent,
                    state="active",
                    kind=kind,
                    description=description,
                    now=self._clock(),
                    owner=token,
                )
            active = self._active(snapshot, snapshot, parent)
            try:
                self._make(active)
            except BaseException:
                self.discard(active)
                raise
        return active

    def commit(
        self, active: Active, *, created: float | None = None, size: int | None = None
    ) -> Snapshot:
        """Keep the change, which must not be mounted any more.

        `created` (seconds) dates it, default now; `size` is what its files occupy, measured when
        not given. Raises `StoreError` when it was discarded or committed before.
        """
        with _explained("keeping a snapshot"):
            if size is None:
                size = 0
                # Without a directory there is no row either, which is what to complain about.
                with contextlib.suppress(FileNotFoundError):
                    size = disk_usage(active.fs)
            now = self._clock()
            with self._database.write() as db:
                row = db.execute(
                    "SELECT directory FROM snapshots"
                    " WHERE id = ? AND owner = ? AND state IN ('active', 'lazy')",
                    (active.id, self._session.token),
                ).fetchone()
                if row is None:
                    raise StoreError(f"snapshot {active.id} is not being written")
                # A layer that was unpacked is ready for everyone who shares its directory.
                db.execute(
                    "UPDATE snapshots SET state = 'ready', owner = NULL, size = ?1, last_used = ?2,"
                    " created = COALESCE(?3, CASE state WHEN 'active' THEN ?2 ELSE created END)"
                    " WHERE directory = ?4 AND state IN ('active', 'lazy')",
                    (size, now, created, row[0]),
                )
            with contextlib.suppress(OSError):
                self._trash.throw(active.work)
        return self.get(active.id)

    def discard(self, active: Active) -> None:
        """Throw the change away; nothing happens when it was committed or discarded before."""
        with _explained("removing a snapshot"):
            with self._database.read() as db:
                ours = db.execute(
                    "SELECT 1 FROM snapshots WHERE id = ? AND state = 'active' AND owner = ?",
                    (active.id, self._session.token),
                ).fetchone()
            if ours is None:
                return
            # The files first: when they have filled the disk, nothing else can be written before.
            self._trash.throw(active.fs.parent)
            with self._database.write() as db:
                db.execute("DELETE FROM snapshots WHERE id = ?", (active.id,))

    @contextlib.contextmanager
    def realize(self, snapshot: int, *, stop: Stop | None = None) -> Iterator[Active | None]:
        """Write the directory of a lazy snapshot, alone among all processes; None when there is
        nothing (left) to do.

        Leaving the block without an error keeps what was written (`commit` may be called before);
        an error leaves the snapshot lazy. Raises `NotFound`, and `Canceled` while waiting.
        """
        found = self.get(snapshot)
        if found.state == "ready":
            yield None
            return
        path = self._locks / f"snapshot-{found.directory}"
        with contextlib.ExitStack() as stack:
            with _explained("unpacking a layer"):
                stack.enter_context(liveness.hold(path, stop=stop))
                active = self._take_lazy(snapshot)
            if active is None:
                yield None
                return
            try:
                yield active
                if not self._is_ready(snapshot):
                    self.commit(active)
            finally:
                with _explained("unpacking a layer"):
                    if not self._is_ready(snapshot):
                        self._release_lazy(found.directory)
                    path.unlink(missing_ok=True)

    def _take_lazy(self, snapshot: int) -> Active | None:
        token = self._session.token
        with self._database.write() as db:
            found = rows.find(db, snapshot)
            if found is None:
                raise NotFound(f"snapshot {snapshot} does not exist")
            if found.state == "ready":
                return None
            rows.touch(db, snapshot, self._clock())
            db.execute(
                "UPDATE snapshots SET owner = ? WHERE directory = ? AND state = 'lazy'",
                (token, found.directory),
            )
        active = self._active(snapshot, found.directory, found.parent)
        try:
            # What a killed process may have begun.
            self._trash.throw(active.fs.parent)
            self._make(active)
        except BaseException:
            self._release_lazy(found.directory)
            raise
        return active

    def _release_lazy(self, directory: int) -> None:
        self._trash.throw(self._path(directory))
        with self._database.write() as db:
            db.execute(
                "UPDATE snapshots SET owner = NULL WHERE directory = ? AND state = 'lazy'",
                (directory,),
            )

    def _is_ready(self, snapshot: int) -> bool:
        found = self.find(snapshot)
        return found is not None and found.state == "ready"

    # --- taking away -----------------------------------------------------------------------------

    def remove(self, snapshot: int, allowed: Callable[[float], bool]) -> list[Digest] | None:
        """Remove a snapshot that nothing stands on and nobody is unpacking; the layer blobs that it
        had. `allowed` is asked, with its last use, at the moment when nobody can use it any more.
        None when it stays."""
        with _explained("removing a snapshot"):
            token = self._session.token
            with self._database.write() as db:
                found = rows.find(db, snapshot)
                if found is None or not allowed(found.last_used):
                    return None
                dead = db.execute(
                    "UPDATE snapshots SET state = 'dead', owner = ?2 WHERE id = ?1"
                    " AND owner IS NULL AND NOT EXISTS"
                    " (SELECT 1 FROM snapshots child WHERE child.parent = ?1)",
                    (snapshot, token),
                ).rowcount
                if not dead:
                    return None
                blobs = db.execute("SELECT digest FROM layers WHERE snapshot = ?", (snapshot,))
                freed = [digest for (digest,) in blobs]
                _forget(db, snapshot)
            self._bury(snapshot, found.directory)
        return freed

    def sweep(self) -> None:
        """Clear away what dead processes were writing, unpacking or deleting."""
        with _explained("clearing away unfinished snapshots"):
            with self._database.read() as db:
                owners = db.execute(
                    "SELECT DISTINCT owner FROM snapshots WHERE owner IS NOT NULL"
                ).fetchall()
            for (owner,) in owners:
                if not self._session.lives(owner):
                    self._clear(owner)

    def _clear(self, owner: str) -> None:
        trashed: list[Path | None] = []
        # All in one transaction: a directory that somebody begins to unpack again is not taken.
        with self._database.write() as db:
            found = db.execute(
                "SELECT id, directory, state FROM snapshots WHERE owner = ?", (owner,)
            ).fetchall()
            for snapshot, directory, state in found:
                if state == "lazy":
                    trashed.append(self._trash.put(self._path(directory)))
                    continue
                _forget(db, snapshot)
                db.execute("DELETE FROM snapshots WHERE id = ?", (snapshot,))
                if not _directory_used(db, directory):
                    trashed.append(self._trash.put(self._path(directory)))
            db.execute("UPDATE snapshots SET owner = NULL WHERE owner = ?", (owner,))
        for path in trashed:
            self._trash.empty(path)

    def _bury(self, snapshot: int, directory: int) -> None:
        """Remove a dead row and its directory, unless others show it too."""
        trashed = None
        with self._database.write() as db:
            db.execute("DELETE FROM snapshots WHERE id = ?", (snapshot,))
            if not _directory_used(db, directory):
                trashed = self._trash.put(self._path(directory))
        self._trash.empty(trashed)

    def _path(self, directory: int) -> Path:
        return self._directory / str(directory)

    def _active(self, snapshot: int, directory: int, parent: int | None) -> Active:
        path = self._path(directory)
        return Active(snapshot, parent, path / "fs", path / "work")

    @staticmethod
    def _make(active: Active) -> None:
        os.mkdir(active.fs.parent, 0o711)
        os.mkdir(active.fs)
        # Whatever the umask: this is how `/` of a container looks.
        os.chmod(active.fs, 0o755)
        os.mkdir(active.work, 0o700)


def _forget(db: sqlite3.Connection, snapshot: int) -> None:
    """Drop the cache records that lead to a snapshot."""
    db.execute(
        "DELETE FROM results WHERE canonical IN"
        " (SELECT canonical FROM result_snapshots WHERE snapshot = ?)",
        (snapshot,),
    )


def _directory_used(db: sqlite3.Connection, directory: int) -> bool:
    row = db.execute("SELECT 1 FROM snapshots WHERE directory = ? LIMIT 1", (directory,)).fetchone()
    return row is not None


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain_oserror(error, doing) from error
