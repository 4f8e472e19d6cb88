"""What RUN mounts besides its root: other trees, caches, secrets and agents."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import BuildError
from viaduct.base.values import Value
from viaduct.ops import ssh
from viaduct.ops.copy import Target, copy_match
from viaduct.ops.rootpath import clean, lstat, resolve
from viaduct.ops.select import Match
from viaduct.ops.trees import Filesystem, LocalTree
from viaduct.sandbox.inside import open_inside
from viaduct.sandbox.mounts import Bind, mounted
from viaduct.sandbox.spec import BindMount, TmpfsMount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.graph.ops import Mount
    from viaduct.ops.attachments import Attachments
    from viaduct.solve.plan import Job, Result
    from viaduct.store.cache_mounts import CacheMount


class Attached(Value):
    """Mounts and environment of one step, ready for the runtime."""

    mounts: tuple[BindMount | TmpfsMount, ...]
    env: tuple[str, ...]


@contextlib.contextmanager
def attached(
    wanted: Sequence[Mount], inputs: Sequence[Result], where: Attachments, job: Job
) -> Iterator[Attached]:
    """Bring together what a step mounts; everything is let go on leaving.

    Raises `BuildError` for a required secret or agent that is not there, and for a source that does
    not exist.
    """
    mounts: list[BindMount | TmpfsMount] = []
    env: list[str] = []
    with contextlib.ExitStack() as stack:
        attacher = _Attacher(where, inputs, job, stack)
        for mount in wanted:
            match mount.kind:
                case "tmpfs":
                    mounts.append(TmpfsMount(mount.target, mount.size, readonly=mount.readonly))
                case "cache":
                    mounts.append(attacher.cache(mount))
                case "secret":
                    attacher.secret(mount, mounts, env)
                case "ssh":
                    attacher.ssh(mount, mounts)
                case _:
                    mounts.append(attacher.bind(mount))
        yield Attached(tuple(mounts), tuple(env))


class _Attacher:
    def __init__(
        self,
        where: Attachments,
        inputs: Sequence[Result],
        job: Job,
        stack: contextlib.ExitStack,
    ) -> None:
        self._where = where
        self._inputs = inputs
        self._job = job
        self._stack = stack
        self._agents = 0
        self._caches: dict[tuple[str, str], CacheMount] = {}

    @property
    def _stop(self) -> Stop:
        return self._job.stop

    def bind(self, mount: Mount) -> BindMount:
        trees = self._where.trees
        tree = self._filesystem(mount)
        if mount.readonly:
            root = trees.view(tree, self._stop)
        else:
            # Writes are allowed and thrown away.
            change = trees.change(tree, description=f"writes to {mount.target}", stop=self._stop)
            root = self._stack.enter_context(change).path
        return BindMount(self._inside(root, mount), mount.target, readonly=mount.readonly)

    def cache(self, mount: Mount) -> BindMount:
        """A directory that stays. What it began as is part of its name, as with BuildKit: one that
        was seeded from an image, or made for an owner, is another than a plain one of that id."""
        seed = self._filesystem(mount) if mount.input >= 0 else None
        kind = ""
        if seed is not None:
            kind = f" from {seed.id}{mount.selector}"
        elif (mount.mode, mount.uid, mount.gid) != (0o755, 0, 0):
            kind = f" for {mount.uid}:{mount.gid} {mount.mode:o}"
        key = f"{mount.id}{kind}", mount.cache_platform
        cache = self._caches.get(key)
        if cache is None:
            # A step that mounts one cache twice would wait for itself.
            acquired = self._where.caches.acquire(*key, mount.sharing, self._stop)
            cache = self._caches[key] = self._stack.enter_context(acquired)
            if cache.fresh:
                if seed is not None:
                    root = self._where.trees.view(seed, self._stop)
                    self._seed(self._inside(root, mount), cache.path)
                os.chown(cache.path, *self._owner(mount))
                os.chmod(cache.path, mount.mode & 0o777)
        path = self._held(cache.path, mount) if seed is None else cache.path
        return BindMount(path, mount.target, readonly=mount.readonly)

    def secret(self, mount: Mount, mounts: list[BindMount | TmpfsMount], env: list[str]) -> None:
        value = self._where.secrets.read(mount.id)
        if value is None:
            if mount.required:
                raise BuildError(
                    f"secret {mount.id}: not found",
                    hint=f"pass it with --secret id={mount.id},src=FILE or ,env=NAME",
                )
            if mount.env:
                env.append(f"{mount.env}=")
            return
        if mount.env:
            env.append(f"{mount.env}={value.decode('utf-8', 'surrogateescape')}")
        if mount.target:
            path = self._private()
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(value)
                os.fchown(fd, *self._owner(mount))
                os.fchmod(fd, mount.mode or 0o400)
            self._stack.callback(os.unlink, path)
            mounts.append(BindMount(path, mount.target, readonly=True))

    def ssh(self, mount: Mount, mounts: list[BindMount | TmpfsMount]) -> None:
        agent = self._where.agents.get(mount.id or "default")
        if agent is None:
            if mount.required:
                raise BuildError(
                    f"no ssh agent {mount.id or 'default'!r} is forwarded",
                    hint=f"pass it with --ssh {mount.id or 'default'}",
                )
            return
        path = self._private()
        uid, gid = self._owner(mount)
        mode = mount.mode or 0o600
        socket = ssh.forwarded(agent, os.fspath(path), uid=uid, gid=gid, mode=mode)
        self._stack.enter_context(socket)
        self._stack.callback(os.unlink, path)
        target = mount.target or f"/run/buildkit/ssh_agent.{self._agents}"
        self._agents += 1
        mounts.append(BindMount(path, target))

    def _owner(self, mount: Mount) -> tuple[int, int]:
        """Who shall own what is mounted; where only one id exists, there is no choice."""
        return (0, 0) if self._where.trees.squash_owner else (mount.uid, mount.gid)

    def _private(self) -> Path:
        return self._where.run / os.urandom(8).hex()

    def _filesystem(self, mount: Mount) -> Filesystem:
        """What the mount shows, as a file system; a person's directory is copied first, so that a
        step sees neither what is ignored nor anything outside."""
        if mount.input < 0:
            return Filesystem()
        given = self._inputs[mount.input]
        if isinstance(given, Filesystem):
            return given
        assert isinstance(given, LocalTree)
        trees = self._where.trees
        local = trees.select(given, self._stop)
        with trees.change(
            Filesystem(), description="build context", stop=self._stop, kind="source.local"
        ) as change:
            match = Match(local.root, b"/")
            copy_match(local, match, os.fsencode(change.path), "/", target=Target())
            return trees.commit(change)

    @staticmethod
    def _inside(root: Path, mount: Mount) -> Path:
        path = resolve(os.fsencode(root), os.fsencode(mount.selector))
        if lstat(path) is None:
            raise BuildError(f'"{mount.selector}": not found', hint="check source= of the mount")
        return type(root)(os.fsdecode(path))

    def _held(self, root: Path, mount: Mount) -> Path:
        """As `_inside`, for a tree that another step may be changing right now.

        By the time that a runtime mounted the name, a link to the machine's own root could be
        there. So it is mounted here, by the descriptor of what was found inside.
        """
        if clean(os.fsencode(mount.selector)) == b"/":
            return root
        try:
            fd = open_inside(root, mount.selector, os.O_PATH)
        except OSError as error:
            raise BuildError(
                f'"{mount.selector}": not found', hint="check source= of the mount"
            ) from error
        self._stack.callback(os.close, fd)
        place = self._private()
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            place.mkdir()
            self._stack.callback(place.rmdir)
        else:
            place.touch()
            self._stack.callback(place.unlink)
        self._stack.enter_context(mounted([Bind(Path(f"/proc/self/fd/{fd}"), place)]))
        return place

    def _seed(self, source: Path, dest: Path) -> None:
        from viaduct.ops.select import Tree

        if stat.S_ISDIR(os.lstat(source).st_mode):
            tree = Tree(os.fsencode(source))
            copy_match(tree, Match(tree.root, b"/"), os.fsencode(dest), "/", target=Target())
