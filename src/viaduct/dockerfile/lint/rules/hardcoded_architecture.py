"""HardcodedArchitecture: a literal `amd64` where every platform needs its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from viaduct.dockerfile.lint import arch
from viaduct.dockerfile.lint.artefact import Artefact, artefact
from viaduct.dockerfile.lint.checked import words_of
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.lint.words import read_word
from viaduct.dockerfile.syntax import (
    Arg,
    Cmd,
    CopyAdd,
    Entrypoint,
    Env,
    Run,
    Word,
    Workdir,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from viaduct.base.spans import Span
    from viaduct.dockerfile.lint.checked import Checked, StageView
    from viaduct.dockerfile.lint.script import Script
    from viaduct.dockerfile.lint.shell import Command
    from viaduct.dockerfile.syntax import Instruction

# These read or rewrite architecture names, print them, or clean up what another step left.
_NEUTRAL = frozenset(
    "sed awk gawk perl tr cut grep egrep fgrep [ [[ test expr case echo printf file uname rm rmdir "
    "jq yq dpkg-architecture set comm diff find".split()
)


_OTHER_SYSTEMS = frozenset("windows darwin freebsd openbsd netbsd android js wasip1".split())


_ADDED = re.compile(r"--add-architecture[ =]+([a-z0-9]+)")


_Group: TypeAlias = tuple[int, ...]
"""Stage, instruction and command: what is reported at most once."""


class _Use(NamedTuple):
    thing: Artefact
    on: Instruction
    where: Span
    group: _Group
    variable: str = ""


def _check(checked: Checked) -> Iterator[Hit]:
    if not checked.is_for_one_architecture:
        yield from _hits(list(_all(checked)))


def _all(checked: Checked) -> Iterator[_Use]:
    """The uses in a file, without values of variables that are only read where the architecture
    was looked at before."""
    uses = list(_uses(checked))
    named = {use.variable for use in uses if use.variable}
    if named:
        free, guarded = _readers(checked, named)
        uses = [use for use in uses if use.variable not in guarded - free]
    yield from uses


def _uses(checked: Checked) -> Iterator[_Use]:
    for number, instruction in enumerate(checked.document.global_args):
        yield from _arguments(instruction, (-1, number))
    for view in checked.visible:
        if view.is_windows or view.is_for_one_architecture:
            continue
        if view.base is None and arch.names_architecture(view.image):
            yield from _image(view)
        elif not arch.names_architecture(view.image):
            yield from _stage(checked, view)


def _hits(uses: list[_Use]) -> Iterator[Hit]:
    """One hit for each thing that no other use names for another architecture."""
    families: dict[str, set[str]] = {}
    for use in uses:
        families.setdefault(use.thing.shape, set()).add(use.thing.token.family)
    seen: set[str] = set()
    groups: dict[_Group, list[_Use]] = {}
    for use in uses:
        if len(families[use.thing.shape]) == 1:
            groups.setdefault(use.group, []).append(use)
    fetched: set[int] = set()
    for group in groups.values():
        fresh = [use for use in group if not (use.thing.names and use.thing.names <= seen)]
        seen.update(name for use in group for name in use.thing.names)
        if not fresh:
            continue
        best = min(fresh, key=lambda use: use.thing.rank)
        # What a step does with the file that it fetched changes with the file.
        if best.thing.kind in ("path", "file", "argument") and id(best.on) in fetched:
            continue
        if best.thing.kind in ("url", "variable"):
            fetched.add(id(best.on))
        more = len({use.thing.shown for use in fresh if use.thing.kind == best.thing.kind}) - 1
        yield Hit(best.thing.sentence(more), best.on, best.where)


def _readers(checked: Checked, names: set[str]) -> tuple[set[str], set[str]]:
    """The variables of `names` that scripts read anywhere, and those that they read under a
    condition on the architecture."""
    free: set[str] = set()
    guarded: set[str] = set()
    for view in checked.stages:
        for _, script in checked.scripts(view):
            if not any(name in script.text for name in names):
                continue
            for command in script.commands:
                words = [*command.words, *(value for _, value in command.assignments)]
                read = {expansion.name for word in words for expansion in word.expansions} & names
                chosen = any(arch.selects(guard) for guard in command.guards)
                (guarded if chosen else free).update(read)
    return free, guarded


def _stage(checked: Checked, view: StageView) -> Iterator[_Use]:
    scripts = {id(instruction): script for instruction, script in checked.scripts(view)}
    added = {name for one in scripts.values() for name in _ADDED.findall(one.text)}
    for index, instruction in enumerate(view.stage.instructions):
        number = (view.index, index)
        if isinstance(instruction, Run):
            script = scripts.get(id(instruction))
            if script is not None:
                yield from (one for one in _script(script, number) if not _is_added(one, added))
        elif isinstance(instruction, (Cmd, Entrypoint)):
            script = checked.script(instruction)
            if script is not None:
                yield from _script(script, number)
        elif isinstance(instruction, Arg):
            yield from _arguments(instruction, number)
        elif isinstance(instruction, Env):
            settings = [(pair.key.text, pair.value.text) for pair in instruction.pairs]
            if not _compiles_elsewhere(settings):
                for pair in instruction.pairs:
                    yield from _value(instruction, pair.key.text, pair.value, number)
        elif isinstance(instruction, CopyAdd):
            yield from _copy(instruction, number)
        elif isinstance(instruction, Workdir):
            yield from _word(instruction, instruction.path, number)


def _is_added(use: _Use, added: Container[str]) -> bool:
    """Whether a package is for a second architecture that the stage adds to the image's own."""
    token = use.thing.token.text
    return use.thing.kind == "package" and token in added and f":{token}" in use.thing.word.text


