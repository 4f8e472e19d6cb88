"""The image exporter: results per platform become layers, configs, manifests and an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.export import documents
from viaduct.oci import media, models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.export.documents import Document, Layer
    from viaduct.export.layers import LayerForm, Layers
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, ImageConfig
    from viaduct.oci.platform import Platform
    from viaduct.ops.trees import Filesystem
    from viaduct.solve.plan import Job
    from viaduct.store.content import ContentStore


class PlatformResult(Value):
    """What one platform's leg of a build came to: its file system and configuration."""

    platform: Platform
    filesystem: Filesystem
    config: ImageConfig


class Annotations(Value):
    """Annotations of an image by where they go; platform None means every platform."""

    entries: tuple[tuple[str, Platform | None, str, str], ...] = ()

    def select(self, level: str, platform: Platform | None = None) -> dict[str, str]:
        """Those of `level` that hold for `platform`."""
        return {
            key: value
            for at, where, key, value in self.entries
            if at == level and (where is None or where == platform)
        }

    def check(self, platforms: Sequence[Platform], *, index: bool, oci: bool) -> None:
        """Raises `UsageError` for annotations that have nowhere to go."""
        if self.entries and not oci:
            raise UsageError('cannot export annotations with "oci-mediatypes=false"')
        for level, platform, _key, _value in self.entries:
            if level.startswith("index") and not index:
                raise UsageError(
                    "index annotations not supported for single platform export",
                    hint="annotate the manifest, or build for several platforms",
                )
            if platform is not None and platform not in platforms:
                raise UsageError(f"invalid annotation: no platform {platform} found in source")


class ImageForm(Value):
    """How an image shall look. `index` forces an index around a single image; `now` dates what has
    no date of its own, `epoch` replaces every date this build made (both in seconds)."""

    layers: LayerForm
    annotations: Annotations = Annotations()
    index: bool = False
    now: float = 0.0
    epoch: int | None = None


class ExportedImage(Value):
    """One platform's image as it was written to the content store."""

    platform: Platform
    manifest: Descriptor
    config: Digest
    layers: tuple[Layer, ...]


class Exported(Value):
    """`root` is what a tag would point to; `images` are in the order asked for."""

    root: Descriptor
    images: tuple[ExportedImage, ...]


def export_image(
    results: Sequence[PlatformResult],
    form: ImageForm,
    *,
    layers: Layers,
    content: ContentStore,
    job: Job,
) -> Exported:
    """Write the image of `results` into the content store.

    One platform gives a plain manifest (unless `form.index`), several an index, in their order.
    Raises `UsageError` for impossible annotations, `StoreError` when it cannot be written.
    """
    several = len(results) > 1 or form.index
    oci = form.layers.oci
    form.annotations.check([r.platform for r in results], index=several, oci=oci)
    job.status("exporting layers")
    written = layers.write(
        [result.filesystem for result in results],
        form.layers,
        progress=lambda _name, current, total: job.status("exporting layers", current, total),
    )
    job.status("exporting layers", done=True)
    images = []
    for result, chain in zip(results, written, strict=True):
        config = documents.config_document(
            result.config,
            chain,
            platform=result.platform,
            now=form.now,
            epoch=form.epoch,
            oci=oci,
        )
        manifest = documents.manifest_document(
            config,
            chain,
            platform=result.platform,
            annotations=form.annotations.select("manifest", result.platform),
            descriptor_annotations=form.annotations.select("manifest-descriptor", result.platform),
            oci=oci,
        )
        _keep(content, config, "config", job)
        _keep(content, manifest, "manifest", job)
        images.append(
            ExportedImage(
                result.platform, manifest.descriptor, config.descriptor.digest, tuple(chain)
            )
        )
    if not several:
        return Exported(images[0].manifest, tuple(images))
    index = documents.index_document(
        [image.manifest for image in images],
        annotations=form.annotations.select("index"),
        descriptor_annotations=form.annotations.select("index-descriptor"),
        oci=oci,
    )
    _keep(content, index, "manifest list", job)
    return Exported(index.descriptor, tuple(images))


def _keep(content: ContentStore, document: Document, what: str, job: Job) -> None:
    if not content.has(document.descriptor.digest):
        content.put(document.data, document.descriptor.digest)
    job.status(f"exporting {what} {document.descriptor.digest}", done=True)


def reachable(root: Descriptor, content: ContentStore) -> list[Descriptor]:
    """`root` and everything below it that is described by documents in the content store.

    Children come before the documents that name them; layers that are not local are included.
    """
    out: list[Descriptor] = []
    seen: set[Digest] = set()

    def visit(descriptor: Descriptor) -> None:
        if descriptor.digest in seen:
            return
        seen.add(descriptor.digest)
        if models.is_index(descriptor):
            data = content.read(descriptor.digest)
            for child in models.decode(data, models.Index, what="index").manifests:
                visit(child)
        elif descriptor.media_type in media.MANIFESTS:
            manifest = models.decode(
                content.read(descriptor.digest), models.Manifest, what="manifest"
            )
            for child in (manifest.config, *manifest.layers):
                visit(child)
        out.append(descriptor)

    visit(root)
    return out
