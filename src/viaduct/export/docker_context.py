"""Docker's contexts: names that Docker's command line keeps for engines, and which is in use.

    $DOCKER_CONFIG/config.json                    `currentContext`
    $DOCKER_CONFIG/contexts/meta/<sha256>/meta.json   a name and where its engine is
    $DOCKER_CONFIG/contexts/tls/<sha256>/docker/      certificates to show there

What cannot be read counts as absent: these files are Docker's, and nothing here depends on them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from viaduct.base import decoding
from viaduct.base.home import user_home
from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The context, and with it the builder, that is there without being made: `DOCKER_HOST`, or the
#: usual socket.
DEFAULT = "default"
T = TypeVar("T")

_DEFAULT_HOST = "unix:///var/run/docker.sock"


class Endpoint(Value):
    """Where an engine is. `certificates` is a directory with `ca.pem`, `cert.pem` and `key.pem`
    for a connection with TLS; without `verify` any certificate of the engine is fine."""

    host: str
    certificates: Path | None = None
    verify: bool = True


class _Config(msgspec.Struct, frozen=True, rename="camel"):
    current_context: str = ""


class _Engine(msgspec.Struct, frozen=True, rename={"host": "Host", "skip": "SkipTLSVerify"}):
    host: str = ""
    skip: bool = False


class _Meta(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    endpoints: dict[str, _Engine] = {}


def configuration(env: Mapping[str, str]) -> Path:
    """Docker's configuration directory, which need not exist."""
    return Path(env.get("DOCKER_CONFIG") or user_home(env) / ".docker")


def current(env: Mapping[str, str]) -> str:
    """The context in use: `DOCKER_HOST` overrides all, then `DOCKER_CONTEXT` counts, then what
    `docker context use` chose."""
    if env.get("DOCKER_HOST"):
        return DEFAULT
    if name := env.get("DOCKER_CONTEXT"):
        return name
    config = _read(configuration(env) / "config.json", _Config)
    return (config.current_context if config else "") or DEFAULT


def asked(env: Mapping[str, str]) -> str:
    """What names another engine than the machine's own; empty where nothing does."""
    if host := env.get("DOCKER_HOST"):
        return f"DOCKER_HOST={host}"
    name = current(env)
    return "" if name == DEFAULT else f"context {name}"


def names(env: Mapping[str, str]) -> list[str]:
    """Every context that was made; `DEFAULT` is not among them."""
    root = _metas(env)
    try:
        folders = os.listdir(root)
    except OSError:
        return []
    metas = (_read(root / folder / "meta.json", _Meta) for folder in folders)
    return sorted(meta.name for meta in metas if meta)


def exists(env: Mapping[str, str], name: str) -> bool:
    """Whether there is a context `name`."""
    return name == DEFAULT or (_metas(env) / _folder(name) / "meta.json").is_file()


def endpoint(env: Mapping[str, str]) -> Endpoint | None:
    """The engine of the context in use, or None when that context is gone."""
    name = current(env)
    if name == DEFAULT:
        host = env.get("DOCKER_HOST") or _DEFAULT_HOST
        verify = bool(env.get("DOCKER_TLS_VERIFY"))
        if not verify and not env.get("DOCKER_TLS"):
            return Endpoint(host)
        return Endpoint(host, Path(env.get("DOCKER_CERT_PATH") or configuration(env)), verify)
    meta = _read(_metas(env) / _folder(name) / "meta.json", _Meta)
    engine = meta.endpoints.get("docker") if meta else None
    if engine is None:
        return None
    certificates = configuration(env) / "contexts/tls" / _folder(name) / "docker"
    tls = certificates if certificates.is_dir() else None
    return Endpoint(engine.host, tls, verify=not engine.skip)


def _metas(env: Mapping[str, str]) -> Path:
    return configuration(env) / "contexts/meta"


def _folder(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return decoding.from_json(path.read_bytes(), kind)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
