"""File operations: COPY, ADD, WORKDIR and heredoc files, without running anything."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from viaduct.base.errors import BuildError, DockerfileError
from viaduct.dockerfile.gomatch import BAD_PATTERN
from viaduct.graph.node import canonical
from viaduct.graph.ops import Copy, MakeDir, MakeFile, owner_id
from viaduct.oci import digest as digests
from viaduct.ops import chmod
from viaduct.ops.content import copy_digest
from viaduct.ops.copy import Target, copy_match, make_directories
from viaduct.ops.rootpath import lstat, resolve
from viaduct.ops.select import matches
from viaduct.ops.trees import Filesystem, LocalTree
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.graph.ops import File, FileAction, Owner
    from viaduct.oci.digest import Digest
    from viaduct.ops.content import HashCache
    from viaduct.ops.select import Match, Pattern, Tree
    from viaduct.ops.trees import Trees
    from viaduct.solve.plan import Job, Result


class FileOp:
    """Evaluates a `File` node. Sources count by their selected content, the base by its key."""

    heavy = True
    remote = False

    def __init__(self, node: Node, op: File, trees: Trees, hashes: HashCache) -> None:
        self._node = node
        self._op = op
        self._trees = trees
        self._hashes = hashes

    def cache_map(self, stop: Stop) -> CacheMap:
        sources = {a.input for a in self._op.actions if isinstance(a, Copy) and a.input >= 0}
        return CacheMap(
            digests.of(canonical(("file", self._op))),
            by_content=frozenset(sources - {self._op.base}),
        )

    def content_digest(self, index: int, result: Result, job: Job) -> Digest:
        tree = self._tree(result, job)
        seen = 0

        def progress(size: int) -> None:
            nonlocal seen
            job.stop.check()
            seen += size

        found = [
            copy_digest(
                tree,
                action,
                include=_include(action),
                exclude=_exclude(action),
                cache=self._hashes if tree.local else None,
                progress=progress,
            )
            for action in self._op.actions
            if isinstance(action, Copy) and action.input == index
        ]
        return found[0] if len(found) == 1 else digests.of("\n".join(found).encode())

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        base = Filesystem() if self._op.base < 0 else _filesystem(inputs[self._op.base])
        with self._trees.change(base, description=self._node.name, stop=job.stop) as change:
            for action in self._op.actions:
                job.stop.check()
                self._apply(change.path, action, inputs, job)
            return [self._trees.commit(change)]

    def _tree(self, result: Result, job: Job) -> Tree:
        assert isinstance(result, Filesystem | LocalTree)
        return self._trees.select(result, job.stop)

    def _apply(self, root: Path, action: FileAction, inputs: Sequence[Result], job: Job) -> None:
        where = os.fsencode(root)
        match action:
            case Copy():
                source = Filesystem() if action.input < 0 else inputs[action.input]
                self._copy(where, root, action, self._tree(source, job), job)
            case MakeDir():
                make_directories(
                    where,
                    os.fsencode(action.path),
                    mode=action.mode,
                    owner=self._owner(root, action.owner),
                    time_ns=_time(action.epoch),
                )
            case MakeFile():
                self._make_file(where, root, action)

    def _copy(self, where: bytes, root: Path, action: Copy, tree: Tree, job: Job) -> None:
        target = Target(
            owner=self._owner(root, action.owner),
            mode=chmod.parse(action.mode) if action.mode else None,
            time_ns=_time(action.epoch),
            # Symbolic modes say how to change a mode, and what is made has none yet.
            parents=int(action.mode, 8) & 0o777 if action.mode.isdigit() else 0o755,
        )
        dest = action.dest + "/" if action.into and not action.dest.endswith("/") else action.dest
        include, exclude = _include(action), _exclude(action)
        for match in matches(tree, action, include=include, exclude=exclude):
            job.stop.check()
            if action.unpack and self._unpack(match, where, root, dest, target, job):
                continue
            copy_match(tree, match, where, dest, target=target, include=include, exclude=exclude)

    def _unpack(
        self, match: Match, where: bytes, root: Path, dest: str, target: Target, job: Job
    ) -> bool:
        """Extract the match into `dest` if it is an archive; whether it was one."""
        from viaduct.layer import extract

        found = lstat(match.path)
        if found is None or not stat.S_ISREG(found.st_mode):
            return False
        with open(os.open(match.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
            if not extract.is_archive(stream):
                return False
            make_directories(where, os.fsencode(dest), owner=target.owner)
            extract.extract(
                stream,
                root,
                dest,
                owner=target.owner,
                squash_owner=self._trees.squash_owner,
                stop=job.stop,
            )
        return True

    def _owner(self, root: Path, owner: Owner | None) -> tuple[int, int] | None:
        """Who shall own what is made; where only one id exists, there is no choice."""
        found = _resolve_owner(root, owner)
        return (0, 0) if found and self._trees.squash_owner else found

    def _make_file(self, where: bytes, root: Path, action: MakeFile) -> None:
        path = resolve(where, os.fsencode(action.path))
        mode = chmod.parse(action.mode)(0o644, is_dir=False)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BuildError(f"open {action.path}: {(error.strerror or '').lower()}") from None
        with open(fd, "wb") as file:
            file.write(action.data.encode("utf-8", "surrogateescape"))
            if (owner := self._owner(root, action.owner)) is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
        if (time_ns := _time(action.epoch)) is not None:
            os.utime(path, ns=(time_ns, time_ns))


def _filesystem(result: Result) -> Filesystem:
    assert isinstance(result, Filesystem)
    return result


def _time(epoch: int) -> int | None:
    return epoch * 1_000_000_000 if epoch >= 0 else None


def _resolve_owner(root: Path, owner: Owner | None) -> tuple[int, int] | None:
    """Who the owner is in `root`; a name that is not there means 0, as BuildKit has it."""
    if owner is None:
        return None
    from viaduct.sandbox import users

    uid = gid = 0
    if (number := owner_id(owner.user)) is not None:
        # A bare number names the group too; the image's passwd is not asked.
        uid = gid = number
    elif (found := users.find_user(root, owner.user)) is not None:
        uid, gid = found
    if owner.group:
        number = owner_id(owner.group)
        group = users.find_group(root, owner.group) if number is None else number
        gid = gid if group is None else group
    return uid, gid


def _include(action: Copy) -> Pattern | None:
    if not action.includes:
        return None
    from viaduct.dockerfile.ignore import Matcher

    return Matcher(action.includes)


def _exclude(action: Copy) -> Pattern | None:
    if not action.excludes:
        return None
    from viaduct.dockerfile.ignore import Matcher

    try:
        return Matcher(action.excludes)
    except DockerfileError as error:
        listed = " ".join(action.excludes)
        raise BuildError(f"invalid excludepatterns: [{listed}]: {BAD_PATTERN}") from error
