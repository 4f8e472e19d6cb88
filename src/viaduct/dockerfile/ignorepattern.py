"""One pattern of an ignore file, and groups of them that answer together.

A pattern becomes a regular expression over whole paths. Asking two hundred of those about a hundred
thousand paths takes long, so a group sorts its patterns by what they can match: a fixed path, a
name at any depth, the ends of a path, paths of one depth. Each kind is one look-up, one tuple of
strings or one combined expression.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import gaps
from viaduct.dockerfile.gomatch import BAD_PATTERN, match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ESCAPED = frozenset(".+()|{}$")
_LETTERS = {
    **{char: f"\\{char}" for char in "afnrtv"},
    **{char: f"(?a:\\{char})" for char in "bBdDwW"},
    "A": r"\A",
    "s": r"[\t\n\f\r ]",
    "S": r"[^\t\n\f\r ]",
    "z": r"\Z",
}
_STAR_IN_CLASS = "\\[^/]*"
_WILD = re.compile(r"[*?\[\]\\^]")


class Pattern(msgspec.Struct, frozen=True):
    """A compiled pattern.

    `text` is the clean pattern without `!`, which is `exception`. `kind` says how it matches:
    `exact`, `prefix`, `suffix` (with `text` less its `**`), `regex` (by `expression`), `gaps` (by
    the `parts` of one) or `bad`. `depth` is the number of slashes that a `regex` needs in a path,
    -1 for any; `floating` means that it is about the last `depth + 1` components of a longer path,
    too.
    """

    text: str
    exception: bool
    kind: str
    expression: str = ""
    depth: int = -1
    floating: bool = False
    parts: tuple[str, ...] = ()

    @property
    def fixed(self) -> str:
        """What every path that matches begins with."""
        if self.kind == "suffix":
            return ""
        if self.kind == "prefix":
            return self.text[:-2]
        found = _WILD.search(self.text)
        return self.text[: found.start()] if found else self.text


def compile_pattern(text: str) -> Pattern:
    """Compile a clean pattern. Raises `DockerfileError`."""
    exception = text.startswith("!")
    if exception:
        text = text[1:]
        if not text:
            raise DockerfileError('illegal exclusion pattern: "!"')
    try:
        match(text, ".")
    except ValueError:
        raise DockerfileError(f"{BAD_PATTERN}: {text}") from None
    try:
        kind, parts = _translate(text)
        expression = "".join(parts)
        if kind == "regex":
            re.compile(expression)
    except (ValueError, re.error):
        return Pattern(text, exception, "bad")
    if kind != "regex":
        return Pattern(text, exception, kind)
    if gaps.too_many(parts):
        # A star inside of brackets comes out as a gap of its own, which nobody means.
        kind = "bad" if _STAR_IN_CLASS in parts else "gaps"
        return Pattern(text, exception, kind, parts=tuple(parts))
    floating = expression.startswith(gaps.DIRECTORIES)
    if floating:
        expression = expression.removeprefix(gaps.DIRECTORIES)
    # Without `**` and without classes, which may match a slash, every slash stands for itself.
    settled = ".*" not in expression and "[" not in expression.replace("[^/]", "")
    if floating and not settled:
        return Pattern(text, exception, kind, f"{gaps.DIRECTORIES}{expression}")
    depth = expression.replace("[^/]", "").count("/") if settled else -1
    return Pattern(text, exception, kind, expression, depth, floating)


def _translate(text: str) -> tuple[str, list[str]]:
    """The kind of a pattern, and the parts of an expression for `fullmatch`.

    Follows the peers' translation character by character, oddities included: `^` outside of a class
    stays an anchor, `*` inside of one is still translated.
    """
    kind, out, at, in_class = "exact", [], 0, False
    while at < len(text):
        char, first = text[at], at == 0
        at += 1
        if text.startswith("**", at - 1):
            at += 1
            if text.startswith("/", at):
                at += 1
            if at < len(text):
                out.append(gaps.DIRECTORIES)
                kind = "regex"
            elif kind == "exact":
                kind = "prefix"
            else:
                out.append(gaps.REST)
                kind = "regex"
            if first:
                kind = "suffix"
        elif char in "*?":
            if char == "*":
                out.append(_STAR_IN_CLASS if in_class else gaps.NAME)
            else:
                out.append("\\[^/]" if in_class else "[^/]")
            kind, in_class = "regex", False
        elif char in _ESCAPED:
            out.append(f"\\{char}")
        elif char == "\\":
            if at < len(text):
                out.append(_escape(text[at]))
                kind = "regex"
            else:
                # What was to end the expression is escaped by it.
                out.append(r"\$(?s:.*)")
            at += 1
        elif char in "[]":
            out.append("\\[" if in_class and char == "[" else char)
            in_class = char == "["
            kind = "regex"
        else:
            out.append(f"\\{char}" if char in "&~#" else char)
    return kind, out


def _escape(char: str) -> str:
    """What a backslash and this character mean to the peers' regular expressions."""
    if char.isascii() and not char.isalnum():
        return re.escape(char)
    if char not in _LETTERS:
        raise ValueError(BAD_PATTERN)
    return _LETTERS[char]


