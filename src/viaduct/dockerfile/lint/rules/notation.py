"""Ways of writing that Docker gave up: NoEmptyContinuation, LegacyKeyValueFormat,
MaintainerDeprecated, InvalidDefinitionDescription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.spans import Span
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import Arg, Env, From, Label, Maintainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked


def _empty_continuation(checked: Checked) -> Iterator[Hit]:
    empty = [span.start for span in checked.document.empty_continuations]
    if not empty:
        return
    for instruction in checked.document.instructions:
        inside = [line for line in empty if instruction.span.start <= line <= instruction.span.end]
        if inside:
            # As in the peers, the last line of the instruction's own text is the place.
            line = max(instruction.places[-1][1] if instruction.places else 0, *inside)
            where = Span(instruction.span.source, line, line)
            yield Hit("Empty continuation line", instruction, where)


def _legacy(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        for instruction in checked.run(view):
            if not isinstance(instruction, (Env, Label)):
                continue
            name = instruction.keyword
            for pair in instruction.pairs:
                if not pair.delimited:
                    text = f'"{name} key=value" should be used instead of legacy'
                    yield Hit(f'{text} "{name} key value" format', instruction)


def _maintainer(checked: Checked) -> Iterator[Hit]:
    for instruction in checked.document.instructions:
        if isinstance(instruction, Maintainer):
            yield Hit("Maintainer instruction is deprecated in favor of using label", instruction)


def _description(checked: Checked) -> Iterator[Hit]:
    for instruction in checked.document.instructions:
        if isinstance(instruction, From):
            names = [instruction.stage_name] if instruction.stage_name else []
        elif isinstance(instruction, Arg):
            names = [pair.key.text for pair in instruction.pairs]
        else:
            continue
        if not names or not instruction.comments:
            continue
        if instruction.comments[-1].text.strip().split(" ")[0] not in names:
            shown = names[0] if len(names) == 1 else "<arg_key>"
            text = f"Comment for {instruction.name} should follow the format"
            yield Hit(f"{text}: `# {shown} <description>`", instruction)


NO_EMPTY_CONTINUATION = Rule(
    "NoEmptyContinuation",
    "Empty continuation lines will become errors in a future release",
    _empty_continuation,
)

LEGACY_KEY_VALUE_FORMAT = Rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
    _legacy,
)

MAINTAINER_DEPRECATED = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    _maintainer,
)

INVALID_DEFINITION_DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: "
    "`# <arg/stage name> <description>`. If this is not intended to be a description comment, add "
    "an empty line or comment between the instruction and the comment.",
    _description,
    experimental=True,
)
