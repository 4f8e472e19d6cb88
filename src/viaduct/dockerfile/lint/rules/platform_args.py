"""UndeclaredPlatformArg and PlatformArgDefault: TARGETARCH and its sisters, declared wrongly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.dockerfile.lint.arch import PLATFORM_ARGS
from viaduct.dockerfile.lint.checked import words_of
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import (
    Arg,
    CopyAdd,
    Env,
    Label,
    Run,
    User,
    Volume,
    Word,
    Workdir,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.base.spans import Span
    from viaduct.dockerfile.lint.checked import Checked, StageView
    from viaduct.dockerfile.lint.scope import Scope
    from viaduct.dockerfile.lint.script import Script
    from viaduct.dockerfile.lint.words import ShellWord
    from viaduct.dockerfile.syntax import Instruction

_NAMES = "|".join(sorted(PLATFORM_ARGS, key=len, reverse=True))
_MENTION = re.compile(rf"\$\{{?(?:{_NAMES})\b")
_VARIABLE = re.compile(rf"\$\{{?({_NAMES})\b")


def _undeclared(checked: Checked) -> Iterator[Hit]:
    if not _MENTION.search(checked.document.source.text):
        return
    for view in checked.visible:
        scripts = {id(instruction): script for instruction, script in checked.scripts(view)}
        for instruction, scope in checked.scopes(view):
            if isinstance(instruction, Run):
                script = scripts.get(id(instruction))
                found = [*_in_flags(instruction), *(_in_script(script) if script else ())]
            else:
                found = [*_in_words(instruction), *_in_flags(instruction)]
            told: set[str] = set()
            for name, where in found:
                if name in told or _is_set(name, scope):
                    continue
                told.add(name)
                yield Hit(_undeclared_text(name, view, instruction), instruction, where)


def _is_set(name: str, scope: Scope) -> bool:
    return name in scope.values or name in scope.declared


def _undeclared_text(name: str, view: StageView, instruction: Instruction) -> str:
    later = next(
        (
            other.span.start
            for other in view.stage.instructions
            if other.span.start > instruction.span.start
            and isinstance(other, Arg)
            and any(pair.key.text == name for pair in other.pairs)
        ),
        0,
    )
    if later:
        return f"${name} is empty here: ARG {name} comes later, on line {later}"
    return f"${name} is empty here: the stage does not declare it with ARG {name}"


def _in_script(script: Script) -> Iterator[tuple[str, Span]]:
    """The platform arguments that a script reads before it gives them a value of its own."""
    if not _MENTION.search(script.text):
        return
    own: set[str] = set()
    for command in script.commands:
        if command.name in ("read", "export", "local", "declare"):
            own.update(word.text.partition("=")[0] for word in command.words)
        for _, value in command.assignments:
            yield from _in_word(script, value, own)
        for word in (*command.words, *command.redirects):
            yield from _in_word(script, word, own)
        own.update(name for name, _ in command.assignments)


def _in_word(script: Script, word: ShellWord, own: set[str]) -> Iterator[tuple[str, Span]]:
    for expansion in word.expansions:
        if expansion.name in PLATFORM_ARGS and expansion.name not in own:
            # Empty, and replaced by what it would have been.
            if expansion.name.endswith("OS") and expansion.operation in (":-linux", "-linux"):
                continue
            yield expansion.name, script.where(expansion.start, expansion.end)


def _in_words(instruction: Instruction) -> Iterator[tuple[str, Span]]:
    """The platform arguments that the builder is to put into an instruction's words."""
    if "$" not in instruction.text:
        return
    for word in _expanded(instruction):
        if "$" not in word.text:
            continue
        for expansion in words_of(word.text).expansions:
            if expansion.name in PLATFORM_ARGS:
                at = word.start + expansion.start
                place = Word(expansion.name, at, word.start + expansion.end)
                yield expansion.name, instruction.where(place)


def _in_flags(instruction: Instruction) -> Iterator[tuple[str, Span]]:
    for flag in instruction.flags:
        for match in _VARIABLE.finditer(flag.value or ""):
            yield match[1], instruction.where(flag)


def _expanded(instruction: Instruction) -> Iterator[Word]:
    if isinstance(instruction, (Env, Label)):
        for pair in instruction.pairs:
            yield pair.value
    elif isinstance(instruction, Arg):
        for default in instruction.pairs:
            # ARG TARGETARCH=$TARGETARCH is the other rule's business.
            if default.value is not None and default.key.text not in PLATFORM_ARGS:
                yield default.value
    elif isinstance(instruction, CopyAdd):
        yield from (*instruction.sources, instruction.dest)
    elif isinstance(instruction, Workdir):
        yield instruction.path
    elif isinstance(instruction, User):
        yield instruction.user
    elif isinstance(instruction, Volume):
        yield from instruction.paths


def _default(checked: Checked) -> Iterator[Hit]:
    for instruction in checked.document.global_args:
        # Here the argument has its value already: a default that falls back on it keeps it.
        yield from _defaults(instruction, keeps=True)
    for view in checked.visible:
        for argument, scope in checked.scopes(view):
            if isinstance(argument, Arg):
                yield from _defaults(argument, keeps=False, scope=scope)


def _defaults(instruction: Arg, *, keeps: bool, scope: Scope | None = None) -> Iterator[Hit]:
    for pair in instruction.pairs:
        name, value = pair.key.text, pair.value
        if name not in PLATFORM_ARGS or value is None:
            continue
        if (keeps or (scope is not None and name in scope.values)) and re.search(
            rf"\${{?{name}\b", value.text
        ):
            continue
        literal = (scope.expand(value.text).text if scope else None) or value.text.strip("'\"")
        # On every platform that there is an image for, this default is the truth.
        if name in ("TARGETOS", "BUILDOS") and literal == "linux":
            continue
        shown = f'"{literal}"' if literal else "empty"
        yield Hit(
            f"The default of ARG {name} replaces the builder's value: it is {shown} on every "
            "platform",
            instruction,
            instruction.where(pair.key),
        )


UNDECLARED_PLATFORM_ARG = Rule(
    "UndeclaredPlatformArg",
    "A stage must declare TARGETARCH and the other platform arguments with ARG before it uses them",
    _undeclared,
    multi_arch=True,
)

PLATFORM_ARG_DEFAULT = Rule(
    "PlatformArgDefault",
    "TARGETARCH and the other platform arguments should be declared without a default, which would "
    "win over the value that the builder gives them",
    _default,
    multi_arch=True,
)
