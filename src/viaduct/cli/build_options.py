"""The options of `viaduct build`: the names and defaults of `docker buildx build`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from viaduct.cli.options import (
    PROGRESS,
    REGISTRY_INSECURE,
    REGISTRY_MIRROR,
    switch,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_NETWORKS = ("default", "host", "none")
_CALLS = ("build", "check", "outline", "targets")
_PLATFORMS = (
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/riscv64",
    "linux/ppc64le",
    "linux/s390x",
    "linux/386",
)

_VISIBLE = (
    texts("--add-host", metavar="host:ip", help="Add a line to /etc/hosts of every step"),
    texts("--allow", metavar="right", help="Allow network.host, security.insecure or device"),
    texts("--annotation", metavar="[type:]k=v", help="Add an annotation to the image or its index"),
    texts("--attest", metavar="spec", help="Attestations (none are made yet)"),
    texts("--build-arg", metavar="k[=v]", help="Set a build argument, or take it from here"),
    texts(
        "--build-context", metavar="name=source", help="Add a named context, image or repository"
    ),
    texts("--cache-from", metavar="spec", help="Import a build cache (without effect yet)"),
    texts("--cache-to", metavar="spec", help="Export the build cache (without effect yet)"),
    text(
        "--call",
        default="build",
        metavar="method",
        choices=_CALLS,
        help="What to do: build (default), check, outline or targets",
    ),
    switch("--check", help="Shorthand for --call=check"),
    text(
        "-f", "--file", path=True, metavar="path", help="The Dockerfile, by default PATH/Dockerfile"
    ),
    text("--iidfile", path=True, metavar="path", help="Write the image ID to a file"),
    texts("--label", metavar="k=v", help="Set a label of the image"),
    switch("--load", help="Put the image into the Docker engine, or into the local store"),
    text("--metadata-file", path=True, metavar="path", help="Write the result's metadata as JSON"),
    text(
        "--network",
        default="default",
        metavar="mode",
        choices=_NETWORKS,
        help="Network of RUN instructions: default, host or none",
    ),
    switch("--no-cache", help="Run every step, whatever the cache holds"),
    texts("--no-cache-filter", metavar="stage", help="Run every step of these stages"),
    texts("-o", "--output", metavar="spec", help="Where to put the result: type=oci,dest=path, …"),
    texts(
        "--platform",
        metavar="platform",
        choices=_PLATFORMS,
        help="Target platforms, as a list or repeated",
    ),
    PROGRESS,
    text("--provenance", metavar="bool", help="Attach provenance (none is made yet)"),
    switch("--pull", help="Look for newer versions of all base images"),
    switch("--push", help="Push the image: shorthand for --output=type=registry"),
    switch("-q", "--quiet", help="Print nothing but the image ID"),
    REGISTRY_INSECURE,
    REGISTRY_MIRROR,
    text("--sbom", metavar="bool", help="Attach an SBOM (only false for now)"),
    texts("--secret", metavar="spec", help="Expose a secret: id=name[,src=path|env=NAME]"),
    text("--shm-size", metavar="bytes", help="Size of /dev/shm in steps, like 64m"),
    texts("--ssh", metavar="spec", help="Expose an SSH agent: default, or id[=socket|key,…]"),
    texts("-t", "--tag", metavar="name", help="Name of the image: [registry/]repository[:tag]"),
    text("--target", metavar="stage", help="Build up to this stage"),
    texts("--ulimit", metavar="n=soft[:hard]", help="Resource limits of steps, like nofile=1024"),
)

_WITHOUT_EFFECT = "accepted for old scripts; without effect"

# What scripts for the peers may carry: those of the classic builder, and limits of resources.
_LEGACY = (
    switch("--compress", hidden=True, help=_WITHOUT_EFFECT),
    switch("--rm", hidden=True, default=True, help=_WITHOUT_EFFECT),
    switch("--force-rm", hidden=True, help=_WITHOUT_EFFECT),
    switch("--squash", hidden=True, help=_WITHOUT_EFFECT),
    text("--print", hidden=True, help="the old name of --call"),
    text("--isolation", hidden=True, help=_WITHOUT_EFFECT),
    texts("--security-opt", hidden=True, help=_WITHOUT_EFFECT),
    texts("--policy", hidden=True, help="not available yet"),
    texts("--resource", hidden=True, help=_WITHOUT_EFFECT),
    text("--cgroup-parent", hidden=True, help=_WITHOUT_EFFECT),
    text("-m", "--memory", hidden=True, help=_WITHOUT_EFFECT),
    text("--memory-swap", hidden=True, help=_WITHOUT_EFFECT),
    text("-c", "--cpu-shares", hidden=True, help=_WITHOUT_EFFECT),
    text("--cpu-period", hidden=True, help=_WITHOUT_EFFECT),
    text("--cpu-quota", hidden=True, help=_WITHOUT_EFFECT),
    text("--cpuset-cpus", hidden=True, help=_WITHOUT_EFFECT),
    text("--cpuset-mems", hidden=True, help=_WITHOUT_EFFECT),
)

_SILENT = frozenset(("compress", "rm", "force_rm"))
_ADVICE = {
    "squash": "squash inside the build, with a multi-stage Dockerfile",
    "security_opt": 'use "RUN --security=insecure"',
}


def declare(function: F) -> F:
    """Give a command all options of a build."""
    for option in reversed((*_VISIBLE, *_LEGACY)):
        function = option(function)
    return function


def take_legacy(given: dict[str, Any]) -> list[str]:
    """Remove the legacy options from `given`; returns what to tell about those that were used."""
    if method := given.pop("print", ""):
        given["call"] = method
    notices = []
    for name in (
        "compress rm force_rm squash isolation security_opt resource cgroup_parent memory "
        "memory_swap cpu_shares cpu_period cpu_quota cpuset_cpus cpuset_mems"
    ).split():
        if given.pop(name) and name not in _SILENT:
            advice = f": {_ADVICE[name]}" if name in _ADVICE else ""
            notices.append(f"--{name.replace('_', '-')} has no effect{advice}")
    return notices
