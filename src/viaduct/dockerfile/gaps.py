"""Patterns with many gaps, matched without backtracking.

A regular expression tries every length of every gap, which takes for ever when there are a dozen.
Here all places that a part of the pattern may end at are carried on together, as the bits of one
number: bit 0 is the beginning of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Expressions that match text of any length: directories, what is left, a part of a name.
DIRECTORIES: Final = "(?:.*/)?"
REST: Final = ".*"
NAME: Final = "[^/]*"

_GAPS: Final = (DIRECTORIES, REST, NAME)
#: With so many the time of a regular expression is still bearable.
_BEARABLE: Final = 2


def too_many(parts: Sequence[str]) -> bool:
    """Whether these parts of an expression should be given to `matcher` instead."""
    return sum(part in _GAPS for part in parts) > _BEARABLE


def matcher(parts: Sequence[str]) -> Callable[[str], bool]:
    """A test whether the parts of an expression match a whole text. Raises `re.error`."""
    steps: list[str] = []
    between = ""
    for part in (*parts, ""):
        if part and part not in _GAPS:
            between += part
            continue
        steps += filter(None, (between, part))
        between = ""
    # As a look-ahead, so that matches which overlap are found as well.
    solid = {step: re.compile(f"(?=({step}))") for step in steps if step not in _GAPS}
    return lambda text: _matches(steps, solid, text)


def _matches(steps: Sequence[str], solid: dict[str, re.Pattern[str]], text: str) -> bool:
    slashes = _bits(at for at, char in enumerate(text) if char == "/")
    line_ends = _bits(at for at, char in enumerate(text) if char == "\n")
    whole = (1 << len(text)) - 1
    found: dict[str, dict[int, int]] = {}
    places = 1
    for step in steps:
        if step == NAME:
            places = _spread(places, whole & ~slashes)
        elif step == REST:
            places = _spread(places, whole & ~line_ends)
        elif step == DIRECTORIES:
            places |= (_spread(places, whole & ~line_ends) & slashes) << 1
        else:
            if step not in found:
                found[step] = _where(solid[step], text)
            places = _after(found[step], places)
        if not places:
            return False
    return places >> len(text) == 1


def _spread(places: int, free: int) -> int:
    """The places, and every one that is reached from them over the bits of `free`: adding to a run
    of ones carries through to its end."""
    return places | ((free + (places & free)) ^ free)


def _where(solid: re.Pattern[str], text: str) -> dict[int, int]:
    """Where an expression matches, by the length of the match."""
    starts: dict[int, list[int]] = {}
    for match in solid.finditer(text):
        starts.setdefault(len(match[1]), []).append(match.start())
    return {length: _bits(found) for length, found in starts.items()}


def _after(where: dict[int, int], places: int) -> int:
    out = 0
    for length, starts in where.items():
        out |= (places & starts) << length
    return out


def _bits(places: Iterable[int]) -> int:
    out = 0
    for place in places:
        out |= 1 << place
    return out
