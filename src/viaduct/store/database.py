"""The SQLite database of a state root: connections, transactions, and what its errors mean.

Connections are taken from a pool, because threads are many and short-lived: a connection belongs to
one thread for the length of a `read` or `write` block. The journal is a write-ahead log, synced at
checkpoints (`synchronous=NORMAL`): a killed process loses nothing that was committed, a power cut
at most the last transactions, and neither damages the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from viaduct.base.errors import StoreError
from viaduct.base.fs import explain_oserror, locked
from viaduct.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BUSY_SECONDS = 60.0
_BUGS = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError)


class Database:
    """See the module. Safe to use from any thread, and in a forked child.

    `setup` is called with a connection in the transaction that makes a new schema.
    """

    def __init__(
        self, path: Path, *, setup: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        try:
            with self._connection() as db:
                version = _version(db)
                if version < schema.VERSION:
                    # Switching to a write-ahead log does not wait for others as a transaction does.
                    with locked(path.with_name(f"{path.name}.lock")):
                        self._upgrade(db, setup)
                elif version > schema.VERSION:
                    raise StoreError(
                        f"{path} was written by a newer Viaduct (schema {version}, "
                        f"this one knows {schema.VERSION})",
                        hint="upgrade Viaduct, or point VIADUCT_HOME at another directory",
                    )
        except OSError as error:
            raise explain_oserror(error, f"opening {path}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the idle connections; a later use opens new ones."""
        with self._lock:
            self._notice_fork()
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries; each sees the latest commit. Raises `StoreError`."""
        with self._connection() as db:
            yield db

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it happens, or nothing. Raises `StoreError`.

        Only one is open at a time across all processes: keep it short, and never open one inside
        of another.
        """
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite has already rolled back by itself after some errors, a full disk for one.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._take()
            try:
                yield db
            except sqlite3.Error as error:
                if not isinstance(error, _BUGS):
                    db.close()
                    raise
                self._give(db)
                raise
            except BaseException:
                self._give(db)
                raise
            self._give(db)
        except _BUGS:
            raise
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            self._notice_fork()
            if self._idle:
                return self._idle.pop()
        db = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db

    def _notice_fork(self) -> None:
        """A connection must neither be used nor closed on the other side of a fork."""
        if self._pid != os.getpid():
            self._inherited += self._idle
            self._idle = []
            self._pid = os.getpid()

    def _give(self, db: sqlite3.Connection) -> None:
        with self._lock:
            self._idle.append(db)

    def _upgrade(
        self, db: sqlite3.Connection, setup: Callable[[sqlite3.Connection], None] | None
    ) -> None:
        if _version(db) == 0:
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        try:
            version = _version(db)
            for step in schema.STEPS[version:]:
                for statement in step:
                    db.execute(statement)
            if version == 0 and setup is not None:
                setup(db)
            db.execute(f"PRAGMA user_version = {schema.VERSION}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _explain(error: sqlite3.Error, path: Path) -> StoreError:
    """A person's view of an SQLite error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _full(path)):
        return StoreError(
            f"no space left on device while writing {path}",
            hint="free some space, or run `viaduct prune`; nothing already stored was lost",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"cannot open {path} for writing: {error}",
            hint="point VIADUCT_HOME at a directory that you own",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"{path} is damaged: {error}",
            hint=f"move it away (with {path.name}-wal): tagged images are read back from "
            "content/index.json, and everything else is built or fetched again",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"{path} has been locked by another process for {_BUSY_SECONDS:.0f} s",
            hint="wait for it to end, or end it",
        )
    return StoreError(f"{path}: {error}", hint="check the disk that holds it")


def _full(path: Path) -> bool:
    with contextlib.suppress(OSError):
        disk = os.statvfs(path.parent)
        return disk.f_bavail * disk.f_frsize < 1 << 20
    return False
