"""Values of build options, read from text in the peers' words.

Pure but for two looks at the machine: whether a secret's file and an SSH socket exist.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.cli import csvline
from viaduct.cli.pflag import suggestion
from viaduct.engine.request import Annotation, RegistryOptions, Secret, SSHAgent
from viaduct.oci import platform as platforms
from viaduct.oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viaduct.graph.ops import Ulimit

_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack".split()
)
_LEVELS = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_LEVEL = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?")
_ENTITLEMENTS = ("network.host", "security.insecure", "device", "buildx.local.delete")
_SECRET_LIMIT = 500 * 1024


def pairs(values: Iterable[str]) -> dict[str, str]:
    """`K=V` options; a key alone has the empty value."""
    out = {}
    for value in values:
        key, _, text = value.partition("=")
        if not key:
            raise UsageError(f'invalid key-value pair "{value}": empty key')
        out[key] = text
    return out


def build_args(values: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """`--build-arg`: a key alone takes its value from the environment, or is not sent.

    `SOURCE_DATE_EPOCH` and the proxy variables of the environment are added unless given.
    """
    out: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key:
            raise UsageError(f'invalid key-value pair "{value}": empty key')
        if equals:
            out[key] = text
        elif key in env:
            out[key] = env[key]
    if env.get("SOURCE_DATE_EPOCH"):
        out.setdefault("SOURCE_DATE_EPOCH", env["SOURCE_DATE_EPOCH"])
    given = {key.lower() for key in out}
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if name not in given and env.get(spelling):
                out[spelling] = env[spelling]
    return out


def annotated(values: Iterable[str]) -> tuple[Annotation, ...]:
    """`[TYPE[,TYPE…]:]KEY=VALUE`, where a type may name a platform: `manifest[linux/arm64]`."""
    out = []
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise UsageError(f'invalid annotation "{value}", expected key=value')
        levels, colon, key = name.rpartition(":")
        for level in levels.split(",") if colon else ["manifest"]:
            found = _LEVEL.fullmatch(level)
            if not found:
                raise UsageError(
                    f'invalid annotation type "{level}", expected type and optional platform in '
                    "square brackets"
                )
            if found[1] not in _LEVELS:
                raise UsageError(
                    f'unknown annotation type "{found[1]}"', hint=f"one of {', '.join(_LEVELS)}"
                )
            platform = platforms.parse(found[2]) if found[2] else None
            out.append(Annotation(key, text, found[1], platform))
    return tuple(out)


def secrets(values: Iterable[str], env: Mapping[str, str]) -> tuple[Secret, ...]:
    """`id=ID[,src=FILE|env=NAME]`; an id alone is a variable of that name, else a file."""
    return tuple({secret.id: secret for secret in (_secret(v, env) for v in values if v)}.values())


def _secret(value: str, env: Mapping[str, str]) -> Secret:
    given = {"type": "", "id": "", "src": "", "env": ""}
    for part in csvline.fields(value):
        key, equals, text = part.partition("=")
        key = {"source": "src"}.get(key.lower(), key.lower())
        if not equals:
            raise UsageError(f"invalid field '{part}' must be a key=value pair")
        if key not in given:
            raise UsageError(
                f"unexpected key '{key}' in '{part}'", hint=suggestion(key, [*given, "source"])
            )
        if key == "type" and text not in ("file", "env"):
            raise UsageError(f'unsupported secret type "{text}"', hint="use file or env")
        given[key] = text
    name, path, variable = given["id"], given["src"], given["env"]
    if not name:
        raise UsageError("secret missing ID", hint="--secret id=NAME,src=FILE")
    if given["type"] == "env" and not variable:
        variable, path = path or name, ""
    elif not path and not variable:
        variable, path = (name, "") if name in env else ("", name)
    if path:
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise UsageError(
                f"failed to stat {path}: stat {path}: {(error.strerror or '').lower()}",
                hint=f"give the secret's file, --secret id={name},src=FILE, "
                f"or a variable, --secret id={name},env=NAME",
            ) from error
        if size > _SECRET_LIMIT:
            raise UsageError(f"secret {name} too big. max size 500KiB")
    return Secret(name, path=os.path.abspath(path) if path else "", env=variable)


def ssh_agents(
    values: Iterable[str], env: Mapping[str, str], *, context: str = ""
) -> tuple[SSHAgent, ...]:
    """`default` or `ID[=SOCKET|KEY[,KEY…]]`. A context cloned over ssh uses the running agent."""
    out: dict[str, SSHAgent] = {}
    for value in filter(None, values):
        name, _, paths = value.partition("=")
        if name in out:
            raise UsageError(f'duplicate agent ID "{name}"')
        out[name] = SSHAgent(name, tuple(filter(None, paths.split(","))))
    agent = env.get("SSH_AUTH_SOCK")
    if not out and agent and context.startswith(("git@", "ssh://")):
        out["default"] = SSHAgent()
    if not agent and any(not given.paths for given in out.values()):
        raise UsageError(
            "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set",
            hint="start an ssh-agent, or name a key: --ssh default=~/.ssh/id_ed25519",
        )
    return tuple(out.values())


def hosts(values: Iterable[str]) -> tuple[str, ...]:
    """`--add-host HOST:IP` or `HOST=IP` (comma lists allowed) as `host=ip`."""
    import ipaddress

    out = []
    for value in _commas(values):
        host, equals, address = value.partition("=")
        if not equals:
            host, equals, address = value.partition(":")
        if address == "host-gateway":
            raise UsageError(
                "unable to derive the IP value for host-gateway: steps share the host's network",
                hint=f"use --add-host {host}:127.0.0.1",
            )
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            host = ""
        if not host:
            raise UsageError(f"invalid host {value}", hint="write it as name:address")
        out.append(f"{host}={address}")
    return tuple(out)


def ulimits(values: Iterable[str]) -> tuple[Ulimit, ...]:
    """`NAME=SOFT[:HARD]`, -1 for unlimited."""
    from viaduct.graph.ops import Ulimit

    out: dict[str, Ulimit] = {}
    for value in values:
        name, equals, text = value.partition("=")
        numbers = text.split(":")
        if not equals or len(numbers) > 2:
            raise UsageError(f"invalid ulimit argument: {value}", hint="write name=soft[:hard]")
        if name not in _ULIMITS:
            raise UsageError(f"invalid ulimit type: {name}", hint=suggestion(name, _ULIMITS))
        try:
            soft, hard = int(numbers[0]), int(numbers[-1])
        except ValueError:
            raise UsageError(
                f"invalid ulimit argument: {value}", hint="limits are numbers"
            ) from None
        if hard != -1 and (soft == -1 or soft > hard):
            raise UsageError(
                "ulimit soft limit must be less than or equal to hard limit: "
                f"{'soft: -1 (unlimited), hard:' if soft == -1 else f'{soft} >'} {hard}"
            )
        out[name] = Ulimit(name=name, soft=soft, hard=hard)
    return tuple(out.values())


def named_contexts(values: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE`; the name is compared as an image reference is, without `:latest`."""
    out = {}
    for value in filter(None, values):
        name, equals, place = value.partition("=")
        if not equals:
            raise UsageError(f"invalid context value: {value}, expected key=value")
        try:
            familiar = references.parse(name).familiar
        except UsageError as error:
            raise UsageError(f"invalid context name {name}: {error.what}") from error
        out[familiar.removesuffix(":latest")] = place
    return out


