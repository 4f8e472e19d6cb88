"""Cache mounts: who may use one at the same time as others, and what a killed user leaves."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner, other_process

from viaduct.base.errors import Canceled, StoreError
from viaduct.base.tasks import Stop
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cache_is_kept_for_its_id_and_platform(store: Store) -> None:
    with store.cache_mounts.acquire("apt", "linux/amd64", "shared") as mount:
        assert mount.fresh
        (mount.path / "file").write_text("kept")
    with store.cache_mounts.acquire("apt", "linux/amd64", "locked") as mount:
        assert not mount.fresh
        assert (mount.path / "file").read_text() == "kept"
    with store.cache_mounts.acquire("apt", "linux/arm64", "shared") as mount:
        assert mount.fresh
    listed = {(each.id, each.platform): each for each in store.cache_mounts.list()}
    assert set(listed) == {("apt", "linux/amd64"), ("apt", "linux/arm64")}
    assert listed["apt", "linux/amd64"].uses == 2
    assert listed["apt", "linux/amd64"].size > listed["apt", "linux/arm64"].size


def test_users_share_a_cache_that_its_first_user_has_filled(store: Store) -> None:
    entered = threading.Event()
    seen: list[bool] = []

    def second() -> None:
        with store.cache_mounts.acquire("c", "", "shared") as mount:
            seen.append((mount.path / "seed").exists())
            entered.set()

    with store.cache_mounts.acquire("c", "", "shared") as mount:
        thread = threading.Thread(target=second)
        thread.start()
        (mount.path / "seed").touch()
        mount.seeded()
        assert entered.wait(30), "it comes in while the first is still there"
    thread.join()
    assert seen == [True]


def test_users_of_a_locked_cache_take_turns(store: Store) -> None:
    stop = Stop()
    with store.cache_mounts.acquire("c", "", "locked"):
        timer = threading.Timer(0.05, stop.set)
        timer.start()
        with pytest.raises(Canceled), store.cache_mounts.acquire("c", "", "locked", stop):
            pass
        timer.join()
    with store.cache_mounts.acquire("c", "", "locked", Stop()) as mount:
        assert not mount.fresh


def test_a_private_cache_is_another_one_while_the_first_is_busy(store: Store) -> None:
    with (
        store.cache_mounts.acquire("c", "", "private") as first,
        store.cache_mounts.acquire("c", "", "private") as second,
    ):
        assert first.path != second.path
    with store.cache_mounts.acquire("c", "", "private") as again:
        assert again.path == first.path
        assert not again.fresh


def test_an_unknown_kind_of_sharing_is_refused(store: Store) -> None:
    caches = store.cache_mounts
    with pytest.raises(StoreError, match="cannot be 'often'"), caches.acquire("c", "", "often"):
        pass


def test_what_a_killed_first_user_left_half_done_is_not_used(root: Path) -> None:
    other_process(
        root,
        """
with store.cache_mounts.acquire("c", "", "shared") as mount:
    (mount.path / "half").touch()
    die()
""",
    )
    store = Store.open(root)
    with store.cache_mounts.acquire("c", "", "shared") as mount:
        assert mount.fresh
        assert os.listdir(mount.path) == []
    store.close()


def test_a_filled_cache_survives_a_killed_user(root: Path) -> None:
    script = """
with store.cache_mounts.acquire("c", "", "shared") as mount:
    (mount.path / "kept").touch()
    mount.seeded()
    die()
"""
    other_process(root, script)
    store = Store.open(root)
    with store.cache_mounts.acquire("c", "", "shared") as mount:
        assert os.listdir(mount.path) == ["kept"]
    store.close()


def test_a_cache_in_use_is_not_removed(root: Path) -> None:
    script = """
with store.cache_mounts.acquire("c", "", "shared") as mount:
    mount.seeded()
    print("ready", flush=True)
    sys.stdin.readline()
"""
    store = Store.open(root)
    with Partner(root, script) as partner:
        partner.wait_for_line()
        (cache,) = store.cache_mounts.list()
        assert store.cache_mounts.busy(cache.name)
        assert not store.cache_mounts.remove(cache.name, lambda _used: True)
        partner.finish()
    assert not store.cache_mounts.busy(cache.name)
    assert not store.cache_mounts.remove(cache.name, lambda _used: False)
    assert store.cache_mounts.remove(cache.name, lambda _used: True)
    assert not store.cache_mounts.remove(cache.name, lambda _used: True)
    assert store.cache_mounts.list() == ()
    assert os.listdir(root / "cachemounts") == []
    store.close()
