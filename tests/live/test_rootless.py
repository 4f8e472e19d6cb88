"""Builds by an ordinary user: with sub-ids, without any, and inside of another user namespace."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers, traces
from tests.parts.contexts import BOTH
from tests.parts.users import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.users import User

_OWNERS = (
    "FROM BASE\n"
    "RUN echo worker:x:1234:1234::/home/worker:/bin/sh >> /etc/passwd\n"
    "RUN mkdir /owned && touch /owned/by-user /owned/by-group && "
    "chown 1234:5678 /owned/by-user && chgrp 42 /owned/by-group\n"
    "COPY --chown=77:88 file /copied\n"
    "USER worker\n"
    "RUN id -u; touch /tmp/mine; stat -c %u:%g /tmp/mine /owned/by-user /copied\n"
)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with ordinary_user() as made:
        yield made


@pytest.fixture(scope="module")
def poor_user() -> Iterator[User]:
    """A user without subordinate ids."""
    with ordinary_user(subids=False) as made:
        yield made


def _context(user: User, name: str, text: str, base: str) -> Path:
    root = user.home / name
    root.mkdir()
    (root / "Dockerfile").write_text(text.replace("BASE", base))
    (root / "file").write_text("content\n")
    return user.own(root)


def _nothing_left(user: User) -> None:
    assert traces.settled(str(user.home)) == []
    assert traces.mounts(user.home) == []


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_an_ordinary_user_builds_and_pushes_both_platforms_with_real_owners(
    user: User, busybox: str, registry: str, tmp_path: Path, runtime: str
) -> None:
    root = _context(user, f"owners-{runtime}", _OWNERS, busybox)
    name = f"{registry}/rootless-{runtime}:1"
    done = user.viaduct(
        *["build", "--progress", "plain", "--no-cache", *BOTH, "-t", name, "--push", str(root)],
        env={"VIADUCT_RUNTIME": runtime},
    )
    log = done.stderr.decode()
    assert log.count(" 1234\n") == 2
    for owners in ("1234:1234", "1234:5678", "77:88"):
        assert log.count(f" {owners}\n") == 2
    for arch in ("amd64", "arm64"):
        found = readers.owners(f"docker://{name}", tmp_path / arch, platform=f"linux/{arch}")
        assert found["owned/by-user"] == "1234:5678"
        assert found["owned/by-group"] == "0:42"
        assert found["copied"] == "77:88"
    _nothing_left(user)


def test_state_is_below_the_users_home_and_belongs_to_the_user(user: User, busybox: str) -> None:
    root = _context(user, "state", "FROM BASE\nRUN echo hello\n", busybox)
    user.viaduct("build", str(root))
    state = user.home / ".local/share/viaduct"
    assert (state / "viaduct.db").stat().st_uid == user.uid
    assert (state / "content/oci-layout").stat().st_uid == user.uid
    for folder in ("content", "snapshots"):
        assert (state / folder).stat().st_mode & 0o077 == 0, "set-user-id programs are in there"
    readers.check_layout(state / "content")


def test_steps_of_an_ordinary_user_cannot_reach_the_machine(user: User, busybox: str) -> None:
    attempts = (
        "mount -t tmpfs none /mnt",
        "unshare -U true",
        "echo 1 > /proc/sys/kernel/printk",
        "mkdir /sys/fs/cgroup/mine",
        "mknod /disk b 8 0",
        "grep -q . /proc/keys",
        "chmod 600 /dev/null",
    )
    lines = [f"RUN if ( {attempt} ); then echo got through; fi" for attempt in attempts]
    root = _context(user, "reach", "FROM BASE\n" + "\n".join(lines) + "\n", busybox)
    log = user.viaduct("build", "--progress", "plain", str(root)).stderr.decode()
    assert [line for line in log.splitlines() if line.endswith(" got through")] == []


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_without_sub_ids_a_build_works_and_says_that_owners_are_squashed(
    poor_user: User, busybox: str, registry: str, tmp_path: Path, runtime: str
) -> None:
    text = (
        "FROM BASE\nRUN --mount=type=cache,target=/cache,uid=7,gid=8 touch /cache/x\n"
        "RUN id -u; touch /made; chown 1234:5678 /made; stat -c %u:%g /made\n"
        "COPY --chown=77:88 file /copied\nUSER 5\nRUN id -u; cat /copied\n"
    )
    root = _context(poor_user, f"squashed-{runtime}", text, busybox)
    name = f"{registry}/squashed-{runtime}:1"
    done = poor_user.viaduct(
        *["build", "--progress", "plain", *BOTH, "-t", name, "--push", str(root)],
        env={"VIADUCT_RUNTIME": runtime},
    )
    log = done.stderr.decode()
    assert "every file in the image will belong to root" in log
    assert "usermod --add-subuids 100000-165535 --add-subgids 100000-165535" in log
    assert poor_user.name in log
    rootfs = readers.unpack(f"docker://{name}", tmp_path / "it", platform="linux/arm64")
    assert (rootfs / "copied").read_text() == "content\n"
    found = readers.owners(f"docker://{name}", tmp_path / "again", platform="linux/arm64")
    assert found["made"] == "0:0"
    _nothing_left(poor_user)


def test_where_set_uid_programs_are_powerless_owners_are_squashed(
    user: User, busybox: str, registry: str
) -> None:
    """As under `NoNewPrivileges=yes` of systemd, and in most of Kubernetes."""
    root = _context(user, "powerless", "FROM BASE\nRUN chown 5:6 /etc && id -u\n", busybox)
    done = user.run(
        [
            *["setpriv", "--no-new-privs", *user.python, "-m", "viaduct", "build", "--progress"],
            *["plain", *BOTH, "-t", f"{registry}/powerless:1", "--push", str(root)],
        ],
        env={"VIADUCT_HOME": str(user.home / "powerless-state")},
    )
    log = done.stderr.decode()
    assert log.count(" 0\n") == 2
    assert "every file in the image will belong to root" in log
    assert "no-new-privileges" in log
    _nothing_left(user)


def test_builds_inside_of_another_user_namespace(user: User, busybox: str, registry: str) -> None:
    """As in a rootless container: root there, with the ids that it was given."""
    root = _context(user, "nested", _OWNERS, busybox)
    home = user.home / "nested-state"
    done = user.run(
        [
            *["unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork"],
            *["--mount-proc", *user.python, "-m", "viaduct", "build", "--progress", "plain"],
            *[*BOTH, "-t", f"{registry}/nested:1", "--push", str(root)],
        ],
        env={"VIADUCT_HOME": str(home)},
    )
    log = done.stderr.decode()
    assert log.count(" 1234:5678\n") == 2
    assert readers.platforms(f"docker://{registry}/nested:1") == ["linux/amd64", "linux/arm64"]
    _nothing_left(user)


def test_builds_where_only_one_id_exists(user: User, busybox: str, registry: str) -> None:
    """As in a container that was started with a single id mapped."""
    root = _context(user, "single", "FROM BASE\nRUN id -u; touch /made\n", busybox)
    home = user.home / "single-state"
    done = user.run(
        [
            *["unshare", "--user", "--map-root-user", "--mount", *user.python, "-m", "viaduct"],
            *["build", "--progress", "plain", *BOTH, "-t", f"{registry}/one-id:1", "--push"],
            str(root),
        ],
        env={"VIADUCT_HOME": str(home)},
    )
    assert done.stderr.decode().count(" 0\n") == 2
    _nothing_left(user)


def test_two_users_do_not_share_or_disturb_each_other(user: User, busybox: str) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(ordinary_user())
        for each in (user, other):
            root = _context(each, "two-users", "FROM BASE\nRUN echo only once\n", busybox)
            log = each.viaduct("build", "--progress", "plain", str(root)).stderr.decode()
            assert " only once\n" in log
        _nothing_left(other)
