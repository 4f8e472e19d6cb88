from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from viaduct.base.events import Event, Finished, Log, Started, Status, Warned
from viaduct.base.spans import Source, Span
from viaduct.cli.progress.plain import PlainPrinter

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Replay

GOLDEN = Path(__file__).parents[2] / "golden" / "progress"
T = 1_800_000_000.0
FILE = Source("Dockerfile", "FROM a as b\nRUN x\n")


def printed(replay: Replay, events: list[Event], *, heading: str = "") -> str:
    out = bytearray()
    replay(PlainPrinter(out.extend, heading=heading), sorted(events, key=lambda event: event.at))
    return out.decode()


def step(key: str, name: str, at: float, end: float, **outcome: object) -> list[Event]:
    return [
        Started(key, name, T + at),
        Finished(key, T + end, **outcome),  # type: ignore[arg-type] # the outcome's own fields
    ]


def log(key: str, at: float, text: str) -> Log:
    return Log(key, text.encode(), T + at)


TWO_PLATFORMS: list[Event] = [
    *step("load", "[internal] load build definition from Dockerfile", 0, 0.01),
    Status("load", "transferring dockerfile:", T, 0),
    Status("load", "transferring dockerfile:", T + 0.001, 343, done=True),
    Warned(
        "'as' and 'FROM' keywords' casing do not match",
        T + 0.005,
        rule="FromAsCasing",
        where=Span(FILE, 1, 1),
        vertex="load",
    ),
    *step("context", "[internal] load build context", 0.02, 0.4),
    Status("context", "transferring context:", T + 0.02, 34),
    Status("context", "transferring context:", T + 0.39, 1_846_883, done=True),
    *step("copy", "[linux/amd64 1/3] COPY app /app", 0.41, 0.42, cached=True),
    Started("amd", "[linux/amd64 2/3] RUN make", T + 0.5, "linux/amd64"),
    Started("arm", "[linux/arm64 2/3] RUN make", T + 0.5, "linux/arm64", emulated=True),
    log("amd", 0.6, "cc one.c\n"),
    log("arm", 0.65, "cc one.c\n"),
    log("amd", 0.9, "cc tw"),
    log("amd", 1.3, "o.c\n"),
    Finished("amd", T + 2.0),
    log("arm", 2.1, "cc two.c\nld"),
    log("arm", 12.6, " app\n"),
    Finished("arm", T + 14.5),
    *step("export", "exporting to image", 14.6, 15.3),
    Status("export", "exporting layers", T + 14.6),
    Status("export", "exporting layers", T + 14.9, done=True),
    Status("export", "pushing layers", T + 14.9, 0, 61_000_000),
    Status("export", "pushing layers", T + 15.1, 61_000_000, 61_000_000, done=True),
    Status("export", "pushing manifest for localhost:5000/app:1", T + 15.1),
    Status("export", "pushing manifest for localhost:5000/app:1", T + 15.2, done=True),
]

PROCESS = 'process "/bin/sh -c make" did not complete successfully: exit code: 7'
FAILING: list[Event] = [
    *step("from", "[linux/amd64 1/2] FROM docker.io/library/debian:12", 0, 0.2),
    Started("amd", "[linux/amd64 2/2] RUN make", T + 0.3),
    Started("arm", "[linux/arm64 2/2] RUN make", T + 0.3),
    *(log("amd", 0.4 + n / 100, f"line {n}\n") for n in range(1, 13)),
    log("amd", 0.6, "no end"),
    Finished("amd", T + 0.7, error=PROCESS),
    Finished("arm", T + 0.7, canceled=True, error="canceled"),
]

BABBLE: list[Event] = [
    Started("a", "[a] RUN quiet", T),
    Started("b", "[b] RUN loud", T),
    log("a", 0.1, "a starts\n"),
    *(log("b", 0.2 + n / 4, f"b {n}\n") for n in range(40)),
    log("a", 5.0, "a goes on\n"),
    Finished("b", T + 10.5),
    Finished("a", T + 11),
]


