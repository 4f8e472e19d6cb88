"""Which variables an instruction can see, and what is known of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.expand import expand_word, expand_words
from viaduct.dockerfile.syntax import Arg, Env

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viaduct.dockerfile.lint.context import LintContext
    from viaduct.dockerfile.syntax import ArgPair, Instruction
    from viaduct.oci.platform import Platform

# Arguments that steer the builder and never reach a step's environment.
_NOT_ENVIRONMENT = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class Expanded(NamedTuple):
    """What a text expands to: `text` is None when a value that it needs is not known, or when it
    cannot be expanded at all; `used` and `missing` are the names that are and are not set."""

    text: str | None
    used: frozenset[str]
    missing: frozenset[str]


class Scope(msgspec.Struct):
    """The variables at one place. A value that is None is set, but not known here.

    `declared` are arguments without a value. `complete` is false when a base image may have set
    more than is listed.
    """

    values: dict[str, str | None] = {}
    declared: set[str] = set()
    complete: bool = True
    escape: str = "\\"

    def copy(self) -> Scope:
        return Scope(dict(self.values), set(self.declared), self.complete, self.escape)

    def expand(self, text: str, *, raw: bool = False) -> Expanded:
        """Expand a word of an instruction; `raw` is for a here-document's content."""
        if "$" not in text and (raw or not any(char in text for char in "'\"<" + self.escape)):
            return Expanded(text, frozenset(), frozenset())
        used: set[str] = set()
        missing: set[str] = set()
        try:
            result = expand_word(
                text,
                self._known(),
                escape="\\" if raw else self.escape,
                skip_quotes=raw,
                matched=used,
                unmatched=missing,
            )
        except DockerfileError:
            return Expanded(None, frozenset(used), frozenset(missing))
        return Expanded(
            result if self._is_sure(used, missing) else None, frozenset(used), frozenset(missing)
        )

    def split(self, text: str) -> list[str] | None:
        """The words that a text expands to; None when they are not known."""
        found = self.expand(text)
        if found.text is None:
            return None
        return expand_words(text, self._known(), escape=self.escape)

    def apply(
        self, instruction: Instruction, outer: Mapping[str, str | None], context: LintContext
    ) -> None:
        """Take over what an instruction sets; `outer` are the arguments before the first FROM."""
        if isinstance(instruction, Env):
            fresh = [
                (self.expand(pair.key.text).text, self.expand(pair.value.text).text)
                for pair in instruction.pairs
            ]
            self.values.update((key, value) for key, value in fresh if key is not None)
        elif isinstance(instruction, Arg):
            for pair in instruction.pairs:
                self._argument(pair, outer, context)

    def _argument(
        self, pair: ArgPair, outer: Mapping[str, str | None], context: LintContext
    ) -> None:
        name = pair.key.text
        if name in _NOT_ENVIRONMENT:
            self.declared.add(name)
        elif name in context.build_args:
            self.values[name] = context.build_args[name]
        elif pair.value is not None:
            self.values[name] = self.expand(pair.value.text).text
        elif name in outer:
            self.values[name] = outer[name]
        else:
            self.declared.add(name)

    def _known(self) -> dict[str, str]:
        return {name: value or "" for name, value in self.values.items()}

    def _is_sure(self, used: set[str], missing: set[str]) -> bool:
        if missing and not self.complete:
            return False
        return all(self.values[name] is not None for name in used)


def platform_values(context: LintContext) -> dict[str, str | None]:
    """The arguments that every FROM sees without a declaration."""
    values: dict[str, str | None] = {}
    for prefix, platform in (("BUILD", context.build_platform), ("TARGET", context.platform)):
        values.update(_of_platform(prefix, platform))
    values["TARGETSTAGE"] = context.target or None
    return {name: context.build_args.get(name, value) for name, value in values.items()}


def global_scope(arguments: Iterable[Arg], context: LintContext, escape: str) -> Scope:
    """What FROM lines see: the platform arguments and the ARGs before the first FROM."""
    scope = Scope(platform_values(context), escape=escape)
    for instruction in arguments:
        for pair in instruction.pairs:
            name = pair.key.text
            if name in context.build_args:
                scope.values[name] = context.build_args[name]
            elif pair.value is not None:
                scope.values[name] = scope.expand(pair.value.text).text
            else:
                scope.declared.add(name)
    return scope


def _of_platform(prefix: str, platform: Platform | None) -> dict[str, str | None]:
    names = ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
    if platform is None:
        return {f"{prefix}{name}": None for name in names}
    values = (
        str(platform),
        platform.os,
        platform.os_version,
        platform.architecture,
        platform.variant,
    )
    return {f"{prefix}{name}": value for name, value in zip(names, values, strict=True)}
