"""ArchitectureNamingMismatch: `uname -m` in a name that says amd64, TARGETARCH in one that says
x86_64."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from viaduct.dockerfile.lint import arch
from viaduct.dockerfile.lint.checked import words_of
from viaduct.dockerfile.lint.conventions import GO, KERNEL, Convention, wanted
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.lint.words import HOLE
from viaduct.dockerfile.syntax import Arg, CopyAdd, Env, Run, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viaduct.dockerfile.lint.checked import Checked
    from viaduct.dockerfile.lint.script import Script
    from viaduct.dockerfile.lint.shell import Command
    from viaduct.dockerfile.lint.words import ShellWord
    from viaduct.dockerfile.syntax import Instruction


class _Origin(NamedTuple):
    """Where a spelling comes from: what the author wrote, and what it gives."""

    shown: str
    gives: Convention


_ARGUMENTS = {name: _Origin(f"${name}", GO) for name in ("TARGETARCH", "BUILDARCH")}
_COMMANDS = {
    "uname -m": KERNEL,
    "uname -p": KERNEL,
    "uname -i": KERNEL,
    "uname --machine": KERNEL,
    "arch": KERNEL,
    "apk --print-arch": KERNEL,
    "dpkg --print-architecture": GO,
}
_HINT = re.compile(r"uname|TARGETARCH|BUILDARCH|\barch\b|print-arch")


def _check(checked: Checked) -> Iterator[Hit]:
    if not _HINT.search(checked.document.source.text):
        return
    for view in checked.visible:
        if view.is_windows or view.is_for_one_architecture:
            continue
        origins: dict[str, _Origin] = dict(_ARGUMENTS)
        scripts = {id(instruction): script for instruction, script in checked.scripts(view)}
        for instruction in view.stage.instructions:
            if isinstance(instruction, (Arg, Env)):
                for pair in instruction.pairs:
                    if pair.value is not None:
                        _learn(pair.key.text, words_of(pair.value.text), origins)
                        yield from _in_word(instruction, pair.value, origins, pair.key.text)
            elif isinstance(instruction, CopyAdd):
                for word in instruction.sources:
                    yield from _in_word(instruction, word, origins)
            elif isinstance(instruction, Run) and (script := scripts.get(id(instruction))):
                yield from _in_script(script, dict(origins))


def _in_word(
    instruction: Instruction, word: Word, origins: Mapping[str, _Origin], name: str = ""
) -> Iterator[Hit]:
    if "$" not in word.text:
        return
    read = words_of(word.text)
    for number, text in _mismatch(read, origins, name):
        expansion = read.expansions[number]
        place = Word(text, word.start + expansion.start, word.start + expansion.end)
        yield Hit(text, instruction, instruction.where(place))


def _in_script(script: Script, origins: dict[str, _Origin]) -> Iterator[Hit]:
    if "$" not in script.text and "`" not in script.text:
        return
    told: set[str] = set()
    for command in script.commands:
        chosen = any(arch.selects(guard) for guard in command.guards)
        for name, value, word in _words(command):
            if not chosen:
                for number, text in _mismatch(value, origins, name):
                    expansion = value.expansions[number]
                    if text not in told:
                        told.add(text)
                        yield Hit(
                            text, script.instruction, script.where(expansion.start, expansion.end)
                        )
            if name and word is None:
                _learn(name, value, origins, certain=not chosen)


def _words(command: Command) -> Iterator[tuple[str, ShellWord, ShellWord | None]]:
    for name, value in command.assignments:
        yield name, value, None
    if command.name in ("echo", "printf"):
        for word in command.words:
            if "[arch=" in word.text:
                yield "", word, word
        return
    for word in command.words:
        yield "", word, word


def _learn(
    name: str, value: ShellWord, origins: dict[str, _Origin], *, certain: bool = True
) -> None:
    """Remember that a variable holds an architecture as some tool spells it."""
    found = _origin(value, origins) if value.text == HOLE and certain else None
    if found is not None:
        origins[name] = found
    else:
        origins.pop(name, None)


def _origin(value: ShellWord, origins: Mapping[str, _Origin], number: int = 0) -> _Origin | None:
    expansion = value.expansions[number] if number < len(value.expansions) else None
    if expansion is None or expansion.operation:
        return None
    if expansion.command:
        command = " ".join(expansion.command.split())
        gives = _COMMANDS.get(command)
        return _Origin(f"`{command}`", gives) if gives else None
    return origins.get(expansion.name)


def _mismatch(
    word: ShellWord, origins: Mapping[str, _Origin], name: str
) -> Iterator[tuple[int, str]]:
    """The expansions of a word that spell an architecture as its name does not."""
    for number in range(len(word.expansions)):
        origin = _origin(word, origins, number)
        if origin is None:
            continue
        text = _only(word, number)
        want = wanted(f"{name}={text}" if name == "GOARCH" else text)
        if want is None or want == origin.gives:
            continue
        pairs = [
            f"{mine} where it is called {theirs}"
            for mine, theirs in zip(origin.gives, want, strict=True)
            if mine != theirs
        ]
        yield number, f"{origin.shown} gives {' and '.join(pairs)}: {_shown(word, name)}"


def _only(word: ShellWord, number: int) -> str:
    """The word's text with that one hole kept and a letter for every other expansion."""
    parts = word.text.split(HOLE)
    out = parts[0]
    for index, part in enumerate(parts[1:]):
        out += (HOLE if index == number else "~") + part
    return out


def _shown(word: ShellWord, name: str) -> str:
    raw = " ".join(word.raw.strip("'\"").split())
    if name and word.text == HOLE:
        raw = f"{name}={raw}"
    return raw if len(raw) <= 80 else f"…{raw[-79:]}"


ARCHITECTURE_NAMING_MISMATCH = Rule(
    name="ArchitectureNamingMismatch",
    description="A name that says amd64 should not be made with uname -m, nor one that says x86_64 "
    "with TARGETARCH",
    check=_check,
    multi_arch=True,
)
