"""RUN: a command in a sandbox, on a writable view of its root file system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from viaduct.base.errors import StepFailed
from viaduct.base.values import Value
from viaduct.dockerfile.gotext import quote
from viaduct.graph.node import canonical
from viaduct.oci import digest as digests
from viaduct.ops.content import tree_digest
from viaduct.ops.trees import Filesystem, LocalTree
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.graph.ops import Exec
    from viaduct.oci.digest import Digest
    from viaduct.ops.attachments import Attachments
    from viaduct.ops.mounts import Attached
    from viaduct.sandbox.runtime import Runtime
    from viaduct.solve.plan import Job, Result

_STUBS = ("/etc/resolv.conf", "/etc/hosts")
_ALWAYS_THERE = (b"/dev", b"/proc", b"/sys")


class Bench(Value):
    """What commands are run with. `runtime` raises `SandboxError` where there is none."""

    runtime: Callable[[], Runtime]
    attachments: Attachments


class ExecOp:
    """Evaluates an `Exec` node.

    The root file system counts by its key, everything else that is mounted by the content that is
    visible. What must not decide the result (proxies, host names, limits) is not part of the key.
    """

    heavy = True
    remote = False

    def __init__(self, node: Node, op: Exec, bench: Bench) -> None:
        self._node = node
        self._op = op
        self._bench = bench

    def cache_map(self, stop: Stop) -> CacheMap:
        keyed = msgspec.structs.replace(
            self._op, proxy_env=(), hostname="", extra_hosts=(), ulimits=(), shm_size=0
        )
        by_content = {
            mount.input
            for mount in self._op.mounts
            if mount.input >= 0 and mount.target != "/" and mount.output < 0
        }
        return CacheMap(
            digests.of(canonical(("exec", keyed, self._node.platform))),
            by_content=frozenset(by_content),
        )

    def content_digest(self, index: int, result: Result, job: Job) -> Digest:
        assert isinstance(result, Filesystem | LocalTree)
        tree = self._bench.attachments.trees.select(result, job.stop)
        cache = self._bench.attachments.hashes if tree.local else None
        selectors = [
            mount.selector
            for mount in self._op.mounts
            if mount.input == index and mount.target != "/"
        ]
        found = [
            tree_digest(
                tree, os.fsencode(path), cache=cache, progress=lambda _size: job.stop.check()
            )
            for path in dict.fromkeys(selectors)
        ]
        return digests.of("\n".join(found).encode())

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        from viaduct.ops.mounts import attached

        root = self._op.mounts[0]
        base = Filesystem()
        if root.input >= 0:
            given = inputs[root.input]
            assert isinstance(given, Filesystem)
            base = given
        trees = self._bench.attachments.trees
        with trees.change(base, description=self._node.name, stop=job.stop) as change:
            with attached(self._op.mounts[1:], inputs, self._bench.attachments, job) as attachments:
                self._execute(change.path, attachments, job)
            return [trees.commit(change)]

    def _execute(self, rootfs: Path, more: Attached, job: Job) -> None:
        from viaduct.ops import stubs
        from viaduct.ops.copy import make_directories
        from viaduct.sandbox import etc, users
        from viaduct.sandbox.spec import BindMount, ContainerSpec

        op = self._op
        network = "none" if op.network == "none" else "host"
        container = ContainerSpec(
            args=op.args,
            rootfs=rootfs,
            env=(*op.proxy_env, *op.env, *more.env),
            cwd=op.cwd,
            user=users.resolve(rootfs, op.user),
            mounts=more.mounts,
            network=cast("Literal['host', 'none']", network),
            security=cast("Literal['sandbox', 'insecure']", op.security),
            hostname=op.hostname or etc.DEFAULT_HOSTNAME,
            extra_hosts=etc.extra_hosts(op.extra_hosts),
            ulimits=op.ulimits,
            shm_size=op.shm_size,
        )
        # What every program finds; left to a runtime, their modes would depend on which one it is.
        for path in _ALWAYS_THERE:
            make_directories(os.fsencode(rootfs), path)
        targets = (*_STUBS, *(mount.target for mount in more.mounts))
        with stubs.cleaned(os.fsencode(rootfs), targets):
            for mount in more.mounts:
                file = isinstance(mount, BindMount) and not mount.source.is_dir()
                stubs.make(os.fsencode(rootfs), mount.target, file=file)
            ended = self._bench.runtime().run(container, on_output=job.log, stop=job.stop)
        job.stop.check()
        if ended.status != 0:
            command = quote(" ".join(op.args))
            raise StepFailed(
                f"process {command} did not complete successfully: {ended}",
                exit_code=ended.status,
                vertex=self._node.digest,
                hint=ended.hint,
            )
