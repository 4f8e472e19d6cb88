from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, TextIO

import pytest

from viaduct.base.errors import UsageError
from viaduct.base.events import Event, Finished, Log, Started, Status, Warned
from viaduct.cli.progress import layout
from viaduct.cli.progress.display import Display, Silent, renderer
from viaduct.cli.progress.palette import Palette, palette
from viaduct.cli.progress.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

T = 1_800_000_000.0


def traced(events: list[Event]) -> Trace:
    trace = Trace(keep=100)
    for event in events:
        trace.apply(event)
    return trace


def picture(rows: list[layout.Row]) -> list[str]:
    return [f"{row.left}|{row.right}" if row.right else row.left for row in rows]


def frame(events: list[Event], now: float, *, height: int = 24, log_lines: int = 6) -> list[str]:
    rows = layout.frame(
        traced(events), T + now, title="Building", height=height, log_lines=log_lines
    )
    return picture(rows)


BUILD: list[Event] = [
    Started("load", "[internal] load build definition from Dockerfile", T),
    Finished("load", T + 0.1),
    Started("amd1", "[linux/amd64 1/2] FROM debian", T + 0.2, "linux/amd64"),
    Started("arm1", "[linux/arm64 1/2] FROM debian", T + 0.3, "linux/arm64"),
    Status("arm1", "sha256:aaa", T + 0.3, 0, 2_000_000),
    Finished("amd1", T + 0.4, cached=True),
    Status("arm1", "sha256:aaa", T + 0.6, 1_000_000, 2_000_000),
    Started("amd2", "[linux/amd64 2/2] RUN make", T + 0.5, "linux/amd64"),
    Log("amd2", b"one\ntwo\nthree\n10%\r50%\r99%", T + 0.7),
]


def test_steps_are_grouped_by_platform_with_times_transfers_and_output() -> None:
    assert frame(BUILD, 2.0) == [
        "[+] Building 2.0s (2/4)",
        " => [internal] load build definition from Dockerfile|0.1s",
        " => CACHED [linux/amd64 1/2] FROM debian|0.2s",
        " => [linux/amd64 2/2] RUN make|1.5s",
        " => => # one",
        " => => # two",
        " => => # three",
        " => => # 99%",
        " => [linux/arm64 1/2] FROM debian|1.7s",
        " => => sha256:aaa|1.00MB / 2.00MB   0.3s",
    ]


def test_a_small_screen_keeps_what_runs() -> None:
    assert frame(BUILD, 2.0, height=6) == [
        "[+] Building 2.0s (2/4)",
        " => [linux/amd64 2/2] RUN make|1.5s",
        " => => # three",
        " => => # 99%",
        " => [linux/arm64 1/2] FROM debian|1.7s",
        " => => sha256:aaa|1.00MB / 2.00MB   0.3s",
    ]
    assert frame(BUILD, 2.0, height=7)[1] == " => … 2 more finished"
    assert frame(BUILD, 2.0, height=2) == ["[+] Building 2.0s (2/4)", " => … 2 more running"]
    assert frame(BUILD, 2.0, height=1) == ["[+] Building 2.0s (2/4)"]


def test_output_is_shared_evenly_among_running_steps() -> None:
    events: list[Event] = [Started(key, f"[{key}]", T) for key in "ab"]
    events += [Log(key, b"".join(b"%d\n" % n for n in range(20)), T + 1) for key in "ab"]
    lines = frame(events, 1, height=9, log_lines=6)
    assert len(lines) == 9
    assert [line for line in lines if "#" in line] == [
        *(f" => => # {n}" for n in (17, 18, 19)),
        *(f" => => # {n}" for n in (17, 18, 19)),
    ]


def test_emulated_steps_are_labelled() -> None:
    events: list[Event] = [Started("a", "[linux/arm64] RUN x", T, "linux/arm64", emulated=True)]
    assert frame(events, 3)[1] == " => [linux/arm64] RUN x|emulated   3.0s"


def test_hostile_output_cannot_drive_the_terminal() -> None:
    events: list[Event] = [
        Started("a", "[a] RUN \x1b[2Jx\ny", T),
        Log("a", b"\x1b]0;owned\x07t\x1b[31mre\x1b[1Ad\x9bm\x00\tx\n", T),
        Log("a", "safe \u202eevil\n".encode(), T),
    ]
    assert frame(events, 1)[1:] == [
        " => [a] RUN x y|1.0s",
        " => => # tred\ufffdm  x",
        " => => # safe evil",
    ]


def test_the_last_picture_shows_every_step() -> None:
    events = [
        *BUILD,
        Status("arm1", "sha256:aaa", T + 2, 2_000_000, 2_000_000, done=True),
        Finished("arm1", T + 2),
        Finished("amd2", T + 3),
        Warned("careful", T + 3, rule="Rule", vertex="load"),
        Started("x", "exporting to image", T + 3),
        Status("x", "exporting layers", T + 3, done=True),
        Finished("x", T + 3.5),
    ]
    rows = layout.final(traced(events), T + 3.5, title="Building", corner="default")
    assert picture(rows) == [
        "[+] Building 3.5s (5/5) FINISHED|default",
        " => [internal] load build definition from Dockerfile|0.1s",
        " => WARN: Rule: careful",
        " => CACHED [linux/amd64 1/2] FROM debian|0.2s",
        " => [linux/amd64 2/2] RUN make|2.5s",
        " => [linux/arm64 1/2] FROM debian|1.7s",
        " => => sha256:aaa|2.00MB   1.7s",
        " => exporting to image|0.5s",
        " => => exporting layers|0.0s",
    ]
    assert {row.style for row in rows} == {"bold", "run", "warning"}


