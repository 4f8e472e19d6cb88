"""Loading into a Docker engine where one answers: the archive it gets, and what it cannot hold."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers
from tests.parts.command import viaduct
from tests.parts.contexts import BOTH
from tests.parts.docker_engine import DockerEngine, running_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.contexts import Context


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[DockerEngine]:
    """An engine with the classic image store."""
    with running_engine(tmp_path) as engine:
        yield engine


def at(engine: DockerEngine) -> dict[str, str]:
    """An environment in which docker's commands mean this engine."""
    return {**os.environ, "DOCKER_HOST": engine.address}


def stored() -> list[str]:
    """What our own store has."""
    return viaduct("images", "--format", "{{.Repository}}").stdout.decode().split()


def hello(context: Context) -> Context:
    context.dockerfile("FROM BASE\nRUN echo $(uname -m) > /machine\nCMD cat /machine\n")
    return context


def test_load_sends_the_image_to_the_engine(
    classic: DockerEngine, context: Context, tmp_path: Path
) -> None:
    hello(context).build("--platform", "linux/arm64", "--load", "-t", "it:1", env=at(classic))
    (archive,) = classic.archives
    rootfs = readers.unpack(
        f"docker-archive:{archive}:it:1", tmp_path / "out", platform="linux/arm64"
    )
    assert (rootfs / "machine").read_text() == "aarch64\n"
    assert stored() == []


def test_a_plain_build_loads_as_docker_build_does(classic: DockerEngine, context: Context) -> None:
    hello(context).build("-t", "it:1", env=at(classic))
    context.build("-t", "it:2", env={**at(classic), "BUILDX_NO_DEFAULT_LOAD": "true"})
    assert len(classic.archives) == 1


def test_without_being_asked_several_platforms_go_into_our_own_store(
    classic: DockerEngine, context: Context
) -> None:
    hello(context).build(*BOTH, "-t", "it:1", env=at(classic))
    assert classic.archives == []
    assert stored() == ["it"]


def test_the_containerd_store_takes_several_platforms(context: Context, tmp_path: Path) -> None:
    with running_engine(tmp_path, holds_indexes=True) as engine:
        hello(context).build(*BOTH, "--load", "-t", "it:1", env=at(engine))
        (archive,) = engine.archives
    assert readers.platforms(f"oci-archive:{archive}") == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DOCKER_HOST", "tcp://127.0.0.1:1", "DOCKER_HOST=tcp://127.0.0.1:1 does not answer"),
        ("DOCKER_HOST", "ssh://somebody@example.com", "somebody@example.com does not answer"),
        ("DOCKER_CONTEXT", "default", ""),
    ],
)
def test_an_engine_that_was_named_and_does_not_answer_is_told(
    context: Context, name: str, value: str, said: str
) -> None:
    env = {key: text for key, text in os.environ.items() if not key.startswith("DOCKER_")}
    env["DOCKER_CONFIG"] = os.environ["DOCKER_CONFIG"]
    built = hello(context).build("--load", "-t", "it:1", env={**env, name: value})
    assert ("does not answer: the image goes to the local store" in built.stderr) == bool(said)
    assert said in built.stderr
    assert stored() == ["it"]


def test_what_the_engine_says_is_passed_on(classic: DockerEngine, context: Context) -> None:
    classic.refusal = "no space left on device"
    failed = hello(context).build("--load", "-t", "it:1", env=at(classic), check=False)
    assert failed.status == 1
    assert "the Docker engine refused the image: no space left on device" in failed.stderr


def test_the_engine_is_that_of_docker_s_context(classic: DockerEngine, context: Context) -> None:
    root = os.path.join(os.environ["DOCKER_CONFIG"], "contexts/meta")
    folder = os.path.join(root, hashlib.sha256(b"far").hexdigest())
    os.makedirs(folder)
    with open(os.path.join(folder, "meta.json"), "w") as meta:
        json.dump({"Name": "far", "Endpoints": {"docker": {"Host": classic.address}}}, meta)
    hello(context).build("--load", "-t", "it:1", env={**os.environ, "DOCKER_CONTEXT": "far"})
    assert len(classic.archives) == 1
