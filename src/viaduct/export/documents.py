"""The documents of an image, made from what a build knows: pure functions from values to bytes.

Shapes follow BuildKit's image exporter: manifests and indexes indented by two spaces, images in
the order they were asked for, one non-empty history entry per layer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.values import Value
from viaduct.oci import digest as digests
from viaduct.oci import media, models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, History, ImageConfig
    from viaduct.oci.platform import Platform


class Layer(Value):
    """A layer of the finished image; `created` is in seconds since the epoch."""

    descriptor: Descriptor
    diff_id: Digest
    created: float


class Document(Value):
    """Bytes and the descriptor that points to them."""

    data: bytes
    descriptor: Descriptor


def rfc3339(seconds: float) -> str:
    """A time as Go writes it: UTC, fraction without trailing zeros."""
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def config_document(
    config: ImageConfig,
    layers: Sequence[Layer],
    *,
    platform: Platform,
    now: float,
    epoch: int | None,
    oci: bool,
) -> Document:
    """The image configuration: `config` as lowered, joined to the layers it really has.

    History entries without a time get that of their layer, or of the entry before them, so that a
    rebuild from cache is the same image; `epoch` replaces them all. The platform is stamped on.
    """
    history = _dated_history(config.history, layers, now=now, epoch=epoch)
    created = history[-1].created if history else rfc3339(now if epoch is None else epoch)
    done = msgspec.structs.replace(
        config,
        created=created if epoch is None else rfc3339(epoch),
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        os_version=platform.os_version or config.os_version,
        rootfs=models.RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
        history=history,
    )
    # Nothing but the root file system's type and layers may be left out when it is empty.
    return _document(models.encode(done), media.OCI_CONFIG if oci else media.DOCKER_CONFIG)


def _dated_history(
    history: Sequence[History], layers: Sequence[Layer], *, now: float, epoch: int | None
) -> tuple[History, ...]:
    """One non-empty entry per layer, every entry dated.

    Base images may carry less history than layers, or more; readers count on them being equal.
    """
    missing = len(layers) - sum(not entry.empty_layer for entry in history)
    entries = list(history)
    if missing > 0:
        # Layers the history does not mention lie below everything it does mention.
        entries[:0] = [models.History(comment="layer without history")] * missing
    out: list[History] = []
    at = 0
    last = rfc3339(now)
    for entry in entries:
        empty = entry.empty_layer or at >= len(layers)
        created = entry.created
        if not empty:
            created = created or rfc3339(layers[at].created)
            at += 1
        elif not created:
            upcoming = rfc3339(layers[at].created) if at == 0 and layers else last
            created = upcoming
        if epoch is not None and not entry.created:
            created = rfc3339(epoch)
        last = created
        out.append(msgspec.structs.replace(entry, created=created, empty_layer=empty))
    return tuple(out)


def manifest_document(
    config: Document,
    layers: Sequence[Layer],
    *,
    platform: Platform,
    annotations: Mapping[str, str],
    descriptor_annotations: Mapping[str, str],
    oci: bool,
) -> Document:
    """An image manifest; its descriptor names the platform."""
    manifest = models.Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST if oci else media.DOCKER_MANIFEST,
        config=config.descriptor,
        layers=tuple(layer.descriptor for layer in layers),
        annotations=dict(annotations),
    )
    made = _document(models.encode(manifest, indent=2), manifest.media_type)
    return Document(
        made.data,
        msgspec.structs.replace(
            made.descriptor,
            platform=models.PlatformSpec.of(platform),
            annotations=dict(descriptor_annotations),
        ),
    )


def index_document(
    manifests: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str],
    descriptor_annotations: Mapping[str, str],
    oci: bool,
) -> Document:
    """An image index over `manifests`, in their order."""
    index = models.Index(
        schema_version=2,
        media_type=media.OCI_INDEX if oci else media.DOCKER_LIST,
        manifests=tuple(manifests),
        annotations=dict(annotations),
    )
    made = _document(models.encode(index, indent=2), index.media_type)
    return Document(
        made.data,
        msgspec.structs.replace(made.descriptor, annotations=dict(descriptor_annotations)),
    )


def _document(data: bytes, media_type: str) -> Document:
    return Document(
        data,
        models.Descriptor(media_type=media_type, digest=digests.of(data), size=len(data)),
    )
