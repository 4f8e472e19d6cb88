from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import SandboxError
from viaduct.sandbox.users import User, resolve

if TYPE_CHECKING:
    from pathlib import Path

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1001:App:/home/app:/bin/sh
app:x:7:7:second of the name::
42:x:9:9:a name of digits:/nine:
far:x:4294967294:0::/:
"""
_GROUP = "root:x:0:root\napp:x:1001:\nwheel:x:10:root,app\naudio:x:29:app\nstaff:x:50:\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(_PASSWD)
    (tmp_path / "etc/group").write_text(_GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (0, 10), "/root")),
        ("root", User(0, 0, (0, 10), "/root")),
        ("app", User(1000, 1001, (10, 29), "/home/app")),
        ("1000", User(1000, 1001, (10, 29), "/home/app")),
        ("app:staff", User(1000, 50, (), "/home/app")),
        ("app:5", User(1000, 5, (), "/home/app")),
        ("1234", User(1234, 0)),
        ("1234:staff", User(1234, 50)),
        ("42", User(42, 0)),
        (":staff", User(0, 50, (), "/root")),
    ],
)
def test_users_are_looked_up_in_the_image(root: Path, text: str, user: User) -> None:
    assert resolve(root, text) == user


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eve", "unable to find user eve: no matching entries in passwd file"),
        ("app:eves", "unable to find group eves: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("4294967295", "uids and gids must be in range 0-2147483647"),
        ("0:99999999999999999999999", "uids and gids must be in range 0-2147483647"),
        ("far", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_a_user_that_does_not_exist_is_named(root: Path, text: str, message: str) -> None:
    with pytest.raises(SandboxError) as caught:
        resolve(root, text)
    assert caught.value.what == message


def test_an_image_without_user_database_runs_as_root_or_by_number(tmp_path: Path) -> None:
    assert resolve(tmp_path, "") == User()
    assert resolve(tmp_path, "12:34") == User(12, 34)
    with pytest.raises(SandboxError, match="unable to find user app"):
        resolve(tmp_path, "app")


def test_a_database_outside_of_the_root_is_not_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("evil:x:666:666:::\n")
    (root / "etc/passwd").unlink()
    for target in (str(outside), f"../../{outside.name}", f"/proc/self/root{outside}"):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(SandboxError, match="unable to find user evil"):
            resolve(root, "evil")
        (root / "etc/passwd").unlink()


def test_links_inside_of_the_root_are_followed_as_inside(root: Path) -> None:
    (root / "usr/share").mkdir(parents=True)
    (root / "etc/passwd").rename(root / "usr/share/passwd")
    (root / "etc/passwd").symlink_to("/usr/share/passwd")
    assert resolve(root, "app").uid == 1000


def test_a_database_that_is_a_pipe_or_directory_counts_as_absent(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert resolve(root, "5") == User(5, 0)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").mkdir()
    assert resolve(root, "").uid == 0


def test_an_endless_database_is_refused(root: Path) -> None:
    with (root / "etc/passwd").open("wb") as file:
        file.truncate(11 << 20)
    with pytest.raises(SandboxError, match="/etc/passwd exceeds 10485760 bytes"):
        resolve(root, "app")
