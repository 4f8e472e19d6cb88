"""Where overlays can stand: found by trying, and what to do where they cannot."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError
from viaduct.base.values import Value
from viaduct.sandbox import kernel, mountinfo, mounts

if TYPE_CHECKING:
    from pathlib import Path

#: overlayfs inside of a user namespace.
SINCE = (5, 11)

_GOOD = ("ext4", "xfs", "btrfs")
#: What a place must have free to be recommended.
_ROOM = 4 << 30


class Refusal(Value):
    """Why overlays cannot be used, in a few words, and what mends it. `sockets` says that not even
    whiteouts can be made as overlayfs has them (`viaduct.layer.tree`)."""

    why: str
    remedy: str
    sockets: bool = False


def try_out(place: Path) -> Refusal | None:
    """Do in the directory `place` what a build does with overlays; None when all of it works.

    Takes about a millisecond. What is left in `place` only we can remove: an overlay's work
    directory is closed to ordinary users. Raises OSError when not even directories can be made.
    """
    lower, upper, work, at = (place / name for name in ("lower", "upper", "work", "at"))
    for directory in (lower / "below", upper, work, at):
        directory.mkdir(parents=True)
    try:
        os.mknod(upper / "gone", stat.S_IFCHR, 0)
    except OSError:
        return _elsewhere(place, sockets=True)
    try:
        with mounts.overlay([lower], upper=upper, work=work, at=at):
            # What breaks first where attributes are missing (dpkg).
            (at / "below" / "new").mkdir()
            os.rename(at / "below" / "new", at / "renamed")
    except OSError:
        return _elsewhere(place)
    except SandboxError as error:
        return _refused(place, error.__cause__)
    return None


def _refused(place: Path, cause: BaseException | None) -> Refusal:
    code = cause.errno if isinstance(cause, OSError) else 0
    if code == errno.ENODEV:
        return Refusal("the kernel has no overlayfs", "sudo modprobe overlay")
    if code == errno.EPERM and kernel.version() < SINCE:
        since = ".".join(map(str, SINCE))
        release = os.uname().release
        why = f"overlayfs in a user namespace needs Linux {since}, this is {release}"
        return Refusal(why, "boot a newer kernel")
    return _elsewhere(place)


def _elsewhere(place: Path, *, sockets: bool = False) -> Refusal:
    kind = mountinfo.kind_at(place)
    remedy = f"point VIADUCT_HOME at {', '.join(_GOOD)} or tmpfs (in a container, at a volume)"
    if (better := _recommended()) is not None:
        remedy += f"; a directory in {better} would do"
    where = f"the file system of VIADUCT_HOME ({kind})" if kind else "VIADUCT_HOME's file system"
    return Refusal(f"{where} cannot hold overlays", remedy, sockets)


def _recommended() -> Path | None:
    """The mount point with the most room where we may make a directory and overlays can stand."""
    rooms = {
        each.point: _room(each.point)
        for each in mountinfo.mounts()
        if each.kind in _GOOD and each.writable
    }
    best = max(rooms, key=lambda point: rooms[point], default=None)
    return best if best is not None and rooms[best] >= _ROOM else None


def _room(point: Path) -> int:
    """Bytes that we may use below a directory; 0 when it is closed to us, or a file."""
    try:
        if not point.is_dir() or not os.access(point, os.W_OK | os.X_OK, effective_ids=True):
            return 0
        told = os.statvfs(point)
    except OSError:
        return 0
    return told.f_bavail * told.f_frsize
