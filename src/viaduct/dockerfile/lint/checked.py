"""A Dockerfile as the checks see it: the syntax tree, the facts, and what follows from both."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from viaduct.dockerfile.lint import arch
from viaduct.dockerfile.lint.context import BaseFacts, LintContext
from viaduct.dockerfile.lint.scope import Scope, global_scope
from viaduct.dockerfile.lint.script import Script, is_posix_shell, script_of
from viaduct.dockerfile.lint.words import ShellWord, read_word
from viaduct.dockerfile.parse import parse_trigger
from viaduct.dockerfile.syntax import CommandLine, CopyAdd, Onbuild, Run, Shell, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.syntax import Document, Instruction

_WINDOWS = re.compile(r"nanoserver|windowsservercore|windows/|/windows\b", re.IGNORECASE)
# What the peers give a step whose image says nothing; only that the name is set counts here.
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StageView(msgspec.Struct, frozen=True):
    """A stage and what it starts from.

    `base` is the index of an earlier stage, None for an image; `image` is the name of the image
    at the root of its chain of stages, unexpanded. `pin` is the `--platform` expression that rules
    it: that of the first stage of the chain, where builders look. `named` holds the stage names
    of the chain when they name an architecture.
    """

    stage: Stage
    base: int | None
    image: str
    pin: str
    facts: BaseFacts
    is_windows: bool
    named: str

    @property
    def index(self) -> int:
        return self.stage.index

    @property
    def is_for_one_architecture(self) -> bool:
        """The author says so: in the stage's name, or with a constant platform."""
        return bool(self.named) or (bool(self.pin) and "$" not in self.pin)

    @property
    def is_on_build_platform(self) -> bool:
        """It runs on the machine that builds, whatever the target."""
        return "BUILDPLATFORM" in self.pin or "BUILDARCH" in self.pin


