"""SingleArchBinaryCopied: a program from the build context that runs on one machine only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.dockerfile.lint import arch
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import CopyAdd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked


def _check(checked: Checked) -> Iterator[Hit]:
    binaries = checked.context.binaries
    if binaries is None or checked.is_for_one_architecture:
        return
    for view in checked.visible:
        if view.is_for_one_architecture or view.is_windows:
            continue
        for instruction, scope in checked.scopes(view):
            if not isinstance(instruction, CopyAdd) or instruction.flag("from") is not None:
                continue
            patterns = [scope.expand(word.text).text for word in instruction.sources]
            # A source that is chosen by platform is another file for each.
            if any(arch.selects(word.text) and "$" in word.text for word in instruction.sources):
                continue
            known = tuple(pattern for pattern in patterns if pattern and "://" not in pattern)
            found = binaries(known) if known else ()
            machines = sorted({binary.architecture for binary in found})
            if len(machines) != 1:
                continue
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            verb = "is a program" if len(found) == 1 else "are programs"
            yield Hit(
                f'"{found[0].path}"{more} {verb} for {machines[0]} only, copied into the image of '
                "every platform",
                instruction,
                instruction.where(instruction.sources[0]),
            )


SINGLE_ARCH_BINARY_COPIED = Rule(
    "SingleArchBinaryCopied",
    "A program from the build context should be copied for the platforms that it was compiled for",
    _check,
    multi_arch=True,
)
