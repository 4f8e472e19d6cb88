"""Which files of a tree an instruction means: one walk serves the cache key and the copy.

The rules are those of BuildKit's file operations: a source is a path or a `filepath.Match`
pattern; a match that is a directory stands for everything below it; include patterns (`--parents`)
and exclude patterns are `.dockerignore` patterns relative to the source.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Protocol

from viaduct.base.errors import BuildError
from viaduct.base.values import Value
from viaduct.dockerfile.gomatch import BAD_PATTERN, has_wildcards, is_malformed, matcher
from viaduct.ops.rootpath import clean, lstat, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.graph.ops import Copy


class Pattern(Protocol):
    """A `.dockerignore` matcher (`viaduct.dockerfile.ignore.Matcher`)."""

    def excludes(self, path: str) -> bool: ...

    def may_reinclude_below(self, directory: str) -> bool: ...


class Tree(Value):
    """A directory to select from. A person's own directory (`local`) hides what `ignored` matches,
    and its files belong to root, whatever the disk says."""

    root: bytes
    ignored: Pattern | None = None
    local: bool = False

    def hides(self, path: bytes) -> bool:
        """Whether the file at `path` (absolute in the tree) is not part of it."""
        return self.ignored is not None and self.ignored.excludes(_text(path))


class Match(Value):
    """One selected source: its path in the tree, links followed, and the name it was found by."""

    path: bytes
    name: bytes


class Entry(Value):
    """A file, directory, link or device below a match.

    `path` is where it is for this process, `rel` its path below the match (empty for the match
    itself). `implied` directories are not selected themselves but lead to something that is.
    """

    path: bytes
    rel: bytes
    info: os.stat_result
    implied: bool = False

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.info.st_mode)


def _text(path: bytes) -> str:
    return os.fsdecode(path).lstrip("/")


def matches(
    tree: Tree, copy: Copy, *, include: Pattern | None = None, exclude: Pattern | None = None
) -> list[Match]:
    """What the source of `copy` selects in `tree`, in name order.

    Raises `BuildError` (`"/x": not found`) for a plain path that is not there, and for a required
    one that the patterns do not select; a pattern may match nothing.
    """
    found = _matches(tree, copy)
    for required in copy.required:
        wanted = os.fsencode(required)
        paths = (
            match.name.rstrip(b"/") + b"/" + entry.rel
            for match in found
            for entry in walk(tree, match, include=include, exclude=exclude)
            if entry.rel and not entry.implied
        )
        if not any(path.startswith(wanted) for path in paths):
            raise _not_found(tree, required, resolve(tree.root, wanted))
    if include is not None and len(found) > 1:
        # Pivots that a pattern met: those without anything below them would only give their looks.
        full = [
            match
            for match in found
            if any(
                e.rel and not e.implied for e in walk(tree, match, include=include, exclude=exclude)
            )
        ]
        found = full or found[:1]
    return found


def _matches(tree: Tree, copy: Copy) -> list[Match]:
    source = copy.source
    if not copy.wildcard or not has_wildcards(source):
        return [_existing(tree, source, follow=copy.follow)]
    parts = clean(os.fsencode(source)).split(b"/")[1:]
    at = next(i for i, part in enumerate(parts) if has_wildcards(os.fsdecode(part)))
    prefix = b"/" + b"/".join(parts[:at])
    if is_malformed(source):
        listed = f"invalid includepatterns: [{source.lstrip('/')}]: " if tree.local else ""
        raise BuildError(f"{listed}{BAD_PATTERN}")
    base = resolve(tree.root, prefix, follow_last=copy.follow)
    if lstat(base) is None:
        return []
    found = _glob(base, tuple(os.fsdecode(part) for part in parts[at:]))
    out = []
    for path in sorted(found):
        name = path[len(tree.root) :]
        if tree.hides(name) and not _leads_to_visible(tree, name):
            continue
        # What a matching link leads to must be there, as if it had been named.
        match = _existing(tree, os.fsdecode(name), follow=copy.follow)
        # A pivot of `--parents` is a directory; a file that its pattern meets has nothing below it.
        if not (copy.parents and tree.local) or stat.S_ISDIR(os.lstat(match.path).st_mode):
            out.append(match)
    return out


def _existing(tree: Tree, source: str, *, follow: bool) -> Match:
    name = clean(os.fsencode(source))
    path = resolve(tree.root, name, follow_last=follow)
    inside = path[len(tree.root) :]
    if lstat(path) is None or (
        inside and tree.hides(inside) and not _leads_to_visible(tree, inside)
    ):
        raise _not_found(tree, os.fsdecode(name), path)
    return Match(path, name)


def _not_found(tree: Tree, name: str, path: bytes) -> BuildError:
    hint = ""
    if lstat(path) is not None and tree.hides(path[len(tree.root) :]):
        hint = "it is excluded by .dockerignore"
    elif tree.local:
        hint = "check the path; it is relative to the build context"
    return BuildError(f'"{name}": not found', hint=hint)


def _leads_to_visible(tree: Tree, name: bytes) -> bool:
    """An excluded directory still exists for COPY when a `!` pattern may bring something back."""
    if tree.ignored is None:
        return True
    found = lstat(tree.root + name)
    return (
        found is not None
        and stat.S_ISDIR(found.st_mode)
        and tree.ignored.may_reinclude_below(_text(name))
    )


def _glob(base: bytes, parts: tuple[str, ...]) -> list[bytes]:
    level = [base]
    for index, part in enumerate(parts):
        wanted = matcher(part)
        last = index == len(parts) - 1
        found = []
        for directory in level:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(directory) as entries,
            ):
                found += [
                    entry.path
                    for entry in entries
                    if wanted(os.fsdecode(entry.name))
                    and (last or entry.is_dir(follow_symlinks=False))
                ]
        level = found
    return level


def walk(
    tree: Tree, match: Match, *, include: Pattern | None = None, exclude: Pattern | None = None
) -> Iterator[Entry]:
    """Everything a match stands for, parents first, names in byte order.

    A directory that is not selected itself but may hold something selected is yielded as `implied`;
    who copies makes it only when something below it follows.
    """
    info = os.lstat(match.path)
    yield Entry(match.path, b"", info)
    if stat.S_ISDIR(info.st_mode):
        yield from _below(tree, match.path, include, exclude)


def _below(
    tree: Tree,
    directory: bytes,
    include: Pattern | None,
    exclude: Pattern | None,
) -> Iterator[Entry]:
    skip = len(tree.root)
    ignored = tree.ignored
    # Without recursion: a step makes directories as deep as it likes.
    pending = _listed(directory, b"")
    while pending:
        entry, below = pending.pop()
        path = entry.path
        is_dir = entry.is_dir(follow_symlinks=False)
        selected = True
        text = ""
        if include is not None or exclude is not None:
            text = os.fsdecode(below)
        if ignored is not None and ignored.excludes(_text(path[skip:])):
            if not is_dir or not ignored.may_reinclude_below(_text(path[skip:])):
                continue
            selected = False
        if exclude is not None and exclude.excludes(text):
            if not is_dir or not exclude.may_reinclude_below(text):
                continue
            selected = False
        if include is not None and not include.excludes(text):
            if not is_dir:
                continue
            selected = False
        info = entry.stat(follow_symlinks=False)
        yield Entry(path, below, info, implied=not selected)
        if is_dir:
            pending += _listed(path, below)


def _listed(directory: bytes, rel: bytes) -> list[tuple[os.DirEntry[bytes], bytes]]:
    """The entries of a directory with their names below the match, the first one last."""
    with os.scandir(directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
    return [(entry, rel + b"/" + entry.name if rel else entry.name) for entry in entries]
