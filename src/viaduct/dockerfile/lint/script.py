"""The shell script of a RUN instruction, and the way back from it to the file."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

from viaduct.base.spans import Span
from viaduct.dockerfile.lint.shell import Command, commands
from viaduct.dockerfile.lint.words import ShellWord
from viaduct.dockerfile.syntax import CommandLine, Heredoc, Word

_SHELLS = frozenset("sh bash ash dash zsh ksh busybox".split())
_SHEBANG = re.compile(r"#!\s*(\S+)(?:[ \t]+(\S+))?")
_HEREDOC = re.compile(r"\s*\d*<<-?\s*(['\"]?)[^\s<|&;]+\1\s*")


class _Piece(NamedTuple):
    """`start` in the script comes from a word of the instruction or from a here-document."""

    start: int
    source: Word | Heredoc


class Script:
    """What a shell is given to run; `text` with here-documents put back behind their line."""

    def __init__(self, instruction: CommandLine, text: str, pieces: tuple[_Piece, ...]) -> None:
        self.instruction = instruction
        self.text = text
        self._pieces = pieces

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        return commands(self.text)

    def where(self, start: int, end: int) -> Span:
        """The place in the file of a part of the script."""
        at = max(0, bisect_right(self._pieces, start, key=lambda piece: piece.start) - 1)
        piece = self._pieces[at]
        offset = start - piece.start
        if isinstance(piece.source, Heredoc):
            before = piece.source.content[:offset]
            line = piece.source.start + before.count("\n")
            column = offset - (before.rfind("\n") + 1) + 1
            return Span(self.instruction.span.source, line, line, column)
        origin = piece.source
        # A JSON string's escapes move what follows them: then the whole string is the place.
        exact = origin.end - origin.start == len(origin.text)
        begin = origin.start + offset if exact else origin.start
        stop = origin.start + max(offset, end - piece.start) if exact else origin.end
        return self.instruction.where(Word(self.text[start:end], begin, stop))


class _ExecScript(Script):
    """An exec form that starts no shell: one command whose words are taken as they are."""

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        found = []
        for piece in self._pieces:
            text = piece.source.text if isinstance(piece.source, Word) else ""
            end = piece.start + len(text)
            found.append(
                ShellWord(text, piece.start, end, text, quoted=True, runs=((0, piece.start),))
            )
        return (Command(tuple(found), (), (), (), ()),)


def is_posix_shell(argv: tuple[str, ...]) -> bool:
    """Whether a SHELL instruction names a shell whose scripts can be read here."""
    return bool(argv) and _program(argv[0]) in _SHELLS


def script_of(instruction: CommandLine) -> Script | None:
    """The script that a RUN, CMD or ENTRYPOINT gives to a POSIX shell.

    None for a here-document written in another language, and for an instruction without words.
    """
    if not instruction.args:
        return None
    if instruction.json:
        return _exec_script(instruction)
    line = instruction.args[0]
    documents = instruction.heredocs
    if not documents:
        return Script(instruction, line.text, (_Piece(0, line),))
    if len(documents) == 1 and _HEREDOC.fullmatch(line.text):
        shebang = _SHEBANG.match(documents[0].body)
        if shebang:
            program = _program(shebang[1])
            if program == "env" and shebang[2]:
                program = _program(shebang[2])
            if program not in _SHELLS:
                return None
        return Script(instruction, documents[0].content, (_Piece(0, documents[0]),))
    text = line.text
    pieces = [_Piece(0, line)]
    for document in documents:
        text += "\n"
        pieces.append(_Piece(len(text), document))
        text += document.content + document.name
    return Script(instruction, text, tuple(pieces))


def _exec_script(instruction: CommandLine) -> Script:
    args = instruction.args
    if len(args) >= 3 and _program(args[0].text) in _SHELLS:
        for index, arg in enumerate(args[1:-1], 1):
            if arg.text.startswith("-") and arg.text.endswith("c"):
                body = args[index + 1]
                return Script(instruction, body.text, (_Piece(0, body),))
    text = ""
    pieces = []
    for arg in args:
        pieces.append(_Piece(len(text), arg))
        text += arg.text + " "
    return _ExecScript(instruction, text, tuple(pieces))


def _program(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(".exe").lower()
