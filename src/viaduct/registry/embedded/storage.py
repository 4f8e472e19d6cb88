"""What the embedded registry knows: blobs as files, everything else as rows.

    blobs/sha256/<hex>     content, as in an OCI image layout
    uploads/<id>           blobs that are still arriving
    registry.db            which repository has which blobs, manifests and tags

A blob's file is complete and on disk before the first row names it, and its last row is gone
before the file is; so a crash at any moment leaves at worst a file that nobody names. Several
threads and several processes may work on one root.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import StoreError
from viaduct.base.fs import explain_oserror, sync_directory, write_atomic
from viaduct.oci import digest as digests
from viaduct.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    repository TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
    size INTEGER NOT NULL, subject TEXT NOT NULL, artifact_type TEXT NOT NULL,
    annotations TEXT NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_by_digest ON blobs (digest);
CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest);
CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject);
"""
_BUSY_SECONDS = 30.0


class StoredManifest(msgspec.Struct, frozen=True):
    """A manifest or index of a repository; `subject` and `artifact_type` are empty without one."""

    digest: Digest
    media_type: str
    size: int
    subject: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = {}


class Storage:
    """See the module. Raises `StoreError` when the disk does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads = root / "uploads"
        self._lock = threading.Lock()
        try:
            for directory in (self.uploads, root / "blobs/sha256", root / "blobs/sha512"):
                directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                root / "registry.db",
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except OSError as error:
            raise explain_oserror(error, "opening the registry") from error
        except sqlite3.Error as error:
            raise StoreError(f"cannot open {root / 'registry.db'}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def path(self, digest: Digest) -> Path:
        """Where the content of `digest` is, or would be."""
        return self.root / "blobs" / digests.algorithm(digest) / digests.encoded(digest)

    def has_repository(self, name: str) -> bool:
        query = (
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM blobs WHERE repository = :name)"
            " OR EXISTS (SELECT 1 FROM manifests WHERE repository = :name)"
        )
        return bool(self._read(query, {"name": name}))

    def repositories(self, last: str, count: int) -> list[str]:
        """Up to `count` names after `last`, of repositories that have a manifest."""
        query = (
            "SELECT DISTINCT repository FROM manifests WHERE repository > ?"
            " ORDER BY repository LIMIT ?"
        )
        return [row[0] for row in self._read(query, (last, count))]

    # --- blobs

    def has_blob(self, name: str, digest: Digest) -> bool:
        query = "SELECT 1 FROM blobs WHERE repository = ? AND digest = ?"
        return bool(self._read(query, (name, digest)))

    def adopt(self, file: Path, name: str, digest: Digest) -> None:
        """Make the finished, verified and synced `file` the blob `digest` of a repository."""
        target = self.path(digest)
        with self._change() as db:
            # Under the lock: a deletion of the same blob must not come between.
            os.rename(file, target)
            sync_directory(target.parent)
            db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (name, digest))

    def mount(self, name: str, digest: Digest, source: str) -> bool:
        """Give a repository the blob of another one; of any one when `source` is empty."""
        with self._change() as db:
            found = db.execute(
                "SELECT 1 FROM blobs WHERE digest = :digest"
                " AND (repository = :source OR :source = '') LIMIT 1",
                {"digest": digest, "source": source},
            ).fetchone()
            if found:
                db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (name, digest))
            return bool(found)

    def delete_blob(self, name: str, digest: Digest) -> bool:
        with self._change() as db:
            found = db.execute(
                "DELETE FROM blobs WHERE repository = ? AND digest = ?", (name, digest)
            ).rowcount
        if found:
            self._sweep(digest)
        return found > 0

    # --- manifests and tags

    def put_manifest(
        self, name: str, manifest: StoredManifest, data: bytes, tags: Iterable[str]
    ) -> None:
        target = self.path(manifest.digest)
        with self._change() as db:
            if not target.exists():
                write_atomic(target, data)
            db.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    manifest.digest,
                    manifest.media_type,
                    manifest.size,
                    manifest.subject,
                    manifest.artifact_type,
                    msgspec.json.encode(manifest.annotations).decode(),
                ),
            )
            db.executemany(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)",
                [(name, tag, manifest.digest) for tag in tags],
            )

    def manifest(self, name: str, digest: Digest) -> StoredManifest | None:
        found = self._manifests("repository = ? AND digest = ?", (name, digest))
        return found[0] if found else None

    def tagged(self, name: str, tag: str) -> Digest | None:
        rows = self._read("SELECT digest FROM tags WHERE repository = ? AND tag = ?", (name, tag))
        return digests.Digest(rows[0][0]) if rows else None

    def tags(self, name: str, last: str, count: int) -> list[str]:
        """Up to `count` tags after `last`, in ASCII order."""
        query = "SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?"
        return [row[0] for row in self._read(query, (name, last, count))]

    def referrers(
        self, name: str, subject: str, artifact_type: str, last: str, count: int
    ) -> list[StoredManifest]:
        """Up to `count` manifests about `subject` whose digests come after `last`."""
        return self._manifests(
            "repository = ? AND subject = ? AND digest > ? AND (? IN ('', artifact_type))"
            " ORDER BY digest LIMIT ?",
            (name, subject, last, artifact_type, count),
        )

    def delete_tag(self, name: str, tag: str) -> bool:
        with self._change() as db:
            row = db.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", (name, tag))
            return row.rowcount > 0

    def delete_manifest(self, name: str, digest: Digest) -> bool:
        """Delete a manifest and every tag that names it."""
        with self._change() as db:
            found = db.execute(
                "DELETE FROM manifests WHERE repository = ? AND digest = ?", (name, digest)
            ).rowcount
            db.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", (name, digest))
        if found:
            self._sweep(digest)
        return found > 0

    def _sweep(self, digest: Digest) -> None:
        """Remove the file of `digest` if no repository names it any more.

        A transaction of its own: by now the rows are gone for good, and nobody can adopt the same
        content between the look and the removal.
        """
        with self._change() as db:
            named = db.execute(
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM blobs WHERE digest = :digest)"
                " OR EXISTS (SELECT 1 FROM manifests WHERE digest = :digest)",
                {"digest": digest},
            ).fetchone()
            if not named:
                self.path(digest).unlink(missing_ok=True)

    def _manifests(self, where: str, values: tuple[str | int, ...]) -> list[StoredManifest]:
        rows = self._read(
            "SELECT digest, media_type, size, subject, artifact_type, annotations"
            f" FROM manifests WHERE {where}",
            values,
        )
        return [
            StoredManifest(
                digests.Digest(digest),
                media_type,
                size,
                subject,
                artifact_type,
                decoding.from_json(annotations, dict[str, str]),
            )
            for digest, media_type, size, subject, artifact_type, annotations in rows
        ]

    def _read(
        self, query: str, values: tuple[str | int, ...] | dict[str, str]
    ) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self.root / 'registry.db'}: {error}") from error

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except OSError as error:
            raise explain_oserror(error, "writing to the registry") from error
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {self.root / 'registry.db'}: {error}") from error
