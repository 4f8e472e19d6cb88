"""The words of Go's text/template: text, and the tokens of the actions between it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is the name of a group of `_TOKENS`, or `end`; `close` says that nothing, not even a
    space, stands before it."""

    kind: str
    text: str
    close: bool
    line: int


_TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<declare>:=)
    |(?P<mark>[=|(),])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def error(line: int, what: str) -> UsageError:
    return UsageError(f"template: :{line}: {what}", hint="see https://pkg.go.dev/text/template")


def pieces(text: str) -> Iterator[Text | list[Token]]:
    """The text between actions, trimmed where they ask for it, and each action's tokens."""
    position, trim = 0, False
    while True:
        start = text.find("{{", position)
        piece = text[position:] if start < 0 else text[position:start]
        if trim:
            piece = piece.lstrip(" \t\r\n")
        if start < 0:
            yield Text(piece)
            return
        body = start + 2
        if re.match(r"-\s", text[body : body + 2]):
            piece, body = piece.rstrip(" \t\r\n"), body + 2
        yield Text(piece)
        line = text.count("\n", 0, start) + 1
        if comment := re.compile(r"/\*.*?\*/(\s-)?}}", re.DOTALL).match(text, body):
            position, trim = comment.end(), bool(comment[1])
            continue
        tokens, position, trim = _tokens(text, body, line)
        yield tokens


def _tokens(text: str, position: int, line: int) -> tuple[list[Token], int, bool]:
    tokens: list[Token] = []
    close = False
    while True:
        if text.startswith("}}", position):
            tokens.append(Token("end", "}}", close, line))
            return tokens, position + 2, False
        if re.compile(r"\s-}}").match(text, position):
            tokens.append(Token("end", "}}", close, line))
            return tokens, position + 4, True
        if position >= len(text):
            raise error(line, "unclosed action")
        found = _TOKENS.match(text, position)
        if found is None:
            if text[position] in "\"'`":
                raise error(line, "unterminated quoted string")
            raise error(line, f"unexpected {text[position]!r} in operand")
        position = found.end()
        if found.lastgroup == "space":
            close = False
            if text.startswith("-}}", position):
                position -= 1  # the space before `-}}` belongs to the trim marker
            continue
        tokens.append(Token(found.lastgroup or "", found[0], close, line))
        close = True


def unquoted(token: Token) -> str:
    """The text that a quoted string or character stands for."""

    def one(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        if code.isdigit():
            return chr(int(code, 8))
        if code not in _ESCAPES and code not in "\\\"'":
            raise error(token.line, f"bad string {token.text}")
        return _ESCAPES.get(code, code)

    if token.kind == "raw":
        return token.text[1:-1]
    return _ESCAPE.sub(one, token.text[1:-1])