@pytest.mark.parametrize(
    ("name", "events"),
    [("two-platforms", TWO_PLATFORMS), ("failing", FAILING), ("babble", BABBLE)],
)
def test_a_log_has_buildkits_shape(name: str, events: list[Event], replay: Replay) -> None:
    text = printed(replay, events, heading='building with "default" instance')
    assert text == (GOLDEN / f"{name}.plain.txt").read_text()


def test_steps_are_numbered_as_they_appear(replay: Replay) -> None:
    text = printed(replay, [*step("x", "[x]", 0, 5), *step("y", "[y]", 0.01, 0.02)])
    assert text.splitlines() == [
        "#1 [y]",
        "#1 DONE 0.0s",
        "",
        "#2 [x]",
        "#2 DONE 5.0s",
    ]


def test_a_transfer_is_told_again_after_a_twentieth_or_five_seconds(replay: Replay) -> None:
    events: list[Event] = [Started("a", "[a]", T), Finished("a", T + 20)]
    events += [Status("a", "layer", T + n / 4, n * 1000, 1_000_000) for n in range(60)]
    lines = [line for line in printed(replay, events).splitlines() if "layer" in line]
    assert 3 <= len(lines) <= 5


def test_bytes_of_a_step_are_passed_on_as_they_are(replay: Replay) -> None:
    out = bytearray()
    data = b"\x1b[31mred\x1b[0m \xff\xfe a\rb\n"
    events: list[Event] = [Started("a", "[a]", T), Log("a", data, T + 1), Finished("a", T + 2)]
    replay(PlainPrinter(out.extend), events)
    assert b"#1 1.000 " + data in bytes(out)


def test_no_line_is_made_of_two_streams(replay: Replay) -> None:
    """Neither when they are drawn at once nor when the beginning stood on the paper already."""
    for between in (0.0, 0.5):
        events: list[Event] = [
            Started("a", "RUN x", T),
            Log("a", b"whole\nbegin", T + 1, 1),
            Log("a", b"error\nmore", T + 1 + between, 2),
            Log("a", b" end\n", T + 1 + 2 * between, 1),
            Finished("a", T + 9),
        ]
        lines = [
            line.partition(" ")[2].partition(" ")[2] for line in printed(replay, events).split("\n")
        ]
        assert {"whole", "begin end", "error", "more"} <= set(lines)


def test_an_empty_line_is_a_line(replay: Replay) -> None:
    events: list[Event] = [*step("a", "[a]", 0, 2), log("a", 1, "x\n\ny\n")]
    assert "#1 1.000 x\n#1 1.000 \n#1 1.000 y\n" in printed(replay, events)


def test_a_name_is_one_line(replay: Replay) -> None:
    assert printed(replay, step("a", "[a] RUN <<EOF\nx\nEOF", 0, 1)).splitlines()[0] == (
        "#1 [a] RUN <<EOF x EOF"
    )


def test_output_of_a_step_nobody_announced_is_no_fault(replay: Replay) -> None:
    assert printed(replay, [log("ghost", 0, "boo\n"), Finished("ghost", T + 1)]) == ""


def test_a_step_that_never_ends_still_says_what_it_said(replay: Replay) -> None:
    text = printed(replay, [Started("a", "[a]", T), log("a", 0.01, "half")])
    assert text == "#1 [a]\n#1 0.010 half\n"


def test_a_step_that_runs_again_adds_up(replay: Replay) -> None:
    events = [*step("a", "[a]", 0, 1), *step("a", "[a]", 5, 7)]
    assert printed(replay, events).splitlines()[-1] == "#1 DONE 3.0s"


def test_a_long_silence_is_broken_by_naming_what_runs() -> None:
    out = bytearray()
    printer = PlainPrinter(out.extend)
    for event in (Started("a", "RUN make", T), Started("b", "RUN test", T), log("a", 1, "begin\n")):
        printer.take(event, T + 1)
    for second in range(1, 140):
        if second == 70:
            printer.take(log("b", 70, "news\n"), T + 70)
        printer.draw(T + second)
    lines = out.decode().splitlines()
    assert lines[-6:] == [
        "#1 RUN make",
        "#1 still running after 130s",
        "#1 ...",
        "",
        "#2 RUN test",
        "#2 still running after 130s",
    ]
    assert len([line for line in lines if "still running" in line]) == 2
