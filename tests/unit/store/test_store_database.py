"""The database: transactions across threads, processes and forks, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import other_process

from viaduct.base.errors import StoreError
from viaduct.store import schema
from viaduct.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path


def _count(database: Database) -> int:
    with database.read() as db:
        (count,) = db.execute("SELECT COUNT(*) FROM sources").fetchone()
    return int(count)


def test_a_transaction_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    database = Database(tmp_path / "viaduct.db")
    with database.write() as db:
        db.execute("INSERT INTO sources VALUES ('a', 'b')")
    with pytest.raises(RuntimeError), database.write() as db:
        db.execute("INSERT INTO sources VALUES ('c', 'd')")
        raise RuntimeError
    assert _count(database) == 1
    database.close()
    assert _count(database) == 1, "it may be used again"
    database.close()


def test_a_bug_is_not_dressed_up_as_a_trouble_of_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "viaduct.db")
    with pytest.raises(sqlite3.IntegrityError), database.write() as db:
        db.execute("INSERT INTO snapshots(directory) VALUES (1)")
    assert _count(database) == 0
    database.close()


def test_many_threads_and_processes_write_at_once(root: Path) -> None:
    script = """
with store.database.write() as db:
    for number in range(50):
        db.execute("INSERT INTO sources VALUES (?, ?)", (sys.argv[2], number))
"""
    threads = [threading.Thread(target=other_process, args=(root, script, name)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = Database(root / "viaduct.db")
    assert _count(database) == 200
    database.close()


def test_killed_processes_leave_whole_transactions(root: Path) -> None:
    script = """
for number in range(20):
    with store.database.write() as db:
        db.execute("INSERT INTO sources VALUES ('digest', ?)", (f"{sys.argv[2]}{number}",))
        db.execute("INSERT INTO sources VALUES ('other', ?)", (f"{sys.argv[2]}{number}",))
        if number == int(sys.argv[3]):
            die()
"""
    for at in (0, 7, 19):
        other_process(root, script, f"{at}-", str(at))
    database = Database(root / "viaduct.db")
    assert _count(database) == 2 * (0 + 7 + 19)
    with database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_forked_child_uses_connections_of_its_own(tmp_path: Path) -> None:
    database = Database(tmp_path / "viaduct.db")
    with database.write() as db:
        db.execute("INSERT INTO sources VALUES ('a', 'parent')")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database.write() as db:
                db.execute("INSERT INTO sources VALUES ('a', 'child')")
            database.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert _count(database) == 2
    with database.write() as db:
        db.execute("INSERT INTO sources VALUES ('a', 'parent again')")
    assert _count(database) == 3
    database.close()


def test_setup_runs_once_with_the_schema(tmp_path: Path) -> None:
    calls: list[int] = []

    def setup(db: sqlite3.Connection) -> None:
        calls.append(1)
        db.execute("INSERT INTO sources VALUES ('from', 'setup')")

    for _ in range(2):
        database = Database(tmp_path / "viaduct.db", setup=setup)
        assert _count(database) == 1
        database.close()
    assert calls == [1]


def test_a_setup_that_fails_leaves_no_half_made_schema(tmp_path: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Database(tmp_path / "viaduct.db", setup=fail)
    database = Database(tmp_path / "viaduct.db")
    assert _count(database) == 0
    database.close()


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "viaduct.db"
    Database(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="written by a newer Viaduct") as caught:
        Database(path)
    assert "VIADUCT_HOME" in caught.value.hint


def test_a_damaged_database_is_told_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "viaduct.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="is damaged") as caught:
        Database(path)
    assert "move it away" in caught.value.hint


def test_a_database_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        Database(tmp_path / "nowhere" / "viaduct.db")


def test_a_full_disk_is_told(root: Path) -> None:
    script = """
import resource
from viaduct.base.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    with store.database.write() as db:
        for number in range(20_000):
            db.execute("INSERT INTO sources VALUES (?, 'x')", (f"{number:0>100}",))
except StoreError as error:
    print(error.what)
with store.database.read() as db:
    print(db.execute("SELECT COUNT(*) FROM sources").fetchone())
"""
    said = other_process(root, script).stdout.splitlines()
    assert "viaduct.db" in said[0]
    assert said[1] == "(0,)"
