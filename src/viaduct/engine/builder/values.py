"""Builder instances as values, in the JSON form in which buildx keeps its own.

A builder is a name, a driver and some nodes. All of Viaduct's builders are served by the engine
inside of it; what a builder adds is a name to choose, fixed platforms and a state to look at.
"""

from __future__ import annotations

import re

import msgspec

from viaduct.base.errors import UsageError
from viaduct.export.docker_context import DEFAULT
from viaduct.oci.models import PlatformSpec

#: The driver of a builder that was made without saying which.
EMBEDDED = "embedded"
#: The driver of the builders that Docker's contexts are; none can be made.
DOCKER = "docker"
#: What a node without an endpoint of its own is at.
HERE = "embedded"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")

_CONTAINER_OPTIONS = frozenset(
    "image memory memory-swap cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems "
    "cgroup-parent network restart-policy default-load provenance-add-gha "
    "allow-untrusted-image".split()
)
# The options that the peers' drivers take; the embedded engine needs none of them. It takes those
# of docker-container, in whose place it is where no driver was named.
_OPTIONS = {
    "docker-container": _CONTAINER_OPTIONS,
    "kubernetes": frozenset(
        "image namespace replicas requests.cpu requests.memory requests.ephemeral-storage "
        "limits.cpu limits.memory limits.ephemeral-storage "
        "persistent-volume-claim.requests.storage "
        "rootless schedulername serviceaccount nodeselector annotations labels tolerations "
        "loadbalance qemu.install qemu.image buildkit-root-volume-memory default-load "
        "timeout".split()
    ),
    EMBEDDED: _CONTAINER_OPTIONS,
}
_SCHEMES = ("unix", "tcp", "ssh", "http", "https")
#: The drivers a builder can be created with.
DRIVERS = ("docker-container", EMBEDDED, "kubernetes")


class Node(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """One node. `platforms` are those it was given, which win over what is found out."""

    name: str
    endpoint: str = HERE
    platforms: tuple[PlatformSpec, ...] | None = None
    driver_opts: dict[str, str] | None = None
    flags: tuple[str, ...] | None = None
    files: dict[str, bytes] | None = None

    @property
    def fixed(self) -> tuple[str, ...]:
        """The names of its fixed platforms."""
        return tuple(str(platform.value()) for platform in self.platforms or ())

    @property
    def elsewhere(self) -> bool:
        """Whether its endpoint is on another machine, which the embedded engine does not ask."""
        scheme, mark, _ = self.endpoint.partition("://")
        return bool(mark) and scheme != "unix"


class Builder(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """A builder instance."""

    name: str
    driver: str
    nodes: tuple[Node, ...] = ()
    dynamic: bool = False

    @property
    def default_load(self) -> bool:
        """Whether builds with no output of their own load their image: by `default-load`, and on
        those builders where plain `docker build` does."""
        options = self.nodes[0].driver_opts if self.nodes else None
        given = (options or {}).get("default-load", "").lower() in ("1", "t", "true")
        return given or self.driver == DOCKER


def of_context(name: str) -> Builder:
    """The builder of one of Docker's contexts, which is there without being made."""
    return Builder(name=name, driver=DOCKER, nodes=(Node(name=name, endpoint=name),))


def is_name(name: str) -> bool:
    """Whether `name` can name a builder that somebody makes."""
    return bool(_NAME.fullmatch(name)) and name.lower() != DEFAULT


def check_name(name: str) -> str:
    """`name`, unless it cannot name a builder: then raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"invalid name {name}, name needs to start with a letter and may not contain symbols, "
            "except ._-"
        )
    if name.lower() == DEFAULT:
        raise UsageError(
            f"{name} is a reserved name and cannot be used to identify builder instance",
            hint=f"`use {DEFAULT}` selects the builder of that name",
        )
    return name


def check_driver(driver: str) -> str:
    """`driver`, unless no builder can be made of it: then raises `UsageError`."""
    if driver == DOCKER:
        raise UsageError(
            f'additional instances of driver "{DOCKER}" cannot be created',
            hint=f"leave --driver away, or use the builder {DEFAULT}",
        )
    if driver == "remote":
        raise UsageError(
            'driver "remote" is not available: Viaduct builds on this machine',
            hint="leave --driver away; every platform is built here",
        )
    if driver not in DRIVERS:
        raise UsageError(
            f'failed to find driver "{driver}"', hint=f"there are {', '.join(DRIVERS)}"
        )
    return driver


def check_endpoint(endpoint: str) -> str:
    """`endpoint`, unless it is neither the name of a context nor an address: then raises
    `UsageError`."""
    scheme, mark, _ = endpoint.partition("://")
    if mark and scheme not in _SCHEMES:
        raise UsageError(
            f"failed to parse endpoint {endpoint}: invalid bind address format",
            hint=f"addresses begin with {', '.join(f'{one}://' for one in _SCHEMES)}",
        )
    return endpoint


def options(driver: str, values: tuple[str, ...]) -> dict[str, str] | None:
    """`--driver-opt k=v[,k=v…]` as a dictionary; raises `UsageError` for what the driver lacks."""
    out: dict[str, str] = {}
    for word in (word for value in values for word in _split(value)):
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f'invalid value "{word}", expecting k=v')
        if key not in _OPTIONS[driver] and not key.startswith("env."):
            raise UsageError(f"invalid driver option {key} for {driver} driver")
        out[key] = value
    return out or None


def _split(value: str) -> list[str]:
    """Comma-separated words; one in double quotes may contain commas."""
    return [word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^,"])+', value)]
