"""Go's `filepath.Match`: the wildcards of COPY and ADD.

Go reads a pattern from star to star, and looks for mistakes in all of it. `match` is that
algorithm; `matcher` gives something faster that agrees.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_PATTERN = "syntax error in pattern"


_CHUNK = re.compile(r"(?s)(\**)((?:\\.|\[(?:\\.|[^\]\\])*\]?|[^*\\\[]|\\\Z)*)")


def has_wildcards(pattern: str) -> bool:
    """Whether `*`, `?` or `[` stands in the pattern unescaped."""
    return re.search(r"[*?\[]", re.sub(r"(?s)\\.", "", pattern)) is not None


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test for slash-separated paths; `*` and `?` do not match `/`.

    The test raises ValueError where Go finds the pattern malformed.
    """
    try:
        expression = _compile(pattern)
    except ValueError:
        return lambda name: match(pattern, name)
    return lambda name: expression.fullmatch(name) is not None


def match(pattern: str, name: str) -> bool:
    """Whether the whole name matches. Raises ValueError when a malformed part is reached."""
    while pattern:
        found = _CHUNK.match(pattern)
        assert found is not None
        star, chunk, pattern = bool(found[1]), found[2], pattern[found.end() :]
        if star and not chunk:
            return "/" not in name
        expression = _compile(chunk)
        starts = range(1)
        if star:
            cut = name.find("/")
            starts = range((len(name) if cut < 0 else cut) + 1)
        for start in starts:
            part = expression.match(name, start)
            if part is not None and (pattern or part.end() == len(name)):
                name = name[part.end() :]
                break
        else:
            # A mistake further on is found, too.
            _compile(pattern)
            return False
    return not name


def is_malformed(pattern: str) -> bool:
    """Whether Go finds the pattern wrong, whatever it is asked about."""
    try:
        _compile(pattern)
    except ValueError:
        return True
    return False


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    """An expression for a well-formed pattern. Raises ValueError for others.

    What stands between two stars is matched at its first place and no other: all of them, one
    after the other, would take for ever where there are many stars.
    """
    out: list[str] = []
    at, star = 0, -1
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if star >= 0:
                out[star] = "(?>[^/]*?"
                out.append(")")
            star = len(out)
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            expression, at = _class(pattern, at)
            out.append(expression)
        elif char == "\\":
            if at == len(pattern):
                raise ValueError(BAD_PATTERN)
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The character class after `[`: `[^]` then one or more of `c`, `\\c`, `lo-hi`, then `]`."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    first = True
    while first or pattern[at : at + 1] != "]":
        low, at = _class_char(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_char(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        first = False
    if not ranges:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at : at + 1] in ("", "-", "]"):
        raise ValueError(BAD_PATTERN)
    if pattern[at] == "\\":
        at += 1
    # A class needs at least its closing bracket after the character.
    if at + 1 >= len(pattern):
        raise ValueError(BAD_PATTERN)
    return pattern[at], at + 1
