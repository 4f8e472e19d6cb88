"""RedundantTargetPlatform, FromPlatformFlagConstDisallowed, InvalidBaseImagePlatform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import PlatformError
from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.lint.scope import Scope
from viaduct.oci import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked
    from viaduct.dockerfile.syntax import Instruction
    from viaduct.oci.platform import Platform

_TARGET = "TARGETPLATFORM"
# Its value does not matter: only whether nothing else is left of the expression.
_SOME_PLATFORM = "linux/amd64"


def _redundant(checked: Checked) -> Iterator[Hit]:
    known = checked.outer.values
    scope = Scope({name: value or "" for name, value in known.items()}, escape=checked.outer.escape)
    scope.values[_TARGET] = known.get(_TARGET) or _SOME_PLATFORM
    for stage in checked.document.stages:
        text = stage.start.platform
        found = scope.expand(text)
        if found.missing or found.used != {_TARGET} or found.text != scope.values[_TARGET]:
            continue
        yield Hit(
            f"Setting platform to predefined {text} in FROM is redundant as this is the default "
            "behavior",
            stage.start,
        )


def _constant(checked: Checked) -> Iterator[Hit]:
    for stage in checked.document.stages:
        found = checked.outer.expand(stage.start.platform)
        if not found.text or found.used or found.missing:
            continue
        try:
            platform = platforms.parse(found.text)
        except PlatformError:
            continue
        if platform.os in stage.name or platform.architecture in stage.name:
            continue
        text = f"FROM --platform flag should not use constant value {quote(found.text)}"
        yield Hit(text, stage.start)


def _base_image(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        actual = view.facts.platform
        wanted = view.facts.wanted
        if wanted is None and not view.pin:
            wanted = checked.context.platform
        if view.base is not None or actual is None or wanted is None:
            continue
        text = view.stage.start.base.text
        name = checked.outer.expand(text).text or text
        yield from _mismatch(name, actual, wanted, view.stage.start)
    lines = {instruction.span.start: instruction for instruction in checked.document.instructions}
    for source in checked.context.sources:
        if (reader := lines.get(source.line)) is not None:
            yield from _mismatch(source.reference, source.platform, source.wanted, reader)


def _mismatch(name: str, actual: Platform, wanted: Platform, on: Instruction) -> Iterator[Hit]:
    if (wanted.os, wanted.architecture) != (actual.os, actual.architecture):
        yield Hit(
            f"Base image {name} was pulled with platform {_shown(actual)}, expected "
            f"{_shown(wanted)} for current build",
            on,
        )


def _shown(platform: Platform) -> str:
    return quote(platforms.normalize(platform).full)


REDUNDANT_TARGET_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
    "behavior",
    _redundant,
)

FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform flag should not use a constant value",
    _constant,
)

INVALID_BASE_IMAGE_PLATFORM = Rule(
    "InvalidBaseImagePlatform",
    "Base image platform does not match expected target platform",
    _base_image,
    has_docker_page=False,
)
