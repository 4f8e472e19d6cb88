"""Complete directories that stand for snapshots: which one is taken, and what becomes of it."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import StoreError
from viaduct.base.tasks import Stop
from viaduct.ops import checkouts
from viaduct.ops.checkouts import Checkouts
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("as_root")


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[tuple[Store, Checkouts]]:
    """A store, and checkouts of its snapshots, of which nothing is left in the end."""
    store = Store.open(root)
    finished = {path.name for path in (root / "snapshots").iterdir()}
    pool = Checkouts(store.snapshots, lambda: root)
    try:
        yield store, pool
    finally:
        pool.close()
        finished |= {str(snapshot.id) for snapshot in store.snapshots.all()}
        assert {path.name for path in (root / "snapshots").iterdir()} == finished
        store.close()


def _step(store: Store, pool: Checkouts, base: int, name: str) -> tuple[int, Path]:
    """A step that makes a file; its snapshot, and where it worked."""
    active = store.snapshots.prepare(base)
    with pool.change(base, active, Stop()) as canvas:
        (canvas.path / name).touch()
        canvas.finish()
        assert os.listdir(active.fs) == [name]
        store.snapshots.commit(active)
    return active.id, canvas.path


def _base(store: Store) -> int:
    active = store.snapshots.prepare(None)
    (active.fs / "base").touch()
    return store.snapshots.commit(active).id


def test_a_chain_of_steps_works_in_one_directory(tmp_path: Path) -> None:
    with _opened(tmp_path) as (store, pool):
        base = _base(store)
        first, place = _step(store, pool, base, "one")
        second, again = _step(store, pool, first, "two")
        assert place == again
        assert sorted(os.listdir(place)) == ["base", "one", "two"]
        _, branch = _step(store, pool, first, "other")
        assert branch != place
        assert sorted(os.listdir(branch)) == ["base", "one", "other"]
        _, nearest = _step(store, pool, second, "three")
        assert nearest == place


def test_a_failed_step_takes_its_directory_along(tmp_path: Path) -> None:
    with _opened(tmp_path) as (store, pool):
        base = _base(store)
        active = store.snapshots.prepare(base)
        with (
            pytest.raises(ZeroDivisionError),
            pool.change(base, active, Stop()) as canvas,
        ):
            (canvas.path / "half").touch()
            raise ZeroDivisionError
        assert not canvas.path.exists()
        store.snapshots.discard(active)
        _, place = _step(store, pool, base, "one")
        assert sorted(os.listdir(place)) == ["base", "one"]


def test_a_full_disk_is_told_and_nothing_of_the_copy_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with _opened(tmp_path) as (store, pool):
        base = _base(store)
        monkeypatch.setattr(checkouts, "replay", fill)
        with (
            pytest.raises(StoreError, match="no space left on device while copying a root file"),
            pool.view(base, Stop()),
        ):
            pass
