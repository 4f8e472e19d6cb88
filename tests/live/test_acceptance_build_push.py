"""Acceptance: the guide's build command, what it shows and what it leaves (S-46 to S-52)."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.parts import readers, tools
from tests.parts.command import viaduct
from tests.parts.contexts import BOTH, Context
from tests.parts.docker_engine import running_engine
from tests.parts.front import Exchange, running_front
from tests.parts.plainlog import PlainLog
from tests.parts.published import MACHINES
from tests.parts.shells import Shell, docker_shell
from tests.parts.site import meeting, serving_once_both_came


@pytest.fixture
def shell(tmp_path: Path, context: Context) -> Shell:
    """A shell in the build context in which `docker buildx` is Viaduct."""
    made = docker_shell(tmp_path / "bin", tools.docker(), context.root)
    made("viaduct install")
    return made


def guide(name: str, where: str) -> str:
    """The guide's command."""
    return (
        "docker buildx build \\\n  --platform linux/amd64,linux/arm64 \\\n"
        f"  --tag {name} \\\n  --push \\\n  {where}"
    )


def frames(shell: Shell, command: str) -> list[list[str]]:
    """The lines of each picture that a build draws on a terminal, from the first to the last."""
    line = f"stty cols 120 rows 40; {command}"
    written = shell(f"script -qec {shlex.quote(line)} /dev/null", TERM="xterm-256color")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written)
    return [f"[+] Building {frame}".splitlines() for frame in shown.split("[+] Building ")[1:]]


def test_s46_both_legs_are_built_at_one_time_and_each_step_shows_its_own(
    shell: Shell, context: Context, registry: str
) -> None:
    name = f"{registry}/s46:1"
    with meeting(2) as url:
        context.dockerfile(f"FROM BASE\nRUN wget -q -O /got {url}\n")
        told = shell(guide(name, "."), check=False, BUILDKIT_PROGRESS="rawjson")
    vertexes: dict[str, dict[str, Any]] = {}
    for line in told.splitlines():
        if line.startswith("{"):
            for vertex in json.loads(line).get("vertexes", ()):
                vertexes[vertex["name"]] = vertex
    amd64, arm64 = (vertexes[f"[linux/{arch} 2/2] RUN wget -q -O /got {url}"] for arch in MACHINES)
    assert amd64["started"] < arm64["completed"]
    assert arm64["started"] < amd64["completed"]
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    log = PlainLog(shell(guide(name, str(context.root)), check=False))
    for arch in MACHINES:
        assert re.fullmatch(r"DONE \d+\.\ds", log.step(f"[linux/{arch} 2/2] RUN").lines[-1])


def test_s47_the_context_is_a_directory_with_a_dockerfile(context: Context, tmp_path: Path) -> None:
    context.dockerfile("FROM BASE\nCOPY here/note /note\nRUN cat /note\n")
    context.file("here/note", "found\n")
    for number, (where, cwd) in enumerate(
        ((".", context.root), ("..", context.root / "here"), (str(context.root), tmp_path))
    ):
        tag = f"s47:{number}"
        viaduct("build", "--no-cache", "--load", "-t", tag, where, cwd=cwd)
        assert viaduct("run", "--rm", tag, "cat", "/note").stdout == b"found\n"


def test_s48_two_pipelines_run_side_by_side_and_the_native_one_has_no_emulator(
    context: Context,
) -> None:
    """Looked at from outside while a step of each leg waits for the other."""
    seen: dict[str, set[str]] = {}
    with serving_once_both_came(lambda: seen.update(_programs_by_leg())) as address:
        context.dockerfile(
            "FROM BASE\nRUN touch /s48-$(uname -m) && wget -q -O /dev/null "
            f"http://{address}/$(uname -m)\n"
        )
        context.build(*BOTH)
    here = os.uname().machine
    assert set(seen) == set(MACHINES.values())
    for machine, programs in seen.items():
        emulated = [name for name in programs if name.startswith("qemu-")]
        assert (emulated == []) == (machine == here)


