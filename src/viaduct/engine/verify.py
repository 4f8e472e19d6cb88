"""Is an image what it claims to be: found by name, read to its last byte, judged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from viaduct.base.errors import RegistryError, ViaductError
from viaduct.base.values import Value
from viaduct.engine import images, places
from viaduct.engine.audit import local
from viaduct.engine.audit.gather import gather
from viaduct.engine.audit.judge import judge
from viaduct.engine.request import RegistryOptions
from viaduct.engine.work import work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.audit.verdict import Verdict
    from viaduct.engine.places import Place
    from viaduct.oci.platform import Platform


class VerifyRequest(Value):
    """An image to verify: a reference in a registry or `oci-layout://…`, or with `local` a name or
    id in the local store.

    Where `platforms` are given, exactly these have to be there. `allow_foreign` are patterns of
    paths that may hold programs of any machine.
    """

    name: str
    platforms: tuple[Platform, ...] = ()
    allow_foreign: tuple[str, ...] = ()
    local: bool = False
    registries: RegistryOptions = RegistryOptions()


def verify(request: VerifyRequest, *, sink: Sink, stop: Stop, env: Mapping[str, str]) -> Verdict:
    """Read all of the image and say what there is to say.

    Nothing is changed anywhere. Raises `NotFound` or `RegistryError` when the name leads nowhere or
    a registry cannot be reached, `ContentError` when what it leads to is no image at all.
    """
    with _place(request, stop, env) as place, work(sink, stop, f"verifying {place}") as job:
        try:
            document = place.document()
        except RegistryError as error:
            if error.status == 404 and _is_stored(request.name, env):
                raise RegistryError(
                    error.what,
                    status=error.status,
                    code=error.code,
                    hint="it is in the local store: push it, or verify it there with --local",
                ) from error
            raise
        facts = gather(str(place), place, document, job)
    return judge(facts, request.platforms, request.allow_foreign)


@contextlib.contextmanager
def _place(request: VerifyRequest, stop: Stop, env: Mapping[str, str]) -> Iterator[Place]:
    with contextlib.closing(images.connect(request.registries, env, stop)) as client:
        if not request.local:
            yield places.parse(request.name, client)
            return
        with contextlib.closing(images.open_store(env)) as store, store.leases.hold():
            yield local.find(store, client, request.name)


def _is_stored(name: str, env: Mapping[str, str]) -> bool:
    """Whether the local store has such an image; asked for a hint alone."""
    if not images.store_root(env).exists():
        return False
    try:
        with contextlib.closing(images.open_store(env)) as store:
            images.find(store, name)
    except ViaductError:
        return False
    return True
