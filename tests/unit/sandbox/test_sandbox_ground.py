"""Where overlays can stand, and what is told where they cannot."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from viaduct.sandbox import ground, kernel, mountinfo, syscalls
from viaduct.sandbox.mountinfo import Mounted

if TYPE_CHECKING:
    from pathlib import Path


def _refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Have the kernel refuse every overlay."""

    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(syscalls, "mount", refuse)


@pytest.mark.usefixtures("as_root")
def test_overlays_stand_where_tests_keep_their_files(tmp_path: Path) -> None:
    assert ground.try_out(tmp_path / "place") is None


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("code", "release", "why", "remedy"),
    [
        (errno.ENODEV, (6, 1), "the kernel has no overlayfs", "sudo modprobe overlay"),
        (errno.EPERM, (5, 10), "overlayfs in a user namespace needs Linux 5.11", "boot a newer"),
        (errno.EINVAL, (6, 1), "cannot hold overlays", "point VIADUCT_HOME at ext4, xfs, btrfs"),
    ],
)
def test_a_refusal_says_why_and_what_mends_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    release: tuple[int, int],
    why: str,
    remedy: str,
) -> None:
    _refuse(monkeypatch, code)
    monkeypatch.setattr(kernel, "version", lambda: release)
    refusal = ground.try_out(tmp_path / "place")
    assert refusal is not None
    assert why in refusal.why
    assert remedy in refusal.remedy
    assert not refusal.sockets


def test_a_volume_with_room_is_recommended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(ground, "_ROOM", 1)
    monkeypatch.setattr(
        mountinfo,
        "mounts",
        lambda: (
            Mounted(tmp_path, "overlay", writable=True),
            Mounted(tmp_path / "file", "ext4", writable=True),
            Mounted(tmp_path / "gone", "ext4", writable=True),
            Mounted(tmp_path, "ext4", writable=False),
            Mounted(tmp_path, "xfs", writable=True),
        ),
    )
    refusal = ground._elsewhere(tmp_path)
    assert refusal.remedy.endswith(f"; a directory in {tmp_path} would do")


def test_mounts_are_read_with_odd_names_and_the_last_one_covers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    place = tmp_path / "with space"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    table.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw\n"
        f"22 21 8:2 / {escaped} rw - xfs /dev/b rw\n"
        f"23 22 0:5 /x {escaped} ro,nosuid master:2 shared:3 - overlay overlay rw,lowerdir=/l\n"
    )
    monkeypatch.setattr(mountinfo, "_TABLE", table)
    assert mountinfo.mounts()[-1] == Mounted(place, "overlay", writable=False)
    assert mountinfo.kind_at(place / "below") == "overlay"
    assert mountinfo.kind_at(tmp_path) == "ext4"
    table.unlink()
    assert mountinfo.kind_at(tmp_path) == ""
