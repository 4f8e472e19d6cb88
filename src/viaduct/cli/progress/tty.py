"""`--progress=tty`: the live view of a build on a terminal, drawn by rich.

rich is imported when the view is opened, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from viaduct.cli.progress import layout
from viaduct.cli.progress.failed import failed_steps
from viaduct.cli.progress.palette import palette
from viaduct.cli.progress.trace import Trace
from viaduct.cli.terminal import colored, overwritten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from viaduct.base.events import Event

_LOG_LINES = 6
#: How much of a step's output is remembered: the user has not seen it when the step fails.
_KEPT_LINES = 500
_NARROW = 20


class TerminalView:
    """Draws on `file`, which is a terminal. `corner` stands at the right of the header."""

    interval = 0.2

    def __init__(
        self, file: TextIO, env: Mapping[str, str], *, corner: str = "", title: str = "Building"
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self.trace = Trace(_KEPT_LINES)
        self._title = title
        self._corner = corner
        self._colors = palette(env)
        self._log_lines = _positive(env.get("BUILDKIT_TTY_LOG_LINES"), _LOG_LINES)
        self._console = Console(
            file=file, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()

    def take(self, event: Event, now: float) -> None:
        """Note an event."""
        self.trace.apply(event)

    def draw(self, now: float) -> None:
        """Show the present state."""
        rows = layout.frame(
            self.trace,
            now,
            title=self._title,
            corner=self._corner,
            height=self._console.height - 1,
            log_lines=self._log_lines,
        )
        self._live.update(self._picture(rows), refresh=True)

    def finish(self, now: float) -> None:
        """Leave the whole build on the screen, and the output of steps that failed."""
        rows = layout.final(self.trace, now, title=self._title, corner=self._corner)
        self._live.update(self._picture(rows))
        self._live.stop()
        for line in failed_steps(self.trace, tell_gap=True):
            text = line.decode(errors="replace").rstrip("\r")
            self._console.file.write(colored(overwritten(text)) + "\n")
        self._console.file.flush()

    def _picture(self, rows: Sequence[layout.Row]) -> Text:
        from rich.text import Text

        width = self._console.width
        picture = Text(no_wrap=True, overflow="crop", end="")
        for number, row in enumerate(rows):
            style = getattr(self._colors, row.style, row.style)
            picture.append("\n" if number else "").append(_fitted(row, width), style)
        return picture


def _fitted(row: layout.Row, width: int) -> str:
    """The row in exactly `width` cells, cut with an ellipsis where it is too long."""
    from rich.cells import cell_len, set_cell_size

    right = f" {row.right}" if row.right else ""
    if width - cell_len(right) < _NARROW:
        right = ""
    room = width - cell_len(right)
    if cell_len(row.left) > room:
        return set_cell_size(row.left, room - 1) + "…" + right
    return set_cell_size(row.left, room) + right


def _positive(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and int(text) > 0 else default
