"""Words of a shell script: quotes undone, expansions set apart, every character's place kept."""

from __future__ import annotations

import re
from bisect import bisect_right

import msgspec

HOLE = "\0"
"""Stands for one expansion in `ShellWord.text`."""


class Expansion(msgspec.Struct, frozen=True):
    """A variable (`name`) or a command substitution (`command`, then `name` is empty) in a word.

    `operation` is what follows the name inside of braces (`:-amd64`, `/x86_64/amd64`).
    """

    start: int
    end: int
    name: str = ""
    operation: str = ""
    command: str = ""


class ShellWord(msgspec.Struct, frozen=True):
    """One word. `start` and `end` are offsets in the script, `raw` is what stands there.

    `text` has quotes and escapes undone and one `HOLE` for each of `expansions`, in order.
    `quoted` says that some of it was quoted.
    """

    raw: str
    start: int
    end: int
    text: str
    expansions: tuple[Expansion, ...] = ()
    quoted: bool = False
    runs: tuple[tuple[int, int], ...] = ()

    def offset(self, index: int) -> int:
        """The place in the script of the character `text[index]`."""
        at = max(0, bisect_right(self.runs, index, key=lambda run: run[0]) - 1)
        begin, origin = self.runs[at] if self.runs else (0, self.start)
        return origin + index - begin


_PLAIN = re.compile(r"[^\s'\"\\$`;&|()<>]+")
_IN_DOUBLE = re.compile(r'[^"\\$`]+')
_VARIABLE = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_BRACED = re.compile(r"[#!]?([A-Za-z_]\w*|[0-9@*#?$!-]+)")
_CASE_WORD = re.compile(r"\b(case|esac)\b")
_OPENING = {"(": ")", "{": "}"}


class _Text:
    """The unquoted text of a word while it is read, with the origin of every run of it."""

    __slots__ = ("expansions", "length", "parts", "runs")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.runs: list[tuple[int, int]] = []
        self.expansions: list[Expansion] = []
        self.length = 0

    def add(self, piece: str, origin: int) -> None:
        if piece:
            self.runs.append((self.length, origin))
            self.parts.append(piece)
            self.length += len(piece)


def read_word(script: str, start: int, stop: int, *, blanks: bool = False) -> ShellWord:
    """The word at `start`, ending before `stop`; with `blanks` everything up to `stop` is one."""
    text = _Text()
    quoted = False
    at = start
    while at < stop:
        char = script[at]
        if char == "'":
            quoted = True
            close = script.find("'", at + 1, stop)
            close = stop if close < 0 else close
            text.add(script[at + 1 : close], at + 1)
            at = min(stop, close + 1)
        elif char == '"':
            quoted = True
            at = _read_double(script, at + 1, stop, text)
        elif char == "\\":
            if at + 1 < stop and script[at + 1] != "\n":
                text.add(script[at + 1], at + 1)
            at += 2
        elif char in "$`" or (char in "<>" and script.startswith("(", at + 1)):
            at = _read_expansion(script, at, stop, text)
        elif blanks:
            plain = _PLAIN.match(script, at, stop)
            end = plain.end() if plain else at + 1
            text.add(script[at:end], at)
            at = end
        else:
            plain = _PLAIN.match(script, at, stop)
            if not plain:
                break
            text.add(plain[0], at)
            at = plain.end()
    at = min(at, stop)
    return ShellWord(
        raw=script[start:at],
        start=start,
        end=at,
        text="".join(text.parts),
        expansions=tuple(text.expansions),
        quoted=quoted,
        runs=tuple(text.runs),
    )


def _read_double(script: str, at: int, stop: int, text: _Text) -> int:
    while at < stop:
        char = script[at]
        if char == '"':
            return at + 1
        if char == "\\":
            if at + 1 < stop and script[at + 1] in '"\\$`':
                text.add(script[at + 1], at + 1)
            elif at + 1 < stop and script[at + 1] != "\n":
                text.add(script[at : at + 2], at)
            at += 2
        elif char in "$`":
            at = _read_expansion(script, at, stop, text)
        else:
            plain = _IN_DOUBLE.match(script, at, stop)
            if not plain:
                break
            text.add(plain[0], at)
            at = plain.end()
    return at


def _read_expansion(script: str, at: int, stop: int, text: _Text) -> int:
    """Read `$x`, `${x…}`, `$(…)`, a backquoted command or `<(…)`; a lone `$` is text."""
    if script[at] == "`":
        close = script.find("`", at + 1, stop)
        end = stop if close < 0 else close + 1
        inner = script[at + 1 : stop if close < 0 else close]
        text.expansions.append(Expansion(at, end, command=inner))
    elif script.startswith("((", at + 1):
        end = script.find("))", at, stop)
        end = stop if end < 0 else end + 2
        text.expansions.append(Expansion(at, end))
    elif script.startswith("(", at + 1):
        end = _close(script, at + 1, stop)
        inner = script[at + 2 : end].removesuffix(")")
        text.expansions.append(Expansion(at, end, command=inner))
    elif script.startswith("{", at + 1):
        end = _close(script, at + 1, stop)
        name = _BRACED.match(script, at + 2, end)
        operation = script[name.end() : end - 1] if name else script[at + 2 : end - 1]
        text.expansions.append(
            Expansion(at, end, name=name[1] if name else "", operation=operation)
        )
    elif variable := _VARIABLE.match(script, at + 1, stop):
        end = variable.end()
        text.expansions.append(Expansion(at, end, name=variable[0]))
    else:
        text.add(script[at], at)
        return at + 1
    text.add(HOLE, at)
    return end


def _close(script: str, at: int, stop: int) -> int:
    """The offset behind the bracket that closes the one at `at`; `stop` when there is none.

    Inside of `case … esac` a lone `)` ends a pattern.
    """
    stack: list[str] = []
    while at < stop:
        char = script[at]
        if char == "\\":
            at += 2
            continue
        if char == "'":
            close = script.find("'", at + 1, stop)
            # An apostrophe in a comment or in double quotes has no partner: go on behind it.
            at = at + 1 if close < 0 else close + 1
            continue
        if char == '"':
            at = _read_double(script, at + 1, stop, _Text())
            continue
        if char == "(" or (char == "{" and (not stack or script[at - 1] == "$")):
            stack.append(_OPENING[char])
        elif stack and char == stack[-1]:
            stack.pop()
            if not stack:
                return at + 1
        elif char in "ce" and (key := _CASE_WORD.match(script, at, stop)):
            if key[1] == "case" and stack[-1] == ")":
                stack.append("esac")
            elif key[1] == "esac" and stack[-1] == "esac":
                stack.pop()
            at = key.end()
            continue
        at += 1
    return stop
