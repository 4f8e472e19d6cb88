"""`kill -9` at random points of builds and pushes, and several builds on one store at a time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers, registry_checks, traces
from tests.parts.command import VIADUCT
from tests.parts.contexts import BOTH
from tests.parts.docker_registry import free_port
from tests.parts.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.parts.contexts import Context

_KILLS = 50
_DOCKERFILE = """
FROM BASE AS tools
COPY round noise /in/
RUN sha256sum /in/* > /sums && ln /sums /again && mkdir -p /deep/er && mv /sums /deep/er/
FROM BASE
COPY --from=tools /deep /deep
RUN rm -rf /etc/issue && cat /deep/er/sums > /sums && chown -R 12:34 /deep
WORKDIR /work
COPY . .
"""


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[str]:
    """A registry whose content is ours to look through; it is kept in tmp_path/registry."""
    with running_registry(tmp_path) as address:
        yield address


def _arguments(context: Context, registry: str) -> list[str]:
    tags = ["-t", f"{registry}/killed:1", "-t", f"{registry}/killed/other:2"]
    return [*VIADUCT, "build", *BOTH, *tags, "--push", "--load", str(context.root)]


def _new_round(context: Context, number: int) -> None:
    """Change what the build reads, so that it has everything to do."""
    context.file("round", str(number))
    context.file("noise", random.Random(number).randbytes(300_000))


def _killed(arguments: list[str], seconds: float) -> bool:
    """Start a build and kill its process group after a while; whether it was still running."""
    with subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as build:
        try:
            build.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(build.pid, signal.SIGKILL)
            return True
    assert build.returncode == 0
    return False


def _torment(context: Context, registry: str, root: Path, kills: int) -> None:
    home = Path(os.environ["VIADUCT_HOME"])
    chance = random.Random(20_241_125)
    context.dockerfile(_DOCKERFILE)
    arguments = _arguments(context, registry)
    _new_round(context, 0)
    subprocess.run(arguments, check=True, capture_output=True)
    begun = time.monotonic()
    _new_round(context, 1)
    subprocess.run(arguments, check=True, capture_output=True)
    whole = time.monotonic() - begun
    killed = number = 0
    while killed < kills:
        number += 1
        _new_round(context, 1 + number)
        killed += _killed(arguments, chance.uniform(0, whole))
        for repository, tag in (("killed", "1"), ("killed/other", "2")):
            assert registry_checks.resolve_completely(registry, repository, tag)
        if number % 10 == 0:
            # The same round again: what the killed build left must serve or be passed over.
            done = subprocess.run(arguments, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
    done = subprocess.run(arguments, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert traces.settled(str(home)) == []
    assert traces.mounts(home) == []
    readers.check_layout(home / "content")
    assert registry_checks.check_blobs(root)
    reference = f"docker://{registry}/killed:1"
    last = readers.unpack(reference, root.parent / "last", platform="linux/arm64")
    assert (last / "work/round").read_text() == str(1 + number)
    assert (last / "sums").stat().st_size > 0
    assert _leftovers(home) == []


def _leftovers(home: Path) -> list[str]:
    """Snapshot directories that no build knows: the last build should have removed them."""
    import sqlite3

    with sqlite3.connect(f"file:{home / 'viaduct.db'}?mode=ro", uri=True) as db:
        known = {row[0] for row in db.execute("SELECT directory FROM snapshots")}
    db.close()
    return sorted(
        path.name for path in (home / "snapshots").iterdir() if path.name not in map(str, known)
    )


@pytest.mark.timeout(400)
def test_killed_builds_and_pushes_leave_everything_whole(
    context: Context, own_registry: str, tmp_path: Path
) -> None:
    _torment(context, own_registry, tmp_path / "registry", _KILLS)


@pytest.mark.soak
def test_many_killed_builds_and_pushes_leave_everything_whole(
    context: Context, own_registry: str, tmp_path: Path
) -> None:
    kills = int(os.environ.get("VIADUCT_SOAK_KILLS", "500"))
    _torment(context, own_registry, tmp_path / "registry", kills)


def test_a_registry_that_is_killed_during_pushes_keeps_what_it_has(
    context: Context, tmp_path: Path
) -> None:
    chance = random.Random(9)
    port, root = free_port(), tmp_path / "registry"
    context.dockerfile(_DOCKERFILE)
    arguments = _arguments(context, f"127.0.0.1:{port}")
    seconds = 0.0
    for number in range(12):
        with _serving(port, root) as server:
            if number:
                assert registry_checks.resolve_completely(f"127.0.0.1:{port}", "killed", "1")
            _new_round(context, number)
            begun = time.monotonic()
            if number == 0:
                subprocess.run(arguments, check=True, capture_output=True)
                seconds = time.monotonic() - begun
            else:
                # Pushing is the last part of a build.
                _killed(arguments, seconds * chance.uniform(0.5, 1.2))
            server.kill()
        assert registry_checks.check_blobs(root)
    with _serving(port, root):
        subprocess.run(arguments, check=True, capture_output=True)
        assert registry_checks.resolve_completely(f"127.0.0.1:{port}", "killed", "1")
        assert registry_checks.resolve_completely(f"127.0.0.1:{port}", "killed/other", "2")


@contextlib.contextmanager
def _serving(port: int, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A registry in a process of its own."""
    address = f"127.0.0.1:{port}"
    command = [*VIADUCT, "registry", "serve", "--addr", address, "--root", str(root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert address in server.stderr.readline()
            # Nobody reads its log from here on.
            server.stderr.close()
            yield server
        finally:
            server.kill()


@pytest.mark.parametrize("builds", [2, 5])
def test_builds_at_one_time_on_one_store_all_succeed(
    context: Context, registry: str, builds: int
) -> None:
    """All do the same work, and each something of its own."""
    context.dockerfile(
        "FROM BASE AS same\nRUN cat /proc/sys/kernel/random/uuid > /same\nCOPY noise /\n"
        "FROM same\nARG OWN\nRUN echo $OWN > /own\n"
    )
    context.file("noise", random.Random(builds).randbytes(1 << 20))
    running = [
        subprocess.Popen(
            [
                *[*VIADUCT, "build", *BOTH, "--build-arg", f"OWN={number}", "--push"],
                *[
                    "-t",
                    f"{registry}/together-{builds}:{number}",
                    "-t",
                    f"{registry}/moving:{builds}",
                    "--load",
                ],
                str(context.root),
            ],
            stderr=subprocess.PIPE,
        )
        for number in range(builds)
    ]
    for build in running:
        said = build.communicate()[1].decode()
        assert build.returncode == 0, said
    for number in range(builds):
        assert registry_checks.resolve_completely(registry, f"together-{builds}", str(number))
    readers.check_layout(Path(os.environ["VIADUCT_HOME"]) / "content")
