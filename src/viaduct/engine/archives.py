"""Stored images as archives: written for `docker load` and OCI tools, read from either's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import ContentError, NotFound
from viaduct.base.values import Value
from viaduct.engine import docker_archive, images
from viaduct.engine.archive_reader import Archive
from viaduct.export import layout
from viaduct.export.documents import rfc3339
from viaduct.export.image import reachable
from viaduct.oci import media, models, reference
from viaduct.oci import platform as platforms
from viaduct.registry.parcel import may_stay_away

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from viaduct.base.tasks import Stop
    from viaduct.engine.images import StoredImage, Variant
    from viaduct.engine.provide import Supply
    from viaduct.oci.models import Descriptor
    from viaduct.oci.platform import Platform
    from viaduct.store.content import ContentStore
    from viaduct.store.store import Store


class Loaded(Value):
    """An image of an archive; `names` are complete and may be none."""

    root: Descriptor
    names: tuple[str, ...]


def save(
    supply: Supply, wanted_names: Sequence[str], out: BinaryIO, *, wanted: Platform | None
) -> None:
    """Write stored images, or only those for `wanted`, as an OCI layout in a tar that Docker reads
    as well. Base layers that no build needed are fetched now.

    An index of which the store has one platform only is written as that platform's image. Raises
    `NotFound` for what the store does not have.
    """
    store = supply.store
    with store.leases.hold():
        entries: list[Descriptor] = []
        docker: list[docker_archive.Entry] = []
        roots: dict[str, Descriptor] = {}
        for name in dict.fromkeys(wanted_names):
            image = images.find(store, name)
            root, variants = _chosen(store, image, wanted)
            for variant in variants:
                if not variant.complete:
                    supply.fetch_layers(image, variant, "missing")
            labels = (image.name,) if image.name else ()
            created = rfc3339(image.updated)
            entries += layout.entries(root, labels, created=created)
            docker.append(docker_archive.entry(_best(variants), labels))
            roots[root.digest] = root
        blobs = {d.digest: d for root in roots.values() for d in _blobs(root, store.content)}
        index = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=tuple(entries))
        layout.write_tar(
            out,
            store.content,
            blobs.values(),
            index=models.encode(index),
            docker=docker_archive.encode(docker),
        )


def _chosen(
    store: Store, image: StoredImage, wanted: Platform | None
) -> tuple[Descriptor, Sequence[Variant]]:
    """What to write of an image, and the platforms that are in it."""
    if wanted is not None:
        variant = images.choose(image, wanted)
        return variant.descriptor, [variant]
    lacking = [
        "attestations" if each.attestation else str(each.platform)
        for each in store.images.variants(image.root)
        if each.manifest is None
    ]
    if not lacking and image.variants:
        return image.root, image.variants
    if len(image.variants) == 1:
        return image.variants[0].descriptor, image.variants
    raise NotFound(
        f"the store does not have all of {image.familiar}: "
        f"it lacks {', '.join(dict.fromkeys(lacking))}",
        hint=f"name one with --platform, or: viaduct pull --all-platforms {image.familiar}",
    )


def _best(variants: Sequence[Variant]) -> Variant:
    """The one for readers who know of no platforms."""
    at = platforms.best(platforms.native(), [variant.platform for variant in variants])
    return variants[at or 0]


def _blobs(root: Descriptor, content: ContentStore) -> Iterator[Descriptor]:
    for descriptor in reachable(root, content):
        if content.has(descriptor.digest):
            yield descriptor
        elif not may_stay_away(descriptor):
            raise ContentError(
                f"{descriptor.digest} of the image is not in the store",
                hint="pull or build the image again",
            )


def load(store: Store, archive: BinaryIO, *, stop: Stop) -> tuple[Loaded, ...]:
    """Bring the images of an OCI or Docker archive, compressed or not, into the store.

    Nothing of the archive is unpacked: its files become blobs, or are small documents. Raises
    `ContentError` for an archive that is neither, or damaged.
    """
    with store.leases.hold():
        files = Archive.read(archive, store.content, stop)
        if (index := files.document("index.json")) is not None:
            found = [_from_layout(entry, files) for entry in _manifests(index)]
        elif (manifest := files.document("manifest.json")) is not None:
            found = docker_archive.read(manifest, files)
        else:
            raise ContentError(
                "the archive holds no image: it has neither index.json nor manifest.json",
                hint="write it with `viaduct save`, `docker save` or `-o type=oci`",
            )
        merged: dict[str, tuple[Descriptor, list[str]]] = {}
        for root, names in found:
            merged.setdefault(root.digest, (root, []))[1].extend(names)
        loaded = [Loaded(root, tuple(dict.fromkeys(names))) for root, names in merged.values()]
        store.images.tag_all((name, image.root) for image in loaded for name in image.names)
    return tuple(loaded)


def _manifests(index: bytes) -> tuple[Descriptor, ...]:
    return models.decode(index, models.Index, what="index.json").manifests


def _from_layout(entry: Descriptor, files: Archive) -> tuple[Descriptor, list[str]]:
    """An image of a layout, all of which is in the store afterwards, and its name."""
    root = models.Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size)
    files.require(root)
    name = entry.annotations.get(media.LAYOUT_NAME, "")
    name = name or entry.annotations.get(media.LAYOUT_TAG, "")
    # A tag alone says nothing about the repository.
    if not name or not ("/" in name or ":" in name):
        return root, []
    return root, [str(reference.parse(name).with_default_tag())]
