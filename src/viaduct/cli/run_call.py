"""From the text of `viaduct run`'s options to what is to be run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.cli import values
from viaduct.engine.container import RunRequest, Volume
from viaduct.engine.provide import POLICIES
from viaduct.oci import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viaduct.engine.provide import Policy
    from viaduct.sandbox.spec import Network


class RunFlags(Value, kw_only=True):
    """The options of `viaduct run` as given; names are the options' names."""

    detach: bool = False
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_file: tuple[str, ...] = ()
    hostname: str = ""
    interactive: bool = False
    network: str = "host"
    platform: str = ""
    publish: tuple[str, ...] = ()
    pull: str = "missing"
    read_only: bool = False
    registry_insecure: tuple[str, ...] = ()
    registry_mirror: tuple[str, ...] = ()
    tty: bool = False
    user: str = ""
    volume: tuple[str, ...] = ()
    workdir: str = ""


def read(
    flags: RunFlags, args: Sequence[str], env: Mapping[str, str], *, terminal: bool
) -> RunRequest:
    """Check and combine. `terminal` says that our standard streams are one. Raises `UsageError` and
    `PlatformError`."""
    image, *command = args
    wanted = flags.platform or env.get("DOCKER_DEFAULT_PLATFORM", "")
    if flags.workdir and not flags.workdir.startswith("/"):
        raise UsageError(
            f"the working directory '{flags.workdir}' is invalid, it needs to be an absolute path"
        )
    if flags.detach:
        raise UsageError(
            "there is no daemon to leave a container with",
            hint="start it in the background with your shell: viaduct run … &",
        )
    if flags.tty and flags.interactive and not terminal:
        raise UsageError("the input device is not a TTY", hint="leave -t away")
    return RunRequest(
        image=image,
        command=tuple(command),
        platform=platforms.parse(wanted) if wanted else None,
        # The last one counts; an empty one is none at all.
        entrypoint=tuple(filter(None, flags.entrypoint[-1:])) if flags.entrypoint else None,
        env=tuple(f"{name}={value}" for name, value in _environment(flags, env).items()),
        volumes=tuple(volume(value) for value in flags.volume),
        workdir=flags.workdir,
        user=flags.user,
        hostname=flags.hostname,
        network=_network(flags),
        readonly=flags.read_only,
        terminal=flags.tty and terminal,
        policy=_policy(flags.pull),
        registries=values.registries(flags.registry_insecure, flags.registry_mirror),
    )


def _network(flags: RunFlags) -> Network:
    if flags.network == "none":
        return "none"
    if flags.network in ("host", "default"):
        if flags.publish:
            raise UsageError(
                "ports cannot be published: the container shares this machine's network",
                hint="leave -p away; a port that the program opens is open on this machine",
            )
        return "host"
    raise UsageError(
        f'network mode "{flags.network}" is not supported', hint="use --network host or none"
    )


def _policy(text: str) -> Policy:
    for policy in POLICIES:
        if text == policy:
            return policy
    raise UsageError(f"invalid pull option: '{text}'", hint=f"one of {', '.join(POLICIES)}")


def _environment(flags: RunFlags, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of `--env-file` and, on top of them, of `-e`."""
    out: dict[str, str] = {}
    for path in flags.env_file:
        _add(out, _lines(path), env, where=path)
    _add(out, flags.env, env, where="-e")
    return out


def _add(
    out: dict[str, str], entries: Iterable[str], env: Mapping[str, str], *, where: str
) -> None:
    """`K=V`; a key alone takes its value from here, or is not set."""
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not key or any(character.isspace() for character in key):
            raise UsageError(
                f"invalid environment variable in {where}: {entry}", hint="write NAME=VALUE"
            )
        if equals:
            out[key] = text
        elif key in env:
            out[key] = env[key]


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read --env-file {path}: {why}") from error
    lines = (line.lstrip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def volume(value: str) -> Volume:
    """`SOURCE:TARGET[:ro|rw]`, where the source is a path; one that does not exist is made, a
    directory, by whoever runs the container."""
    parts = value.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or not all(parts) or not set(mode.split(",")) <= {"ro", "rw", "z", "Z"}:
        raise UsageError(f"invalid volume specification: '{value}'", hint="SOURCE:TARGET[:ro]")
    source, target = parts
    if not target.startswith("/"):
        raise UsageError(f"invalid volume specification: '{value}': mount path must be absolute")
    if not source.startswith(("/", ".", "~")):
        raise UsageError(
            f"named volumes do not exist here: '{source}'", hint=f"give a path: ./{source}:{target}"
        )
    path = Path(os.path.abspath(os.path.expanduser(source)))
    return Volume(path, target, readonly="ro" in mode.split(","))
