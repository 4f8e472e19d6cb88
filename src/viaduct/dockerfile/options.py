"""What lowering is asked and what it answers, and the door through which it asks back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from viaduct.dockerfile.syntax import Instruction
from viaduct.graph.node import Edge
from viaduct.graph.ops import Ulimit
from viaduct.oci.models import ImageConfig
from viaduct.oci.platform import Platform, native


class LowerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a Dockerfile is to be built.

    `named_contexts` maps names as `contexts.context_keys` makes them to what the user wrote.
    `explicit_platform` is false when nobody asked for a platform: then the image keeps the one of
    its base. `multi_platform` puts the platform into step names. `network` is the mode of steps
    that do not choose one, `allow` the granted entitlements. `hostname` and `cache_namespace` are
    defaults for the build arguments `BUILDKIT_SANDBOX_HOSTNAME` and `BUILDKIT_CACHE_MOUNT_NS`.
    `all_stages` lowers also what the target does not need.
    """

    build_args: Mapping[str, str] = {}
    target: str = ""
    labels: Mapping[str, str] = {}
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    named_contexts: Mapping[str, str] = {}
    network: str = "default"
    add_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    allow: frozenset[str] = frozenset()
    build_platform: Platform = msgspec.field(default_factory=native)
    explicit_platform: bool = True
    multi_platform: bool = False
    hostname: str = ""
    cache_namespace: str = ""
    all_stages: bool = False


class ResolvedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a FROM, COPY or mount names.

    `reference` is complete and ends in the digest of the manifest for the platform; `layout` is
    the directory of an OCI layout, empty for a registry. `pinned` is what a person may copy into a
    FROM line to get the same for every platform: it ends in the digest of the index.
    """

    reference: str
    config: ImageConfig
    layout: str = ""
    pinned: str = ""


class LoadedContext(msgspec.Struct, frozen=True, kw_only=True):
    """A named context: its files (None: empty), and its configuration when it is an image."""

    edge: Edge | None
    config: ImageConfig | None = None


class Resolver(Protocol):
    """Answers what only the outside knows. Raises `ViaductError`; may be asked twice the same."""

    def resolve_image(self, reference: str, platform: Platform) -> ResolvedImage:
        """The image of a complete reference (`docker.io/library/debian:12`) for a platform."""
        ...

    def named_context(self, name: str, value: str, platform: Platform) -> LoadedContext:
        """The context that the user gave as `value` under `name`, a key of `named_contexts`."""
        ...

    def main_context(self) -> Edge:
        """The files of the build context."""
        ...

    def source_epoch(self, source: Edge) -> int | None:
        """Seconds since the epoch of a source's newest state (a commit's or a download's time)."""
        ...


class StageBase(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about the image that stage `index` starts from; None: not an image.

    `index` is -1 for an image that only an instruction reads from, the one at line `line`.
    `wanted` is the platform that was asked for; `triggers` are the ONBUILD instructions it ran.
    """

    index: int
    line: int
    reference: str
    wanted: Platform
    config: ImageConfig | None = None
    triggers: tuple[Instruction, ...] = ()


class UsedArg(msgspec.Struct, frozen=True):
    """A build argument that the target reads, declared on lines `line` to `last`."""

    name: str
    value: str
    description: str
    line: int
    last: int


class UsedSecret(msgspec.Struct, frozen=True):
    """A secret or ssh agent that the target mounts, on lines `line` to `last`."""

    name: str
    required: bool
    line: int
    last: int


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that a target takes, for `--call=outline`."""

    name: str = ""
    description: str = ""
    args: tuple[UsedArg, ...] = ()
    secrets: tuple[UsedSecret, ...] = ()
    ssh: tuple[UsedSecret, ...] = ()


class Lowered(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile for one platform, as a graph.

    `root` is the target's file system, None when it is empty. `config` is complete but for its
    `rootfs` and the times of new history entries: entries without `created` are to be given the
    build's time, and each one without `empty_layer` stands for one layer, in order. `base` is the
    configuration of the image that the target stands on, as it was. `epoch` is SOURCE_DATE_EPOCH.
    `context_paths` are the paths of the main context that are used, None for all of them.
    `unused_build_args` are named by the user but declared nowhere.
    """

    root: Edge | None
    config: ImageConfig
    base: ImageConfig | None
    platform: Platform
    epoch: int | None
    context_paths: tuple[str, ...] | None
    unused_build_args: tuple[str, ...]
    bases: tuple[StageBase, ...]
    outline: Outline
