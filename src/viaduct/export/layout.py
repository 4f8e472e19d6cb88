"""Images as files: an OCI layout (directory or tar), and the archive that `docker load` reads."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from viaduct.base.tasks import Stop
from viaduct.export.image import reachable
from viaduct.export.layout_directory import CREATED, LayoutDirectory
from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from viaduct.export.image import Exported
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.store.content import ContentStore

_PIECE = 1 << 20


def entries(root: Descriptor, names: Sequence[str], *, created: str) -> tuple[Descriptor, ...]:
    """What `index.json` of a layout says about the image `root`: an entry for each name, or one
    without any."""
    found = []
    for name in names or ("",):
        annotations = {CREATED: created, **root.annotations}
        if name:
            parsed = reference.parse(name).with_default_tag()
            annotations |= {media.LAYOUT_NAME: str(parsed), media.LAYOUT_TAG: parsed.tag}
        found.append(msgspec.structs.replace(root, annotations=annotations))
    return tuple(found)


def write_directory(
    dest: Path,
    root: Descriptor,
    names: Sequence[str],
    content: ContentStore,
    *,
    created: str,
    stop: Stop,
) -> None:
    """Write an image into the OCI layout in the directory `dest`, under `names` or as `latest`;
    what the layout holds besides stays. Raises `Canceled` when stopped."""
    directory = LayoutDirectory(dest)
    for descriptor in reachable(root, content):
        directory.add(descriptor.digest, _copying(content, descriptor, stop))
    listed = entries(root, names, created=created)
    if not names:
        listed = tuple(
            msgspec.structs.replace(
                entry, annotations={**entry.annotations, media.LAYOUT_TAG: "latest"}
            )
            for entry in listed
        )
    directory.enter(listed)


def _copying(
    content: ContentStore, descriptor: Descriptor, stop: Stop
) -> Callable[[BinaryIO], None]:
    def copy(out: BinaryIO) -> None:
        with content.open(descriptor.digest, size=descriptor.size) as source:
            shutil.copyfileobj(_Watchful(source, stop), out, _PIECE)

    return copy


def write_archive(
    out: BinaryIO,
    exported: Exported,
    names: Sequence[str],
    content: ContentStore,
    *,
    created: str,
    docker: bool,
    stop: Stop | None = None,
) -> None:
    """Write an OCI layout as a tar to `out`; with `docker`, also the `manifest.json` that a Docker
    engine reads."""
    write_tar(
        out,
        content,
        reachable(exported.root, content),
        index=_index(exported.root, names, created),
        docker=_docker_manifest(exported, names) if docker else None,
        stop=stop,
    )


def write_tar(
    out: BinaryIO,
    content: ContentStore,
    blobs: Iterable[Descriptor],
    *,
    index: bytes,
    docker: bytes | None,
    stop: Stop | None = None,
) -> None:
    """Write a layout of these blobs, in the order of their digests, as a tar to `out`; `index` is
    its index.json, `docker` a manifest.json. Raises `ContentError` for a blob that is damaged."""
    import tarfile

    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _directory(archive, "blobs")
        _directory(archive, "blobs/sha256")
        for descriptor in sorted(blobs, key=lambda blob: blob.digest):
            _blob(archive, content, descriptor, stop or Stop())
        _file(archive, "index.json", index)
        if docker is not None:
            _file(archive, "manifest.json", docker)
        _file(archive, "oci-layout", media.LAYOUT_MARKER, mode=0o444)


class _Watchful:
    """A file whose reading ends with `Canceled` once a stop was asked for."""

    def __init__(self, stream: BinaryIO, stop: Stop) -> None:
        self._stream = stream
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        self._stop.check()
        return self._stream.read(size)


def _index(root: Descriptor, names: Sequence[str], created: str) -> bytes:
    listed = entries(root, names, created=created)
    index = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=listed)
    return models.encode(index)


def _docker_manifest(exported: Exported, names: Sequence[str]) -> bytes:
    tags = [reference.parse(name).with_default_tag().familiar for name in names]
    return msgspec.json.encode(
        [
            {
                "Config": _blob_path(image.config),
                "RepoTags": tags or None,
                "Layers": [_blob_path(layer.descriptor.digest) for layer in image.layers],
            }
            for image in exported.images
        ]
    )


def _blob_path(digest: Digest) -> str:
    return f"blobs/sha256/{digests.encoded(digest)}"


def _directory(archive: tarfile.TarFile, name: str) -> None:
    import tarfile

    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(info)


def _file(archive: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o644) -> None:
    import tarfile

    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def _blob(archive: tarfile.TarFile, content: ContentStore, blob: Descriptor, stop: Stop) -> None:
    import tarfile

    with content.open(blob.digest, size=blob.size) as stream:
        info = tarfile.TarInfo(_blob_path(blob.digest))
        info.size, info.mode = blob.size, 0o444
        archive.addfile(info, _Watchful(stream, stop))
