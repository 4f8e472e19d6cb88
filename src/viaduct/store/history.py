"""The history of builds: one entry for each, found again by its ref."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from viaduct.store.database import Database

_COLUMNS = "ref, started, ended, status, name, summary"


class BuildRecord(msgspec.Struct, frozen=True):
    """One build. Times are in seconds since the epoch, `ended` None while it runs (or was killed);
    `status` is `running`, `completed`, `error` or `canceled`; `summary` is JSON."""

    ref: str
    started: float
    ended: float | None
    status: str
    name: str
    summary: Mapping[str, Any] = {}


class BuildHistory:
    """The table of builds. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: BuildRecord) -> None:
        """Write the record, in the place of an earlier one with its ref."""
        with self._database.write() as db:
            db.execute(
                f"INSERT OR REPLACE INTO history({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.ref,
                    record.started,
                    record.ended,
                    record.status,
                    record.name,
                    msgspec.json.encode(record.summary),
                ),
            )

    def get(self, ref: str) -> BuildRecord | None:
        """The build of that ref."""
        with self._database.read() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM history WHERE ref = ?", (ref,)).fetchone()
        return _record(row) if row else None

    def list(self, limit: int = -1) -> tuple[BuildRecord, ...]:
        """The latest builds, newest first; all of them by default."""
        with self._database.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM history ORDER BY started DESC, ref LIMIT ?", (limit,)
            ).fetchall()
        return tuple(map(_record, rows))

    def remove(self, ref: str) -> bool:
        """Forget a build; whether it was known."""
        with self._database.write() as db:
            return db.execute("DELETE FROM history WHERE ref = ?", (ref,)).rowcount > 0

    def trim(self, keep: int) -> None:
        """Forget all but the `keep` newest builds."""
        with self._database.write() as db:
            db.execute(
                "DELETE FROM history WHERE ref NOT IN"
                " (SELECT ref FROM history ORDER BY started DESC, ref LIMIT ?)",
                (keep,),
            )


def _record(row: tuple[str, float, float | None, str, str, bytes]) -> BuildRecord:
    ref, started, ended, status, name, summary = row
    return BuildRecord(ref, started, ended, status, name, msgspec.json.decode(summary))
