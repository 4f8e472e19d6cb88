"""Killing a process that does everything at once: what is left is whole, and repaired."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from tests.parts.stores import Partner

from viaduct.oci import digest as digests
from viaduct.store import gc, usage
from viaduct.store.keep import Rule
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

_WORK = """
import itertools, random, threading
from tests.parts.stores import put_image, put_index
from viaduct.store import gc
from viaduct.store.keep import Rule

def images():
    for number in itertools.count():
        with store.leases.hold():
            made = put_image(store.content, b"layer %d" % (number % 7), os.urandom(50_000))
            store.images.tag(f"example.com/app:{number % 5}", put_index(store.content, made))

def steps():
    parent = None
    for number in itertools.count():
        with store.leases.hold():
            try:
                active = store.snapshots.prepare(parent if number % 4 else None)
                (active.fs / "file").write_bytes(bytes(20_000))
                parent = store.snapshots.commit(active).id
                store.records.save(f"key {number % 50}", [str(parent)])
            except Exception:
                parent = None

def mounts():
    for number in itertools.count():
        with store.cache_mounts.acquire(f"cache {number % 3}", "", "shared") as mount:
            (mount.path / str(number)).write_text("x")

def collections():
    while True:
        list(gc.collect(store, [Rule(all=True)]))

for work in (images, steps, mounts, collections):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


def test_whatever_a_killed_process_was_doing_the_store_is_sound(root: Path) -> None:
    chance = random.Random(5)
    for _ in range(6):
        with Partner(root, _WORK) as one, Partner(root, _WORK) as two:
            assert one.wait_for_line() == "ready"
            assert two.wait_for_line() == "ready"
            one.pause(chance.uniform(0.05, 0.3))
            one.kill()
            two.pause(chance.uniform(0.0, 0.1))
            two.kill()
        _check(root)


def _check(root: Path) -> None:
    store = Store.open(root)
    # What names lead to is here, and what it says it is.
    for image in store.images.list():
        for digest in store.images.reachable([image.descriptor]):
            assert store.content.exists(digest), image.name
    for blob in store.content.walk():
        assert digests.of(store.content.path(blob.digest).read_bytes()) == blob.digest
    assert os.listdir(root / "content/ingest") == []
    # Every row has its directory, and every directory a row.
    rows = {str(each.directory) for each in store.snapshots.all() if each.state == "ready"}
    assert set(os.listdir(root / "snapshots")) == rows
    assert os.listdir(root / "trash") == []
    assert store.leases.oldest() is None
    for mount in store.cache_mounts.list():
        assert not store.cache_mounts.busy(mount.name)
    with store.database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    # And it can all be taken away.
    list(gc.collect(store, [Rule(all=True)]))
    assert usage.usage(store) == ()
    assert os.listdir(root / "snapshots") == []
    store.close()
