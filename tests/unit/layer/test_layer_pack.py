"""A layer holds exactly what a step changed."""

from __future__ import annotations

import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import Canceled, ContentError, StoreError
from viaduct.base.tasks import Stop
from viaduct.layer import tree
from viaduct.layer.compress import BLOCK, Compression
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.pack import Packed, pack, pack_trees
from viaduct.layer.tar_reader import TarReader
from viaduct.oci import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = Compression("uncompressed")
SECOND = 1_000_000_000


def packed(upper: Path, lower: Path | None = None, *, epoch: int | None = None) -> bytes:
    out = io.BytesIO()
    blob = pack(upper, out, PLAIN, lower=[lower] if lower else None, epoch=epoch)
    assert blob.digest == blob.diff_id == digest.of(out.getvalue())
    assert blob.files == len(list(TarReader([out.getvalue()])))
    return out.getvalue()


def entries(upper: Path, lower: Path | None = None) -> dict[bytes, Entry]:
    return {entry.name: entry for entry in TarReader([packed(upper, lower)])}


def names(upper: Path, lower: Path | None = None) -> list[str]:
    return [entry.name.decode() for entry in TarReader([packed(upper, lower)])]


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def copy_up(lower: Path, upper: Path, name: str) -> Path:
    """What overlayfs does before a file is changed."""
    for parent in reversed((upper / name).parents):
        if not parent.exists() and parent != upper:
            parent.mkdir()
            shutil.copystat(lower / parent.relative_to(upper), parent)
    subprocess.run(["cp", "-a", "--no-target-directory", lower / name, upper / name], check=True)
    return upper / name


# --- everything a tree can hold ------------------------------------------------------------------


