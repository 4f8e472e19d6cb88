"""A layer unpacks into what overlayfs shows as the layer's change."""

from __future__ import annotations

import errno
import io
import os
import resource
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.unit.layer.conftest import Tar

from viaduct.base.errors import Canceled, ContentError, StoreError
from viaduct.base.tasks import Stop
from viaduct.layer import tree
from viaduct.layer.apply import apply
from viaduct.layer.compress import Compression
from viaduct.layer.pack import pack
from viaduct.layer.rooted import join
from viaduct.layer.stack import Stack
from viaduct.layer.tar_reader import TarReader
from viaduct.oci import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SECOND = 1_000_000_000
DIR, LINK = tarfile.DIRTYPE, tarfile.LNKTYPE


def is_whiteout(path: Path) -> bool:
    return tree.is_whiteout(path.lstat())


def is_opaque(path: Path) -> bool:
    return "user.overlay.opaque" in os.listxattr(path)


def unpack(tar: Tar, upper: Path, lower: Path | None = None) -> None:
    unpack_on(tar, upper, [lower] if lower else None)


def unpack_on(tar: Tar, upper: Path, lower: Sequence[Path] | None) -> None:
    apply(tar.stream(), upper, lower=lower, squash_owner=True)


# --- ordinary members ----------------------------------------------------------------------------


def test_everything_comes_back_with_its_metadata(tar: Tar, upper: Path) -> None:
    attributes = {"SCHILY.xattr.user.note": "kept"}
    tar.dir("dir", 0o2750, mtime=500, pax=attributes)
    tar.add("dir/tool", b"#!", mode=0o4755, mtime=600, pax=attributes)
    tar.symlink("dir/link", "../elsewhere")
    tar.hardlink("dir/hard", "dir/tool")
    tar.add("dir/pipe", kind=tarfile.FIFOTYPE, mode=0o640)
    data = tar.bytes()
    done = apply(io.BytesIO(data), upper)
    assert (done.diff_id, done.size, done.files) == (digest.of(data), len(data), 5)
    tool = (upper / "dir" / "tool").stat()
    assert stat.S_IMODE(tool.st_mode) == 0o4755
    assert (tool.st_mtime, tool.st_nlink) == (600, 2)
    assert tool.st_ino == (upper / "dir" / "hard").stat().st_ino
    assert os.readlink(upper / "dir" / "link") == "../elsewhere"
    assert (upper / "dir" / "link").lstat().st_mtime == 1_000_000_000
    assert stat.S_ISFIFO((upper / "dir" / "pipe").stat().st_mode)
    assert stat.S_IMODE((upper / "dir" / "pipe").stat().st_mode) == 0o640
    assert stat.S_IMODE((upper / "dir").stat().st_mode) == 0o2750
    assert (upper / "dir").stat().st_mtime == 500
    assert os.getxattr(upper / "dir", "user.note") == b"kept"
    assert os.getxattr(upper / "dir" / "tool", "user.note") == b"kept"


