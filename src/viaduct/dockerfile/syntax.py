"""The syntax tree of a Dockerfile: what the author wrote, as immutable values.

Nothing here is expanded or resolved. An instruction keeps its logical line (`text`: physical lines
joined at the escape character, comments inside of it left out), and every word keeps its offsets
in that line, so that `instruction.where(word)` finds the place in the file again.

    Document ─ directives, global_args, stages ─ Stage ─ From, instructions
"""

from __future__ import annotations

import re
from bisect import bisect_right

import msgspec

from viaduct.base.spans import Source, Span

_LEADING_TABS = re.compile(r"(?m)^\t+")


class Tree(msgspec.Struct, frozen=True):
    """Base of all values of the syntax tree."""


class Word(Tree, frozen=True):
    """A word of an instruction as it was written, quotes and escapes included.

    `start` and `end` are offsets into the instruction's `text`. For a JSON form `text` is the
    decoded string while the offsets hold the quoted one.
    """

    text: str
    start: int = 0
    end: int = 0


class Flag(Tree, frozen=True):
    """`--name=value` or `--name` (then `value` is None). Quotes are already gone."""

    name: str
    value: str | None
    word: Word


class Comment(Tree, frozen=True):
    """A full-line comment without its `#`; `line` is one-based."""

    text: str
    line: int


class Directive(Tree, frozen=True):
    """A parser directive (`# syntax=…`); `name` is in lower case."""

    name: str
    value: str
    span: Span


class Heredoc(Tree, frozen=True):
    """A here-document that was attached to an instruction.

    `content` is as in the file, line endings and leading tabs included; `body` is what it means.
    `expand` is false when a part of the word was quoted; `chomp` is true for `<<-`; `fd` is the
    number before `<<`, 0 when there is none. `start` and `end` are the lines of the content
    (`end` < `start` when it is empty); the terminator is line `end + 1`.
    """

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    fd: int = 0
    start: int = 0
    end: int = 0

    @property
    def body(self) -> str:
        """The content with leading tabs removed where `<<-` asks for it."""
        if not self.chomp:
            return self.content
        return _LEADING_TABS.sub("", self.content)


class Instruction(Tree, frozen=True):
    """What all instructions have in common.

    `keyword` is spelled as in the file. `comments` are the full-line comments above it, up to the
    previous instruction or an empty comment. `places` maps offsets of `text` to the file: sorted
    (offset, line, column) triples, one per joined physical line.
    """

    keyword: str
    text: str
    span: Span
    places: tuple[tuple[int, int, int], ...]
    flags: tuple[Flag, ...]
    comments: tuple[Comment, ...]
    heredocs: tuple[Heredoc, ...]

    @property
    def name(self) -> str:
        """The keyword in upper case."""
        return self.keyword.upper()

    @property
    def code(self) -> str:
        """The logical line without surrounding space: what messages and step names quote."""
        return self.text.strip()

    def flag(self, name: str) -> str | None:
        """The value of the first flag of that name; None when absent, "" when it has no value."""
        for flag in self.flags:
            if flag.name == name:
                return flag.value or ""
        return None

    def flag_values(self, name: str) -> tuple[str, ...]:
        """The values of all flags of that name, in order."""
        return tuple(flag.value or "" for flag in self.flags if flag.name == name)

    def is_set(self, name: str) -> bool:
        """Whether a boolean flag is given and not `false`."""
        value = self.flag(name)
        return value is not None and value.lower() != "false"

    def where(self, word: Word | Flag) -> Span:
        """The place of a word of this instruction, with its column."""
        if isinstance(word, Flag):
            word = word.word
        line, column = self._place(word.start)
        last, _ = self._place(max(word.start, word.end - 1))
        return Span(self.span.source, line, last, column)

    def _place(self, offset: int) -> tuple[int, int]:
        at = max(0, bisect_right(self.places, offset, key=lambda place: place[0]) - 1)
        start, line, column = self.places[at]
        return line, column + offset - start


