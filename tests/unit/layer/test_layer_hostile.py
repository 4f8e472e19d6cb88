"""No archive, whatever it tries, touches anything outside of the directory it is unpacked into.

Every test here runs twice: as an image's layer, and as an archive that `ADD` unpacks.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer.apply import apply
from viaduct.layer.extract import extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.layer.conftest import Tar

    Unpack = Callable[[Tar], Path]

FIFO, CHAR = tarfile.FIFOTYPE, tarfile.CHRTYPE


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A directory outside of the root; it must look the same when the test is over."""

    inside = (tmp_path / "layer" / "upper", tmp_path / "lower")

    def state() -> list[tuple[Path, int, int, bytes]]:
        outside = (tmp_path, *(p for p in tmp_path.rglob("*") if not within(p)))
        return sorted(
            (path, path.lstat().st_mode, path.lstat().st_nlink, content(path)) for path in outside
        )

    def within(path: Path) -> bool:
        return any(path.is_relative_to(root) for root in inside)

    def content(path: Path) -> bytes:
        return path.read_bytes() if path.is_file() else b""

    directory = tmp_path / "victim"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    (directory / "secret").chmod(0o600)
    before = state()
    yield directory
    assert state() == before


@pytest.fixture(params=["layer", "archive"])
def unpack(request: pytest.FixtureRequest, upper: Path, victim: Path) -> Unpack:
    def run(tar: Tar) -> Path:
        if request.param == "layer":
            apply(tar.stream(), upper, squash_owner=True)
        else:
            extract(tar.stream(), upper, squash_owner=True)
        return upper

    return run


def test_dots_cannot_climb_out(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="leave its directory"):
        unpack(tar.add("../../victim/evil", b"evil"))


def test_dots_cannot_climb_out_later_in_a_path(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="leave its directory"):
        unpack(tar.dir("a").add("a/../../../victim/evil", b"evil"))


def test_dots_after_a_slash_cannot_climb_out(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="leave its directory"):
        unpack(tar.add("/../victim/evil", b"evil"))


def test_an_absolute_path_means_the_root(tar: Tar, unpack: Unpack, victim: Path) -> None:
    root = unpack(tar.add(f"{victim}/evil", b"harmless"))
    assert (root / str(victim).lstrip("/") / "evil").read_bytes() == b"harmless"


def test_an_absolute_symlink_leads_inside(tar: Tar, unpack: Unpack, victim: Path) -> None:
    root = unpack(tar.symlink("out", str(victim)).add("out/evil", b"harmless"))
    assert (root / str(victim).lstrip("/") / "evil").read_bytes() == b"harmless"


def test_a_relative_symlink_stops_at_the_root(tar: Tar, unpack: Unpack) -> None:
    root = unpack(tar.symlink("out", "../../../victim").add("out/evil", b"harmless"))
    assert (root / "victim" / "evil").read_bytes() == b"harmless"


def test_symlinks_to_symlinks_stop_at_the_root(tar: Tar, unpack: Unpack) -> None:
    tar.dir("d").symlink("d/up", "..").symlink("d/out", "up/d/up/../../victim")
    root = unpack(tar.add("d/out/evil", b"harmless"))
    assert (root / "victim" / "evil").read_bytes() == b"harmless"


def test_a_symlink_that_replaces_a_directory_leads_inside(
    tar: Tar, unpack: Unpack, victim: Path
) -> None:
    tar.dir("d").add("d/one").symlink("d", str(victim)).add("d/evil", b"harmless")
    root = unpack(tar)
    assert (root / str(victim).lstrip("/") / "evil").exists()


def test_a_file_does_not_write_through_a_symlink(tar: Tar, unpack: Unpack, victim: Path) -> None:
    root = unpack(tar.symlink("file", f"{victim}/secret").add("file", b"overwritten"))
    assert not (root / "file").is_symlink()
    assert (root / "file").read_bytes() == b"overwritten"


def test_a_directory_does_not_change_what_a_symlink_names(
    tar: Tar, unpack: Unpack, victim: Path
) -> None:
    root = unpack(tar.symlink("dir", str(victim)).dir("dir", 0o777))
    assert not (root / "dir").is_symlink()


def test_times_and_modes_are_not_set_through_a_symlink(
    tar: Tar, unpack: Unpack, victim: Path
) -> None:
    before = victim.stat().st_mtime_ns
    unpack(tar.dir("dir", 0o777).symlink("dir", str(victim)))
    assert victim.stat().st_mtime_ns == before


def test_a_hard_link_cannot_climb_out(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="leave its directory"):
        unpack(tar.hardlink("stolen", "../../victim/secret"))


def test_a_hard_link_cannot_name_an_absolute_path(tar: Tar, unpack: Unpack, victim: Path) -> None:
    with pytest.raises(ContentError, match="does not exist"):
        unpack(tar.hardlink("stolen", f"{victim}/secret"))


