"""The tables of `viaduct.db`, as steps from one version of the schema to the next."""

from __future__ import annotations

from typing import Final

_VERSION_1: Final = (
    # `directory` names the snapshot whose directory a row shows: its own, or, for the same change
    # on another parent, that of the row it was made from. `owner` is the session that is writing
    # (active), unpacking (lazy) or deleting (dead) the directory.
    """CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        parent INTEGER REFERENCES snapshots(id),
        directory INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'lazy', 'ready', 'dead')),
        kind TEXT NOT NULL,
        description TEXT NOT NULL,
        created REAL NOT NULL,
        last_used REAL NOT NULL,
        uses INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        diff_id TEXT,
        chain_id TEXT,
        owner TEXT)""",
    "CREATE INDEX snapshots_parent ON snapshots(parent)",
    "CREATE INDEX snapshots_directory ON snapshots(directory)",
    "CREATE INDEX snapshots_chain ON snapshots(chain_id) WHERE chain_id IS NOT NULL",
    "CREATE INDEX snapshots_owner ON snapshots(owner) WHERE owner IS NOT NULL",
    """CREATE TABLE layers (
        snapshot INTEGER NOT NULL REFERENCES snapshots(id) ON DELETE CASCADE,
        compression TEXT NOT NULL,
        digest TEXT NOT NULL,
        descriptor BLOB NOT NULL,
        diff_id TEXT NOT NULL,
        PRIMARY KEY (snapshot, compression)) WITHOUT ROWID""",
    "CREATE INDEX layers_digest ON layers(digest)",
    """CREATE TABLE sources (
        digest TEXT NOT NULL,
        reference TEXT NOT NULL,
        PRIMARY KEY (digest, reference)) WITHOUT ROWID""",
    """CREATE TABLE results (
        canonical TEXT PRIMARY KEY,
        results BLOB NOT NULL,
        created REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE aliases (
        fast TEXT PRIMARY KEY,
        canonical TEXT NOT NULL REFERENCES results(canonical) ON DELETE CASCADE) WITHOUT ROWID""",
    "CREATE INDEX aliases_canonical ON aliases(canonical)",
    """CREATE TABLE result_snapshots (
        canonical TEXT NOT NULL REFERENCES results(canonical) ON DELETE CASCADE,
        snapshot INTEGER NOT NULL REFERENCES snapshots(id),
        PRIMARY KEY (canonical, snapshot)) WITHOUT ROWID""",
    "CREATE INDEX result_snapshots_snapshot ON result_snapshots(snapshot)",
    """CREATE TABLE images (
        name TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        descriptor BLOB NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX images_digest ON images(digest)",
    # How often the images changed, and up to which change index.json tells of them.
    "CREATE TABLE layout (changes INTEGER NOT NULL, published INTEGER NOT NULL)",
    "INSERT INTO layout VALUES (1, 0)",
    """CREATE TABLE cache_mounts (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        platform TEXT NOT NULL,
        created REAL NOT NULL,
        last_used REAL NOT NULL,
        uses INTEGER NOT NULL,
        size INTEGER NOT NULL,
        measured REAL NOT NULL,
        seeded INTEGER NOT NULL) WITHOUT ROWID""",
    # Clustered by inode: the files of one directory tree mostly lie close together.
    """CREATE TABLE hashes (
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        stamp BLOB NOT NULL,
        sha256 BLOB NOT NULL,
        PRIMARY KEY (device, inode)) WITHOUT ROWID""",
    """CREATE TABLE history (
        ref TEXT PRIMARY KEY,
        started REAL NOT NULL,
        ended REAL,
        status TEXT NOT NULL,
        name TEXT NOT NULL,
        summary BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX history_started ON history(started)",
)

#: `STEPS[n]` leads from version n (`PRAGMA user_version`) to version n + 1.
STEPS: Final = (_VERSION_1,)
VERSION: Final = len(STEPS)
