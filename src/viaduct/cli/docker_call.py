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

import msgspec

from viaduct.base.values import Value
from viaduct.cli import pflag
from viaduct.cli.out import echo
from viaduct.cli.pflag import Option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viaduct.cli.command import Group

#: Set when docker is the caller.
CALLER = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
_COMPLETING = ("__complete", "__completeNoDesc")
# What docker's completion scripts are told: offer no file names beside these; offer directories.
_NO_FILES, _DIRECTORIES = 4, 16

_SWITCHES = {"tls": "DOCKER_TLS", "tlsverify": "DOCKER_TLS_VERIFY"}
_TEXTS = {"config": "DOCKER_CONFIG", "context": "DOCKER_CONTEXT", "host": "DOCKER_HOST"}
# Their directory says it: the files in it have these names.
_CERTIFICATES = ("tlscacert", "tlscert", "tlskey")
_OPTIONS = (
    *(Option((f"--{name}",)) for name in ("config", *_CERTIFICATES)),
    Option(("-c", "--context")),
    Option(("-H", "--host")),
    Option(("-l", "--log-level")),
    *(Option((f"--{name}",), switch=True) for name in _SWITCHES),
    Option(("-D", "--debug"), switch=True),
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
    line = pflag.read(_OPTIONS, args, interspersed=False, lenient=True)
    options = {option.key: said for option, said in line.given}
    before, rest = _split(line.rest)
    if "help" in before:
        rest = [*rest, "--help"]
    completing = any(word in before for word in _COMPLETING)
    if options.get("debug") and not completing:
        rest = ["--debug", *rest]
    return DockerCall("docker buildx", rest, _environment(options), completing)


def complete(root: Group, call: DockerCall) -> None:
    """Print what may stand at the end of the line, as docker's completion scripts read it."""
    from viaduct.cli.completion import candidates

    *words, incomplete = call.args or [""]
    found = candidates(root, words, incomplete)
    kinds = {item.type for item in found}
    for item in found:
        if item.type == "plain":
            echo(f"{item.value}\t{item.help}" if item.help else item.value)
    directive = _DIRECTORIES if "dir" in kinds else 0 if "file" in kinds else _NO_FILES
    echo(f":{directive}")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What comes before our name, and what after it."""
    at = words.index("buildx") if "buildx" in words else -1
    return words[: max(at, 0)], words[at + 1 :]


def _environment(options: Mapping[str, str]) -> dict[str, str]:
    env = {variable: options[name] for name, variable in _TEXTS.items() if options.get(name)}
    for name, variable in _SWITCHES.items():
        if options.get(name):
            env[variable] = "1"
    for name in _CERTIFICATES:
        if path := options.get(name):
            env["DOCKER_CERT_PATH"] = os.path.dirname(os.path.abspath(path))
    return env
