"""Go's text/template, read into a tree.

Text, `{{- trimming -}}`, comments, pipelines with functions and variables, `if`, `range`, `with`,
`break` and `continue`: what people write after `--format`. Named templates are not part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from viaduct.cli.gotemplate.lex import Text, Token, error, pieces, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Chain:
    """`.A.B`, `$x.A`, `(pipeline).A`: a start (None is the dot) and the fields taken from it."""

    start: str | Pipe | None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Name:
    """A function's name."""

    name: str


Operand: TypeAlias = Literal | Chain | Name


@dataclass(frozen=True, slots=True)
class Pipe:
    """`$a, $b := command | command`; `declares` says that the variables are new."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Block:
    """`if`, `range` or `with`: its pipeline, its body and its `else`."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str


Node: TypeAlias = Text | Action | Block | Jump


_KEYWORDS = frozenset("if range with else end break continue define template block".split())


def parse(text: str, functions: frozenset[str]) -> tuple[Node, ...]:
    """The tree of a template. Raises `UsageError` that names the line, as Go does."""
    reader = _Reader(pieces(text), functions)
    nodes, stop = reader.nodes()
    if stop is not None:
        raise error(stop.line, f"unexpected {{{{{stop.text}}}}}")
    return tuple(nodes)


class _Reader:
    def __init__(self, pieces: Iterator[Text | list[Token]], functions: frozenset[str]) -> None:
        self._pieces = pieces
        self._functions = functions
        self._tokens: list[Token] = []
        self._line = 1
        self._loops = 0

    def nodes(self) -> tuple[list[Node], Token | None]:
        """Nodes up to an `else` or `end` (which is returned with the action's rest unread)."""
        nodes: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, Text):
                if piece.text:
                    nodes.append(piece)
                continue
            self._tokens = piece
            self._line = piece[0].line
            first = piece[0]
            if first.kind == "word" and first.text in _KEYWORDS:
                self._take()
                if first.text in ("else", "end"):
                    return nodes, first
                nodes.append(self._keyword(first))
            elif first.kind == "end":
                raise error(first.line, "missing value for command")
            else:
                nodes.append(Action(self._pipe("end")))
        return nodes, None

    def _keyword(self, first: Token) -> Node:
        if first.text in ("break", "continue"):
            if not self._loops:
                raise error(first.line, f"{{{{{first.text}}}}} outside {{{{range}}}}")
            self._expect_end()
            return Jump(first.text)
        if first.text not in ("if", "range", "with"):
            raise error(first.line, f"{{{{{first.text}}}}} is not supported here")
        return self._block(first)

    def _block(self, first: Token) -> Block:
        pipe = self._pipe("end")
        self._loops += first.text == "range"
        body, stop = self.nodes()
        self._loops -= first.text == "range"
        otherwise: list[Node] = []
        if stop is not None and stop.text == "else":
            if self._tokens[0].kind == "word" and self._tokens[0].text in ("if", "with"):
                return Block(first.text, pipe, tuple(body), (self._block(self._take()),))
            self._expect_end()
            otherwise, stop = self.nodes()
        if stop is None or stop.text != "end":
            raise error(first.line, "unexpected EOF" if stop is None else "unexpected {{else}}")
        self._expect_end()
        return Block(first.text, pipe, tuple(body), tuple(otherwise))

    def _take(self) -> Token:
        return self._tokens.pop(0)

    def _expect_end(self) -> None:
        if self._tokens[0].kind != "end":
            raise error(self._line, f"unexpected {self._tokens[0].text!r}")

    def _pipe(self, closing: str) -> Pipe:
        """A pipeline and the token after it: the action's end, or `)`."""
        variables, declares = self._declaration()
        commands: list[tuple[Operand, ...]] = []
        while True:
            commands.append(self._command())
            token = self._take()
            if token.text == "|":
                continue
            if token.kind == closing or token.text == closing:
                if token.kind == "end":
                    self._tokens.insert(0, token)
                return Pipe(tuple(commands), variables, declares)
            raise error(self._line, "unclosed left paren" if closing == ")" else "unexpected )")

    def _declaration(self) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        for at, token in enumerate(self._tokens):
            if at % 2 == 0 and token.kind == "variable" and len(names) < 2:
                names.append(token.text)
            elif at % 2 == 1 and (token.kind == "declare" or token.text == "="):
                del self._tokens[: at + 1]
                return tuple(names), token.kind == "declare"
            elif at % 2 == 0 or token.text != ",":
                break
        return (), True

    def _command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while self._tokens[0].text not in ("|", ")") and self._tokens[0].kind != "end":
            operands.append(self._operand())
        if not operands:
            raise error(self._line, "missing value for command")
        return tuple(operands)

    def _operand(self) -> Operand:
        token = self._take()
        start: str | Pipe | None = None
        fields: list[str] = []
        match token.kind:
            case "string" | "raw":
                return Literal(unquoted(token))
            case "char":
                return Literal(ord(unquoted(token)[:1]))
            case "number":
                return Literal(self._number(token))
            case "word":
                return self._word(token)
            case "field":
                fields = [token.text[1:]]
            case "variable":
                start = token.text
            case "mark" if token.text == "(":
                start = self._pipe(")")
            case "dot":
                return Chain(None)
            case _:
                raise error(token.line, f"unexpected {token.text!r} in operand")
        while self._tokens[0].kind == "field" and self._tokens[0].close:
            fields.append(self._take().text[1:])
        return Chain(start, tuple(fields))

    def _word(self, token: Token) -> Operand:
        if token.text in ("true", "false", "nil"):
            return Literal({"true": True, "false": False}.get(token.text))
        if token.text not in self._functions:
            raise error(token.line, f'function "{token.text}" not defined')
        return Name(token.text)

    def _number(self, token: Token) -> int | float:
        text = token.text.replace("_", "")
        try:
            return int(text, 0) if re.fullmatch(r"[+-]?(0[xX].+|\d+)", text) else float(text)
        except ValueError:
            raise error(token.line, f'bad number syntax: "{token.text}"') from None
