"""Collecting garbage in a real store, beside others who use it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner, digest_of, other_process, put_image, put_index

from viaduct.base.errors import Canceled
from viaduct.base.tasks import Stop
from viaduct.oci import digest as digests
from viaduct.oci import media
from viaduct.oci.models import Descriptor
from viaduct.store import gc, usage
from viaduct.store.keep import Filter, Limits, Record, Rule
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.parts.stores import Image

    from viaduct.store.keep import Stock

ALL = Rule(all=True)


def _step(store: Store, parent: int | None, text: str, *, kind: str = "regular") -> int:
    """A step's result, as the solver remembers it."""
    active = store.snapshots.prepare(parent, description=f"RUN {text}", kind=kind)
    (active.fs / "file").write_text(text * 10_000)
    snapshot = store.snapshots.commit(active).id
    store.records.save(f"key of {text}", [str(snapshot)])
    return snapshot


def _define(store: Store, image: Image) -> list[int]:
    """The image's layers as lazy snapshots."""
    found: list[int] = []
    for layer, diff_id in zip(image.layers, image.diff_ids, strict=True):
        below = found[-1] if found else None
        found.append(store.snapshots.define_layer(below, diff_id, layer, ()).id)
    return found


def _unpack(store: Store, snapshot: int) -> None:
    with store.snapshots.realize(snapshot) as active:
        assert active is not None
        (active.fs / "file").write_text("unpacked")


def _collect(store: Store, rule: Rule) -> list[str]:
    return [record.id for record in gc.collect(store, [rule])]


def _blobs(store: Store) -> set[str]:
    return {blob.digest for blob in store.content.walk()}


def _record(store: Store, name: object) -> Record:
    (found,) = [each for each in usage.usage(store) if each.id == str(name)]
    return found


# --- what there is -------------------------------------------------------------------------------


def test_every_record_tells_what_it_is(store: Store) -> None:
    base = _step(store, None, "base")
    top = _step(store, base, "top", kind="source.local")
    with store.cache_mounts.acquire("apt", "linux/arm64", "shared") as mount:
        (mount.path / "file").write_text("x" * 10_000)
    found = _record(store, top)
    assert (found.type, found.parents, found.description) == (
        "source.local",
        (str(base),),
        "RUN top",
    )
    assert (found.shared, found.in_use, found.mutable) == (False, False, False)
    assert found.size >= 30_000
    (cache,) = [each for each in usage.usage(store) if each.type == "exec.cachemount"]
    assert cache.description == "cache mount apt for linux/arm64"
    assert cache.mutable
    assert cache.size >= 10_000
    sizes = [each.size for each in usage.usage(store)]
    assert sizes == sorted(sizes)


def test_what_a_tagged_image_has_as_well_is_shared(store: Store) -> None:
    base = _step(store, None, "base")
    top = _step(store, base, "top")
    image = put_image(store.content, b"layer" * 1000)
    (layer,) = image.layers
    store.snapshots.add_layer(top, "gzip", layer, image.diff_ids[0])
    before = _record(store, top).size
    assert not _record(store, base).shared
    store.images.tag("example.com/app:1", image.descriptor)
    assert _record(store, top).shared
    assert _record(store, base).shared, "it stands on this one"
    assert _record(store, top).size == before - layer.size, "the blob stays with the image"


def test_content_of_no_image_is_listed_and_its_documents_together(store: Store) -> None:
    image = put_image(store.content, b"layer")
    by_id = {record.id: record for record in usage.usage(store)}
    assert set(by_id) == {image.layers[0].digest, "documents"}
    assert by_id["documents"].type == "internal"
    assert by_id["documents"].size == image.config.size + image.descriptor.size
    assert by_id["documents"].description.startswith("2 manifests and configurations")


def test_what_a_running_build_used_is_in_use_with_all_below(store: Store) -> None:
    base = _step(store, None, "base")
    top = _step(store, base, "top")
    other = _step(store, None, "other")
    with store.leases.hold():
        store.records.lookup("key of top")
        assert _record(store, top).in_use
        assert _record(store, base).in_use
        assert not _record(store, other).in_use


# --- collecting ----------------------------------------------------------------------------------


def test_everything_goes_when_all_may_go(store: Store, root: Path) -> None:
    base = _step(store, None, "base")
    _step(store, base, "top")
    image = put_image(store.content, b"layer")
    _unpack(store, _define(store, image)[0])
    with store.cache_mounts.acquire("apt", "", "shared"):
        pass
    _collect(store, ALL)
    assert usage.usage(store) == ()
    assert _blobs(store) == set()
    for name in ("snapshots", "cachemounts", "trash", "content/ingest"):
        assert os.listdir(root / name) == []
    assert store.records.lookup("key of top") is None


def test_freed_bytes_are_told_with_what_went(store: Store) -> None:
    snapshot = _step(store, None, "step")
    size = _record(store, snapshot).size
    (gone,) = gc.collect(store, [ALL])
    assert (gone.id, gone.size) == (str(snapshot), size)


