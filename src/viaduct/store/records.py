"""What the solver remembers: the results of earlier work by key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import NotFound
from viaduct.store import snapshot_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.store.database import Database
    from viaduct.store.snapshot_rows import SnapshotRows


class Record(NamedTuple):
    """A canonical key and what its work came to."""

    canonical: str
    results: tuple[str, ...]


class Records:
    """Results by canonical key, and fast keys that lead to one. Safe to use from any thread.

    A result that is a number names a snapshot: when that is gone, so is the record. Other texts
    (`scratch`) say all there is to say.
    """

    def __init__(
        self,
        database: Database,
        snapshots: SnapshotRows,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._clock = clock

    def lookup(self, key: str) -> Record | None:
        """The record under a canonical key or an alias of one; its snapshots count as used."""
        with self._database.read() as db:
            row = db.execute(
                "SELECT canonical, results FROM results WHERE canonical ="
                " COALESCE((SELECT canonical FROM aliases WHERE fast = ?1), ?1)",
                (key,),
            ).fetchone()
        if row is None:
            return None
        record = Record(row[0], decoding.from_json(row[1], tuple[str, ...]))
        return record if self._snapshots.use(_snapshots(record.results)) else None

    def save(self, canonical: str, results: Sequence[str]) -> None:
        """Remember results, replacing older ones. Raises `NotFound` when a snapshot among them does
        not exist."""
        with self._database.write() as db:
            db.execute(
                "INSERT INTO results VALUES (?, ?, ?) ON CONFLICT(canonical)"
                " DO UPDATE SET results = excluded.results, created = excluded.created",
                (canonical, msgspec.json.encode(tuple(results)), self._clock()),
            )
            db.execute("DELETE FROM result_snapshots WHERE canonical = ?", (canonical,))
            for snapshot in _snapshots(results):
                if snapshot_rows.find(db, snapshot) is None:
                    raise NotFound(f"snapshot {snapshot} does not exist")
                db.execute(
                    "INSERT OR IGNORE INTO result_snapshots VALUES (?, ?)", (canonical, snapshot)
                )

    def alias(self, fast: str, canonical: str) -> None:
        """Remember that a fast key led to this canonical one; nothing happens when that has no
        results."""
        with self._database.read() as db:
            row = db.execute("SELECT canonical FROM aliases WHERE fast = ?", (fast,)).fetchone()
        if row is not None and row[0] == canonical:
            return
        with self._database.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO aliases"
                " SELECT ?, canonical FROM results WHERE canonical = ?",
                (fast, canonical),
            )

    def leads_to(self, snapshot: int) -> bool:
        """Whether some work's result is that snapshot."""
        with self._database.read() as db:
            row = db.execute(
                "SELECT 1 FROM result_snapshots WHERE snapshot = ? LIMIT 1", (snapshot,)
            ).fetchone()
        return row is not None

    def forget_opaque(self, before: float) -> None:
        """Drop records older than `before` that lead to no snapshot: nothing else ends them."""
        with self._database.write() as db:
            db.execute(
                "DELETE FROM results WHERE created < ? AND canonical NOT IN"
                " (SELECT canonical FROM result_snapshots)",
                (before,),
            )


def _snapshots(results: Sequence[str]) -> list[int]:
    return [int(result) for result in results if result.isascii() and result.isdigit()]
