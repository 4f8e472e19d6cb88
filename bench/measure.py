"""Runs a peer's commands and says what they cost: time, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_INTERVAL = 0.02


class CommandFailed(RuntimeError):
    """A peer's command ended with a non-zero status."""


@dataclass(frozen=True)
class Sample:
    """What one run cost: seconds of wall clock, seconds of processor in the commands, their
    children and the daemons; `peak` bytes of memory of all these together, 0 when not watched."""

    wall: float
    cpu: float
    peak: int = 0


def run(
    commands: Sequence[Sequence[str]],
    *,
    env: Mapping[str, str],
    log: Path,
    daemons: Sequence[int] = (),
    memory: bool = False,
) -> Sample:
    """Run commands one after the other and measure them as one.

    What they print goes to `log`. Watching memory costs some time, so do it in a run of its own.
    Raises `CommandFailed` with the end of the log.
    """
    os.sync()  # what earlier runs left to be written is not this run's work
    before = os.times()
    daemon_before = sum(map(_cpu_of, daemons))
    watch = _Watch(daemons)
    with log.open("ab") as out, watch.running() if memory else contextlib.nullcontext():
        start = time.perf_counter()
        for argv in commands:
            out.write(f"$ {' '.join(argv)}\n".encode())
            out.flush()
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(env)
            )
            watch.child = process.pid
            if process.wait() != 0:
                raise CommandFailed(f"{' '.join(argv)}\n{_tail(log)}")
        wall = time.perf_counter() - start
    after = os.times()
    children = after.children_user - before.children_user
    children += after.children_system - before.children_system
    return Sample(wall, children + sum(map(_cpu_of, daemons)) - daemon_before, watch.peak)


class _Watch:
    """Looks at a process tree many times a second and keeps the largest sum."""

    def __init__(self, daemons: Sequence[int]) -> None:
        self._daemons = daemons
        self.child = 0
        self.peak = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        done = threading.Event()

        def look() -> None:
            while not done.wait(_INTERVAL):
                self.peak = max(self.peak, sum(map(_memory_of, self._tree())))

        thread = threading.Thread(target=look, name="memory")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _tree(self) -> set[int]:
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found: set[int] = set()
        pending = [pid for pid in (*self._daemons, self.child) if pid]
        while pending:
            pid = pending.pop()
            found.add(pid)
            pending += children.get(pid, ())
        return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_of(pid: int) -> float:
    """Seconds of a process and of the children that it has waited for."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICK if fields else 0.0


def _memory_of(pid: int) -> int:
    """Bytes of memory; pages shared by several processes are divided among them where the kernel
    lets us see that."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])