@pytest.mark.parametrize(
    ("outcome", "state", "line", "style"),
    [
        ({"error": "boom"}, "ERROR", " => ERROR [a]|1.0s", "error"),
        ({"canceled": True}, "CANCELED", " => CANCELED [a]|1.0s", "cancel"),
    ],
)
def test_how_a_build_ended_is_in_its_header(
    outcome: dict[str, object], state: str, line: str, style: str
) -> None:
    finished = Finished("a", T + 1, **outcome)  # type: ignore[arg-type] # the outcome's own fields
    rows = layout.final(traced([Started("a", "[a]", T), finished]), T + 1, title="Building")
    assert picture(rows) == [f"[+] Building 1.0s (1/1) {state}", line]
    assert rows[1].style == style


def test_colors_can_be_chosen() -> None:
    colors = palette({"BUILDKIT_COLORS": "run=light-cyan:error=1,2,255:cancel=nope:bad"})
    assert colors == Palette(run="bright_cyan", error="rgb(1,2,255)")
    assert palette({"NO_COLOR": "1", "BUILDKIT_COLORS": "run=red"}).run == ""
    assert palette({"BUILDKIT_COLORS": 'run="'}) == palette({}) == Palette()


class Terminal:
    """A terminal of 60 by 20: `file` writes to it, `shown` is all that was written."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (20, 60))
        self.file: TextIO = open(theirs, "w", encoding="utf-8")  # noqa: SIM115 - closed by `shown`
        self._seen: list[bytes] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        # Reading fails once the other end is closed and everything is read.
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self._seen.append(data)

    def shown(self) -> str:
        self.file.close()
        self._thread.join()
        return b"".join(self._seen).decode()

    def close(self) -> None:
        self.shown()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_the_live_view_leaves_the_build_and_the_failure_on_the_screen(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = terminal.file
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    shown = threading.Event()
    view = renderer("auto", file, {"TERM": "xterm"}, builder="multi-builder")
    draw = view.draw

    def drawn(now: float) -> None:
        draw(now)
        shown.set()

    view.draw = drawn  # type: ignore[method-assign] # to know that a frame was drawn
    with Display(view, {}) as display:
        display.sink(Started("a", "[a] RUN false", time.time()))
        display.sink(Log("a", b"about to \x1b[31mfail\x1b[0m\n", time.time()))
        assert shown.wait(30)
        display.sink(Finished("a", time.time(), error="exit code: 1"))
    text = terminal.shown()
    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    last = text[text.rindex("[+] Building") :].replace("\r\n", "\n")
    assert last.splitlines()[0].startswith("[+] Building ")
    assert "(1/1) ERROR" in last.splitlines()[0]
    assert last.splitlines()[0].rstrip("\x1b[0m").endswith("multi-builder")
    assert " => ERROR [a] RUN false" in last
    assert "------\n > [a] RUN false:\n0.0" in last
    assert "about to \x1b[31mfail\x1b[0m" in last


def test_a_terminal_is_needed_only_for_tty(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = (tmp_path_factory.mktemp("log") / "log").open("w+")
    with file:
        with pytest.raises(UsageError, match="failed to get console"):
            renderer("tty", file, {})
        assert type(renderer("auto", file, {})).__name__ == "PlainPrinter"
        assert isinstance(renderer("none", file, {}), Silent)


def test_a_dumb_terminal_gets_a_log(terminal: Terminal) -> None:
    file = terminal.file
    assert type(renderer("auto", file, {"TERM": "dumb"})).__name__ == "PlainPrinter"


def test_plain_progress_on_a_terminal_is_harmless(terminal: Terminal) -> None:
    file = terminal.file
    with Display(renderer("plain", file, {"TERM": "xterm"}), {}) as display:
        display.sink(Started("a", "[a]", T))
        display.sink(Log("a", b"\x1b[2J\x1b[32mgreen\x1b[0m\n", T))
        display.sink(Finished("a", T))
    text = terminal.shown()
    assert "\x1b[32mgreen" in text
    assert "\x1b[2J" not in text


def test_a_progress_bar_in_a_plain_log_on_a_terminal_has_a_line_for_each_state(
    terminal: Terminal,
) -> None:
    with Display(renderer("plain", terminal.file, {"TERM": "xterm"}), {}) as display:
        display.sink(Started("a", "[a]", T))
        display.sink(Log("a", b"10%\r50%\r\r100%\r\nnext\r\n", T))
        display.sink(Finished("a", T))
    lines = terminal.shown().splitlines()
    assert [line for line in lines if "%" in line or "next" in line] == [
        *["#1 0.000 10%", "50%", "100%"],
        "#1 0.000 next",
    ]


def test_rich_is_not_needed_without_a_terminal() -> None:
    program = "import sys, viaduct.cli.progress.display as d; d.renderer('auto', sys.stderr, {}); "
    program += "sys.exit('rich' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0
