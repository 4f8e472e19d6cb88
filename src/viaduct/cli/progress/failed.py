"""What is shown after a build that failed: the last output of the steps that did."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.cli.progress.trace import Trace

_RULE = b"------"


def failed_steps(trace: Trace, *, tell_gap: bool = False) -> Iterator[bytes]:
    """Lines without their ends: each failed step's name and remembered output, between rules.

    `tell_gap` says how many lines are missing, where nobody has seen them yet.
    """
    for step in trace.steps.values():
        if not step.failed:
            continue
        yield _RULE
        yield f" > {step.name}:".encode(errors="surrogateescape")
        shown = list(step.last_lines())
        hidden = step.log_lines + len(step.open) - len(shown)
        if hidden > 0 and tell_gap:
            yield f"… {hidden} lines before these; --progress=plain shows all of them".encode()
        for line in shown:
            yield line.stamp.encode() + b" " + line.data
        yield _RULE
