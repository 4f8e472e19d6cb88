"""The list of warnings after a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli.progress.trace import warning_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.base.events import Warned


def summary(warnings: Sequence[Warned], *, debug: bool, color: bool) -> str:
    """` 2 warnings found (use --debug to expand):` and a line for each; with `debug` also why,
    where to read more, and the place. Empty without warnings."""
    return "\n".join(_lines(warnings, debug=debug, color=color)) + "\n" if warnings else ""


def _lines(warnings: Sequence[Warned], *, debug: bool, color: bool) -> Iterator[str]:
    count = "1 warning found" if len(warnings) == 1 else f"{len(warnings)} warnings found"
    head = f" {count}{'' if debug else ' (use --debug to expand)'}:"
    yield ""
    yield f"\x1b[33m{head}\x1b[0m" if color else head
    for warning in warnings:
        yield f" - {warning_line(warning)}"
        if not debug:
            continue
        if warning.detail:
            yield warning.detail
        if warning.url:
            yield f"More info: {warning.url}"
        if warning.where is not None:
            yield warning.where.excerpt().rstrip("\n")
        yield ""
