"""OCI layouts out of root file system archives, written without any code of Viaduct: base images
for tests and benchmarks, and a way to put them into a registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from tests.parts import debs, rootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OCI = "application/vnd.oci.image."
_PIECE = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One platform's image: `platform` as `os/architecture[/variant]`, `layers` uncompressed tar
    archives from the lowest up, `config` the `config` object of the image."""

    platform: str
    layers: Sequence[Path]
    config: Mapping[str, object] = field(
        default_factory=lambda: {"Env": [PATH], "Cmd": ["/bin/sh"]}
    )


def write_layout(dest: Path, variants: Sequence[Variant], *, tag: str = "latest") -> str:
    """Write an OCI layout whose `tag` is an index of the variants; returns the index's digest."""
    (dest / "blobs/sha256").mkdir(parents=True)
    manifests = [_write_variant(dest, variant) for variant in variants]
    index = _write_json(
        dest,
        f"{_OCI}index.v1+json",
        {"schemaVersion": 2, "mediaType": f"{_OCI}index.v1+json", "manifests": manifests},
    )
    (dest / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {**index, "annotations": {"org.opencontainers.image.ref.name": tag}}
    (dest / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return str(index["digest"])


def busybox_layout() -> Path:
    """A layout with busybox for linux/amd64 and linux/arm64 under `latest`."""
    return _cached("busybox", rootfs.busybox)


def debian_layout() -> Path:
    """A layout with a minimal Debian, apt included, for both platforms under `latest`."""
    return _cached("debian", rootfs.debian)


def push(layout: Path, reference: str, *, tag: str = "latest") -> None:
    """Copy an image of a layout, all platforms, to a registry on loopback, with skopeo."""
    subprocess.run(
        [
            *["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"],
            *[f"oci:{layout}:{tag}", f"docker://{reference}"],
        ],
        check=True,
    )


def _cached(name: str, archive: Callable[[str], Path]) -> Path:
    path = debs.WORK / "layouts" / name
    with debs.made_once(path) as draft:
        if draft is not None:
            variants = [Variant(f"linux/{arch}", [archive(arch)]) for arch in ("amd64", "arm64")]
            write_layout(draft, variants)
    return path


def _write_variant(dest: Path, variant: Variant) -> dict[str, object]:
    layers, diff_ids = [], []
    for archive in variant.layers:
        diff_id, descriptor = _write_layer(dest, archive)
        diff_ids.append(diff_id)
        layers.append(descriptor)
    system, architecture, *rest = variant.platform.split("/")
    platform = {"os": system, "architecture": architecture}
    if rest:
        platform["variant"] = rest[0]
    config = {
        **platform,
        "created": "2023-11-14T22:13:20Z",
        "config": dict(variant.config),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "base"} for _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}manifest.v1+json",
        "config": _write_json(dest, f"{_OCI}config.v1+json", config),
        "layers": layers,
    }
    return {**_write_json(dest, f"{_OCI}manifest.v1+json", manifest), "platform": platform}


def _write_json(dest: Path, media_type: str, document: object) -> dict[str, object]:
    data = json.dumps(document).encode()
    encoded = hashlib.sha256(data).hexdigest()
    (dest / "blobs/sha256" / encoded).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{encoded}", "size": len(data)}


def _write_layer(dest: Path, archive: Path) -> tuple[str, dict[str, object]]:
    """Compress an archive into a blob; returns its diff id and descriptor."""
    draft = dest / "blobs/draft"
    plain = hashlib.sha256()
    with archive.open("rb") as source, draft.open("wb") as out:
        packed = _Hashed(out)
        # Level 6 is what other tools write; a layer in the field looks like this one.
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as zipped:
            while piece := source.read(_PIECE):
                plain.update(piece)
                zipped.write(piece)
    encoded = packed.hash.hexdigest()
    size = draft.stat().st_size
    draft.rename(dest / "blobs/sha256" / encoded)
    descriptor = {
        "mediaType": f"{_OCI}layer.v1.tar+gzip",
        "digest": f"sha256:{encoded}",
        "size": size,
    }
    return f"sha256:{plain.hexdigest()}", descriptor


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()
