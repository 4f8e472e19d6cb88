"""Which runtime and which kind of mount are chosen, without starting or mounting anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.base.errors import SandboxError
from viaduct.sandbox.mounts import Bind, Overlay, Tmpfs, layered
from viaduct.sandbox.runtime import choose

_BOTH = {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}
_A, _B, _AT = Path("/l/a"), Path("/l/b"), Path("/at")
_UP, _WORK = Path("/u"), Path("/w")


def test_the_faster_runtime_is_taken_where_it_works() -> None:
    assert choose(_BOTH, unified=True) == ("crun", "/usr/bin/crun")
    assert choose(_BOTH, unified=False) == ("runc", "/usr/sbin/runc")
    assert choose({"runc": "/r"}, unified=True) == ("runc", "/r")


def test_an_explicit_runtime_wins() -> None:
    assert choose(_BOTH, unified=True, asked="/opt/runc") == ("runc", "/opt/runc")
    assert choose({}, unified=False, asked="/opt/crun-1.20") == ("crun", "/opt/crun-1.20")


@pytest.mark.parametrize(
    ("found", "unified", "asked", "hint"),
    [
        ({}, True, None, "sudo apt-get install crun"),
        ({"crun": "/usr/bin/crun"}, False, None, "sudo apt-get install runc"),
        (_BOTH, True, "", "set it to the path of runc or crun"),
    ],
)
def test_a_machine_without_usable_runtime_is_told_what_to_install(
    found: dict[str, str], unified: bool, asked: str | None, hint: str
) -> None:
    with pytest.raises(SandboxError) as caught:
        choose(found, unified=unified, asked=asked)
    assert caught.value.hint == hint


def test_several_layers_need_an_overlay_and_fewer_something_cheaper() -> None:
    assert layered([_A, _B], upper=_UP, work=_WORK, at=_AT) == Overlay((_A, _B), _AT, _UP, _WORK)
    assert layered([_A, _B], upper=None, work=None, at=_AT) == Overlay((_A, _B), _AT, readonly=True)
    assert layered([_A], upper=None, work=None, at=_AT) == Bind(_A, _AT, readonly=True)
    assert layered([], upper=_UP, work=_WORK, at=_AT) == Bind(_UP, _AT)
    assert layered([], upper=None, work=None, at=_AT) == Tmpfs(_AT, size=4096, readonly=True)


@pytest.mark.parametrize(
    ("mount", "command"),
    [
        (Bind(_A, _AT, readonly=True), "mount -o rbind,ro /l/a /at"),
        (
            Tmpfs(_AT, size=4096, mode=0o700, readonly=True),
            "mount -t tmpfs -o mode=700,size=4096,ro tmpfs /at",
        ),
        (
            Overlay((_A, _B), _AT, _UP, _WORK),
            "mount -t overlay -o userxattr,index=off,lowerdir=/l/a:/l/b,upperdir=/u,workdir=/w,"
            "volatile overlay /at",
        ),
    ],
)
def test_a_mount_is_described_as_a_command(mount: Bind | Tmpfs | Overlay, command: str) -> None:
    assert mount.describe() == command


def test_more_layers_than_the_kernel_takes_are_refused_before_mounting() -> None:
    with pytest.raises(SandboxError, match="501 layers and overlayfs takes 500"):
        Overlay(tuple(Path(f"/l/{n}") for n in range(501)), _AT).execute()
