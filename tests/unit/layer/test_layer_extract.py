"""`ADD` unpacks what is an archive by its content, into what is there already."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer.extract import extract, is_archive
from viaduct.layer.zstandard import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.layer.conftest import Tar

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_an_archive_is_known_by_its_content(
    tar: Tar, upper: Path, codec: Callable[[bytes], bytes]
) -> None:
    stream = io.BytesIO(codec(tar.add("file", b"content").bytes()))
    assert is_archive(stream)
    assert is_archive(stream.getvalue())
    assert stream.tell() == 0
    assert extract(stream, upper, squash_owner=True) == 1
    assert (upper / "file").read_bytes() == b"content"


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("data", [b"", b"text", bytes(4096), b"MZ" + bytes(5000)])
def test_other_files_are_no_archives(data: bytes, codec: Callable[[bytes], bytes]) -> None:
    assert not is_archive(io.BytesIO(codec(data)))


def test_a_file_that_only_begins_like_a_compressed_one_is_no_archive() -> None:
    for head in (b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"):
        assert not is_archive(io.BytesIO(head + b"something else entirely" * 100))


def test_the_beginning_of_an_archive_is_enough(tar: Tar) -> None:
    data = tar.add("file", os.urandom(300_000)).bytes()
    for codec in ("plain", "gzip", "xz", "zstd"):
        assert is_archive(CODECS[codec](data)[:200_000])


def test_it_is_unpacked_into_what_is_there(tar: Tar, upper: Path) -> None:
    (upper / "app").mkdir(mode=0o700)
    (upper / "app" / "dir").mkdir()
    (upper / "app" / "dir" / "kept").touch()
    (upper / "app" / "file").write_bytes(b"old and longer")
    tar.dir("./", 0o711).dir("dir", 0o755, mtime=5).add("dir/new").add("file", b"new")
    extract(tar.stream(), upper, "/app", squash_owner=True)
    assert sorted(os.listdir(upper / "app" / "dir")) == ["kept", "new"]
    assert (upper / "app" / "file").read_bytes() == b"new"
    assert stat.S_IMODE((upper / "app" / "dir").stat().st_mode) == 0o755
    assert stat.S_IMODE((upper / "app").stat().st_mode) == 0o700, "the top stays as it is"
    assert (upper / "app" / "dir").stat().st_mtime == 5


def test_a_missing_destination_is_made(tar: Tar, upper: Path) -> None:
    extract(tar.add("file").stream(), upper, b"new/and/deep/", squash_owner=True)
    assert (upper / "new" / "and" / "deep" / "file").exists()


def test_links_of_the_image_are_followed(tar: Tar, upper: Path) -> None:
    (upper / "usr" / "bin").mkdir(parents=True)
    (upper / "bin").symlink_to("/usr/bin")
    (upper / "opt").symlink_to("usr")
    archive = tar.add("bin/tool").bytes()
    extract(io.BytesIO(archive), upper, squash_owner=True)
    assert os.listdir(upper / "usr" / "bin") == ["tool"]
    (upper / "usr" / "bin" / "tool").unlink()
    extract(io.BytesIO(archive), upper, "/opt", squash_owner=True)
    assert os.listdir(upper / "usr" / "bin") == ["tool"]


def test_to_an_archive_its_destination_is_the_root(tar: Tar, upper: Path) -> None:
    """`ADD plugin.tar /app` changes /app alone, whatever links the archive or /app has."""
    (upper / "etc").mkdir()
    (upper / "app").mkdir()
    (upper / "app" / "there").symlink_to("/etc")
    tar.dir("etc").symlink("mine", "/etc").symlink("up", "../../../etc")
    tar.add("there/a").add("mine/b").add("up/c").hardlink("d", "/mine/b")
    extract(tar.stream(), upper, "/app", squash_owner=True)
    assert os.listdir(upper / "etc") == []
    assert sorted(os.listdir(upper / "app" / "etc")) == ["a", "b", "c"]
    assert (upper / "app" / "d").samefile(upper / "app" / "etc" / "b")


def test_a_directory_of_the_archive_replaces_a_link_of_the_image(tar: Tar, upper: Path) -> None:
    (upper / "usr").mkdir()
    (upper / "bin").symlink_to("usr")
    extract(tar.dir("bin").add("bin/tool").stream(), upper, squash_owner=True)
    assert not (upper / "bin").is_symlink()
    assert os.listdir(upper / "usr") == []


def test_hard_links_are_relative_to_the_destination(tar: Tar, upper: Path) -> None:
    (upper / "one").touch()
    tar.add("one", b"content").hardlink("two", "one")
    extract(tar.stream(), upper, "/app", squash_owner=True)
    assert (upper / "app" / "two").read_bytes() == b"content"


def test_whiteout_names_are_ordinary(tar: Tar, upper: Path) -> None:
    (upper / "file").touch()
    extract(tar.add(".wh.file").add(".wh..wh..opq").stream(), upper, squash_owner=True)
    assert sorted(os.listdir(upper)) == [".wh..wh..opq", ".wh.file", "file"]
    assert os.listxattr(upper) == []


def test_what_follows_the_archive_does_not_matter(tar: Tar, upper: Path) -> None:
    data = tar.add("file").bytes() + b"a signature" + os.urandom(30 << 20)
    assert extract(io.BytesIO(data), upper, squash_owner=True) == 1


def test_an_owner_for_everything(tar: Tar, upper: Path) -> None:
    mine = (os.getuid(), os.getgid())
    tar.dir("dir", owner=(12345, 54321)).add("dir/file", owner=(12345, 54321))
    tar.symlink("dir/link", "x")
    extract(tar.stream(), upper, "/made", owner=mine)
    for path in (upper / "made", *(upper / "made").rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == mine


def test_a_damaged_archive_says_so(tar: Tar, upper: Path) -> None:
    data = gzip.compress(tar.add("file", os.urandom(500_000)).bytes())
    with pytest.raises(ContentError, match="too early"):
        extract(io.BytesIO(data[:-200_000]), upper, squash_owner=True)
