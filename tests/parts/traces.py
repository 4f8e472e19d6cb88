"""What a command may leave behind and must not: mounts and processes."""

from __future__ import annotations

import os
import time
from pathlib import Path


def mounts(below: Path) -> list[str]:
    """Mount points of this mount namespace under a directory."""
    prefix = str(below.resolve())
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == prefix or point.startswith(f"{prefix}/")]


def processes(mark: str) -> list[str]:
    """Command lines of processes (this one and its parents aside) that mention `mark` in their
    command line, environment or root directory; give them a directory of their own as a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in _ourselves():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            where = os.readlink(entry / "root") + os.readlink(entry / "cwd")
        except OSError:
            continue  # it ended, or belongs to somebody else
        if mark.encode() in words or mark in where:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(f"{entry.name} {line}".strip())
    return found


def settled(mark: str, *, seconds: float = 10) -> list[str]:
    """`processes(mark)` as soon as there are none, or what is left after `seconds`: a killed
    program's children end when the kernel gets to them, not at once."""
    deadline = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _ourselves() -> set[int]:
    pids, pid = set(), os.getpid()
    while pid > 0:
        pids.add(pid)
        try:
            # The command's name stands in parentheses and may hold anything.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return pids
