"""Snapshots: changes in chains, written by one process, and repaired after a killed one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner, digest_of, other_process

from viaduct.base.errors import Canceled, NotFound, StoreError
from viaduct.base.tasks import Stop
from viaduct.oci import digest as digests
from viaduct.oci import media
from viaduct.oci.models import Descriptor
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def _write(store: Store, parent: int | None, name: str, *, kind: str = "regular") -> int:
    """A committed snapshot with one file."""
    active = store.snapshots.prepare(parent, description=f"write {name}", kind=kind)
    (active.fs / name).write_text(name)
    return store.snapshots.commit(active).id


def _layer(text: str) -> Descriptor:
    return Descriptor(media_type=media.OCI_LAYER_GZIP, digest=digest_of(text), size=len(text))


def _anything(_used: float) -> bool:
    return True


def _directories(root: Path) -> list[str]:
    return sorted(os.listdir(root / "snapshots"))


def test_a_committed_change_is_a_layer_of_its_chain(store: Store, root: Path) -> None:
    base = _write(store, None, "base")
    top = _write(store, base, "top", kind="source.local")
    dirs = store.snapshots.layer_dirs(top)
    assert [sorted(os.listdir(path)) for path in dirs] == [["top"], ["base"]]
    assert [each.id for each in store.snapshots.chain(top)] == [base, top]
    found = store.snapshots.get(top)
    assert (found.parent, found.state, found.kind) == (base, "ready", "source.local")
    assert found.description == "write top"
    assert found.size >= 3
    assert store.snapshots.directory(top) == dirs[0]
    assert not (root / "snapshots" / str(top) / "work").exists()
    assert dirs[0].stat().st_mode & 0o777 == 0o755
    assert store.snapshots.chain(None) == ()
    assert store.snapshots.layer_dirs(None) == []


def test_nobody_else_on_the_machine_may_look_inside(store: Store, root: Path) -> None:
    """A root file system has set-user-id programs."""
    for name in ("snapshots", "content", "cachemounts", "trash"):
        assert (root / name).stat().st_mode & 0o077 == 0


def test_what_is_being_written_is_not_there_yet(store: Store) -> None:
    active = store.snapshots.prepare(None)
    assert store.snapshots.find(active.id) is None
    assert store.snapshots.all() == ()
    with pytest.raises(NotFound):
        store.snapshots.chain(active.id)
    with pytest.raises(NotFound):
        store.snapshots.prepare(active.id)
    store.snapshots.commit(active)
    assert store.snapshots.find(active.id) is not None


def test_a_discarded_change_leaves_nothing(store: Store, root: Path) -> None:
    active = store.snapshots.prepare(None)
    (active.fs / "file").touch()
    store.snapshots.discard(active)
    store.snapshots.discard(active)
    assert _directories(root) == []
    assert os.listdir(root / "trash") == []
    with pytest.raises(StoreError, match="is not being written"):
        store.snapshots.commit(active)


def test_a_committed_change_cannot_be_discarded(store: Store) -> None:
    active = store.snapshots.prepare(None)
    store.snapshots.commit(active, created=12.0, size=99)
    store.snapshots.discard(active)
    found = store.snapshots.get(active.id)
    assert (found.created, found.size) == (12.0, 99)


def test_a_killed_writer_leaves_nothing_after_the_next_start(root: Path) -> None:
    other_process(root, "active = store.snapshots.prepare(None)\n(active.fs / 'x').touch()\ndie()")
    assert len(_directories(root)) == 1
    store = Store.open(root)
    assert _directories(root) == []
    assert store.snapshots.all() == ()
    store.close()
    assert os.listdir(root / "sessions") == []


def test_a_living_writer_is_left_alone(root: Path) -> None:
    script = """
active = store.snapshots.prepare(None)
(active.fs / "file").write_text("x")
print(active.id, flush=True)
sys.stdin.readline()
store.snapshots.commit(active)
store.close()
"""
    with Partner(root, script) as partner:
        snapshot = int(partner.wait_for_line())
        store = Store.open(root)
        partner.finish()
    assert (store.snapshots.directory(snapshot) / "file").read_text() == "x"
    store.close()


def test_a_commit_survives_the_death_of_its_process(root: Path) -> None:
    other_process(
        root,
        """
active = store.snapshots.prepare(None)
(active.fs / "file").write_text("kept")
store.snapshots.commit(active)
die()
""",
    )
    store = Store.open(root)
    (found,) = store.snapshots.all()
    assert (store.snapshots.directory(found.id) / "file").read_text() == "kept"
    store.close()


def test_a_removal_that_was_killed_is_finished_later(root: Path) -> None:
    store = Store.open(root)
    snapshot = _write(store, None, "file")
    store.close()
    other_process(
        root,
        """
