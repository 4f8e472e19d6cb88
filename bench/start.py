"""How long commands take that do next to nothing: (h) against the Docker CLI's own plugin."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import table
from bench.peers import viaduct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.world import World

KEY = "h"
TITLE = "command start"
_REPEATS = 11


@dataclass(frozen=True)
class _Wanted:
    seconds: float = 0
    ratio: float = 0


_WANTED = {
    "version": _Wanted(seconds=0.080),
    "--help": _Wanted(seconds=0.080),
    "ls": _Wanted(ratio=1.5),
    "imagetools inspect": _Wanted(ratio=1.5),
}


def run(place: World) -> str:
    """Measure, the programs in turn; the table."""
    reference = place.base()
    programs = {"viaduct": viaduct.PROGRAM}
    buildx = shutil.which("buildx", path=viaduct.search_path())
    if buildx:
        programs["buildx"] = buildx
    state = place.place / "start"
    (state / "buildx").mkdir(parents=True)
    env = {
        **os.environ,
        "VIADUCT_HOME": str(state / "viaduct"),
        "BUILDX_CONFIG": str(state / "buildx"),
    }
    lines = [f"({KEY}) {TITLE}, median of {_REPEATS}"]
    for command, wanted in _WANTED.items():
        arguments = command.split()
        if command == "imagetools inspect":
            arguments.append(reference)
        commands = {name: [program, *arguments] for name, program in programs.items()}
        try:
            times = _in_turn(commands, env=env)
        except subprocess.CalledProcessError as error:
            lines.append(f"    {command:20}failed: {' '.join(error.cmd)}: {_said(error)}")
            continue
        medians = {name: statistics.median(values) for name, values in times.items()}
        lines.append(f"    {command:20}{_line(medians, wanted)}")
    if not buildx:
        lines.append("    buildx              not here: it is not on PATH")
    return "\n".join(lines)


def _in_turn(
    commands: Mapping[str, Sequence[str]], *, env: Mapping[str, str]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(_REPEATS + 1):
        for name, argv in commands.items():
            start = time.perf_counter()
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, env=dict(env), check=True
            )
            if turn:  # the first brings files and directories into being
                times[name].append(time.perf_counter() - start)
    return times


def _said(error: subprocess.CalledProcessError) -> str:
    text: bytes = error.stderr
    return text.decode(errors="replace").strip().partition("\n")[0]


def _line(medians: Mapping[str, float], wanted: _Wanted) -> str:
    out = "  ".join(f"{name} {table.seconds(value):>7}" for name, value in medians.items())
    ours = medians["viaduct"]
    if wanted.seconds:
        out += f"  wanted at most {table.seconds(wanted.seconds)}"
        out += table.verdict(ours, wanted.seconds)
    elif "buildx" in medians:
        ratio = ours / medians["buildx"]
        out += f"  ratio {ratio:.2f}, wanted at most {wanted.ratio:g}"
        out += table.verdict(ratio, wanted.ratio)
    return out
