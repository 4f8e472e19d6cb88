"""How docker calls its plugin: what a command line of a person becomes by the time it is ours.

    docker buildx ls                       buildx ls
    docker --context far buildx ls         --context far buildx ls
    docker build .                         buildx build .       and BUILDX_BUILDER=<context>
    docker help buildx ls                  help buildx ls
    docker buildx bu<TAB>                  __complete buildx bu

Docker's own options come before our name. They are turned into the variables that say the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from viaduct.base.values import Value
from viaduct.cli import pflag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Set when docker is the caller.
CALLER = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
_COMPLETING = ("__complete", "__completeNoDesc")
# What docker's completion scripts are told: offer no file names beside these; offer directories.
_NO_FILES, _DIRECTORIES = 4, 16

_SWITCHES = {"tls": "DOCKER_TLS", "tlsverify": "DOCKER_TLS_VERIFY"}
_TEXTS = {"config": "DOCKER_CONFIG", "context": "DOCKER_CONTEXT", "host": "DOCKER_HOST"}
# Their directory says it: the files in it have these names.
_CERTIFICATES = ("tlscacert", "tlscert", "tlskey")
_OPTIONS: tuple[click.Option, ...] = (
    click.Option(["--config"]),
    click.Option(["-c", "--context"]),
    click.Option(["-H", "--host"]),
    click.Option(["-l", "--log-level"]),
    *(click.Option([f"--{name}"]) for name in _CERTIFICATES),
    *(pflag.Switch([f"--{name}"], type=click.BOOL) for name in _SWITCHES),
    pflag.Switch(["-D", "--debug"], type=click.BOOL),
)


class DockerCall(Value):
    """A command line of ours. `prog` is what the person typed for our name; `env` are variables to
    be set; `completing` asks for what may stand at the end of the line."""

    prog: str
    args: list[str]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    completing: bool = False


def read(args: Sequence[str], env: Mapping[str, str]) -> DockerCall:
    """The command line `args` of a program called `docker-buildx`, which a person may also have
    started without docker."""
    if CALLER not in env and args[:1] != ["buildx"]:
        return DockerCall("buildx", list(args))
    # Lenient: a docker to come may have options that nothing is known of here.
    words = pflag.canonical(_OPTIONS, args, interspersed=False, lenient=True)
    at = words.index("--")
    options = dict(word.removeprefix("--").split("=", 1) for word in words[:at])
    before, rest = _split(words[at + 1 :])
    if "help" in before:
        rest = [*rest, "--help"]
    completing = any(word in before for word in _COMPLETING)
    if options.get("debug") == "true" and not completing:
        rest = ["--debug", *rest]
    return DockerCall("docker buildx", rest, _environment(options), completing)


def complete(root: click.Group, call: DockerCall) -> None:
    """Print what may stand at the end of the line, as docker's completion scripts read it."""
    from viaduct.cli.completion import candidates

    *words, incomplete = call.args or [""]
    found = candidates(root, call.prog, words, incomplete)
    kinds = {item.type for item in found}
    for item in found:
        if item.type == "plain":
            click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    directive = _DIRECTORIES if "dir" in kinds else 0 if "file" in kinds else _NO_FILES
    click.echo(f":{directive}")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What comes before our name, and what after it."""
    at = words.index("buildx") if "buildx" in words else -1
    return words[: max(at, 0)], words[at + 1 :]


def _environment(options: Mapping[str, str]) -> dict[str, str]:
    env = {variable: options[name] for name, variable in _TEXTS.items() if options.get(name)}
    for name, variable in _SWITCHES.items():
        if options.get(name) == "true":
            env[variable] = "1"
    for name in _CERTIFICATES:
        if path := options.get(name):
            env["DOCKER_CERT_PATH"] = os.path.dirname(os.path.abspath(path))
    return env
