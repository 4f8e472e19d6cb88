"""The display of a build: a sink that is cheap for the engine's threads, and one thread that draws.

`sink` only appends to a queue. The drawing thread takes the events out in order, clips output that
exceeds the limit, and lets the mode's renderer write, a few times a second.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, TextIO

from viaduct.base.errors import UsageError
from viaduct.cli.progress.clip import LogClip
from viaduct.cli.progress.failed import failed_steps
from viaduct.cli.progress.trace import Trace
from viaduct.cli.terminal import colored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from viaduct.base.events import Event, Warned
    from viaduct.cli.progress.trace import Step

#: Lines of output that `quiet` remembers of each step: nobody has seen them yet.
_KEPT_LINES = 100
_RETURNS = re.compile(r"\r+\n?")


class Renderer(Protocol):
    """One progress mode: `take` notes an event, `draw` and `finish` write. `interval` is the time
    between drawings in seconds."""

    interval: float
    trace: Trace

    def take(self, event: Event, now: float) -> None: ...
    def draw(self, now: float) -> None: ...
    def finish(self, now: float) -> None: ...


class Silent:
    """`--progress=none` shows nothing, `quiet` only why a step failed; warnings are known."""

    interval = 1.0

    def __init__(self, write: Callable[[bytes], None] | None = None) -> None:
        self.trace = Trace(_KEPT_LINES)
        self._write = write

    def take(self, event: Event, now: float) -> None:
        self.trace.apply(event)

    def draw(self, now: float) -> None:
        pass

    def finish(self, now: float) -> None:
        if self._write is not None:
            for line in failed_steps(self.trace, tell_gap=True):
                self._write(line + b"\n")


def renderer(
    mode: str,
    file: TextIO,
    env: Mapping[str, str],
    *,
    builder: str = "",
    driver: str = "",
    title: str = "Building",
) -> Renderer:
    """The renderer of a mode; `auto` is the live view on a terminal and `plain` elsewhere.
    `title` is what the live view says is going on, `builder` and `driver` who does it.

    Raises `UsageError` for `tty` without a terminal.
    """
    terminal = file.isatty() and env.get("TERM") != "dumb"
    if mode == "tty" and not terminal:
        raise UsageError(
            "failed to get console: standard error is not a terminal", hint="use --progress=plain"
        )
    if mode == "none":
        return Silent()
    if mode == "quiet":
        return Silent(_writer(file, harmless=file.isatty()))
    if mode == "rawjson":
        from viaduct.cli.progress.rawjson import RawJSONPrinter

        return RawJSONPrinter(_writer(file))
    if mode == "tty" or (mode == "auto" and terminal):
        from viaduct.cli.progress.tty import TerminalView

        corner = f"{driver}:{builder}" if driver else builder
        return TerminalView(file, env, corner=corner, title=title)
    from viaduct.cli.progress.plain import PlainPrinter

    heading = f'building with "{builder}" instance' if builder else ""
    if driver:
        heading += f" using {driver} driver"
    return PlainPrinter(_writer(file, harmless=file.isatty()), heading=heading)


def _writer(file: TextIO, *, harmless: bool = False) -> Callable[[bytes], None]:
    """Bytes go out as they are: a log keeps what a step printed. On a terminal, `harmless` removes
    what would drive it; a progress bar that begins its line again goes on in the next one."""
    out = file.buffer

    def write(data: bytes) -> None:
        if harmless:
            text = _RETURNS.sub("\n", data.decode(errors="replace"))
            data = colored(text).encode()
        out.write(data)
        out.flush()

    return write


class Display:
    """`with Display(renderer, env) as display: api.build(request, display.sink)`.

    Enter it after the last change of namespaces: it has a thread.
    """

    def __init__(self, renderer: Renderer, env: Mapping[str, str]) -> None:
        self._renderer = renderer
        self._clip = LogClip(env)
        self._queue: deque[Event] = deque()
        self._closing = threading.Event()
        self._dark = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
        #: Show an event; safe from any thread, never blocks.
        self.sink: Callable[[Event], None] = self._queue.append

    @property
    def warnings(self) -> list[Warned]:
        """The different warnings so far, in order; complete after the `with` block."""
        return self._renderer.trace.warnings

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps by vertex; to be read after the `with` block."""
        return self._renderer.trace.steps

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _work(self) -> None:
        while not self._closing.wait(self._renderer.interval):
            self._show(self._renderer.draw)
        self._show(self._renderer.finish)

    def _show(self, write: Callable[[float], None]) -> None:
        now = time.time()
        try:
            while self._queue:
                for event in self._clip.pass_on(self._queue.popleft()):
                    self._renderer.take(event, now)
            if not self._dark:
                write(now)
        except OSError:
            # The terminal or the reader of the log is gone; the build goes on without a picture.
            self._dark = True
        except Exception as failure:  # noqa: BLE001 - raised again by the thread that owns us
            self._failure = failure
            self._dark = True