def test_packing_what_was_unpacked_gives_the_same_archive(upper: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for index in range(40):
        directory = source / f"d{index % 6}" / "deep" / "deeper"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{index}").write_bytes(os.urandom(index * 1000))
        (directory / f"link{index}").symlink_to("x" * (index + 90))
        os.link(directory / f"file{index}", source / f"hard{index}")
    (source / "big").write_bytes(os.urandom(3 << 20))
    os.setxattr(source / "big", "user.note", b"\0\1")
    os.mknod(source / ".gone", stat.S_IFCHR, 0)
    os.setxattr(source / "d1", tree.OPAQUE, b"y")
    first, second = io.BytesIO(), io.BytesIO()
    made = pack(source, first, Compression())
    first.seek(0)
    done = apply(first, upper, expected_diff_id=made.diff_id)
    assert (done.size, done.files) == (made.uncompressed_size, made.files)
    pack(upper, second, Compression())
    assert first.getvalue() == second.getvalue()


@pytest.mark.parametrize("kind", ["gzip", "zstd", "uncompressed"])
@pytest.mark.parametrize("told", [True, False])
def test_every_compression_is_unpacked(
    tar: Tar, upper: Path, tmp_path: Path, kind: str, told: bool
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_bytes(b"content")
    out = io.BytesIO()
    pack(tmp_path / "one", out, Compression(kind))
    out.seek(0)
    apply(out, upper, kind=kind if told else None)
    assert (upper / "file").read_bytes() == b"content"


def test_missing_parents_are_made_the_same_everywhere(tar: Tar, upper: Path) -> None:
    unpack(tar.add("a/b/file"), upper)
    for path in (upper / "a", upper / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert path.stat().st_mtime == 0


def test_times_of_directories_outlast_what_is_made_in_them(tar: Tar, upper: Path) -> None:
    tar.dir("a", mtime=11).dir("a/b", mtime=22)
    for index in range(300):  # more than are kept open at a time
        tar.dir(f"a/b/{index}", mtime=index).add(f"a/b/{index}/file")
    unpack(tar.add("a/late"), upper)
    assert (upper / "a").stat().st_mtime == 11
    assert (upper / "a" / "b").stat().st_mtime == 22
    assert all((upper / f"a/b/{index}").stat().st_mtime == index for index in range(300))


def test_names_may_begin_with_a_dot_or_a_slash(
    tar: Tar, upper: Path, listing: Callable[[Path], list[str]]
) -> None:
    tar.dir("./").dir("./etc/").add("./etc/hosts").add("/etc/passwd").add("etc//group")
    tar.add("etc/../usr/x").hardlink("./etc/shadow", "/etc/passwd")
    unpack(tar, upper)
    assert listing(upper) == [
        "etc/", "etc/group", "etc/hosts", "etc/passwd", "etc/shadow", "usr/", "usr/x",
    ]  # fmt: skip


def test_the_root_itself_stays_as_it_is(tar: Tar, upper: Path) -> None:
    upper.chmod(0o755)
    unpack(tar.dir("./", 0o700), upper)
    assert stat.S_IMODE(upper.stat().st_mode) == 0o755


def test_devices_become_placeholders_that_pack_as_devices(tar: Tar, upper: Path) -> None:
    tar.add("null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666)
    tar.add("disk", kind=tarfile.BLKTYPE, device=(8, 1), mode=0o660)
    tar.add("zero", kind=tarfile.CHRTYPE, device=(0, 0))
    unpack(tar, upper)
    assert stat.S_ISREG((upper / "null").stat().st_mode)
    assert not is_whiteout(upper / "zero")
    out = io.BytesIO()
    pack(upper, out, Compression("uncompressed"))
    found = {e.name: (e.kind.value, e.major, e.minor, e.mode) for e in TarReader([out.getvalue()])}
    assert found == {
        b"null": (b"3", 1, 3, 0o666),
        b"disk": (b"4", 8, 1, 0o660),
        b"zero": (b"3", 0, 0, 0o644),
    }


def test_an_attribute_that_steers_us_or_overlayfs_is_dropped(tar: Tar, upper: Path) -> None:
    names = ["user.overlay.opaque", "user.overlay.redirect", "trusted.overlay.opaque",
             "user.viaduct.device", "security.selinux", "user.fine"]  # fmt: skip
    pax = {f"SCHILY.xattr.{name}": "c 1 3" for name in names}
    unpack(tar.add("file", pax=pax).dir("dir", pax=pax), upper)
    assert os.listxattr(upper / "file") == os.listxattr(upper / "dir") == ["user.fine"]


def test_impossible_times_become_1970(tar: Tar, upper: Path) -> None:
    unpack(tar.add("file", pax={"mtime": "99999999999999999"}).add("neg", mtime=-5), upper)
    assert (upper / "file").stat().st_mtime == 0
    assert (upper / "neg").stat().st_mtime == -5


# --- later members win ---------------------------------------------------------------------------


def test_later_members_replace_earlier_ones(tar: Tar, upper: Path) -> None:
    tar.add("file", b"old").add("file", b"new")
    tar.add("to-dir", b"old").dir("to-dir").add("to-dir/x")
    tar.dir("to-file").add("to-file/x").add("to-file", b"new")
    tar.symlink("to-link", "a").symlink("to-link", "b")
    tar.dir("stays").add("stays/x").dir("stays", 0o700)
    unpack(tar, upper)
    assert (upper / "file").read_bytes() == b"new"
    assert (upper / "to-dir" / "x").exists()
    assert (upper / "to-file").read_bytes() == b"new"
    assert os.readlink(upper / "to-link") == "b"
    assert (upper / "stays" / "x").exists()
    assert stat.S_IMODE((upper / "stays").stat().st_mode) == 0o700


def test_a_directory_that_replaces_something_hides_what_is_below(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "d").mkdir()
    (lower / "d" / "old").touch()
    unpack(tar.add("d", b"file").dir("d").add("d/new"), upper, lower)
    assert is_opaque(upper / "d")


def test_a_replaced_directory_leaves_no_time_behind(tar: Tar, upper: Path) -> None:
    tar.dir("d", mtime=5).dir("d/sub", mtime=6).symlink("d", "elsewhere").dir("elsewhere", mtime=7)
    unpack(tar, upper)
    assert (upper / "elsewhere").stat().st_mtime == 7
    assert (upper / "d").is_symlink()


def test_a_link_to_itself_changes_nothing(tar: Tar, upper: Path) -> None:
    unpack(tar.add("file", b"data").hardlink("file", "./file"), upper)
    assert (upper / "file").read_bytes() == b"data"


def test_a_hard_link_replaces_what_was_there(tar: Tar, upper: Path) -> None:
    tar.add("a", b"data").dir("b").add("b/x").hardlink("b", "a")
    unpack(tar, upper)
    assert (upper / "b").read_bytes() == b"data"


def test_a_hard_link_to_a_symbolic_link_is_one(tar: Tar, upper: Path) -> None:
    unpack(tar.symlink("a", "nowhere").hardlink("b", "a"), upper)
    assert os.readlink(upper / "b") == "nowhere"


# --- whiteouts -----------------------------------------------------------------------------------


def test_markers_become_whiteouts_and_opaque_directories(
    tar: Tar, upper: Path, lower: Path, listing: Callable[[Path], list[str]]
) -> None:
    (lower / "dir" / "sub").mkdir(parents=True)
    (lower / "gone").touch()
    tar.add(".wh.gone").dir("dir").add("dir/.wh..wh..opq").add("dir/new")
    unpack(tar, upper, lower)
    assert listing(upper) == ["dir/", "dir/new", "gone"]
    assert is_whiteout(upper / "gone")
    assert is_opaque(upper / "dir")


@pytest.mark.parametrize("order", [1, -1])
def test_markers_hide_what_is_below_not_what_the_layer_brings(
    tar: Tar, upper: Path, lower: Path, order: int
) -> None:
    for name in ("file", "dir/old", "opaque/old"):
        (lower / name).parent.mkdir(exist_ok=True)
        (lower / name).touch()
    members = [".wh.file", "file", ".wh.dir", "dir/new", "opaque/.wh..wh..opq", "opaque/new"]
    for name in members[::order]:
        tar.add(name, b"" if ".wh." in name else b"new")
    unpack(tar, upper, lower)
    assert (upper / "file").read_bytes() == b"new"
    assert os.listdir(upper / "dir") == ["new"]
    assert is_opaque(upper / "dir")
    assert os.listdir(upper / "opaque") == ["new"]
    assert is_opaque(upper / "opaque")


def test_an_opaque_root_hides_name_by_name(
    tar: Tar, upper: Path, lower: Path, listing: Callable[[Path], list[str]]
) -> None:
    for name in ("file", "dir/old", "kept/old"):
        (lower / name).parent.mkdir(exist_ok=True)
        (lower / name).touch()
    unpack(tar.add("kept/new").add(".wh..wh..opq").add("dir/new"), upper, lower)
    assert listing(upper) == ["dir/", "dir/new", "file", "kept/", "kept/new"]
    assert is_whiteout(upper / "file")
    assert is_opaque(upper / "dir")
    assert is_opaque(upper / "kept")


def test_a_directory_that_replaces_a_file_may_come_after_many_others(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "d").mkdir()
    for number in range(100):
        tar.dir(f"other{number}")
    unpack(tar.add("d").dir("d", mode=0o700).add("d/new"), upper, lower)
    assert is_opaque(upper / "d")
    assert stat.S_IMODE((upper / "d").stat().st_mode) == 0o700


def _shown(*layers: Path) -> list[str]:
    """Every path that the layers, topmost first, show together."""
    stack = Stack(layers)
    pending, found = [b""], []
    while pending:
        directory = pending.pop()
        for name in stack.names(directory):
            path = join(directory, name)
            found.append(path.decode())
            there = stack.find(path)
            assert there is not None
            if stat.S_ISDIR(there[1].st_mode):
                pending.append(path)
    stack.close()
    return sorted(found)


def test_without_attributes_an_opaque_directory_hides_name_by_name(
    tar: Tar, upper: Path, lower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("d/old", "d/sub/old", "d/both/old", "d/both/kept", "replaced/old"):
        (lower / name).parent.mkdir(parents=True, exist_ok=True)
        (lower / name).touch()

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    # As a file system does that has none.
    monkeypatch.setattr(os, "setxattr", refuse)
    tar.add("d/both/new").add("d/.wh..wh..opq").add("d/both/kept").add("d/sub").add("d/new")
    tar.add("replaced").dir("replaced").add("replaced/new")
    unpack(tar, upper, lower)
    assert _shown(upper, lower) == [
        *("d", "d/both", "d/both/kept", "d/both/new", "d/new", "d/sub"),
        *("replaced", "replaced/new"),
    ]


def test_layers_without_a_mount_show_what_overlayfs_would(tar: Tar, tmp_path: Path) -> None:
    layers: list[Path] = []
    for archive in (
        Tar().add("a/b/file").add("a/gone").symlink("link", "a").add("becomes-directory/x"),
        Tar().add("a/.wh.gone").add("a/b/.wh..wh..opq").add("a/b/new").add("becomes-directory"),
        Tar().dir("becomes-directory").add("a/gone/again").add("link/through"),
    ):
        upper = tmp_path / str(len(layers))
        upper.mkdir()
        unpack_on(archive, upper, layers)
        layers.insert(0, upper)
    assert _shown(*layers) == [
        *("a", "a/b", "a/b/new", "a/gone", "a/gone/again", "a/through"),
        *("becomes-directory", "link"),
    ]


def test_hundreds_of_layers_need_few_descriptors(tar: Tar, tmp_path: Path) -> None:
    layers = [tmp_path / str(number) for number in range(300)]
    for number, layer in enumerate(layers):
        (layer / "d").mkdir(parents=True)
        (layer / "d" / str(number)).touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        assert len(_shown(*layers)) == 301
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_whiteouts_of_nothing_are_dropped_when_that_is_known(
    tar: Tar, upper: Path, lower: Path, tmp_path: Path
) -> None:
    data = tar.add(".wh.never").dir("new").add("new/.wh.never").bytes()
    apply(io.BytesIO(data), upper, lower=[lower])
    assert [path.name for path in upper.rglob("*")] == ["new"]
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    apply(io.BytesIO(data), unknown)
    assert is_whiteout(unknown / ".." / "unknown" / "never")
    assert is_whiteout(unknown / "new" / "never")


def test_what_aufs_noted_for_itself_is_skipped(tar: Tar, upper: Path) -> None:
    tar.dir(".wh..wh.plnk").add(".wh..wh.plnk/1.2").add(".wh..wh.aufs").add("file")
    unpack(tar, upper)
    assert os.listdir(upper) == ["file"]


# --- what is below -------------------------------------------------------------------------------


def test_missing_parents_get_the_metadata_of_what_is_below(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "a" / "b").mkdir(parents=True)
    (lower / "a" / "b").chmod(0o1777)
    os.setxattr(lower / "a" / "b", "user.note", b"1")
    os.utime(lower / "a" / "b", (99, 99))
    unpack(tar.add("a/b/file"), upper, lower)
    made = (upper / "a" / "b").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_mtime) == (0o1777, 99)
    assert os.getxattr(upper / "a" / "b", "user.note") == b"1"
    assert not is_opaque(upper / "a")


@pytest.mark.parametrize("target", ["usr/bin", "/usr/bin", "../../usr/bin", "usr/../usr//bin/."])
def test_symbolic_links_below_are_followed(
    tar: Tar, upper: Path, lower: Path, listing: Callable[[Path], list[str]], target: str
) -> None:
    (lower / "usr" / "bin").mkdir(parents=True)
    (lower / "usr" / "bin" / "old").touch()
    (lower / "bin").symlink_to(target)
    tar.add("bin/tool").add("bin/.wh.old").hardlink("bin/hard", "bin/tool")
    unpack(tar, upper, lower)
    assert listing(upper) == [
        "usr/", "usr/bin/", "usr/bin/hard", "usr/bin/old", "usr/bin/tool",
    ]  # fmt: skip
    assert is_whiteout(upper / "usr" / "bin" / "old")


def test_a_link_that_the_layer_removes_is_followed_no_longer(
    tar: Tar, upper: Path, lower: Path, listing: Callable[[Path], list[str]]
) -> None:
    (lower / "usr" / "bin").mkdir(parents=True)
    (lower / "bin").symlink_to("usr/bin")
    tar.add("bin/one").dir("bin").add("bin/two")
    unpack(tar, upper, lower)
    assert listing(upper) == ["bin/", "bin/two", "usr/", "usr/bin/", "usr/bin/one"]


def test_a_link_that_the_layer_whites_out_is_followed_no_longer(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "usr" / "bin").mkdir(parents=True)
    (lower / "bin").symlink_to("usr/bin")
    unpack(tar.add("bin/one").add(".wh.bin").add("bin/two"), upper, lower)
    assert os.listdir(upper / "bin") == ["two"]
    assert os.listdir(upper / "usr" / "bin") == ["one"]


def test_a_link_through_another_name_is_followed_no_longer_either(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "usr" / "lib").mkdir(parents=True)
    (lower / "usr" / "lib64").symlink_to("lib")
    (lower / "l").symlink_to("usr/lib64")
    tar.add("l/one").dir("usr/lib64").add("l/two")
    unpack(tar, upper, lower)
    assert os.listdir(upper / "usr" / "lib") == ["one"]
    assert os.listdir(upper / "usr" / "lib64") == ["two"]


def test_below_an_opaque_directory_nothing_is_followed(tar: Tar, upper: Path, lower: Path) -> None:
    (lower / "d").mkdir()
    (lower / "d" / "link").symlink_to("/elsewhere")
    (lower / "d" / "sub").mkdir(mode=0o700)
    tar.dir("d").add("d/.wh..wh..opq").add("d/link/x").add("d/sub/x")
    unpack(tar, upper, lower)
    assert (upper / "d" / "link" / "x").exists()
    assert stat.S_IMODE((upper / "d" / "sub").stat().st_mode) == 0o755


def test_a_file_below_that_is_hard_linked_is_copied(tar: Tar, upper: Path, lower: Path) -> None:
    (lower / "d").mkdir()
    (lower / "d" / "file").write_bytes(b"content" * 300_000)
    (lower / "d" / "file").chmod(0o640)
    os.setxattr(lower / "d" / "file", "user.note", b"1")
    os.utime(lower / "d" / "file", ns=(0, 5 * SECOND + 5))
    unpack(tar.hardlink("hard", "d/file"), upper, lower)
    made = (upper / "d" / "file").stat()
    assert made.st_ino == (upper / "hard").stat().st_ino
    assert (upper / "hard").read_bytes() == b"content" * 300_000
    assert (stat.S_IMODE(made.st_mode), made.st_mtime_ns) == (0o640, 5 * SECOND + 5)
    assert os.getxattr(upper / "hard", "user.note") == b"1"


def test_a_device_below_that_is_hard_linked_stays_a_device(
    tar: Tar, upper: Path, lower: Path
) -> None:
    (lower / "null").touch()
    os.setxattr(lower / "null", tree.DEVICE, b"c 1 3")
    unpack(tar.hardlink("hard", "null"), upper, lower)
    assert os.getxattr(upper / "hard", tree.DEVICE) == b"c 1 3"


# --- refusals ------------------------------------------------------------------------------------


def test_another_content_than_promised_is_refused(tar: Tar, upper: Path) -> None:
    with pytest.raises(ContentError, match="its image says") as caught:
        apply(tar.add("file").stream(), upper, expected_diff_id=digest.of(b"else"))
    assert "tampered" in caught.value.hint


def test_trailing_data_is_refused(tar: Tar, upper: Path) -> None:
    data = tar.add("file").bytes() + b"hidden".ljust(512)
    with pytest.raises(ContentError, match="follows the end"):
        apply(io.BytesIO(data), upper)


@pytest.mark.parametrize("cut", [600, 5_000_000])
def test_a_truncated_layer_is_refused(tar: Tar, upper: Path, cut: int) -> None:
    data = tar.add("file", bytes(9_000_000)).bytes()
    with pytest.raises(ContentError, match="truncated"):
        apply(io.BytesIO(data[:cut]), upper)


def test_damaged_compression_is_what_the_caller_hears_of(upper: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(os.urandom(4 << 20))
    out = io.BytesIO()
    pack(tmp_path / "in", out, Compression())
    with pytest.raises(ContentError, match="gzip data"):
        apply(io.BytesIO(out.getvalue()[:-100_000]), upper)


def test_a_directory_in_use_is_refused(tar: Tar, upper: Path) -> None:
    (upper / "file").touch()
    with pytest.raises(StoreError, match="not empty"):
        apply(tar.stream(), upper)


def test_a_failing_source_is_explained(upper: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(StoreError, match="Input/output error while unpacking"):
        apply(Broken(), upper)


def test_a_stop_ends_unpacking(tar: Tar, upper: Path) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Canceled):
        apply(tar.add("file").stream(), upper, stop=stop)


def test_an_empty_layer_is_one(upper: Path) -> None:
    assert apply(io.BytesIO(bytes(1024)), upper).files == 0
