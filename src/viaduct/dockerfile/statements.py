"""Logical lines split into keyword, flags and arguments, each instruction in its own manner.

This is the first of two readings, made of the whole file before the second one: it knows where
words begin and end and which here-documents follow, not yet what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import SPACE, quote
from viaduct.dockerfile.lex import Line, Reader, heredoc_openings
from viaduct.dockerfile.syntax import Flag, Heredoc, Pair, Word
from viaduct.dockerfile.words import (
    blank_separated,
    json_strings,
    key_and_rest,
    shell_words,
    split_flags,
    split_keyword,
    trim,
)

if TYPE_CHECKING:
    from viaduct.base.spans import Span

#: Instructions that here-documents may follow, themselves or as the trigger of ONBUILD.
_HEREDOC = frozenset(("ADD", "COPY", "RUN"))
_TEXT = frozenset(("MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"))
_COMMAND = frozenset(("CMD", "ENTRYPOINT", "RUN", "SHELL"))
_LIST = frozenset(("ADD", "COPY", "VOLUME"))


class Statement(NamedTuple):
    """One instruction, split. `pairs` are filled for ENV and LABEL, `child` for ONBUILD."""

    keyword: Word
    line: Line
    span: Span
    flags: tuple[Flag, ...] = ()
    args: tuple[Word, ...] = ()
    json: bool = False
    pairs: tuple[Pair, ...] = ()
    child: Statement | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def name(self) -> str:
        return self.keyword.text.upper()


def read_statements(reader: Reader) -> list[Statement]:
    """All statements of a file. Raises `DockerfileError`."""
    out: list[Statement] = []
    while (line := reader.line()) is not None:
        span = reader.span(line.start, line.end)
        try:
            statement = _split(line, span, 0, len(line.text), reader.escape)
            if "<<" in line.text and _takes_heredocs(statement):
                statement = _with_heredocs(statement, reader)
        except DockerfileError as error:
            if error.where is None:
                error.where = span
            raise
        out.append(statement)
    if not out:
        raise DockerfileError(
            "file with no instructions", where=reader.span(max(1, reader.number), reader.number)
        )
    reader.check_limit()
    return out


def _takes_heredocs(statement: Statement) -> bool:
    if statement.name == "ONBUILD" and statement.child is not None:
        statement = statement.child
    return statement.name in _HEREDOC and not statement.json


def _with_heredocs(statement: Statement, reader: Reader) -> Statement:
    openings = heredoc_openings(statement.line.text)
    if not openings:
        return statement
    heredocs = tuple(reader.heredoc(opening, statement.line) for opening in openings)
    span = reader.span(statement.line.start, reader.number)
    child = statement.child
    return statement._replace(
        span=span,
        heredocs=heredocs,
        child=child and child._replace(span=span, heredocs=heredocs),
    )


def _split(
    line: Line, span: Span, start: int, end: int, escape: str, *, nested: bool = False
) -> Statement:
    """The statement in a range of a logical line, which with `nested` is a trigger's."""
    text = line.text
    keyword, start, end = split_keyword(text, start, end)
    flags, start, end = split_flags(text, start, end, escape)
    name = keyword.text.upper()
    args: tuple[Word, ...] = ()
    is_json = False
    pairs: tuple[Pair, ...] = ()
    child = None
    if name in _COMMAND:
        args, is_json = _strings_or_text(text, start, end)
    elif name in _LIST:
        strings = json_strings(text, start, end)
        is_json = strings is not None
        args = blank_separated(text, start, end) if strings is None else strings
    elif name in ("ENV", "LABEL"):
        pairs = _pairs(text, start, end, escape, name)
    elif name == "ARG":
        args = shell_words(text, start, end, escape)
    elif name in ("FROM", "EXPOSE"):
        args = blank_separated(text, start, end)
    elif name in _TEXT:
        args = _whole(text, start, end)
    elif name == "HEALTHCHECK":
        args, is_json = _health(text, start, end)
    elif name == "ONBUILD" and start < end and not nested:
        child = _split(line, span, start, end, escape, nested=True)
    return Statement(keyword, line, span, flags, args, is_json, pairs, child)


def _whole(text: str, start: int, end: int) -> tuple[Word, ...]:
    return (Word(text[start:end], start, end),) if start < end else ()


def _strings_or_text(text: str, start: int, end: int) -> tuple[tuple[Word, ...], bool]:
    strings = json_strings(text, start, end)
    if strings is not None:
        return strings, True
    return _whole(text, start, end), False


def _health(text: str, start: int, end: int) -> tuple[tuple[Word, ...], bool]:
    """`CMD …` or `NONE`: a kind, then a command in either form."""
    cut = start
    while cut < end and text[cut] not in SPACE:
        cut += 1
    if cut == start:
        return (), False
    command, is_json = _strings_or_text(text, *trim(text, cut, end))
    return (Word(text[start:cut], start, cut), *command), is_json


def _pairs(text: str, start: int, end: int, escape: str, name: str) -> tuple[Pair, ...]:
    """`k=v …`, or the old form `k the rest`."""
    words = shell_words(text, start, end, escape)
    if not words:
        return ()
    if "=" not in words[0].text:
        split = key_and_rest(text, start, end)
        if split is None:
            raise DockerfileError(f"{name} must have two arguments")
        return (Pair(split[0], split[1], delimited=False),)
    return tuple(map(_pair, words))


def _pair(word: Word) -> Pair:
    key, equals, value = word.text.partition("=")
    if not equals:
        raise DockerfileError(
            f"Syntax error - can't find = in {quote(word.text)}. Must be of the form: name=value"
        )
    middle = word.start + len(key)
    return Pair(Word(key, word.start, middle), Word(value, middle + 1, word.end))
