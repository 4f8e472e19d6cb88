"""How docker calls its plugin, and what it is told about it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

import viaduct
from viaduct.cli import docker_call, plugin
from viaduct.cli.docker_call import DockerCall

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

DOCKER = {"DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": "docker"}
# Every line was taken from docker 28.2 calling a plugin that prints its arguments.
CALLS = [
    ("buildx version", DockerCall("docker buildx", ["version"])),
    ("buildx build -t x .", DockerCall("docker buildx", ["build", "-t", "x", "."])),
    ("buildx", DockerCall("docker buildx", [])),
    ("buildx --help", DockerCall("docker buildx", ["--help"])),
    ("help buildx", DockerCall("docker buildx", ["--help"])),
    ("help buildx build", DockerCall("docker buildx", ["build", "--help"])),
    (
        "--context far buildx build .",
        DockerCall("docker buildx", ["build", "."], {"DOCKER_CONTEXT": "far"}),
    ),
    (
        "-H tcp://h:1 buildx --builder x build .",
        DockerCall("docker buildx", ["--builder", "x", "build", "."], {"DOCKER_HOST": "tcp://h:1"}),
    ),
    ("--debug -l info buildx ls", DockerCall("docker buildx", ["--debug", "ls"])),
    (
        "--config /d --tls buildx ls",
        DockerCall("docker buildx", ["ls"], {"DOCKER_CONFIG": "/d", "DOCKER_TLS": "1"}),
    ),
    (
        "--tlsverify --tlscacert /c/ca.pem buildx ls",
        DockerCall("docker buildx", ["ls"], {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}),
    ),
    ("__complete buildx bui", DockerCall("docker buildx", ["bui"], completing=True)),
    ("--future x buildx ls", DockerCall("docker buildx", ["ls"])),
    ("buildx build buildx", DockerCall("docker buildx", ["build", "buildx"])),
]


@pytest.mark.parametrize(("line", "call"), CALLS, ids=[line for line, _ in CALLS])
def test_docker_s_own_options_become_variables(line: str, call: DockerCall) -> None:
    assert docker_call.read(line.split(), DOCKER) == call


def test_without_docker_it_is_a_program_like_any_other() -> None:
    assert docker_call.read(["build", "."], {}) == DockerCall("buildx", ["build", "."])
    assert docker_call.read(["--help"], {}) == DockerCall("buildx", ["--help"])


def test_the_metadata_is_what_docker_asks_for() -> None:
    assert json.loads(plugin.metadata()) == {
        "SchemaVersion": "0.1.0",
        "Vendor": "Viaduct",
        "Version": f"v{viaduct.__version__}",
        "ShortDescription": "Build images for every architecture (Viaduct)",
    }


def test_the_metadata_costs_no_imports(viaduct: Run) -> None:
    """Docker asks for it before every single command."""
    program = (
        "import sys\n"
        "sys.argv = ['docker-buildx', 'docker-cli-plugin-metadata']\n"
        "from viaduct.cli import plugin\n"
        "try: plugin.main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'click', 'msgspec'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = viaduct(command=[sys.executable, "-c", program])
    assert json.loads(done.stdout)["SchemaVersion"] == "0.1.0"
    assert done.stderr == "\n"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["imageto"], ["imagetools\tWork on images in registries", ":4"]),
        (["create", "--driver", "docker"], ["docker-container", ":4"]),
        (["build", ""], [":16"]),
        (["create", "--buildkitd-config", ""], [":0"]),
    ],
)
def test_docker_completes_our_commands(words: list[str], lines: list[str], viaduct: Run) -> None:
    done = viaduct(
        "__complete",
        "buildx",
        *words,
        command=[sys.executable, "-c", "from viaduct.cli.plugin import main; main()"],
        env=DOCKER,
    )
    assert done.stdout.splitlines() == lines
