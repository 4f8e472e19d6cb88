"""What is known about snapshots: their chains and their uses.

A snapshot is the change that one step or layer made to its parent. Everything here is rows in the
database; what they are as layers is told by `viaduct.store.snapshot_layers`, and the directories
belong to `viaduct.store.snapshots`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import NotFound
from viaduct.oci.digest import Digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from viaduct.store.database import Database
    from viaduct.store.leases import Leases

_COLUMNS = (
    "id, parent, directory, state, kind, description, created, last_used, uses, size,"
    " diff_id, chain_id"
)
#: The rows of snapshots that are not being written or removed.
DONE = "state IN ('lazy', 'ready')"


class Snapshot(msgspec.Struct, frozen=True):
    """One snapshot.

    `state` is `ready`, or `lazy` for an image's layer that nobody has unpacked yet. `directory` is
    the id of the snapshot whose directory this one shows: itself, mostly. `kind` is a record type
    of `viaduct du`. Times are in seconds since the epoch, `size` in bytes of disk. `diff_id` and
    `chain_id` are known once a layer blob was made of it (and of all below it).
    """

    id: int
    parent: int | None
    directory: int
    state: str
    kind: str
    description: str
    created: float
    last_used: float
    uses: int
    size: int
    diff_id: Digest | None
    chain_id: Digest | None


class SnapshotRows:
    """See the module. Safe to use from any thread."""

    def __init__(self, database: Database, leases: Leases, clock: Callable[[], float]) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock

    # --- looking ---------------------------------------------------------------------------------

    def find(self, snapshot: int) -> Snapshot | None:
        """The snapshot of that id, if it exists and is not still being written."""
        with self._database.read() as db:
            return find(db, snapshot)

    def get(self, snapshot: int) -> Snapshot:
        """Like `find`. Raises `NotFound`."""
        found = self.find(snapshot)
        if found is None:
            raise _gone(snapshot)
        return found

    def chain(self, snapshot: int | None) -> tuple[Snapshot, ...]:
        """The snapshot and everything below it, base first; nothing for None.

        Raises `NotFound`.
        """
        if snapshot is None:
            return ()
        with self._database.read() as db:
            rows = db.execute(
                "WITH RECURSIVE down(id, depth) AS ("
                "  SELECT ?, 0 UNION ALL"
                "  SELECT s.parent, depth + 1 FROM snapshots s JOIN down ON s.id = down.id"
                "   WHERE s.parent IS NOT NULL)"
                f" SELECT {_COLUMNS} FROM snapshots JOIN down USING (id)"
                f" WHERE {DONE} ORDER BY depth DESC",
                (snapshot,),
            ).fetchall()
        if not rows:
            raise _gone(snapshot)
        return tuple(Snapshot(*row) for row in rows)

    def all(self) -> tuple[Snapshot, ...]:
        """Every finished snapshot, parents before children."""
        with self._database.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM snapshots WHERE {DONE} ORDER BY id")
            return tuple(Snapshot(*row) for row in rows)

    def use(self, snapshots: Iterable[int]) -> bool:
        """Note that a build uses these snapshots; false when one of them is gone.

        While this process holds a lease, what was found here stays. What stands below a snapshot
        stays with it.
        """
        wanted = tuple(dict.fromkeys(snapshots))
        since = self._leases.used_since()
        with self._database.read() as db:
            stale = []
            for snapshot in wanted:
                row = db.execute(
                    f"SELECT last_used FROM snapshots WHERE id = ? AND {DONE}", (snapshot,)
                ).fetchone()
                if row is None:
                    return False
                if row[0] < since:
                    stale.append(snapshot)
        if not stale:
            return True
        now = self._clock()
        with self._database.write() as db:
            return all(touch(db, snapshot, now) for snapshot in stale)


def insert(
    db: sqlite3.Connection,
    *,
    parent: int | None,
    state: str,
    kind: str,
    description: str,
    now: float,
    owner: str | None = None,
    directory: int | None = None,
) -> int:
    """A new row; its id."""
    (snapshot,) = db.execute(
        "INSERT INTO snapshots(parent, directory, state, kind, description, created, last_used,"
        " uses, owner) VALUES (?, 0, ?, ?, ?, ?, ?, 1, ?) RETURNING id",
        (parent, state, kind, description, now, now, owner),
    ).fetchone()
    db.execute("UPDATE snapshots SET directory = ? WHERE id = ?", (directory or snapshot, snapshot))
    return int(snapshot)


def find(db: sqlite3.Connection, snapshot: int) -> Snapshot | None:
    """The finished snapshot of that id."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM snapshots WHERE id = ? AND {DONE}", (snapshot,)
    ).fetchone()
    return Snapshot(*row) if row else None


def touch(db: sqlite3.Connection, snapshot: int, now: float) -> bool:
    """Note a use; whether the snapshot is (still) there."""
    done = db.execute(
        f"UPDATE snapshots SET last_used = ?, uses = uses + 1 WHERE id = ? AND {DONE}",
        (now, snapshot),
    )
    return done.rowcount > 0


def require(db: sqlite3.Connection, snapshot: int) -> Snapshot:
    found = find(db, snapshot)
    if found is None:
        raise _gone(snapshot)
    return found


def last_used(db: sqlite3.Connection, snapshot: int) -> float:
    (last,) = db.execute("SELECT last_used FROM snapshots WHERE id = ?", (snapshot,)).fetchone()
    return float(last)


def _gone(snapshot: int) -> NotFound:
    return NotFound(f"snapshot {snapshot} does not exist", hint="build again; it was pruned")
