from __future__ import annotations

import csv
import itertools

from hypothesis import given
from hypothesis import strategies as st

from viaduct.base.errors import UsageError
from viaduct.base.events import Event, Finished, Log, Started, Status
from viaduct.cli import csvline, units
from viaduct.cli.gotemplate.template import Template
from viaduct.cli.pflag import Option, read
from viaduct.cli.progress import layout
from viaduct.cli.progress.clip import LogClip
from viaduct.cli.progress.plain import PlainPrinter
from viaduct.cli.progress.trace import Trace
from viaduct.cli.terminal import colored, overwritten, visible

T = 1_000.0
OPTIONS = [
    Option(("-p", "--push"), switch=True),
    Option(("-t", "--tag"), many=True),
    Option(("-f", "--file")),
]

words = st.text("abc-=,. '\"", max_size=6)
lines = st.lists(
    st.one_of(words, st.sampled_from(["--push", "--tag", "-t", "-pt", "--push=false", "--"])),
    max_size=8,
)


@given(lines)
def test_a_line_written_out_reads_the_same_again(line: list[str]) -> None:
    try:
        once = read(OPTIONS, line)
    except UsageError:
        return
    words = [f"{option.long}={said or 'false' * option.switch}" for option, said in once.given]
    assert read(OPTIONS, [*words, "--", *once.rest]) == once


@given(lines)
def test_a_half_typed_line_is_always_readable(line: list[str]) -> None:
    read(OPTIONS, line, lenient=True)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0"), max_size=8), min_size=1))
def test_fields_are_read_back_as_they_were_written(fields: list[str]) -> None:
    class Keep:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

    line = Keep()
    csv.writer(line, lineterminator="").writerow(fields)
    assert csvline.fields(line.text) == fields


@given(st.text(max_size=30))
def test_any_line_has_fields_or_an_explanation(line: str) -> None:
    try:
        assert csvline.fields(line)
    except UsageError as error:
        assert error.what


@given(st.binary(max_size=200))
def test_nothing_that_is_shown_drives_the_terminal(data: bytes) -> None:
    text = data.decode(errors="replace")
    for shown in (visible(text), visible(overwritten(text))):
        assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in shown)
    assert visible(visible(text)) == visible(text)
    assert "\x1b[2J" not in colored(text + "\x1b[2J")


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_lines_do_not_depend_on_how_output_is_cut(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[bytes]:
        trace = Trace(keep=1000)
        trace.apply(Started("a", "[a]", T))
        for piece in pieces:
            trace.apply(Log("a", piece, T))
        return [line.data for line in trace.steps["a"].last_lines()]

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    expected = data.split(b"\n")
    assert read(pieces) == (expected if expected[-1] else expected[:-1])


steps = st.sampled_from(["a", "b", "c", "d"])
events = st.lists(
    st.one_of(
        st.builds(Started, steps, st.text(max_size=20), st.just(T), steps, st.booleans()),
        st.builds(Log, steps, st.binary(max_size=30), st.just(T + 1)),
        st.builds(Status, steps, steps, st.just(T + 1), st.integers(0, 9), st.integers(0, 9)),
        st.builds(Finished, steps, st.just(T + 2), st.booleans(), st.sampled_from(["", "bad"])),
    ),
    max_size=40,
)


@given(events, st.integers(1, 20), st.integers(1, 9))
def test_a_picture_never_exceeds_the_screen(
    happened: list[Event], height: int, log_lines: int
) -> None:
    trace = Trace(keep=50)
    for event in happened:
        trace.apply(event)
    rows = layout.frame(trace, T + 3, title="Building", height=height, log_lines=log_lines)
    assert len(rows) <= height
    assert all("\n" not in row.left + row.right for row in rows)
    layout.final(trace, T + 3, title="Building")


@given(events, st.integers(1, 7))
def test_a_log_loses_no_line(happened: list[Event], every: int) -> None:
    out = bytearray()
    printer = PlainPrinter(out.extend)
    for number, event in enumerate(happened):
        printer.take(event, T + number)
        if number % every == 0:
            printer.draw(T + number)
    printer.finish(T + 100)
    text = bytes(out)
    assert text == b"" or text.endswith(b"\n")
    for step in printer.trace.steps.values():
        for line in step.tail:
            assert line.data in text


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30), st.integers(0, 300))
def test_a_clipped_log_begins_and_ends_like_the_output(pieces: list[bytes], limit: int) -> None:
    env = {"BUILDKIT_STEP_LOG_MAX_SIZE": str(limit), "BUILDKIT_STEP_LOG_MAX_SPEED": "-1"}
    clip = LogClip(env)
    given_events: list[Event] = [Started("a", "[a]", T)]
    given_events += [Log("a", piece, T) for piece in pieces]
    given_events.append(Finished("a", T))
    passed = [event for each in given_events for event in clip.pass_on(each)]
    shown = b"".join(event.data for event in passed if isinstance(event, Log))
    data = b"".join(pieces)
    if len(data) <= limit:
        assert shown == data
    else:
        assert shown.startswith(data[:limit])
        assert shown.endswith(data[limit:])


@given(st.text(st.sampled_from('{}.-|$abc "`()=:1 if end range else'), max_size=30))
def test_any_text_is_a_template_or_is_explained(text: str) -> None:
    for template in (text, f"{{{{{text}}}}}"):
        try:
            Template(template).render({"a": [1], "b": "x", "c": {"a": None}})
        except UsageError as error:
            assert error.what.startswith("template: ")


@given(st.integers(0, 10**22))
def test_sizes_are_short(size: int) -> None:
    assert len(units.human_size(size)) <= 9
    assert units.transfer_size(size)


@given(st.text(max_size=8))
def test_memory_sizes_are_numbers_or_are_explained(text: str) -> None:
    try:
        assert units.parse_binary_size(text) >= 0
    except UsageError as error:
        assert error.hint
