"""Acceptance: where the result goes, and under which name (S-24 to S-29)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers
from tests.parts.command import viaduct
from tests.parts.contexts import BOTH, Built, Context
from tests.parts.docker_engine import DockerEngine, running_engine
from tests.parts.docker_registry import running_docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NO_LISTS = "docker exporter does not currently support exporting manifest lists"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DockerEngine]:
    """A Docker engine with the classic image store."""
    with running_engine(tmp_path) as found:
        yield found


def at(engine: DockerEngine) -> dict[str, str]:
    """An environment in which docker's commands mean this engine."""
    return {**os.environ, "DOCKER_HOST": engine.address}


def stored() -> list[str]:
    """What our own store has, with the platforms."""
    form = "{{.Repository}}:{{.Tag}} {{.Platforms}}"
    return viaduct("images", "--format", form).stdout.decode().splitlines()


def tags_of(archive: Path) -> list[str]:
    """The names in an archive for Docker, as skopeo reads them."""
    listing = ("skopeo", "list-tags", f"docker-archive:{archive}")
    done = subprocess.run(listing, check=True, capture_output=True)
    tags = json.loads(done.stdout)["Tags"]
    assert isinstance(tags, list)
    return tags


def test_s24_one_platform_is_loaded_where_images_are_run(
    engine: DockerEngine, context: Context, tmp_path: Path
) -> None:
    """Into the engine where there is one, into our own store where there is none."""
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    context.build("--load", "-t", "s24:1", env=at(engine))
    (archive,) = engine.archives
    assert tags_of(archive) == ["s24:1"]
    assert stored() == []
    context.build("--load", "-t", "s24:2")
    assert len(engine.archives) == 1
    assert stored() == ["s24:2 linux/amd64"]


@pytest.mark.parametrize("output", [("--load",), ("-o", "type=docker"), ("-o", "type=docker,dest")])
def test_s25_several_platforms_are_not_loaded_and_the_remedy_is_told(
    engine: DockerEngine, context: Context, tmp_path: Path, output: Sequence[str]
) -> None:
    """By the classic store, and for Docker's archives. Our own store holds them."""
    context.dockerfile("FROM BASE\nRUN echo never\n")
    if output[-1].endswith("dest"):
        # The archive of many platforms is the peers' with another text, and another remedy.
        output = ("-o", f"type=docker,dest={tmp_path}/image.tar")
        said = "docker exporter does not support exporting manifest lists, use the oci exporter"
        remedies = [f"-o type=oci,dest={tmp_path}/image.tar"]
    else:
        said, remedies = NO_LISTS, ["--push", "one --platform", "-o type=oci,dest="]
    refused = context.build(*BOTH, *output, "-t", "s25:1", env=at(engine), check=False)
    assert refused.status == 1
    assert said in refused.stderr
    for remedy in remedies:
        assert remedy in refused.stderr
    assert refused.log.names == [], "before any step"
    assert engine.archives == []
    if output == ("--load",):
        context.build(*BOTH, "--load", "-t", "s25:1")
        assert stored() == ["s25:1 linux/amd64, linux/arm64"]


def test_s26_several_platforms_are_pushed_to_any_registry(
    context: Context, registry: str, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    with running_docker_registry(tmp_path) as other:
        names = [f"{address}/s26:1" for address in (registry, other)]
        context.build(*BOTH, "-t", names[0], "-t", names[1], "--push")
        for name in names:
            assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
            assert readers.unpack(
                f"docker://{name}", tmp_path / name.replace("/", "-"), platform="linux/arm64"
            )


def test_s27_together_the_load_error_wins_and_one_platform_does_both(
    engine: DockerEngine, context: Context, registry: str
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    name = f"{registry}/s27:1"

    def both(*platforms: str, check: bool) -> Built:
        return context.build(
            *platforms, "--push", "--load", "-t", name, env=at(engine), check=check
        )

    refused = both(*BOTH, check=False)
    assert refused.status == 1
    assert NO_LISTS in refused.stderr
    assert refused.log.names == []
    assert viaduct("imagetools", "inspect", name, check=False).returncode == 1
    assert engine.archives == []
    both("--platform", "linux/arm64", check=True)
    assert readers.config(f"docker://{name}", "linux/arm64")["architecture"] == "arm64"
    assert len(engine.archives) == 1


def test_s28_the_guides_way_to_try_one_foreign_platform(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    command = ("build", "--platform", "linux/arm64", "--load", "--tag", "myimage:test", ".")
    viaduct(*command, cwd=context.root)
    assert stored() == ["myimage:test linux/arm64"]
    shown = viaduct("run", "--rm", "--platform", "linux/arm64", "myimage:test", "cat", "/machine")
    assert shown.stdout == b"aarch64\n"


def test_s29_names_are_read_as_docker_reads_them(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """skopeo tells what became of each."""
    context.dockerfile("FROM BASE\n")
    names = {
        "localhost:5000/ns/image:tag": "localhost:5000/ns/image:tag",
        "registry.example.com/ns/image:tag": "registry.example.com/ns/image:tag",
        # What is Docker's own registry needs no saying in a name that Docker shows.
        "docker.io/myuser/myimage:latest": "myuser/myimage:latest",
        "ghcr.io/myorg/myimage:v1.0": "ghcr.io/myorg/myimage:v1.0",
        "myuser/other": "myuser/other:latest",
        "short": "short:latest",
    }
    archive = tmp_path / "image.tar"
    tags = [word for name in names for word in ("-t", name)]
    context.build(*tags, "-o", f"type=docker,dest={archive}")
    assert tags_of(archive) == list(names.values())
    context.build(*BOTH, "-t", f"{registry}/s29/ns/image", "--push")
    assert readers.platforms(f"docker://{registry}/s29/ns/image:latest")
    nameless = context.build(*BOTH, "--push", check=False)
    assert nameless.status == 1
    assert "tag is needed when pushing to registry" in nameless.stderr
    assert nameless.log.names == []