store.trash.put = lambda path: die()
store.snapshots.remove(store.snapshots.all()[0].id, lambda used: True)
""",
    )
    assert _directories(root) == [str(snapshot)]
    store = Store.open(root)
    assert _directories(root) == []
    assert store.snapshots.all() == ()
    store.close()


def test_trash_of_a_killed_process_is_emptied_later(root: Path) -> None:
    store = Store.open(root)
    _write(store, None, "file")
    store.close()
    other_process(
        root,
        """
store.trash.empty = lambda path: die()
store.snapshots.remove(store.snapshots.all()[0].id, lambda used: True)
""",
    )
    assert len(os.listdir(root / "trash")) == 1
    Store.open(root).close()
    assert os.listdir(root / "trash") == []


def test_what_others_stand_on_is_not_removed(store: Store, root: Path) -> None:
    base = _write(store, None, "base")
    top = _write(store, base, "top")
    assert store.snapshots.remove(base, _anything) is None
    writing = store.snapshots.prepare(top)
    assert store.snapshots.remove(top, _anything) is None, "somebody writes on top of it"
    store.snapshots.discard(writing)
    assert store.snapshots.remove(top, lambda _used: False) is None
    assert store.snapshots.remove(top, _anything) == []
    assert store.snapshots.remove(top, _anything) is None, "it is gone"
    assert store.snapshots.remove(base, _anything) == []
    assert _directories(root) == []


def test_removing_asks_with_the_last_use(store: Store) -> None:
    snapshot = _write(store, None, "file")
    asked: list[float] = []

    def refuse(used: float) -> bool:
        asked.append(used)
        return False

    assert store.snapshots.remove(snapshot, refuse) is None
    assert asked == [store.snapshots.get(snapshot).last_used]


# --- layers --------------------------------------------------------------------------------------


def test_an_images_layers_are_known_before_they_are_unpacked(store: Store, root: Path) -> None:
    base = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), ["example.com/a"])
    top = store.snapshots.define_layer(base.id, digest_of("2"), _layer("two"), ["example.com/a"])
    assert (base.state, top.state) == ("lazy", "lazy")
    assert top.chain_id == digests.chain(digest_of("1"), digest_of("2"))
    assert _directories(root) == []
    with pytest.raises(StoreError, match="is not unpacked"):
        store.snapshots.layer_dirs(top.id)
    (blob,) = store.snapshots.layers(top.id)
    assert blob.imported
    assert blob.descriptor == _layer("two")
    assert store.snapshots.sources(digest_of("two")) == ("example.com/a",)
    assert store.snapshots.find_chain([digest_of("1"), digest_of("2")]) == [base.id, top.id]
    assert store.snapshots.find_chain([digest_of("1"), digest_of("3")]) == [base.id]


def test_the_same_chain_is_the_same_snapshot(store: Store) -> None:
    first = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), ["a.example/x"])
    again = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), ["b.example/y"])
    assert again.id == first.id
    assert store.snapshots.sources(digest_of("one")) == ("a.example/x", "b.example/y")
    other = store.snapshots.define_layer(first.id, digest_of("1"), _layer("one"), [])
    assert other.id != first.id


def test_what_was_built_here_is_known_when_it_is_pulled(store: Store) -> None:
    built = _write(store, None, "file")
    store.snapshots.add_layer(built, "gzip", _layer("one"), digest_of("1"))
    found = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    assert found.id == built
    assert [blob.compression_key for blob in store.snapshots.layers(built)] == ["", "gzip"]


def test_chain_ids_settle_upwards_when_the_base_gets_its_layer(store: Store) -> None:
    base = _write(store, None, "base")
    top = _write(store, base, "top")
    store.snapshots.add_layer(top, "gzip", _layer("top"), digest_of("t"))
    assert store.snapshots.get(top).chain_id is None
    store.snapshots.add_layer(base, "gzip", _layer("base"), digest_of("b"))
    expected = digests.chain(digest_of("b"), digest_of("t"))
    assert store.snapshots.get(top).chain_id == expected


def test_an_altered_archive_gives_no_identity(store: Store) -> None:
    snapshot = _write(store, None, "file")
    store.snapshots.add_layer(snapshot, "gzip@0", _layer("x"), digest_of("x"), exact=False)
    assert store.snapshots.get(snapshot).diff_id is None
    with pytest.raises(NotFound):
        store.snapshots.add_layer(999, "gzip", _layer("x"), digest_of("x"))


def test_a_layer_is_unpacked_once(store: Store) -> None:
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    with store.snapshots.realize(lazy.id) as active:
        assert active is not None
        (active.fs / "file").write_text("unpacked")
    assert store.snapshots.get(lazy.id).state == "ready"
    assert (store.snapshots.layer_dirs(lazy.id)[0] / "file").read_text() == "unpacked"
    with store.snapshots.realize(lazy.id) as again:
        assert again is None
    with pytest.raises(NotFound), store.snapshots.realize(999):
        pass


def test_unpacking_that_fails_leaves_the_layer_as_it_was(store: Store, root: Path) -> None:
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    with pytest.raises(RuntimeError), store.snapshots.realize(lazy.id) as active:
        assert active is not None
        (active.fs / "half").touch()
        raise RuntimeError
    assert store.snapshots.get(lazy.id).state == "lazy"
    assert _directories(root) == []
    with store.snapshots.realize(lazy.id) as active:
        assert active is not None
        assert os.listdir(active.fs) == []


def test_one_unpacks_while_the_others_wait(store: Store) -> None:
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    unpacked: list[int] = []

    def unpack() -> None:
        with store.snapshots.realize(lazy.id) as active:
            if active is not None:
                (active.fs / "file").touch()
                unpacked.append(1)

    threads = [threading.Thread(target=unpack) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unpacked == [1]
    assert store.snapshots.get(lazy.id).state == "ready"


def test_waiting_for_anothers_unpacking_can_be_stopped(store: Store) -> None:
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    stop = Stop()
    stop.set()
    with (
        store.snapshots.realize(lazy.id),
        pytest.raises(Canceled),
        store.snapshots.realize(lazy.id, stop=stop),
    ):
        pass


def test_unpacking_that_was_killed_begins_anew(root: Path) -> None:
    store = Store.open(root)
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    store.close()
    other_process(
        root,
        """
