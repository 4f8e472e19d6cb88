"""`viaduct.build` from programs: those with threads, whose engine is a child process, and those
that entered the namespaces first."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers, traces

import viaduct
from viaduct.base.errors import (
    BuildError,
    Canceled,
    DockerfileError,
    PlatformError,
    RegistryError,
    StepFailed,
    UsageError,
)
from viaduct.base.events import Finished, Log, Started
from viaduct.base.tasks import Stop
from viaduct.engine.request import Output
from viaduct.oci.platform import parse_list

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

    from viaduct.base.events import Event

_BOTH = parse_list(["linux/amd64,linux/arm64"])


def test_a_program_with_threads_builds_and_pushes(context: Context, registry: str) -> None:
    context.dockerfile("FROM BASE\nARG WHO\nRUN echo hello $WHO; echo bad >&2\nCOPY file /\n")
    context.file("file", "content")
    name = f"{registry}/api:1"
    events: list[Event] = []
    request = viaduct.BuildRequest(
        context=str(context.root),
        platforms=_BOTH,
        tags=(name,),
        outputs=(Output("image", names=(name,), push=True),),
        build_args={"WHO": "program"},
    )
    assert threading.active_count() > 1, "the registry of this test serves from threads"
    result = viaduct.build(request, events.append)
    assert result.root is not None
    assert result.names == (name,)
    assert [image.platform for image in result.images] == list(_BOTH)
    entries = readers.document(f"docker://{name}")["manifests"]
    assert [image.manifest.digest for image in result.images] == [e["digest"] for e in entries]
    names = {event.vertex: event.name for event in events if isinstance(event, Started)}
    assert "[linux/arm64 2/3] RUN echo hello program; echo bad >&2" in names.values()
    assert b"".join(e.data for e in events if isinstance(e, Log) and e.stream == 1) == (
        b"hello program\n" * 2
    )
    assert {event.vertex for event in events if isinstance(event, Finished)} == set(names)
    again: list[Event] = []
    second = viaduct.build(request, again.append)
    assert second.root == result.root
    steps = {e.vertex for e in again if isinstance(e, Started) and " RUN " in e.name}
    assert all(e.cached for e in again if isinstance(e, Finished) and e.vertex in steps)


def test_nothing_is_imported_from_the_directory_that_a_program_is_in(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be that of a context which somebody else wrote."""
    for module in ("msgspec", "pickle", "viaduct"):
        context.file(f"{module}.py", f"open('{context.root}/imported', 'w')\n")
    context.dockerfile("FROM scratch\n")
    monkeypatch.chdir(context.root)
    viaduct.build(viaduct.BuildRequest(context="."))
    assert not (context.root / "imported").exists()


def test_builds_from_several_threads_at_a_time(context: Context) -> None:
    context.dockerfile("FROM BASE\nARG N\nRUN echo $N\n")
    results: dict[int, object] = {}

    def build(number: int) -> None:
        request = viaduct.BuildRequest(
            context=str(context.root), build_args={"N": str(number)}, outputs=(Output("image"),)
        )
        results[number] = viaduct.build(request).root

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(str, results.values()))) == 3


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("FROM BASE\nRUNN x\n", DockerfileError, "unknown instruction: RUNN"),
        ("FROM BASE\nRUN exit 7\n", StepFailed, "exit code: 7"),
        ("FROM BASE\nCOPY nothing /\n", BuildError, '"/nothing": not found'),
        ("FROM 127.0.0.1:9/x\n", RegistryError, "127.0.0.1:9"),
        ("FROM --platform=linux/s390x BASE\nRUN true\n", PlatformError, "no match for platform"),
    ],
)
def test_errors_reach_the_program_as_they_were_raised(
    context: Context, text: str, kind: type[BuildError], said: str
) -> None:
    path = context.dockerfile(text)
    with pytest.raises(kind) as caught:
        viaduct.build(viaduct.BuildRequest(context=str(context.root)))
    assert said in caught.value.what
    assert caught.value.where is not None
    assert caught.value.where.source.name == str(path)
    if isinstance(caught.value, StepFailed):
        assert caught.value.exit_code == 7


def test_a_request_that_makes_no_sense_is_a_usage_error(context: Context) -> None:
    context.dockerfile("FROM BASE\n")
    request = viaduct.BuildRequest(context=str(context.root), outputs=(Output("image", push=True),))
    with pytest.raises(UsageError, match="tag is needed when pushing to registry"):
        viaduct.build(request)


def test_a_program_may_stop_its_build(context: Context, clean_env: Path) -> None:
    context.dockerfile("FROM BASE\nRUN echo ready; sleep 1000\n")
    stop = Stop()

    def watch(event: Event) -> None:
        if isinstance(event, Log):
            stop.set()

    with pytest.raises(Canceled):
        viaduct.build(viaduct.BuildRequest(context=str(context.root)), watch, stop=stop)
    assert traces.settled(str(clean_env)) == []


def test_a_program_with_threads_may_be_given_its_dockerfile_on_standard_input(
    busybox: str,
) -> None:
    script = (
        "import sys, threading, viaduct\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "request = viaduct.BuildRequest(context='-', labels={'a': 'b'})\n"
        "viaduct.build(request, lambda e: print(getattr(e, 'name', '')))\n"
    )
    command = [sys.executable, "-c", script]
    text = f"FROM {busybox}\nRUN echo from standard input\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[2/2] RUN echo from standard input" in done.stdout.splitlines()


def test_a_program_whose_listener_fails_ends_its_build(context: Context, clean_env: Path) -> None:
    context.dockerfile("FROM BASE\nRUN echo ready; while :; do echo $(seq 2000); done\n")

    def failing(event: Event) -> None:
        if isinstance(event, Log):
            raise RuntimeError("the program's own mistake")

    with pytest.raises(RuntimeError, match="own mistake"):
        viaduct.build(viaduct.BuildRequest(context=str(context.root)), failing)
    assert traces.settled(str(clean_env)) == []


def test_a_build_ends_with_the_program_that_asked_for_it(context: Context, clean_env: Path) -> None:
    context.dockerfile("FROM BASE\nRUN echo ready; sleep 1000\n")
    script = (
        "import sys, threading, viaduct\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def show(event):\n"
        "    if type(event).__name__ == 'Log':\n"
        "        print('ready', flush=True)\n"
        "viaduct.build(viaduct.BuildRequest(context=sys.argv[1]), show)\n"
    )
    command = [sys.executable, "-c", script, str(context.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.kill()
    assert traces.settled(str(clean_env)) == []


def test_a_program_without_threads_may_build_in_its_own_process(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo hello\n")
    script = (
        "import os, sys, viaduct\n"
        "from viaduct.base.events import Log\n"
        "from viaduct.sandbox import enter\n"
        "namespace = enter.enter()\n"
        "before = os.getpid()\n"
        "seen = []\n"
        "request = viaduct.BuildRequest(context=sys.argv[1])\n"
        "result = viaduct.build(request, seen.append)\n"
        "print(b''.join(e.data for e in seen if isinstance(e, Log)).decode(), end='')\n"
        "print(namespace.mode, len(result.warnings))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(context.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hello, last = done.stdout.splitlines()
    assert hello == "hello"
    assert last.split() == ["root" if os.geteuid() == 0 else "subids", "0"]


def test_a_program_that_imports_viaduct_pays_little_for_it() -> None:
    """Names are looked up when they are used; what a build needs is imported by the build."""
    script = (
        "import sys, viaduct\nviaduct.BuildRequest\nviaduct.build\n"
        "print(*sorted({'sqlite3', 'ssl', 'rich', 'click'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
