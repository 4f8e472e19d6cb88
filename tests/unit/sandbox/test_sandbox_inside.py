from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.base.errors import SandboxError
from viaduct.sandbox.inside import make_directory, open_inside, read_inside, real_path
from viaduct.sandbox.users import User

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "up").symlink_to("../../../../usr")
    (root / "away").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", ""),
        ("/lib/x", "usr/lib/x"),
        ("lib", "usr/lib"),
        ("/up/lib", "usr/lib"),
        ("/away/passwd", "etc/passwd"),
        ("/../../../etc", "etc"),
        ("/usr/./lib/../new/er", "usr/new/er"),
    ],
)
def test_a_path_is_resolved_as_the_image_would(root: Path, path: str, real: str) -> None:
    assert real_path(root, path) == (root / real if real else root)


def test_links_in_circles_are_an_error(root: Path) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        real_path(root, "/loop/x")


def test_a_file_outside_is_never_opened(root: Path) -> None:
    (root.parent / "secret").write_text("secret")
    for target in ("../secret", "../../secret", str(root.parent / "secret")):
        (root / "link").symlink_to(target)
        with pytest.raises(FileNotFoundError):
            read_inside(root, "/link", limit=100)
        (root / "link").unlink()


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "b", "..", ".", "up", "self"]), max_size=8))
def test_both_ways_of_resolving_agree_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    root = tmp_path_factory.getbasetemp() / "agree"
    if not root.exists():
        (root / "a/b/a").mkdir(parents=True)
        (root / "b").mkdir()
        for place in (root, root / "a", root / "a/b", root / "b"):
            (place / "up").symlink_to("..")
            (place / "self").symlink_to("/a")
    path = "/".join(parts)
    ours = real_path(root, path)
    assert ours.is_relative_to(root)
    try:
        fd = open_inside(root, path, os.O_PATH)
    except OSError:
        # `a/x/..` does not exist for the kernel, and is `a` for us.
        return
    try:
        assert os.path.samestat(os.fstat(fd), os.stat(ours))
    finally:
        os.close(fd)


def test_a_working_directory_is_made_for_the_user_who_works_there(root: Path) -> None:
    me = User(os.getuid(), os.getgid())
    old = os.umask(0o077)
    try:
        make_directory(root, "/lib/app/src", me, squashed=False)
    finally:
        os.umask(old)
    for name in ("usr/lib/app", "usr/lib/app/src"):
        found = (root / name).stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o755, os.getuid())


def test_a_file_in_the_way_of_a_working_directory_is_named(root: Path) -> None:
    (root / "file").write_text("")
    with pytest.raises(SandboxError, match="cannot make the working directory /file/sub"):
        make_directory(root, "/file/sub", User(), squashed=True)


def test_a_path_that_no_file_can_have_is_an_error_of_the_image(root: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        open_inside(root, "/a\0b", os.O_PATH)
    with pytest.raises(SandboxError, match="cannot make the working directory"):
        make_directory(root, "/a\0b", User(), squashed=False)
