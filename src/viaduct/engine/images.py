"""Images in our own store: bring in, send out, list, find, name and remove."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base import home
from viaduct.base.errors import ContentError, NotFound, UsageError
from viaduct.base.values import Value
from viaduct.engine.work import work
from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference
from viaduct.oci import platform as platforms
from viaduct.sandbox.namespace import current
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from viaduct.base.events import Sink
    from viaduct.base.tasks import Stop
    from viaduct.engine.request import RegistryOptions
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, ImageConfig, Manifest
    from viaduct.oci.platform import Platform
    from viaduct.registry.client import Client
    from viaduct.registry.pull import Pulled
    from viaduct.store import images as stored
    from viaduct.store import reach


class Variant(Value):
    """One platform's image of a stored image: its manifest and configuration are in the store, and
    all of its layers where `complete`."""

    platform: Platform
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    complete: bool

    @property
    def size(self) -> int:
        """Bytes of its configuration and layers as they are sent."""
        return self.manifest.config.size + sum(layer.size for layer in self.manifest.layers)


class StoredImage(Value):
    """An image in the store under one of its names; an image that is known by its digest alone has
    an empty `name`.

    `variants` are the platforms whose documents are there; `missing` those that the index names and
    the store lacks. `updated` is when the name last moved (seconds since the epoch).
    """

    name: str
    root: Descriptor
    variants: tuple[Variant, ...]
    missing: tuple[Platform, ...] = ()
    updated: float = 0.0

    @property
    def familiar(self) -> str:
        """What people call it."""
        return reference.parse(self.name).familiar if self.name else self.root.digest

    @property
    def platforms(self) -> str:
        """All that its index names, as a list for people."""
        known = [str(variant.platform) for variant in self.variants]
        known += [str(platform) for platform in self.missing]
        return ", ".join(dict.fromkeys(known)) or "none"


class Brought(Value):
    """A pulled image; `news` says that the store did not have all of it before."""

    image: StoredImage
    news: bool


class Removed(Value):
    """What removing an image came to: complete names, and blobs that are gone."""

    names: tuple[str, ...]
    deleted: tuple[Digest, ...] = ()


def open_store(env: Mapping[str, str], *, freeing: bool = False) -> Store:
    """The store of the person who runs us, for `freeing` room even on a full disk. Raises
    `StoreError`."""
    return Store.open(store_root(env), freeing=freeing)


def store_root(env: Mapping[str, str]) -> Path:
    """Where that store is, or would be."""
    namespace = current()
    return home.state_root(env, uid=namespace.outer_uid if namespace else None)


def connect(registries: RegistryOptions, env: Mapping[str, str], stop: Stop) -> Client:
    """A client for registries. Raises `UsageError` for a configuration that makes no sense."""
    from viaduct.registry import client as registry

    return registry.connect(
        env, insecure=registries.insecure, mirrors=registries.mirrors, stop=stop
    )


def pull(
    store: Store,
    name: str,
    *,
    wanted: Sequence[Platform] | None,
    strict: bool,
    registries: RegistryOptions,
    sink: Sink,
    stop: Stop,
    env: Mapping[str, str],
) -> Brought:
    """Bring `name` into the store for the `wanted` platforms (None: all it has) and keep the name.

    Without `strict`, an image that is not an index is taken whatever its platform. Raises
    `PlatformError` that lists what there is, and what a registry raises.
    """
    from viaduct.registry.pull import pull as registry_pull

    ref = reference.parse(name).with_default_tag()
    client = connect(registries, env, stop)
    with store.leases.hold(), work(sink, stop, f"pulling {ref}") as job:
        before = _look(store, str(ref))
        pulled = registry_pull(client, ref, store.content, platforms=wanted, strict=strict, job=job)
        _remember_origin(store, pulled)
        store.images.tag(str(ref), pulled.root)
        after = describe(store, _get(store, str(ref)))
    return Brought(after, news=before != replace(after, updated=before.updated if before else 0.0))


def push(
    store: Store,
    name: str,
    *,
    wanted: Platform | None,
    registries: RegistryOptions,
    sink: Sink,
    stop: Stop,
    env: Mapping[str, str],
) -> Descriptor:
    """Send the stored image `name`, or only its image for `wanted`, to its registry: the same
    bytes, whatever they are. What was never fetched is sent on from where the image came from.

    Raises `NotFound` when the store has no such name, `ContentError` when a part is nowhere.
    """
    from viaduct.registry.push import push as registry_push

    target = reference.parse(name).with_default_tag()
    image = describe(store, _get(store, str(target)))
    root = image.root if wanted is None else choose(image, wanted).descriptor
    origins = store.snapshots.sources(image.root.digest)
    client = connect(registries, env, stop)
    with store.leases.hold(), work(sink, stop, f"pushing {target}") as job:
        registry_push(
            client,
            [target],
            root,
            store.content,
            sources=lambda digest: (*store.snapshots.sources(digest), *origins),
            job=job,
        )
    return root


def names(store: Store) -> tuple[StoredImage, ...]:
    """Every name in the store, the one that moved last first."""
    return tuple(describe(store, image) for image in store.images.list())


def find(store: Store, text: str) -> StoredImage:
    """The stored image of that name, or with this id: the digest of an index, manifest or
    configuration, or the beginning of one. Raises `NotFound`."""
    if (image := _look(store, text)) is not None:
        return image
    if (found := store.images.find(text)) is not None:
        return _described(store, "", found.descriptor)
    if (root := _unnamed(store, text)) is not None:
        return _described(store, "", root)
    raise _unknown(text)


def describe(store: Store, image: stored.Image) -> StoredImage:
    """What the store has of a named image; damaged documents count as missing."""
    return _described(store, image.name, image.descriptor, image.updated)


def again(store: Store, image: StoredImage) -> StoredImage:
    """The same image as the store has it now."""
    return _described(store, image.name, image.root, image.updated)


def choose(image: StoredImage, wanted: Platform | None) -> Variant:
    """The variant of `image` that serves `wanted` best; None takes the machine's own, and any
    there is of an image that has only one.

    Raises `NotFound`, listing what there is, when the store has none that serves.
    """
    offered = [variant.platform for variant in image.variants]
    if wanted is None and len(offered) == 1 and not image.missing:
        return image.variants[0]
    at = platforms.best(wanted or platforms.native(), offered)
    if at is None:
        raise NotFound(
            f"{image.familiar} has no image for {wanted or platforms.native()} in the store",
            hint=f"it has: {', '.join(map(str, offered)) or 'none'}",
        )
    return image.variants[at]


def remove(store: Store, text: str, *, force: bool) -> Removed:
    """Forget a name, or with an id all names of the image, and free the content that nothing else
    needs; layers that the build cache knows stay until it is pruned.

    Raises `NotFound`, and `UsageError` for an id with several names unless `force`.
    """
    from viaduct.store import gc

    # Without a lease: to look at what goes must not count as a use that keeps it.
    if (named := _named(store, text)) is not None:
        gone, root = [named.name], named.descriptor
    elif (found := store.images.find(text)) is not None:
        gone, root = list(found.names), found.descriptor
        _refuse_part(store, text, gone, root)
        if len(gone) > 1 and not force:
            listed = ", ".join(reference.parse(name).familiar for name in gone)
            raise UsageError(
                f"unable to delete {text} (must be forced): it has several names: {listed}",
                hint="name one of them, or use -f",
            )
    elif (unnamed := _unnamed(store, text)) is not None:
        gone, root = [], unnamed
    else:
        raise _unknown(text)
    for name in gone:
        store.images.remove(name)
    return Removed(tuple(gone), gc.release(store, root))


def _refuse_part(store: Store, text: str, names: Sequence[str], root: Descriptor) -> None:
    targets = {image.descriptor.digest for image in store.images.list() if image.name in names}
    if targets != {root.digest}:
        whole = reference.parse(names[0]).familiar
        raise UsageError(
            f"{text} is a part of {whole}: one platform's image",
            hint=f"viaduct rmi {whole} removes all of it",
        )


def tag(store: Store, source: str, target: str) -> None:
    """Give a stored image another name. Raises `NotFound`."""
    with store.leases.hold():
        root = find(store, source).root
        for digest in store.images.reachable([root]):
            store.content.has(digest)
        store.images.tag(str(reference.parse(target).with_default_tag()), root)


def _remember_origin(store: Store, pulled: Pulled) -> None:
    """Where the image can be had from: what was not fetched now, or is pruned later."""
    parts = [pulled.root.digest]
    for image in pulled.images:
        parts += [image.descriptor.digest, *(layer.digest for layer in image.manifest.layers)]
    store.snapshots.add_sources(parts, [str(pulled.ref)])


def _look(store: Store, text: str) -> StoredImage | None:
    """The image of that name, if it is a name that the store knows."""
    image = _named(store, text)
    return describe(store, image) if image is not None else None


def _named(store: Store, text: str) -> stored.Image | None:
    try:
        return store.images.get(str(reference.parse(text).with_default_tag()))
    except UsageError:
        return None


def _get(store: Store, name: str) -> stored.Image:
    image = store.images.get(name)
    if image is None:
        raise _unknown(name)
    return image


def _unknown(text: str) -> NotFound:
    with contextlib.suppress(UsageError):
        text = reference.parse(text).with_default_tag().familiar
    return NotFound(
        f"no such image: {text}",
        hint="`viaduct images` lists what there is; `viaduct pull` brings one",
    )


def _unnamed(store: Store, text: str) -> Descriptor | None:
    """The image of a whole digest that no name leads to, as `viaduct build -q` prints it: that of
    its manifest or index, or of its configuration."""
    encoded = text.removeprefix("sha256:")
    if len(encoded) != 64 or set(encoded) - set("0123456789abcdef"):
        return None
    wanted = digests.parse(f"sha256:{encoded}")
    return store.images.unnamed(wanted) if store.content.exists(wanted) else None


def _described(store: Store, name: str, root: Descriptor, updated: float = 0.0) -> StoredImage:
    variants = []
    missing = []
    for found in _variants(store, root):
        if found.attestation:
            continue
        manifest = found.manifest
        here = manifest is not None and manifest.config not in found.missing
        if manifest is None or not here:
            if found.platform is not None:
                missing.append(found.platform)
        elif manifest.config.media_type in media.CONFIGS:
            config = _config(store, manifest.config)
            if config is not None:
                variants.append(
                    Variant(
                        found.platform or config.platform(),
                        found.descriptor,
                        manifest,
                        config,
                        found.complete,
                    )
                )
    return StoredImage(name, root, tuple(variants), tuple(missing), updated)


def _variants(store: Store, root: Descriptor) -> Iterable[reach.Variant]:
    try:
        return store.images.variants(root)
    except (NotFound, ContentError):
        # It was damaged, and has been removed: what is left is the name.
        return ()


def _config(store: Store, descriptor: Descriptor) -> ImageConfig | None:
    try:
        data = store.content.read(descriptor.digest)
        return models.decode(data, models.ImageConfig, what=descriptor.digest)
    except (NotFound, ContentError):
        return None
