"""Running a command in a stored or pulled image, of any platform."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ContentError, UsageError
from viaduct.base.values import Value
from viaduct.engine import shop
from viaduct.engine.provide import Supply
from viaduct.engine.request import BuildRequest, RegistryOptions
from viaduct.ops.trees import Filesystem
from viaduct.sandbox import users
from viaduct.sandbox.emulate import Emulators
from viaduct.sandbox.etc import DEFAULT_HOSTNAME
from viaduct.sandbox.runtime import Runtime
from viaduct.sandbox.spec import BindMount, ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.images import Variant
    from viaduct.engine.provide import Policy
    from viaduct.oci.models import RunConfig
    from viaduct.oci.platform import Platform
    from viaduct.sandbox.runtime import Exit
    from viaduct.sandbox.spec import Network
    from viaduct.store.store import Store


class Volume(Value):
    """A directory or file of the machine, shown at `target` inside."""

    source: Path
    target: str
    readonly: bool = False


class RunRequest(Value):
    """One run. `image` is a name or an id; `platform` None means the machine's own. `command`
    replaces the image's CMD, `entrypoint` its ENTRYPOINT (and then its CMD does not count), `()`
    being none. `env` are `K=V`. With `terminal` the program gets our own terminal. `policy` says
    when a registry is asked."""

    image: str
    command: tuple[str, ...] = ()
    platform: Platform | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    network: Network = "host"
    readonly: bool = False
    terminal: bool = False
    policy: Policy = "missing"
    registries: RegistryOptions = msgspec.field(default_factory=RegistryOptions)


def run(
    request: RunRequest,
    sink: Sink,
    stop: Stop,
    *,
    env: Mapping[str, str],
    stdin: int | None,
    ready: Callable[[Variant], None],
) -> Exit:
    """Run the command to its end, inside of the namespaces; how it ended.

    An image that is not in the store is fetched first; `ready` is told what will run when nothing
    but the program is left to start. What it writes to its root file system is thrown away. Raises
    `PlatformError` listing what the image has when the platform is not among it, or when nothing
    can run its programs here; and what a registry raises.
    """
    asked = BuildRequest(context="", registries=request.registries)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(shop.opened(asked, sink, stop, env))
        supply = Supply(opened.store, sink, stop, env, request.registries)
        variant = supply.provide(request.image, request.platform, request.policy)
        emulators = Emulators(own_namespace=True)
        stack.callback(emulators.close)
        emulators.ensure([variant.config.platform()])
        change = stack.enter_context(
            opened.trees.change(
                _root(opened.store, variant), description=f"run of {request.image}", stop=stop
            )
        )
        container = _container(request, variant.config.config, change.path)
        runtime = Runtime.find(opened.run, env=env)
        ready(variant)
        return runtime.run(container, stdin=stdin, stop=stop)


def _root(store: Store, variant: Variant) -> Filesystem:
    """The image's layers as snapshots, to be unpacked when they are looked at."""
    layers, diff_ids = variant.manifest.layers, variant.config.rootfs.diff_ids
    if len(layers) != len(diff_ids):
        raise ContentError(
            f"the image {variant.descriptor.digest} has {len(layers)} layers, and its "
            f"configuration speaks of {len(diff_ids)}"
        )
    top: int | None = None
    for descriptor, diff_id in zip(layers, diff_ids, strict=True):
        top = store.snapshots.define_layer(top, diff_id, descriptor, ()).id
    return Filesystem(top)


def _container(request: RunRequest, config: RunConfig, rootfs: Path) -> ContainerSpec:
    user = request.user or config.user
    return ContainerSpec(
        args=_arguments(request, config),
        rootfs=rootfs,
        env=_environment(config.env, request.env, rootfs, user),
        cwd=request.workdir or config.working_dir or "/",
        user=users.resolve(rootfs, user),
        mounts=tuple(
            BindMount(_source(volume.source), volume.target, readonly=volume.readonly)
            for volume in request.volumes
        ),
        network=request.network,
        hostname=request.hostname or DEFAULT_HOSTNAME,
        readonly_rootfs=request.readonly,
        terminal=request.terminal,
    )


def _arguments(request: RunRequest, config: RunConfig) -> tuple[str, ...]:
    if request.entrypoint is not None:
        arguments = request.entrypoint + request.command
    else:
        arguments = (config.entrypoint or ()) + (request.command or config.cmd or ())
    if not arguments:
        raise UsageError(
            f"no command specified: {request.image} has neither ENTRYPOINT nor CMD",
            hint=f"viaduct run {request.image} COMMAND",
        )
    return arguments


def _environment(
    image: Sequence[str], given: Sequence[str], rootfs: Path, user: str
) -> tuple[str, ...]:
    values = dict(text.partition("=")[::2] for text in (*image, *given))
    values.setdefault("HOME", users.resolve(rootfs, user).home or "/")
    return tuple(f"{name}={value}" for name, value in values.items())


def _source(path: Path) -> Path:
    """A volume's source; one that is missing is made a directory, as Docker does."""
    if not path.exists():
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(
                f"cannot make the volume's source {path}: {error.strerror}",
                hint="make it first, or name another one",
            ) from error
    return path.absolute()