def entitlements(values: Iterable[str]) -> tuple[str, ...]:
    """`--allow`."""
    out = []
    for value in filter(None, values):
        name = value.partition("=")[0]
        if name not in _ENTITLEMENTS or (value != name and name != "device"):
            raise UsageError(
                f"unknown entitlement {value}",
                hint=suggestion(name, _ENTITLEMENTS) or f"one of {', '.join(_ENTITLEMENTS)}",
            )
        out.append(value)
    return tuple(dict.fromkeys(out))


def registries(insecure: Iterable[str], mirrors: Iterable[str]) -> RegistryOptions:
    """`--registry-insecure HOST` and `--registry-mirror HOST=URL`."""
    by_host: dict[str, tuple[str, ...]] = {}
    for value in mirrors:
        host, equals, url = value.partition("=")
        if not equals or not host or not url:
            raise UsageError(
                f"invalid registry mirror {value!r}",
                hint="write host=URL: docker.io=https://mirror.example.com",
            )
        by_host[host] = (*by_host.get(host, ()), url)
    return RegistryOptions(tuple(dict.fromkeys(_commas(insecure))), by_host)


_MODES = ("auto", "tty", "plain", "quiet", "none", "rawjson")


def progress_mode(given: str, env: Mapping[str, str]) -> str:
    """The display mode: `--progress`, by default `$BUILDKIT_PROGRESS`. Raises `UsageError`."""
    mode = given if given != "auto" else env.get("BUILDKIT_PROGRESS") or "auto"
    if mode not in _MODES:
        raise UsageError(f"invalid progress mode {mode}", hint=f"one of {', '.join(_MODES)}")
    return mode


class Call(Value):
    """`--call`: what is asked of the Dockerfile, how it is printed, and whether findings count."""

    method: str = "build"
    json: bool = False
    ignore_status: bool = False


_METHODS = {"lint": "check", "subrequests.describe": "describe"}


def call(value: str) -> Call:
    """`build`, `check`, `outline` or `targets`, with `,format=json` and `,ignorestatus=true`."""
    method, as_json, ignore = "", False, False
    for part in csvline.fields(value) if value else ["build"]:
        key, equals, text = part.partition("=")
        if not equals and not method:
            method = _METHODS.get(part, part)
        elif key == "format" and text in ("json", "text", ""):
            as_json = text == "json"
        elif key == "ignorestatus" and text.lower() in ("1", "t", "true", "0", "f", "false"):
            ignore = text.lower() in ("1", "t", "true")
        else:
            raise UsageError(f"invalid call field: {part}", hint="--call check,format=json")
    known = ("build", "check", "outline", "targets", "describe")
    if method not in known:
        raise UsageError(
            f"unsupported call {method!r}", hint=suggestion(method, known) or "|".join(known)
        )
    return Call(method, as_json, ignore)


def _commas(values: Iterable[str]) -> list[str]:
    return [part for value in values for part in value.split(",") if part]
