"""Patterns of `${v#p}` and `${v/p/r}`: `*` and `?`, and a replacement's `$0`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Values and what substitution makes of them are no longer than this; the kernel takes half of it.
LONGEST = 1 << 18

_TEMPLATE = re.compile(r"\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_REGEX_SPECIAL = frozenset("[]{}.+()|^$")
#: What Go prints for the end of the text where it expected a character.
_END = "\ufffd"


def too_long() -> DockerfileError:
    return DockerfileError(f"substitution makes more than {LONGEST} characters of it")


def trim_prefix(pattern: str, value: str, *, greedy: bool) -> str:
    """The value without the shortest or longest match of `pattern` at its start.

    This and the others raise `DockerfileError` for a bad pattern.
    """
    found = _Pattern(pattern).match(value, 0, greedy=greedy)
    return value if found is None else value[found:]


def trim_suffix(pattern: str, value: str, *, greedy: bool) -> str:
    """The value without the shortest or longest match of `pattern` at its end."""
    # The shortest match at the end is the shortest match at the start of the mirrored text.
    mirrored = "".join(reversed(re.findall(r"(?s)\\.|.", pattern)))
    return trim_prefix(mirrored, value[::-1], greedy=greedy)[::-1]


def replace(pattern: str, value: str, text: str, *, every: bool) -> str:
    """The value with the first match or every match of `pattern` replaced.

    In a replacement of every match `$0` stands for the match, as in Go's regexp package. Raises
    `DockerfileError` also when the result would be longer than `LONGEST`.
    """
    out: list[str] = []
    copied, previous, size = 0, -1, 0
    for start, end in _Pattern(pattern).matches(value):
        # Go passes over an empty match that touches the match before.
        if start == end == previous:
            continue
        previous = end
        out += [value[copied:start], _fill(text, value[start:end]) if every else text]
        size += len(out[-1])
        if size > LONGEST:
            raise too_long()
        copied = end
        if not every:
            break
    return "".join([*out, value[copied:]])


def _fill(template: str, match: str) -> str:
    """Go's regexp replacement template, where only the whole match has a name."""
    if "$" not in template:
        return template
    return _TEMPLATE.sub(
        lambda found: "$" if found[1] else match if (found[2] or found[3]).strip("0") == "" else "",
        template,
    )


class _Pattern:
    """A pattern as Go's regexp package would read it: `.*` for a star, which stops at the end of a
    line, and `.` for a question mark. It is matched from star to star, each piece at the first
    place, and nothing is tried twice: with backtracking, a dozen stars take for ever."""

    def __init__(self, text: str) -> None:
        first, *rest = map(re.compile, _pieces(text))
        self._first = first
        self._middle = rest[:-1]
        self._last = rest[-1] if rest else None
        # The last place of the last piece, for matches that are as long as possible.
        self._final = re.compile(f".*{rest[-1].pattern}") if rest else None

    def matches(self, value: str) -> Iterator[tuple[int, int]]:
        """All matches from left to right, each as long as possible."""
        at = 0
        while at <= len(value):
            found = self._first.search(value, at)
            if found is None:
                return
            start = found.start()
            end = self._after_first(value, found.end(), greedy=True)
            if end is None:
                # What a star could not reach from here, it cannot from further on in this line.
                over = start if "\n" in self._first.pattern else _line_end(value, found.end())
                at = max(over, start + 1)
                continue
            yield start, end
            at = end if end > start else end + 1

    def match(self, value: str, at: int, *, greedy: bool) -> int | None:
        """The end of the match at `at`, the longest with `greedy` and else the shortest."""
        found = self._first.match(value, at)
        return None if found is None else self._after_first(value, found.end(), greedy=greedy)

    def _after_first(self, value: str, at: int, *, greedy: bool) -> int | None:
        """The end of a match whose first piece ends at `at`."""
        if self._last is None or self._final is None:
            return at
        for piece in self._middle:
            found = self._reached(piece, value, at)
            if found is None:
                return None
            at = found.end()
        found = self._final.match(value, at) if greedy else self._reached(self._last, value, at)
        return None if found is None else found.end()

    @staticmethod
    def _reached(piece: re.Pattern[str], value: str, at: int) -> re.Match[str] | None:
        """The first place of a piece behind a star that begins at `at`."""
        end = _line_end(value, at)
        found = piece.search(value, at)
        return found if found is not None and found.start() <= end else None


def _line_end(value: str, at: int) -> int:
    end = value.find("\n", at)
    return len(value) if end < 0 else end


def _pieces(text: str) -> list[str]:
    """What stands between the stars, as regular expressions of a fixed length."""
    pieces: list[list[str]] = [[]]
    chars = iter(text.removeprefix("\ufeff"))
    for char in chars:
        if char == "*":
            pieces.append([])
        elif char == "?":
            pieces[-1].append(".")
        elif char == "\\":
            following = next(chars, _END)
            if following not in "*?\\}/":
                raise DockerfileError(
                    f"invalid pattern ({text}) in substitution: invalid escape '\\{following}'"
                )
            pieces[-1].append(re.escape(following))
        else:
            pieces[-1].append(f"\\{char}" if char in _REGEX_SPECIAL else char)
    return ["".join(piece) for piece in pieces]
