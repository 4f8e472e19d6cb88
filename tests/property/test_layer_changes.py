"""Random work in a complete tree comes back from what is collected as its change."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.layer import changes
from viaduct.layer.replay import replay
from viaduct.layer.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable

#: Few names, so that the steps of the work meet; one that is no text.
_NAMES = (b"a", b"b", b"\xff")
_path = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map(b"/".join)


def _opened(path: bytes, mode: str) -> IO[bytes]:
    """A file; not a FIFO, which would wait for a partner."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK, 0o644))


def _write(root: bytes, path: bytes, other: bytes) -> None:
    with _opened(root + path, "wb") as file:
        file.write(other * 3)


def _write_in_place(root: bytes, path: bytes, other: bytes) -> None:
    """Other content of the same size, and the time put back: only the kernel knows."""
    before = os.lstat(root + path)
    if not stat.S_ISREG(before.st_mode):
        raise OSError
    with _opened(root + path, "r+b") as file:
        first = os.pread(file.fileno(), 1, 0)
        os.pwrite(file.fileno(), bytes(255 - byte for byte in first), 0)
    os.utime(root + path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _write_sparse(root: bytes, path: bytes, other: bytes) -> None:
    with _opened(root + path, "wb") as file:
        file.truncate(3 << 20)
        file.seek(2 << 20)
        file.write(other)


def _remove(root: bytes, path: bytes, other: bytes) -> None:
    if stat.S_ISDIR(os.lstat(root + path).st_mode):
        shutil.rmtree(root + path)
    else:
        os.unlink(root + path)


def _remake(root: bytes, path: bytes, other: bytes) -> None:
    shutil.rmtree(root + path)
    os.mkdir(root + path)
    _write(root, path + b"/b", other)


def _link(root: bytes, path: bytes, other: bytes) -> None:
    os.link(root + path, root + other, follow_symlinks=False)


def _note(root: bytes, path: bytes, other: bytes) -> None:
    os.setxattr(root + path, b"user." + other[:1].hex().encode(), other, follow_symlinks=False)


def _forget(root: bytes, path: bytes, other: bytes) -> None:
    for name in os.listxattr(root + path, follow_symlinks=False):
        os.removexattr(root + path, name, follow_symlinks=False)


def _white(root: bytes, path: bytes, other: bytes) -> None:
    """What means something to overlayfs means nothing when a step makes it."""
    os.mknod(root + path, stat.S_IFSOCK | 0o1000)


def _steer(root: bytes, path: bytes, other: bytes) -> None:
    os.setxattr(root + path, b"user.overlay.opaque", b"y", follow_symlinks=False)


_WORK: tuple[Callable[[bytes, bytes, bytes], None], ...] = (
    _write,
    _write_in_place,
    _write_sparse,
    _remove,
    _remake,
    _link,
    _note,
    _forget,
    _white,
    _steer,
    lambda root, path, other: os.mkdir(root + path),
    lambda root, path, other: os.makedirs(root + path + b"/" + other),
    lambda root, path, other: os.symlink(other, root + path),
    lambda root, path, other: os.mkfifo(root + path),
    lambda root, path, other: os.mknod(root + path, stat.S_IFSOCK | 0o755),
    lambda root, path, other: os.rename(root + path, root + other),
    lambda root, path, other: os.chmod(root + path, 0o2700),
    lambda root, path, other: os.utime(root + path, (99, 99), follow_symlinks=False),
)
_steps = st.lists(st.tuples(st.sampled_from(_WORK), _path, _path), max_size=25)
_Steps = list[tuple["Callable[[bytes, bytes, bytes], None]", bytes, bytes]]


def _do(root: Path, steps: _Steps) -> None:
    for work, path, other in steps:
        # There may be nothing, or something else, at this path.
        with contextlib.suppress(OSError):
            work(os.fsencode(root) + b"/", path, other)


def _status_of_everything(root: Path) -> dict[bytes, object]:
    """Everything about a tree that counts, names of one file by the first of them."""
    first: dict[int, bytes] = {}
    found: dict[bytes, object] = {}
    top = os.fsencode(root)
    for directory, directories, files in os.walk(top):
        directories.sort()
        for name in sorted((*directories, *files)):
            path = directory + b"/" + name
            status = os.lstat(path)
            if status.st_mode == stat.S_IFSOCK | 0o1000:
                continue
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            linked = path if stat.S_ISDIR(status.st_mode) else first.setdefault(status.st_ino, path)
            notes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("user.overlay.")
            }
            looks = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
            found[path[len(top) + 1 :]] = (looks, content, notes, linked[len(top) :])
    return found


def _stacked(layers: list[Path]) -> dict[bytes, int]:
    """Kind and mode of everything that a stack of layers shows."""
    stack = Stack(layers)
    found: dict[bytes, int] = {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        for name in stack.names(directory):
            path = directory + b"/" + name if directory else name
            there = stack.find(path)
            assert there is not None
            found[path] = there[1].st_mode
            if stat.S_ISDIR(there[1].st_mode):
                pending.append(path)
    stack.close()
    return found


@settings(max_examples=150, deadline=None)
@given(_steps, st.lists(_steps, min_size=1, max_size=3))
def test_changes_that_are_collected_and_replayed_make_the_same_tree(
    before: _Steps, rounds: list[_Steps]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        root = place / "root"
        root.mkdir()
        layers: list[Path] = []
        seen = changes.scan(root)
        for number, steps in enumerate((before, *rounds)):
            changes.settle(seen, place / "probe")
            _do(root, steps)
            upper = place / f"upper{number}"
            upper.mkdir()
            seen = changes.collect(root, seen, upper)
            layers.insert(0, upper)
        again = place / "again"
        again.mkdir()
        for upper in reversed(layers):
            replay(upper, again)
        wanted = _status_of_everything(root)
        assert _status_of_everything(again) == wanted
        assert _stacked(layers) == {path: looks[0][0] for path, looks in wanted.items()}  # type: ignore[index] # as it is made above


@settings(max_examples=50, deadline=None)
@given(_steps)
def test_nothing_is_collected_where_nothing_was_changed(steps: _Steps) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for directory in ("root", "first", "second"):
            (place / directory).mkdir()
        _do(place / "root", steps)
        changes.collect(place / "root", changes.Scan({}, 0), place / "first")
        changes.collect(place / "root", changes.scan(place / "root"), place / "second")
        assert os.listdir(place / "second") == []
