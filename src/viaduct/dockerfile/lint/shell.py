"""Reading shell scripts for what they mean to a build check, without running them.

This is not a shell: it finds the simple commands of a script, their words with quotes undone, the
variables and command substitutions in them, and the conditions under which each command runs. It
never fails: text that is no valid script yields the commands that could be made out.

    commands("case $ARCH in x86_64) curl -O $url-amd64 ;; esac")
    → Command(words=(curl, -O, $url-amd64), guards=("$ARCH x86_64",))
"""

from __future__ import annotations

import re

import msgspec

from viaduct.dockerfile.lint.words import ShellWord, read_word


class Command(msgspec.Struct, frozen=True):
    """A simple command, or the head of a `case` or `for`.

    `words` are its arguments, the name first; `assignments` stand before it. `guards` are the
    conditions that decide whether it runs: the text of enclosing `if`, `case` (with all patterns)
    and `for` heads, and of tests before it in its `&&`/`||` list. `documents` are offsets (start,
    end) of its here-documents; what a shell gets by one is read as commands, too. `kind` is
    `simple`, or `case` or `for` for a head.
    """

    words: tuple[ShellWord, ...]
    assignments: tuple[tuple[str, ShellWord], ...]
    redirects: tuple[ShellWord, ...]
    documents: tuple[tuple[int, int], ...]
    guards: tuple[str, ...]
    kind: str = "simple"

    @property
    def name(self) -> str:
        """The name of the program, without its directory and without wrappers like `sudo`."""
        for word in self.words:
            base = word.text.rpartition("/")[2]
            if base not in _WRAPPERS and not base.startswith("-") and "=" not in base:
                return base
        return ""


_WRAPPERS = frozenset("sudo env exec command time nohup nice eatmydata gosu ! builtin".split())
_TESTS = frozenset("[ [[ test grep egrep fgrep expr command type".split())
_SHELLS = frozenset("sh bash ash dash zsh ksh".split())
_OPENERS = frozenset("if while until".split())
_RESERVED = _OPENERS | frozenset("then elif else fi do done { } ! time".split())

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=")
_OPERATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|[;&|()\n]")
_REDIRECT = re.compile(r"(\d*)(<<<|<<-?|&>>|>>|<>|>\||[<>]&|&>|[<>](?!\())")
_BLANK = re.compile(r"(?:[ \t\r]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")


class _Frame:
    """A compound command that is being read; `text` collects its conditions."""

    __slots__ = ("kind", "state", "text")

    def __init__(self, kind: str, state: str) -> None:
        self.kind = kind
        self.state = state
        self.text: list[str] = []


class _Draft(msgspec.Struct):
    words: list[ShellWord] = []
    assignments: list[tuple[str, ShellWord]] = []
    redirects: list[ShellWord] = []
    documents: list[tuple[int, int]] = []
    frames: tuple[_Frame, ...] = ()
    tests: tuple[str, ...] = ()
    kind: str = "simple"


def commands(script: str) -> tuple[Command, ...]:
    """All commands of `script`, those inside of substitutions included, in reading order."""
    reader = _Reader(script)
    reader.read(0, len(script), ())
    out = []
    for draft in reader.drafts:
        guards = [" ".join(frame.text) for frame in draft.frames if frame.text]
        out.append(
            Command(
                words=tuple(draft.words),
                assignments=tuple(draft.assignments),
                redirects=tuple(draft.redirects),
                documents=tuple(draft.documents),
                guards=(*guards, *draft.tests),
                kind=draft.kind,
            )
        )
    return tuple(out)


class _Reader:
    def __init__(self, script: str) -> None:
        self.script = script
        self.drafts: list[_Draft] = []
        self._depth = 0

    def read(
        self, at: int, stop: int, outer: tuple[_Frame, ...], tests: tuple[str, ...] = ()
    ) -> None:
        """Collect the commands between two offsets, which run under the frames `outer`."""
        # A script that nests substitutions deeper than this is not written by people.
        if self._depth > 20:
            return
        self._depth += 1
        _Block(self, at, stop, outer, tests).read()
        self._depth -= 1

    def inside(self, found: ShellWord, frames: tuple[_Frame, ...], tests: tuple[str, ...]) -> None:
        """Read the command substitutions of a word."""
        for expansion in found.expansions:
            raw = self.script[expansion.start : expansion.end]
            if expansion.command:
                start = expansion.start + (1 if raw.startswith("`") else 2)
                self.read(start, start + len(expansion.command), frames, tests)
            elif "$(" in raw or "`" in raw:
                inner = read_word(self.script, expansion.start + 2, expansion.end - 1, blanks=True)
                self.inside(inner, frames, tests)


