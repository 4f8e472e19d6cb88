"""Independent readers of what Viaduct pushed or wrote: skopeo, buildah and umoci.

A reference is `docker://host:port/name:tag` (registries on loopback, plain HTTP), or
`oci:DIRECTORY:tag`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def raw(reference: str) -> bytes:
    """The exact bytes of the manifest or index."""
    return _skopeo("inspect", "--raw", *_tls(reference), reference)


def document(reference: str) -> dict[str, Any]:
    """The same, decoded."""
    found = json.loads(raw(reference))
    assert isinstance(found, dict)
    return found


def platforms(reference: str) -> list[str]:
    """`os/architecture[/variant]` of an index's entries in order."""
    entries = [entry.get("platform", {}) for entry in document(reference)["manifests"]]
    return [
        "/".join(filter(None, (e.get("os"), e.get("architecture"), e.get("variant"))))
        for e in entries
    ]


def config(reference: str, platform: str = "linux/amd64") -> dict[str, Any]:
    """The configuration document of one platform's image."""
    found = json.loads(
        _skopeo(*_choose(platform), "inspect", "--config", *_tls(reference), reference)
    )
    assert isinstance(found, dict)
    return found


def unpack(reference: str, dest: Path, *, platform: str = "linux/amd64") -> Path:
    """Download one platform's image with skopeo and unpack it with umoci; returns its root file
    system. As an ordinary user everything then belongs to that user."""
    dest.mkdir(parents=True, exist_ok=True)
    layout = dest / "layout"
    source = ["--src-tls-verify=false"] if reference.startswith("docker://") else []
    _skopeo(*_choose(platform), "copy", "--quiet", *source, reference, f"oci:{layout}:it")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    bundle = dest / "bundle"
    _run("umoci", "unpack", *rootless, "--image", f"{layout}:it", str(bundle))
    return bundle / "rootfs"


def owners(reference: str, dest: Path, *, platform: str = "linux/amd64") -> dict[str, str]:
    """Download one platform's image with skopeo; `uid:gid` of each path as its layers say, whoever
    asks."""
    _skopeo(
        *_choose(platform), "copy", "--quiet", "--src-tls-verify=false", reference, f"dir:{dest}"
    )
    found = {}
    for layer in json.loads((dest / "manifest.json").read_bytes())["layers"]:
        with tarfile.open(dest / layer["digest"].removeprefix("sha256:")) as archive:
            found.update({each.name.rstrip("/"): f"{each.uid}:{each.gid}" for each in archive})
    return found


def check_layout(layout: Path) -> int:
    """Every blob's name is its digest, and everything an index or manifest names is there with the
    size it says; returns the number of blobs. Raises AssertionError naming the first that is not.

    Layouts may keep blobs that nothing names.
    """
    blobs = layout / "blobs/sha256"
    count = 0
    for blob in sorted(blobs.iterdir()):
        with blob.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        assert actual == blob.name, f"{blob} holds {actual}"
        count += 1
    pending = [json.loads((layout / "index.json").read_bytes())]
    while pending:
        for descriptor in _descriptors(pending.pop()):
            path = blobs / descriptor["digest"].removeprefix("sha256:")
            assert path.exists(), f"{descriptor['digest']} is named and not there"
            assert path.stat().st_size == descriptor["size"], f"{path} has another size"
            if descriptor["mediaType"].endswith(("manifest.v1+json", "index.v1+json")):
                pending.append(json.loads(path.read_bytes()))
    return count


def buildah_pull(reference: str, scratch: Path, *, arch: str) -> str:
    """Let buildah pull one architecture's image into a store of its own; returns the image id."""
    pull = ("pull", "--quiet", "--tls-verify=false", "--arch", arch, reference)
    return buildah(scratch, *pull).decode().strip()


def buildah(scratch: Path, *arguments: str) -> bytes:
    """Run a buildah command on a store that it keeps in `scratch`; what it printed."""
    scratch.mkdir(parents=True, exist_ok=True)
    # buildah insists on a file of credentials where DOCKER_CONFIG is set.
    credentials = scratch / "auth.json"
    credentials.write_text("{}")
    store = ["--root", str(scratch / "root"), "--runroot", str(scratch / "run")]
    login = ["--authfile", str(credentials)] if arguments[0] in ("pull", "push") else []
    command, *rest = arguments
    return _run("buildah", *store, "--storage-driver", "vfs", command, *login, *rest)


def _descriptors(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from node.get("manifests", ())
    yield from node.get("layers", ())
    if "config" in node:
        yield node["config"]


def _tls(reference: str) -> list[str]:
    return ["--tls-verify=false"] if reference.startswith("docker://") else []


def _choose(platform: str) -> list[str]:
    system, architecture, *variant = platform.split("/")
    return [
        *["--override-os", system, "--override-arch", architecture],
        *(["--override-variant", variant[0]] if variant else []),
    ]


def _skopeo(*arguments: str) -> bytes:
    return _run("skopeo", "--insecure-policy", *arguments)


def _run(*argv: str) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}"
    return done.stdout
