"""UndefinedVar, UndefinedArgInFrom, InvalidDefaultArgInFrom: a variable that nobody sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.dockerfile.lint.context import LintContext
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.lint.scope import Scope, global_scope
from viaduct.dockerfile.suggest import nearest
from viaduct.dockerfile.syntax import (
    Arg,
    CopyAdd,
    Env,
    Label,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from viaduct.oci import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked
    from viaduct.dockerfile.syntax import Instruction

_MOUNT_FIELD = re.compile(r'(?:^|,)"?[^=,]+=([^",]*)')


def _undefined(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        for instruction, scope in checked.steps(view):
            if not scope.complete:
                continue
            if isinstance(instruction, Arg):
                yield from _undefined_in_arg(instruction, scope, checked.context)
                continue
            for text in _words(instruction) if "$" in instruction.text else ():
                yield from _report(instruction, scope, scope.expand(text).missing)
            if isinstance(instruction, CopyAdd):
                for document in instruction.contents:
                    if document.expand:
                        missing = scope.expand(document.content, raw=True).missing
                        yield from _report(instruction, scope, missing)


def _undefined_in_arg(instruction: Arg, scope: Scope, context: LintContext) -> Iterator[Hit]:
    scope = scope.copy()
    for pair in instruction.pairs:
        if pair.value is not None and pair.key.text not in context.build_args:
            yield from _report(instruction, scope, scope.expand(pair.value.text).missing)
        scope.declared.add(pair.key.text)


def _report(instruction: Instruction, scope: Scope, missing: frozenset[str]) -> Iterator[Hit]:
    for name in sorted(missing - scope.declared):
        near = nearest(name, scope.values)
        hint = f" (did you mean ${near}?)" if near else ""
        yield Hit(f"Usage of undefined variable '${name}'{hint}", instruction)


def _words(instruction: Instruction) -> Iterator[str]:
    """The texts of an instruction in which the builder puts variables, in its order."""
    if isinstance(instruction, (Env, Label)):
        for pair in instruction.pairs:
            yield pair.key.text
            yield pair.value.text
    elif isinstance(instruction, CopyAdd):
        yield from (instruction.flag("chown") or "", instruction.flag("chmod") or "")
        if instruction.is_add:
            yield instruction.flag("checksum") or ""
        yield from (word.text for word in (*instruction.sources, instruction.dest))
    elif isinstance(instruction, Run):
        for mount in instruction.flag_values("mount"):
            yield from _MOUNT_FIELD.findall(mount)
    elif isinstance(instruction, Workdir):
        yield instruction.path.text
    elif isinstance(instruction, User):
        yield instruction.user.text
    elif isinstance(instruction, StopSignal):
        yield instruction.signal.text
    elif isinstance(instruction, Volume):
        yield from (word.text for word in instruction.paths)


def _undefined_in_from(checked: Checked) -> Iterator[Hit]:
    scope = checked.outer
    known = [*scope.values, *scope.declared]
    for stage in checked.document.stages:
        for text in (stage.start.base.text, stage.start.platform):
            for name in sorted(scope.expand(text).missing.difference(known)):
                near = nearest(name, known)
                hint = f" (did you mean {near}?)" if near else ""
                yield Hit(f"FROM argument '{name}' is not declared{hint}", stage.start)


def _invalid_default(checked: Checked) -> Iterator[Hit]:
    context = checked.context
    bare = LintContext(
        target=context.target, platform=context.platform, build_platform=context.build_platform
    )
    document = checked.document
    scope = global_scope(document.global_args, bare, document.escape)
    for stage in document.stages:
        text = stage.start.base.text
        name = scope.expand(text).text
        if name is not None and not _is_reference(name):
            yield Hit(
                f"Default value for ARG {text} results in empty or invalid base image name",
                stage.start,
            )


def _is_reference(text: str) -> bool:
    try:
        reference.parse(text)
    except UsageError:
        return False
    return True


UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use", _undefined)

UNDEFINED_ARG_IN_FROM = Rule(
    "UndefinedArgInFrom", "FROM command must use declared ARGs", _undefined_in_from
)

INVALID_DEFAULT_ARG_IN_FROM = Rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
    _invalid_default,
)
