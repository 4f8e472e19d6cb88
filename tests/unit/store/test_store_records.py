"""What the solver remembers, the history of builds, and hashes of files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import digest_of

from viaduct.base.errors import NotFound
from viaduct.oci import media
from viaduct.oci.models import Descriptor
from viaduct.store import hashes
from viaduct.store.hashes import Hashes
from viaduct.store.history import BuildRecord
from viaduct.store.records import Record

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from viaduct.store.store import Store


def _snapshot(store: Store) -> int:
    layer = Descriptor(media_type=media.OCI_LAYER, digest=digest_of("l"), size=1)
    return store.snapshots.define_layer(None, digest_of("l"), layer, []).id


def test_results_are_found_by_their_key_and_by_aliases_of_it(store: Store) -> None:
    snapshot = str(_snapshot(store))
    assert store.records.lookup("key") is None
    store.records.save("key", [snapshot, "scratch"])
    store.records.alias("fast", "key")
    expected = Record("key", (snapshot, "scratch"))
    assert store.records.lookup("key") == expected
    assert store.records.lookup("fast") == expected
    store.records.alias("fast", "key")
    store.records.alias("other", "unknown")
    assert store.records.lookup("other") is None


def test_later_results_replace_earlier_ones(store: Store) -> None:
    store.records.save("key", ["scratch"])
    snapshot = str(_snapshot(store))
    store.records.save("key", [snapshot])
    assert store.records.lookup("key") == Record("key", (snapshot,))
    assert store.records.leads_to(int(snapshot))
    store.records.save("key", ["scratch"])
    assert not store.records.leads_to(int(snapshot))


def test_results_must_exist(store: Store) -> None:
    with pytest.raises(NotFound, match="snapshot 17 does not exist"):
        store.records.save("key", ["17"])
    assert store.records.lookup("key") is None


def test_a_record_goes_with_its_snapshot(store: Store) -> None:
    snapshot = _snapshot(store)
    store.records.save("key", [str(snapshot)])
    store.records.alias("fast", "key")
    store.snapshots.remove(snapshot, lambda _used: True)
    assert store.records.lookup("key") is None
    assert store.records.lookup("fast") is None


def test_looking_something_up_under_a_lease_is_a_use(store: Store) -> None:
    snapshot = _snapshot(store)
    store.records.save("key", [str(snapshot)])
    with store.leases.hold() as lease:
        store.records.lookup("key")
        assert store.snapshots.get(snapshot).last_used >= lease.started


def test_old_results_without_snapshots_are_forgotten(store: Store) -> None:
    snapshot = str(_snapshot(store))
    store.records.save("opaque", ["scratch"])
    store.records.save("key", [snapshot])
    store.records.forget_opaque(time.time() - 60)
    assert store.records.lookup("opaque") is not None
    store.records.forget_opaque(time.time() + 60)
    assert store.records.lookup("opaque") is None
    assert store.records.lookup("key") is not None


# --- history -------------------------------------------------------------------------------------


def _build(ref: str, started: float) -> BuildRecord:
    return BuildRecord(ref, started, started + 1, "completed", "app", {"steps": 3})


def test_builds_are_listed_newest_first(store: Store) -> None:
    for ref, started in (("a", 1.0), ("c", 3.0), ("b", 2.0)):
        store.history.add(_build(ref, started))
    assert [record.ref for record in store.history.list()] == ["c", "b", "a"]
    assert [record.ref for record in store.history.list(limit=1)] == ["c"]
    assert store.history.get("b") == _build("b", 2.0)
    store.history.add(BuildRecord("b", 2.0, None, "running", "app"))
    again = store.history.get("b")
    assert again is not None
    assert (again.status, again.ended, again.summary) == ("running", None, {})
    assert store.history.remove("b")
    assert not store.history.remove("b")
    assert store.history.get("b") is None


def test_only_the_newest_builds_are_kept(store: Store) -> None:
    for number in range(5):
        store.history.add(_build(str(number), float(number)))
    store.history.trim(2)
    assert [record.ref for record in store.history.list()] == ["4", "3"]


# --- hashes --------------------------------------------------------------------------------------


def _old_file(path: Path, text: str = "text") -> os.stat_result:
    """A file that has settled: its change time too lies back, as seen by what `later` makes."""
    path.write_text(text)
    return path.stat()


def _later(store: Store, monkeypatch: pytest.MonkeyPatch) -> Hashes:
    """The hashes as a command that starts a minute from now sees them."""
    now = time.time_ns() + 60_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    return Hashes(store.database)


def test_a_hash_is_remembered_until_the_file_changes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = _old_file(tmp_path / "file")
    first = _later(store, monkeypatch)
    assert first.get(info) is None
    first.put(info, b"h" * 32)
    assert first.get(info) == b"h" * 32
    first.save()
    second = Hashes(store.database)
    assert second.get(info) == b"h" * 32
    (tmp_path / "file").write_text("something longer")
    assert second.get((tmp_path / "file").stat()) is None


def test_nothing_is_remembered_of_a_file_that_may_change_unseen(
    store: Store, tmp_path: Path
) -> None:
    info = _old_file(tmp_path / "file")
    store.hashes.put(info, b"h" * 32)
    assert store.hashes.get(info) is None


def test_a_file_that_was_replaced_is_another_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = _old_file(tmp_path / "file")
    known = _later(store, monkeypatch)
    known.put(info, b"h" * 32)
    (tmp_path / "file").chmod(0o700)
    assert known.get((tmp_path / "file").stat()) is None


def test_too_many_hashes_are_dropped(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [_old_file(tmp_path / str(number)) for number in range(5)]
    known = _later(store, monkeypatch)
    for info in infos:
        known.put(info, b"h" * 32)
    known.save()
    hashes.trim(store.database, 5)
    assert Hashes(store.database).get(infos[0]) == b"h" * 32
    hashes.trim(store.database, 4)
    assert Hashes(store.database).get(infos[0]) is None
