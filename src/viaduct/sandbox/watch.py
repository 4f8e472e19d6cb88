"""One running OCI runtime process: its output as it comes, its end, and how to bring that about."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from viaduct.base import proc
from viaduct.base.errors import SandboxError
from viaduct.sandbox import crash, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop

OnOutput: TypeAlias = "Callable[[int, bytes], None]"

_CHUNK = 64 << 10
# So much of the end of the output is kept, to find out why a step failed.
_TAIL = 4 << 10
# What crun and runc leave in a program's output when execve(2) fails at last.
_LAST_WORDS = re.compile(rb'\{"msg":"exec container process[^\n]*\n?$|exec \S+: [a-z ]+\n?$')
# The container's pid is known some milliseconds after the start; a stop in between looks again.
_LOOK_AGAIN = 0.005
# A runtime whose container was killed ends within milliseconds, if it works at all.
_PATIENCE = 10.0
# What a runtime ends with whose container was killed.
_KILLED = 128 + signal.SIGKILL


class Watch:
    """Starts `argv`, which runs a container whose first process it names in `pid_file`.

    With `terminal` it has our standard streams, otherwise pipes. `scoped` keeps it from abstract
    sockets of the machine where the kernel can. To be closed in any case; used by one thread.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        pid_file: Path,
        on_output: OnOutput,
        stdin: int,
        terminal: bool,
        scoped: bool = False,
    ) -> None:
        self._pid_file = pid_file
        self._on_output = on_output
        self._tail = b""
        self._held = b""
        self._lookout: crash.Lookout | None = None
        self._pause: float | None = None
        self._crashed = 0
        self._streams: dict[int, int] = {}
        pipe = None if terminal else subprocess.PIPE

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                argv,
                stdin=None if terminal else stdin,
                stdout=pipe,
                stderr=pipe,
                # Nothing of ours reaches the runtime: its hooks and plug-ins read variables.
                env={"PATH": proc.search_path()},
                # A Ctrl-C is for us, and we stop the container; a terminal is handed over whole.
                start_new_session=not terminal,
            )

        try:
            self._child = _scoped(start) if scoped else start()
        except OSError as error:
            raise SandboxError(
                f"cannot start {argv[0]}: {error.strerror}", hint="sudo apt-get install crun"
            ) from error
        for number, file in ((1, self._child.stdout), (2, self._child.stderr)):
            if file is not None:
                self._streams[file.fileno()] = number
        self._ended = os.pidfd_open(self._child.pid)

    def until_end(self, stop: Stop, grace: float) -> int:
        """Pass output on until the runtime has ended; its exit status, -n after signal n.

        After a stop, the container's first process is asked to end, and killed `grace` seconds
        later. An emulated one that crashed without ending is killed too, and reported as what it
        died of.
        """
        wake = _Wake()
        key = stop.on_stop(wake.set)
        try:
            self._attend(wake, grace)
        finally:
            stop.forget(key)
            wake.close()
        status = self._child.wait()
        return 128 + self._crashed if self._crashed and status == _KILLED else status

    def _attend(self, wake: _Wake, grace: float) -> None:
        poll = select.poll()
        attended = {*self._streams, self._ended}
        for fd in (*attended, wake.fd):
            poll.register(fd, select.POLLIN)
        ending: _Ending | None = None
        while attended:
            pause = None
            if self._ended in attended:
                if ending is None and self._has_crashed():
                    ending = _Ending(self._child, self._pid_file, grace=0)
                pause = ending.push() if ending else self._pause
            for fd, _ in poll.poll(None if pause is None else pause * 1000):
                if fd == wake.fd:
                    ending = _Ending(self._child, self._pid_file, grace)
                elif fd == self._ended or not self._read(fd):
                    attended.discard(fd)
                else:
                    continue
                poll.unregister(fd)

    def _has_crashed(self) -> bool:
        """Whether the container's first process died under emulation and does not end."""
        self._pause = None
        if self._lookout is not None:
            self._pause = self._lookout.push(_first(self._pid_file))
            if self._pause is None:
                self._crashed = self._lookout.number
        return self._crashed != 0

    def close(self) -> None:
        """Make sure that everything has ended, and let go of it."""
        if self._child.poll() is None:
            ending = _Ending(self._child, self._pid_file, grace=0)
            while self._child.poll() is None:
                time.sleep(min(ending.push(), _LOOK_AGAIN))
        for file in (self._child.stdout, self._child.stderr):
            if file is not None:
                file.close()
        os.close(self._ended)

    def _read(self, fd: int) -> bool:
        data = os.read(fd, _CHUNK)
        if not data:
            return False
        stream = self._streams[fd]
        if stream == 2 and not self._tail and self._may_be_runtime(self._held + data):
            self._held += data
            return True
        self.release()
        self._pass(stream, data)
        return True

    def _may_be_runtime(self, text: bytes) -> bool:
        """Whether this, the first output at all, is perhaps what the runtime says."""
        started = self._pid_file.exists()
        return len(text) <= _TAIL and (not started or bool(_LAST_WORDS.match(text)))

    def _pass(self, stream: int, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        if b"signal" in data and (number := crash.signal_in(self._tail)):
            self._lookout = crash.Lookout(number)
        self._on_output(stream, data)

    def release(self) -> None:
        """Pass on what was held back, for it is the program's."""
        held, self._held = self._held, b""
        if held:
            self._pass(2, held)

    def say(self, line: str) -> None:
        """Add a line to the output, in place of what was held back."""
        self._held = b""
        self._pass(2, f"{line}\n".encode())

    def held(self) -> str:
        """What came out instead of any output of the program; most likely the runtime's words."""
        return self._held.decode(errors="replace")

    def tail(self) -> bytes:
        """The end of what came out of the program."""
        return self._tail


class _Wake:
    """Something to poll that another thread can set; setting after `close` does nothing."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._open = True

    def set(self) -> None:
        with self._lock:
            if self._open:
                os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        with self._lock:
            self._open = False
            os.close(self.fd)


class _Ending:
    """Brings a container to its end: asks it, kills it, kills its runtime, each in its time."""

    def __init__(self, runtime: subprocess.Popen[bytes], pid_file: Path, grace: float) -> None:
        self._runtime = runtime
        self._pid_file = pid_file
        self._grace = grace
        self._kill_at = float("inf")
        self._give_up_at = time.monotonic() + grace + _PATIENCE

    def push(self) -> float:
        """Do what is due; seconds until the next time."""
        now = time.monotonic()
        if now >= self._give_up_at:
            self._runtime.kill()
            return _PATIENCE
        if now >= self._kill_at:
            self._send(signal.SIGKILL)
            return self._give_up_at - now
        if self._kill_at == float("inf"):
            # As pid 1 of its namespace a program without a handler does not even get SIGTERM.
            polite = self._grace > 0 and self._handles(signal.SIGTERM)
            if not self._send(signal.SIGTERM if polite else signal.SIGKILL):
                return _LOOK_AGAIN
            self._kill_at = now + self._grace if polite else self._give_up_at
        return min(self._kill_at, self._give_up_at) - now

    def _handles(self, number: signal.Signals) -> bool:
        for row in _status(_first(self._pid_file)):
            if row.startswith("SigCgt:"):
                return bool(int(row.split()[1], 16) >> (number - 1) & 1)
        return False

    def _send(self, number: signal.Signals) -> bool:
        """Signal the container's first process; false when there is none."""
        pid = _first(self._pid_file)
        if not pid:
            return False
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # Somebody else's, when the number was given away since: ours is the runtime's child.
            if f"PPid:\t{self._runtime.pid}" not in _status(pid):
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


def _scoped(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """What `start` returns, which must not reach the machine's abstract sockets.

    They belong to a network and not to a file system, so a step that shares ours would find them;
    and who listens there often trusts by user id, which a step shares as well.
    """
    done: list[subprocess.Popen[bytes]] = []
    failed: list[OSError] = []

    def work() -> None:
        # Older kernels cannot; docs/security.md says so.
        with contextlib.suppress(OSError):
            syscalls.scope_abstract_sockets()
        try:
            done.append(start())
        except OSError as error:
            failed.append(error)

    # A thread of its own, because what it gives up it never gets back.
    thread = threading.Thread(target=work, name="runtime")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _first(pid_file: Path) -> int:
    """The container's first process, 0 before it is known."""
    try:
        return int(pid_file.read_text() or 0)
    except (OSError, ValueError):
        return 0


def _status(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
