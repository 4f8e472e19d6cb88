"""StageNameCasing, FromAsCasing, ConsistentInstructionCasing: one way to write keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.dockerfile.lint.rule import Hit, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked


def _stage_name(checked: Checked) -> Iterator[Hit]:
    for stage in checked.document.stages:
        alias = stage.start.alias
        if alias is not None and alias.text != alias.text.lower():
            yield Hit(f"Stage name '{alias.text}' should be lowercase", stage.start)


def _from_as(checked: Checked) -> Iterator[Hit]:
    for stage in checked.document.stages:
        keyword, word = stage.start.keyword, stage.start.as_word
        # A keyword in mixed case is ConsistentInstructionCasing's business.
        if word is None or keyword not in (keyword.lower(), keyword.upper()):
            continue
        expected = word.text.lower() if keyword == keyword.lower() else word.text.upper()
        if word.text != expected:
            yield Hit(f"'{word.text}' and '{keyword}' keywords' casing do not match", stage.start)


def _instructions(checked: Checked) -> Iterator[Hit]:
    # ARGs before the first FROM belong to no stage and do not vote.
    written = [
        instruction
        for stage in checked.document.stages
        for instruction in (stage.start, *stage.instructions)
    ]
    lower = sum(1 for instruction in written if instruction.keyword.islower())
    upper = sum(1 for instruction in written if instruction.keyword.isupper())
    casing = "lowercase" if lower > upper else "uppercase"
    for instruction in written:
        keyword = instruction.keyword
        if keyword != (keyword.lower() if lower > upper else keyword.upper()):
            yield Hit(
                f"Command '{keyword}' should match the case of the command majority ({casing})",
                instruction,
            )


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase", _stage_name)

FROM_AS_CASING = Rule(
    "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", _from_as
)

CONSISTENT_INSTRUCTION_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
    _instructions,
)
