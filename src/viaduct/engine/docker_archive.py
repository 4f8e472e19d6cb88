"""`manifest.json`: how Docker's archives say which files make which image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import ContentError
from viaduct.layer import decompress
from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.engine.archive_reader import Archive
    from viaduct.engine.images import Variant
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.store.content import ContentStore


class Entry(msgspec.Struct, frozen=True, rename="pascal"):
    """One image: paths in the archive, and names."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


def entry(variant: Variant, names: Sequence[str]) -> Entry:
    """The entry of an image whose parts lie below `blobs/`."""
    manifest = variant.manifest
    return Entry(
        config=_blob_path(manifest.config.digest),
        repo_tags=tuple(reference.parse(name).familiar for name in names) or None,
        layers=tuple(_blob_path(layer.digest) for layer in manifest.layers),
    )


def encode(entries: Sequence[Entry]) -> bytes:
    """The document; an image that has several names comes once."""
    merged: dict[str, Entry] = {}
    for each in entries:
        before = merged.get(each.config)
        if before is not None:
            tags = (*(before.repo_tags or ()), *(each.repo_tags or ()))
            each = msgspec.structs.replace(before, repo_tags=tuple(dict.fromkeys(tags)) or None)
        merged[each.config] = each
    return msgspec.json.encode(list(merged.values()))


def read(document: bytes, files: Archive) -> list[tuple[Descriptor, list[str]]]:
    """The images of an archive, each with a manifest made for it, and their names.

    Raises `ContentError` for a document that makes no sense, or that names what is not there.
    """
    try:
        entries = decoding.from_json(document, list[Entry])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ContentError(f"manifest.json is malformed: {error}") from error
    found = []
    for each in entries:
        names = [str(reference.parse(tag).with_default_tag()) for tag in each.repo_tags or ()]
        found.append((_manifest(each, files), names))
    return found


def _manifest(each: Entry, files: Archive) -> Descriptor:
    content = files.content
    config, size = _file(each.config, files)
    layers = []
    for path in each.layers or ():
        digest, length = _file(path, files)
        kind = media.layer_type(_compression(content, digest), oci=False)
        layers.append(models.Descriptor(media_type=kind, digest=digest, size=length))
    manifest = models.Manifest(
        schema_version=2,
        media_type=media.DOCKER_MANIFEST,
        config=models.Descriptor(media_type=media.DOCKER_CONFIG, digest=config, size=size),
        layers=tuple(layers),
    )
    written = models.decode(content.read(config), models.ImageConfig, what=each.config)
    if len(written.rootfs.diff_ids) != len(layers):
        raise ContentError(f"{each.config} speaks of another number of layers than manifest.json")
    digest, length = content.put(models.encode(manifest))
    return models.Descriptor(media_type=media.DOCKER_MANIFEST, digest=digest, size=length)


def _file(path: str, files: Archive) -> tuple[Digest, int]:
    found = files.blob(path)
    if found is None:
        raise ContentError(
            f"the archive lacks {path}, which its manifest.json names",
            hint="it is incomplete; write it again",
        )
    return found


def _compression(content: ContentStore, digest: Digest) -> str:
    with content.open(digest) as stream:
        kind = decompress.sniff(stream.read(8))
    if kind not in ("gzip", "zstd", "uncompressed"):
        raise ContentError(f"layer {digest} is compressed with {kind}, which images cannot be")
    return kind


def _blob_path(digest: Digest) -> str:
    return f"blobs/sha256/{digests.encoded(digest)}"