def test_a_hard_link_cannot_go_through_a_symlink(tar: Tar, unpack: Unpack, victim: Path) -> None:
    with pytest.raises(ContentError, match="does not exist"):
        unpack(tar.symlink("out", str(victim)).hardlink("stolen", "out/secret"))


def test_a_hard_link_to_a_symlink_does_not_follow_it(
    tar: Tar, unpack: Unpack, victim: Path
) -> None:
    tar.symlink("link", f"{victim}/secret").hardlink("stolen", "link").add("stolen", b"new")
    root = unpack(tar)
    assert (root / "stolen").read_bytes() == b"new"
    assert (root / "link").is_symlink()


def test_a_hard_link_cannot_name_a_directory(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="does not exist"):
        unpack(tar.dir("dir").hardlink("loop", "dir"))


def test_no_device_is_ever_made(tar: Tar, unpack: Unpack) -> None:
    root = unpack(tar.add("sda", kind=CHAR, device=(8, 0), mode=0o666))
    assert stat.S_ISREG((root / "sda").lstat().st_mode)


def test_writing_to_a_fifo_of_the_archive_does_not_hang(tar: Tar, unpack: Unpack) -> None:
    root = unpack(tar.add("pipe", kind=FIFO).add("pipe", b"replaced"))
    assert (root / "pipe").read_bytes() == b"replaced"


def test_a_circle_of_symlinks_ends(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="circle"):
        unpack(tar.symlink("a", "b").symlink("b", "a").add("a/file"))


def test_a_path_through_a_file_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="not a directory"):
        unpack(tar.add("file").add("file/below"))


def test_a_path_through_a_fifo_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="not a directory"):
        unpack(tar.add("pipe", kind=FIFO).add("pipe/below"))


def test_a_path_without_end_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="path of"):
        unpack(tar.add("a/" * 40_000 + "file"))


def test_a_name_that_no_file_system_takes_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="cannot be unpacked"):
        unpack(tar.add("n" * 300))


def test_a_symlink_that_no_file_system_takes_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="cannot be unpacked"):
        unpack(tar.symlink("link", "t" * 5000))


def test_a_symlink_to_nothing_at_all_is_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="cannot be unpacked"):
        unpack(tar.symlink("link", ""))


def test_directories_too_deep_to_walk_are_refused(tar: Tar, unpack: Unpack) -> None:
    with pytest.raises(ContentError, match="too deep"):
        unpack(tar.add("d/" * 1000 + "file"))


def test_directories_too_deep_through_symlinks_are_refused(tar: Tar, unpack: Unpack) -> None:
    tar.dir("d/" * 400).symlink("deep", "d/" * 400)
    with pytest.raises(ContentError, match="too deep"):
        unpack(tar.add("deep/" + "d/" * 400 + "file"))


def test_directories_may_be_deeper_than_descriptors_are_kept(tar: Tar, unpack: Unpack) -> None:
    deep = "d/" * 500
    root = unpack(tar.add(deep + "one").add(deep + "two").add("d/d/three").add(deep + "four"))
    assert sorted(os.listdir(root / deep)) == ["four", "one", "two"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "dir/.wh..."])
def test_a_whiteout_cannot_name_a_directory_above(tar: Tar, upper: Path, name: str) -> None:
    with pytest.raises(ContentError, match="whiteout"):
        apply(tar.dir("dir").add(name).stream(), upper, squash_owner=True)


def test_a_whiteout_does_not_go_through_a_symlink(tar: Tar, upper: Path, victim: Path) -> None:
    apply(tar.symlink("out", str(victim)).add("out/.wh.secret").stream(), upper, squash_owner=True)


def test_an_opaque_marker_does_not_go_through_a_symlink(
    tar: Tar, upper: Path, victim: Path
) -> None:
    tar.symlink("out", str(victim)).add("out/.wh..wh..opq")
    apply(tar.stream(), upper, squash_owner=True)
    assert os.listxattr(victim) == []


def test_a_hard_link_does_not_leave_through_a_link_below(
    tar: Tar, upper: Path, lower: Path, victim: Path
) -> None:
    (lower / "out").symlink_to(victim)
    with pytest.raises(ContentError, match="does not exist"):
        stolen = tar.hardlink("stolen", "out/secret").stream()
        apply(stolen, upper, lower=[lower], squash_owner=True)


def test_a_link_of_the_image_leads_inside_when_unpacking_over_it(
    tar: Tar, upper: Path, victim: Path
) -> None:
    (upper / "srv").symlink_to(victim)
    extract(tar.add("evil", b"harmless").stream(), upper, "/srv", squash_owner=True)
    assert (upper / str(victim).lstrip("/") / "evil").read_bytes() == b"harmless"


def test_a_destination_cannot_climb_out(tar: Tar, upper: Path, victim: Path) -> None:
    with pytest.raises(ContentError, match="leave its directory"):
        extract(tar.add("evil").stream(), upper, "/../victim", squash_owner=True)
