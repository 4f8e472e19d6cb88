"""`--progress=plain`: the build as a log of `#N …` lines, in BuildKit's shape.

Steps run side by side but a log is one column, so the printer stays with one step and changes over
(`#N ...`, an empty line, the other step's name again) when that one ends, or when it has had the
floor long enough for the share of output that it produces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.events import Log, Status, Warned
from viaduct.base.values import Mutable
from viaduct.cli.progress.failed import failed_steps
from viaduct.cli.progress.trace import Trace, warning_line
from viaduct.cli.units import transfer_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.base.events import Event
    from viaduct.cli.progress.trace import LogLine, Part, Step

#: Seconds a step has the floor at least, and after which a silenced one gets it in any case.
_STAY = 5.0
_PATIENCE = 10.0
#: An open part is printed again after this many seconds, or this share of its total.
_PART_SECONDS = 5.0
_PART_SHARE = 0.05

#: After so many seconds in which nothing was written, a log says that the build is alive.
_SILENCE = 60.0

_KEPT_LINES = 10


class _Voice(Mutable):
    """What a step has to say, and since when it has had (or waited for) the floor.

    `partial` is the line that stands unfinished on the paper, `written` how much of it does.
    """

    number: int = 0
    news: bool = False
    lines: list[LogLine] = msgspec.field(default_factory=list)
    parts: list[str] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    shown_parts: dict[str, tuple[float, int]] = msgspec.field(default_factory=dict)
    partial: LogLine | None = None
    written: int = 0
    events: int = 0
    since: float = 0.0

    def speed(self, now: float) -> float:
        return self.events / max(now - self.since, 1e-6)


class PlainPrinter:
    """Writes lines to `write`; `heading` is said as `#0 …` before everything else."""

    interval = 0.1

    def __init__(self, write: Callable[[bytes], None], *, heading: str = "") -> None:
        self.trace = Trace(_KEPT_LINES)
        self._out = write
        self._heading = heading
        self._wrote = False
        self._heard = 0.0
        self._voices: dict[str, _Voice] = {}
        self._current: Step | None = None
        self._numbers = 0

    def _write(self, data: bytes) -> None:
        self._wrote = True
        self._out(data)

    def take(self, event: Event, now: float) -> None:
        """Note an event; nothing is written yet."""
        step, lines = self.trace.apply(event)
        if step is None:
            return
        voice = self._voices.setdefault(step.key, _Voice())
        voice.news = True
        if not voice.events:
            voice.since = now
        voice.events += 1
        match event:
            case Log():
                voice.lines += lines
            case Status() if event.part not in voice.parts:
                voice.parts.append(event.part)
            case Warned():
                voice.warnings.append(warning_line(event))
            case _:
                pass

    def draw(self, now: float) -> None:
        """Write the news: steps that ended, then the one that has the floor."""
        self._news(now)
        if self._wrote or not self._heard:
            self._heard = now
        elif now - self._heard >= _SILENCE:
            self._heard = now
            self._reassure(now)
        self._wrote = False

    def _reassure(self, now: float) -> None:
        """Name the steps that run in silence; who reads a log takes it for stuck otherwise."""
        for step in self.trace.steps.values():
            if step.running:
                self._print(step, now)
                self._end_line()
                number = self._voices[step.key].number
                self._write(f"#{number} still running after {step.seconds(now):.0f}s\n".encode())

    def _news(self, now: float) -> None:
        before = self._current
        changed = [step for step in self.trace.steps.values() if self._voices[step.key].news]
        ended = [step for step in changed if not step.running]
        for step in sorted(ended, key=lambda step: (step is not before, step.ended)):
            self._print(step, now)
        talking = [step for step in changed if step.running]
        if not talking:
            if before is None or not before.running:
                waiting = [step for step in self.trace.steps.values() if step.running]
                if waiting:
                    self._print(waiting[0], now)
            return
        if before in talking:
            self._print(before, now)
        self._give_floor(before, talking, now)

    def finish(self, now: float) -> None:
        """Write everything that is left, and the last output of steps that failed."""
        self.draw(now)
        for step in self.trace.steps.values():
            if self._voices[step.key].news:
                self._print(step, now)
        self._end_line()
        for line in failed_steps(self.trace):
            self._write(line + b"\n")

    def _give_floor(self, before: Step | None, talking: list[Step], now: float) -> None:
        loudest = max(talking, key=lambda step: self._voices[step.key].speed(now))
        if before is None or not before.running:
            self._print(self._longest_silenced(talking, now) or loudest, now)
            return
        others = [step for step in talking if step is not before]
        if silenced := self._longest_silenced(others, now):
            self._print(silenced, now)
            return
        own = self._voices[before.key].speed(now)
        total = own + sum(self._voices[step.key].speed(now) for step in others)
        stayed = now - self._voices[before.key].since
        if loudest is not before and stayed * (1 - own / total) > _STAY:
            self._print(loudest, now)

    def _longest_silenced(self, steps: list[Step], now: float) -> Step | None:
        waiting = [s for s in steps if now - self._voices[s.key].since > _PATIENCE]
        return min(waiting, key=lambda step: self._voices[step.key].since, default=None)

    def _print(self, step: Step, now: float) -> None:
        voice = self._voices[step.key]
        if step is not self._current:
            self._introduce(step, voice)
        number = b"#%d " % voice.number
        if voice.parts or voice.warnings:
            self._end_line()
        for name in voice.parts:
            if text := _part(voice, step.parts[name], ended=not step.running):
                self._write(number + text.encode() + b"\n")
        for warning in voice.warnings:
            self._write(number + b"WARN: " + warning.encode() + b"\n")
        for line in voice.lines:
            self._write_line(number, voice, line)
            self._end_line()
        unfinished = list(step.open.values())
        for line in unfinished[-1:] if step.running else unfinished:
            self._write_line(number, voice, line)
        voice.news = False
        voice.parts, voice.warnings, voice.lines = [], [], []
        if not step.running:
            self._end_line()
            self._current = None
            voice.events = 0
            self._write(number + _outcome(step, now).encode(errors="surrogateescape") + b"\n")

    def _introduce(self, step: Step, voice: _Voice) -> None:
        """Change over from the current step to this one."""
        if self._current is not None:
            self._end_line()
            old = self._voices[self._current.key]
            old.events = 0
            self._write(b"#%d ...\n" % old.number)
        if self._numbers:
            self._write(b"\n")
        elif self._heading:
            self._write(f"#0 {self._heading}\n\n".encode())
        new = not voice.number
        if new:
            self._numbers += 1
            voice.number = self._numbers
        name = " ".join(step.name.split("\n"))
        self._write(f"#{voice.number} {name}\n".encode(errors="surrogateescape"))
        if new and step.emulated and not step.cached:
            self._write(f"#{voice.number} emulated ({step.platform})\n".encode())
        self._current = step

    def _write_line(self, number: bytes, voice: _Voice, line: LogLine) -> None:
        if voice.partial is line:
            self._write(line.data[voice.written :])
        else:
            self._end_line()
            self._write(number + line.stamp.encode() + b" " + line.data)
        voice.partial, voice.written = line, len(line.data)

    def _end_line(self) -> None:
        """Close the current step's unfinished line; it is said again from its start."""
        if self._current is not None and self._voices[self._current.key].partial:
            self._voices[self._current.key].partial = None
            self._write(b"\n")


def _part(voice: _Voice, part: Part, *, ended: bool) -> str:
    """`transferring context: 1.85MB 0.3s done`, or nothing when it was said a moment ago."""
    done = part.done or ended
    if not done and (last := voice.shown_parts.get(part.name)):
        moved = (part.current - last[1]) / part.total if part.total else 0.0
        if moved < _PART_SHARE and part.at - last[0] < _PART_SECONDS:
            return ""
    voice.shown_parts[part.name] = (part.at, part.current)
    text = part.name
    if part.total:
        text += f" {transfer_size(part.current)} / {transfer_size(part.total)}"
    elif part.current:
        text += f" {transfer_size(part.current)}"
    if part.seconds > 0.01:
        text += f" {part.seconds:.1f}s"
    return text + (" done" if part.done else "")


def _outcome(step: Step, now: float) -> str:
    if step.canceled:
        return "CANCELED"
    if step.error:
        return f"ERROR: {step.error}"
    return "CACHED" if step.cached else f"DONE {step.seconds(now):.1f}s"
