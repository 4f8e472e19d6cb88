"""Hashes of local files that have not changed, so that a large context is not read twice.

A file is known by device and inode; size, modification and change time say whether it is still the
same. As in git's index, a file that changed within the last moments is not remembered: it could
change once more within the same tick of the clock, and nobody would see.
"""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from viaduct.store.database import Database

# The coarsest clock among file systems in use (FAT) ticks every two seconds.
_SETTLED_NS = 2_000_000_000
# One query brings in this many neighbouring inodes; a directory tree's lie close together.
_PAGE = 1 << 13
_MOST_PENDING = 50_000
# SQLite's integers are signed; inodes and devices are not.
_SIGN = 1 << 63
_stamp = struct.Struct("<QqqI")


class Hashes:
    """SHA-256 by file. Safe to use from any thread.

    Reads come from memory after one query for each neighbourhood of files; what is new is written
    by `save`. Files that changed after this was made, or shortly before, are not remembered, so
    every `stat` result handed in must be younger than it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._pages: set[tuple[int, int]] = set()
        self._new: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._settled = time.time_ns() - _SETTLED_NS

    def get(self, info: os.stat_result) -> bytes | None:
        """The raw SHA-256 of the file that `info` describes, unless it changed since."""
        page = (info.st_dev, info.st_ino // _PAGE)
        key = (info.st_dev, info.st_ino)
        with self._lock:
            if page not in self._pages:
                self._load(page)
            found = self._known.get(key)
        return found[1] if found is not None and found[0] == _pack(info) else None

    def put(self, info: os.stat_result, sha256: bytes) -> None:
        """Remember the hash of a file that was read after `info` was taken."""
        if max(info.st_mtime_ns, info.st_ctime_ns) >= self._settled:
            return
        entry = (_pack(info), sha256)
        with self._lock:
            self._known[(info.st_dev, info.st_ino)] = entry
            self._new[(info.st_dev, info.st_ino)] = entry
            full = len(self._new) >= _MOST_PENDING
        if full:
            self.save()

    def save(self) -> None:
        """Write what was put since the last time, in one transaction. Raises `StoreError`."""
        with self._lock:
            new, self._new = self._new, {}
        if new:
            with self._database.write() as db:
                db.executemany(
                    "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)",
                    [
                        (device - _SIGN, inode - _SIGN, stamp, sha256)
                        for (device, inode), (stamp, sha256) in sorted(new.items())
                    ],
                )

    def _load(self, page: tuple[int, int]) -> None:
        device, first = page[0], page[1] * _PAGE - _SIGN
        with self._database.read() as db:
            for inode, stamp, sha256 in db.execute(
                "SELECT inode, stamp, sha256 FROM hashes"
                " WHERE device = ? AND inode BETWEEN ? AND ?",
                (device - _SIGN, first, first + _PAGE - 1),
            ):
                self._known.setdefault((device, inode + _SIGN), (stamp, sha256))
        self._pages.add(page)


def _pack(info: os.stat_result) -> bytes:
    # The times' upper bits are never used; the mode tells a file from what replaced it.
    return _stamp.pack(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_mode)


def trim(database: Database, keep: int) -> None:
    """Drop all hashes when there are more than `keep`; they are soon made again."""
    with database.read() as db:
        (count,) = db.execute("SELECT COUNT(*) FROM hashes").fetchone()
    if count > keep:
        with database.write() as db:
            db.execute("DELETE FROM hashes")
