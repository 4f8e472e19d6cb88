"""A command on a terminal of its own, with somebody who reads the screen and presses keys."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATIENCE = 60.0


class Terminal:
    """The keyboard and screen of a command; `written` is all that it wrote so far, as bytes."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self._process = process
        self.written = b""

    def read_until(self, text: str) -> None:
        """Wait until the command has written `text`."""
        while text.encode() not in self.written:
            assert self._read(), f"{text!r} did not come:\n{self.shown}"

    def press(self, keys: bytes) -> None:
        """Type something: `\\x03` is Ctrl-C."""
        os.write(self._fd, keys)

    def end(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        return self._process.wait(_PATIENCE)

    @property
    def shown(self) -> str:
        """What was written, without escape sequences."""
        text = self.written.decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")

    def _read(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        if not select.select([self._fd], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return False  # everybody has closed the other side
        self.written += data
        return bool(data)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], *, columns: int = 100, lines: int = 40
) -> Iterator[Terminal]:
    """Start a command as a shell in a terminal window of that size would."""
    main, side = pty.openpty()
    subprocess.run(["stty", "cols", str(columns), "rows", str(lines)], stdin=side, check=True)
    with subprocess.Popen(
        # The terminal becomes the command's controlling one, which is what Ctrl-C needs.
        ["setsid", "--ctty", *command],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm-256color"},
    ) as process:
        os.close(side)
        try:
            yield Terminal(main, process)
        finally:
            os.close(main)
            if process.poll() is None:
                process.kill()
