"""What a build is asked to do, and what it answers: plain values.

The command line, the Python API and (later) a BuildKit client all make the same `BuildRequest`.
Text is already parsed here: platforms are `Platform`, outputs are `Output`; only the context and
the named contexts stay text, because what they are is decided by looking at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.base.errors import ViaductError
    from viaduct.base.events import Warned
    from viaduct.graph.ops import Ulimit
    from viaduct.oci.models import Descriptor
    from viaduct.oci.platform import Platform

#: `-` as a file name: standard input or output.
STDIO = "-"


class Annotation(Value):
    """One OCI annotation and where it goes.

    `level` is `manifest`, `manifest-descriptor`, `index` or `index-descriptor`; `platform` limits
    it to one platform's manifest.
    """

    key: str
    value: str
    level: str = "manifest"
    platform: Platform | None = None


class Output(Value):
    """One place for the result (REFERENCE of the peers: `--output type=…`).

    `kind` is `image`, `oci`, `docker`, `local`, `tar` or `cacheonly` (`registry` is `image` with
    `push`). `dest` is a path or `-` for the kinds that write files. `names` are complete
    references. `load` puts the image under its names into a Docker engine where one answers and
    into our own store otherwise. `delete` removes what is in the directory and not in the result.
    """

    kind: str
    dest: str = ""
    names: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    push_by_digest: bool = False
    name_canonical: bool = False
    insecure: bool = False
    store: bool = True
    oci_mediatypes: bool = True
    compression: str = "gzip"
    compression_level: int | None = None
    force_compression: bool = False
    rewrite_timestamp: bool = False
    epoch: int | None = None
    annotations: tuple[Annotation, ...] = ()
    tar: bool = True
    platform_split: bool | None = None
    delete: bool = False


class Secret(Value):
    """A secret's source: a file's path or an environment variable's name, never its value."""

    id: str
    path: str = ""
    env: str = ""


class SSHAgent(Value):
    """An agent socket or private key files forwarded under `id`; no paths: `$SSH_AUTH_SOCK`."""

    id: str = "default"
    paths: tuple[str, ...] = ()


class RegistryOptions(Value):
    """Per-call additions to the registry configuration file: hosts to reach without verified TLS,
    and mirrors by host."""

    insecure: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class BuildRequest(Value):
    """One build.

    `context` is a directory, a git or http(s) URL, or `-`; `dockerfile` a path (relative to the
    current directory, or inside of a remote context), an http(s) URL, `-`, or empty for
    `Dockerfile` in the context. No `platforms` means the machine's own. A build argument whose
    value is None was named without one and is absent from the environment. `epoch` None means
    now. `call` is `build`, or a question to the Dockerfile: `check`, `outline`, `targets` or
    `describe`, answered as JSON with `call_json`. `jobs` is how many steps run side by side, 0 for
    one per core.
    """

    context: str
    dockerfile: str = ""
    platforms: tuple[Platform, ...] = ()
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    build_args: Mapping[str, str] = msgspec.field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str = "default"
    add_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    named_contexts: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[SSHAgent, ...] = ()
    allow: tuple[str, ...] = ()
    registries: RegistryOptions = RegistryOptions()
    call: str = "build"
    call_json: bool = False
    jobs: int = 0


class BuiltImage(Value):
    """The image of one platform: its manifest's descriptor (with platform) and config digest."""

    platform: Platform
    manifest: Descriptor
    config_digest: str


class BuildResult(Value):
    """What a build made.

    `root` is the descriptor of what a tag points to: an index, or a single manifest; None when no
    image was asked for. `images` are in the order of the request's platforms. `names` are the
    references that now exist (pushed or stored). `report` is the text or JSON of `--call`;
    `status` the exit status that a `check` asks for, and `failure` what it found that would end
    a build, to be told after the report.
    """

    root: Descriptor | None = None
    images: tuple[BuiltImage, ...] = ()
    names: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()
    ref: str = ""
    report: str = ""
    status: int = 0
    failure: ViaductError | None = None
