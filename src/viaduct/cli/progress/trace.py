"""The state of a build as its events tell it, shared by the renderers.

Nothing here prints. A renderer feeds events in, asks for the steps in the order in which they
began, and keeps its own notes about what it has shown.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.events import Finished, Log, Started, Status, Warned
from viaduct.base.values import Mutable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viaduct.base.events import Event


class Part(Mutable):
    """A named part of a step with its transfer: when it began, how far it is, when it ended."""

    name: str
    started: float
    at: float
    current: int = 0
    total: int = 0
    done: bool = False

    @property
    def seconds(self) -> float:
        return self.at - self.started


class LogLine(Mutable):
    """One line of output: `seconds` after its step began, without the line's end."""

    seconds: float
    data: bytes

    @property
    def stamp(self) -> str:
        """The time as the peers print it: the longer ago, the fewer digits."""
        digits = 3 if self.seconds < 10 else 2 if self.seconds < 100 else 1
        return f"{self.seconds:.{digits}f}"


class Step(Mutable):
    """One vertex. `tail` are its last complete lines of output, `log_lines` counts all of them;
    `open` are the lines whose ends have not come, by stream, the one written to last at the end.
    """

    key: str
    name: str
    platform: str = ""
    emulated: bool = False
    intervals: list[tuple[float, float | None]] = msgspec.field(default_factory=list)
    parts: dict[str, Part] = msgspec.field(default_factory=dict)
    tail: deque[LogLine] = msgspec.field(default_factory=deque)
    open: dict[int, LogLine] = msgspec.field(default_factory=dict)
    log_lines: int = 0
    cached: bool = False
    error: str = ""
    canceled: bool = False

    @property
    def running(self) -> bool:
        return self.intervals[-1][1] is None

    @property
    def failed(self) -> bool:
        return bool(self.error) and not self.canceled

    @property
    def ended(self) -> float:
        """When it ended; the start of its last run while it is running."""
        start, stop = self.intervals[-1]
        return start if stop is None else stop

    def seconds(self, now: float) -> float:
        """Time spent in it so far."""
        return sum(
            max(0.0, (now if stop is None else stop) - start) for start, stop in self.intervals
        )

    def last_lines(self) -> Iterable[LogLine]:
        yield from self.tail
        yield from self.open.values()


class Trace:
    """All steps of a build. `keep` is how many lines of output are remembered for each."""

    def __init__(self, keep: int) -> None:
        self.steps: dict[str, Step] = {}
        self.warnings: list[Warned] = []
        self.began = 0.0
        self._keep = keep
        self._warned: set[tuple[str, str, str]] = set()

    def apply(self, event: Event) -> tuple[Step | None, list[LogLine]]:
        """Take an event in; returns its step and, for output, the lines that it completed.

        Events of a vertex that never began are ignored, as are warnings that came before.
        """
        match event:
            case Started():
                return self._start(event), []
            case Warned():
                self._warn(event)
                return self.steps.get(event.vertex), []
            case Status() | Log() | Finished():
                step = self.steps.get(event.vertex)
        if step is None:
            return None, []
        match event:
            case Status():
                part = step.parts.setdefault(event.part, Part(event.part, event.at, event.at))
                part.at, part.done = event.at, event.done
                part.current, part.total = event.current, event.total
            case Log():
                return step, self._split(step, event)
            case Finished():
                start = step.intervals[-1][0]
                step.intervals[-1] = (start, event.at)
                step.cached, step.error, step.canceled = event.cached, event.error, event.canceled
        return step, []

    def _start(self, event: Started) -> Step:
        self.began = self.began or event.at
        step = self.steps.get(event.vertex)
        if step is None:
            step = Step(event.vertex, event.name)
            step.tail = deque(maxlen=self._keep)
            self.steps[event.vertex] = step
        step.name, step.platform, step.emulated = event.name, event.platform, event.emulated
        if not step.intervals or not step.running:
            step.intervals.append((event.at, None))
        return step

    def _warn(self, event: Warned) -> None:
        seen = (event.rule, event.text, str(event.where))
        if seen not in self._warned:
            self._warned.add(seen)
            self.warnings.append(event)

    def _split(self, step: Step, event: Log) -> list[LogLine]:
        """Cut output at line ends; the beginning of an unfinished line waits in `step.open`.

        Each stream has its own, so that no line is made of two.
        """
        seconds = max(0.0, event.at - step.intervals[-1][0])
        *ended, rest = event.data.split(b"\n")
        complete = []
        for text in ended:
            line = step.open.pop(event.stream, LogLine(seconds, b""))
            line.data += text
            step.tail.append(line)
            complete.append(line)
        step.log_lines += len(complete)
        if rest:
            line = step.open.pop(event.stream, LogLine(seconds, b""))
            line.data += rest
            step.open[event.stream] = line
        return complete

    def counts(self) -> tuple[int, int]:
        """Finished steps, and all that are known."""
        return sum(not step.running for step in self.steps.values()), len(self.steps)


def warning_line(event: Warned) -> str:
    """`Rule: text (line N)`, as far as the warning has them."""
    text = f"{event.rule}: {event.text}" if event.rule else event.text
    return f"{text} (line {event.where.start})" if event.where else text
