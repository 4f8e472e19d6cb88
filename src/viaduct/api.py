"""The Python interface: what a program calls, and what the command line itself calls.

    import viaduct

    request = viaduct.BuildRequest(context=".", tags=("localhost:5000/app:1",), …)
    result = viaduct.build(request, sink=print)

`build` raises the errors of `viaduct.base.errors`: `UsageError` for a request that makes no sense,
`DockerfileError` with the place, `StepFailed` with the exit code of a RUN step, `PlatformError`,
`RegistryError`, `SandboxError` and `StoreError` for what their names say. Every one has `what`,
`hint` and `where`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from viaduct.base.events import discard
from viaduct.base.tasks import Stop
from viaduct.engine.request import RegistryOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from viaduct.base.events import Sink
    from viaduct.engine.archives import Loaded
    from viaduct.engine.audit.verdict import Verdict
    from viaduct.engine.container import RunRequest
    from viaduct.engine.images import Brought, Removed, StoredImage, Variant
    from viaduct.engine.request import BuildRequest, BuildResult
    from viaduct.engine.verify import VerifyRequest
    from viaduct.oci.models import Descriptor
    from viaduct.oci.platform import Platform
    from viaduct.sandbox.runtime import Exit
    from viaduct.store.keep import Record, Rule
    from viaduct.store.store import Store

_DEFAULT = RegistryOptions()


def build(request: BuildRequest, sink: Sink = discard, *, stop: Stop | None = None) -> BuildResult:
    """Carry out one build and return what it made.

    Events go to `sink` from several threads at once. Setting `stop` ends the build: running steps
    are killed and `Canceled` is raised. A process that entered the namespaces before it had any
    thread (the command line) builds by itself; in any other the engine runs in a child process.
    """
    from viaduct.sandbox.namespace import entered

    if entered():
        from viaduct.engine.build import run as build_here

        return build_here(request, sink, stop or Stop(), env=dict(os.environ))
    from viaduct.engine.child import run_in_child

    return run_in_child(request, sink, stop or Stop())


def run(
    request: RunRequest,
    sink: Sink = discard,
    *,
    stop: Stop | None = None,
    stdin: int | None = None,
    ready: Callable[[Variant], None] = lambda _variant: None,
) -> Exit:
    """Run a command in an image, with this process's output; how it ended.

    `stdin` is a descriptor to read from, by default an empty one; `ready` is called when the image
    is here and the program is about to start. Only for a process that entered the namespaces
    (`viaduct.sandbox.enter`); raises `SandboxError` in another.
    """
    from viaduct.base.errors import SandboxError
    from viaduct.engine.container import run as run_here
    from viaduct.sandbox.namespace import entered

    if not entered():
        raise SandboxError(
            "programs run inside of namespaces only, which this process has not entered",
            hint="call viaduct.sandbox.enter.enter() first, while there is one thread",
        )
    return run_here(request, sink, stop or Stop(), env=dict(os.environ), stdin=stdin, ready=ready)


def pull(
    name: str,
    *,
    platforms: Sequence[Platform] | None = None,
    strict: bool = True,
    registries: RegistryOptions = _DEFAULT,
    sink: Sink = discard,
    stop: Stop | None = None,
) -> Brought:
    """Bring an image into the store, for `platforms` or (None) all that it has. An image that is no
    index is taken whatever its platform unless `strict`."""
    from viaduct.engine import images

    with _store() as store:
        return images.pull(
            store,
            name,
            wanted=platforms,
            strict=strict,
            registries=registries,
            sink=sink,
            stop=stop or Stop(),
            env=dict(os.environ),
        )


def push(
    name: str,
    *,
    platform: Platform | None = None,
    registries: RegistryOptions = _DEFAULT,
    sink: Sink = discard,
    stop: Stop | None = None,
) -> Descriptor:
    """Send a stored image, or one platform's part of it, to its registry unchanged; what its name
    then points to there."""
    from viaduct.engine import images

    with _store() as store:
        return images.push(
            store,
            name,
            wanted=platform,
            registries=registries,
            sink=sink,
            stop=stop or Stop(),
            env=dict(os.environ),
        )


def verify(request: VerifyRequest, *, sink: Sink = discard, stop: Stop | None = None) -> Verdict:
    """Whether an image is what it claims to be: complete, undamaged, and made of programs for the
    platforms that it names. `ok` of the answer says it in a word."""
    from viaduct.engine.verify import verify as verify_here

    return verify_here(request, sink=sink, stop=stop or Stop(), env=dict(os.environ))


def stored_images() -> tuple[StoredImage, ...]:
    """Every image in the store, the one whose name moved last first."""
    from viaduct.engine import images

    with _store() as store:
        return images.names(store)


def remove_image(name: str, *, force: bool = False) -> Removed:
    """Forget a stored image by name or id, and free what nothing else needs. An id that has several
    names needs `force`."""
    from viaduct.engine import images

    with _store(freeing=True) as store:
        return images.remove(store, name, force=force)


def tag_image(source: str, target: str) -> None:
    """Give a stored image another name."""
    from viaduct.engine import images

    with _store() as store:
        images.tag(store, source, target)


def save_images(
    names: Sequence[str],
    out: BinaryIO,
    *,
    platform: Platform | None = None,
    registries: RegistryOptions = _DEFAULT,
    sink: Sink = discard,
    stop: Stop | None = None,
) -> None:
    """Write stored images, or only those for `platform`, as an archive for `docker load` and OCI
    tools."""
    from viaduct.engine import archives
    from viaduct.engine.provide import Supply

    with _store() as store:
        supply = Supply(store, sink, stop or Stop(), dict(os.environ), registries)
        archives.save(supply, names, out, wanted=platform)


def load_images(archive: BinaryIO, *, stop: Stop | None = None) -> tuple[Loaded, ...]:
    """Bring the images of an OCI or Docker archive into the store."""
    from viaduct.engine import archives

    with _store() as store:
        return archives.load(store, archive, stop=stop or Stop())


def disk_usage() -> tuple[Record, ...]:
    """What the build cache holds, as records whose sizes add up; the smallest first."""
    from viaduct.engine import collect

    with _store() as store:
        return collect.records(store)


def prune(
    rule: Rule,
    *,
    removed: Callable[[Record], None] = lambda _record: None,
    stop: Stop | None = None,
) -> int:
    """Remove what `rule` lets go and no tagged image or running build needs; the bytes that were
    freed. `removed` is told of every record.

    Without limits all that is selected goes; with limits, the least used until what is left fits.
    Rootless, files of other ids can be deleted only by a process that entered the namespaces.
    """
    from viaduct.engine import collect

    freed = 0
    with _store(freeing=True) as store:
        for record in collect.prune(store, rule, stop or Stop()):
            freed += record.size
            removed(record)
    return freed


@contextlib.contextmanager
def _store(*, freeing: bool = False) -> Iterator[Store]:
    from viaduct.engine import images

    store = images.open_store(os.environ, freeing=freeing)
    try:
        yield store
    finally:
        store.close()
