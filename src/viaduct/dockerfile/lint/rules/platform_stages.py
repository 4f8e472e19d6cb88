"""FinalStageOnBuildPlatform, PlatformFlagOnStage, BasePinnedToPlatform: FROM lines that put the
wrong machine's files into an image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import Cmd, CopyAdd, Entrypoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked, StageView


# Last stages that stay on the machine that builds them.
_DEVELOPMENT = re.compile(
    r"(?:dev|test|lint|vet|check|validate|verify|shell|debug|docs?|ci)(?:\b|_)"
)


def _final(checked: Checked) -> Iterator[Hit]:
    target = checked.target
    if target is None or not target.is_on_build_platform or target.image.lower() == "scratch":
        return
    if not checked.context.target and (
        _DEVELOPMENT.match(target.stage.name) or ".devcontainer" in checked.document.source.name
    ):
        return
    chain = list(checked.chain(target))
    # A last stage that adds nothing and starts nothing is run for its effect, like a linter; one
    # that is but another stage again says what to build when nobody names a target.
    signs = (CopyAdd, Cmd, Entrypoint) if target.stage.instructions else (Cmd, Entrypoint)
    if not any(
        isinstance(instruction, signs) for view in chain for instruction in view.stage.instructions
    ):
        return
    root = chain[-1].stage
    flag = next(one for one in root.start.flags if one.name == "platform")
    if len(chain) == 1:
        text = f"The final stage is pinned to the build platform with --platform={flag.value}"
    else:
        name = root.name or root.index
        text = (
            f'The final stage starts from stage "{name}", which is pinned to the build platform '
            f"with --platform={flag.value} (line {root.start.span.start})"
        )
    text += ": every platform's image holds the builder's machine code"
    where = root.start.where(flag) if len(chain) == 1 else None
    yield Hit(text, target.stage.start, where)


def _flag_on_stage(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        asked = view.stage.start.platform
        if view.base is None or not asked or _same(asked, view.pin):
            continue
        parent = checked.stages[view.base]
        flag = next(one for one in view.stage.start.flags if one.name == "platform")
        name = parent.stage.name or parent.index
        yield Hit(
            f'--platform={asked} has no effect: "{name}" is a stage, built for '
            f"{view.pin or 'the target platform'}",
            view.stage.start,
            view.stage.start.where(flag),
        )


def _same(asked: str, pin: str) -> bool:
    """Whether the flag asks for what the stage has anyway."""
    asked = asked.replace("{", "").replace("}", "")
    return asked == (pin.replace("{", "").replace("}", "") or "$TARGETPLATFORM")


def _pinned(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        if _is_pinned(view):
            name = view.stage.start.base.text.partition("@")[0]
            yield Hit(
                f"The digest of {name} names one platform's manifest, not an index: "
                "every platform starts from the same image",
                view.stage.start,
                view.stage.start.where(view.stage.start.base),
            )


def _is_pinned(view: StageView) -> bool:
    """A digest of one manifest, where the author did not ask for one platform."""
    asked = view.stage.start.platform
    return (
        view.base is None
        and view.facts.is_single_manifest
        and not view.is_for_one_architecture
        and not (asked and "$" not in asked)
    )


FINAL_STAGE_ON_BUILD_PLATFORM = Rule(
    "FinalStageOnBuildPlatform",
    "The stage that becomes the image should not be pinned to the build platform",
    _final,
    multi_arch=True,
)

PLATFORM_FLAG_ON_STAGE = Rule(
    "PlatformFlagOnStage",
    "The platform flag of FROM has no effect when FROM names a stage",
    _flag_on_stage,
    multi_arch=True,
)

BASE_PINNED_TO_PLATFORM = Rule(
    "BasePinnedToPlatform",
    "A base image should be pinned by the digest of its index, not of one platform's manifest",
    _pinned,
    multi_arch=True,
)
