"""What the live view shows, as rows of text: pure, so that it can be tested without a terminal.

A frame never exceeds the height. Running steps come first in what is shown, then their open
transfers and last lines of output, then the steps that ended last; the rest is counted in one row.
Rows are grouped by platform. The last frame of a build shows every step and no output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.values import Value
from viaduct.cli.progress.trace import warning_line
from viaduct.cli.terminal import overwritten, visible
from viaduct.cli.units import transfer_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.cli.progress.trace import Part, Step, Trace


class Row(Value):
    """One line of the screen: `left` is cut to make room for `right`. `style` is a field of
    `Palette`, or `bold`, or empty."""

    left: str
    right: str = ""
    style: str = ""


class _Block(Value):
    """A step's rows: its own, those of its parts, and output."""

    step: Step
    head: Row
    parts: tuple[Row, ...] = ()
    output: tuple[Row, ...] = ()

    def rows(self) -> Iterable[Row]:
        return (self.head, *self.parts, *self.output)


def final(trace: Trace, now: float, *, title: str, corner: str = "") -> list[Row]:
    """The frame that stays when the build is over; nothing when it did not even begin."""
    steps = list(trace.steps.values())
    if not steps:
        return []
    state = "FINISHED"
    if any(step.failed for step in steps):
        state = "ERROR"
    elif any(step.running or step.canceled for step in steps):
        state = "CANCELED"
    rows = [_header(trace, now, title, corner, state)]
    for step in _grouped(steps):
        parts = tuple(_part(part, closed=not step.running) for part in step.parts.values())
        rows += _Block(step, _head(step, now), (*parts, *_warnings(trace, step))).rows()
    return rows


def frame(
    trace: Trace, now: float, *, title: str, corner: str = "", height: int, log_lines: int
) -> list[Row]:
    """At most `height` rows of a build that is under way."""
    steps = _grouped(trace.steps.values())
    running = [step for step in steps if step.running]
    ended = [step for step in steps if not step.running]
    room = max(0, height - 1)
    shown = running[: room - 1] if len(running) > room else running
    blocks = {step.key: _Block(step, _head(step, now)) for step in shown}
    room -= len(blocks) + (len(shown) < len(running))
    for step in shown:
        rows = [_part(part, closed=False) for part in step.parts.values() if not part.done]
        rows = rows[: max(0, room)]
        room -= len(rows)
        blocks[step.key] = _Block(step, _head(step, now), tuple(rows))
    # Ended steps keep a third of what is left, so that the eye sees where the build came from.
    room -= _add_output(blocks, room - min(len(ended), room // 3), log_lines)
    recent = sorted(ended, key=lambda step: step.ended, reverse=True)
    keep = recent if len(recent) <= room else recent[: max(0, room - 1)]
    for step in keep:
        blocks[step.key] = _Block(step, _head(step, now))
    rows = [_header(trace, now, title, corner, "")]
    if len(keep) < len(ended) and room > 0:
        rows.append(_more(len(ended) - len(keep), "finished"))
    for step in steps:
        if step.key in blocks:
            rows += blocks[step.key].rows()
    if len(shown) < len(running) and height > 1:
        rows.append(_more(len(running) - len(shown), "running"))
    return rows[:height]


def _add_output(blocks: dict[str, _Block], room: int, log_lines: int) -> int:
    """Give running steps rows of output, evenly; returns how many rows were taken."""
    tails = {
        key: lines for key, block in blocks.items() if (lines := _output(block.step, log_lines))
    }
    taken = 0
    for position, (key, lines) in enumerate(sorted(tails.items(), key=lambda item: len(item[1]))):
        share = (room - taken) // (len(tails) - position)
        if share <= 0:
            break
        block = blocks[key]
        kept = lines[-share:]
        blocks[key] = _Block(block.step, block.head, block.parts, tuple(kept))
        taken += len(kept)
    return taken


def _output(step: Step, log_lines: int) -> list[Row]:
    texts = []
    for line in list(step.last_lines())[-3 * log_lines :]:
        text = visible(overwritten(line.data.decode(errors="replace").rstrip("\r")))
        text = text.expandtabs(4).rstrip()
        if text:
            texts.append(text)
    return [Row(f" => => # {text}", style="faint") for text in texts[-log_lines:]]


def _grouped(steps: Iterable[Step]) -> Sequence[Step]:
    """Steps by platform: what belongs to none before the first platform, the platforms as they
    began, and last what belongs to none and came later (exporting, pushing)."""
    groups: dict[str, list[Step]] = {"": []}
    after: list[Step] = []
    for step in steps:
        if not step.platform and len(groups) > 1:
            after.append(step)
        else:
            groups.setdefault(step.platform, []).append(step)
    return [*(step for group in groups.values() for step in group), *after]


def _header(trace: Trace, now: float, title: str, corner: str, state: str) -> Row:
    done, total = trace.counts()
    seconds = max(0.0, now - trace.began) if trace.began else 0.0
    left = f"[+] {title} {seconds:.1f}s ({done}/{total}) {state}".rstrip()
    return Row(left, corner, "bold")


def _head(step: Step, now: float) -> Row:
    mark, style = "", "" if step.running else "run"
    if step.canceled:
        mark, style = "CANCELED ", "cancel"
    elif step.error:
        mark, style = "ERROR ", "error"
    elif step.cached:
        mark = "CACHED "
    seconds = step.seconds(now)
    right = f"{seconds if seconds >= 0.05 else 0.0:.1f}s"
    if step.emulated and not step.cached:
        right = f"emulated {right:>6}"
    return Row(f" => {mark}{_one_line(step.name)}", right, style)


def _part(part: Part, *, closed: bool) -> Row:
    amount = ""
    if part.total and not part.done:
        amount = f"{transfer_size(part.current)} / {transfer_size(part.total)}"
    elif part.current or part.total:
        amount = transfer_size(part.current or part.total)
    right = f"{amount} {part.seconds if part.seconds >= 0.05 else 0.0:>5.1f}s".lstrip()
    return Row(f" => => {_one_line(part.name)}", right, "run" if part.done or closed else "")


def _warnings(trace: Trace, step: Step) -> Iterable[Row]:
    for warning in trace.warnings:
        if warning.vertex == step.key:
            yield Row(f" => WARN: {_one_line(warning_line(warning))}", "", "warning")


def _more(count: int, state: str) -> Row:
    return Row(f" => … {count} more {state}", "", "faint")


def _one_line(text: str) -> str:
    return visible(" ".join(text.split("\n")).replace("\t", " "))
