"""DuplicateStageName and ReservedStageName: a stage's name should name one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.lint.rule import Hit, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked

_RESERVED = frozenset({"context", "scratch"})


def _duplicate(checked: Checked) -> Iterator[Hit]:
    seen: set[str] = set()
    for stage in checked.document.stages:
        if stage.name and stage.name in seen:
            text = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            yield Hit(text, stage.start)
        seen.add(stage.name)


def _reserved(checked: Checked) -> Iterator[Hit]:
    for stage in checked.document.stages:
        if stage.name in _RESERVED:
            yield Hit(
                f"Stage name should not use the same name as reserved stage {quote(stage.name)}",
                stage.start,
            )


DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Stage names should be unique", _duplicate)

RESERVED_STAGE_NAME = Rule(
    "ReservedStageName", "Reserved words should not be used as stage names", _reserved
)
