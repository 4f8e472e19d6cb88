"""From syntax to stages: names, bases, platforms, and who reads from whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError, PlatformError, UsageError
from viaduct.dockerfile.contexts import context_keys
from viaduct.dockerfile.expand import expand_word
from viaduct.dockerfile.gotext import parse_int, quote
from viaduct.dockerfile.mounts import origin_of
from viaduct.dockerfile.state import Command, StageState, StageTable, check_circles
from viaduct.dockerfile.suggest import nearest, with_suggestion
from viaduct.dockerfile.syntax import CopyAdd, Run, Workdir
from viaduct.oci import platform as platforms
from viaduct.oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viaduct.dockerfile.arguments import GlobalArgs
    from viaduct.dockerfile.options import LowerOptions
    from viaduct.dockerfile.syntax import Document, Instruction, Stage
    from viaduct.oci.platform import Platform

SCRATCH = "scratch"

_DIGEST = re.compile(r"([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*):([0-9a-fA-F]{32,})")
_DIGEST_SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}


class Plan:
    """The stages of a document for one platform, before anything is looked up."""

    def __init__(
        self,
        document: Document,
        options: LowerOptions,
        platform: Platform,
        args: GlobalArgs,
        epoch: str,
    ) -> None:
        """Raises `DockerfileError`."""
        self.document = document
        self.options = options
        self.platform = platform
        self.args = args
        self.epoch = epoch
        self.table = StageTable()
        for stage in document.stages:
            self._add(stage)
        self.target = self._target()
        # Later stages may be named, so this comes when all are known; images that are only read
        # from are appended on the way.
        for state in self.table.states[:]:
            if state.stage is not None:
                state.commands = [self.command(state, one) for one in state.stage.instructions]
        check_circles(self.table.states)
        if len(self.table.states) == 1:
            self.table.states[0].label = ""

    def context_key(self, name: str, platform: Platform) -> str:
        """The key of a named context that takes the place of `name`, or empty."""
        if not self.options.named_contexts or name.lower() in (SCRATCH, "context"):
            return ""
        keys = context_keys(name, platform)
        return next((key for key in keys if key in self.options.named_contexts), "")

    def command(
        self, state: StageState, instruction: Instruction, *, in_trigger: bool = False
    ) -> Command:
        """An instruction with the stages it reads, now needed. Raises `DockerfileError`."""
        try:
            sources = self._sources(instruction)
        except DockerfileError as error:
            error.where = error.where or instruction.span
            raise
        for source in sources:
            state.needs[source] = instruction
        return Command(instruction, sources, in_trigger=in_trigger)

    def _add(self, stage: Stage) -> None:
        start = stage.start
        try:
            base_name = self._expand(start.base.text)
            if not base_name:
                raise DockerfileError(f"base name ({start.base.text}) should not be blank")
            state = StageState(stage, base_name, start.span, self.epoch)
            state.show_platform = self.options.multi_platform
            state.declared = dict(self.args.declared)
            self._expand(start.base.text, state.read_args)
            if start.platform:
                state.platform = self._platform(start.platform, state.read_args)
            if stage.name:
                state.context_key = self.context_key(stage.name, state.platform or self.platform)
        except DockerfileError as error:
            error.where = error.where or start.span
            raise
        if state.context_key:
            state.read_args.clear()
            self.table.add(state)
            state.base = None
            return
        state.label = stage.name or f"stage-{stage.index}"
        read = set(state.read_args)
        self.table.add(state)
        state.read_args |= read
        state.step_count = int(base_name != SCRATCH and state.base is None)
        state.step_count += sum(
            isinstance(instruction, CopyAdd | Run | Workdir) for instruction in stage.instructions
        )
        chosen = self.options.no_cache_filter
        state.no_cache = stage.name in map(str.lower, chosen) if chosen else self.options.no_cache

    def _expand(self, text: str, matched: set[str] | None = None) -> str:
        return expand_word(text, self.args.values, escape=self.document.escape, matched=matched)

    def _platform(self, text: str, read: set[str]) -> Platform:
        matched: set[str] = set()
        unmatched: set[str] = set()
        try:
            value = expand_word(
                text,
                self.args.values,
                escape=self.document.escape,
                matched=matched,
                unmatched=unmatched,
            )
        except DockerfileError as error:
            raise DockerfileError(
                f"failed to process arguments for platform : {error.what}"
            ) from None
        if not value:
            message = f"empty platform value from expression {text}"
            raise DockerfileError(self._suggest(message, unmatched))
        try:
            if value == "local":
                # A word of the command line only.
                raise PlatformError(
                    '"local": unknown operating system or architecture: invalid argument',
                    hint="in a Dockerfile it is called $BUILDPLATFORM",
                )
            platform = platforms.parse(value, local=self.options.build_platform)
        except PlatformError as error:
            message = f"failed to parse platform {text}: {error.what}"
            raise DockerfileError(self._suggest(message, unmatched), hint=error.hint) from None
        read |= matched
        return platform

    def _suggest(self, message: str, names: Iterable[str]) -> str:
        for name in sorted(names):
            if near := nearest(name, self.args.values):
                return f"{message} (did you mean {near}?)"
        return message

    def _target(self) -> StageState:
        wanted = self.options.target
        if not wanted:
            return self.table.states[-1]
        target = self.table.named(wanted)
        if target is None:
            message = f"target stage {quote(wanted)} could not be found"
            raise DockerfileError(with_suggestion(message, wanted, self.table.labels()))
        return target

    def _sources(self, instruction: Instruction) -> list[StageState]:
        """What an instruction reads: stages, images, named contexts."""
        if isinstance(instruction, Run):
            return [
                self._source(origin_of(value) or SCRATCH, instruction, None)
                for value in instruction.flag_values("mount")
            ]
        origin = instruction.flag("from") if isinstance(instruction, CopyAdd) else None
        if not origin:
            return []
        if expand_word(origin, {}, escape=self.document.escape) != origin:
            raise DockerfileError(
                "variable expansion is not supported for --from, define a new stage with FROM "
                "using ARG from global scope as a workaround"
            )
        return [self._source(origin, instruction, _index(origin))]

    def _source(self, name: str, reader: Instruction, index: int | None) -> StageState:
        if index is not None:
            return self.table.at(index)
        found = self.table.named(name)
        if found is None:
            found = StageState(None, name, reader.span, self.epoch)
            self.table.add(found)
        return found


def _index(name: str) -> int | None:
    try:
        return parse_int(name)
    except ValueError:
        return None


def complete_reference(name: str) -> references.Reference:
    """The image that a base name means. Raises `DockerfileError`."""
    try:
        return references.parse(name).with_default_tag()
    except UsageError as error:
        repository = _repository(name)
        why = _digest_trouble(name) or "invalid reference format"
        if repository != repository.lower():
            why += f": repository name ({repository}) must be lowercase"
        raise DockerfileError(
            f"failed to parse stage name {quote(name)}: {why}", hint=error.hint
        ) from error


def _digest_trouble(name: str) -> str:
    """What is wrong with a digest that has the shape of one, or empty."""
    rest, _, digest = name.partition("@")
    found = _DIGEST.fullmatch(digest)
    try:
        references.parse(rest)
    except UsageError:
        return ""
    if found is None:
        return ""
    size = _DIGEST_SIZES.get(found[1])
    if size is None:
        return "unsupported digest algorithm"
    if len(found[2]) != size:
        return "invalid checksum digest length"
    return "" if found[2] == found[2].lower() else "invalid checksum digest format"


def _repository(name: str) -> str:
    """The repository in a malformed reference, completed as messages about it show it."""
    name = name.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash:
        rest = f"library/{name}"
    elif not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        rest = name
    path, _, last = rest.rpartition("/")
    return "/".join(filter(None, (path, last.partition(":")[0])))
