"""Snapshots as layers: the blobs that hold their change, and where those can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.oci import digest as digests
from viaduct.oci import models
from viaduct.oci.digest import Digest
from viaduct.oci.models import Descriptor
from viaduct.store import snapshot_rows as rows
from viaduct.store.snapshot_rows import SnapshotRows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from viaduct.store.snapshot_rows import Snapshot

#: What the blob that an image came with is remembered under, whatever its compression.
IMPORTED = ""


class LayerBlob(msgspec.Struct, frozen=True):
    """A snapshot's change as a layer blob, in the form that `compression_key` names."""

    compression_key: str
    descriptor: Descriptor
    diff_id: Digest

    @property
    def imported(self) -> bool:
        """Whether this is the very blob that the snapshot's image came with."""
        return self.compression_key == IMPORTED


class SnapshotLayers(SnapshotRows):
    """See the module. Safe to use from any thread."""

    def define_layer(
        self, parent: int | None, diff_id: Digest, descriptor: Descriptor, refs: Sequence[str]
    ) -> Snapshot:
        """The snapshot of an image's layer on top of `parent`; lazy when it is new.

        The same chain of layers is the same snapshot, wherever it came from, and even if it was
        built here. `refs` say where its blob can be fetched from, and are added to those known.
        Raises `NotFound` when there is no such parent.
        """
        now = self._clock()
        with self._database.write() as db:
            below = _chain_id(db, parent)
            known = parent is None or below is not None
            chain = digests.chain(below, diff_id) if known else None
            row = db.execute(
                f"SELECT id FROM snapshots WHERE {rows.DONE}"
                " AND (chain_id = ?1 OR (parent IS ?2 AND diff_id = ?3))"
                " ORDER BY parent IS ?2 DESC, state = 'ready' DESC, id LIMIT 1",
                (chain, parent, diff_id),
            ).fetchone()
            if row is None:
                snapshot = rows.insert(
                    db,
                    parent=parent,
                    state="lazy",
                    kind="regular",
                    description=f"pulled from {refs[0]}" if refs else "pulled",
                    now=now,
                )
                db.execute("UPDATE snapshots SET diff_id = ? WHERE id = ?", (diff_id, snapshot))
                _settle(db, snapshot)
            else:
                snapshot = row[0]
                if rows.last_used(db, snapshot) < self._leases.used_since():
                    rows.touch(db, snapshot, now)
            _put_layer(db, snapshot, LayerBlob(IMPORTED, descriptor, diff_id))
            _put_sources(db, descriptor.digest, refs)
            return rows.require(db, snapshot)

    def share(self, parent: int | None, of: int) -> Snapshot:
        """The change of snapshot `of` on top of another parent: same directory, same layer blobs.

        Raises `NotFound`.
        """
        now = self._clock()
        with self._database.write() as db:
            source = rows.require(db, of)
            if source.parent == parent:
                return source
            _chain_id(db, parent)
            row = db.execute(
                f"SELECT id FROM snapshots WHERE parent IS ? AND directory = ? AND {rows.DONE}",
                (parent, source.directory),
            ).fetchone()
            if row is not None:
                rows.touch(db, row[0], now)
                return rows.require(db, row[0])
            snapshot = rows.insert(
                db,
                parent=parent,
                state=source.state,
                kind=source.kind,
                description=source.description,
                now=now,
                directory=source.directory,
            )
            db.execute(
                "UPDATE snapshots SET size = ?, created = ?, diff_id = ? WHERE id = ?",
                (source.size, source.created, source.diff_id, snapshot),
            )
            db.execute(
                "INSERT INTO layers SELECT ?, compression, digest, descriptor, diff_id"
                " FROM layers WHERE snapshot = ?",
                (snapshot, of),
            )
            _settle(db, snapshot)
            return rows.require(db, snapshot)

    def layers(self, snapshot: int) -> list[LayerBlob]:
        """The blobs that hold this snapshot's change, an imported one first."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT compression, descriptor, diff_id FROM layers"
                " WHERE snapshot = ? ORDER BY compression",
                (snapshot,),
            ).fetchall()
        return [
            LayerBlob(key, models.decode(descriptor, Descriptor, what="layer"), Digest(diff_id))
            for key, descriptor, diff_id in found
        ]

    def add_layer(
        self,
        snapshot: int,
        compression_key: str,
        descriptor: Descriptor,
        diff_id: Digest,
        *,
        exact: bool = True,
    ) -> None:
        """Remember a blob of the snapshot's change.

        The first `exact` one gives the snapshot its diff id, and chain ids from there upwards as
        far as layers are known; one whose archive was altered (clamped times) is not exact. Raises
        `NotFound`.
        """
        with self._database.write() as db:
            rows.require(db, snapshot)
            _put_layer(db, snapshot, LayerBlob(compression_key, descriptor, diff_id))
            if exact:
                db.execute(
                    "UPDATE snapshots SET diff_id = ? WHERE id = ? AND diff_id IS NULL",
                    (diff_id, snapshot),
                )
                _settle(db, snapshot)

    def layer_digests(self) -> dict[int, tuple[Digest, ...]]:
        """The layer blobs of every snapshot that has some, even of one that is being removed."""
        found: dict[int, tuple[Digest, ...]] = {}
        with self._database.read() as db:
            for snapshot, digest in db.execute("SELECT snapshot, digest FROM layers"):
                found[snapshot] = (*found.get(snapshot, ()), Digest(digest))
        return found

    def find_chain(self, diff_ids: Iterable[Digest]) -> list[int]:
        """The snapshots of an image's layers, base first, as far as they are known."""
        found: list[int] = []
        chain: Digest | None = None
        with self._database.read() as db:
            for diff_id in diff_ids:
                chain = digests.chain(chain, diff_id)
                row = db.execute(
                    f"SELECT id FROM snapshots WHERE chain_id = ? AND {rows.DONE} ORDER BY id",
                    (chain,),
                ).fetchone()
                if row is None:
                    break
                found.append(row[0])
        return found

    def sources(self, digest: Digest) -> tuple[str, ...]:
        """References under which a blob was seen and can be fetched."""
        with self._database.read() as db:
            found = db.execute("SELECT reference FROM sources WHERE digest = ?", (digest,))
            return tuple(reference for (reference,) in found)

    def add_sources(self, blobs: Iterable[Digest], refs: Sequence[str]) -> None:
        """Remember where blobs can be fetched from."""
        with self._database.write() as db:
            for digest in blobs:
                _put_sources(db, digest, refs)

    def forget_sources(self, exists: Callable[[Digest], bool]) -> None:
        """Forget where blobs come from that no snapshot knows and that do not exist any more."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT DISTINCT digest FROM sources WHERE digest NOT IN"
                " (SELECT digest FROM layers)"
            ).fetchall()
        gone = [row for row in found if not exists(Digest(row[0]))]
        if gone:
            with self._database.write() as db:
                db.executemany("DELETE FROM sources WHERE digest = ?", gone)


def _chain_id(db: sqlite3.Connection, parent: int | None) -> Digest | None:
    return None if parent is None else rows.require(db, parent).chain_id


def _settle(db: sqlite3.Connection, snapshot: int) -> None:
    """Give chain ids to a snapshot and to those above it whose layers are known."""
    pending = [snapshot]
    while pending:
        current = pending.pop()
        parent, diff_id, below = db.execute(
            "SELECT s.parent, s.diff_id, p.chain_id FROM snapshots s"
            " LEFT JOIN snapshots p ON p.id = s.parent WHERE s.id = ?",
            (current,),
        ).fetchone()
        if diff_id is None or (parent is not None and below is None):
            continue
        chain = digests.chain(below, diff_id)
        db.execute("UPDATE snapshots SET chain_id = ? WHERE id = ?", (chain, current))
        above = db.execute(
            "SELECT id FROM snapshots"
            " WHERE parent = ? AND diff_id IS NOT NULL AND chain_id IS NULL",
            (current,),
        )
        pending += [row[0] for row in above]


def _put_layer(db: sqlite3.Connection, snapshot: int, blob: LayerBlob) -> None:
    db.execute(
        "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?)",
        (
            snapshot,
            blob.compression_key,
            blob.descriptor.digest,
            models.encode(blob.descriptor),
            blob.diff_id,
        ),
    )


def _put_sources(db: sqlite3.Connection, digest: Digest, refs: Iterable[str]) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO sources VALUES (?, ?)", [(digest, reference) for reference in refs]
    )
