"""Results as plain files."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import BuildError
from viaduct.base.tasks import Stop
from viaduct.export import files
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def trees(tmp_path: Path) -> list[tuple[Platform, Path]]:
    """Two trees that share directories and one link to a directory."""
    found = []
    for platform in (AMD64, ARM64):
        tree = tmp_path / platform.path_name
        (tree / "usr/bin").mkdir(parents=True)
        (tree / f"usr/bin/{platform.architecture}").write_text(platform.architecture)
        found.append((platform, tree))
    return found


def mine() -> tuple[int, int]:
    return os.getuid(), os.getgid()


def test_trees_without_conflicts_are_merged(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    files.write_local(tmp_path / "out", trees, split=False, owner=mine())
    assert sorted(p.name for p in (tmp_path / "out/usr/bin").iterdir()) == ["amd64", "arm64"]


def test_a_link_to_a_directory_is_a_conflict_too(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    for _platform, tree in trees:
        (tree / "bin").symlink_to("usr/bin")
    with pytest.raises(
        BuildError, match="cannot overwrite bin from linux/amd64 with linux/arm64 when split"
    ):
        files.write_local(tmp_path / "out", trees, split=False, owner=mine())
    with pytest.raises(BuildError, match="cannot overwrite bin"):
        files.write_tar(io.BytesIO(), trees, split=False, epoch=None, stop=Stop())


def test_the_first_conflict_is_named_in_order(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    for _platform, tree in trees:
        for name in ("z", "b", "usr/a"):
            (tree / name).write_text("")
    with pytest.raises(BuildError, match="cannot overwrite b from"):
        files.write_local(tmp_path / "out", trees, split=False, owner=mine())


def test_the_epoch_is_the_time_of_everything(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    (trees[0][1] / "link").symlink_to("nowhere")
    files.write_local(tmp_path / "out", trees, split=True, owner=mine(), epoch=1_700_000_000)
    found = list((tmp_path / "out").rglob("*"))
    assert {int(path.lstat().st_mtime) for path in found} == {1_700_000_000}
    out = io.BytesIO()
    files.write_tar(out, trees, split=True, epoch=1_700_000_000, stop=Stop())
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert {member.mtime for member in archive} == {1_700_000_000}
        assert "linux_arm64/usr/bin/arm64" in archive.getnames()


@pytest.mark.parametrize("split", [True, False])
def test_strangers_are_removed_on_request(
    trees: list[tuple[Platform, Path]], tmp_path: Path, split: bool
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    top = out / "linux_amd64" if split else out
    (top / "old/deep").mkdir(parents=True)
    (top / "old/deep/file").write_text("")
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("")
    (out / "link").symlink_to(elsewhere)
    # A directory where the result has a file, and a link where it has a directory.
    (top / "usr/bin/amd64").mkdir(parents=True)
    (out / "linux_arm64" if split else out / "usr2").symlink_to(elsewhere)
    files.write_local(out, trees, split=split, owner=mine(), delete=True)
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*") if not p.is_dir())
    expected = (
        ["linux_amd64/usr/bin/amd64", "linux_arm64/usr/bin/arm64"]
        if split
        else ["usr/bin/amd64", "usr/bin/arm64"]
    )
    assert found == expected
    assert (elsewhere / "precious").exists()
    assert not (top / "old").exists()


def test_without_a_request_strangers_stay(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("")
    files.write_local(tmp_path / "out", trees, split=True, owner=mine())
    assert (tmp_path / "out/mine").exists()


def test_a_file_in_the_directorys_way_is_told(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/linux_amd64").write_text("")
    with pytest.raises((BuildError, OSError)):
        files.write_local(tmp_path / "out", trees, split=True, owner=mine())


def test_a_link_that_an_earlier_result_left_is_not_written_through(
    trees: list[tuple[Platform, Path]], tmp_path: Path
) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "linux_amd64").symlink_to(outside)
    with pytest.raises(BuildError, match="linux_amd64 is a link"):
        files.write_local(out, trees, split=True, owner=mine())
    (out / "linux_amd64").unlink()
    (out / "usr").symlink_to(outside)
    with pytest.raises(BuildError, match="non-directory: /usr"):
        files.write_local(out, trees, split=False, owner=mine())
    assert list(outside.iterdir()) == []
