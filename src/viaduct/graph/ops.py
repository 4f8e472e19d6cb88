"""The build graph: operations as immutable values.

The operations mirror BuildKit's LLB one to one, so that a BuildKit client's definition can be
translated into this graph and back: sources (image, local, http, git), exec, file and merge.
Nothing here knows how an operation is carried out; `viaduct.ops` does.

An operation says *what* is done; a `Node` joins it to the outputs of other nodes that it reads.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec


class Value(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of all operation values: hashable, comparable, canonically encodable."""


# --- sources -------------------------------------------------------------------------------------


class ImageSource(Value, frozen=True, tag="image"):
    """An image's root file system.

    `reference` is complete and ends in the digest of the manifest for the node's platform
    (`docker.io/library/debian:12@sha256:…`). `layout` is the directory of an OCI layout when the
    image comes from there instead of a registry.
    """

    reference: str
    layout: str = ""


class LocalSource(Value, frozen=True, tag="local"):
    """A directory of the person who builds.

    `name` selects it among the request's local directories (`context`, or a named context);
    `excludes` are `.dockerignore` patterns in file order.
    """

    name: str
    excludes: tuple[str, ...] = ()


class HttpSource(Value, frozen=True, tag="http"):
    """One file from a URL, as a root file system with that file at its top.

    `filename` names the file (default: last segment of the URL, `download` when empty);
    `checksum` is `sha256:…` or empty; `mode` its permission bits.
    """

    url: str
    checksum: str = ""
    filename: str = ""
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


class GitSource(Value, frozen=True, tag="git"):
    """A checkout of a git repository.

    `ref` is a branch, tag, commit or empty for the remote's default; `subdir` becomes the root;
    `checksum` is the (possibly shortened) commit that must result; `fetch_by_commit` trusts it
    and fetches it directly. `mtime` is `commit` to give files the commit's time, or empty.
    """

    remote: str
    ref: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    checksum: str = ""
    mtime: str = ""
    fetch_by_commit: bool = False


# --- exec ----------------------------------------------------------------------------------------


class Mount(Value, frozen=True):
    """Something mounted while a command runs.

    `kind` is `bind`, `cache`, `tmpfs`, `secret` or `ssh`. `input` is the index of the node's input
    it shows (-1: none, an empty directory), `selector` the path inside of it. `output` is the index
    of the node's output that keeps what was written there (-1: nothing is kept). The root file
    system is the mount whose target is `/`; it comes first. `id` names a cache, secret or ssh
    agent; `cache_platform` keys a cache mount by platform (empty: shared by all). `env` is the
    variable that receives a secret's value, and an empty `target` then means no file. `sharing` is
    `shared`, `private` or `locked`. `size` is in bytes, 0 for unlimited.
    """

    target: str
    kind: str = "bind"
    input: int = -1
    selector: str = "/"
    output: int = -1
    readonly: bool = False
    id: str = ""
    cache_platform: str = ""
    sharing: str = "shared"
    env: str = ""
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    required: bool = False


class Ulimit(Value, frozen=True):
    name: str
    soft: int
    hard: int


class Exec(Value, frozen=True, tag="exec"):
    """A command run in a root file system.

    `args` is what is executed, without a shell unless it names one. `env` are `K=V` strings.
    `user` is the text of USER, resolved in the root file system. `network` is `default`, `host` or
    `none`; `security` is `sandbox` or `insecure`. `proxy_env` reaches the process but, like
    `hostname`, `extra_hosts`, `ulimits` and `shm_size`, no cache key.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    proxy_env: tuple[str, ...] = ()
    hostname: str = ""
    extra_hosts: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0


# --- file ----------------------------------------------------------------------------------------


class Owner(Value, frozen=True):
    """`user[:group]` by name or number; names are looked up in the root being changed. A user that
    is not there means 0:0. Without a group, or with one that is not there, it is that user's own,
    or the same number. `owner_id` tells names from numbers."""

    user: str
    group: str = ""


def owner_id(text: str) -> int | None:
    """The id that the text is as a number, None when it is a name; `root` is 0 without a look-up.

    As BuildKit reads it: a signed number of 32 bits, of which -1 changes nothing.
    """
    if text in ("root", "-1"):
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not -(1 << 31) <= int(text) < 1 << 31:
        return None
    return int(text) & 0xFFFFFFFF


class Copy(Value, frozen=True, tag="copy"):
    """Copy `source` (inside of input `input`) to `dest`, both absolute; parents of `dest` are made.

    `mode` is four octal digits or symbolic (`u=rwX,go=rX`), empty to keep. `owner` None keeps
    the source's (files of a person's own directory belong to 0:0).
    `unpack` extracts a recognised archive into `dest` instead of copying it. `contents`: of a
    directory only what is in it is copied, into a `dest` that keeps its own metadata where it
    exists. `wildcard` reads `source` as a Go `filepath.Match` pattern which may match nothing.
    `follow` resolves symbolic links in the path of `source`. `into` says that `dest` is a directory
    (it ended in `/` or `/.`); where it is not set, an existing directory still receives the file.
    `excludes` are `.dockerignore` patterns relative to each source. `parents` keeps paths below
    `dest`: `source` is then the pivot, `includes` the `.dockerignore`-style patterns below it (with
    `**`) of what is copied, and `required` the absolute paths that must exist. `epoch` replaces all
    file times when >= 0 (seconds).
    """

    input: int
    source: str
    dest: str
    owner: Owner | None = None
    mode: str = ""
    unpack: bool = False
    wildcard: bool = True
    contents: bool = True
    parents: bool = False
    includes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    into: bool = False
    follow: bool = True
    epoch: int = -1


class MakeFile(Value, frozen=True, tag="mkfile"):
    """Write a file with `data` (kept as text; it is what a heredoc holds)."""

    path: str
    data: str
    mode: str = "0644"
    owner: Owner | None = None
    epoch: int = -1


class MakeDir(Value, frozen=True, tag="mkdir"):
    """Make a directory with its parents; an existing one is left as it is."""

    path: str
    mode: int = 0o755
    owner: Owner | None = None
    parents: bool = True
    epoch: int = -1


FileAction: TypeAlias = Copy | MakeFile | MakeDir


class File(Value, frozen=True, tag="file"):
    """Change files without running anything: `actions` in order, on input `base` (-1: scratch)."""

    actions: tuple[FileAction, ...]
    base: int = 0


# --- trees ---------------------------------------------------------------------------------------


class Merge(Value, frozen=True, tag="merge"):
    """All inputs laid over each other, the last one on top."""


Op: TypeAlias = ImageSource | LocalSource | HttpSource | GitSource | Exec | File | Merge
