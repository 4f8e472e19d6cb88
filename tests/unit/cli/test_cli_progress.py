from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from viaduct.base.events import Event, Finished, Log, Started, Status, Warned
from viaduct.base.spans import Source, Span
from viaduct.cli.progress.advice import advice
from viaduct.cli.progress.clip import LogClip
from viaduct.cli.progress.display import Display, renderer
from viaduct.cli.progress.rawjson import RawJSONPrinter
from viaduct.cli.progress.trace import Trace, warning_line
from viaduct.cli.progress.warned import summary
from viaduct.cli.terminal import colored, overwritten, visible

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Replay

T = 1_800_000_000.0
FILE = Source("Dockerfile", "FROM a as b\nRUN x\n")
WARNING = Warned(
    "casing", T, rule="FromAsCasing", url="https://u", detail="why", where=Span(FILE, 1, 1)
)


class File(io.TextIOWrapper):
    """A log file in memory."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8")


def test_events_of_many_threads_are_all_shown() -> None:
    file = File()

    def work(name: str) -> None:
        display.sink(Started(name, f"[{name}]", T))
        for number in range(200):
            display.sink(Log(name, f"{name} {number}\n".encode(), T))
        display.sink(Finished(name, T))

    with Display(renderer("plain", file, {}, builder="default"), {}) as display:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    text = file.bytes.getvalue().decode()
    assert text.startswith('#0 building with "default" instance\n')
    for name in "abcd":
        assert text.count(f" {name} ") == 200
        assert display.steps[name].log_lines == 200


def test_the_build_goes_on_when_the_reader_of_its_log_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    file = open(writer, "w", encoding="utf-8")  # noqa: SIM115 - its end is part of the case
    with Display(renderer("plain", file, {}), {}) as display:
        display.sink(Started("a", "[a]", T))
        display.sink(WARNING)
        display.sink(Finished("a", T))
    assert display.warnings == [WARNING]
    with contextlib.suppress(BrokenPipeError):
        file.close()


def test_warnings_are_told_once() -> None:
    with Display(renderer("none", File(), {}), {}) as display:
        for _ in range(3):
            display.sink(WARNING)
        display.sink(Warned("other", T))
    assert [warning_line(warning) for warning in display.warnings] == [
        "FromAsCasing: casing (line 1)",
        "other",
    ]


def test_the_summary_of_warnings() -> None:
    assert summary([], debug=False, color=False) == ""
    assert summary([WARNING], debug=False, color=False) == (
        "\n 1 warning found (use --debug to expand):\n - FromAsCasing: casing (line 1)\n"
    )
    colored_text = summary([WARNING, WARNING], debug=False, color=True)
    assert "\x1b[33m 2 warnings found (use --debug to expand):\x1b[0m" in colored_text
    told = summary([WARNING], debug=True, color=False)
    assert " 1 warning found:\n" in told
    assert "why\nMore info: https://u\nDockerfile:1\n" in told


def test_rawjson_is_buildkits_solve_status(replay: Replay) -> None:
    key = "sha256:" + "a" * 64
    out = bytearray()
    events: list[Event] = [
        Started(key, "[a] RUN x", T),
        Status(key, "layer", T + 0.25, 5, 10),
        Status(key, "layer", T + 0.5, 10, 10, done=True),
        Log(key, b"hi\xff\n", T + 1, 2),
        WARNING,
        Finished(key, T + 1.5, cached=True),
        Started("work:1", "exporting", T + 2),
        Finished("work:1", T + 3, canceled=True),
    ]
    replay(RawJSONPrinter(out.extend), events)
    lines = [json.loads(line) for line in out.splitlines()]
    began, ended = "2027-01-15T08:00:00.000000Z", "2027-01-15T08:00:01.500000Z"
    assert lines[0] == {"vertexes": [{"digest": key, "name": "[a] RUN x", "started": began}]}
    assert lines[1] == {
        "statuses": [
            {
                "id": "layer",
                "vertex": key,
                "total": 10,
                "current": 5,
                "timestamp": "2027-01-15T08:00:00.250000Z",
                "started": "2027-01-15T08:00:00.250000Z",
            }
        ]
    }
    assert lines[2]["statuses"][0]["completed"] == "2027-01-15T08:00:00.500000Z"
    assert lines[3]["logs"] == [
        {"vertex": key, "stream": 2, "data": "aGn/Cg==", "timestamp": "2027-01-15T08:00:01.000000Z"}
    ]
    assert lines[4]["warnings"][0]["range"] == [{"start": {"line": 1}, "end": {"line": 1}}]
    assert lines[5]["vertexes"][0] == {
        "digest": key,
        "name": "[a] RUN x",
        "started": began,
        "completed": ended,
        "cached": True,
    }
    assert lines[6]["vertexes"][0]["digest"].startswith("sha256:")
    assert lines[7]["vertexes"][0]["error"] == "context canceled"


def clipped(events: list[Event], env: dict[str, str]) -> bytes:
    clip = LogClip(env)
    passed = [shown for event in events for shown in clip.pass_on(event)]
    return b"".join(event.data for event in passed if isinstance(event, Log))


def test_a_babbling_step_is_clipped_and_its_end_shown() -> None:
    events: list[Event] = [Started("a", "[a]", T)]
    events += [Log("a", b"%03d %s\n" % (n, b"x" * 95), T + 1) for n in range(100)]
    events.append(Finished("a", T + 2))
    text = clipped(events, {"BUILDKIT_STEP_LOG_MAX_SIZE": "1000"})
    head, _, tail = text.partition(b"\n[output clipped, log limit 1000B reached]\n")
    assert head.startswith(b"000 xx")
    assert len(head) == 1000
    assert tail.endswith(b"099 " + b"x" * 95 + b"\n")
    assert len(head) + len(tail) == 100 * 100


def test_a_step_may_only_print_so_much_in_a_second() -> None:
    events: list[Event] = [Started("a", "[a]", T)]
    events += [Log("a", b"x" * 100, T + 0.5) for _ in range(3)]
    events += [Log("a", b"late", T + 1.5), Finished("a", T + 2)]
    text = clipped(events, {"BUILDKIT_STEP_LOG_MAX_SPEED": "100"})
    assert text == b"x" * 100 + b"\n[output clipped, log limit 100B/s reached]\n" + b"late"


def test_the_tail_of_a_clipped_step_is_bounded() -> None:
    events: list[Event] = [Started("a", "[a]", T)]
    events += [Log("a", b"y" * 1000, T) for _ in range(1000)]
    events.append(Finished("a", T))
    assert len(clipped(events, {})) < (200 << 10) + (256 << 10) + 1000


@pytest.mark.parametrize("limits", [{}, {"BUILDKIT_STEP_LOG_MAX_SIZE": "x"}])
def test_an_ordinary_step_is_not_touched(limits: dict[str, str]) -> None:
    events: list[Event] = [Started("a", "[a]", T), Log("a", b"hello\n", T), Finished("a", T)]
    assert clipped(events, limits) == b"hello\n"


def test_limits_can_be_lifted() -> None:
    env = {"BUILDKIT_STEP_LOG_MAX_SIZE": "-1", "BUILDKIT_STEP_LOG_MAX_SPEED": "-1"}
    events: list[Event] = [Started("a", "[a]", T), Log("a", b"z" * (5 << 20), T)]
    assert len(clipped(events, env)) == 5 << 20


def test_times_of_output_have_fewer_digits_the_later_they_are() -> None:
    trace = Trace(keep=9)
    trace.apply(Started("a", "[a]", T))
    for at in (1.23456, 12.3456, 123.456):
        trace.apply(Log("a", b"x\n", T + at))
    assert [line.stamp for line in trace.steps["a"].tail] == ["1.235", "12.35", "123.5"]


@pytest.mark.parametrize(
    ("code", "output", "emulated", "part"),
    [
        (100, "E: Unable to locate package foo", False, "apt-get update"),
        (1, "exec /bin/x: exec format error", False, "$TARGETARCH"),
        (127, "sh: foo: not found", False, "not found in the image"),
        (137, "", False, "memory"),
        (139, "", False, "segmentation fault"),
        (139, "", True, "$BUILDPLATFORM"),
        (1, "No space left on device", False, "disk space"),
        (1, "dd: error writing '/dev/shm/x': No space left on device", False, "--shm-size"),
        (1, "No space left on device: '/dev/shm/sem.x'\nbye", False, "--shm-size"),
        (7, "", False, "marked line"),
    ],
)
def test_a_failed_step_comes_with_one_sentence_of_what_to_try(
    code: int, output: str, part: str, *, emulated: bool
) -> None:
    sentence = advice(code, output, emulated=emulated)
    assert part in sentence
    assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb\x1b[0mc", "abc"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x1b]0;never ends", ""),
        ("x\x1b", "x"),
        ("bell\x07 back\x08 \x7f", "bell back "),
        ("tab\tstays\n", "tab\tstays\n"),
        ("żółć 漢字 👍", "żółć 漢字 👍"),
        ("\x9b31mx", "31mx"),
    ],
)
def test_control_sequences_are_taken_out(raw: str, shown: str) -> None:
    assert visible(raw) == shown


def test_colors_may_stay_and_are_switched_off() -> None:
    assert colored("\x1b[1;32mok\x1b[K\x1b[3A") == "\x1b[1;32mok\x1b[0m"
    assert colored("plain\x07") == "plain"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("10%\r50%\r99%", "99%"), ("long text\rab", "abng text"), ("x\r", "x"), ("none", "none")],
)
def test_progress_bars_show_their_last_state(raw: str, shown: str) -> None:
    assert overwritten(raw) == shown
