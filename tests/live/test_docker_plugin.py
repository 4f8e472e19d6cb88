"""Docker's own command line with Viaduct as its `buildx`, and no daemon anywhere."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers, tools
from tests.parts.shells import docker_shell

import viaduct as package

if TYPE_CHECKING:
    from tests.parts.contexts import Context
    from tests.parts.shells import Shell

#: Command lines of Docker to try: the one that is installed, and an old one.
CLIENTS = {"Debian's": tools.debian_docker}
if shutil.which("docker"):
    CLIENTS["installed"] = tools.docker
#: Nobody else sleeps for as long.
SLEEP = f"sleep 1{os.getpid()}"
SLEEPER = f"FROM BASE\nRUN echo begun && {SLEEP}\n"


@pytest.fixture
def bare(tmp_path: Path, context: Context) -> Shell:
    """A shell in the build context, without the plugin."""
    return docker_shell(tmp_path / "bin", tools.docker(), context.root)


@pytest.fixture
def shell(request: pytest.FixtureRequest, tmp_path: Path, context: Context) -> Shell:
    """A shell in the build context after `viaduct install`."""
    made = docker_shell(tmp_path / "bin", getattr(request, "param", tools.docker)(), context.root)
    made("viaduct install")
    return made


#: For what docker itself decides: `shell` with each of its command lines in turn.
EACH = pytest.mark.parametrize("shell", CLIENTS.values(), ids=CLIENTS, indirect=True)


@EACH
def test_the_guide_as_it_is_written(shell: Shell, context: Context, registry: str) -> None:
    """The migration guide's commands from its second step on: the first one, which wants root to
    register emulators, is none here."""
    name = f"localhost:{registry.rpartition(':')[2]}/ns/guide-{os.path.basename(context.root)}:1"
    context.dockerfile(
        "FROM BASE\n"
        "ARG TARGETARCH\n"
        'RUN case "${TARGETARCH}" in \\\n'
        '      amd64) BINARY_URL="https://example.com/tool-linux-amd64" ;; \\\n'
        '      arm64) BINARY_URL="https://example.com/tool-linux-arm64" ;; \\\n'
        "    esac && \\\n"
        '    echo "${BINARY_URL}" > /url\n'
    )
    # Step 2
    version = shell("docker buildx version")
    assert re.fullmatch(rf"\S+ v{re.escape(package.__version__)} linux/\w+\n", version)
    # Step 3
    create = "docker buildx create \\\n  --name multi-builder \\\n"
    create += "  --driver docker-container \\\n  --use\n"
    assert shell(create) == "multi-builder\n"
    # Step 4
    page = shell("docker buildx inspect --bootstrap")
    assert re.search(r"^Name: +multi-builder$", page, re.MULTILINE)
    assert re.search(r"^Driver: +docker-container$", page, re.MULTILINE)
    assert re.search(r"^Name: +multi-builder0$", page, re.MULTILINE)
    assert re.search(r"^Status: +running$", page, re.MULTILINE)
    platforms = re.search(r"^Platforms: +(.*)$", page, re.MULTILINE)
    assert platforms is not None
    assert {"linux/amd64", "linux/arm64"} <= set(platforms[1].split(", "))
    # Step 5
    shell(
        "docker buildx build \\\n  --platform linux/amd64,linux/arm64 \\\n"
        f"  --tag {name} \\\n  --push \\\n  .\n"
    )
    # Verify the manifest list in the registry
    found = shell(f"docker buildx imagetools inspect {name}")
    assert re.findall(r"^  Platform: +(.*)$", found, re.MULTILINE) == ["linux/amd64", "linux/arm64"]
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    # Pull and test a specific platform variant: pulling and running is not buildx's
    shell(f"viaduct pull --platform linux/arm64 {name}")
    assert shell(f"viaduct run --rm --platform linux/arm64 {name} uname -m") == "aarch64\n"
    url = shell(f"viaduct run --rm --platform linux/arm64 {name} cat /url")
    assert url == "https://example.com/tool-linux-arm64\n"
    # List active builders
    rows = shell("docker buildx ls").splitlines()
    assert rows[1].startswith("multi-builder *")
    assert re.search(r"multi-builder0 .* running .*linux/arm64", rows[2])
    # --load fails when multiple platforms are specified: it does for Docker's classic store only
    shell("docker buildx build --platform linux/arm64 --load --tag myimage:test .")
    assert shell("viaduct run --rm --platform linux/arm64 myimage:test uname -m") == "aarch64\n"
    # Builder shows inactive status
    shell("docker buildx stop multi-builder")
    assert "inactive" in shell("docker buildx ls")
    shell("docker buildx rm multi-builder")
    assert shell("docker buildx create --name multi-builder --driver docker-container --use")
    assert "running" in shell("docker buildx inspect --bootstrap")


@EACH
@pytest.mark.parametrize("command", ["build", "builder build", "image build"])
def test_plain_docker_build_is_ours(command: str, shell: Shell, context: Context) -> None:
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    identity = shell(f"docker {command} -q -t plain:1 .")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", identity)
    assert "plain" in shell("viaduct images")


@EACH
def test_docker_s_own_options_reach_us(shell: Shell, context: Context) -> None:
    shell("docker context create far --docker host=unix:///nowhere/docker.sock")
    rows = shell("docker --context far buildx ls").splitlines()
    assert [row.split()[:2] for row in rows if row.startswith(("default", "far"))] == [
        ["default", "docker"],
        ["far", "*"],
    ]
    assert "Name:   far\n" in shell("docker -c far buildx inspect")
    missing = shell("docker buildx --builder nope build .", check=False)
    assert missing.startswith('ERROR: no builder "nope" found\n')
    assert "Traceback (most recent call last)" in shell("docker -D buildx inspect x", check=False)
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    # Docker names its context as the builder of a plain build.
    shell("docker --context far build -q .")


@EACH
def test_docker_shows_our_help(shell: Shell) -> None:
    assert re.search(r"^  buildx\*? +Build images for every architecture", shell("docker --help"),
                     re.MULTILINE)  # fmt: skip
    for line in ("docker buildx --help", "docker buildx", "docker help buildx"):
        assert shell(line).startswith("Usage:  docker buildx [OPTIONS] COMMAND\n"), line
    for line in ("docker buildx build --help", "docker help buildx build"):
        assert shell(line).startswith("Usage:  docker buildx build [OPTIONS] PATH | URL | -\n"), (
            line
        )
    wrong = shell("docker buildx biuld", check=False)
    assert wrong.startswith('ERROR: unknown command: "biuld"\nhint: did you mean build?\n')


def test_every_command_of_the_guide_is_reached_through_docker(shell: Shell) -> None:
    names = "version create use inspect ls rm stop build imagetools du prune".split()
    for name in names:
        page = shell(f"docker buildx {name} --help")
        assert page.startswith(f"Usage:  docker buildx {name} "), name


def test_installing_names_what_was_there_and_brings_it_back(bare: Shell) -> None:
    plugins = os.path.join(os.environ["DOCKER_CONFIG"], "cli-plugins")
    plugin = os.path.join(plugins, "docker-buildx")
    os.makedirs(plugins)
    metadata = {"SchemaVersion": "0.1.0", "Vendor": "Somebody", "ShortDescription": "Other"}
    with open(plugin, "w") as file:
        file.write(f"#!/bin/sh\necho '{json.dumps(metadata)}'\n")
    os.chmod(plugin, 0o755)
    said = bare("viaduct install").splitlines()
    assert said[0] == f"installed {plugin}"
    kept = said[1].removeprefix("the plugin that was there is kept as ")
    assert os.path.exists(kept)
    assert bare("docker buildx version").startswith("viaduct v")
    # Nothing that docker would complain about was left in its folder.
    assert "Invalid" not in bare("docker info --format '{{json .ClientInfo}}' || true")
    assert bare("viaduct install --uninstall").splitlines() == [
        f"removed {plugin}",
        "the plugin that was there before is back",
    ]
    assert "Somebody" in bare("docker buildx")
    assert not os.path.exists(kept)


def test_uninstalling_leaves_docker_as_it_was(bare: Shell) -> None:
    before = bare("docker buildx version", check=False)
    config = os.path.join(os.environ["DOCKER_CONFIG"], "config.json")
    os.makedirs(os.environ["DOCKER_CONFIG"])
    with open(config, "w") as file:
        file.write('{"auths":{}}')
    bare("viaduct install")
    bare("viaduct install --uninstall")
    assert bare("docker buildx version", check=False) == before
    with open(config) as file:
        assert json.load(file) == {"auths": {}}
    gone = bare("viaduct install --uninstall", check=False)
    assert gone.startswith("ERROR: there is no plugin at ")


def test_a_module_in_the_current_directory_is_not_run(shell: Shell, context: Context) -> None:
    for name in ("viaduct/__init__.py", "click.py", "sitecustomize.py"):
        context.file(name, 'raise SystemExit("hostile")\n')
    assert shell("docker buildx version").startswith("viaduct v")


def test_docker_is_told_the_version_that_is_there(shell: Shell, tmp_path: Path) -> None:
    """The plugin's file knows an answer; after an upgrade it asks for a new one."""
    plugin = Path(os.environ["DOCKER_CONFIG"]) / "cli-plugins/docker-buildx"
    question = f"'{plugin}' docker-cli-plugin-metadata"
    told = json.loads(shell(question))
    assert (told["Vendor"], told["Version"]) == ("Viaduct", f"v{package.__version__}")
    plugin.write_text(plugin.read_text().replace(f"v{package.__version__}", "v0.0.1"))
    assert json.loads(shell(question))["Version"] == "v0.0.1"
    os.utime(plugin, (1, 1))
    assert json.loads(shell(question)) == told


