"""Trees that come from containers: measured and taken away without being followed anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner

from viaduct.base.errors import StoreError
from viaduct.store.directories import Trash, delete_tree, disk_usage
from viaduct.store.liveness import Session
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[Trash]:
    for name in ("trash", "sessions"):
        (tmp_path / name).mkdir()
    session = Session(tmp_path / "sessions")
    yield Trash(tmp_path / "trash", session)
    session.close()


def _deep(path: Path, levels: int) -> None:
    """Directories nested deeper than any path may be long."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("directory-with-a-long-name", dir_fd=fd)
        inner = os.open("directory-with-a-long-name", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_blocks_count_and_hard_links_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "file").write_bytes(b"x" * 100_000)
    once = disk_usage(tree)
    os.link(tree / "file", tree / "inner" / "again")
    assert disk_usage(tree) == once
    assert 100_000 <= once < 200_000
    with (tree / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    assert disk_usage(tree) < 200_000
    (tree / "elsewhere").symlink_to("/usr")
    (tree / "nowhere").symlink_to("/nonexistent")
    assert disk_usage(tree) < 200_000


def test_a_tree_goes_with_everything_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "file").touch()
    (tree / "link").symlink_to(outside)
    (tree / "closed" / "loop").symlink_to("..")
    os.mkfifo(tree / "pipe")
    os.link(outside / "kept", tree / "hard")
    (tree / "closed" / "inner").chmod(0o500)
    (tree / "closed").chmod(0o000)
    assert delete_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_tree_may_be_deeper_than_paths_are_long(tmp_path: Path) -> None:
    _deep(tmp_path / "tree", 1_000)
    assert disk_usage(tmp_path / "tree") >= 0
    assert delete_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    assert delete_tree(tmp_path / "nothing")


def test_several_may_delete_one_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(200):
        (tree / str(number % 20)).mkdir(parents=True, exist_ok=True)
        (tree / str(number % 20) / str(number)).touch()
    threads = [threading.Thread(target=delete_tree, args=(tree,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not tree.exists()


def test_what_is_mounted_inside_is_somebody_elses(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "mounted").mkdir(parents=True)
    (tree / "file").touch()
    (tmp_path / "delete.py").write_text(
        "from pathlib import Path\n"
        "from viaduct.store.directories import delete_tree\n"
        "print(delete_tree(Path('tree').absolute()))\n"
    )
    script = (
        "mount -t tmpfs tmpfs tree/mounted && touch tree/mounted/kept && "
        '"$1" delete.py && ls tree/mounted'
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["False", "kept"], done.stderr


# --- trash ---------------------------------------------------------------------------------------


def test_what_is_thrown_away_is_gone_at_once(trash: Trash, tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    put = trash.put(tmp_path / "tree")
    assert put is not None
    assert not (tmp_path / "tree").exists()
    trash.sweep()
    assert put.exists(), "its thrower lives and will see to it"
    trash.empty(put)
    assert os.listdir(tmp_path / "trash") == []
    assert trash.put(tmp_path / "tree") is None
    trash.throw(tmp_path / "tree")
    trash.empty(None)


def test_the_trash_of_the_dead_is_emptied_by_the_living(trash: Trash, tmp_path: Path) -> None:
    (tmp_path / "trash" / "no-such-session.1" / "inner").mkdir(parents=True)
    trash.sweep()
    assert os.listdir(tmp_path / "trash") == []


def test_what_resists_is_set_aside_and_tried_again(
    trash: Trash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rootless, outside of the namespaces, with files of other ids."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", _refuse)
        trash.throw(tmp_path / "tree")
    (stuck,) = os.listdir(tmp_path / "trash")
    assert stuck.startswith("stuck.")
    trash.sweep()
    assert os.listdir(tmp_path / "trash") == [stuck], "not at every start"
    trash.retry()
    assert os.listdir(tmp_path / "trash") == []


def _refuse(*_arguments: object, **_options: object) -> None:
    raise PermissionError


# --- the root ------------------------------------------------------------------------------------


def test_nobody_else_reads_state_in_a_directory_that_everybody_may_enter(root: Path) -> None:
    root.mkdir(mode=0o755)
    (root / "git").mkdir(mode=0o755)
    store = Store.open(root)
    exposed = [path.name for path in root.iterdir() if path.stat().st_mode & 0o077]
    store.close()
    assert exposed == []
    (root / "viaduct.db").chmod(0o644)
    Store.open(root).close()
    assert (root / "viaduct.db").stat().st_mode & 0o777 == 0o600


def test_a_store_opens_where_nothing_was_and_where_much_is(root: Path) -> None:
    Store.open(root).close()
    assert root.stat().st_mode & 0o777 == 0o700
    (root / "snapshots").chmod(0o755)
    Store.open(root).close()
    assert (root / "snapshots").stat().st_mode & 0o777 == 0o700
    assert (root / "ballast").stat().st_size > 0
    with Partner(root, "print('open', flush=True)\nsys.stdin.readline()") as partner:
        assert partner.wait_for_line() == "open"
        Store.open(root).close()
        partner.finish()


def test_what_only_a_lost_database_knew_is_cleared_away(root: Path) -> None:
    """As its error says: move it away, and everything is built again."""
    store = Store.open(root)
    for number in range(3):
        active = store.snapshots.prepare(None)
        (active.fs / "file").write_text(str(number))
        store.snapshots.commit(active)
    with store.cache_mounts.acquire("id", "linux/amd64", "shared") as mount:
        (mount.path / "cached").touch()
    store.close()
    for path in root.glob("viaduct.db*"):
        path.unlink()
    store = Store.open(root)
    assert [*(root / "snapshots").iterdir(), *(root / "cachemounts").iterdir()] == []
    assert os.listdir(root / "trash") == []
    store.snapshots.commit(store.snapshots.prepare(None))
    with store.cache_mounts.acquire("id", "linux/amd64", "shared") as mount:
        assert mount.fresh
    store.close()


def test_a_new_state_has_its_ballast_before_anything_can_fill_the_disk(root: Path) -> None:
    store = Store.open(root)
    assert (root / "ballast").exists()
    store.close()


def test_the_ballast_goes_only_when_room_is_short(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(root).close()
    Store.open(root, freeing=True).close()
    assert (root / "ballast").exists()
    real = os.statvfs

    def full(path: Path) -> os.statvfs_result:
        values = list(real(path))
        values[4] = 0  # f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", full)
    Store.open(root).close()
    assert (root / "ballast").exists(), "others must leave it to those who make room"
    Store.open(root, freeing=True).close()
    assert not (root / "ballast").exists()
    monkeypatch.undo()
    Store.open(root).close()
    assert (root / "ballast").exists()


@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o777])
def test_a_directory_that_others_have_prepared_is_not_used(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """A link in it would have us close a directory of the machine to everybody."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    root.mkdir()
    root.chmod(mode)
    (root / "content").symlink_to(victim)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreError, match="content belongs to another user"):
        Store.open(root)
    assert victim.stat().st_mode & 0o777 == 0o755


def test_a_volume_that_is_open_to_all_is_used_while_all_in_it_is_ours(root: Path) -> None:
    """As Kubernetes has them; a new one of ext4 is not quite empty."""
    root.mkdir()
    root.chmod(0o777)
    (root / "lost+found").mkdir()
    for _ in range(2):
        Store.open(root).close()
    assert (root / "content").stat().st_mode & 0o777 == 0o700