def test_what_a_name_leads_to_stays(store: Store) -> None:
    amd64 = put_image(store.content, b"amd64")
    arm64 = put_image(store.content, b"arm64", platform="linux/arm64")
    index = put_index(store.content, amd64, arm64)
    store.images.tag("example.com/app:1", index)
    _unpack(store, _define(store, amd64)[0])
    _collect(store, ALL)
    assert _blobs(store) == {index.digest, *amd64.blobs, *arm64.blobs}
    assert usage.usage(store) == ()
    again = _define(store, amd64)
    assert store.snapshots.get(again[0]).state == "lazy", "unpacked again when it is needed"


def test_layers_that_two_images_share_stay_with_the_other(store: Store) -> None:
    first = put_image(store.content, b"shared", b"first")
    second = put_image(store.content, b"shared", b"second")
    store.images.tag("example.com/app:2", second.descriptor)
    _collect(store, ALL)
    assert _blobs(store) == second.blobs
    assert first.layers[0].digest in second.blobs


def test_what_a_running_build_used_stays(store: Store) -> None:
    base = _step(store, None, "base")
    top = _step(store, base, "top")
    _step(store, None, "unused")
    image = put_image(store.content, b"layer")
    with store.leases.hold():
        store.records.lookup("key of top")
        assert store.content.has(image.layers[0].digest)
        _collect(store, ALL)
        assert [each.id for each in store.snapshots.all()] == [base, top]
        assert _blobs(store) == {image.layers[0].digest}
    _collect(store, ALL)
    assert store.snapshots.all() == ()
    assert _blobs(store) == set()


def test_what_a_build_made_since_it_began_stays(store: Store) -> None:
    with store.leases.hold():
        snapshot = _step(store, None, "new")
        digest, _ = store.content.put(b"new")
        with store.cache_mounts.acquire("new", "", "shared"):
            pass
        _collect(store, ALL)
        assert store.snapshots.find(snapshot) is not None
        assert store.content.exists(digest)
        assert len(store.cache_mounts.list()) == 1


def test_filters_choose_what_goes(store: Store) -> None:
    _step(store, None, "regular")
    context = _step(store, None, "context", kind="source.local")
    rule = Rule(filters=((Filter("type", "=", "source.local"),),))
    assert _collect(store, rule) == [str(context)]


def test_a_limit_keeps_what_was_used_last(store: Store) -> None:
    first, second = _step(store, None, "first"), _step(store, None, "other")
    with store.leases.hold():
        store.records.lookup("key of first")
    limit = _record(store, first).size + 1000
    assert _collect(store, Rule(limits=Limits(max_used=limit))) == [str(second)]


def test_a_collection_can_be_stopped(store: Store) -> None:
    _step(store, None, "step")
    stop = Stop()
    stop.set()
    with pytest.raises(Canceled):
        list(gc.collect(store, [ALL], stop=stop))
    assert len(store.snapshots.all()) == 1


def test_a_cache_mount_in_use_stays(root: Path) -> None:
    script = """
with store.cache_mounts.acquire("apt", "", "shared") as mount:
    print("ready", flush=True)
    sys.stdin.readline()
"""
    store = Store.open(root)
    with Partner(root, script) as partner:
        partner.wait_for_line()
        assert [each.in_use for each in usage.usage(store)] == [True]
        assert _collect(store, ALL) == []
        partner.finish()
    assert len(_collect(store, ALL)) == 1
    store.close()


# --- races ---------------------------------------------------------------------------------------


def test_a_build_that_begins_meanwhile_keeps_what_it_uses(store: Store) -> None:
    """Its lease is younger than the collector's look at the store."""
    snapshot = _step(store, None, "step")
    image = put_image(store.content, b"layer")
    collection = gc.collect(store, [Rule(filters=((Filter("id", "=", "nothing"),),)), ALL])
    known = usage.stock(store)
    assert {record.id for record in known.records()} >= {str(snapshot)}
    with store.leases.hold():
        store.records.lookup("key of step")
        assert all(store.content.has(digest) for digest in image.blobs)
        assert list(collection) == []
        assert store.snapshots.find(snapshot) is not None
        assert _blobs(store) == image.blobs


def test_an_image_that_is_named_meanwhile_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the store and the removal of blobs."""
    image = put_image(store.content, b"layer")
    look = usage.stock

    def look_and_be_late(store: Store, hoards: Sequence[usage.Hoard]) -> Stock:
        found = look(store, hoards)
        store.images.tag("example.com/app:1", image.descriptor)
        return found

    monkeypatch.setattr(usage, "stock", look_and_be_late)
    _collect(store, ALL)
    assert _blobs(store) == image.blobs


def test_nothing_is_stored_while_a_collector_removes(root: Path) -> None:
    """It might be the very blob that is about to go."""
    store = Store.open(root)
    script = """
print("ready", flush=True)
with store.leases.hold():
    store.content.put(b"the same")
    print("stored", flush=True)
    sys.stdin.readline()