def test_independent_tars_read_every_kind_of_member(upper: Path, tmp_path: Path) -> None:
    (upper / "dir").mkdir(mode=0o700)
    (upper / "dir" / "file").write_bytes(b"content")
    (upper / "dir" / ("long" * 60)).write_bytes(b"long")
    os.link(upper / "dir" / "file", upper / "hard")
    (upper / "link").symlink_to("dir/file")
    os.mkfifo(upper / "pipe", 0o600)
    (upper / "program").write_bytes(b"#!")
    (upper / "program").chmod(0o4755)
    (upper / "big").write_bytes(bytes(range(256)) * (3 * BLOCK // 256 + 1))
    for odd in (b"caf\xe9", b"new\nline", b"-dash", b"sp ace"):
        os.close(os.open(os.fsencode(upper) + b"/" + odd, os.O_CREAT | os.O_WRONLY))
    data = packed(upper)

    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", out], input=data, check=True)
    for name in ("dir/file", "dir/" + "long" * 60, "big", "program"):
        assert (out / name).read_bytes() == (upper / name).read_bytes()
    assert (out / "dir" / "file").stat().st_ino == (out / "hard").stat().st_ino
    assert stat.S_IMODE((out / "program").stat().st_mode) == 0o4755
    assert stat.S_IMODE((out / "dir").stat().st_mode) == 0o700
    assert stat.S_ISFIFO((out / "pipe").stat().st_mode)
    assert sorted(os.listdir(os.fsencode(out))) == sorted(os.listdir(os.fsencode(upper)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        big = tar.extractfile("big")
        assert big is not None
        assert big.read() == (upper / "big").read_bytes()


def test_members_come_parents_first_in_the_order_of_their_bytes(upper: Path) -> None:
    for name in ("b", "a", "a-b", "a/z", "a/b", "B"):
        (upper / name).mkdir(parents=True, exist_ok=True)
    assert names(upper) == ["B", "a", "a/b", "a/z", "a-b", "b"]


def test_the_root_is_no_member(upper: Path) -> None:
    assert names(upper) == []


def test_sockets_are_left_out(upper: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upper / "socket"))
        (upper / "file").touch()
        assert names(upper) == ["file"]


def test_user_attributes_go_in_and_notes_of_overlayfs_stay_out(upper: Path) -> None:
    (upper / "dir").mkdir()
    for path in (upper / "dir", upper / "file"):
        path.touch()
        os.setxattr(path, "user.note", b"\0kept")
        os.setxattr(path, "user.overlay.origin", b"x")
        os.setxattr(path, "user.overlay.impure", b"y")
    found = entries(upper)
    assert found[b"file"].xattrs == found[b"dir"].xattrs == {b"user.note": b"\0kept"}


def test_the_note_of_a_device_becomes_the_device(upper: Path) -> None:
    (upper / "null").touch(0o666)
    os.setxattr(upper / "null", tree.DEVICE, b"c 1 3")
    (upper / "disk").touch()
    os.setxattr(upper / "disk", tree.DEVICE, b"b 8 0")
    (upper / "full").write_bytes(b"a file with content is no device")
    os.setxattr(upper / "full", tree.DEVICE, b"c 1 7")
    found = entries(upper)
    null, disk = found[b"null"], found[b"disk"]
    assert (null.kind, null.major, null.minor, null.xattrs) == (Kind.CHAR, 1, 3, {})
    assert (disk.kind, disk.major, disk.minor) == (Kind.BLOCK, 8, 0)
    assert (found[b"full"].kind, found[b"full"].xattrs) == (Kind.FILE, {})


def test_a_capability_loses_the_namespace_that_set_it() -> None:
    revision_3 = bytes.fromhex("0100000300040000000000000000000000000000a0860100")
    revision_2 = bytes.fromhex("0100000200040000000000000000000000000000")
    for value in (revision_3, revision_2):
        assert tree.portable({b"security.capability": value}) == {
            b"security.capability": revision_2
        }


def test_security_labels_stay_out() -> None:
    labels = {b"security.selinux": b"x", b"security.ima": b"x", b"trusted.overlay.origin": b"x"}
    assert tree.portable(labels) == {}


@pytest.mark.parametrize("name", ["user.overlay.redirect", "user.overlay.metacopy"])
def test_files_that_overlayfs_stored_in_part_are_refused(upper: Path, name: str) -> None:
    (upper / "file").touch()
    os.setxattr(upper / "file", name, b"x")
    with pytest.raises(StoreError, match="incomplete"):
        packed(upper)


def test_hard_links_are_written_once(upper: Path) -> None:
    (upper / "b").write_bytes(b"content")
    os.link(upper / "b", upper / "a")
    (upper / "z").symlink_to("nowhere")
    os.link(upper / "z", upper / "y", follow_symlinks=False)
    found = entries(upper)
    assert found[b"a"].size == 7
    assert (found[b"b"].kind, found[b"b"].link, found[b"b"].size) == (Kind.HARDLINK, b"a", 0)
    assert found[b"y"].kind is Kind.SYMLINK
    assert (found[b"z"].kind, found[b"z"].link) == (Kind.HARDLINK, b"y")


# --- deletions -----------------------------------------------------------------------------------


def test_whiteouts_and_opaque_directories_become_markers(upper: Path, lower: Path) -> None:
    (lower / "dir").mkdir()
    for name in ("gone", "dir/old"):
        (lower / name).touch()
    (upper / "dir").mkdir()
    os.setxattr(upper / "dir", tree.OPAQUE, b"y")
    (upper / "dir" / "new").touch()
    whiteout(upper / "gone")
    assert names(upper, lower) == ["dir", "dir/.wh..wh..opq", "dir/new", ".wh.gone"]
    assert names(upper) == names(upper, lower)
    mark = entries(upper, lower)[b".wh.gone"]
    assert mark == Entry(name=b".wh.gone", kind=Kind.FILE, mode=0)


def test_a_whiteout_may_be_a_socket_where_devices_cannot_be_made(upper: Path, lower: Path) -> None:
    (lower / "gone").touch()
    for name in ("gone", "never"):
        os.mknod(upper / name, stat.S_IFSOCK | 0o1000)
    os.mknod(upper / "ordinary", stat.S_IFSOCK | 0o755)
    assert names(upper, lower) == [".wh.gone"]


def test_hard_linked_whiteouts_are_whiteouts(upper: Path) -> None:
    # overlayfs makes one whiteout and links it everywhere
    whiteout(upper / "a")
    os.link(upper / "a", upper / "b")
    assert names(upper) == [".wh.a", ".wh.b"]


def test_deletions_of_nothing_are_left_out(upper: Path, lower: Path) -> None:
    (lower / "was-file").touch()
    (upper / "new").mkdir()
    (upper / "was-file").mkdir()
    for opaque in ("new", "was-file"):
        os.setxattr(upper / opaque, tree.OPAQUE, b"y")
        whiteout(upper / opaque / "nothing")
    whiteout(upper / "never-was")
    assert names(upper, lower) == ["new", "was-file"]


def test_nothing_below_an_opaque_directory_counts_as_unchanged(upper: Path, lower: Path) -> None:
    (lower / "dir" / "sub").mkdir(parents=True)
    (lower / "dir" / "same").write_bytes(b"same")
    (upper / "dir").mkdir()
    copy_up(lower, upper, "dir/same")
    copy_up(lower, upper, "dir/sub")
    shutil.copystat(lower / "dir", upper / "dir")
    os.setxattr(upper / "dir", tree.OPAQUE, b"y")
    assert names(upper, lower) == ["dir", "dir/.wh..wh..opq", "dir/same", "dir/sub"]


def test_a_name_that_would_mean_a_deletion_is_refused(upper: Path) -> None:
    (upper / "dir").mkdir()
    (upper / "dir" / ".wh.trick").touch()
    with pytest.raises(ContentError, match=r"dir/\.wh\.trick") as caught:
        packed(upper)
    assert "rename" in caught.value.hint


# --- changes that are none -----------------------------------------------------------------------


@pytest.fixture
def parent(lower: Path) -> Path:
    (lower / "etc" / "deep" / "deeper").mkdir(parents=True)
    (lower / "etc" / "deep" / "deeper" / "file").write_bytes(b"content")
    (lower / "etc" / "passwd").write_bytes(b"root:x:0:0")
    (lower / "etc" / "link").symlink_to("passwd")
    os.mkfifo(lower / "etc" / "pipe")
    os.setxattr(lower / "etc" / "passwd", "user.note", b"1")
    return lower


def test_what_was_copied_up_and_not_changed_is_left_out(upper: Path, parent: Path) -> None:
    for name in ("etc/passwd", "etc/link", "etc/pipe", "etc/deep/deeper/file"):
        copy_up(parent, upper, name)
    assert names(upper, parent) == []
    assert "etc/passwd" in names(upper)


def test_the_time_of_a_directory_alone_is_no_change(upper: Path, parent: Path) -> None:
    copy_up(parent, upper, "etc/passwd")
    os.utime(upper / "etc", (1, 1))
    assert names(upper, parent) == []


def test_a_change_brings_its_parents(upper: Path, parent: Path) -> None:
    copy_up(parent, upper, "etc/deep/deeper/file").write_bytes(b"CONTENT")
    copy_up(parent, upper, "etc/passwd")
    assert names(upper, parent) == ["etc", "etc/deep", "etc/deep/deeper", "etc/deep/deeper/file"]


def test_a_deletion_brings_its_parents(upper: Path, parent: Path) -> None:
    copy_up(parent, upper, "etc/passwd").unlink()
    whiteout(upper / "etc" / "passwd")
    assert names(upper, parent) == ["etc", "etc/.wh.passwd"]


CHANGES: dict[str, Callable[[Path], object]] = {
    "mode": lambda path: path.chmod(0o600),
    "attribute": lambda path: os.setxattr(path, "user.note", b"2"),
    "attribute gone": lambda path: os.removexattr(path, "user.note"),
    "time": lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)),
    "size": lambda path: path.write_bytes(b"longer than before"),
    "another name": lambda path: os.link(path, path.with_name("zz-second")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_file_counts(
    upper: Path, parent: Path, change: Callable[[Path], object]
) -> None:
    change(copy_up(parent, upper, "etc/passwd"))
    assert names(upper, parent)[:2] == ["etc", "etc/passwd"]


def test_a_change_under_the_same_time_and_size_counts(upper: Path, parent: Path) -> None:
    file = copy_up(parent, upper, "etc/passwd")
    before = file.stat()
    file.write_bytes(b"evil:x:0:0")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names(upper, parent) == ["etc", "etc/passwd"]


def test_a_link_to_elsewhere_counts(upper: Path, parent: Path) -> None:
    link = copy_up(parent, upper, "etc/link")
    before = link.lstat()
    link.unlink()
    link.symlink_to("shadow")
    os.utime(link, ns=(0, before.st_mtime_ns), follow_symlinks=False)
    assert names(upper, parent) == ["etc", "etc/link"]


@pytest.mark.parametrize("change", ["mode", "attribute"])
def test_a_changed_directory_counts(upper: Path, parent: Path, change: str) -> None:
    (upper / "etc").mkdir()
    shutil.copystat(parent / "etc", upper / "etc")
    (upper / "etc" / "deep").mkdir()
    if change == "mode":
        (upper / "etc" / "deep").chmod(0o700)
    else:
        os.setxattr(upper / "etc" / "deep", "user.note", b"1")
    assert names(upper, parent) == ["etc", "etc/deep"]


# --- reproducibility -----------------------------------------------------------------------------


def test_times_are_whole_seconds(upper: Path) -> None:
    (upper / "file").touch()
    os.utime(upper / "file", ns=(0, 1_234_567_890 * SECOND + 999_999_999))
    assert entries(upper)[b"file"].mtime_ns == 1_234_567_890 * SECOND


def test_an_epoch_is_the_latest_time(upper: Path) -> None:
    for name, seconds in (("old", 100), ("new", 2_000_000_000), ("ancient", -100)):
        (upper / name).touch()
        os.utime(upper / name, (seconds, seconds))
    times = {e.name: e.mtime_ns // SECOND for e in TarReader([packed(upper, epoch=1_000)])}
    assert times == {b"old": 100, b"new": 1_000, b"ancient": -100}


@pytest.mark.parametrize("kind", ["gzip", "zstd", "uncompressed"])
def test_equal_trees_give_equal_bytes_whatever_the_threads(tmp_path: Path, kind: str) -> None:
    results: list[tuple[Packed, bytes]] = []
    for number, threads in ((1, 1), (2, 4)):
        upper = tmp_path / f"copy{number}"
        made = range(60) if number == 1 else reversed(range(60))
        for index in made:
            directory = upper / f"d{index % 7}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"f{index}").write_bytes(bytes([index]) * 70_000)
            os.setxattr(directory / f"f{index}", f"user.{number}", b"1")
            os.removexattr(directory / f"f{index}", f"user.{number}")
        out = io.BytesIO()
        compression = Compression(kind, reproducible=True)
        results.append((pack(upper, out, compression, epoch=5, threads=threads), out.getvalue()))
    assert results[0] == results[1]


# --- failures ------------------------------------------------------------------------------------


def test_a_stop_ends_packing(upper: Path) -> None:
    stop = Stop()
    stop.set()
    (upper / "file").write_bytes(bytes(9 * BLOCK))
    with pytest.raises(Canceled):
        pack(upper, io.BytesIO(), PLAIN, stop=stop)


def test_a_full_disk_is_explained(upper: Path) -> None:
    (upper / "file").write_bytes(bytes(9 * BLOCK))
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(StoreError) as caught:
        pack(upper, full, Compression())
    assert "no space left" in caught.value.what


def test_a_missing_directory_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="packing a layer"):
        pack(tmp_path / "missing", io.BytesIO(), PLAIN)


# --- whole trees ---------------------------------------------------------------------------------


def test_trees_are_written_side_by_side(tmp_path: Path) -> None:
    for name in ("amd", "arm"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "tool").write_bytes(name.encode())
        os.link(tmp_path / name / "bin" / "tool", tmp_path / name / "bin" / "zlink")
        (tmp_path / name / ".wh.ordinary").touch()
    out = io.BytesIO()
    count = pack_trees(
        [("linux_amd64", tmp_path / "amd"), ("linux_arm64/", tmp_path / "arm")], out, epoch=77
    )
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert len(tar.getmembers()) == count == 10
        assert {member.mtime for member in tar} == {77}
        assert tar.getmember("linux_arm64").isdir()
        assert tar.getmember("linux_arm64/.wh.ordinary").isfile()
        tool = tar.extractfile("linux_arm64/bin/zlink")
        assert tool is not None
        assert tool.read() == b"arm"


def test_one_tree_goes_to_the_top(upper: Path) -> None:
    (upper / "file").touch()
    os.utime(upper / "file", (123, 123))
    out = io.BytesIO()
    pack_trees([("", upper)], out)
    (entry,) = TarReader([out.getvalue()])
    assert (entry.name, entry.mtime_ns) == (b"file", 123 * SECOND)
