"""The results as a person reads them, and as the README quotes them."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.cases import Case
    from bench.measure import Sample

#: Whom the wishes compare Viaduct with.
_YARDSTICK = "buildkit"
_SUBJECT = "viaduct"


@dataclass(frozen=True)
class Cost:
    """The runs of one peer in one case; `peak` is 0 when memory was not watched."""

    samples: Sequence[Sample]
    peak: int = 0

    @property
    def wall(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)


def machine() -> str:
    """One line about where this runs: what the numbers depend on, and nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {memory:.0f} GiB, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def show(case: Case, costs: Mapping[str, Cost], absent: Mapping[str, str]) -> str:
    """The table of one case; `absent` says of each other peer why it is not in it."""
    lines = [f"({case.key}) {case.title}"]
    width = max(map(len, (*costs, *absent)), default=0)
    ours = costs.get(_SUBJECT)
    for name, cost in costs.items():
        walls = [sample.wall for sample in cost.samples]
        line = f"    {name:{width}}  {seconds(cost.wall):>8}  ({_range(walls)})"
        line = f"{line:<{width + 36}}  cpu {seconds(cost.cpu):>8}"
        if cost.peak:
            line += f"  peak {cost.peak / 1e6:5.0f} MB"
        if ours is not None and cost is not ours:
            line += f"  viaduct takes {ours.wall / cost.wall:.2f} of it"
            line += f", {ours.cpu / cost.cpu:.2f} of its cpu" if cost.cpu else ""
        lines.append(line)
    lines += [f"    {name:{width}}  {why}" for name, why in absent.items()]
    if ours is not None:
        lines += [f"    wanted {text}" for text in _verdicts(case, ours, costs.get(_YARDSTICK))]
    return "\n".join(lines)


def _verdicts(case: Case, ours: Cost, theirs: Cost | None) -> list[str]:
    wanted = case.wanted
    out = []
    if wanted.ratio:
        text = f"at most {wanted.ratio:g} of {_YARDSTICK}'s time"
        if theirs is None:
            out.append(f"{text}: it is not here")
        else:
            out.append(text + verdict(ours.wall / theirs.wall, wanted.ratio))
    if wanted.seconds:
        out.append(f"at most {seconds(wanted.seconds)}" + verdict(ours.wall, wanted.seconds))
    if wanted.peak:
        out.append(f"at most {wanted.peak / 1e6:.0f} MB" + verdict(ours.peak, wanted.peak))
    return out


def verdict(measured: float, limit: float) -> str:
    """Whether a wish came true, as the end of a line that names it."""
    return ": met" if measured <= limit else f": missed by {(measured / limit - 1) * 100:.0f} %"


def seconds(value: float) -> str:
    """A time with as many digits as it has a meaning."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _range(values: Sequence[float]) -> str:
    return f"{seconds(min(values))} to {seconds(max(values))}"
