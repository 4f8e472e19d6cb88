"""Ctrl-C, SIGTERM and SIGKILL: what runs ends, nothing is left, no tag is half moved."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from base64 import b64decode
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.parts import front, readers, traces
from tests.parts.command import VIADUCT
from tests.parts.contexts import BOTH
from tests.parts.terminal import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.contexts import Context

_ENDS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def _nothing_is_left(clean_env: Path, context: Context) -> Iterator[None]:
    """No process, mount or container outlives the command; its store serves the next build."""
    yield
    assert traces.settled(str(clean_env)) == []
    assert traces.mounts(clean_env) == []
    for runtime in ("runc", "crun"):
        listed = subprocess.run(
            [runtime, "list", "--quiet"],
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        # Ours are called so; others may belong to whoever else uses this machine.
        assert b"step-" not in listed.stdout
    context.dockerfile("FROM BASE\nRUN echo still works\n")
    context.build()
    readers.check_layout(clean_env / "content")


@contextlib.contextmanager
def _building(
    context: Context, *options: str, progress: str = "plain"
) -> Iterator[subprocess.Popen[str]]:
    """A build under way in a process group of its own."""
    with subprocess.Popen(
        [*VIADUCT, "build", "--progress", progress, *options, str(context.root)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as build:
        try:
            yield build
        finally:
            if build.poll() is None:
                os.killpg(build.pid, signal.SIGKILL)


def _until(stream: IO[str] | None, text: str) -> None:
    """Read lines up to the one that ends in `text`."""
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if line.rstrip().endswith(text):
            return
    raise AssertionError("".join(seen))


def _message(line: str) -> dict[str, Any]:
    """What a line of a raw log says; lines for people say nothing."""
    message: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return message


@pytest.mark.parametrize(("number", "status"), _ENDS)
@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_signal_ends_running_steps_of_all_platforms(
    context: Context,
    number: signal.Signals,
    status: int,
    runtime: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIADUCT_RUNTIME", runtime)
    context.dockerfile("FROM BASE\nRUN (sleep 1000 &) ; echo ready ; sleep 1000\n")
    # A plain log shows one platform at a time; this one shows both at once.
    with _building(context, *BOTH, progress="rawjson") as build:
        assert build.stderr is not None
        running: set[str] = set()
        while len(running) < 2:
            message = _message(next(build.stderr))
            logs = message.get("logs", ())
            running |= {log["vertex"] for log in logs if b64decode(log["data"]) == b"ready\n"}
        build.send_signal(number)
        rest = list(build.stderr)
    assert build.returncode == status
    vertexes = [vertex for line in rest for vertex in _message(line).get("vertexes", ())]
    canceled = {vertex["digest"] for vertex in vertexes if "canceled" in vertex.get("error", "")}
    assert canceled == running
    assert rest[-1] == "ERROR: canceled\n"


def test_a_step_may_clean_up_before_it_ends(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\n"
        "RUN trap 'echo tidied up; exit 7' TERM; echo ready; while :; do sleep 0.1; done\n"
    )
    with _building(context) as build:
        _until(build.stderr, " ready")
        build.terminate()
        assert build.stderr is not None
        rest = build.stderr.read()
    assert build.returncode == 143
    assert " tidied up\n" in rest
    assert rest.endswith(" CANCELED\nERROR: canceled\n")


def test_a_step_that_ignores_signals_is_killed(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN trap '' TERM INT; echo ready; while :; do sleep 1; done\n")
    with _building(context) as build:
        _until(build.stderr, " ready")
        build.terminate()
        assert build.wait(30) == 143


def test_ctrl_c_on_a_terminal_ends_the_build(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo ready; sleep 1000\n")
    with on_terminal([*VIADUCT, "build", str(context.root)]) as terminal:
        terminal.read_until("# ready")
        terminal.press(b"\x03")
        assert terminal.end() == 130
    assert "CANCELED" in terminal.shown
    assert terminal.shown.endswith("ERROR: canceled\n")


def test_killing_the_command_kills_everything_inside(context: Context) -> None:
    """Only the process that the user sees is killed; its children have to notice."""
    context.dockerfile("FROM BASE\nRUN (sleep 1000 &) ; echo ready; sleep 1000\n")
    with _building(context, *BOTH) as build:
        _until(build.stderr, " ready")
        build.kill()
        build.wait()


def test_a_registry_that_never_answers_can_be_given_up(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        context.dockerfile(f"FROM 127.0.0.1:{server.getsockname()[1]}/silent:1\n")
        with _building(context) as build:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                build.send_signal(signal.SIGINT)
                assert build.wait(10) == 130


def test_a_build_that_waits_for_another_can_be_given_up(context: Context) -> None:
    """Both want the same locked cache mount."""
    mount = "--mount=type=cache,target=/cache,sharing=locked"
    context.dockerfile(f"FROM BASE\nARG N\nRUN {mount} echo got $N; sleep 1000\n")
    with _building(context, "--build-arg", "N=1") as first:
        _until(first.stderr, " got 1")
        with _building(context, "--build-arg", "N=2") as second:
            _until(second.stderr, "RUN " + mount + " echo got 2; sleep 1000")
            second.send_signal(signal.SIGTERM)
            assert second.wait(10) == 143
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 143


@pytest.mark.parametrize(("number", "status"), _ENDS)
@pytest.mark.parametrize("what", ["blobs/uploads", "manifests"])
def test_a_signal_during_a_push_leaves_the_old_tag(
    context: Context, registry: str, number: signal.Signals, status: int, what: str
) -> None:
    repository = f"stopped-{number.name.lower()}-{what.partition('/')[0]}"
    context.dockerfile("FROM BASE\nRUN echo before > /state\n")
    context.build(*BOTH, "-t", f"{registry}/{repository}:1", "--push")
    before = readers.raw(f"docker://{registry}/{repository}:1")
    context.dockerfile("FROM BASE\nRUN echo after > /state\n")
    arrived, release = threading.Event(), threading.Event()

    def hold(exchange: front.Exchange) -> bool:
        if exchange.matches("POST PATCH PUT", f"/v2/{repository}/{what}"):
            arrived.set()
            release.wait(60)
            exchange.reset()
            return True
        return False

    with front.running_front(registry, hold) as proxy:
        name = f"{proxy.address}/{repository}:1"
        with _building(context, *BOTH, "-t", name, "--push") as build:
            assert arrived.wait(60)
            build.send_signal(number)
            assert build.wait(20) == status
        release.set()
    assert readers.raw(f"docker://{registry}/{repository}:1") == before
