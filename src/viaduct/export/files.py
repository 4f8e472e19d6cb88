"""Results as plain files: `type=local` (a directory) and `type=tar`."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import BuildError
from viaduct.ops.copy import Target, copy_match
from viaduct.ops.select import Match, Tree, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.oci.platform import Platform

_SECOND = 1_000_000_000


def write_local(
    dest: Path,
    trees: Sequence[tuple[Platform, Path]],
    *,
    split: bool,
    owner: tuple[int, int],
    epoch: int | None = None,
    delete: bool = False,
) -> None:
    """Copy the trees to `dest`: each into a directory named after its platform (`linux_arm64`), or
    all into one, which they must then agree on.

    Everything belongs to `owner` (ids as this process sees them): the person who asked. `epoch`
    (seconds) becomes the time of everything. `delete` removes what `dest` holds and no tree does.
    Raises `BuildError` when two platforms hold files of one name, and OSError.
    """
    dest.mkdir(parents=True, exist_ok=True)
    if not split:
        _refuse_conflicts(trees)
    if delete:
        _remove_strangers(dest, trees, split=split)
    for platform, tree in trees:
        root = dest / platform.path_name if split else dest
        if split and root.is_symlink():
            # Nothing of ours: an earlier result left it, and it may lead anywhere.
            raise BuildError(
                f"{root} is a link, and a directory is to be written there",
                hint="remove it, or name another directory with dest=",
            )
        root.mkdir(exist_ok=True)
        source = Tree(os.fsencode(tree))
        copy_match(
            source,
            Match(source.root, b"/"),
            os.fsencode(root),
            "/",
            target=Target(owner=owner, time_ns=None if epoch is None else epoch * _SECOND),
        )


def _refuse_conflicts(trees: Sequence[tuple[Platform, Path]]) -> None:
    owners: dict[str, Platform] = {}
    for platform, tree in trees:
        for path in _files(tree):
            first = owners.setdefault(path, platform)
            if first is not platform:
                raise BuildError(
                    f"cannot overwrite {path} from {first} with {platform} "
                    "when split option is disabled",
                    hint="leave platform-split on, or make the file names differ",
                )


def _remove_strangers(dest: Path, trees: Sequence[tuple[Platform, Path]], *, split: bool) -> None:
    """Remove what the trees do not bring, and what is a directory on one side only."""
    brought: dict[str, bool] = {}
    for platform, tree in trees:
        prefix = platform.path_name if split else ""
        if prefix:
            brought[prefix] = True
        brought.update((os.path.join(prefix, path), is_dir) for path, is_dir in _entries(tree))
    for path, is_dir in _entries(dest, deepest_first=True):
        if brought.get(path) != is_dir:
            (os.rmdir if is_dir else os.unlink)(dest / path)


def _entries(tree: Path, *, deepest_first: bool = False) -> list[tuple[str, bool]]:
    """Every path below `tree`, and whether it is a directory; links are none."""
    source = Tree(os.fsencode(tree))
    found = [
        (os.fsdecode(entry.rel), stat.S_ISDIR(entry.info.st_mode))
        for entry in walk(source, Match(source.root, b"/"))
        if entry.rel
    ]
    return found[::-1] if deepest_first else found


def _files(tree: Path) -> Iterator[str]:
    """Paths of everything but directories, which may be shared."""
    return (path for path, is_dir in _entries(tree) if not is_dir)


def write_tar(
    out: BinaryIO,
    trees: Sequence[tuple[Platform, Path]],
    *,
    split: bool,
    epoch: int | None,
    stop: Stop,
) -> None:
    """Write the trees into one tar archive, below a directory per platform with `split`."""
    from viaduct.layer.pack import pack_trees

    if not split:
        _refuse_conflicts(trees)
    pack_trees(
        [(f"{platform.path_name}/" if split else "", tree) for platform, tree in trees],
        out,
        epoch=epoch,
        stop=stop,
    )