class From(Instruction, frozen=True):
    """`FROM [--platform=…] base [AS alias]`; `as_word` keeps the spelling of AS."""

    base: Word
    as_word: Word | None = None
    alias: Word | None = None

    @property
    def stage_name(self) -> str:
        """The alias in lower case, or empty."""
        return self.alias.text.lower() if self.alias else ""

    @property
    def platform(self) -> str:
        return self.flag("platform") or ""


class CommandLine(Instruction, frozen=True):
    """A shell form (`json` false, one word holding the whole text) or an exec form."""

    args: tuple[Word, ...]
    json: bool


class Run(CommandLine, frozen=True):
    """`RUN`, with heredocs; mounts, network and security are flags."""


class Cmd(CommandLine, frozen=True):
    pass


class Entrypoint(CommandLine, frozen=True):
    pass


class Shell(CommandLine, frozen=True):
    """`SHELL`, always in exec form."""


class CopyAdd(Instruction, frozen=True):
    """`COPY` or `ADD`: `sources` are paths and URLs, `contents` the heredocs among the sources."""

    sources: tuple[Word, ...]
    contents: tuple[Heredoc, ...]
    dest: Word
    json: bool = False

    @property
    def is_add(self) -> bool:
        return self.name == "ADD"


class Pair(Tree, frozen=True):
    """`key=value` of ENV and LABEL; `delimited` is false for the old form with a space."""

    key: Word
    value: Word
    delimited: bool = True


class Env(Instruction, frozen=True):
    pairs: tuple[Pair, ...]


class Label(Instruction, frozen=True):
    pairs: tuple[Pair, ...]


class ArgPair(Tree, frozen=True):
    """One `name` or `name=default` of ARG; `doc` is the text of a comment `# name text` above."""

    key: Word
    value: Word | None = None
    doc: str = ""


class Arg(Instruction, frozen=True):
    pairs: tuple[ArgPair, ...]


class Workdir(Instruction, frozen=True):
    path: Word


class User(Instruction, frozen=True):
    user: Word


class StopSignal(Instruction, frozen=True):
    signal: Word


class Maintainer(Instruction, frozen=True):
    author: Word


class Expose(Instruction, frozen=True):
    """`ports` in the order of the file."""

    ports: tuple[Word, ...]


class Volume(Instruction, frozen=True):
    paths: tuple[Word, ...]
    json: bool = False


class Healthcheck(Instruction, frozen=True):
    """`test` is what the image configuration holds (`CMD`, `CMD-SHELL` or `NONE` first);
    durations in nanoseconds, 0 when not given."""

    test: tuple[str, ...]
    json: bool = False
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Onbuild(Instruction, frozen=True):
    """`expression` is the trigger's text with its heredocs, as the configuration keeps it.

    `trigger` is the same parsed, with places in this file; None when it will only be found wrong
    by the build that runs it.
    """

    expression: str
    trigger: Instruction | None = None


class Stage(Tree, frozen=True):
    """A FROM and what follows it; `index` counts from 0; `doc` as in `ArgPair`."""

    index: int
    start: From
    instructions: tuple[Instruction, ...]
    doc: str = ""

    @property
    def name(self) -> str:
        """The alias in lower case, or empty."""
        return self.start.stage_name


class Document(Tree, frozen=True):
    """A whole Dockerfile.

    `global_args` are the ARGs before the first FROM. `empty_continuations` are the places where a
    blank line stands inside of a continued instruction. `trailing` are comments after the last
    instruction.
    """

    source: Source
    directives: tuple[Directive, ...]
    escape: str
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    empty_continuations: tuple[Span, ...] = ()
    trailing: tuple[Comment, ...] = ()

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """Every instruction in the order of the file."""
        out: list[Instruction] = list(self.global_args)
        for stage in self.stages:
            out.append(stage.start)
            out.extend(stage.instructions)
        return tuple(out)

    def directive(self, name: str) -> Directive | None:
        """The parser directive of that name, if the file has it."""
        return next((one for one in self.directives if one.name == name), None)
