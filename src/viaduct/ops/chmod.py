"""`--chmod`: octal digits, or the symbolic modes of chmod(1) (`u=rwX,go=rX`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import BuildError
from viaduct.base.values import Value

if TYPE_CHECKING:
    from viaduct.ops.copy import ModeChange

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_BITS = {"r": 4, "w": 2, "x": 1}
_SHIFT = {"u": 6, "g": 3, "o": 0}


class _Octal(Value):
    bits: int

    def __call__(self, mode: int, *, is_dir: bool) -> int:
        return self.bits


class _Symbolic(Value):
    """(who, operator, permissions) in the order written; the umask counts as zero."""

    steps: tuple[tuple[str, str, str], ...]

    def __call__(self, mode: int, *, is_dir: bool) -> int:
        # As in BSD chmod, which BuildKit follows: X asks about the mode before any of these steps,
        # and taking X away is taking x away.
        executable = is_dir or bool(mode & 0o111)
        for who, operator, permissions in self.steps:
            may_execute = executable or operator == "-"
            changed = self._bits(mode, who, permissions, executable=may_execute)
            if operator == "+":
                mode |= changed
            elif operator == "-":
                mode &= ~changed
            else:
                # `u=rw` takes set-id bits away, too; `u=g` does not.
                mask = self._mask(who) & (0o777 if permissions in _SHIFT else 0o7777)
                mode = (mode & ~mask) | changed
        return mode

    @staticmethod
    def _mask(who: str) -> int:
        mask = sum(7 << _SHIFT[person] for person in who)
        mask |= 0o4000 if "u" in who else 0
        mask |= 0o2000 if "g" in who else 0
        return mask | (0o1000 if who == "ugo" else 0)

    @staticmethod
    def _bits(mode: int, who: str, permissions: str, *, executable: bool) -> int:
        if permissions in _SHIFT:
            copied = mode >> _SHIFT[permissions] & 7
            return sum(copied << _SHIFT[person] for person in who)
        bits = sum(_BITS[p] for p in set(permissions) & set("rwx"))
        if "X" in permissions and executable:
            bits |= 1
        out = 0
        for person in who:
            out |= bits << _SHIFT[person]
        if "s" in permissions:
            out |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
        return out | (0o1000 if "t" in permissions else 0)


def parse(text: str) -> ModeChange:
    """Read a mode. Raises `BuildError` for what is neither octal up to 07777 nor symbolic."""
    if re.fullmatch(r"[0-7]+", text):
        bits = int(text, 8)
        if bits <= 0o7777:
            return _Octal(bits)
    elif not text[:1].isdigit():
        steps: list[tuple[str, str, str]] = []
        for clause in text.split(","):
            found = _CLAUSE.fullmatch(clause)
            if not found:
                break
            who = "ugo" if not found[1] or "a" in found[1] else "".join(dict.fromkeys(found[1]))
            steps += [(who, m[1], m[2]) for m in _ACTION.finditer(found[2])]
        else:
            return _Symbolic(tuple(steps))
    raise BuildError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    )