def _programs_by_leg() -> dict[str, set[str]]:
    """The executables of the processes of each leg's step, by the mark in its root directory."""
    found: dict[str, set[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marks = [name for name in os.listdir(process / "root") if name.startswith("s48-")]
            program = os.readlink(process / "exe")
        except OSError:
            continue  # it ended, or belongs to somebody else
        for mark in marks:
            found.setdefault(mark.removeprefix("s48-"), set()).add(program.rpartition("/")[2])
    return found


def test_s49_the_tag_appears_when_all_is_there_and_stays_when_a_leg_fails(
    context: Context, registry: str
) -> None:
    visible: list[tuple[str, int]] = []

    def look(exchange: Exchange) -> bool:
        """At every upload of a manifest: which it is, and what the tag then says."""
        if exchange.matches("PUT", "/manifests/"):
            asked = ("imagetools", "inspect", f"{registry}/s49:1")
            status = viaduct(*asked, check=False).returncode
            visible.append((exchange.path.rpartition("/")[2], status))
        return False

    with running_front(registry, look) as door:
        name = f"{door.address}/s49:1"
        context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
        context.build(*BOTH, "-t", name, "--push")
        *children, (last, _) = visible
        assert len(children) >= 2
        assert last == "1"
        assert all(path.startswith("sha256:") for path, _ in children)
        assert {status for _, status in visible} == {1}, "nothing was there before the last one"
        before = readers.raw(f"docker://{registry}/s49:1")
        visible.clear()
        context.dockerfile("FROM BASE\nARG TARGETARCH\nRUN [ $TARGETARCH = amd64 ]\n")
        failed = context.build(*BOTH, "-t", name, "--push", check=False)
    assert failed.status == 1
    assert visible == []
    assert readers.raw(f"docker://{registry}/s49:1") == before


def test_s50_after_a_push_no_local_store_has_the_image(
    context: Context, registry: str, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    name = f"{registry}/s50:1"
    with running_engine(tmp_path) as engine:
        at_engine = {**os.environ, "DOCKER_HOST": engine.address}
        context.build(*BOTH, "--tag", name, "--push", env=at_engine)
        assert engine.archives == []
    assert viaduct("images", "--format", "{{.Repository}}").stdout == b""
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


def test_s51_the_final_log_is_the_guides(shell: Shell, context: Context, registry: str) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    name = f"{registry}/s51:1"
    head, *lines = frames(shell, guide(name, ".").replace("\\\n", " "))[-1]
    assert re.match(r"\[\+\] Building \d+\.\ds \((\d+)/\1\) FINISHED\b", head)
    for arch in MACHINES:
        assert [
            line for line in lines if line.startswith(f" => [linux/{arch} 1/2] FROM {context.base}")
        ]
        assert [line for line in lines if line.startswith(f" => [linux/{arch} 2/2] RUN uname -m")]
    assert [line for line in lines if line.startswith(f" => => pushing manifest for {name}")]


def test_s52_a_silent_step_shows_progress_and_an_emulated_one_says_so(
    shell: Shell, context: Context
) -> None:
    context.dockerfile("FROM BASE\nRUN sleep 1.5\n")
    pictures = frames(shell, f"docker buildx build {' '.join(BOTH)} .")
    for arch in MACHINES:
        rows = [
            line
            for frame in pictures
            for line in frame
            if line.startswith(f" => [linux/{arch} 2/2] RUN")
        ]
        assert len({line.split()[-1] for line in rows}) >= 3, "its time goes on"
        emulated = MACHINES[arch] != os.uname().machine
        assert all(("emulated" in line) == emulated for line in rows[-3:])
    context.dockerfile("FROM BASE\nRUN true\n")
    log = context.build(*BOTH).log
    for arch, machine in MACHINES.items():
        said = f"emulated (linux/{arch})" in log.step(f"[linux/{arch} 2/2] RUN").lines
        assert said == (machine != os.uname().machine)
