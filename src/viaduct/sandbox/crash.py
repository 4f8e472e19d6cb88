"""Emulated programs that crashed, and do not end.

When a program dies of a signal, QEMU says so and sends that signal to itself. The first process of
a pid namespace does not get signals that it has no handler for, not even from itself; QEMU then
waits for it for ever, and with it the step. (The processor's own programs do not have this trouble:
a fault of theirs comes from the kernel, which insists.)
"""

from __future__ import annotations

import contextlib
import os
import re

_SAID = re.compile(rb"qemu: uncaught target signal (\d+) ")

# rt_sigsuspend(2), by our own `uname -m`.
_SUSPENDED = {
    "x86_64": "130",
    "aarch64": "133",
    "riscv64": "133",
    "loongarch64": "133",
    "ppc64le": "178",
    "s390x": "179",
}

_FIRST, _LONGEST = 0.02, 1.0


def signal_in(output: bytes) -> int:
    """The signal that an emulator said last that its program died of; 0 when it said no such
    thing."""
    found = _SAID.findall(output)
    return int(found[-1]) if found else 0


class Lookout:
    """Looks from time to time whether the first process of a container is such a program, which
    died of signal `number`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pause = _FIRST

    def push(self, pid: int) -> float | None:
        """Look; seconds until the next time, or None when `pid` has crashed and does not end."""
        if pid and stuck(pid, self.number):
            return None
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST)
        return pause


def stuck(pid: int, number: int) -> bool:
    """Whether process `pid` waits for signal `number`, which it does not handle, and for nothing
    else: none of its children is left."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        call = _read(pid, "syscall").split()[0]
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", _read(pid, "status"), re.MULTILINE)
        return (
            call == _SUSPENDED.get(os.uname().machine)
            and caught is not None
            and not int(caught[1], 16) >> (number - 1) & 1
            and not _read(pid, f"task/{pid}/children").split()
        )
    return False


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()