class Group:
    """Patterns of one polarity; any of them may match."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._exact: set[str] = set()
        self._names: set[str] = set()
        prefixes, suffixes, endings, name_ends = [], [], [], []
        by_tail: dict[int, list[str]] = {}
        by_depth: dict[int, list[str]] = {}
        anywhere: list[str] = []
        self._with_gaps: list[Callable[[str], bool]] = []
        self._bad = ""
        for pattern in patterns:
            if pattern.kind == "exact":
                self._exact.add(pattern.text)
            elif pattern.kind == "prefix":
                prefixes.append(pattern.text[:-2])
            elif pattern.kind == "suffix":
                ending = pattern.text[2:]
                if not ending.startswith("/"):
                    suffixes.append(ending)
                elif "/" in ending[1:]:
                    endings.append(ending)
                else:
                    self._names.add(ending[1:])
            elif pattern.kind == "bad":
                self._bad = pattern.text
            elif pattern.kind == "gaps":
                self._with_gaps.append(gaps.matcher(pattern.parts))
            elif pattern.depth < 0:
                anywhere.append(pattern.expression)
            elif not pattern.floating:
                by_depth.setdefault(pattern.depth, []).append(pattern.expression)
            elif pattern.depth == 0 and (end := _star_and_literal(pattern.text)):
                name_ends.append(end)
            else:
                by_tail.setdefault(pattern.depth, []).append(pattern.expression)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._endings = tuple(endings)
        self._name_ends = tuple(name_ends)
        self._by_tail = [(depth, _combined(some)) for depth, some in by_tail.items()]
        self._by_depth = {depth: _combined(some) for depth, some in by_depth.items()}
        self._anywhere = _combined(anywhere) if anywhere else None

    def matches(self, path: str) -> bool:
        """Whether a pattern matches exactly this path.

        Raises `DockerfileError` when a pattern that says nothing has to be asked: the peers, too,
        find `bin\\obj` wrong only when a path gets that far.
        """
        name = path[path.rfind("/") + 1 :]
        if path in self._exact or name in self._names or name.endswith(self._name_ends):
            return True
        if path.startswith(self._prefixes) or path.endswith(self._suffixes):
            return True
        if self._endings and f"/{path}".endswith(self._endings):
            return True
        if self._by_depth:
            level = self._by_depth.get(path.count("/"))
            if level is not None and level(path):
                return True
        for depth, tail in self._by_tail:
            text = name if depth == 0 else _tail(path, depth)
            if text and tail(text):
                return True
        if self._anywhere is not None and self._anywhere(path):
            return True
        if any(matches(path) for matches in self._with_gaps):
            return True
        if self._bad:
            raise DockerfileError(
                f"{BAD_PATTERN}: {self._bad}", hint="write / between directories, not \\"
            )
        return False

    def may_match_below(self, directory: str) -> bool:
        """Whether a pattern could match a path inside of `directory`."""
        inside = f"{directory}/"
        level = inside.count("/")
        for pattern in self.patterns:
            fixed = pattern.fixed
            if fixed.startswith(inside) or (
                pattern.kind != "exact"
                and inside.startswith(fixed)
                and (pattern.floating or pattern.depth < 0 or pattern.depth >= level)
            ):
                return True
        return False


def _combined(expressions: list[str]) -> Callable[[str], object]:
    return re.compile("|".join(expressions)).fullmatch


def _star_and_literal(text: str) -> str:
    """`.ext` for `**/*.ext`, where nothing else is wild."""
    literal = text.removeprefix("**/*")
    return literal if literal != text and literal and not _WILD.search(literal) else ""


def _tail(path: str, depth: int) -> str:
    """The last `depth + 1` components, or empty when there are fewer."""
    at = len(path)
    for _ in range(depth + 1):
        at = path.rfind("/", 0, at)
        if at < 0:
            break
    else:
        return path[at + 1 :]
    return path if path.count("/") == depth else ""
