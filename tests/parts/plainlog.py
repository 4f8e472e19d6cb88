"""A plain build log (`#N …` lines) read back into steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"#(\d+) (.*)")
_STAMPED = re.compile(r"\d+\.\d+ (.*)")
_OUTCOME = re.compile(r"(CACHED|CANCELED|DONE|ERROR)\b")


@dataclass
class LoggedStep:
    """One step: `lines` is what stands behind its number, the name aside."""

    number: int
    name: str
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> list[str]:
        """What the step printed, line by line, without the times."""
        return [found[1] for line in self.lines if (found := _STAMPED.fullmatch(line))]

    @property
    def outcome(self) -> str:
        """CACHED, CANCELED, DONE or ERROR; empty while it was running."""
        found = [match[1] for line in self.lines if (match := _OUTCOME.match(line))]
        return found[-1] if found else ""

    @property
    def cached(self) -> bool:
        """Whether nothing had to run."""
        return self.outcome == "CACHED"


class PlainLog:
    """The steps of a log in the order in which they appeared."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: dict[int, LoggedStep] = {}
        for line in text.splitlines():
            if not (found := _LINE.fullmatch(line)) or found[1] == "0":
                continue
            number, rest = int(found[1]), found[2]
            step = self._steps.get(number)
            if step is None:
                self._steps[number] = LoggedStep(number, rest)
            elif rest not in (step.name, "..."):
                step.lines.append(rest)

    @property
    def steps(self) -> list[LoggedStep]:
        return list(self._steps.values())

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    def step(self, part: str) -> LoggedStep:
        """The one step whose name contains `part`."""
        found = [step for step in self.steps if part in step.name]
        assert len(found) == 1, f"{len(found)} steps are named like {part!r} in\n{self.text}"
        return found[0]

    def outcomes(self, part: str = "") -> set[str]:
        """How all steps whose names contain `part` ended."""
        return {step.outcome for step in self.steps if part in step.name}
