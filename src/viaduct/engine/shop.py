"""The workshop of one build: everything that its rooms need from the cellar, opened once."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING

from viaduct.base import home
from viaduct.base.events import Warned
from viaduct.base.values import Value
from viaduct.engine import collect
from viaduct.engine.bases import Bases
from viaduct.ops.trees import Trees
from viaduct.registry import client as registry
from viaduct.registry.push import push
from viaduct.sandbox import mounts
from viaduct.sandbox.namespace import current
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.request import BuildRequest
    from viaduct.engine.work import Work
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.oci.reference import Reference
    from viaduct.ops.git import Repositories
    from viaduct.ops.http import Downloads
    from viaduct.registry.client import Client


class Shop(Value):
    """The parts a build works with. `run` is a private in-memory directory that dies with us;
    `downloads` and `repositories` are made for the first who asks, since few builds need them."""

    env: Mapping[str, str]
    store: Store
    client: Client
    bases: Bases
    trees: Trees
    downloads: Callable[[], Downloads]
    repositories: Callable[[], Repositories]
    run: Path
    sink: Sink
    stop: Stop

    def push(
        self, targets: Sequence[Reference], root: Descriptor, job: Work, *, by_digest: bool
    ) -> None:
        """Push what `root` names to every target; see `viaduct.registry.push`."""

        def sources(digest: Digest) -> tuple[str, ...]:
            return self.store.snapshots.sources(digest)

        push(
            self.client.bound(stop=self.stop),
            targets,
            root,
            self.store.content,
            sources=sources,
            job=job,
            by_digest=by_digest,
        )


@contextlib.contextmanager
def opened(request: BuildRequest, sink: Sink, stop: Stop, env: Mapping[str, str]) -> Iterator[Shop]:
    """A shop for `request`, closed and unmounted on leaving.

    Raises `StoreError` when the state cannot be opened, `UsageError` for a registry configuration
    that makes no sense.
    """
    namespace = current()
    root = home.state_root(env, uid=namespace.outer_uid if namespace else None)
    store = Store.open(root)
    insecure = {name.split("/")[0] for o in request.outputs if o.insecure for name in o.names}
    client = registry.connect(
        env,
        insecure=[*request.registries.insecure, *insecure],
        mirrors=request.registries.mirrors,
        stop=stop,
    )
    run = root / "run"
    run.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        # Without our own lease: what this build used last goes last, but it may go.
        stack.callback(collect.automatic, store, collect.limits(store, env), stop)
        stack.enter_context(store.leases.hold())
        mounts.mount_scratch(run)
        bases = Bases(client, store, pull=request.pull, sink=sink, stop=stop)
        trees = Trees(
            store,
            run,
            bases.fetch,
            squash_owner=namespace.squashed if namespace else False,
            warn=lambda text: sink(Warned(text, time.time())),
        )
        stack.callback(trees.close)
        agent = next((s.paths[0] for s in request.ssh if s.id == "default" and s.paths), "")
        if request.ssh and not agent:
            agent = env.get("SSH_AUTH_SOCK", "")
        yield Shop(
            env=env,
            store=store,
            client=client,
            bases=bases,
            trees=trees,
            downloads=functools.cache(lambda: _downloads(root, env, store)),
            repositories=functools.cache(lambda: _repositories(root, agent)),
            run=run,
            sink=sink,
            stop=stop,
        )


def _downloads(root: Path, env: Mapping[str, str], store: Store) -> Downloads:
    from viaduct.ops.http import Downloads
    from viaduct.registry.transport import HTTPTransport

    return Downloads(root / "downloads", HTTPTransport(env), store.content)


def _repositories(root: Path, agent: str) -> Repositories:
    from viaduct.ops.git import Repositories

    return Repositories(root / "git", auth_sock=agent)


def cores() -> int:
    """Processors that we may use."""
    return len(os.sched_getaffinity(0))