class Checked:
    """The input of every rule. Pure: all of it follows from the document and the context."""

    def __init__(self, document: Document, context: LintContext) -> None:
        self.document = document
        self.context = context
        self._scripts: dict[int, Script | None] = {}
        self._after: dict[int, Scope] = {}

    @cached_property
    def outer(self) -> Scope:
        """The variables that FROM lines see."""
        return global_scope(self.document.global_args, self.context, self.document.escape)

    @cached_property
    def stages(self) -> tuple[StageView, ...]:
        """One view per stage, in order."""
        views: list[StageView] = []
        names: dict[str, int] = {}
        for stage in self.document.stages:
            text = stage.start.base.text
            base = names.get((self.outer.expand(text).text or text).lower())
            parent = views[base] if base is not None else None
            image = parent.image if parent else text
            named = " ".join(filter(None, (stage.name, parent.named if parent else "")))
            views.append(
                StageView(
                    stage=stage,
                    base=base,
                    image=image,
                    pin=parent.pin if parent else stage.start.platform,
                    facts=self.context.bases.get(stage.index, _UNKNOWN),
                    is_windows=(parent.is_windows if parent else bool(_WINDOWS.search(image)))
                    or self.document.escape == "`",
                    named=named if arch.names_target(named) else "",
                )
            )
            if stage.name:
                names[stage.name] = stage.index
        return tuple(views)

    @cached_property
    def target(self) -> StageView | None:
        """The stage whose image is wanted; None when the context names one that does not exist."""
        if not self.stages:
            return None
        wanted = self.context.target.lower()
        if not wanted:
            return self.stages[-1]
        named = [view for view in self.stages if view.stage.name == wanted]
        if not named and wanted.isdecimal() and int(wanted) < len(self.stages):
            return self.stages[int(wanted)]
        return named[-1] if named else None

    @cached_property
    def visible(self) -> tuple[StageView, ...]:
        """The stages to look into: all, or those that the target needs."""
        if self.context.all_stages or self.target is None:
            return self.stages
        needed: set[int] = set()
        todo = [self.target.index]
        names = {view.stage.name: view.index for view in self.stages if view.stage.name}
        while todo:
            index = todo.pop()
            if index in needed:
                continue
            needed.add(index)
            view = self.stages[index]
            todo += [] if view.base is None else [view.base]
            todo += [found for found in _sources(view.stage, names) if found < len(self.stages)]
        return tuple(view for view in self.stages if view.index in needed)

    @cached_property
    def is_for_one_architecture(self) -> bool:
        """The file's name, or a folder that holds it, says that it is for one architecture."""
        parts = self.document.source.name.replace("\\", "/").split("/")
        # How far up an absolute path belongs to the project cannot be known.
        return any(arch.names_target(part) for part in (parts if parts[0] else parts[-4:]))

    def chain(self, view: StageView) -> Iterator[StageView]:
        """The stage, the one that it starts from, and so on to the image."""
        seen: StageView | None = view
        while seen is not None:
            yield seen
            seen = self.stages[seen.base] if seen.base is not None else None

    def triggers(self, view: StageView) -> tuple[Instruction, ...]:
        """The ONBUILD instructions that a stage begins with; their place is its FROM."""
        if view.base is None:
            return view.facts.triggers
        above = self.stages[view.base].stage.instructions
        return tuple(
            parse_trigger(instruction.expression, view.stage.start.span)
            for instruction in above
            if isinstance(instruction, Onbuild) and instruction.trigger is not None
        )

    def run(self, view: StageView) -> tuple[Instruction, ...]:
        """What a builder runs for a stage: triggers, then the stage's own instructions."""
        return (*self.triggers(view), *view.stage.instructions)

    def scopes(self, view: StageView) -> Iterator[tuple[Instruction, Scope]]:
        """Each instruction of a stage with the variables before it, triggers left out.

        The scope is the same object all the time and changes from step to step: copy to keep.
        """
        count = len(self.triggers(view))
        for number, step in enumerate(self.steps(view)):
            if number >= count:
                yield step

    def steps(self, view: StageView) -> Iterator[tuple[Instruction, Scope]]:
        """As `scopes`, with triggers."""
        scope = self._before(view)
        outer = self.outer.values
        for instruction in self.run(view):
            yield instruction, scope
            scope.apply(instruction, outer, self.context)

    def _before(self, view: StageView) -> Scope:
        """The variables of what a stage starts from."""
        if view.base is not None:
            return self._at_end(view.base)
        image = self.outer.expand(view.image).text or view.image
        known = {} if image == "scratch" else view.facts.environment
        scope = Scope(dict(known or {}), set(), known is not None, self.document.escape)
        if not view.is_windows:
            scope.values.setdefault("PATH", _DEFAULT_PATH)
        return scope

    def _at_end(self, index: int) -> Scope:
        if index not in self._after:
            view = self.stages[index]
            scope = self._before(view)
            for instruction in self.run(view):
                scope.apply(instruction, self.outer.values, self.context)
            self._after[index] = scope
        return self._after[index].copy()

    def script(self, instruction: CommandLine) -> Script | None:
        """The shell script of an instruction; the same object when asked again."""
        key = id(instruction)
        if key not in self._scripts:
            self._scripts[key] = script_of(instruction)
        return self._scripts[key]

    def scripts(self, view: StageView) -> Iterator[tuple[Run, Script]]:
        """The RUN instructions of a stage that give a script to a POSIX shell."""
        posix = not view.is_windows
        for instruction in view.stage.instructions:
            if isinstance(instruction, Shell):
                posix = is_posix_shell(tuple(word.text for word in instruction.args))
            elif isinstance(instruction, Run) and (posix or instruction.json):
                script = self.script(instruction)
                if script is not None:
                    yield instruction, script


_UNKNOWN = BaseFacts()


def words_of(text: str) -> ShellWord:
    """A word of an instruction, read as one shell word: its literal text and its variables."""
    return read_word(text, 0, len(text), blanks=True)


def _sources(stage: Stage, names: dict[str, int]) -> Iterator[int]:
    """The stages that a stage copies or mounts from."""
    for instruction in stage.instructions:
        found: list[str] = []
        if isinstance(instruction, CopyAdd):
            found = [instruction.flag("from") or ""]
        elif isinstance(instruction, Run):
            for mount in instruction.flag_values("mount"):
                found += re.findall(r"(?:^|,)from=([^,]+)", mount)
        for name in filter(None, found):
            if name.lower() in names:
                yield names[name.lower()]
            elif name.isdecimal():
                yield int(name)
