"""Writing the id maps of a new user namespace, from outside of it.

Only a process of the parent namespace may map more than its own id: as root by writing the maps,
as an ordinary user through the set-uid programs `newuidmap` and `newgidmap`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from viaduct.base import proc
from viaduct.sandbox.idmap import IdMaps, IdRange, choose, parse_map, parse_subids

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The set-uid programs that map subordinate ids.
TOOLS = ("newuidmap", "newgidmap")
_CAP_SETGID, _CAP_SETUID = 6, 7


def user_name(uid: int) -> str:
    """The login name of `uid`, or its number."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def missing_tool() -> str:
    """The first of the mapping programs that is not installed, or empty."""
    return next((tool for tool in TOOLS if proc.find(tool) is None), "")


def without_privileges() -> bool:
    """Whether set-uid programs gain nothing when this process starts them (no-new-privileges)."""
    return "NoNewPrivs:\t1" in _read("/proc/self/status").splitlines()


class Ranges(NamedTuple):
    """(start, count) of each range of subordinate ids."""

    uids: tuple[tuple[int, int], ...] = ()
    gids: tuple[tuple[int, int], ...] = ()


def subordinate(uid: int) -> Ranges:
    """What /etc/subuid and /etc/subgid give to `uid`."""
    name = user_name(uid)
    return Ranges(
        parse_subids(_read("/etc/subuid"), name, uid), parse_subids(_read("/etc/subgid"), name, uid)
    )


def available(uid: int, gid: int) -> IdMaps:
    """The best maps that this machine gives a process of `uid` and `gid` now."""
    uids = parse_map(_read("/proc/self/uid_map"))
    gids = parse_map(_read("/proc/self/gid_map"))
    privileged = uid == 0 and _may_map()
    ranges = Ranges()
    if not privileged and not missing_tool() and not without_privileges():
        ranges = subordinate(uid)
    return choose(
        uid=uid,
        gid=gid,
        privileged=privileged,
        current_uids=uids,
        current_gids=gids,
        sub_uids=ranges.uids,
        sub_gids=ranges.gids,
    )


def serve(pid: int, maps: IdMaps, *, wait: int, close: Sequence[int], say: int) -> NoReturn:
    """Be the mapping process: write `maps` for `pid` once a byte comes out of `wait`, then end.

    A failure is said to `say` as errno, space, text. The descriptors in `close` are the parent's
    ends, and held open here they would keep the pipes from ending.
    """
    try:
        for fd in close:
            os.close(fd)
        if os.read(wait, 1):
            with contextlib.suppress(OSError):
                _write(pid, maps, say)
    finally:
        os._exit(0)


def _write(pid: int, maps: IdMaps, say: int) -> None:
    try:
        if maps.mode == "subids":
            if complaint := _run_tools(pid, maps):
                os.write(say, b"1 " + complaint)
            return
        if maps.mode == "single":
            _put(f"/proc/{pid}/setgroups", "deny")
        for kind, ranges in (("gid", maps.gids), ("uid", maps.uids)):
            _put(f"/proc/{pid}/{kind}_map", "".join(f"{row}\n" for row in ranges))
    except OSError as error:
        os.write(say, f"{error.errno} {error.strerror}: {error.filename}".encode())


def _put(path: str, text: str) -> None:
    # The kernel takes a map in a single write only.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def _run_tools(pid: int, maps: IdMaps) -> bytes:
    """Run both set-uid programs at once; what they complain about, empty when all is well."""
    read, write = os.pipe()
    running = []
    for tool, ranges in zip(TOOLS, (maps.uids, maps.gids), strict=True):
        program = proc.find(tool) or tool
        argv = [program, str(pid), *_arguments(ranges)]
        actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)]
        running.append((tool, os.posix_spawn(program, argv, os.environ, file_actions=actions)))
    os.close(write)
    with open(read, "rb") as output:
        said = output.read()
    failed = [tool for tool, child in running if os.waitpid(child, 0)[1] != 0]
    if not failed:
        return b""
    return said.strip().replace(b"\n", b" / ") or f"{failed[0]} failed".encode()


def _arguments(ranges: Sequence[IdRange]) -> list[str]:
    return [word for row in ranges for word in str(row).split()]


def _may_map() -> bool:
    effective = 0
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    return bool(effective >> _CAP_SETUID & 1 and effective >> _CAP_SETGID & 1)


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""
