"""The image that a command needs, with everything in the store: found, fetched or completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import NotFound, PlatformError, RegistryError
from viaduct.base.values import Value
from viaduct.engine import images
from viaduct.engine.bases import Bases
from viaduct.engine.request import RegistryOptions
from viaduct.engine.work import work
from viaduct.oci import platform as platforms
from viaduct.oci import reference
from viaduct.registry.pull import pull as registry_pull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.images import StoredImage, Variant
    from viaduct.oci.platform import Platform
    from viaduct.store.store import Store

#: When a registry is asked: never, for what the store lacks, or for what a tag means now.
Policy: TypeAlias = Literal["never", "missing", "always"]
POLICIES: tuple[Policy, ...] = ("always", "missing", "never")


class Supply(Value):
    """Where images come from: the store, and the registries behind it."""

    store: Store
    sink: Sink
    stop: Stop
    env: Mapping[str, str]
    registries: RegistryOptions = msgspec.field(default_factory=RegistryOptions)

    def provide(self, name: str, wanted: Platform | None, policy: Policy = "missing") -> Variant:
        """The image `name` (or with that id) for `wanted`, None for the machine's own or the only
        one there is; every layer of it is in the store.

        Raises `NotFound` when it is not to be had, `PlatformError` that lists what it has, and what
        a registry raises.
        """
        image = self._find(name, wanted, policy)
        offered = [variant.platform for variant in image.variants]
        target = wanted or platforms.native()
        if wanted is None and len(offered) == 1 and not image.missing:
            variant = image.variants[0]
        else:
            at = platforms.best(target, [*offered, *image.missing])
            if at is None:
                raise PlatformError(
                    f"{image.familiar} has no image for {target}",
                    hint=f"it has: {image.platforms}",
                )
            if at >= len(offered):
                image = self._fetch_variant(image, target, policy)
            variant = images.choose(image, target)
        # From here on they count as used, and stay.
        content, parts = self.store.content, (variant.descriptor, variant.manifest.config)
        if not all(content.has(part.digest) for part in parts):
            raise NotFound(f"{image.familiar} was removed meanwhile", hint="run the command again")
        self.fetch_layers(image, variant, policy)
        return variant

    def _find(self, name: str, wanted: Platform | None, policy: Policy) -> StoredImage:
        if policy != "always":
            try:
                return images.find(self.store, name)
            except NotFound:
                if policy == "never":
                    raise
        return images.pull(
            self.store,
            name,
            wanted=[wanted or platforms.native()],
            strict=wanted is not None,
            registries=self.registries,
            sink=self.sink,
            stop=self.stop,
            env=self.env,
        ).image

    def _fetch_variant(self, image: StoredImage, wanted: Platform, policy: Policy) -> StoredImage:
        """Bring one more platform of an index that is here; its name stays where it points."""
        origins = self._origins(image)
        if policy == "never" or not origins:
            raise NotFound(
                f"the image of {image.familiar} for {wanted} is not in the store",
                hint=f"viaduct pull --platform {wanted} {image.familiar}",
            )
        client = images.connect(self.registries, self.env, self.stop)
        failure: RegistryError | None = None
        for origin in origins:
            ref = replace(reference.parse(origin), tag="", digest=image.root.digest)
            try:
                with work(self.sink, self.stop, f"pulling {ref}") as job:
                    registry_pull(client, ref, self.store.content, platforms=[wanted], job=job)
            except RegistryError as error:
                # The next place may have it.
                failure = failure or error
            else:
                return images.again(self.store, image)
        raise failure or NotFound(f"nothing says where {image.familiar} came from")

    def fetch_layers(self, image: StoredImage, variant: Variant, policy: Policy) -> None:
        """Bring the layers of a variant that are not in the store: those of a base image that no
        step of its build has needed."""
        missing = [
            layer for layer in variant.manifest.layers if not self.store.content.has(layer.digest)
        ]
        if not missing:
            return
        if policy == "never":
            raise NotFound(
                f"{len(missing)} layers of {image.familiar} are not in the store",
                hint=f"viaduct pull --platform {variant.platform} {image.familiar}",
            )
        client = images.connect(self.registries, self.env, self.stop)
        bases = Bases(client, self.store, pull=False, sink=self.sink, stop=self.stop)
        with work(self.sink, self.stop, f"fetching layers of {image.familiar}") as job:
            for layer in missing:
                known = self.store.snapshots.sources(layer.digest)
                with job.part(f"fetching {layer.digest}"):
                    bases.fetch(layer, (*known, *self._origins(image)), self.stop)

    def _origins(self, image: StoredImage) -> tuple[str, ...]:
        """References under which an image may be had: where it came from, and what it is called."""
        known = self.store.snapshots.sources(image.root.digest)
        named = (image.name,) if image.name else ()
        return (*(each for each in known if "://" not in each), *named)