with store.snapshots.realize(1) as active:
    (active.fs / "half").touch()
    die()
""",
    )
    store = Store.open(root)
    assert _directories(root) == []
    with store.snapshots.realize(lazy.id) as active:
        assert active is not None
        assert os.listdir(active.fs) == []
    assert store.snapshots.get(lazy.id).state == "ready"
    store.close()


def test_a_layer_that_is_being_unpacked_is_not_removed(store: Store) -> None:
    lazy = store.snapshots.define_layer(None, digest_of("1"), _layer("one"), [])
    with store.snapshots.realize(lazy.id):
        assert store.snapshots.remove(lazy.id, _anything) is None
    assert store.snapshots.remove(lazy.id, _anything) == [digest_of("one")]


def test_a_change_is_shown_on_another_parent_without_a_copy(store: Store, root: Path) -> None:
    first, second = _write(store, None, "a"), _write(store, None, "b")
    change = _write(store, first, "change")
    store.snapshots.add_layer(change, "gzip", _layer("c"), digest_of("c"))
    shared = store.snapshots.share(second, change)
    assert shared.id != change
    assert [path.name for path in store.snapshots.layer_dirs(shared.id)] == ["fs", "fs"]
    assert store.snapshots.directory(shared.id) == store.snapshots.directory(change)
    assert store.snapshots.share(second, change).id == shared.id
    assert store.snapshots.share(first, change).id == change
    assert [b.descriptor for b in store.snapshots.layers(shared.id)] == [_layer("c")]
    assert store.snapshots.remove(change, _anything) == [digest_of("c")]
    assert (store.snapshots.directory(shared.id) / "change").exists(), "still shown elsewhere"
    assert store.snapshots.remove(shared.id, _anything) == [digest_of("c")]
    assert str(change) not in _directories(root)


# --- uses ----------------------------------------------------------------------------------------


def test_a_use_under_a_lease_is_noted(store: Store) -> None:
    snapshot = _write(store, None, "file")
    before = store.snapshots.get(snapshot)
    with store.leases.hold() as lease:
        assert store.snapshots.use([snapshot])
        noted = store.snapshots.get(snapshot)
        assert noted.last_used >= lease.started > before.last_used
        assert noted.uses == before.uses + 1
        assert store.snapshots.use([snapshot])
        assert store.snapshots.get(snapshot) == noted, "once is enough for a build"
    assert not store.snapshots.use([snapshot, 999])


def test_places_of_blobs_that_are_gone_are_forgotten(store: Store) -> None:
    store.snapshots.define_layer(None, digest_of("1"), _layer("one"), ["a.example/x"])
    store.snapshots.add_sources([digest_of("here"), digest_of("gone")], ["a.example/x"])
    store.snapshots.forget_sources(lambda digest: digest == digest_of("here"))
    assert store.snapshots.sources(digest_of("one")) == ("a.example/x",)
    assert store.snapshots.sources(digest_of("here")) == ("a.example/x",)
    assert store.snapshots.sources(digest_of("gone")) == ()
