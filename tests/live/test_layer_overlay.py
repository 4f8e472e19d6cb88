"""Layers against the real overlayfs, inside of a user namespace as builds have it.

Each test starts this file again, as root of a fresh user and mount namespace; the functions named
`in_namespace_…` run there.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer import tree
from viaduct.layer.apply import apply
from viaduct.layer.compress import Compression
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.extract import extract
from viaduct.layer.pack import pack
from viaduct.layer.tar_reader import TarReader
from viaduct.layer.tar_writer import TarWriter

pytestmark = pytest.mark.live

SCENARIOS = (
    "deletions_and_replacements_become_markers",
    "a_step_that_changes_nothing_makes_an_empty_layer",
    "random_changes_come_back_through_a_layer",
    "file_capabilities_and_set_id_bits_come_back",
    "owners_come_back",
    "an_owner_without_an_id_here_is_explained",
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_a_user_namespace(tmp_path: Path, scenario: str) -> None:
    # Owners need ids to be given to: real root has all, anybody else has sub-ids.
    user = ["--user", "--map-root-user"]
    if scenario == "owners_come_back":
        user = [] if os.geteuid() == 0 else [*user, "--map-auto"]
    done = subprocess.run(
        ["unshare", *user, "--mount", sys.executable, __file__, scenario],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# --- in the namespace ----------------------------------------------------------------------------


class Stack:
    """A lower directory and an upper one, merged by overlayfs."""

    def __init__(self, name: str = "stack", lower: Path | None = None) -> None:
        self.lower = lower or Path(name, "lower").absolute()
        self.upper = Path(name, "upper").absolute()
        self.merged = Path(name, "merged").absolute()
        self._work = Path(name, "work").absolute()
        for directory in (self.lower, self.upper, self.merged, self._work):
            directory.mkdir(parents=True, exist_ok=True)

    def mount(self) -> Path:
        options = f"userxattr,lowerdir={self.lower},upperdir={self.upper},workdir={self._work}"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, self.merged], check=True
        )
        return self.merged

    def unmount(self) -> None:
        subprocess.run(["umount", self.merged], check=True)

    def packed(self) -> bytes:
        out = io.BytesIO()
        pack(self.upper, out, Compression("uncompressed"), lower=[self.lower])
        return out.getvalue()

    def names(self) -> list[str]:
        return [entry.name.decode() for entry in TarReader([self.packed()])]


def snapshot(root: Path) -> list[tuple[object, ...]]:
    """Everything about a tree that a layer is to carry, hard links by their first name."""
    first: dict[int, str] = {}
    found: list[tuple[object, ...]] = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        attributes: object = None
        if kind == stat.S_IFREG:
            content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            attributes = sorted((key, os.getxattr(path, key)) for key in os.listxattr(path))
        time = None if kind == stat.S_IFDIR else int(status.st_mtime)
        linked = first.setdefault(status.st_ino, name) if kind != stat.S_IFDIR else name
        found.append((name, status.st_mode, time, content, attributes, linked))
    return found


def in_namespace_deletions_and_replacements_become_markers() -> None:
    stack = Stack()
    for name in ("file", "dir/old", "dir/sub/old", "emptied/old", "to-file/x", "to-dir", "moved/x"):
        (stack.lower / name).parent.mkdir(parents=True, exist_ok=True)
        (stack.lower / name).write_text(name)
    merged = stack.mount()
    (merged / "file").unlink()
    shutil.rmtree(merged / "dir")
    (merged / "dir").mkdir()
    (merged / "dir" / "new").touch()
    (merged / "emptied" / "old").unlink()
    shutil.rmtree(merged / "to-file")
    (merged / "to-file").touch()
    (merged / "to-dir").unlink()
    (merged / "to-dir").mkdir()
    (merged / "short-lived").touch()
    (merged / "short-lived").unlink()
    stack.unmount()
    assert tree.is_whiteout((stack.upper / "file").lstat())
    assert stack.names() == [
        "dir", "dir/.wh..wh..opq", "dir/new", "emptied", "emptied/.wh.old", ".wh.file",
        "to-dir", "to-file",
    ]  # fmt: skip


def in_namespace_a_step_that_changes_nothing_makes_an_empty_layer() -> None:
    stack = Stack()
    (stack.lower / "etc").mkdir()
    (stack.lower / "etc" / "hosts").write_bytes(b"127.0.0.1 localhost")
    os.setxattr(stack.lower / "etc" / "hosts", "user.note", b"1")
    merged = stack.mount()
    (merged / "etc" / "hosts").chmod(0o600)
    (merged / "etc" / "hosts").chmod(0o644)
    (merged / "etc" / "scratch").touch()
    (merged / "etc" / "scratch").unlink()
    stack.unmount()
    assert (stack.upper / "etc" / "hosts").exists(), "it was copied up"
    assert stack.names() == []


def in_namespace_random_changes_come_back_through_a_layer() -> None:
    base = Path("base").absolute()
    dice = random.Random(7)
    for directory in ("a", "a/b", "a/b/c", "d", "d/e"):
        (base / directory).mkdir(parents=True)
        for number in range(3):
            (base / directory / f"f{number}").write_bytes(dice.randbytes(number * 3000))
        (base / directory / "link").symlink_to("f1")
    for attempt in range(25):
        before = Stack(f"before{attempt}", base)
        merged = before.mount()
        for _ in range(dice.randrange(1, 25)):
            change(merged, dice)
        before.unmount()  # a mount that made a link may still show two inodes for its names
        wanted = snapshot(before.mount())
        before.unmount()
        after = Stack(f"after{attempt}", base)
        apply(io.BytesIO(before.packed()), after.upper, lower=[base])
        merged = after.mount()
        found = snapshot(merged)
        after.unmount()
        difference = sorted(set(map(repr, found)) ^ set(map(repr, wanted)))
        assert not difference, f"attempt {attempt}: {before.names()} {difference}"


def change(root: Path, dice: random.Random) -> None:
    """Do something to the tree at `root`."""
    paths = sorted(root.rglob("*"))
    directories = [root, *(p for p in paths if p.is_dir() and not p.is_symlink())]
    files = [p for p in paths if p.is_file() and not p.is_symlink()]
    name = dice.choice(directories) / dice.choice(("f0", "f1", "b", "e", "new", "link"))
    match dice.randrange(9):
        case 0 if not os.path.lexists(name):
            name.write_bytes(dice.randbytes(500))
        case 1 if not os.path.lexists(name):
            name.mkdir()
        case 2 if not os.path.lexists(name):
            name.symlink_to(dice.choice(("f0", "/d", "../a")))
        case 3 if paths:
            victim = dice.choice(paths)
            if victim.is_dir() and not victim.is_symlink():
                shutil.rmtree(victim)
            else:
                victim.unlink()
        case 4 if files:
            dice.choice(files).chmod(dice.choice((0o600, 0o755, 0o4711)))
        case 5 if files:
            with dice.choice(files).open("ab") as file:
                file.write(b"more")
        case 6 if files and not os.path.lexists(name):
            os.link(dice.choice(files), name)
        case 7 if files and not os.path.lexists(name):
            dice.choice(files).rename(name)
        case 8:
            os.setxattr(dice.choice(directories), "user.note", dice.randbytes(3))


def in_namespace_file_capabilities_and_set_id_bits_come_back() -> None:
    net_raw = bytes.fromhex("0100000200200000000000000000000000000000")
    stack = Stack()
    merged = stack.mount()
    (merged / "ping").write_bytes(b"#!")
    (merged / "ping").chmod(0o4755)
    os.setxattr(merged / "ping", "security.capability", net_raw)
    stack.unmount()
    (entry,) = TarReader([stack.packed()])
    assert entry.xattrs == {b"security.capability": net_raw}
    again = Stack("again")
    apply(io.BytesIO(stack.packed()), again.upper)
    found = again.mount() / "ping"
    assert os.getxattr(found, "security.capability") == net_raw
    assert stat.S_IMODE(found.stat().st_mode) == 0o4755
    again.unmount()


def in_namespace_owners_come_back() -> None:
    uid, gid = 12345, 54321
    stack = Stack()
    (stack.lower / "home").mkdir()
    os.chown(stack.lower / "home", uid, gid)
    os.chmod(stack.lower / "home", 0o2711)
    merged = stack.mount()
    for name in ("home/file", "file"):
        (merged / name).touch()
    (merged / "link").symlink_to("x")
    os.mkfifo(merged / "pipe")
    for name in ("home/file", "file", "link", "pipe"):
        os.chown(merged / name, uid, gid, follow_symlinks=False)
    stack.unmount()
    layer = stack.packed()
    assert {(entry.uid, entry.gid) for entry in TarReader([layer])} == {(uid, gid)}
    again = Stack("again", stack.lower)
    apply(io.BytesIO(layer), again.upper, lower=[stack.lower])
    for path in again.upper.rglob("*"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (uid, gid)
    assert stat.S_IMODE((again.upper / "home").stat().st_mode) == 0o2711
    given = Stack("given")
    extract(io.BytesIO(layer), given.upper, owner=(0, 0))
    assert {path.lstat().st_uid for path in given.upper.rglob("*")} == {0}


def in_namespace_an_owner_without_an_id_here_is_explained() -> None:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add(Entry(name=b"home", kind=Kind.DIRECTORY, mode=0o755, uid=1000, gid=1000))
    writer.add(Entry(name=b"home/link", kind=Kind.SYMLINK, link=b"x", uid=1000, gid=1000))
    writer.close()
    stack = Stack()
    try:
        apply(io.BytesIO(out.getvalue()), stack.upper)
    except ContentError as error:
        assert "home belongs to 1000:1000" in error.what
        assert "/etc/subuid" in error.hint
    else:
        raise AssertionError("it was unpacked")
    apply(io.BytesIO(out.getvalue()), Stack("squashed").upper, squash_owner=True)


if __name__ == "__main__":
    globals()[f"in_namespace_{sys.argv[1]}"]()
