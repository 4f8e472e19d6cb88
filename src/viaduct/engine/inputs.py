"""What a build reads: its Dockerfile, its context, and what the context leaves out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import NotFound, UsageError
from viaduct.base.fs import read_file
from viaduct.base.values import Value
from viaduct.dockerfile import contexts, parse
from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.ignore import read_ignore_file
from viaduct.engine.request import STDIO
from viaduct.engine.work import work
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import Copy, File, HttpSource
from viaduct.ops.rootpath import resolve
from viaduct.ops.trees import Filesystem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viaduct.base.spans import Source
    from viaduct.engine.request import BuildRequest
    from viaduct.engine.shop import Shop

    Materialize = Callable[[Edge], Path]

CONTEXT = "context"
_NAMES = ("Dockerfile", "dockerfile")
_LIMIT = 64 << 20
_LOAD_CONTEXT = "[internal] load build context"


class Inputs(Value):
    """`dockerfile` as read; `context` is the graph's node for a context that is no local directory;
    `locals` are the directories by the names that `LocalSource` uses, `excludes` their ignore
    patterns, and `ignore_file` is the file that those of the context came from."""

    dockerfile: Source
    context: Edge | None = None
    locals: Mapping[str, Path] = msgspec.field(default_factory=dict)
    excludes: tuple[str, ...] = ()
    ignore_file: str = ""


def load(shop: Shop, request: BuildRequest, materialize: Materialize) -> Inputs:
    """Find and read the inputs of `request`.

    `materialize` evaluates a node and returns a directory that shows it. Raises `UsageError` for
    combinations that make no sense, `NotFound` for a missing context or Dockerfile.
    """
    for name, value in request.named_contexts.items():
        named = contexts.classify_named(value)
        # A path that is empty is a variable that was not set, not the current directory.
        if isinstance(named, contexts.LocalContext) and not (value and Path(named.path).is_dir()):
            exists = bool(value) and Path(named.path).exists()
            raise NotFound(
                f"failed to get build context {name}: {named.path if value else quote(value)}: "
                f"{'is not a directory' if exists else 'no such directory'}",
                hint=f"check --build-context {name}=…",
            )
    if request.context == STDIO and request.dockerfile == STDIO:
        raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    kind = contexts.LocalContext(request.context)
    if not Path(request.context).is_dir():
        classified = contexts.classify(request.context)
        if isinstance(classified, contexts.StdinContext):
            return _from_stdin(shop, request)
        if isinstance(classified, contexts.GitContext):
            shown = f"[internal] load git source {request.context}"
            return _from_remote(shop, request, Edge(git_node(classified, shown)), materialize)
        if isinstance(classified, contexts.HttpContext):
            return _from_url(shop, request, classified.url, materialize)
        kind = classified
    return _from_directory(shop, request, Path(kind.path))


def git_node(context: contexts.GitContext, name: str) -> Node:
    """The node of a context that is a git repository."""
    return Node(context.reference.source(), name=name)


def unpacked(url: str, name: str) -> Edge:
    """The root file system that an archive behind a URL holds."""
    source = Node(HttpSource(url=url, filename="context"), name=name)
    unpack = Copy(input=0, source="/context", dest="/", unpack=True, wildcard=False)
    node = Node(File(actions=(unpack,), base=-1), (Edge(source),), name=f"{name} (unpack)")
    return Edge(node)


def _from_directory(shop: Shop, request: BuildRequest, root: Path) -> Inputs:
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "not found"
        raise NotFound(
            f'unable to prepare context: path "{request.context}" {what}',
            hint="name the directory with the files to copy; the Dockerfile is named with -f",
        )
    path = _dockerfile_path(request, root)
    if path is not None and _leaves(path, root):
        raise NotFound(
            f"failed to read dockerfile: open {path.name}: no such file or directory",
            hint=f"{path} is a link to {path.resolve()}, which is not in the context; "
            "name that with -f",
        )
    source = _read(shop, request, path, root)
    excludes, ignore_file = _excludes(shop, root, path)
    return Inputs(
        source, locals={CONTEXT: root.absolute()}, excludes=excludes, ignore_file=ignore_file
    )


def _dockerfile_path(request: BuildRequest, root: Path) -> Path | None:
    """Where the Dockerfile is; None when it is not a local file."""
    if request.dockerfile == STDIO or contexts.is_http(request.dockerfile):
        return None
    if request.dockerfile:
        return Path(request.dockerfile)
    for name in _NAMES:
        if (root / name).is_file():
            return root / name
    return root / _NAMES[0]


def _leaves(path: Path, root: Path) -> bool:
    """Whether this file of the context is a link out of it: errors quote lines, and whoever wrote
    the context is not to read this machine's files through them."""
    return _belongs(path, root) and not _resolved(path).is_relative_to(root.resolve())


