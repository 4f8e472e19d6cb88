"""One build leg: what all its instructions share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.arguments import proxy_environment
from viaduct.dockerfile.expand import expand_word
from viaduct.dockerfile.gotext import clean, join, quote
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import File, Owner, owner_id

if TYPE_CHECKING:
    from viaduct.base.spans import Span
    from viaduct.dockerfile.options import LowerOptions, Resolver
    from viaduct.dockerfile.stages import Plan
    from viaduct.dockerfile.state import StageState
    from viaduct.dockerfile.syntax import Heredoc, Word
    from viaduct.graph.ops import FileAction, Op
    from viaduct.oci.platform import Platform

_HOSTNAME = "BUILDKIT_SANDBOX_HOSTNAME"
_CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"


class Leg:
    """A document lowered for one platform.

    `context_paths` collects which paths of the main context are read.
    """

    def __init__(self, plan: Plan, resolver: Resolver, epoch: int | None) -> None:
        self.options: LowerOptions = plan.options
        self.platform: Platform = plan.platform
        self.escape = plan.document.escape
        self.args = plan.args
        self.epoch = epoch
        build_args = plan.args.build_args
        self.proxy_env = proxy_environment(build_args)
        self.hostname = build_args.get(_HOSTNAME) or plan.options.hostname
        self.cache_namespace = build_args.get(_CACHE_NAMESPACE) or plan.options.cache_namespace
        self.context_paths: set[str] = set()
        self._resolver = resolver
        self._context: Edge | None = None

    def context(self) -> Edge:
        """The main context, asked for when it is first read."""
        if self._context is None:
            self._context = self._resolver.main_context()
        return self._context

    def word(self, state: StageState, word: Word) -> str:
        """A word with the stage's variables in place. Raises `DockerfileError`."""
        return self.text(state, word.text)

    def text(self, state: StageState, text: str) -> str:
        return expand_word(text, state.env, escape=self.escape)

    def content(self, state: StageState, heredoc: Heredoc) -> str:
        """What a here-document holds, variables in place where its word was not quoted."""
        if not heredoc.expand:
            return heredoc.body
        return expand_word(heredoc.body, state.env, skip_quotes=True)

    def node(
        self,
        op: Op,
        inputs: tuple[Edge, ...],
        name: str,
        where: Span | None,
        *,
        platform: str = "",
        no_cache: bool = False,
        emulated: bool = False,
    ) -> Edge:
        """Output 0 of a new node."""
        return Edge(
            Node(
                op,
                inputs,
                platform=platform,
                name=name,
                platform_group=str(self.platform),
                where=where,
                no_cache=no_cache,
                emulated=emulated,
            )
        )

    def file(
        self,
        actions: tuple[FileAction, ...],
        base: Edge | None,
        sources: tuple[Edge, ...],
        name: str,
        where: Span | None,
        *,
        no_cache: bool = False,
    ) -> Edge:
        """Files changed on top of `base`; the actions' inputs count from it when there is one."""
        op = File(actions=actions, base=-1 if base is None else 0)
        inputs = sources if base is None else (base, *sources)
        return self.node(op, inputs, name, where, no_cache=no_cache)


def absolute(path: str, directory: str, system: str) -> str:
    """A path of WORKDIR: joined when relative, else as written.

    On Windows back slashes become slashes, and a drive letter, which must be `c:`, falls away.
    Raises `DockerfileError` for another drive.
    """
    if system == "windows":
        path, directory = _without_drive(path), _without_drive(directory)
    path = path or directory or "/"
    return path if path.startswith("/") else join("/", directory, path)


def _without_drive(path: str) -> str:
    path = path.replace("\\", "/")
    drive, colon, rest = path.partition(":")
    if path.startswith("//"):
        raise DockerfileError("UNC paths are not supported")
    if not colon:
        return clean(path) if path else ""
    if len(path) == 2:
        raise DockerfileError(f"No relative path specified in {quote(path)}")
    if drive.lower() != "c":
        raise DockerfileError("The specified path is not on the system drive (C:)")
    return clean(rest)


def native_path(path: str, system: str) -> str:
    """A path as programs of that system write it."""
    return path.replace("/", "\\") if system == "windows" else path


def owner_of(user: str) -> Owner | None:
    """`user[:group]` as an owner; None for nobody in particular."""
    if not user:
        return None
    name, colon, group = user.partition(":")
    return Owner(user=name or "0", group=(group or "0") if colon else "")


def check_owner(owner: Owner | None, below: Edge | None, hint: str) -> None:
    """Names need an /etc/passwd to be looked up in: `below`, which is None on top of nothing.

    (In a tree without that file an unknown name means root, as BuildKit has it.)
    """
    if owner is None or below is not None:
        return
    for name in (owner.user, owner.group):
        if name and owner_id(name) is None:
            raise DockerfileError(
                f"cannot look up {quote(name)}: below this layer is no /etc/passwd", hint=hint
            )
