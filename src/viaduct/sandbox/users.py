"""USER: who a step runs as, looked up in the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError
from viaduct.base.values import Value
from viaduct.sandbox.inside import read_inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# An image's user database larger than this is an attack, not a database.
_MAX_BYTES = 10 << 20
_MAX_ID = (1 << 31) - 1


class User(Value):
    """Numeric identity of a process; `groups` are the supplementary ones, `home` may be empty."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""


ROOT = User(home="/root")


def resolve(root: Path, text: str) -> User:
    """Who `user[:group]` (names or numbers, empty for root) is in the root file system `root`.

    A number is always an id, known or not. Without a group, the user's own group and the groups
    that list him apply; an unknown number gets group 0. Raises `SandboxError` for an unknown name,
    an id out of range, and a user database of more than 10 MiB; one that is no plain file, or that
    cannot be reached from inside `root`, counts as absent.
    """
    name, _, group = (text or "0").partition(":")
    uid = _number(name)
    gid = _number(group)
    found = ""
    user = User()
    for fields in _rows(root, "/etc/passwd", 7):
        number = _field(fields[2])
        if (number == (uid or 0)) if (uid is not None or not name) else (fields[0] == name):
            found = fields[0]
            user = User(_in_range(number), _in_range(_field(fields[3])), (), fields[5])
            break
    else:
        if uid is None and name:
            raise SandboxError(
                f"unable to find user {name}: no matching entries in passwd file",
                hint=f"create it first (RUN useradd {name}), or use a numeric id",
            )
        user = User(uid or 0)
    if group:
        return User(user.uid, _group(root, group, gid), (), user.home)
    return User(user.uid, user.gid, _memberships(root, found) if found else (), user.home)


def find_user(root: Path, name: str) -> tuple[int, int] | None:
    """Uid and gid of the first user of that name; never what a number might mean."""
    for fields in _rows(root, "/etc/passwd", 7):
        if fields[0] == name:
            return _field(fields[2]), _field(fields[3])
    return None


def find_group(root: Path, name: str) -> int | None:
    """The gid of the first group of that name."""
    for fields in _rows(root, "/etc/group", 4):
        if fields[0] == name:
            return _field(fields[2])
    return None


def _group(root: Path, name: str, gid: int | None) -> int:
    if gid is not None:
        return gid
    if (found := find_group(root, name)) is not None:
        return _in_range(found)
    raise SandboxError(
        f"unable to find group {name}: no matching entries in group file",
        hint=f"create it first (RUN groupadd {name}), or use a numeric id",
    )


def _memberships(root: Path, name: str) -> tuple[int, ...]:
    return tuple(
        _in_range(_field(fields[2]))
        for fields in _rows(root, "/etc/group", 4)
        if name in fields[3].split(",")
    )


def _rows(root: Path, path: str, width: int) -> Iterator[list[str]]:
    """The entries of a user database, each with at least `width` fields; none when absent."""
    try:
        data = read_inside(root, path, limit=_MAX_BYTES)
    except OSError:
        return
    for line in data.decode(errors="surrogateescape").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            fields = text.split(":")
            yield fields + [""] * (width - len(fields))


def _number(text: str) -> int | None:
    """An id in digits, None for anything else; raises `SandboxError` beyond the allowed range."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit():
        return None
    return _in_range(int(text) if len(digits) < 20 else _MAX_ID + 1)


def _field(text: str) -> int:
    """A number in a database entry; what is none counts as 0, as the peers read it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _in_range(value: int) -> int:
    if not 0 <= value <= _MAX_ID:
        raise SandboxError(f"uids and gids must be in range 0-{_MAX_ID}")
    return value