def test_a_plugin_whose_viaduct_is_gone_says_what_to_do(shell: Shell) -> None:
    plugin = Path(os.environ["DOCKER_CONFIG"]) / "cli-plugins/docker-buildx"
    plugin.write_text(plugin.read_text().replace(sys.executable, "/nowhere/python"))
    said = shell(f"'{plugin}' version", check=False)
    assert said.startswith("Viaduct is no longer at /nowhere/python: install it again, or remove ")


def test_ctrl_c_in_a_terminal_ends_the_build_and_its_steps(shell: Shell, context: Context) -> None:
    context.dockerfile(SLEEPER)
    terminal, inside = pty.openpty()
    # setsid makes it the terminal whose Ctrl-C reaches docker and, at the same time, the plugin.
    build = subprocess.Popen(
        ["setsid", "--ctty", "docker", "build", "--progress", "plain", "."],
        cwd=shell.where,
        env=shell.env({}),
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    with build:
        shown = _read_until(terminal, rb"#\d+ [\d.]+ begun")
        os.write(terminal, b"\x03")
        shown += _read_until(terminal, None)
    os.close(terminal)
    assert build.returncode == 130, shown.decode()
    assert b"CANCELED" in shown
    assert _sleepers() == []


def test_a_docker_that_is_told_to_end_takes_the_build_along(context: Context) -> None:
    """Docker does not pass a signal on: it closes the socket that it gave its plugin."""
    context.dockerfile(SLEEPER)
    name = f"\0viaduct-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        build = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from viaduct.cli.plugin import main; main()",
                "buildx",
                "build",
                ".",
            ],
            cwd=context.root,
            env={**os.environ, "DOCKER_CLI_PLUGIN_SOCKET": f"@{name[1:]}"},
            stderr=subprocess.PIPE,
        )
        link, _ = server.accept()
        assert build.stderr is not None
        with build, link:
            shown = _read_until(build.stderr.fileno(), rb"#\d+ [\d.]+ begun")
            link.close()
            shown += _read_until(build.stderr.fileno(), None)
    assert build.returncode == 128 + signal.SIGTERM, shown.decode()
    assert b"CANCELED" in shown
    assert _sleepers() == []


def _read_until(fd: int, pattern: bytes | None) -> bytes:
    """What comes until it matches `pattern`, or until its end."""
    seen = b""
    while pattern is None or not re.search(pattern, seen):
        try:
            piece = os.read(fd, 1 << 16)
        except OSError:  # how a terminal says that nobody is left
            piece = b""
        if not piece:
            assert pattern is None, seen.decode()
            break
        seen += piece
    return seen


def _sleepers() -> list[str]:
    """Processes of a build of ours that are left."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [line for line in lines if SLEEP in line]
