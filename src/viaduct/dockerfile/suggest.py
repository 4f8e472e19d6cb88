"""The nearest known name to a mistyped one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names at this edit distance or further are strangers.
_TOO_FAR = 3


def nearest(value: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The option fewest edits away, or "" when none is near or `value` is itself an option.

    Of several as near, one of the same letters is the likeliest, then the first. Where case does
    not matter, the answer follows the case of `value`.
    """
    wanted = value if case_sensitive else value.lower()
    best, limit = "", (_TOO_FAR, False)
    letters = sorted(wanted)
    for option in options:
        candidate = option if case_sensitive else option.lower()
        if candidate == wanted:
            return ""
        if abs(len(candidate) - len(wanted)) <= limit[0]:
            far = (distance(wanted, candidate), sorted(candidate) != letters)
            if far < limit:
                best, limit = candidate, far
    if best and not case_sensitive and value != value.lower() and value == value.upper():
        return best.upper()
    return best


def with_suggestion(
    message: str, value: str, options: Iterable[str], *, case_sensitive: bool = True
) -> str:
    """The message, with `(did you mean x?)` when something near is known."""
    best = nearest(value, options, case_sensitive=case_sensitive)
    return f"{message} (did you mean {best}?)" if best else message


def distance(one: str, other: str) -> int:
    """Insertions, deletions and substitutions from one text to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]