def _belongs(path: Path, root: Path) -> bool:
    return _resolved(path.parent).is_relative_to(root.resolve())


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:
        # Links that lead in a circle: opening them will tell.
        return path


def _read(shop: Shop, request: BuildRequest, path: Path | None, root: Path) -> Source:
    shown = "Dockerfile" if path is None else path.name
    with work(shop.sink, shop.stop, f"[internal] load build definition from {shown}") as job:
        if request.dockerfile == STDIO:
            data = sys.stdin.buffer.read(_LIMIT)
        elif path is None:
            found = shop.downloads().fetch(request.dockerfile, stop=shop.stop)
            data = shop.store.content.read(found.digest)
        else:
            try:
                # What a person names may be a pipe from another program.
                inside = _belongs(path, root)
                data = read_file(path, limit=_LIMIT) if inside else path.read_bytes()
            except OSError as error:
                raise NotFound(
                    f"failed to read dockerfile: open {path}: {(error.strerror or '').lower()}",
                    hint="name it with -f, or run the command where it is",
                ) from error
        job.status("transferring dockerfile:", len(data), done=True)
    return parse.decode(data, shown if path is None else str(path))


def _excludes(shop: Shop, root: Path, dockerfile: Path | None) -> tuple[tuple[str, ...], str]:
    """The context's ignore patterns: `<Dockerfile>.dockerignore` wins over the context's own."""
    candidates = [root / ".dockerignore"]
    if dockerfile is not None:
        candidates.insert(0, dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
    with work(shop.sink, shop.stop, "[internal] load .dockerignore") as job:
        for path in candidates:
            if path.is_file() and not _leaves(path, root):
                patterns, size = read_ignore(path)
                job.status("transferring context:", size, done=True)
                return patterns, str(path)
        job.status("transferring context:", 2, done=True)
    return (), ""


def read_ignore(path: Path) -> tuple[tuple[str, ...], int]:
    """The patterns of an ignore file, and its size. Raises `NotFound` when it cannot be read."""
    try:
        data = read_file(path, limit=_LIMIT)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    return read_ignore_file(data, str(path)), len(data)


def _from_stdin(shop: Shop, request: BuildRequest) -> Inputs:
    """An archive is the context; anything else is a Dockerfile with an empty context."""
    import shutil
    import tempfile

    from viaduct.layer import extract

    with tempfile.TemporaryFile(dir=shop.store.root) as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
        spool.seek(0)
        if not extract.is_archive(spool):
            text = spool.read(_LIMIT)
            return Inputs(parse.decode(text), locals={CONTEXT: _empty(shop)})
        with (
            work(shop.sink, shop.stop, _LOAD_CONTEXT),
            shop.trees.change(
                Filesystem(), description="build context", stop=shop.stop, kind="source.local"
            ) as change,
        ):
            extract.extract(spool, change.path, stop=shop.stop)
            context = shop.trees.commit(change)
    root = shop.trees.view(context, shop.stop)
    return Inputs(_inside(request, root), locals={CONTEXT: root})


def _from_url(shop: Shop, request: BuildRequest, url: str, materialize: Materialize) -> Inputs:
    from viaduct.layer import extract

    found = shop.downloads().fetch(url, stop=shop.stop)
    with shop.store.content.open(found.digest) as stream:
        archive = extract.is_archive(stream)
    if not archive:
        data = shop.store.content.read(found.digest)
        return Inputs(parse.decode(data), locals={CONTEXT: _empty(shop)})
    context = unpacked(url, f"[internal] load remote build context {url}")
    return _from_remote(shop, request, context, materialize)


def _from_remote(
    shop: Shop, request: BuildRequest, context: Edge, materialize: Materialize
) -> Inputs:
    root = materialize(context)
    if request.dockerfile == STDIO or contexts.is_http(request.dockerfile):
        return Inputs(_read(shop, request, None, root), context=context)
    return Inputs(_inside(request, root), context=context)


def _inside(request: BuildRequest, root: Path) -> Source:
    """The Dockerfile of a context that is not a directory of the person's: never outside of it."""
    names = (request.dockerfile,) if request.dockerfile else _NAMES
    for name in names:
        path = Path(os.fsdecode(resolve(os.fsencode(root), os.fsencode(name))))
        if path.is_file():
            try:
                return parse.decode(read_file(path, limit=_LIMIT), name)
            except OSError as error:
                why = (error.strerror or "").lower()
                raise NotFound(f"failed to read dockerfile: open {name}: {why}") from error
    raise NotFound(
        f"failed to read dockerfile: open {names[0]}: no such file or directory",
        hint="name it with -f; the path is inside of the context",
    )


def _empty(shop: Shop) -> Path:
    path = shop.run / "empty"
    path.mkdir(exist_ok=True)
    return path
