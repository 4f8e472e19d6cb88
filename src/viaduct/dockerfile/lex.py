"""Physical lines joined to logical lines, and the bodies of here-documents.

A logical line ends where a physical line does not end in the escape character. Comments and blank
lines inside of it vanish.
"""

from __future__ import annotations

from typing import NamedTuple

from viaduct.base.errors import DockerfileError
from viaduct.base.spans import Source, Span
from viaduct.dockerfile.directives import DirectiveZone
from viaduct.dockerfile.expand import expand_words
from viaduct.dockerfile.gotext import SPACE
from viaduct.dockerfile.syntax import Comment, Heredoc

#: A physical line, its end included, has at most this many bytes.
MAX_LINE = 65536

_ENDINGS = "\r\n"


class Line(NamedTuple):
    """A logical line: its text, its physical lines, what stands above it.

    `places` are (offset, line, column) triples as in `syntax.Instruction`.
    """

    text: str
    start: int
    end: int
    places: tuple[tuple[int, int, int], ...]
    comments: tuple[Comment, ...]


class Reader:
    """Reads a source from top to bottom.

    `escape` follows the directive. `empty_continuations` collects blank lines met inside of
    instructions, `comments` those that no instruction has taken yet.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines = _physical_lines(source.text)
        self._limit = next(
            (at for at, line in enumerate(self._lines) if _too_long(line)), len(self._lines)
        )
        self._next = 0
        self.zone = DirectiveZone(source)
        self.escape = "\\"
        self.empty_continuations: list[Span] = []
        self.comments: list[Comment] = []

    @property
    def number(self) -> int:
        """How many physical lines were read."""
        return self._next

    def span(self, start: int, end: int) -> Span:
        return Span(self._source, start, max(start, end))

    def line(self) -> Line | None:
        """The next logical line, or None at the end. Raises `DockerfileError`."""
        while self._next < self._limit:
            raw = self._lines[self._next].rstrip(_ENDINGS)
            token = raw.lstrip(SPACE)
            self._next += 1
            if self.zone.open:
                self._directive(token)
            if token.startswith("#"):
                self._comment(raw)
                continue
            text, complete = self._strip_continuation(token)
            if complete and not text:
                continue
            return self._join(text, complete, len(raw) - len(token) + 1)
        return None

    def check_limit(self) -> None:
        """Complain when reading stopped at a line that is too long. Raises `DockerfileError`."""
        if self._limit < len(self._lines):
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {MAX_LINE - 1}",
                where=self.span(self._limit + 1, self._limit + 1),
            )

    def heredoc(self, opening: Heredoc, line: Line) -> Heredoc:
        """The here-document with its content, read from here to its terminator.

        Raises `DockerfileError` when there is none.
        """
        start = self._next
        while self._next < self._limit:
            end = self._lines[self._next].rstrip(_ENDINGS)
            self._next += 1
            if (end.lstrip("\t") if opening.chomp else end) == opening.name:
                content = "".join(self._lines[start : self._next - 1])
                return Heredoc(
                    name=opening.name,
                    content=content,
                    expand=opening.expand,
                    chomp=opening.chomp,
                    fd=opening.fd,
                    start=start + 1,
                    end=self._next - 1,
                )
        raise DockerfileError("unterminated heredoc", where=self.span(line.start, self._next))

    def _directive(self, token: str) -> None:
        directive = self.zone.read(token, self._next)
        if directive is None or directive.name != "escape":
            return
        if directive.value not in ("\\", "`"):
            raise DockerfileError(
                f"invalid escape token '{directive.value}' does not match ` or \\",
                where=directive.span,
            )
        self.escape = directive.value

    def _comment(self, raw: str) -> None:
        if self.zone.open:
            return  # it was a directive
        text = raw[1:].strip(SPACE)
        if text:
            self.comments.append(Comment(text, self._next))
        else:
            # An empty comment parts a description from what is above it.
            self.comments.clear()

    def _strip_continuation(self, line: str) -> tuple[str, bool]:
        """The line without a final escape character, and whether it is complete."""
        cut = line.rstrip(" \t")
        if cut.endswith(self.escape) and (len(cut) == 1 or cut[-2] != self.escape):
            return cut[:-1], False
        return line, True

    def _join(self, text: str, complete: bool, column: int) -> Line:
        start = self._next
        parts, places, size = [text], [(0, start, column)], len(text)
        blank = False
        while not complete and self._next < self._limit:
            raw = self._lines[self._next].rstrip(_ENDINGS)
            self._next += 1
            token = raw.lstrip(SPACE)
            if token.startswith("#"):
                continue
            if not token:
                blank = True
                continue
            text, complete = self._strip_continuation(raw)
            places.append((size, self._next, 1))
            parts.append(text)
            size += len(text)
        if blank:
            self.empty_continuations.append(self.span(self._next, self._next))
        comments = tuple(self.comments)
        self.comments.clear()
        return Line("".join(parts), start, self._next, tuple(places), comments)


def _physical_lines(text: str) -> list[str]:
    """The lines with their ends, byte order mark removed."""
    lines = [f"{line}\n" for line in text.removeprefix("\ufeff").split("\n")]
    last = lines.pop()[:-1]
    if last:
        lines.append(last)
    return lines


def _too_long(line: str) -> bool:
    if len(line) * 4 < MAX_LINE:
        return False
    size = len(line.encode())
    return size > MAX_LINE or (size == MAX_LINE and not line.endswith("\n"))


def heredoc_openings(text: str) -> tuple[Heredoc, ...]:
    """The here-documents that a line opens, still without content."""
    try:
        words = expand_words(text, {}, raw_quotes=True, raw_escapes=True, skip_unset=True)
    except DockerfileError:
        return ()
    return tuple(filter(None, map(heredoc_opening, words)))


def heredoc_opening(word: str) -> Heredoc | None:
    """`[fd]<<[-]WORD` as a here-document, or None. Raises `DockerfileError` for bad quotes."""
    digits, mark, rest = word.partition("<<")
    if not mark or (digits and not (digits.isascii() and digits.isdecimal())) or "<" in rest:
        return None
    chomp = rest.startswith("-")
    rest = rest[chomp:].lstrip(" \t\n\f\r")
    if not rest:
        return None
    names = expand_words(rest, {}, skip_unset=True)
    if len(names) != 1:
        return None
    quoted = expand_words(rest, {}, raw_quotes=True, skip_unset=True)
    if len(quoted) != 1:
        raise DockerfileError(f"internal lexing of heredoc produced inconsistent results: {rest}")
    expand = _quotes(names[0]) == _quotes(quoted[0])
    return Heredoc(name=names[0], content="", expand=expand, chomp=chomp, fd=int(digits[:18] or 0))


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
