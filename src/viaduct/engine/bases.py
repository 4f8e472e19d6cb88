"""Base images: from a reference and a platform to a configuration and layers.

Resolving asks the registry what a tag means now (one HEAD); documents that are already in our store
are not fetched again, and layers only when a step needs them.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import ContentError, PlatformError, ViaductError
from viaduct.base.once import Once
from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.engine.origins import open_origin, read_document
from viaduct.engine.transfers import Transfers
from viaduct.engine.work import work
from viaduct.oci import digest as digests
from viaduct.oci import models, platform, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.origins import Origin
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, ImageConfig, Index, Manifest
    from viaduct.oci.platform import Platform
    from viaduct.registry.client import Client
    from viaduct.store.store import Store

# Base images that are asked for at one time; registries like to be asked so by a client.
_QUESTIONS = 4


class Base(Value):
    """An image for one platform. `reference` ends in the digest of its manifest; `root` is what
    the name itself points to (an index, or the manifest)."""

    reference: str
    origin: Origin
    root: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def pinned(self) -> str:
        """The name with the digest of what it points to, the same for every platform."""
        return f"{self.reference.partition('@')[0]}@{self.root.digest}"

    @property
    def chain(self) -> str:
        """The chain id of all its layers: the identity of its root file system."""
        chain: Digest | None = None
        for diff_id in self.config.rootfs.diff_ids:
            chain = digests.chain(chain, diff_id)
        return chain or ""


class Bases:
    """The base images of one build; every reference is resolved once."""

    def __init__(self, client: Client, store: Store, *, pull: bool, sink: Sink, stop: Stop) -> None:
        self._client = client
        self._store = store
        self._pull = pull
        self._sink = sink
        self._stop = stop
        self._lock = threading.Lock()
        self._fetches: dict[Digest, threading.Lock] = {}
        self._roots: Once[str, tuple[Origin, Descriptor]] = Once()
        self._bases: Once[tuple[str, Platform], Base] = Once()
        #: Where transfers of layers are told of.
        self.transfers = Transfers(sink)

    def resolve(self, name: str, wanted: Platform) -> Base:
        """The image `name` for `wanted`.

        Raises `PlatformError` listing what the image has when that is not among it; what a registry
        or layout raises; and `ContentError` for documents that make no sense.
        """
        return self._bases.get((name, wanted), lambda: self._find(name, wanted))

    def prepare(self, asked: Sequence[tuple[str, Platform]]) -> None:
        """Resolve these side by side; what goes wrong is raised when they are asked for again."""
        if len(asked) < 2:
            return
        with Nursery(_QUESTIONS, stop=self._stop, name="resolve") as nursery:
            for name, wanted in asked:
                nursery.start(self._try, name, wanted)

    def _try(self, name: str, wanted: Platform) -> None:
        with contextlib.suppress(ViaductError):
            self.resolve(name, wanted)
        self._stop.check()

    def declare(self, base: Base) -> int | None:
        """Make the image's layers known to the store as lazy snapshots; the topmost one."""
        if len(base.manifest.layers) != len(base.config.rootfs.diff_ids):
            raise ContentError(f"{base.reference} has more layers than its configuration says")
        top: int | None = None
        pairs = zip(base.manifest.layers, base.config.rootfs.diff_ids, strict=True)
        for descriptor, diff_id in pairs:
            refs = (base.origin.name,)
            top = self._store.snapshots.define_layer(top, diff_id, descriptor, refs).id
        return top

    def fetch(self, descriptor: Descriptor, refs: tuple[str, ...], stop: Stop) -> None:
        """Bring a layer into the store, unless it is there, from the first of `refs` that gives
        it."""
        with self._lock:
            lock = self._fetches.setdefault(descriptor.digest, threading.Lock())
        # Steps that stand on the same base ask at the same time.
        with lock:
            if not self._store.content.has(descriptor.digest):
                with self.transfers.of(descriptor, stop) as moved:
                    self._fetch(descriptor, refs, stop, moved)

    def _fetch(
        self,
        descriptor: Descriptor,
        refs: tuple[str, ...],
        stop: Stop,
        moved: Callable[[int], None],
    ) -> None:
        failure: Exception | None = None
        for name in refs:
            try:
                open_origin(name, self._client).fetch(descriptor, self._store.content, stop, moved)
            except Exception as error:  # noqa: BLE001 - the next place may have it
                stop.check()
                failure = failure or error
            else:
                return
        raise failure or ContentError(
            f"layer {descriptor.digest} is not in the store, and nothing says where it came from",
            hint="build again with --no-cache, or pull the image",
        )

    def _find(self, name: str, wanted: Platform) -> Base:
        origin, root = self._roots.get(name, lambda: self._root(name))
        found = self._choose(name, origin, root, wanted)
        if found.reference != name:
            # The graph asks again by the pinned name.
            self._bases.get((found.reference, wanted), lambda: found)
        return found

    def _root(self, name: str) -> tuple[Origin, Descriptor]:
        origin = open_origin(name, self._client)
        shown = name if "://" in name else str(reference.parse(name).with_default_tag())
        with work(self._sink, self._stop, f"[internal] load metadata for {shown}"):
            return origin, self._local(name) or origin.resolve()

    def _local(self, name: str) -> Descriptor | None:
        """What our own store has under the name: images that were built or pulled into it."""
        if self._pull or "://" in name:
            return None
        ref = reference.parse(name).with_default_tag()
        if ref.digest is not None and self._store.content.has(ref.digest):
            data = self._store.content.read(ref.digest)
            return models.Descriptor(
                media_type=models.sniff_media_type(data), digest=ref.digest, size=len(data)
            )
        image = self._store.images.get(str(ref))
        return image.descriptor if image is not None else None

    def _choose(self, name: str, origin: Origin, root: Descriptor, wanted: Platform) -> Base:
        content, stop = self._store.content, self._stop
        descriptor = root
        if models.is_index(root):
            data = read_document(origin, root, content, stop)
            descriptor = choose(models.decode(data, models.Index, what=name), wanted, what=name)
        data = read_document(origin, descriptor, content, stop)
        manifest = models.decode(data, models.Manifest, what=name)
        config = models.decode(
            read_document(origin, manifest.config, content, stop), models.ImageConfig, what=name
        )
        if "://" in name:
            shown = f"{name.partition('@')[0]}@{descriptor.digest}"
        else:
            ref = reference.parse(name).with_default_tag()
            shown = str(replace(ref, digest=descriptor.digest))
        return Base(shown, origin, root, manifest, config)


def choose(index: Index, wanted: Platform, *, what: str) -> Descriptor:
    """The entry of `index` that serves `wanted` best; attestations are never chosen.

    Raises `PlatformError` with the platforms there are.
    """
    entries = [d for d in index.manifests if not models.is_attestation(d)]
    offered = [d.platform.value() if d.platform else None for d in entries]
    at = platform.best(wanted, offered)
    if at is None:
        has = ", ".join(str(p) for p in dict.fromkeys(offered) if p is not None) or "none"
        raise PlatformError(
            f"{what} has no image for {wanted}: no match for platform in manifest: not found",
            hint=f"it has: {has}",
        )
    return entries[at]