class _Block:
    """Reads one list of commands: a whole script or the inside of a substitution."""

    def __init__(
        self,
        reader: _Reader,
        at: int,
        stop: int,
        outer: tuple[_Frame, ...],
        tests: tuple[str, ...],
    ) -> None:
        self.reader = reader
        self.script = reader.script
        self.at = at
        self.stop = stop
        self.frames: list[_Frame] = list(outer)
        self.floor = len(outer)
        self.base_tests = tests
        self.tests: list[str] = list(tests)
        self.draft = _Draft()
        self.begun = at
        self.pending: list[tuple[str, bool, _Draft]] = []
        self.heads: list[ShellWord] = []

    def read(self) -> None:
        script, stop = self.script, self.stop
        while self.at < stop:
            blank = _BLANK.match(script, self.at, stop)
            if blank:
                self.at = blank.end()
                continue
            if script[self.at] == "#":
                comment = _COMMENT.match(script, self.at, stop)
                self.at = comment.end() if comment else stop
                continue
            redirect = _REDIRECT.match(script, self.at, stop)
            if redirect and not script.startswith(("<(", ">("), self.at):
                self._redirect(redirect)
                continue
            operator = _OPERATOR.match(script, self.at, stop)
            if operator:
                self._operator(operator[0])
                continue
            self._word()
        self._end("\n")

    def _word(self) -> None:
        found = read_word(self.script, self.at, self.stop)
        before, self.at = self.at, max(found.end, self.at + 1)
        frame = self.frames[-1] if len(self.frames) > self.floor else None
        if frame is not None and frame.state == "head":
            self._head(frame, found)
            return
        if frame is not None and frame.state == "pattern":
            if found.raw == "esac":
                self.frames.pop()
            else:
                frame.text.append(found.raw)
            return
        draft = self.draft
        if not draft.words and not draft.assignments:
            self.begun = before
            if not found.quoted and self._reserved(found):
                return
        if not draft.words:
            assignment = _ASSIGNMENT.match(found.raw)
            if assignment:
                value = read_word(self.script, found.start + assignment.end(), found.end)
                if self.script.startswith("(", found.end):  # an array
                    close = self.script.find(")", found.end)
                    self.at = found.end + 1 if close < 0 else close + 1
                    value = read_word(
                        self.script, found.end + 1, max(found.end + 1, self.at - 1), blanks=True
                    )
                draft.assignments.append((assignment[1], value))
                return
        draft.words.append(found)
        if found.raw == "[[":
            self._double_bracket()

    def _double_bracket(self) -> None:
        self.at = self._behind_blanks()
        close = re.compile(r"(?:^|\s)\]\](?=\s|;|$|\))").search(self.script, self.at, self.stop)
        end = close.end() if close else self.stop
        self.draft.words.append(read_word(self.script, self.at, end, blanks=True))
        self.at = end

    def _reserved(self, found: ShellWord) -> bool:
        """Act on a reserved word in command position; False when it is none."""
        name = found.raw
        if name == "case":
            self.frames.append(_Frame("case", "head"))
        elif name in ("for", "select"):
            self.frames.append(_Frame("for", "head"))
        elif name in _OPENERS:
            self.frames.append(_Frame(name, "condition"))
            self.tests = list(self.base_tests)
        elif name == "function":
            self.at = read_word(self.script, self._behind_blanks(), self.stop).end
        elif name == "esac" and self._top("case"):
            self.frames.pop()
        elif name in ("then", "do"):
            if len(self.frames) > self.floor:
                self.frames[-1].state = "body"
        elif name == "elif" and self._top("if"):
            self.frames[-1].state = "condition"
        elif (name == "fi" and self._top("if")) or (
            name == "done" and self._top("for", "while", "until")
        ):
            self.frames.pop()
        elif name not in _RESERVED:
            return False
        if name in ("then", "do", "else", "elif", "fi", "done", "esac"):
            self.tests = list(self.base_tests)
        return True

    def _behind_blanks(self) -> int:
        blank = _BLANK.match(self.script, self.at, self.stop)
        return blank.end() if blank else self.at

    def _top(self, *kinds: str) -> bool:
        return len(self.frames) > self.floor and self.frames[-1].kind in kinds

    def _head(self, frame: _Frame, found: ShellWord) -> None:
        """A word between `case` and its `in`, or between `for` and its list's end."""
        if found.raw == "in" and frame.text:
            frame.state = "pattern" if frame.kind == "case" else "list"
            if frame.kind == "case":
                head = _Draft(words=self.heads, kind="case", tests=tuple(self.tests))
                head.frames = tuple(self.frames[:-1])
                self.reader.drafts.append(head)
            self.heads = []
            return
        if frame.kind == "for" and frame.text and found.raw == "do":
            frame.state = "body"
            return
        frame.text.append(found.raw)
        self.heads.append(found)
        self.reader.inside(found, tuple(self.frames[:-1]), tuple(self.tests))

    def _redirect(self, match: re.Match[str]) -> None:
        self.at = match.end()
        self.at = self._behind_blanks()
        if self.at >= self.stop or self.script[self.at] in "\n;&|()":
            return
        target = read_word(self.script, self.at, self.stop)
        self.at = max(target.end, self.at + 1)
        if match[2] in ("<<", "<<-"):
            self.pending.append((target.text, match[2] == "<<-", self.draft))
        elif match[2] == "<<<":
            self.draft.words.append(target)
        else:
            self.draft.redirects.append(target)
            self.reader.inside(target, tuple(self.frames), tuple(self.tests))

    def _operator(self, operator: str) -> None:
        self.at += len(operator)
        frame = self.frames[-1] if len(self.frames) > self.floor else None
        if frame is not None and frame.state == "pattern":
            if operator == ")":
                frame.state = "arm"
            return
        if frame is not None and frame.state == "list" and operator in (";", "\n"):
            words, self.draft.words = self.draft.words, []
            frame.text.extend(found.raw for found in words)
            self.draft.kind, self.draft.words = "for", words
            # The loop sets its variable, to nothing that could be known here.
            self.draft.assignments = [(frame.text[0], ShellWord("", self.at, self.at, ""))]
            self._end(operator)
            frame.state = "body"
            return
        if frame is not None and frame.state == "head":
            if operator in (";", "\n"):
                frame.state = "body" if frame.kind == "for" else "pattern"
            return
        self._end(operator)
        if operator in (";;", ";&", ";;&"):
            while len(self.frames) > self.floor:
                if self.frames[-1].kind == "case":
                    self.frames[-1].state = "pattern"
                    break
                self.frames.pop()
            self.tests = list(self.base_tests)
        elif operator == "(":
            self.frames.append(_Frame("(", "body"))
            self.frames[-1].text = [] if not self.tests else list(self.tests)
        elif operator == ")" and self._top("("):
            self.frames.pop()
        if operator == "\n":
            self._documents()

    def _end(self, operator: str) -> None:
        """The command that was being read is complete."""
        draft, self.draft = self.draft, _Draft()
        if draft.words or draft.assignments or draft.redirects or draft.documents:
            draft.frames = tuple(
                frame for frame in self.frames if frame.state != "condition" or frame.kind == "("
            )
            draft.tests = tuple(self.tests)
            text = self.script[self.begun : self.at - len(operator)].strip()
            condition = self._top("if", "while", "until") and self.frames[-1].state == "condition"
            first = draft.words[0].raw if draft.words else ""
            if condition:
                self.frames[-1].text.append(text)
            elif operator in ("&&", "||") and (first in _TESTS or first == "!"):
                self.tests.append(text)
            self.reader.drafts.append(draft)
            for found in (*(value for _, value in draft.assignments), *draft.words):
                self.reader.inside(found, draft.frames, draft.tests)
        if operator in (";", "\n", "&"):
            self.tests = list(self.base_tests)

    def _documents(self) -> None:
        """Step over the bodies of the here-documents that were announced on the last line."""
        pending, self.pending = self.pending, []
        for name, chomp, owner in pending:
            begin = self.at
            while self.at < self.stop:
                end = self.script.find("\n", self.at, self.stop)
                end = self.stop if end < 0 else end
                line = self.script[self.at : end]
                if (line.lstrip("\t") if chomp else line).rstrip("\r") == name:
                    owner.documents.append((begin, self.at))
                    self.at = min(self.stop, end + 1)
                    break
                self.at = min(self.stop, end + 1)
            else:
                owner.documents.append((begin, self.at))
            if owner.words and owner.words[0].text.rpartition("/")[2] in _SHELLS:
                self.reader.read(*owner.documents[-1], owner.frames, owner.tests)