"""
    digest = digests.of(b"the same")
    with Partner(root, script) as partner:
        with store.content.pinned(exclusive=True):
            assert partner.wait_for_line() == "ready"
            assert not store.content.exists(digest)
        assert partner.wait_for_line() == "stored"
        _collect(store, ALL)
        assert store.content.exists(digest), "a running build stored it"
        partner.finish()
    store.close()


def test_collections_at_the_same_time_share_the_work(root: Path) -> None:
    store = Store.open(root)
    for number in range(30):
        _step(store, None, f"step {number}")
    script = """
from viaduct.store import gc
from viaduct.store.keep import Rule
print("ready", flush=True)
sys.stdin.readline()
list(gc.collect(store, [Rule(all=True)]))
"""
    with Partner(root, script) as one, Partner(root, script) as two:
        for partner in (one, two):
            assert partner.wait_for_line() == "ready"
        one.release()
        two.release()
        _collect(store, ALL)
        one.finish()
        two.finish()
    assert store.snapshots.all() == ()
    assert os.listdir(root / "snapshots") == []
    store.close()


@pytest.mark.parametrize("at", ["remove", "flush", "delete"])
def test_a_killed_collection_leaves_a_sound_store(root: Path, at: str) -> None:
    store = Store.open(root)
    image = put_image(store.content, b"tagged")
    store.images.tag("example.com/app:1", image.descriptor)
    for number in range(3):
        loose = put_image(store.content, str(number).encode())
        _unpack(store, _define(store, loose)[0])
    store.close()
    other_process(
        root,
        """
from viaduct.store import gc
from viaduct.store.keep import Rule
calls = []
def second(action):
    def call(*arguments):
        calls.append(1)
        return die() if len(calls) == 2 else action(*arguments)
    return call
match sys.argv[2]:
    case "remove":
        store.snapshots._bury = second(store.snapshots._bury)
    case "flush":
        gc._Remover.flush = lambda *_: die()
    case "delete":
        store.content.delete = second(store.content.delete)
list(gc.collect(store, [Rule(all=True)]))
""",
        at,
    )
    store = Store.open(root)
    assert image.blobs <= _blobs(store)
    for digest in _blobs(store):
        store.content.read(digests.parse(digest))
    _collect(store, ALL)
    assert _blobs(store) == image.blobs
    assert os.listdir(root / "snapshots") == []
    store.close()


# --- releasing an image --------------------------------------------------------------------------


def test_an_image_without_a_name_frees_what_only_it_needed(store: Store) -> None:
    first = put_image(store.content, b"shared", b"first")
    second = put_image(store.content, b"shared", b"second")
    store.images.tag("example.com/app:2", second.descriptor)
    deleted = gc.release(store, first.descriptor)
    assert set(deleted) == first.blobs - second.blobs
    assert _blobs(store) == second.blobs


def test_an_image_with_another_name_stays(store: Store) -> None:
    image = put_image(store.content, b"layer")
    store.images.tag("example.com/app:1", image.descriptor)
    assert gc.release(store, image.descriptor) == ()
    assert _blobs(store) == image.blobs


def test_layers_that_were_unpacked_only_to_run_go_too(store: Store, root: Path) -> None:
    image = put_image(store.content, b"one", b"two")
    for snapshot in _define(store, image):
        _unpack(store, snapshot)
    assert set(gc.release(store, image.descriptor)) == image.blobs
    assert os.listdir(root / "snapshots") == []


def test_layers_that_a_build_knows_stay(store: Store) -> None:
    image = put_image(store.content, b"one", b"two")
    first, second = _define(store, image)
    store.records.save("FROM app", [str(first)])
    deleted = gc.release(store, image.descriptor)
    assert store.snapshots.find(second) is None
    assert store.snapshots.find(first) is not None
    assert set(deleted) == image.blobs - {image.layers[0].digest}


# --- housekeeping --------------------------------------------------------------------------------


def test_a_quick_look_tells_when_a_collection_is_due(store: Store) -> None:
    limits = Limits(max_used=100_000)
    assert not gc.is_due(store, limits)
    _step(store, None, "x")
    assert not gc.is_due(store, limits)
    for number in range(8):
        _step(store, None, f"{number}")
    assert gc.is_due(store, limits)
    assert not gc.is_due(store, Limits())
    assert gc.is_due(store, Limits(min_free=1 << 60))
    assert not gc.is_due(store, Limits(min_free=1 << 60, reserved=1 << 40))


def test_places_of_blobs_are_forgotten_with_them(store: Store) -> None:
    layer = Descriptor(media_type=media.OCI_LAYER, digest=digest_of("l"), size=1)
    store.snapshots.define_layer(None, digest_of("l"), layer, ["example.com/app:1"])
    assert store.snapshots.sources(layer.digest) == ("example.com/app:1",)
    _collect(store, ALL)
    assert store.snapshots.sources(layer.digest) == ()
