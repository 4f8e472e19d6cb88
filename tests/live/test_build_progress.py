"""What a build shows while it runs and when it fails, in every mode."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers
from tests.parts.command import VIADUCT
from tests.parts.contexts import BOTH
from tests.parts.site import meeting
from tests.parts.terminal import on_terminal

if TYPE_CHECKING:
    from tests.parts.contexts import Context

_FAILING = (
    "FROM BASE\n"
    "RUN echo fine\n"
    'RUN for i in $(seq 30); do echo "compile $i"; done; echo "no such header" >&2; exit 2\n'
    "RUN echo never\n"
)


def _on_terminal(*arguments: str) -> tuple[int, str]:
    """Run a command on a terminal: its exit status, and all it wrote, escape sequences aside."""
    with on_terminal([*VIADUCT, *arguments]) as terminal:
        return terminal.end(), terminal.shown


def _line(lines: list[str], pattern: str) -> str:
    """The one line that begins like the pattern."""
    (found,) = [line for line in lines if re.match(pattern, line)]
    return found


def test_a_terminal_sees_a_live_view_that_ends_as_a_summary(
    context: Context, registry: str
) -> None:
    """S-51."""
    context.dockerfile("FROM BASE\nRUN for i in 1 2 3; do echo working on $i; sleep 0.3; done\n")
    name = f"{registry}/tty:1"
    status, shown = _on_terminal("build", *BOTH, "-t", name, "--push", str(context.root))
    assert status == 0, shown
    frames = shown.split("[+] Building ")
    assert len(frames) > 4, "the view moves"
    assert any(" => => # working on 2" in frame for frame in frames)
    last = frames[-1].splitlines()
    assert re.fullmatch(r"\d+\.\ds \((\d+)/\1\) FINISHED +\S+", last[0])
    for platform in ("linux/amd64", "linux/arm64"):
        assert [
            line for line in last if line.startswith(f" => [{platform} 2/2] RUN for i in 1 2 3")
        ]
        assert [line for line in last if re.match(rf" => (CACHED )?\[{platform} 1/2\] FROM ", line)]
    assert [line for line in last if line.startswith(f" => => pushing manifest for {name}@sha256:")]
    assert all(len(line) <= 100 for line in last if line.startswith(" =>"))
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


def test_a_failure_on_a_terminal_shows_output_place_and_advice(context: Context) -> None:
    context.dockerfile(_FAILING)
    status, shown = _on_terminal("build", str(context.root))
    assert status == 1
    tail = shown[shown.rindex("------\n > [3/4] RUN") :]
    assert "compile 1\n" in tail
    assert "no such header\n" in tail
    assert "   3 | >>> RUN for i in" in tail
    assert " did not complete successfully: exit code: 2\n" in tail
    assert "\nhint: mend the command at the marked line" in tail
    assert " => ERROR [3/4] RUN for" in shown


def test_a_failure_in_a_log_shows_output_place_and_advice(context: Context) -> None:
    path = context.dockerfile(_FAILING)
    failed = context.build(check=False)
    assert failed.status == 1
    assert failed.log.step("[3/4]").outcome == "ERROR"
    _, rule, tail = failed.stderr.partition("------\n > [3/4] RUN")
    assert rule
    lines = tail.splitlines()
    assert [line.partition(" ")[2] for line in lines[1:11]] == [
        *(f"compile {i}" for i in range(22, 31)),
        "no such header",
    ]
    assert lines[11:14] == ["------", f"{path}:3", "--------------------"]
    assert lines[14].startswith("   1 |     FROM")
    assert lines[16].startswith("   3 | >>> RUN for i in")
    assert lines[-2].startswith("ERROR: failed to build: failed to solve: process ")
    assert lines[-1] == "hint: mend the command at the marked line; the steps before it stay cached"
    assert "never" not in "".join(step.name for step in failed.log.steps)


def test_steps_of_other_legs_are_canceled_when_one_fails(context: Context) -> None:
    with meeting(2) as url:
        context.dockerfile(
            "FROM BASE\nARG TARGETARCH\n"
            f"RUN wget -q -O /dev/null {url} && [ $TARGETARCH = amd64 ] && exec sleep 60\n"
        )
        begun = time.monotonic()
        failed = context.build(*BOTH, check=False)
        assert time.monotonic() - begun < 50
    assert failed.status == 1
    assert failed.log.step("[linux/amd64 2/2]").outcome == "CANCELED"
    assert failed.log.step("[linux/arm64 2/2]").outcome == "ERROR"


def test_quiet_prints_the_image_id_and_nothing_else(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo hello\n")
    for progress, options in (("", ["-q"]), ("quiet", [])):
        built = context.build(*options, progress=progress)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", built.stdout)
        assert built.stderr == ""


@pytest.mark.parametrize("options", [["-q"], ["--progress", "quiet"]])
def test_quiet_still_says_why_a_step_failed(context: Context, options: list[str]) -> None:
    context.dockerfile(_FAILING)
    failed = context.build(*options, progress="", check=False)
    assert failed.status == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("------\n > [3/4] RUN ")
    assert "no such header" in failed.stderr
    assert "hint: " in failed.stderr


def test_rawjson_tells_clients_everything(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo hello; echo bad >&2\n")
    built = context.build(*BOTH, progress="rawjson")
    messages = [json.loads(line) for line in built.stderr.splitlines() if line.startswith("{")]
    vertexes = {v["digest"]: v for m in messages for v in m.get("vertexes", ())}
    names = {v["name"] for v in vertexes.values()}
    assert {f"[linux/{a} 2/2] RUN echo hello; echo bad >&2" for a in ("amd64", "arm64")} <= names
    assert all(v["completed"] >= v["started"] for v in vertexes.values())
    said: dict[int, bytes] = {}
    for message in messages:
        for log in message.get("logs", ()):
            assert log["vertex"] in vertexes
            said[log["stream"]] = said.get(log["stream"], b"") + base64.b64decode(log["data"])
    assert said == {1: b"hello\n" * 2, 2: b"bad\n" * 2}


def test_plain_log_of_a_rebuild_says_cached(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo hello\nCOPY a /\n")
    context.file("a")
    context.build()
    log = context.build().log
    assert log.step("RUN echo hello").lines == ["CACHED"]
    assert log.step("COPY a /").lines == ["CACHED"]


def test_layers_that_come_in_are_told_at_their_from_line(context: Context) -> None:
    """Two stages and a step need the base at one time; each layer is fetched once."""
    context.dockerfile(
        "FROM BASE AS one\nRUN echo one > /one\nFROM BASE AS two\nRUN echo two > /two\n"
        "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    )
    log = context.build(*BOTH).log
    for platform in ("linux/amd64", "linux/arm64"):
        (step,) = [s for s in log.steps if s.name.startswith(f"[{platform}") and " FROM " in s.name]
        told = [line for line in step.lines if line.startswith("sha256:")]
        assert re.fullmatch(r"sha256:[0-9a-f]{64} (\S+) / \1( \d+\.\ds)? done", told[-1])
        assert step.outcome == "DONE"
    context.dockerfile("FROM BASE\nRUN echo again\n")
    assert "sha256:" not in "".join(context.build(*BOTH).log.step("amd64 1/2").lines)


def test_a_build_without_a_name_says_where_its_result_is(context: Context) -> None:
    context.dockerfile("FROM BASE\n")
    assert "it will only remain in the build cache" in context.build().stderr
    assert "only remain" not in context.build("-t", "named:1").stderr


@pytest.mark.parametrize("call", ["outline", "targets", "check"])
def test_what_a_dockerfile_describes_does_not_drive_the_terminal(
    context: Context, call: str
) -> None:
    trick = "\x1b]0;title\x07\x1b[2J"
    context.dockerfile(f"ARG A={trick}\n# all {trick}\nFROM scratch AS all\nARG B={trick}\n")
    with on_terminal([*VIADUCT, "build", "--call", call, str(context.root)]) as terminal:
        assert terminal.end() == 0
    assert b"\x1b]" not in terminal.written
    assert b"\x1b[2J" not in terminal.written