def _image(view: StageView) -> Iterator[_Use]:
    start = view.stage.start
    if start.platform and "$" not in start.platform:
        return
    yield from _word(start, start.base, (view.index,), kind="image")


def _arguments(instruction: Arg, number: _Group) -> Iterator[_Use]:
    for pair in instruction.pairs:
        if pair.value is not None and pair.key.text not in arch.PLATFORM_ARGS:
            yield from _value(instruction, pair.key.text, pair.value, number)


def _value(instruction: Instruction, name: str, value: Word, number: _Group) -> Iterator[_Use]:
    # FOO_URL_AMD64 has a sister for each other architecture.
    if arch.names_architecture(name):
        return
    yield from _word(instruction, value, number, name=name)


def _copy(instruction: CopyAdd, number: _Group) -> Iterator[_Use]:
    source = instruction.flag("from")
    words = [*instruction.sources, instruction.dest]
    if source and "/" in source and arch.names_architecture(source):
        flag = next(flag for flag in instruction.flags if flag.name == "from")
        found = artefact(words_of(source))
        if found:
            where = instruction.where(flag)
            yield _Use(_as(found, "image"), instruction, where, number)
        return
    for word in words:
        yield from _word(instruction, word, number, kind="" if "/" in word.text else "file")


def _word(
    instruction: Instruction, word: Word, number: _Group, *, name: str = "", kind: str = ""
) -> Iterator[_Use]:
    if not arch.names_architecture(word.text):
        return
    read = words_of(word.text)
    if len(arch.families(read.text)) > 1:
        return
    found = artefact(read, name=name)
    if found is None:
        return
    at = word.start + read.offset(found.token.start)
    place = Word(found.token.text, at, at + len(found.token.text))
    thing = _as(found, kind) if kind else found
    yield _Use(thing, instruction, instruction.where(place), number, name)


def _as(thing: Artefact, kind: str) -> Artefact:
    return Artefact(kind, thing.word, thing.token, thing.shown)


def _script(script: Script, number: _Group) -> Iterator[_Use]:
    if not arch.names_architecture(script.text):
        return
    uses = [
        use
        for index, command in enumerate(script.commands)
        if not any(arch.selects(guard) for guard in command.guards)
        for use in _command(script, command, (*number, index))
    ]
    if len({use.thing.token.family for use in uses}) == 1:
        yield from uses


def _compiles_elsewhere(settings: Iterable[tuple[str, str]]) -> bool:
    """Whether variables ask Go for a program of another system."""
    return any(name == "GOOS" and value in _OTHER_SYSTEMS for name, value in settings)


def _command(script: Script, command: Command, group: _Group) -> Iterator[_Use]:
    settings = [(name, value.text) for name, value in command.assignments]
    settings += [(word.text[:4], word.text[5:]) for word in command.words if "=" in word.text]
    if _compiles_elsewhere(settings):
        return
    for name, value in command.assignments:
        if not arch.names_architecture(name):
            yield from _use(script, artefact(value, name=name), group)
    if command.kind != "simple":
        return
    if command.name in _NEUTRAL:
        if command.name in ("echo", "printf"):
            yield from _apt_source(script, command, group)
        return
    if command.name == "dpkg" and any(word.text == "--add-architecture" for word in command.words):
        return
    for word in command.words:
        name, equals, _ = word.text.partition("=")
        if equals and name.isidentifier():
            if arch.names_architecture(name):
                continue
            at = word.raw.find("=") + 1
            value = read_word(script.text, word.start + at, word.end)
            yield from _use(script, artefact(value, name=name), group)
        else:
            yield from _use(script, artefact(word, command), group)
    for word in command.redirects:
        yield from _use(script, artefact(word, command), group)


def _use(script: Script, thing: Artefact | None, group: _Group) -> Iterator[_Use]:
    if thing is None or len(arch.families(thing.word.text)) > 1:
        return
    start = thing.word.offset(thing.token.start)
    where = script.where(start, start + len(thing.token.text))
    yield _Use(thing, script.instruction, where, group)


def _apt_source(script: Script, command: Command, group: _Group) -> Iterator[_Use]:
    """`deb [arch=amd64] …` is more than text: apt reads it."""
    for word in command.words:
        at = word.text.find("[arch=")
        if at >= 0 and "deb" in word.text:
            thing = artefact(word)
            if thing is not None and word.text[at:].partition("]")[0].count(",") == 0:
                yield from _use(script, _as(thing, "argument"), group)


HARDCODED_ARCHITECTURE = Rule(
    name="HardcodedArchitecture",
    description="An architecture should be chosen by platform, not written into a URL, package, "
    "path, GOARCH or target triple",
    check=_check,
    multi_arch=True,
)
