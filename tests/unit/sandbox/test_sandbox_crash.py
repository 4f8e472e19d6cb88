"""An emulated program that crashed and does not end is told from one that waits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from viaduct.sandbox.crash import Lookout, signal_in, stuck

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUSPENDED = """
import ctypes, os, signal, sys
if "child" in sys.argv and os.fork() == 0:
    import time
    time.sleep(1000)
# A background process of a shell ignores it, and Python then leaves it alone.
signal.signal(signal.SIGINT, signal.default_int_handler)
empty = (ctypes.c_ulong * 16)()
print("ready", flush=True)
ctypes.CDLL(None).sigsuspend(empty)
"""


@contextlib.contextmanager
def _suspended(*words: str) -> Iterator[int]:
    """A process that waits in sigsuspend(2), as an emulator does that has killed itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SUSPENDED, *words], stdout=subprocess.PIPE, process_group=0
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 10
        while not _in_sigsuspend(process.pid) and time.monotonic() < deadline:
            time.sleep(0.001)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _in_sigsuspend(pid: int) -> bool:
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "suspend" in file.read()


@pytest.mark.parametrize(
    ("output", "number"),
    [
        (b"qemu: uncaught target signal 11 (Segmentation fault) - core dumped\n", 11),
        (b"a\nqemu: uncaught target signal 4 (Illegal instruction) - core dumped\nb", 4),
        (b"target signal 4 (x)\nqemu: uncaught target signal 6 (Aborted) - core dumped\n", 6),
        (b"qemu: fatal: something\n", 0),
        (b"", 0),
    ],
)
def test_an_emulators_last_words_name_the_signal(output: bytes, number: int) -> None:
    assert signal_in(output) == number


def test_a_process_that_waits_for_a_signal_it_does_not_handle_is_stuck() -> None:
    with _suspended() as pid:
        assert stuck(pid, signal.SIGSEGV)
        assert not stuck(pid, signal.SIGINT)
        assert Lookout(signal.SIGSEGV).push(pid) is None


def test_a_process_with_children_waits_for_them() -> None:
    with _suspended("child") as pid:
        assert not stuck(pid, signal.SIGSEGV)


def test_what_runs_or_is_gone_is_looked_at_again_ever_less_often() -> None:
    lookout = Lookout(signal.SIGSEGV)
    pauses = [lookout.push(pid) for pid in (os.getpid(), 0, 2**22 + 1, *[0] * 6)]
    assert pauses[:3] == [0.02, 0.04, 0.08]
    assert pauses[-1] == 1.0
