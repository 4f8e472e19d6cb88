"""`.dockerignore`: which paths of a context a build does not see. The same rules read `--exclude`.

Patterns are anchored at the root of what they filter. The last pattern that says something about a
path, or about a directory above it, decides; `!` takes a path back in. A pattern that could not
change the answer is not asked, and then it does not count for what lies below either: that is how
the peers walk a context, and it decides the cases where `!` patterns and directories overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import SPACE, clean
from viaduct.dockerfile.ignorepattern import Group, Pattern, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_LINE = 65536


def read_ignore_file(data: bytes, name: str = ".dockerignore") -> tuple[str, ...]:
    """The patterns of an ignore file, in order, in clean form. Raises `DockerfileError`."""
    patterns: list[str] = []
    for raw in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if len(raw) >= _MAX_LINE:
            raise DockerfileError(f"failed parsing {name}: bufio.Scanner: token too long")
        line = raw.removesuffix(b"\r").decode(errors="replace")
        if line.startswith("#"):
            continue
        line = line.strip(SPACE)
        if not line:
            continue
        mark = ""
        if line.startswith("!"):
            mark, line = "!", line[1:].strip(SPACE)
        if line:
            line = clean(line)
            if len(line) > 1:
                line = line.removeprefix("/")
        patterns.append(mark + line)
    return tuple(patterns)


class Matcher:
    """Answers for paths like `a/b/c`, relative to the root, without leading slash.

    Answers are remembered per directory. Safe to share between threads.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises `DockerfileError` for a malformed pattern."""
        self.patterns = tuple(map(compile_pattern, _cleaned(patterns)))
        #: Neighbours of one polarity ask the same question: any of them answers it.
        self._groups: list[tuple[bool, Group]] = []
        run: list[Pattern] = []
        for pattern in self.patterns:
            if run and run[0].exception != pattern.exception:
                self._groups.append((run[0].exception, Group(run)))
                run = []
            run.append(pattern)
        if run:
            self._groups.append((run[0].exception, Group(run)))
        # By directory: whether it is excluded, and a bit for each group that matched it or a
        # directory above it.
        self._directories: dict[str, tuple[bool, int]] = {"": (False, 0)}
        # The groups of one polarity from some group on: their numbers, bits, and all in one.
        self._rests: dict[tuple[int, bool], tuple[tuple[int, ...], int, Group]] = {}

    @property
    def has_exceptions(self) -> bool:
        """Whether a pattern begins with `!`."""
        return any(exception for exception, _ in self._groups)

    def excludes(self, path: str) -> bool:
        """Whether the path is hidden. The root itself never is."""
        known = self._directories.get(path)
        if known is not None:
            return known[0]
        if path == ".":
            return False
        return self._decide(path, self._state(path.rpartition("/")[0])[1])[0]

    def may_reinclude_below(self, directory: str) -> bool:
        """Whether a path below an excluded directory may be visible; if not, skip the directory."""
        bits = self._state(directory)[1]
        undecided: list[Group] = []
        for index, (exception, group) in enumerate(self._groups):
            if exception:
                undecided.append(group)
            elif bits >> index & 1:
                # This group hides everything below, unless a later exception is met.
                undecided.clear()
        return any(group.may_match_below(directory) for group in undecided)

    def _state(self, directory: str) -> tuple[bool, int]:
        # Without recursion: directories may be as deep as a path is long.
        unknown = []
        while (known := self._directories.get(directory)) is None:
            unknown.append(directory)
            directory = directory.rpartition("/")[0]
        for below in reversed(unknown):
            known = self._directories[below] = self._decide(below, known[1])
        return known

    def _decide(self, path: str, parent_bits: int) -> tuple[bool, int]:
        excluded, bits, start = False, parent_bits, 0
        # The answer turns round at each group that matches and means the opposite.
        while (turn := self._next(path, start, excluded, parent_bits)) >= 0:
            excluded = not excluded
            bits |= 1 << turn
            start = turn + 1
        return excluded, bits

    def _next(self, path: str, start: int, exception: bool, parent_bits: int) -> int:
        """The first group from `start` on, of this polarity, that matches the path or matched a
        directory above it; -1 for none."""
        rest = self._rests.get((start, exception))
        if rest is None:
            rest = self._rests[start, exception] = self._rest(start, exception)
        numbers, mask, together = rest
        # Most paths are met by none, and one look says so.
        if not parent_bits & mask and not together.matches(path):
            return -1
        for number in numbers:
            if parent_bits >> number & 1 or self._groups[number][1].matches(path):
                return number
        return -1

    def _rest(self, start: int, exception: bool) -> tuple[tuple[int, ...], int, Group]:
        numbers = tuple(
            number
            for number, (polarity, _) in enumerate(self._groups)
            if number >= start and polarity == exception
        )
        patterns = [one for number in numbers for one in self._groups[number][1].patterns]
        return numbers, sum(1 << number for number in numbers), Group(patterns)


def _cleaned(patterns: Iterable[str]) -> Iterable[str]:
    for text in patterns:
        stripped = text.strip(SPACE)
        if stripped:
            yield clean(stripped)


def hides_source(matcher: Matcher, source: str) -> bool:
    """Whether a COPY of this source can find nothing, as the check `CopyIgnoredFile` asks it.

    Asks every pattern about the path and the directories above it; matchers with exceptions are
    never sure.
    """
    if matcher.has_exceptions:
        return False
    path = clean(source)
    if path in (".", "/"):
        return any(pattern.text in ("*", "**", "**/*") for pattern in matcher.patterns)
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(Group([pattern]).matches(one) for pattern in matcher.patterns for one in above)
