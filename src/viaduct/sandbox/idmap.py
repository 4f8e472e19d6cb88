"""User and group ids of a new user namespace: which map to write. Pure.

Three ways, best first: root maps every id that its own namespace has onto itself; an ordinary user
becomes 0 and the ranges of `/etc/subuid` and `/etc/subgid` follow from 1 on; without such ranges
only the user's own id exists inside, and every file belongs to it (`single`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

Mode: TypeAlias = Literal["root", "subids", "single"]


class IdRange(Value):
    """`count` ids from `inside` on, which are the ids from `outside` on in the parent namespace."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


_EVERYTHING = IdRange(0, 0, (1 << 32) - 1)


class IdMaps(Value):
    """What goes into `uid_map` and `gid_map`, and how they come to be allowed."""

    mode: Mode
    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


def parse_map(text: str) -> tuple[IdRange, ...]:
    """The ranges of a `/proc/PID/uid_map`."""
    rows = (line.split() for line in text.splitlines() if line.strip())
    return tuple(IdRange(int(a), int(b), int(c)) for a, b, c in rows)


def parse_subids(text: str, user: str, uid: int) -> tuple[tuple[int, int], ...]:
    """(start, count) of each range that `/etc/subuid` (or subgid) gives to a user.

    Lines name the user by name or number; malformed ones are passed over as shadow-utils does.
    """
    out = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) != 3 or fields[0] not in (user, str(uid)):
            continue
        try:
            start, count = int(fields[1]), int(fields[2])
        except ValueError:
            continue
        if count > 0:
            out.append((start, count))
    return tuple(out)


def identity(current: Iterable[IdRange]) -> tuple[IdRange, ...]:
    """Every id of the current namespace mapped onto itself.

    Never as the one range `0 0 4294967295`: by that, crun and runc believe that they are in the
    machine's first namespace, where making device nodes is allowed.
    """
    rows = tuple(IdRange(row.inside, row.inside, row.count) for row in current)
    if rows == (_EVERYTHING,):
        return (IdRange(0, 0, 1), IdRange(1, 1, _EVERYTHING.count - 1))
    return rows


def stacked(own: int, ranges: Iterable[tuple[int, int]]) -> tuple[IdRange, ...]:
    """0 for `own`, then the subordinate ranges one after the other from 1 on."""
    out = [IdRange(0, own, 1)]
    for start, count in ranges:
        last = out[-1]
        out.append(IdRange(last.inside + last.count, start, count))
    return tuple(out)


def choose(
    *,
    uid: int,
    gid: int,
    privileged: bool,
    current_uids: tuple[IdRange, ...],
    current_gids: tuple[IdRange, ...],
    sub_uids: tuple[tuple[int, int], ...] = (),
    sub_gids: tuple[tuple[int, int], ...] = (),
) -> IdMaps:
    """The best maps for a process of `uid` and `gid`.

    `privileged` says that it may write any map: it is root with CAP_SETUID and CAP_SETGID. Root of
    a namespace with no other ids has no more to give than an ordinary user without sub-ids.
    """
    if privileged and all(_count(rows) > 1 for rows in (current_uids, current_gids)):
        return IdMaps("root", identity(current_uids), identity(current_gids))
    if sub_uids and sub_gids:
        return IdMaps("subids", stacked(uid, sub_uids), stacked(gid, sub_gids))
    return IdMaps("single", stacked(uid, ()), stacked(gid, ()))


def _count(rows: Iterable[IdRange]) -> int:
    return sum(row.count for row in rows)
